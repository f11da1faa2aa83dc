package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Expect says what becomes of a flow: what the layers make of it, one after the other.
func (p *Plan) Expect(f Flow) Expectation {
	var e Expectation
	for _, layer := range p.layers {
		e = layer.Expect(f, e)
	}
	return e
}

// BadRoute is a route of the definition that does not lead where it says.
type BadRoute struct {
	Machine string    `json:"machine"`
	Route   string    `json:"route"` // 10.1.0.0/16 via 192.168.205.9
	Problem string    `json:"problem"`
	Range   hcl.Range `json:"-"`
}

// BadRoutes follows every static route and gateway of the definition.
func (p *Plan) BadRoutes() []BadRoute {
	var bad []BadRoute
	alike := p.alike()
	for _, m := range p.Cluster.Lab.Machines {
		report := func(to netip.Prefix, via netip.Addr, at hcl.Range, problem string) {
			if problem != "" {
				name := to.String()
				if to.Bits() == 0 {
					name = "default"
				}
				bad = append(bad, BadRoute{m.Name, fmt.Sprintf("%s via %s", name, via), problem, at})
			}
		}
		for _, g := range m.Gateways {
			report(Everywhere(g.Is6()), g, m.At.Of("gateway", m.Range), p.nextHop(m, g))
		}
		for _, r := range m.Routes {
			for _, via := range r.NextHops() {
				report(r.To, via, r.At.Of("via", r.Range), cmp.Or(p.nextHop(m, via), p.leads(m, *r, via, alike)))
			}
		}
	}
	return bad
}

// nextHop says what is wrong with a next hop.
func (p *Plan) nextHop(m *lab.Machine, via netip.Addr) string {
	out, _, ok := p.walk.route(stop{machine: m}, via)
	if !ok {
		return fmt.Sprintf("%s is on no segment of %s", via, m.Name)
	}
	next, _, ok := p.walk.hop(out, via, via)
	switch {
	case !ok && p.podOnSegment(via):
		return ""
	case !ok:
		return fmt.Sprintf("nobody has %s on %s", via, out.segment)
	case next.machine == m:
		return fmt.Sprintf("%s is %s itself", via, m.Name)
	case next.machine.Kind == lab.Host:
		return fmt.Sprintf("%s is %s, a host, which does not forward", via, next)
	}
	return ""
}

// podOnSegment reports whether an address is a pod's.
func (p *Plan) podOnSegment(a netip.Addr) bool { return p.walk.pods[a] }

// leads follows a route to what it leads to, there and back, from its own machine and from all that come by.
func (p *Plan) leads(m *lab.Machine, r lab.Route, via netip.Addr, alike map[*lab.Machine]bool) string {
	_, joins := p.Mode.(Joiner)
	for _, e := range p.Cluster.Everyone() {
		if !r.To.Contains(e.Address) || !e.Bridged() && (!alike[e.Node.Machine] || e.Pod != nil && (joins || e.Pod.Index > 0)) {
			continue
		}
		if e.Bridged() { // a route to more than that may be meant for the rest
			if def := e.Pod.bridge.Def; slices.ContainsFunc(def.CIDRs, func(c netip.Prefix) bool { return c.Contains(r.To.Addr()) && c.Bits() <= r.To.Bits() }) {
				return fmt.Sprintf("network %q is a bridge of %s's own, which lets nobody in but by published ports", def.Name, e.Node.Name)
			}
			continue
		}
		if !slices.ContainsFunc(p.walk.routes(stop{machine: m}, e.Address), func(c choice) bool { return c.via == via }) {
			continue // another route is more specific
		}
		for _, from := range p.Cluster.Lab.Machines {
			if from == e.Node.Machine || from != m && !alike[from] {
				continue
			}
			for _, t := range p.walk.ways(stop{machine: from}, e.Address) {
				if !t.takes(m, via) {
					continue
				}
				if !t.arrives {
					return fmt.Sprintf("%s does not reach %s: %s", from.Name, e.Title, t.lost)
				}
				if back := p.walk.walk(stop{machine: e.Node.Machine}, t.source); t.source.IsValid() && !back.arrives {
					return fmt.Sprintf("%s reaches %s, and there is no way back: %s", from.Name, e.Title, back.lost)
				}
			}
		}
	}
	return ""
}

// alike picks one of the machines that are on the same segments and have the same routes: packets of the others go its way.
func (p *Plan) alike() map[*lab.Machine]bool {
	picked, seen := map[*lab.Machine]bool{}, map[string]bool{}
	for _, m := range p.Cluster.Lab.Machines {
		key := fmt.Sprint(m.Kind, m.Gateways)
		for _, nic := range m.Interfaces {
			key += " on " + nic.Segment().String()
		}
		for _, r := range m.Routes {
			key += fmt.Sprint(" ", r.To, r.Hops)
		}
		if picked[m] = !seen[key]; picked[m] {
			seen[key] = true
		}
	}
	return picked
}

// narrows warns of segments between nodes that are smaller than what the mode sends.
func (p *Plan) narrows() hcl.Diagnostics {
	var diags hcl.Diagnostics
	if p.Mode == nil {
		return nil
	}
	first := map[lab.Segment]*Node{}
	var nodes []*Node
	for _, n := range p.Cluster.Nodes {
		if s := n.Uplink().Segment(); first[s] == nil && len(n.Pods) > 0 {
			first[s] = n
			nodes = append(nodes, n)
		}
	}
	warned := map[*lab.Switch]bool{}
	for _, a := range nodes {
		for _, b := range nodes {
			for i, cidr := range p.Cluster.CIDRs() {
				v6 := cidr.Addr().Is6()
				up := b.Uplink().Address(v6)
				if a == b || !up.IsValid() {
					continue
				}
				from := Endpoint{Title: a.Pods[0].Title(), Namespace: a.Pods[0].Namespace, Address: a.Pods[0].Addresses()[i].Addr(), Node: a, Pod: a.Pods[0]}
				to := Endpoint{Title: b.Pods[0].Title(), Namespace: b.Pods[0].Namespace, Address: b.Pods[0].Addresses()[i].Addr(), Node: b, Pod: b.Pods[0]}
				e := p.Expect(Flow{From: from, To: to})
				t := p.walk.walk(stop{machine: a.Machine}, up.Addr())
				most, at := t.mtu()
				if !t.arrives || !e.Reachable || e.MTU+e.Encap.Overhead <= most || warned[at.Switch] {
					continue
				}
				warned[at.Switch] = true
				net := p.Cluster.Lab.Network
				d := lab.Contradiction(net.At.Of("mtu", net.Range), at.Switch.At.Of("mtu", at.Switch.Range),
					"A segment on the way is too small for the pods' MTU",
					"In mode %s pods of node %q send packets of up to %d bytes, %d on the underlay, and between nodes %q and %q lies switch %q with an MTU of %d: larger packets are lost there. Add mtu = %d to network %q, or give the switch an MTU of %d; it is at %s.",
					p.ModeName, a.Name, e.MTU, e.MTU+e.Encap.Overhead, a.Name, b.Name, at.Switch.Name, most, most-e.Encap.Overhead, net.Name, e.MTU+e.Encap.Overhead)
				d.Severity = hcl.DiagWarning
				diags = append(diags, d)
			}
		}
	}
	return diags
}
