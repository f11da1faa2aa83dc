// Package macvlan puts pods on the underlay itself: every pod's eth0 is a macvlan device on its node's uplink or, as Bifrost
// has it, on a VLAN of the uplink (eth0.10). Pods have addresses of one subnet, wherever they run, and send to one another
// as machines on one switch do.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// Pods of one node talk inside macvlan, and nothing of it is on the wire. What is not for the pods' subnet goes to the router
// that has an address there: other VLANs, and the nodes themselves, are reached only by way of it.
//
// Cost: one device a pod, one VLAN device a node; no route, no rule and no state on any node. In return the switch learns
// the address of every pod, and its ports have to accept many of them: clouds and port security often do not. A node does
// not reach its own pods, nor they it, except through a router: macvlan does not connect a device with those that stand on it,
// and a switch does not send a frame back where it came from.
//
// What pods send passes no firewall of their node, and so nobody translates what is for a service. With service_veth each pod
// has a second device for it, as Bifrost's have: veth0, whose other end is on its node (svc-p1), with the routes for the
// services' addresses and for the node's own.
//
//	pod eth0 10.10.0.2 ── eth0.10 of node1 ═ VLAN 10 ═ the pods of all nodes, the router
//	    veth0 ── svc-p1 192.168.205.2 of node1, which translates 10.96.0.0/16
//
// An endpoint answers whom it sees as the client, and a pod it would answer by the VLAN, past the node that alone can translate
// the answer back. So all connections to services are masqueraded, also those of pods: kube-proxy does that where its
// --cluster-cidr does not cover the pods, or with --masquerade-all. The source is the node's address; what a node sends to its
// own pods goes by svc-p1, and what a pod sends to its own node by veth0, since the answers to masqueraded connections do.
//
// bocloud's Bifrost is in no public store. The state of service_veth is what spiderpool's coordinator makes for such pods
// (cmd/coordinator, mode underlay): a pair with veth0 in the pod; there a route to the node's addresses, and by way of these one for the
// services; on the node a route to the pod's addresses; neighbours permanent on both sides. What differs: the node's end has a
// name that can be read, instead of veth and a part of the container's ID, and the node's address, so that masquerading gives no other
// one; the node's routes to pods are in the table main, instead of in 500; rp_filter is 0 in all of lab anyway.
//
// The kernel state else is that of the CNI plugin macvlan 1.1.1 in mode bridge. What differs: MAC addresses are derived from the
// pods' addresses instead of random, and addresses come in the order of the nodes from one range, where the plugin's
// host-local hands them out on every node by itself.
package macvlan

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	attach.Shared
	veth bool // service_veth
}

func (Mode) About() string {
	return "pods on the underlay's own segment or VLAN, each with a MAC address there (Bifrost, CNI macvlan)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	var set struct {
		Veth *bool    `hcl:"service_veth"`
		Rest hcl.Body `hcl:",remain"`
	}
	diags := gohcl.DecodeBody(body, ctx, &set)
	if set.Rest == nil {
		return Mode{}, diags
	}
	shared, _, more := attach.DecodeShared("macvlan", set.Rest, ctx, "bifrost")
	return Mode{shared, set.Veth != nil && *set.Veth}, append(diags, more...)
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return append(m.Shared.Needs(), plan.Need{Feature: plan.FeatureMACVLAN})
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	for _, n := range c.Nodes {
		m.Pods(c, s, n, plan.MACVLAN{Lower: m.Device(c, s, n), Mode: "bridge"})
	}
	if !m.veth {
		return nil
	}
	for _, n := range c.Nodes {
		for _, p := range n.NICs {
			serviceVeth(c, s, n, p)
		}
	}
	return lacking(c)
}

// Expect: with service_veth a node and its own pods have a way of their own, and else everything goes by the segment.
func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	walk := m.Walk(c)
	walk.Veth = m.veth
	return walk.Expect(f)
}
