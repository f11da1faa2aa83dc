package plan

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// podNetwork is the layer of one pod network, arranged by its mode.
type podNetwork struct {
	plan *Plan
	net  *Net
}

// allocate gives the pods their addresses.
func (n podNetwork) allocate() hcl.Diagnostics {
	diags := n.plan.Mode.Allocate(n.net)
	if diags.HasErrors() {
		return diags
	}
	return append(diags, n.joins()...)
}

func (n podNetwork) Needs(*Cluster) []Need {
	var needs []Need
	for _, f := range n.plan.Mode.Needs(n.net) {
		f.By, f.At = "mode "+n.plan.ModeName, n.net.Def.At.Of("mode", n.net.Def.Range)
		needs = append(needs, f)
		for _, m := range n.net.Nodes {
			if f.Or != "" && Datapath(m.Datapath) == Kernel {
				needs = append(needs, Need{Feature: f.Feature, By: "the datapath of node " + m.Name, At: m.At.Of("datapath", m.Range)})
			}
		}
	}
	return needs
}

func (n podNetwork) Plan(c *Cluster, s *State) hcl.Diagnostics {
	s.clashes = interfaces(c)
	diags := n.plan.Mode.Plan(n.net, s)
	return append(diags, n.clashes(s)...)
}

// Expect is the mode's answer for what concerns pods, and outside of the nodes both the mode's and the definition's.
func (n podNetwork) Expect(f Flow, e Expectation) Expectation {
	outside := f.From.Node.Kind != lab.Node || f.To.Node.Kind != lab.Node
	_, joins := n.plan.Mode.(Joiner)
	switch {
	case f.From.Pod == nil && f.To.Pod == nil, f.From.Bridged(), f.To.Bridged():
		return e
	case !outside || joins:
		e = n.plan.Mode.Expect(n.net, f)
	case f.From.Pod != nil:
		e = n.leaves(f.From, f.To)
	default:
		e = n.enters(f.From, f.To)
	}
	e.Destination = f.To.Address
	return e
}

// leaves is what a pod behind its node sends to a router or a host: as its node would, from the pod's address or, where the
// mode translates it, from the node's.
func (n podNetwork) leaves(from, to Endpoint) Expectation {
	there := n.plan.walk.walk(stop{machine: from.Node.Machine}, to.Address)
	if !there.arrives {
		return Expectation{Lost: there.lost}
	}
	e := n.plan.Mode.Expect(n.net, Flow{From: from, To: to})
	if e.Source != from.Address {
		e.Source = there.source
	}
	if back := n.plan.walk.walk(stopOf(to), e.Source); !back.arrives {
		return Expectation{OneWay: true, Lost: "no way back: " + back.lost}
	}
	most, _ := there.mtu()
	e.MTU, e.Spread = min(e.MTU, most), there.varies
	e.Wire = there.legs[0].from.on == from.Node.Uplink()
	return e
}

// enters is what a router or a host sends to a pod behind its node: by its own routes to some node, and from there as the
// mode has it.
func (n podNetwork) enters(from, to Endpoint) Expectation {
	there := n.plan.walk.walk(stopOf(from), to.Address)
	if !there.arrives {
		return Expectation{Lost: there.lost}
	}
	if back := n.plan.walk.walk(stop{machine: to.Node.Machine}, there.source); !back.arrives {
		return Expectation{OneWay: true, Lost: "no way back: " + back.lost}
	}
	entry := n.net.carriers[there.last().machine]
	v6 := to.Address.Is6()
	own := entry.Uplink().Address(v6)
	inner := n.plan.Mode.Expect(n.net, Flow{
		From: Endpoint{Title: entry.Name, Namespace: entry.Namespace, Address: own.Addr(), Node: entry, Machine: entry.Machine},
		To:   to,
	})
	if !inner.Reachable {
		return inner
	}
	most, _ := there.mtu()
	e := Expectation{Reachable: true, Source: there.source, MTU: min(most, inner.MTU), Spread: there.varies, Wire: there.legs[0].from.on == from.Node.Uplink()}
	if entry != to.Node {
		e.Source = netip.Addr{} // some modes translate it on the node where it enters
	}
	return e
}

// interfaces are the keys of the machines' interfaces.
func interfaces(c *Cluster) map[Key]bool {
	keys := map[Key]bool{}
	for _, m := range c.Lab.Machines {
		for _, nic := range m.Interfaces {
			keys[Key{c.NamespaceOf(m.Name), KindLink, nic.Name}] = false
		}
	}
	return keys
}

// clashes reports interfaces that have the name of a device which the mode makes on that machine.
func (n podNetwork) clashes(s *State) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, m := range n.net.Lab.Machines {
		for _, nic := range m.Interfaces {
			if s.clashes[Key{n.net.NamespaceOf(m.Name), KindLink, nic.Name}] {
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  "The mode has a device of that name",
					Detail:   fmt.Sprintf("In mode %s %s %q gets a device named %s. Give the interface another name.", n.plan.ModeName, m.Kind, m.Name, nic.Name),
					Subject:  nic.At.Of("name", nic.Range).Ptr(),
				})
			}
		}
	}
	s.clashes = nil
	return diags
}

// joins reports CIDRs of the network that lie in the subnet of a segment which the mode does not put its pods on.
func (n podNetwork) joins() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, cidr := range n.net.CIDRs() {
		s, inside := n.net.Lab.Joined(cidr)
		if !inside {
			continue
		}
		if j, ok := n.plan.Mode.(Joiner); !ok || !j.Joins(n.net, s) {
			diags = append(diags, n.net.Lab.Refuse(cidr, s, n.plan.ModeName))
		}
	}
	return diags
}
