package attach

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/nft"
	"labnet/lab/plan"
)

// caliMAC is the address of every host side of Calico's veths.
const caliMAC = "ee:ee:ee:ee:ee:ee"

// CalicoMetric is Felix's IPv4NormalRoutePriority, there since v3.32.
const CalicoMetric = 1024

var (
	gateway4 = netip.MustParseAddr("169.254.1.1")
	gateway6 = netip.MustParseAddr("fe80::ecee:eeff:feee:eeee") // the link-local address that caliMAC gives
)

// AllocateRouted gives each node the block that Calico's IPAM would, a /26 or /122, and its pods the addresses in it. Where
// there is a tunnel, the block's first address is its device's.
func AllocateRouted(c *plan.Net, tunnel bool) hcl.Diagnostics {
	first := 0
	if tunnel {
		first = 1
	}
	if diags := plan.AllocateBlocks(c, 26, 122, first); diags.HasErrors() {
		return diags
	}
	return eachPod(c, first, func(block netip.Prefix) int { return block.Addr().BitLen() })
}

// Routed adds a node's pods as Calico connects them: a veth pair without a bridge, a route to each pod, and a blackhole
// for the unused rest of the node's block; protocol is of whoever makes that: BIRD announces it, Felix only drops by it.
func Routed(c *plan.Net, s *plan.State, n *plan.Member, mtu, protocol int) {
	for _, block := range n.PodCIDRs {
		s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: block, Type: "blackhole", Protocol: protocol})
		if !block.Addr().Is6() {
			answerForGateway(s, n)
		}
	}
	for _, p := range n.NICs {
		host := "cali" + digest("default." + n.Name + "-" + p.Name)[:11]
		near, far := plan.End{Namespace: n.Namespace, Name: host}, plan.End{Namespace: p.Namespace, Name: p.Device}
		mac := plan.MAC("pod", p.Title())
		s.Add(
			plan.Link{Namespace: near.Namespace, Name: near.Name, Device: plan.Veth{Peer: far}, MTU: mtu, MAC: caliMAC},
			plan.Link{Namespace: far.Namespace, Name: far.Name, Device: plan.Veth{Peer: near}, MTU: mtu, TxQueueLen: 1000, MAC: mac},
		)
		NoRouterAdvertisements(c, s, near.Namespace, near.Name)
		proxyARP(s, near)
		for _, a := range p.Addresses {
			v6 := a.Addr().Is6()
			gateway := gateway4
			metric := CalicoMetric
			if v6 {
				gateway, metric = gateway6, 0 // 1024 is what the kernel gives an IPv6 route anyway
				s.Add(plan.Sysctl{Namespace: near.Namespace, Path: "net/ipv6/conf/" + host + "/proxy_ndp", Value: "1", Link: host})
			} else {
				s.Add(plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: plan.Single(gateway), Dev: far.Name, Scope: "link", Protocol: plan.ProtocolBoot})
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
	set := func(path, value string) {
		s.Add(plan.Sysctl{Namespace: near.Namespace, Path: path, Value: value, Link: near.Name})
	}
	set("net/ipv4/conf/"+near.Name+"/proxy_arp", "1")
	set("net/ipv4/neigh/"+near.Name+"/proxy_delay", "0")
	set("net/ipv4/conf/"+near.Name+"/route_localnet", "1")
	set("net/ipv4/conf/"+near.Name+"/forwarding", "1")
}

// answerForGateway: the node answers ARP only for what it has a route to. A real node has a default route; this one need not.
func answerForGateway(s *plan.State, n *plan.Member) {
	if len(n.NICs) > 0 && !hasDefault(n) {
		s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: plan.Single(gateway4), Dev: "lo", Scope: "link", Protocol: plan.ProtocolBoot})
	}
}

// CalicoFirewall adds what every packet of the pods meets of Calico's rules: what leaves the pool is masqueraded, and the
// packets of a VXLAN tunnel, where there is one, are not tracked.
func CalicoFirewall(s *plan.State, n *plan.Member, pool netip.Prefix, vxlanPort int) {
	r, source, destination := nft.NewRuleset(nft.IPv4, "calico"), "ip saddr", "ip daddr"
	if pool.Addr().Is6() {
		r, source, destination = nft.NewRuleset(nft.IPv6, "calico"), "ip6 saddr", "ip6 daddr"
	}
	if vxlanPort != 0 {
		r.Base("raw-PREROUTING", "filter", nft.Prerouting, nft.PriorityRaw)
		r.Rule("raw-PREROUTING", nft.Is("udp dport", vxlanPort), nft.Untracked())
		r.Base("raw-OUTPUT", "filter", nft.Output, nft.PriorityRaw)
		r.Rule("raw-OUTPUT", nft.Is("udp dport", vxlanPort), nft.Untracked())
	}
	r.Base("nat-POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
	r.Rule("nat-POSTROUTING", nft.Is(source, pool), nft.Not(destination, pool), nft.Masquerade(nft.FullyRandom))
	s.AddRuleset(n.Namespace, r)
}

func hasDefault(n *plan.Member) bool {
	for _, g := range n.Gateways {
		if g.Is4() {
			return true
		}
	}
	return false
}
