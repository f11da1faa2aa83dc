package testbed_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed"
)

// serving is a client and a node that has a service: port 80 of its address is another port of its own.
func serving(lab string, endpoint int) *plan.State {
	s := &plan.State{}
	for name, role := range map[string]string{"client": "host", "node": "node"} {
		ns := lab + "." + name
		s.Add(plan.Namespace{Name: ns, Alias: plan.Owner{Lab: lab, Machine: name, Role: role}.String()})
	}
	client, node := plan.End{Namespace: lab + ".client", Name: "eth0"}, plan.End{Namespace: lab + ".node", Name: "eth0"}
	s.Add(
		plan.Link{Namespace: client.Namespace, Name: client.Name, Device: plan.Veth{Peer: node}, MTU: 1500},
		plan.Link{Namespace: node.Namespace, Name: node.Name, Device: plan.Veth{Peer: client}, MTU: 1500},
		plan.NewAddress(client.Namespace, client.Name, v4(192, 0, 2, 1, 24)),
		plan.NewAddress(node.Namespace, node.Name, v4(192, 0, 2, 2, 24)),
	)
	r := nft.NewRuleset(nft.IPv4, "service")
	r.Tables[0].Comment = "as kube-proxy's"
	web := nft.SetOf(nft.IPv4, "service", "web", 0, "tcp dport").ToVerdicts()
	friends := nft.SetOf(nft.IPv4, "service", "friends", nft.Interval, "ip saddr")
	r.Sets = append(r.Sets, web, friends)
	port := func(p int) string { return nft.KeyOf([]string{"tcp dport"}, p) }
	r.Elements = append(r.Elements,
		nft.Element{Family: nft.IPv4, Table: "service", Set: "web", Key: port(80), Verdict: "goto to-web", Comment: "http"},
		nft.Element{Family: nft.IPv4, Table: "service", Set: "web", Key: port(81), Verdict: "goto to-web"},
		nft.Element{Family: nft.IPv4, Table: "service", Set: "friends", Key: string(v4(192, 0, 2, 0, 24).Addr().AsSlice()), KeyEnd: string(v4(192, 0, 2, 255, 32).Addr().AsSlice())},
	)
	r.Base("in", "filter", nft.Input, nft.PriorityFilter)
	r.Chains[0].Policy = nft.Drop
	r.Rule("in", nft.Is("ct state", "established"), nft.Do(nft.Counter{}), nft.Then(nft.Accept))
	r.Rule("in", nft.In(friends, "ip saddr"), nft.Is("tcp dport", endpoint), nft.Do(nft.Counter{}), nft.Then(nft.Accept))
	r.Rule("in", nft.Is("meta l4proto", "icmp"), nft.Then(nft.Accept))
	r.Rule("in", nft.Do(nft.Counter{}))
	r.Base("nat", "nat", nft.Prerouting, nft.PriorityDNAT)
	r.Rule("nat", nft.Vmap(web, "tcp dport"))
	r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "service", Name: "to-web"})
	r.Rule("to-web", nft.Is("meta l4proto", "tcp"), nft.To(endpoint))
	s.AddRuleset(node.Namespace, r)
	s.Resolve()
	return s
}

var handle, counted = regexp.MustCompile(` # handle \d+`), regexp.MustCompile(`packets \d+ bytes \d+`)

// TestFirewallIsRepairedInPlace damages one thing of a firewall. The repair mends that one: all other rules keep their
// handles and their counts, and connections live on.
func TestFirewallIsRepairedInPlace(t *testing.T) {
	probe(t)
	lab := prefix + "firewall"
	t.Cleanup(func() { down(t, lab) })
	const endpoint = 8080
	s := serving(lab, endpoint)
	up(t, lab, s)
	node, err := testbed.Open(lab + ".node")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	client, err := testbed.Open(lab + ".client")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var listener net.Listener
	if err := node.Do(func() (err error) {
		listener, err = net.Listen("tcp", ":"+strconv.Itoa(endpoint))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	connect := func() net.Conn {
		t.Helper()
		var c net.Conn
		if err := client.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", "192.0.2.2:80", 10*time.Second)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	echo := func(c net.Conn) {
		t.Helper()
		b := make([]byte, 4)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
			t.Fatalf("%q comes back: %v", b, err)
		}
	}
	old := connect()
	defer old.Close()
	echo(old)
	rules := func() []string {
		return strings.Split(run(t, "", "ip", "netns", "exec", node.Name, "nft", "-a", "list", "table", "ip", "service"), "\n")
	}
	established := handleOf(t, rules(), "ct state established")
	for _, tt := range []struct {
		damage string
		lines  int // that may have another handle
	}{
		{"delete element ip service web { 80 }", 0},
		{"delete element ip service web { 81 }; add element ip service web { 81 : drop }", 0},
		{"add element ip service web { 82 : drop }", 0},
		{"delete element ip service friends { 192.0.2.0/24 }", 0},
		{"add element ip service friends { 10.0.0.0/8 }", 0},
		{"insert rule ip service in drop", 0},
		{"add rule ip service in index 1 tcp dport 5 accept", 0},
		{"replace rule ip service in handle %friends counter drop", 1},
		{"delete rule ip service in handle %friends", 1},
		{"flush chain ip service to-web", 1},
		{"add chain ip service in { policy accept; }", 0},
		{"add chain ip service foreign; add rule ip service foreign accept", 0},
		{"add set ip service foreign { type ipv4_addr; }; add rule ip service in ip saddr @foreign drop", 0},
		{"flush chain ip service nat; delete element ip service web { 80, 81 }; flush chain ip service to-web; delete chain ip service to-web", 3},
		{"flush chain ip service nat; delete map ip service web", 2},
	} {
		t.Run(tt.damage, func(t *testing.T) {
			before := rules()
			damage := strings.ReplaceAll(tt.damage, "%friends", strconv.Itoa(handleOf(t, before, "@friends")))
			run(t, "", "ip", "netns", "exec", node.Name, "nft", damage)
			if len(pending(t, lab, s)) == 0 {
				t.Fatal("nobody noticed")
			}
			up(t, lab, s)
			after := rules()
			if len(after) != len(before) {
				t.Fatalf("there was\n%s\nand now there is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			others := 0
			plain := func(lines []string) string {
				return counted.ReplaceAllString(handle.ReplaceAllString(strings.Join(sorted(lines), "\n"), ""), "")
			}
			if plain(before) != plain(after) {
				t.Fatalf("there was\n%s\nand now there is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			known := map[string]bool{}
			for _, line := range after {
				known[counted.ReplaceAllString(line, "")] = true
			}
			for _, line := range before {
				if !known[counted.ReplaceAllString(line, "")] {
					others++
				}
			}
			if others > tt.lines {
				t.Errorf("%d lines have other handles; there was\n%s\nand now there is\n%s", others, strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			if h := handleOf(t, after, "ct state established"); h != established {
				t.Errorf("the first rule was made anew: handle %d instead of %d", h, established)
			}
			if count(after) < count(before) {
				t.Errorf("the first rule has counted %d packets, and before %d", count(after), count(before))
			}
			echo(old)
			c := connect()
			echo(c)
			c.Close()
		})
	}
}

// sorted: what is made anew is listed last.
func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return lines
}

// handleOf is the handle of the line that says something.
func handleOf(t *testing.T, lines []string, says string) int {
	t.Helper()
	for _, l := range lines {
		if strings.Contains(l, says) {
			if n, err := strconv.Atoi(strings.TrimPrefix(handle.FindString(l), " # handle ")); err == nil {
				return n
			}
		}
	}
	t.Fatalf("no line says %q in\n%s", says, strings.Join(lines, "\n"))
	return 0
}

// count is what the first rule has counted.
func count(lines []string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, "ct state established") {
			_, _ = fmt.Sscanf(counted.FindString(l), "packets %d", &n)
		}
	}
	return n
}

// TestForeignFlowtable: what has no form here is seen all the same, and removed.
func TestForeignFlowtable(t *testing.T) {
	probe(t)
	lab := prefix + "flowtable"
	t.Cleanup(func() { down(t, lab) })
	s := serving(lab, 8080)
	up(t, lab, s)
	cmd := exec.Command("ip", "netns", "exec", lab+".node", "nft", "add flowtable ip service f { hook ingress priority 0; devices = { eth0 }; }")
	if out, err := cmd.CombinedOutput(); strings.Contains(string(out), "not supported") || strings.Contains(string(out), "No such file") {
		t.Skipf("the kernel has no flowtables: %s", out)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	changes := pending(t, lab, s)
	if want := "ip netns exec " + lab + ".node nft delete flowtable ip service f\n"; lines(changes) != want {
		t.Errorf("up would\n%s", lines(changes))
	}
	up(t, lab, s)
}

// TestFirewallErrors: a change that the kernel refuses is named.
func TestFirewallErrors(t *testing.T) {
	probe(t)
	lab := prefix + "refused"
	t.Cleanup(func() { down(t, lab) })
	s := serving(lab, 8080)
	up(t, lab, s)
	run(t, "", "ip", "netns", "exec", lab+".node", "nft", "flush", "chain", "ip", "service", "to-web")
	changes := pending(t, lab, s)
	run(t, "", "ip", "netns", "exec", lab+".node", "nft", "delete table ip service")
	err := testbed.Apply(context.Background(), changes, func(plan.Change) {})
	if want := "making " + lab + ".node: nft rule ip service to-web 0: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v does not begin with %q", err, want)
	}
	up(t, lab, s)
}
