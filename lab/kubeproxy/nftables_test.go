package kubeproxy

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"labnet/lab/nft"
)

func onNode(a netip.Addr) bool { return netip.MustParsePrefix("10.42.0.0/24").Contains(a) }

func node(family nft.Family) Node {
	n := Node{Family: family, Local: onNode}
	if family == nft.IPv4 {
		n.Pods, n.Services, n.Address = netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16"), netip.MustParseAddr("192.168.205.3")
	}
	return n
}

// TestDump: what is computed is what kube-proxy made on a node, word for word, for three services in IPv4 and none in IPv6.
func TestDump(t *testing.T) {
	want, err := os.ReadFile("testdata/kube-proxy.nft")
	if err != nil {
		t.Fatal(err)
	}
	got := NFTables(node(nft.IPv4), dumped()).Text() + NFTables(node(nft.IPv6), nil).Text()
	if got != string(want) {
		t.Errorf("not what kube-proxy made:\n%s", got)
	}
}

// TestCounts: how many objects there are follows from the numbers of services and endpoints, and the rules that every packet
// comes by are always as many.
func TestCounts(t *testing.T) {
	bare := NFTables(node(nft.IPv4), nil)
	if chains, rules := len(bare.Chains), len(bare.Rules); chains != 15 || rules != 22 {
		t.Errorf("without services %d chains and %d rules", chains, rules)
	}
	for services := range 12 {
		for endpoints := range 4 {
			for _, nodePort := range []bool{false, true} {
				var ports []Port
				local := 0
				for i := range services {
					p := Port{Service: fmt.Sprintf("default/s%d", i), Name: "http", Protocol: "tcp", Port: 80, Address: netip.AddrFrom4([4]byte{10, 43, 1, byte(i)})}
					if nodePort {
						p.NodePort = uint16(30000 + i)
					}
					for j := range endpoints {
						p.Endpoints = append(p.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 42, byte(j % 2), byte(2 + i*4 + j)}), 8080))
						local += 1 - j%2
					}
					ports = append(ports, p)
				}
				r := NFTables(node(nft.IPv4), ports)
				with, np := 0, 0
				if endpoints > 0 {
					with = services
				}
				if nodePort {
					np = 1
				}
				for what, n := range map[string][2]int{
					"chains":   {len(r.Chains), 15 + with*(1+np)},
					"rules":    {len(r.Rules), 22 + with*(1+2*np)},
					"elements": {len(r.Elements), 1 + services*(2+np) + local},
				} {
					if n[0] != n[1] {
						t.Errorf("%d services, %d endpoints, node ports %v: %d %s, want %d", services, endpoints, nodePort, n[0], what, n[1])
					}
				}
				on := 0
				for _, rule := range r.Rules {
					if rule.Chain == "services" {
						on++
					}
				}
				if on != 3 {
					t.Errorf("%d services: %d rules in the way of every packet", services, on)
				}
			}
		}
	}
}
