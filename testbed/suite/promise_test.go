package suite

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/check"
)

// promising is a lab in which everything that can serve does, wherever it is; %s is what runs in pod a besides.
const promising = `
lab "promising" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
host "h" {
  on "lan" {}
  serve = ["tcp/80", "udp/53"]
}
node "n" {
  on "lan" {}
  pod "a" {
    serve = ["tcp/8080", "udp/5353"]
%s
  }
  pod "shares" {
    networks = ["pod:a"]
    serve    = ["tcp/81"]
  }
  pod "alone" {
    networks = ["none"]
    serve    = ["tcp/81"]
  }
  pod "host" {
    networks = ["host"]
    serve    = ["tcp/82"]
  }
}
node "m" {
  on "lan" {}
  pods = 1
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
`

// listening is a script that listens at an address and answers nobody.
func listening(at string) string {
	address, port, _ := strings.Cut(at, ":")
	return fmt.Sprintf(`exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "%s", LocalPort => %s, Listen => 5, ReuseAddr => 1) or die; sleep 98757'`, address, port)
}

// TestPromises: what serves and what is ready is asked from elsewhere, at every address of its own, and not at lo. Services lead to
// pods in other networks than their own, too, which say who they are.
func TestPromises(t *testing.T) {
	services := "services {}\n"
	for name, port := range map[string]int{"a": 8080, "shares": 81, "host": 82} {
		services += fmt.Sprintf("service %q {\n  selector = { pod = %[1]q }\n  port \"http\" {\n    port   = 80\n    target = %d\n  }\n}\n", name, port)
	}
	p := planned(t, parse(t, "promising.hcl", fmt.Sprintf(promising+services, container("app", "ready = \"tcp/9000\"\n", listening("0.0.0.0:9000"))+
		container("job", "restart = \"never\"\n", "exit 0")+container("works", "", "sleep 98757"))), "promises", "host-gw")
	apply(t, pending(t, p))
	eventually(t, "the job does not end", func() bool { _, said := supervisor(t, p, "job"); return said.State == "ended" })
	eventually(t, "app does not listen", func() bool { _, said := supervisor(t, p, "app"); return said.Settled })
	healthy(t, p)
	r := checked(t, p)
	seen := map[string]int{}
	for _, c := range r.Checks {
		if c.Name != check.Serve && c.Name != check.Ready {
			continue
		}
		seen[c.To+" "+c.Family]++
		if within := c.From == strings.Fields(c.To)[0] || c.Family == ""; within != (strings.HasPrefix(c.To, "n/alone") || c.Family == "") {
			t.Errorf("%s asks %s", c.From, c.To)
		}
	}
	want := []string{"n/alone tcp/81 ipv4", "n/a:app tcp/9000 ipv4", "n/a:job ", "n/a:works "}
	for _, both := range []string{"h tcp/80", "h udp/53", "n/a tcp/8080", "n/a udp/5353", "n/shares tcp/81", "n/host tcp/82"} {
		want = append(want, both+" ipv4", both+" ipv6")
	}
	for _, name := range want {
		if seen[name] != 1 {
			t.Errorf("%s is asked for %d times", name, seen[name])
		}
	}
	if len(seen) != len(want) || r.Promises != len(want) || r.TotalPromises != len(want) {
		t.Errorf("%d, of %d of %d, and not %d: %v", len(seen), r.Promises, r.TotalPromises, len(want), seen)
	}
	if r, err := check.Run(t.Context(), p, check.Options{Pairs: 5}, func(int, int) {}); err != nil || r.Promises != 5 || r.TotalPromises != len(want) {
		t.Errorf("of a sample of 5 %d are asked, of %d: %v", r.Promises, r.TotalPromises, err)
	}
}

// failing are the rows that a check finds broken, each with what is named as its cause. Others than those of promises must not be.
func failing(t *testing.T, r *check.Report) map[string]string {
	t.Helper()
	failed := map[string]string{}
	for _, c := range r.Checks {
		switch {
		case c.OK:
		case c.Name != check.Serve && c.Name != check.Ready:
			t.Errorf("%s fails too: %s → %s", c.Name, c.From, c.To)
		default:
			failed[c.To] = c.Detail
		}
	}
	return failed
}

// oneFamily is the lab without IPv6, whose addresses are waited for when nobody answers.
var oneFamily = strings.NewReplacer(`["192.168.205.0/24", "fd00:205::/64"]`, `"192.168.205.0/24"`, `["10.42.0.0/16", "fd00:42::/48"]`, `"10.42.0.0/16"`).Replace(promising)

// TestRespondersBroken: whatever keeps a responder from answering, exactly what it serves fails, with the place and the reason, and
// up mends what drifted.
func TestRespondersBroken(t *testing.T) {
	p := planned(t, parse(t, "promising.hcl", fmt.Sprintf(oneFamily, "")), "responders", "host-gw")
	apply(t, pending(t, p))
	machine := place(t, p.Cluster.NamespaceOf("n"))
	own, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	undo := func() {}
	serving := func(ports ...string) func(*testing.T) {
		return func(t *testing.T) {
			a := p.State.Get(plan.Key{Namespace: machine.Name, Kind: plan.KindAgent, Name: plan.ResponderAgent}).(plan.Agent)
			a.Config = plan.Config(plan.Responder{Serves: []plan.Serving{
				{Title: "n/a", Namespace: a.Namespace + ".a", Ports: ports}, {Title: "n/shares", Namespace: a.Namespace + ".a", Ports: []string{"tcp/81"}},
				{Title: "n/alone", Namespace: a.Namespace + ".alone", Ports: []string{"tcp/81"}}, {Title: "n/host", Namespace: a.Namespace, Ports: []string{"tcp/82"}},
			}})
			broken := &plan.State{}
			p.State.Each(func(o plan.Object) { broken.Replace(o) })
			broken.Replace(a)
			broken.Resolve()
			apply(t, plan.Diff(p.State, broken))
		}
	}
	signal := func(signal unix.Signal) func(*testing.T) {
		return func(t *testing.T) {
			found, err := testbed.Agents(machine)
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			if err := unix.Kill(found[0].PID, signal); err != nil {
				t.Fatal(err)
			}
			if signal == unix.SIGSTOP {
				t.Cleanup(func() { _ = unix.Kill(found[0].PID, unix.SIGCONT) })
				return
			}
			eventually(t, "the responder does not die", func() bool { found, _ := testbed.Agents(machine); return len(found) == 0 })
		}
	}
	all := []string{"n/a tcp/8080", "n/a udp/5353", "n/shares tcp/81", "n/alone tcp/81", "n/host tcp/82"}
	for _, tt := range []struct {
		name    string
		damage  func(*testing.T)
		rows    []string // that fail
		reason  string
		command string // LAB is the lab's name
	}{
		{"lo", serving("tcp/127.0.0.1:8080", "udp/5353"), all[:1], "the responder of n/a listens on 127.0.0.1:8080 alone, which only n/a itself reaches", "ip netns exec LAB.n.a ss -ltnp"},
		{"other port", serving("tcp/8081", "udp/5353"), all[:1], "the responder of n/a listens on tcp/8081, and not on tcp/8080", "ip netns exec LAB.n.a ss -ltnp"},
		{"other port of UDP", serving("tcp/8080", "udp/5354"), all[1:2], "the responder of n/a listens on udp/5354, and not on udp/5353", "ip netns exec LAB.n.a ss -lunp"},
		{"nothing", serving("udp/5353"), all[:1], "the responder of n/a does not listen on tcp/8080", "ip netns exec LAB.n.a ss -ltnp"},
		{"taken", func(t *testing.T) {
			serving("udp/5353")(t)
			var l net.Listener
			if err := place(t, machine.Name+".a").Do(func() (err error) { l, err = net.Listen("tcp", ":8080"); return err }); err != nil {
				t.Fatal(err)
			}
			undo = func() { l.Close() }
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					_, _ = c.Write([]byte("welcome\n"))
					c.Close()
				}
			}()
		}, all[:1], fmt.Sprintf("tcp/8080 of n/a is taken by %s, process %d, and not by the responder of n/a", strings.TrimSpace(string(own)), os.Getpid()), "ip netns exec LAB.n.a ss -ltnp"},
		{"firewall", func(t *testing.T) {
			sh(t, p, "ip netns exec %s.n nft 'add table inet t; add chain inet t f { type filter hook forward priority 0; }; add rule inet t f tcp dport 8080 drop'")
		}, all[:1], "tcp dport 8080 drop", "nft list ruleset"},
		{"dead", signal(unix.SIGKILL), all, "the responder of n does not run; `lab up` starts it", "lab status LAB n"},
		{"stopped", signal(unix.SIGSTOP), all, ", and answers nobody", "lab status LAB n"}, // last: it is no drift
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.damage(t)
			r := checked(t, p)
			failed := failing(t, r)
			for _, row := range tt.rows {
				if failed[row] == "" {
					t.Errorf("%s does not fail", row)
				}
			}
			if len(failed) != len(tt.rows) || len(r.Culprits) != 1 || !strings.Contains(r.Culprits[0].Reason, tt.reason) || !strings.Contains(r.Culprits[0].Command, strings.ReplaceAll(tt.command, "LAB", p.Cluster.Name)) {
				var text strings.Builder
				r.Text(&text, 100, false)
				t.Errorf("want %q, by %q\n%s", tt.reason, tt.command, text.String())
			}
			undo()
			undo = func() {}
			apply(t, pending(t, p))
			if tt.name != "stopped" {
				if failed := failing(t, checked(t, p)); len(failed) > 0 {
					t.Errorf("up does not mend %v", failed)
				}
			}
		})
	}
}

// TestProgramsBroken: whatever keeps a program from being ready or from running, its row fails and says what.
func TestProgramsBroken(t *testing.T) {
	never := "restart = \"never\"\n"
	ready := func(port int) string { return fmt.Sprintf("ready = \"tcp/%d\"\n", port) }
	p := planned(t, parse(t, "promising.hcl", fmt.Sprintf(oneFamily, strings.Join([]string{
		container("loops", ready(9000), "exit 3"), container("crashes", "", "kill -9 $$"), container("failed", ready(9001)+never, "exit 3"), container("fails", never, "exit 4"),
		container("hangs", ready(9002), "sleep 98757"), container("lo", ready(9003), listening("127.0.0.1:9003")), container("port", ready(9004), listening("0.0.0.0:9005")),
		container("sends", "ready = \"udp/9006\"\n", listening("0.0.0.0:9006")), container("deaf", ready(9007), listening("0.0.0.0:9007")), container("done", ready(9008)+never, "exit 0"),
		container("fine", ready(9009), listening("0.0.0.0:9009")),
	}, ""))), "programs", "host-gw")
	apply(t, pending(t, p))
	within := place(t, p.Cluster.NamespaceOf("n")+".a")
	for _, name := range []string{"loops", "crashes"} {
		eventually(t, name+" is not started again", func() bool { _, said := supervisor(t, p, name); return said.Restarts > 0 })
	}
	for _, name := range []string{"failed", "fails"} {
		eventually(t, name+" does not end", func() bool { a, _ := supervisor(t, p, name); return a.PID == 0 })
	}
	eventually(t, "done does not end", func() bool { _, said := supervisor(t, p, "done"); return said.State == "ended" })
	eventually(t, "they do not listen", func() bool {
		all, err := testbed.Listeners(within)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range all {
			if l.At.Port() >= 9000 && l.At.Port() < 9010 {
				n++
			}
		}
		return n == 5
	})
	for range 6 { // as many as wait to be accepted
		c, err := dial(t, within, "tcp4", "127.0.0.1:9007", patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	failed := failing(t, checked(t, p))
	logs := "; look at `lab logs -l " + p.Cluster.Name + " n/a:"
	look := "; look at `ip netns exec " + within.Name + " ss -l"
	for row, want := range map[string]string{
		"n/a:loops tcp/9000":  "loops of n/a ended with 3, and is started again and again, ",
		"n/a:crashes":         "crashes of n/a ended by killed, and is started again and again, ",
		"n/a:failed tcp/9001": `failed of n/a ended with 3, and is not started again, since its restart is "never"; ` + "`lab up` starts it" + logs + "failed`",
		"n/a:fails":           `fails of n/a ended with 4, and is not started again, since its restart is "never"; ` + "`lab up` starts it" + logs + "fails`",
		"n/a:hangs tcp/9002":  "hangs of n/a runs, and does not listen on tcp/9002" + logs + "hangs`",
		"n/a:lo tcp/9003":     "lo of n/a listens on 127.0.0.1:9003 alone, which only n/a itself reaches" + look + "tnp`",
		"n/a:port tcp/9004":   "port of n/a listens on tcp/9005, and not on tcp/9004" + look + "tnp`",
		"n/a:sends udp/9006":  "sends of n/a listens on tcp/9006, and not on udp/9006" + look + "unp`",
		"n/a:deaf tcp/9007":   "deaf of n/a listens on tcp/9007 and accepts nobody; 6 connections wait" + look + "tnp`",
		"n/a:done tcp/9008":   "done of n/a ended with 0" + logs + "done`",
	} {
		if !strings.HasPrefix(failed[row], want) {
			t.Errorf("%s fails with %q, not %q", row, failed[row], want)
		}
		delete(failed, row)
	}
	if len(failed) > 0 {
		t.Errorf("there fail %v", failed)
	}
}
