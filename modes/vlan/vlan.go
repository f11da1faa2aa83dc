// Package vlan is Hybridnet's underlay network: the pods have addresses of a VLAN of the underlay, but stay behind their
// node, which routes for them and answers ARP in the VLAN for each of them. The switch sees one MAC address a node.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// The subnet's gateway is a router of the underlay, which knows nothing of nodes: to it the pods are machines in the VLAN.
// A node reaches its own pods by table 39999, and those of other nodes through that router, as any machine would.
//
//	pod ── hybr… ─ node1 ─ eth0.20 ─ eth0 ══ switch "lan" ══ eth0 ─ eth0.20 ─ node2 ─ hybr… ── pod
//	                                            │ VLAN 20
//	                                        router 10.20.0.1
//
// Cost per node: one VLAN device and two routes, and for every pod of its own a route and a proxy neighbour; nothing for
// other nodes or their pods. The switch has to carry the VLAN to every node, and the VLAN needs a router with an address in
// the pods' subnet.
//
// The kernel state is that of Hybridnet's own packages (of July 2024), the "enhanced address" included: eth0.20 shows the
// address of one of the node's pods, whose local route is gone, so that ARP requests have a sender from the subnet. What
// differs: MAC addresses and veth names are derived from names instead of random; the rule against routing loops is an
// nftables table that drops what came in by eth0.20 and would leave by it, and the marks for kube-proxy's traffic are not
// set; no ARP probe precedes a pod, and none announces it. IPv6 is left out.
package vlan

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
	"labnet/modes/internal/device"
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct{ set attach.Shared }

func (Mode) About() string {
	return "pods behind their nodes with addresses of a VLAN, proxy ARP, policy routing (Hybridnet underlay)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	shared, _, diags := attach.DecodeShared("vlan", body, ctx, "hybridnet")
	return Mode{shared}, diags
}

func wrong(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// shared is what the settings say, with the VLAN that they may leave to the network: the one in whose subnet that lies.
func (m Mode) shared(c *plan.Net) attach.Shared {
	s := m.set
	for _, cidr := range c.CIDRs() {
		if segment, ok := c.Lab.Joined(cidr); ok && s.VLAN == 0 {
			s.VLAN = segment.VLAN
		}
	}
	return s
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return []plan.Need{device.NeedVLAN, {Feature: plan.FeatureNFTables}}
}

// Joins reports whether the pods are on that segment.
func (m Mode) Joins(c *plan.Net, s lab.Segment) bool { return m.shared(c).Joins(c, s) }

func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	network := c.Lab.Network
	if diags := attach.OnlyIPv4(c, "vlan"); diags.HasErrors() {
		return diags
	}
	s := m.shared(c)
	if s.VLAN == 0 {
		return hcl.Diagnostics{wrong(network.At.Of("cidr", network.Range), "The pods' VLAN is not known",
			"In mode vlan the pods are in a VLAN. Take the network from the subnet of a switch's VLAN, or say which VLAN it is: mode \"vlan\" { vlan = 20 }.")}
	}
	if diags := s.Allocate(c); diags.HasErrors() {
		return diags
	}
	for _, cidr := range c.CIDRs() {
		if !s.Gateway(c, cidr).IsValid() {
			return hcl.Diagnostics{wrong(network.At.Of("cidr", network.Range), "The pods' VLAN has no gateway",
				fmt.Sprintf("In mode vlan a node sends what its pods send out of %s to a gateway there, and no router has an address in it. Put a router on the switch with vlan = %d, or name the gateway in the mode block.", attach.Subnet(c, cidr), s.VLAN))}
		}
	}
	return nil
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	shared := m.shared(c)
	for _, n := range c.Nodes {
		uplink := n.Uplink()
		below, _ := s.Get(plan.Key{Namespace: n.Namespace, Kind: plan.KindLink, Name: uplink.Name}).(plan.Link)
		name := fmt.Sprintf("%s.%d", uplink.Name, shared.VLAN)
		device.VLAN(c, s, n, plan.Link{
			Namespace: n.Namespace, Name: name, Device: plan.VLAN{Lower: plan.End{Namespace: n.Namespace, Name: uplink.Name}, ID: shared.VLAN},
			MTU: uplink.Switch.MTU, MAC: below.MAC, TxQueueLen: 1000,
		})
		for i, cidr := range c.CIDRs() {
			subnet := attach.Subnet(c, cidr)
			s.Add(
				plan.Route{Namespace: n.Namespace, Table: attach.TableSubnet + i, Dst: subnet, Dev: name, Scope: "link", Protocol: plan.ProtocolBoot},
				plan.Route{Namespace: n.Namespace, Table: attach.TableSubnet + i, Dst: plan.Everywhere(false), Via: shared.Gateway(c, cidr), Dev: name, Protocol: plan.ProtocolBoot},
			)
			attach.NoReturn(s, n, name, subnet)
		}
		if len(n.NICs) > 0 {
			enhanced := plan.NewAddress(n.Namespace, name, n.NICs[0].Addresses[0])
			enhanced.Scope, enhanced.NoPrefixRoute, enhanced.NoLocalRoute = "link", true, true
			s.Add(enhanced)
		}
		attach.Hybridnet(c, s, n, c.PodMTU(attach.OnSegment(n.Node)), name)
	}
	return nil
}

// Expect: inside a node its routes lead to the pods; to everything else a pod is a machine in the VLAN.
func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	if from.Node == to.Node {
		return attach.Local(f, c.PodMTU(attach.OnSegment(from.Node)), from.Node.Uplink().Address(false).Addr())
	}
	e := m.shared(c).Expect(c, f)
	if to.Pod != nil && e.Reachable { // its node routes to it
		e.MTU = c.PodMTU(e.MTU)
	}
	return e
}
