package attach

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/nft"
	"labnet/lab/plan"
)

// The routing tables of a Hybridnet node, in the order in which its rules ask them. Where none of them has a route, or the
// route is a throw, the main table follows.
const (
	TableLocalPods = 39999 // the node's own pods
	TableOverlay   = 40000 // what is reached through the tunnel
	TableMarked    = 40001 // answers that have to go back through the tunnel
	TableSubnet    = 10000 // what comes from the pods' subnet
)

// HybridnetVeths matches the node's side of every pod's veth pair.
const HybridnetVeths = "hybr*"

// AllocateOverlay gives the pods addresses of the one subnet that all nodes share, wherever the nodes are.
func AllocateOverlay(c *plan.Net, mode string) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, cidr := range c.CIDRs() {
		diags = append(diags, Shared{Mode: mode}.allocate(c, cidr)...)
	}
	return diags
}

// Subnet is what the pods of a CIDR take for their own subnet: that of the segment in which the network lies, or the network.
func Subnet(c *plan.Net, cidr netip.Prefix) netip.Prefix { return Shared{}.subnet(c, cidr) }

// Hybridnet adds a node's policy rules and its pods. The node answers ARP for its pods on the devices named.
func Hybridnet(c *plan.Net, s *plan.State, n *plan.Member, mtu int, answers ...string) {
	rules := []plan.Rule{
		{Table: TableLocalPods},
		{Table: TableOverlay},
		{Table: TableMarked, Mark: 0x20, Mask: 0x20},
	}
	for i, cidr := range c.CIDRs() {
		// Not for what kube-proxy (0x4000) or Hybridnet (0x40) has translated.
		rules = append(rules, plan.Rule{Table: TableSubnet + i, From: Subnet(c, cidr), Mask: 0x4040})
	}
	for i, r := range rules {
		r.Namespace, r.Priority = n.Namespace, i+1
		s.Add(r)
	}
	s.Add(plan.Sysctl{Namespace: n.Namespace, Path: "net/ipv4/conf/all/arp_filter", Value: "0"})
	answerForGateway(s, n)
	for _, p := range n.NICs {
		hybridnetPod(s, p, mtu, answers)
	}
}

// NoReturn adds a table which keeps what is for a pod that is not there from going back and forth between the node and a
// router.
func NoReturn(s *plan.State, n *plan.Member, device string, subnet netip.Prefix) {
	r := nft.NewRuleset(nft.IPv4, "hybridnet")
	r.Base("filter-FORWARD", "filter", nft.Forward, nft.PriorityFilter)
	r.Rule("filter-FORWARD", nft.Is("iifname", device), nft.Is("oifname", device), nft.Is("ip daddr", subnet), nft.Then(nft.Drop))
	s.AddRuleset(n.Namespace, r)
}

func hybridnetPod(s *plan.State, p *plan.NIC, mtu int, answers []string) {
	near := plan.End{Namespace: p.Node.Namespace, Name: "hybr" + digest("default." + p.Node.Name + "-" + p.Name)[:11]}
	far := plan.End{Namespace: p.Namespace, Name: p.Device}
	s.Add(
		plan.Link{Namespace: near.Namespace, Name: near.Name, Device: plan.Veth{Peer: far}, MTU: mtu, MAC: caliMAC},
		plan.Link{Namespace: far.Namespace, Name: far.Name, Device: plan.Veth{Peer: near}, MTU: mtu, MAC: plan.MAC("pod", p.Title())},
		plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: plan.Single(gateway4), Dev: far.Name, Scope: "link", Protocol: plan.ProtocolBoot},
		plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: plan.Everywhere(false), Via: gateway4, Dev: far.Name, Protocol: plan.ProtocolBoot},
	)
	proxyARP(s, near)
	s.Add(plan.Sysctl{Namespace: near.Namespace, Path: "net/ipv4/conf/" + near.Name + "/rp_filter", Value: "0", Link: near.Name})
	for _, a := range p.Addresses {
		address := plan.NewAddress(far.Namespace, far.Name, a)
		address.NoPrefixRoute = true // neighbours in the subnet are reached by way of the node, too
		s.Add(address, plan.Route{
			Namespace: near.Namespace, Table: TableLocalPods, Dst: plan.Single(a.Addr()), Dev: near.Name, Protocol: plan.ProtocolBoot,
		})
		for _, device := range answers {
			s.Add(plan.Neighbour{Namespace: near.Namespace, Link: device, Addr: a.Addr(), Proxy: true})
		}
	}
}
