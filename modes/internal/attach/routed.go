package attach

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
)

// caliMAC is the address of every host side of Calico's veths.
const caliMAC = "ee:ee:ee:ee:ee:ee"

// caliMetric is Felix's IPv4NormalRoutePriority, there since v3.32.
const caliMetric = 1024

var (
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::ecee:eeff:feee:eeee") // the link-local address that caliMAC gives
)

// AllocateRouted gives each node the block that Calico's IPAM would, a /26 or /122, and its pods the addresses in it. The
// block's first address is the tunnel device's.
func AllocateRouted(c *plan.Cluster) hcl.Diagnostics {
	if diags := plan.AllocateBlocks(c, 26, 122, 1); diags.HasErrors() {
		return diags
	}
	return eachPod(c, 1, func(block netip.Prefix) int { return block.Addr().BitLen() })
}

// Routed adds a node's pods as Calico connects them: a veth pair without a bridge, a route to each pod, and a blackhole
// for the unused rest of the node's block.
func Routed(c *plan.Cluster, s *plan.State, n *plan.Node, mtu int) {
	for _, block := range n.PodCIDRs {
		s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: block, Type: "blackhole", Protocol: plan.ProtocolFelix})
		if !block.Addr().Is6() {
			answerForGateway(s, n)
		}
	}
	for _, p := range n.Pods {
		host := "cali" + digest("default." + n.Name + "-" + p.Name)[:11]
		near, far := plan.End{Namespace: n.Namespace, Name: host}, plan.End{Namespace: p.Namespace, Name: "eth0"}
		mac := plan.MAC("pod", p.Title())
		s.Add(
			plan.Link{Namespace: near.Namespace, Name: near.Name, Type: "veth", MTU: mtu, MAC: caliMAC, Peer: far},
			plan.Link{Namespace: far.Namespace, Name: far.Name, Type: "veth", MTU: mtu, TxQueueLen: 1000, MAC: mac, Peer: near},
		)
		NoRouterAdvertisements(c, s, near.Namespace, near.Name)
		proxyARP(s, near)
		for _, a := range p.Addresses {
			v6 := a.Addr().Is6()
			gateway := gateway4
			metric := caliMetric
			if v6 {
				gateway, metric = gateway6, 0 // 1024 is what the kernel gives an IPv6 route anyway
				s.Add(plan.Sysctl{Namespace: near.Namespace, Path: "net/ipv6/conf/" + host + "/proxy_ndp", Value: "1", Link: host})
			} else {
				s.Add(plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: single(gateway), Dev: far.Name, Scope: "link", Protocol: plan.ProtocolBoot})
			}
			route := plan.Route{Namespace: near.Namespace, Table: plan.TableMain, Dst: a.Masked(), Dev: near.Name, Protocol: plan.ProtocolBoot, Metric: metric}
			if !v6 {
				route.Scope = "link" // IPv6 routes have no scope
			}
			s.Add(
				plan.Address{Namespace: far.Namespace, Link: far.Name, Prefix: a},
				plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: plan.Everywhere(v6), Via: gateway, Dev: far.Name, Protocol: plan.ProtocolBoot},
				route,
				plan.Neighbour{Namespace: near.Namespace, Link: near.Name, Addr: a.Addr(), MAC: mac},
			)
		}
	}
}

// proxyARP lets the node's side of a veth pair answer for whatever the pod asks for.
func proxyARP(s *plan.State, near plan.End) {
	for path, value := range map[string]string{"conf/%s/proxy_arp": "1", "neigh/%s/proxy_delay": "0", "conf/%s/route_localnet": "1", "conf/%s/forwarding": "1"} {
		s.Add(plan.Sysctl{Namespace: near.Namespace, Path: "net/ipv4/" + fmt.Sprintf(path, near.Name), Value: value, Link: near.Name})
	}
}

// answerForGateway: the node answers ARP only for what it has a route to. A real node has a default route; this one need not.
func answerForGateway(s *plan.State, n *plan.Node) {
	if len(n.Pods) > 0 && !hasDefault(n) {
		s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: single(gateway4), Dev: "lo", Scope: "link", Protocol: plan.ProtocolBoot})
	}
}

func hasDefault(n *plan.Node) bool {
	for _, g := range n.Gateways {
		if g.Is4() {
			return true
		}
	}
	return false
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
