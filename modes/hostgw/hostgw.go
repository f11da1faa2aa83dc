// Package hostgw is flannel's host-gw backend: no encapsulation; every node has a route to every other node's pods, and
// the other node itself is the gateway.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// Cost per node: one route for every other node. No device, no neighbour entry, no bytes on the wire, and the full MTU of
// the underlay. In return all nodes have to be on one switch: a router between them would have to know the pods' routes.
//
// The kernel state is that of flanneld 0.28 with --ip-masq and EnableNFTables; what differs: MAC addresses and veth names
// are derived from names instead of random, and leases from the order of the nodes.
package hostgw

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode has no settings.
type Mode struct{}

func (Mode) About() string {
	return "routes between nodes on one switch, no encapsulation (flannel host-gw)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	return Mode{}, gohcl.DecodeBody(body, ctx, &struct{}{})
}

func (Mode) Needs(*plan.Net) []plan.Need { return []plan.Need{{Feature: plan.FeatureNFTables}} }

func (Mode) Allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateBridge(c) }

func (Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := append(attach.OneSegment(c, "host-gw"), attach.Families(c)...)
	diags = append(diags, attach.Room(c, "host-gw", room)...)
	for _, n := range c.Nodes {
		attach.Bridge(c, s, n, podMTU(c, n.Node))
		attach.Flannel(c, s, n)
		attach.Routes(c, s, n)
	}
	return diags
}

func (Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	if from.Node == to.Node {
		own := from.Node.Uplink().Address(to.Address.Is6()).Addr()
		for _, block := range c.Member(from.Node).PodCIDRs {
			if block.Addr().Is6() == to.Address.Is6() {
				own = attach.Gateway(block)
			}
		}
		return attach.Local(f, podMTU(c, from.Node), own)
	}
	if to.Pod == nil {
		return attach.Outside(f, podMTU(c, from.Node))
	}
	return plan.Expectation{Reachable: true, Source: from.Address, MTU: min(podMTU(c, from.Node), podMTU(c, to.Node)), Wire: true}
}

// room is what the underlay leaves the pods: all of it.
func room(n *plan.Node) int { return n.Uplink().Switch.MTU }

func podMTU(c *plan.Net, n *plan.Node) int { return c.PodMTU(room(n)) }
