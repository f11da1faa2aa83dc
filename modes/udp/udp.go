// Package udp is flannel's udp backend: on every node a process carries the pods' packets between a TUN device and UDP.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// Cost per node: one process and one device, whatever the number of nodes. Every packet is copied out of the kernel and
// back on both nodes, and wakes a process on each: that is why nobody uses it where there is a choice, and why it runs
// wherever there is /dev/net/tun. The underlay needs to carry UDP between the nodes; they need not share a switch.
//
// The kernel state is that of flanneld 0.28; the agent does what its C proxy does, except that it answers nothing for a
// packet without a route (which cannot come: the kernel routes only the pod network to it).
package udp

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
	"labnet/modes/udp/proxy"
)

const (
	device   = "flannel0"
	agent    = "udp"
	overhead = 20 + 8 // outer IP and UDP
	queue    = 500    // of a TUN device: drivers/net/tun.c
)

// Mode is the mode with its settings.
type Mode struct{ port int }

func (Mode) About() string {
	return "IP in UDP by a process on every node, over any underlay (flannel udp)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	var set struct {
		Port      *int      `hcl:"port"`
		PortRange hcl.Range `hcl:"port,attr_value_range"`
	}
	diags := gohcl.DecodeBody(body, ctx, &set)
	m := Mode{port: 8285}
	if set.Port != nil {
		m.port = *set.Port
		if m.port < 1 || m.port > 65535 {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Port out of range",
				Detail:  fmt.Sprintf("A UDP port is a number from 1 to 65535, not %d. flannel's is 8285.", m.port),
				Subject: &set.PortRange,
			})
		}
	}
	return m, diags
}

func (Mode) Needs(*plan.Net) []plan.Need {
	return []plan.Need{{Feature: plan.FeatureTUN}, {Feature: plan.FeatureNFTables}}
}

func (Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	return append(attach.OnlyIPv4(c, "udp"), attach.AllocateBridge(c)...)
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := append(attach.Families(c), attach.Room(c, "udp", room)...)
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		attach.Bridge(c, s, n, podMTU(c, n.Node))
		attach.Flannel(c, s, n)
		local := n.Uplink().Address(false).Addr()
		config := proxy.Config{Device: device, MTU: room(n.Node), Local: local, Port: m.port}
		for _, peer := range c.Nodes {
			if peer != n {
				config.Routes = append(config.Routes, proxy.Route{To: peer.PodCIDRs[0], Via: peer.Uplink().Address(false).Addr()})
			}
		}
		s.Add(
			plan.Agent{Namespace: n.Namespace, Name: agent, Config: plan.Config(config), On: n.Uplink().Name},
			plan.Link{Namespace: n.Namespace, Name: device, Device: plan.TUN{Agent: agent}, MTU: room(n.Node), TxQueueLen: queue},
			plan.Address{Namespace: n.Namespace, Link: device, Prefix: netip.PrefixFrom(tunAddress(n), 32)},
		)
		if c.CIDRs()[0] != n.PodCIDRs[0] { // else the node has all pods, and reaches them by its bridge
			s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: c.CIDRs()[0], Dev: device, Protocol: plan.ProtocolBoot})
		}
	}
	return diags
}

// room is what is left inside the tunnel, and the MTU of its device: flanneld knows no other.
func room(n *plan.Node) int { return n.Uplink().Switch.MTU - overhead }

func podMTU(c *plan.Net, n *plan.Node) int { return c.PodMTU(room(n)) }

// tunAddress is the address of a node's TUN device: the first of its block.
func tunAddress(n *plan.Member) netip.Addr { return n.PodCIDRs[0].Addr() }

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	switch {
	case from.Node == to.Node:
		return attach.Local(f, podMTU(c, from.Node), attach.Gateway(c.Member(from.Node).PodCIDRs[0]))
	case to.Pod == nil:
		return attach.Outside(f, podMTU(c, from.Node))
	}
	e := plan.Expectation{
		Reachable: true, Source: from.Address, MTU: min(podMTU(c, from.Node), podMTU(c, to.Node)), Wire: true,
		Encap: plan.Encap{
			Type: "udp", Overhead: overhead, Port: m.port,
			Src: from.Node.Uplink().Address(false).Addr(), Dst: to.Node.Uplink().Address(false).Addr(),
		},
	}
	if from.Pod == nil {
		e.Source = tunAddress(c.Member(from.Node))
	}
	return e
}
