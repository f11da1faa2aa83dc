// Package attach connects pods to their node, in the ways that several modes share. It is pure.
//
// Bridge is what the CNI bridge plugin makes when flannel's plugin delegates to it: every node has a bridge cni0 that is
// the gateway of the node's block, and every pod hangs on it by a veth pair.
//
//	pod eth0 10.42.0.65/24 ──veth── vethXXXXXXXX ─┐
//	                                              ├─ cni0 10.42.0.1/24 ── the node's routes
//	pod eth0 10.42.0.2/24  ──veth── vethXXXXXXXX ─┘
//
// Routed is Calico's node side: no bridge; every pod has a /32, sends everything to 169.254.1.1, for which the node
// answers by proxy ARP, and the node has one route per pod.
//
// Hybridnet's is like it, but all nodes share one subnet, and which of the node's routing tables a packet meets depends on
// policy rules.
package attach

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
)

// BridgeName is the bridge that flannel's delegate makes.
const BridgeName = "cni0"

// AllocateBridge gives each node the block that flannel would lease it, a /24 or /64, and its pods the addresses that
// host-local would: the first is the gateway's, the second the first pod's.
func AllocateBridge(c *plan.Net) hcl.Diagnostics {
	const reserved = 3 // the block's own address, the gateway, the broadcast address
	if diags := plan.AllocateBlocks(c, 24, 64, reserved); diags.HasErrors() {
		return diags
	}
	return eachPod(c, 2, func(block netip.Prefix) int { return block.Bits() })
}

// Gateway is the bridge's address in a block.
func Gateway(block netip.Prefix) netip.Addr { return plan.Nth(block, 1) }

// Bridge adds a node's bridge and its pods.
func Bridge(c *plan.Net, s *plan.State, n *plan.Member, mtu int) {
	if len(n.NICs) == 0 {
		return // the plugin makes cni0 with the first pod
	}
	var gateways []netip.Addr
	for _, block := range n.PodCIDRs {
		gateways = append(gateways, Gateway(block))
	}
	s.Add(plan.Link{
		Namespace: n.Namespace, Name: BridgeName, Device: plan.Bridge{}, MTU: mtu, TxQueueLen: 1000,
		MAC: plan.MACOf(0x0a, 0x58, gateways...),
	})
	NoRouterAdvertisements(c, s, n.Namespace, BridgeName)
	if c.Features[plan.FeatureBridgeNetfilter] {
		s.Add(plan.Sysctl{Namespace: n.Namespace, Path: "net/bridge/bridge-nf-call-iptables", Value: "1"})
	}
	for i, block := range n.PodCIDRs {
		s.Add(plan.NewAddress(n.Namespace, BridgeName, netip.PrefixFrom(gateways[i], block.Bits())))
	}
	for _, p := range n.NICs {
		host := "veth" + digest(p.Title())[:8]
		near, far := plan.End{Namespace: n.Namespace, Name: host}, plan.End{Namespace: p.Namespace, Name: p.Device}
		s.Add(
			plan.Link{Namespace: near.Namespace, Name: near.Name, Device: plan.Veth{Peer: far}, MTU: mtu, MAC: plan.MAC("veth", p.Title()), Port: plan.Port{Bridge: BridgeName, Hairpin: true}},
			plan.Link{Namespace: far.Namespace, Name: far.Name, Device: plan.Veth{Peer: near}, MTU: mtu, MAC: plan.MACOf(0x0a, 0x58, plan.AddressesOf(p.Addresses)...)},
			plan.Sysctl{Namespace: far.Namespace, Path: "net/ipv4/conf/" + far.Name + "/arp_notify", Value: "1", Link: far.Name},
		)
		NoRouterAdvertisements(c, s, near.Namespace, near.Name)
		if c.SpeaksIPv6() {
			s.Add(plan.Sysctl{Namespace: far.Namespace, Path: "net/ipv6/conf/" + far.Name + "/accept_dad", Value: "0", Link: far.Name})
		}
		for i, a := range p.Addresses {
			gateway := gateways[i]
			s.Add(
				plan.NewAddress(far.Namespace, far.Name, a),
				plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: plan.Everywhere(gateway.Is6()), Via: gateway, Dev: far.Name, Protocol: plan.ProtocolBoot},
			)
			if c.CIDRs()[i] != a.Masked() { // else the address brings it along, and CNI's plugin leaves that
				s.Add(plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: c.CIDRs()[i], Via: gateway, Dev: far.Name, Protocol: plan.ProtocolBoot})
			}
		}
	}
}

// eachPod hands out addresses from first on; length gives the prefix length that the pod's interface shows.
func eachPod(c *plan.Net, first int, length func(block netip.Prefix) int) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range c.Nodes {
		for _, block := range n.PodCIDRs {
			taken := map[netip.Addr]bool{}
			for _, p := range n.NICs {
				for _, a := range p.Asked {
					taken[a] = true
				}
			}
			next := first
			for _, p := range n.NICs {
				addr, asked := wanted(p, block.Addr().Is6())
				last := plan.Last(block)
				if length(block) != block.Bits() || last.Is6() { // nothing is broadcast there
					last = netip.Addr{}
				}
				if asked && (!block.Contains(addr) || addr.Less(plan.Nth(block, first)) || addr == last) {
					at := p.At.Of("address", p.Range)
					diags = append(diags, &hcl.Diagnostic{
						Severity: hcl.DiagError,
						Summary:  "The address is not one of the node's",
						Detail: fmt.Sprintf("%s cannot be used: the pods of node %s have addresses of %s, from %s to %s. Give the pod one of them, or the node a pod_cidr that has room for it.",
							addr, n.Name, block, plan.Nth(block, first), cmp.Or(last.Prev(), plan.Last(block))),
						Subject: &at,
					})
					continue
				}
				for !asked {
					addr = plan.Nth(block, next)
					next++
					asked = !taken[addr]
				}
				p.Addresses = append(p.Addresses, netip.PrefixFrom(addr, length(block)))
			}
		}
	}
	return diags
}

func wanted(p *plan.NIC, v6 bool) (netip.Addr, bool) {
	for _, a := range p.Asked {
		if a.Is6() == v6 {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// NoRouterAdvertisements is what every program sets on the devices it makes. It matters only where there is IPv6.
func NoRouterAdvertisements(c *plan.Net, s *plan.State, ns, link string) {
	if !c.SpeaksIPv6() {
		return
	}
	s.Add(plan.Sysctl{Namespace: ns, Path: "net/ipv6/conf/" + link + "/accept_ra", Value: "0", Link: link})
}

// digest is the hash from which Kubernetes programs make interface names.
func digest(of string) string {
	h := sha1.Sum([]byte(of))
	return hex.EncodeToString(h[:])
}
