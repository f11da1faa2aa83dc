package netfilter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
)

// dumped is what kube-proxy was told of when its tables were saved to testdata/kube-proxy.iptables.
func dumped() *nft.Ruleset {
	endpoints := []netip.AddrPort{netip.MustParseAddrPort("10.42.0.2:8080"), netip.MustParseAddrPort("10.42.1.2:8080")}
	port := kubeproxy.Port{Service: "default/web", Name: "http", Protocol: "tcp", Port: 80, Address: netip.MustParseAddr("10.43.0.10"), Endpoints: endpoints}
	outside, empty := port, port
	outside.Service, outside.Address, outside.NodePort = "default/webnp", netip.MustParseAddr("10.43.0.11"), 30080
	empty.Service, empty.Address, empty.Endpoints = "default/empty", netip.MustParseAddr("10.43.0.12"), nil
	return kubeproxy.IPTables(kubeproxy.Node{
		Family: nft.IPv4, Pods: netip.MustParsePrefix("10.42.0.0/16"), Local: func(netip.Addr) bool { return false },
	}, []kubeproxy.Port{port, outside, empty})
}

// saved is kube-proxy's dump without its two counters of nfnetlink_acct, and without the time.
func saved(t *testing.T) string {
	text, err := os.ReadFile("testdata/kube-proxy.iptables")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.Contains(line, "localhost_nps_accepted_pkts") {
			continue
		}
		lines = append(lines, strings.Replace(line, " -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts", "", 1))
	}
	return strings.Join(lines, "")
}

// TestIPTablesSave: what is written for kube-proxy's iptables is to iptables what kube-proxy wrote, rule by rule and chain by
// chain; and to the kernel it is the same, attribute by attribute, as what iptables-restore makes of the dump.
func TestIPTablesSave(t *testing.T) {
	want := saved(t)
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		write(t, c, dumped())
		words := map[string][]string{}
		for _, l := range dumped().Rules {
			text, ok := l.IPTables()
			if !ok {
				t.Errorf("a rule of %s has no words", l.Chain)
			}
			words[l.Table] = append(words[l.Table], "-A "+l.Chain+" "+text)
		}
		for table, all := range words {
			said := strings.FieldsFunc(regexp.MustCompile(`(?m)^:.*\n`).ReplaceAllString(tables(want)[table], ""), func(c rune) bool { return c == '\n' })
			if diff := cmp.Diff(slices.Sorted(slices.Values(said)), slices.Sorted(slices.Values(all))); diff != "" {
				t.Errorf("iptables-save writes the rules of %s otherwise (-iptables +here):\n%s", table, diff)
			}
		}
		if diff := cmp.Diff(tables(want), tables(save(t))); diff != "" {
			t.Errorf("to iptables it is something else (-kube-proxy +here):\n%s", diff)
		}
		ours := byChain(read(t, c))
		run(t, "", "nft", "flush", "ruleset")
		run(t, want, "iptables-nft-restore")
		if diff := cmp.Diff(byChain(read(t, c)), ours); diff != "" {
			t.Errorf("to the kernel it is something else (-iptables +here):\n%s", diff)
		}
	})
}

// tables are what iptables-save prints, by the table.
func tables(text string) map[string]string {
	all := map[string]string{}
	for _, t := range regexp.MustCompile(`(?s)\*(\w+)\n(.*?)COMMIT\n`).FindAllStringSubmatch(text, -1) {
		all[t[1]] = t[2]
	}
	return all
}

// byChain are the expressions of each rule.
func byChain(r *nft.Ruleset) map[string][]nft.Exprs {
	all := map[string][]nft.Exprs{}
	for _, l := range r.Rules {
		name := l.Table + " " + l.Chain
		all[name] = append(all[name], l.Exprs)
	}
	return all
}

// overall are the services of kube-proxy's own tests of all its rules, as far as a lab has them.
func overall() []kubeproxy.Port {
	port := func(ns string, n int, endpoints ...string) kubeproxy.Port {
		p := kubeproxy.Port{Service: fmt.Sprintf("%s/svc%d", ns, n), Name: "p80", Protocol: "tcp", Port: 80, Address: netip.AddrFrom4([4]byte{172, 30, 0, byte(40 + n)})}
		for _, e := range endpoints {
			p.Endpoints = append(p.Endpoints, netip.MustParseAddrPort(e+":80"))
		}
		return p
	}
	local, affine, outside := port("ns2", 2, "10.180.0.2"), port("ns5", 5, "10.180.0.3"), port("ns3", 3, "10.180.0.3")
	local.NodePort, local.Balancer, local.ExternalLocal = 3001, netip.MustParseAddr("1.2.3.4"), true
	outside.NodePort = 3003
	affine.NodePort, affine.Balancer, affine.Affinity = 3002, netip.MustParseAddr("5.6.7.8"), 10800
	return []kubeproxy.Port{port("ns1", 1, "10.180.0.1"), local, outside, port("ns4", 4, "10.180.0.4", "10.180.0.5"), affine, port("ns6", 6)}
}

// TestOverall: for services of all kinds the tables are what kube-proxy's own tests want of it: affinity, load balancers, traffic
// that stays on its node, and services without endpoints.
func TestOverall(t *testing.T) {
	node := kubeproxy.Node{
		Family: nft.IPv4, Pods: netip.MustParsePrefix("10.0.0.0/8"), Services: netip.MustParsePrefix("172.30.0.0/16"), Address: netip.MustParseAddr("192.168.0.2"),
		Local: func(a netip.Addr) bool {
			return slices.Contains([]string{"10.180.0.1", "10.180.0.3", "10.180.0.5"}, a.String())
		},
	}
	inside(t, func() {
		c := dial(t)
		defer c.Close()
		run(t, overallText(t, "iptables"), "iptables-nft-restore")
		want := byChain(read(t, c))
		run(t, "", "nft", "flush", "ruleset")
		write(t, c, kubeproxy.IPTables(node, overall()))
		got := byChain(read(t, c))
		for _, chains := range []map[string][]nft.Exprs{want, got} {
			for name := range chains {
				if !strings.Contains(name, " KUBE-") {
					delete(chains, name) // how packets come into kube-proxy's chains is made apart
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("iptables (-kube-proxy +here):\n%s", diff)
		}
		run(t, "", "nft", "flush", "ruleset")
		write(t, c, kubeproxy.NFTables(node, nil))
		run(t, overallText(t, "nft"), "nft", "-f", "-")
		blocks := sortedBlocks(list(t))
		run(t, "", "nft", "flush", "ruleset")
		write(t, c, kubeproxy.NFTables(node, overall()))
		if diff := cmp.Diff(blocks, sortedBlocks(list(t))); diff != "" {
			t.Errorf("nftables (-kube-proxy +here):\n%s", diff)
		}
	})
}

func overallText(t *testing.T, program string) string {
	text, err := os.ReadFile("testdata/kube-proxy-overall." + program + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sortedBlocks are the chains and sets that nft(8) lists.
func sortedBlocks(text string) []string {
	return slices.Sorted(slices.Values(strings.Split(text, "\n\n")))
}

// TestGeneratedServices: whatever services there are, what is written for them prints alike to nft(8) and here; and iptables
// makes the same of the words that a plan has for its tables, attribute by attribute.
func TestGeneratedServices(t *testing.T) {
	for seed := range uint64(6) {
		inside(t, func() {
			c := dial(t)
			defer c.Close()
			random := rand.New(rand.NewPCG(seed, 15))
			family, iptables := nft.IPv4, "iptables"
			if seed%2 == 1 {
				family, iptables = nft.IPv6, "ip6tables"
			}
			node, ports := generated(random, family)
			r := kubeproxy.NFTables(node, ports)
			write(t, c, r)
			if diff := diff(list(t), r.Text()); diff != "" {
				t.Errorf("seed %d: nft(8) lists something else (-nft +here):\n%s", seed, diff)
			}
			run(t, "", "nft", "flush", "ruleset")
			r = kubeproxy.IPTables(node, ports)
			write(t, c, r)
			want := byChain(read(t, c))
			text := ""
			for _, table := range []string{"nat", "filter"} {
				text += "*" + table + "\n"
				for _, chain := range r.Chains {
					if chain.Table == table && chain.Type == "" {
						text += ":" + chain.Name + " -\n"
					}
				}
				for _, l := range r.Rules {
					if l.Table == table {
						words, ok := l.IPTables()
						if !ok {
							t.Errorf("seed %d: a rule of %s has no words", seed, l.Chain)
						}
						text += "-A " + l.Chain + " " + words + "\n"
					}
				}
				text += "COMMIT\n"
			}
			run(t, "", "nft", "flush", "ruleset")
			run(t, text, iptables+"-nft-restore")
			if diff := cmp.Diff(byChain(read(t, c)), want); diff != "" {
				t.Errorf("seed %d: to the kernel it is something else (-%s +here):\n%s", seed, iptables, diff)
			}
		})
	}
}

// generated are services of all kinds, and a node.
func generated(random *rand.Rand, family nft.Family) (kubeproxy.Node, []kubeproxy.Port) {
	address := func(net byte) netip.Addr {
		b := [16]byte{0xfd, net, 14: byte(random.IntN(3)), 15: byte(1 + random.IntN(250))}
		if family == nft.IPv4 {
			return netip.AddrFrom4([4]byte{10, net, b[14], b[15]})
		}
		return netip.AddrFrom16(b)
	}
	yes := func() bool { return random.IntN(2) == 0 }
	bits := []int{16, 14, 24}[random.IntN(3)]
	pods, services := netip.PrefixFrom(address(42), bits).Masked(), netip.PrefixFrom(address(96), 16).Masked()
	node := kubeproxy.Node{Family: family, MasqueradeAll: yes(), Local: func(a netip.Addr) bool { return a.AsSlice()[len(a.AsSlice())-1]%2 == 0 }}
	if yes() {
		node.Pods, node.Services, node.Address = pods, services, address(168)
	}
	var ports []kubeproxy.Port
	for i := range 12 {
		p := kubeproxy.Port{
			Service: fmt.Sprintf("default/s%d", i), Name: "p", Protocol: []string{"tcp", "udp"}[random.IntN(2)],
			Address: address(96), Port: uint16(1 + i), InternalLocal: yes(), ExternalLocal: yes(),
		}
		if yes() {
			p.Affinity = []uint32{1, 60, 10800}[random.IntN(3)]
		}
		if yes() {
			p.NodePort = uint16(30000 + i)
			if yes() {
				p.Balancer = address(200)
			}
		}
		for range random.IntN(4) {
			if e := netip.AddrPortFrom(address(42), 8080); !slices.Contains(p.Endpoints, e) {
				p.Endpoints = append(p.Endpoints, e)
			}
		}
		ports = append(ports, p)
	}
	return node, ports
}
