package kubeproxy

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab/nft"
)

// TestIPTablesDump: what is computed is what kube-proxy made on a node by way of iptables, word for word and in its order,
// for three services in IPv4 and none in IPv6. From the dump two counters of nfnetlink_acct are left out, as kube-proxy
// leaves them out where the kernel has none.
func TestIPTablesDump(t *testing.T) {
	text, err := os.ReadFile("testdata/kube-proxy-iptables.nft")
	if err != nil {
		t.Fatal(err)
	}
	four, six := IPTables(node(nft.IPv4), dumped()), IPTables(node(nft.IPv6), nil)
	var got strings.Builder
	for _, name := range []string{"mangle", "nat", "filter"} {
		got.WriteString(four.Of(nft.IPv4, name).Text() + six.Of(nft.IPv6, name).Text())
	}
	// nft(8) had no words for the target MASQUERADE of IPv6.
	want := regexp.MustCompile(`(table ip6 nat [^}]*(?:}[^}]*)*?bytes 0) \n`).ReplaceAllString(string(text), "$1 masquerade fully-random\n")
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("not what kube-proxy made (-kube-proxy +here):\n%s", diff)
	}
}

// dumped are the services of the dumps.
func dumped() []Port {
	endpoints := []netip.AddrPort{netip.MustParseAddrPort("10.42.0.2:8080"), netip.MustParseAddrPort("10.42.1.2:8080")}
	port := Port{Service: "default/web", Name: "http", Protocol: "tcp", Port: 80, Address: netip.MustParseAddr("10.43.0.10"), Endpoints: endpoints}
	outside, empty := port, port
	outside.Service, outside.Address, outside.NodePort = "default/webnp", netip.MustParseAddr("10.43.0.11"), 30080
	empty.Service, empty.Address, empty.Endpoints = "default/empty", netip.MustParseAddr("10.43.0.12"), nil
	return []Port{port, outside, empty}
}

// many are as many services with as many endpoints each, every second of which is on the node.
func many(services, endpoints int, change func(*Port)) []Port {
	var ports []Port
	for i := range services {
		p := Port{Service: fmt.Sprintf("default/s%d", i), Name: "http", Protocol: "tcp", Port: 80, Address: netip.AddrFrom4([4]byte{10, 43, byte(i / 250), byte(1 + i%250)})}
		for j := range endpoints {
			p.Endpoints = append(p.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 42, byte(j % 2), byte(2 + i*endpoints/2 + j/2)}), 8080))
		}
		if change != nil {
			change(&p)
		}
		ports = append(ports, p)
	}
	return ports
}

// TestIPTablesCounts: the numbers of kube-proxy's own test of its rules, and the formula behind them.
func TestIPTablesCounts(t *testing.T) {
	count := func(ports []Port) (nat, filter int) {
		for _, r := range IPTables(node(nft.IPv4), ports).Rules {
			jumps := slices.Contains([]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}, r.Chain)
			kubelet := r.Chain == "KUBE-FIREWALL"
			switch {
			case jumps || kubelet: // kube-proxy makes these once, and does not count them
			case r.Table == "nat":
				nat++
			case r.Table == "filter":
				filter++
			}
		}
		return nat, filter
	}
	for _, row := range []struct{ services, endpoints, nat, filter int }{
		{0, 0, 5, 3}, {1, 0, 5, 4}, {1, 1, 10, 3}, {1, 2, 13, 3}, {1, 10, 37, 3},
		{10, 0, 5, 13}, {10, 1, 55, 3}, {10, 2, 85, 3}, {10, 10, 325, 3}, {10, 6, 205, 3},
	} {
		if nat, filter := count(many(row.services, row.endpoints, nil)); nat != row.nat || filter != row.filter {
			t.Errorf("%d services, %d endpoints: %d rules in nat and %d in filter, want %d and %d", row.services, row.endpoints, nat, filter, row.nat, row.filter)
		}
	}
	for services := range 8 {
		for endpoints := range 5 {
			with := min(endpoints, 1) * services
			for _, kind := range []struct {
				what        string
				change      func(*Port)
				nat, filter int // more than a service with a cluster IP alone
			}{
				{"node port", func(p *Port) { p.NodePort = 30000 }, 3 * with, services - with},
				{"node port and load balancer", func(p *Port) {
					p.NodePort, p.Balancer = 30000, netip.MustParseAddr("192.0.2.1")
				}, 4 * with, 2 * (services - with)},
				{"affinity", func(p *Port) { p.Affinity = 10800 }, with * endpoints, 0},
				{"all is masqueraded", nil, 0, 0},
			} {
				nat, filter := count(many(services, endpoints, kind.change))
				if wantNAT, wantFilter := 5+with*(2+3*endpoints)+kind.nat, 3+services-with+kind.filter; nat != wantNAT || filter != wantFilter {
					t.Errorf("%d services, %d endpoints, %s: %d rules in nat and %d in filter, want %d and %d", services, endpoints, kind.what, nat, filter, wantNAT, wantFilter)
				}
			}
		}
	}
}

// TestAlike: where it is said that all nodes have the same tables they have, whichever endpoints are their own; and where traffic is
// kept on its node they have not.
func TestAlike(t *testing.T) {
	changes := map[string]func(*Port){
		"":         func(*Port) {},
		"affinity": func(p *Port) { p.Affinity = 60 },
		"outside":  func(p *Port) { p.NodePort, p.Balancer = 30000+p.Port, netip.MustParseAddr("192.0.2.7") },
		"internal": func(p *Port) { p.InternalLocal = true },
		"external": func(p *Port) { p.ExternalLocal, p.NodePort = true, 30000+p.Port },
		"nobody":   func(p *Port) { p.Endpoints = nil },
	}
	for name, change := range changes {
		ports := many(3, 2, change)
		of := func(own netip.Addr) *nft.Ruleset {
			n := Node{Family: nft.IPv4, Pods: netip.MustParsePrefix("10.42.0.0/16"), Address: own, Local: func(a netip.Addr) bool { return a == own }}
			return IPTables(n, ports)
		}
		first, other := of(ports[0].address()), of(netip.MustParseAddr("192.0.2.1"))
		if same := reflect.DeepEqual(first, other); same != Alike(ports) {
			t.Errorf("with %q it is %t that the tables are alike", name, same)
		}
	}
}

// address is that of an endpoint, where there is one.
func (p Port) address() netip.Addr {
	if len(p.Endpoints) == 0 {
		return netip.Addr{}
	}
	return p.Endpoints[0].Addr()
}
