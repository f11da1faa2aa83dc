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
// The kernel state is that of the CNI plugin macvlan 1.1.1 in mode bridge. What differs: MAC addresses are derived from the
// pods' addresses instead of random, and addresses come in the order of the nodes from one range, where the plugin's
// host-local hands them out on every node by itself.
package macvlan

import (
	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct{ attach.Shared }

func (Mode) About() string {
	return "pods on the underlay's own segment or VLAN, each with a MAC address there (Bifrost, CNI macvlan)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	shared, _, diags := attach.DecodeShared("macvlan", body, ctx, "bifrost")
	return Mode{shared}, diags
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return append(m.Shared.Needs(), plan.Need{Feature: plan.FeatureMACVLAN})
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	for _, n := range c.Nodes {
		m.Pods(c, s, n, plan.MACVLAN{Lower: m.Device(c, s, n), Mode: "bridge"})
	}
	return nil
}
