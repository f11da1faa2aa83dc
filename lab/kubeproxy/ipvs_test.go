package kubeproxy

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/nft"
)

func ipvsNode(family nft.Family) Node {
	n := node(family)
	n.Scheduler = "rr"
	if family == nft.IPv4 {
		n.Addresses = []netip.Addr{netip.MustParseAddr("192.168.205.3")}
	}
	return n
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestIPVSDump: what is computed is what kube-proxy made on a node with ipvs, for three services in IPv4 and none in IPv6: its
// tables as nft(8) lists them and as iptables-save does, its ipsets, and the addresses and virtual servers.
func TestIPVSDump(t *testing.T) {
	four, six := NewIPVS(ipvsNode(nft.IPv4), dumped()), NewIPVS(ipvsNode(nft.IPv6), nil)
	got := ""
	for _, r := range []*nft.Ruleset{four.Tables, six.Tables} {
		for _, table := range r.Tables {
			got += r.Of(table.Family, table.Name).Text()
		}
	}
	want := regexp.MustCompile(`packets \d+ bytes \d+`).ReplaceAllString(testdata(t, "kube-proxy-ipvs.nft"), "packets 0 bytes 0")
	// nft(8) had no words for the target MASQUERADE of IPv6.
	want = regexp.MustCompile(`(table ip6 nat [^}]*(?:}[^}]*)*?bytes 0) \n`).ReplaceAllString(want, "$1 masquerade fully-random\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not what kube-proxy made (-kube-proxy +here):\n%s", diff)
	}

	// nft(8) does not say what a match asks; iptables-save does.
	var rules []string
	for line := range strings.Lines(testdata(t, "kube-proxy-ipvs.iptables")) {
		if strings.HasPrefix(line, "-A ") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	var own []string
	for _, l := range four.Tables.Rules {
		words, ok := l.IPTables()
		if !ok {
			t.Errorf("a rule of %s has no words", l.Chain)
		}
		own = append(own, "-A "+l.Chain+" "+words)
	}
	slices.Sort(rules)
	slices.Sort(own)
	if diff := cmp.Diff(rules, own); diff != "" {
		t.Errorf("not what iptables-save prints (-kube-proxy +here):\n%s", diff)
	}

	header := regexp.MustCompile(`Name: (\S+)\nType: (\S+)\n.*\nHeader: (?:family (\S+)|range)[^\n]*\n(?:.*\n)*?Members:\n((?:\S.*\n)*)`)
	dumpedSets, computed := map[string]string{}, map[string]string{}
	for _, m := range header.FindAllStringSubmatch(testdata(t, "kube-proxy-ipvs.ipset"), -1) {
		members := strings.Fields(m[4])
		slices.Sort(members)
		dumpedSets[m[1]] = fmt.Sprint(m[2], " ", m[3], " ", members)
	}
	for _, s := range slices.Concat(four.Sets, six.Sets) {
		family := map[bool]string{false: "inet", true: "inet6"}[s.V6]
		if s.Type == "bitmap:port" {
			family = ""
		}
		members := []string{}
		for _, e := range s.Entries {
			members = append(members, e.String())
		}
		slices.Sort(members)
		computed[s.Name] = fmt.Sprint(s.Type, " ", family, " ", members)
	}
	if diff := cmp.Diff(dumpedSets, computed); diff != "" {
		t.Errorf("not its ipsets (-kube-proxy +here):\n%s", diff)
	}

	var servers []string
	for _, s := range four.Servers {
		servers = append(servers, fmt.Sprint(s.Protocol, " ", s.Address, " ", s.Scheduler, " ", s.Real))
	}
	if diff := cmp.Diff([]string{
		"tcp 10.43.0.10:80 rr [10.42.0.2:8080 10.42.1.2:8080]", "tcp 10.43.0.11:80 rr [10.42.0.2:8080 10.42.1.2:8080]",
		"tcp 192.168.205.3:30080 rr [10.42.0.2:8080 10.42.1.2:8080]", "tcp 10.43.0.12:80 rr []",
	}, servers); diff != "" {
		t.Errorf("not its virtual servers (-kube-proxy +here):\n%s", diff)
	}
	if got := fmt.Sprint(four.Addresses, six.Addresses, six.Servers); got != "[10.43.0.10 10.43.0.11 10.43.0.12] [] []" {
		t.Errorf("the device has %s", got)
	}
}

// TestIPVSCounts: the rules are as many for any number of services, and everything else grows by the formulae.
func TestIPVSCounts(t *testing.T) {
	for services := range 8 {
		for endpoints := range 5 {
			for _, kind := range []struct {
				what            string
				change          func(*Port)
				nat, own, extra int // rules, members of sets for each, virtual servers for each
			}{
				{"cluster IP", nil, 2, 0, 0},
				{"node port", func(p *Port) { p.NodePort = 30000 + uint16(p.Address.As4()[3]) }, 3, 1, 2},
				{"local node port", func(p *Port) { p.NodePort = 30000 + uint16(p.Address.As4()[3]); p.ExternalLocal = true }, 4, 2, 2},
				{"load balancer", func(p *Port) { p.Balancer = netip.AddrFrom4([4]byte{192, 168, 206, p.Address.As4()[3]}) }, 4, 2, 1},
			} {
				n := ipvsNode(nft.IPv4)
				n.Addresses = append(n.Addresses, netip.MustParseAddr("10.42.0.1"))
				got := NewIPVS(n, many(services, endpoints, kind.change))
				nat, filter, members, real := 0, 0, 0, 0
				for _, r := range got.Tables.Rules {
					if r.Table == "nat" {
						nat++
					} else {
						filter++
					}
				}
				for _, s := range got.Sets {
					members += len(s.Entries)
				}
				for _, s := range got.Servers {
					real += len(s.Real)
				}
				local, pods := 0, map[netip.AddrPort]bool{} // some of which are behind two services
				wantNAT := 10
				if services > 0 {
					wantNAT += kind.nat
					if endpoints > 0 {
						wantNAT++ // the hairpin's
					}
				}
				for _, p := range many(services, endpoints, kind.change) {
					for _, e := range n.OwnEndpoints(p) {
						local, pods[e] = local+1, true
					}
				}
				served := services * endpoints * (1 + kind.extra)
				if strings.HasPrefix(kind.what, "local") && endpoints > 0 { // of those outside, the node's own
					served = services*endpoints + local*kind.extra
				}
				for what, n := range map[string][2]int{
					"rules of nat": {nat, wantNAT}, "rules of filter": {filter, 16}, "members": {members, services*(2+kind.own) + len(pods)},
					"virtual servers": {len(got.Servers), services * (1 + kind.extra)}, "real servers": {real, served}, "sets": {len(got.Sets), 17},
				} {
					if n[0] != n[1] {
						t.Errorf("%d services with a %s, %d endpoints: %d %s, want %d", services, kind.what, endpoints, n[0], what, n[1])
					}
				}
			}
		}
	}
}
