// Package geneve is an exercise: Ethernet frames between nodes in GENEVE (RFC 8926), by a device for every other node.
package geneve

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode is the mode; it has no settings.
type Mode struct{}

const (
	vni      = 7
	port     = 6081
	overhead = 20 + 8 + 8 + 14 // outer IP, UDP, GENEVE without options, inner Ethernet
)

func (Mode) About() string { return "Ethernet in GENEVE, a device for every other node" }

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	return Mode{}, gohcl.DecodeBody(body, ctx, &struct{}{})
}

func (Mode) Needs(*plan.Net) []plan.Need {
	return []plan.Need{{Feature: plan.FeatureGENEVE}, {Feature: plan.FeatureNFTables}}
}

func (Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	if diags := attach.OnlyIPv4(c, "geneve"); diags.HasErrors() {
		return diags
	}
	return attach.AllocateBridge(c)
}

func room(n *plan.Node) int { return n.Uplink().Switch.MTU - overhead }

// own is the address of a node's ends of the tunnels: the first of its block.
func own(n *plan.Member) netip.Addr { return n.PodCIDRs[0].Addr() }

func mac(n, peer *plan.Member) string { return plan.MAC("geneve", n.Name, peer.Name) }

func (Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := attach.Room(c, "geneve", room)
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		for _, peer := range c.Nodes {
			if peer == n {
				continue
			}
			device := fmt.Sprintf("geneve%d", peer.Index)
			remote := peer.Uplink().Address(false).Addr()
			s.Add(
				plan.Link{
					Namespace: n.Namespace, Name: device, MTU: room(n.Node), MAC: mac(n, peer), TxQueueLen: 1000,
					Device: plan.GENEVE{VNI: vni, Remote: remote, Port: port},
				},
				plan.Address{Namespace: n.Namespace, Link: device, Prefix: plan.Single(own(n))},
				plan.Neighbour{Namespace: n.Namespace, Link: device, Addr: own(peer), MAC: mac(peer, n)},
				plan.Route{
					Namespace: n.Namespace, Table: plan.TableMain, Dst: peer.PodCIDRs[0], Via: own(peer), Dev: device,
					Protocol: plan.ProtocolBoot, Onlink: true,
				},
			)
		}
		attach.Bridge(c, s, n, c.PodMTU(room(n.Node)))
		attach.Flannel(c, s, n)
	}
	return diags
}

func (Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	if from.Node == to.Node {
		return attach.Local(f, c.PodMTU(room(from.Node)), attach.Gateway(c.Member(from.Node).PodCIDRs[0]))
	}
	if to.Pod == nil {
		return attach.Outside(f, c.PodMTU(room(from.Node)))
	}
	e := plan.Expectation{
		Reachable: true, Source: from.Address, MTU: min(c.PodMTU(room(from.Node)), c.PodMTU(room(to.Node))), Wire: true,
		Encap: plan.Encap{
			Type: "geneve", Overhead: overhead, VNI: vni, Port: port,
			Src: from.Node.Uplink().Address(false).Addr(), Dst: to.Node.Uplink().Address(false).Addr(),
		},
	}
	if from.Pod == nil {
		e.Source, e.MTU = own(c.Member(from.Node)), min(room(from.Node), c.PodMTU(room(to.Node)))
	}
	return e
}
