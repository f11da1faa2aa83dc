// Package ipvlan gives every pod an ipvlan device on its node's uplink. All of them have the uplink's MAC address: the node
// tells the pods apart by their IP addresses, so that the switch sees one address a port, as clouds and port security want it.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// In mode l2 pods are on the underlay's segment, or on a VLAN of it, like those of macvlan: addresses of one subnet, ARP, the
// router of the segment as gateway.
//
// In modes l3 and l3s there is no broadcast and no ARP: ipvlan hands a pod's packet to its node's routing table, and takes in
// what arrives at the uplink for a pod. So pods have addresses of a block per node, and each node a route to the block of
// every other, as in host-gw; that is also how terway does it.
//
// In l3s packets pass the node's firewall as well (connection tracking works); otherwise it is as l3.
//
// Cost: one device a pod; in l3 one route for every other node. Nothing is taken off the MTU. A node and its own pods do not
// hear each other in l2; in l3 what a pod sends to its node arrives, and the node has no route for the answer. Both work
// through a router that knows the pods.
//
// The kernel state of a pod is that of the CNI plugin ipvlan 1.1.1. What differs: addresses come in the order of the nodes
// from one range or from blocks, and in l3 the default route names no gateway: the plugin writes that of its IPAM there, which
// nobody ever asks for.
package ipvlan

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	attach.Shared
	sub string // l2, l3, l3s
}

var subs = []string{"l2", "l3", "l3s"}

func (Mode) About() string {
	return "pods on the uplink with its MAC address: on the segment (l2), or routed by their nodes (l3, l3s; terway)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	shared, sub, diags := attach.DecodeShared("ipvlan", body, ctx, subs...)
	m := Mode{Shared: shared, sub: sub}
	m.SameMAC = true
	report := func(setting, summary, detail string) {
		at := m.At[setting]
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, sub), Subject: &at})
	}
	switch {
	case diags.HasErrors() || sub == "l2":
	case m.VLAN != 0:
		report("vlan", "A VLAN is for l2 only", "In %s pods are on no segment: their nodes route for them. Leave out vlan, or write like = \"l2\".")
	case len(m.Gateways) > 0:
		report("gateway", "A gateway is for l2 only", "In %s pods send to nobody directly: their nodes route for them. Leave out gateway, or write like = \"l2\".")
	}
	return m, diags
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return append(m.Shared.Needs(), plan.Need{Feature: plan.FeatureIPVLAN})
}

func (m Mode) Joins(c *plan.Net, s lab.Segment) bool {
	return m.sub == "l2" && m.Shared.Joins(c, s)
}

func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	if m.sub == "l2" {
		return m.Shared.Allocate(c)
	}
	return attach.AllocateBridge(c)
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	if m.sub == "l2" {
		for _, n := range c.Nodes {
			m.Pods(c, s, n, plan.IPVLAN{Lower: m.Device(c, s, n), Mode: m.sub})
		}
		return nil
	}
	diags := append(attach.OneSegment(c, "ipvlan "+m.sub), attach.Families(c)...)
	if diags = append(diags, attach.Room(c, "ipvlan "+m.sub, attach.OnSegment)...); diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		for _, p := range n.NICs {
			attach.OnUplink(c, s, p, plan.IPVLAN{Lower: plan.End{Namespace: n.Namespace, Name: n.Uplink().Name}, Mode: m.sub})
			for _, a := range p.Addresses {
				s.Add(defaultRoute(p.Namespace, a.Addr().Is6()))
			}
		}
		for _, peer := range c.Nodes {
			if peer == n {
				continue
			}
			for _, block := range peer.PodCIDRs {
				via := peer.Uplink().Address(block.Addr().Is6()).Addr()
				s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: block, Via: via, Dev: n.Uplink().Name, Protocol: plan.ProtocolBoot})
			}
		}
	}
	return diags
}

// defaultRoute is a pod's in l3: whatever leaves by its device is the node's to route.
func defaultRoute(pod string, v6 bool) plan.Route {
	r := plan.Route{Namespace: pod, Table: plan.TableMain, Dst: plan.Everywhere(v6), Dev: "eth0", Protocol: plan.ProtocolBoot}
	if !v6 {
		r.Scope = "link" // IPv6 routes have no scope
	}
	return r
}

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	if m.sub == "l2" {
		return m.Shared.Expect(c, f)
	}
	return attach.ExpectBehind(c, f)
}
