package cni

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
	"labnet/modes/ipip"
	"labnet/modes/vxlan"
)

// promise is what a definition says of what its plugins do.
type promise struct {
	Encap      string    `hcl:"encap,optional"`
	EncapAt    hcl.Range `hcl:"encap,attr_value_range"`
	VNI        *int      `hcl:"vni,optional"`
	VNIAt      hcl.Range `hcl:"vni,attr_value_range"`
	Port       *int      `hcl:"port,optional"`
	PortAt     hcl.Range `hcl:"port,attr_value_range"`
	VLAN       *int      `hcl:"vlan,optional"`
	VLANAt     hcl.Range `hcl:"vlan,attr_value_range"`
	Masquerade bool      `hcl:"masquerade,optional"` // what leaves a node has the node's address
	OwnNode    *bool     `hcl:"own_node,optional"`   // a pod and its own node reach each other
	Nodes      *bool     `hcl:"nodes,optional"`      // pods and nodes reach each other at all
}

func (p *promise) check() (diags hcl.Diagnostics) {
	wrong := func(at hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at})
	}
	switch p.Encap {
	case "", "none", "ipip", "vlan", "vxlan":
	default:
		wrong(p.EncapAt, "Unknown encapsulation", "There is no encapsulation %q.%s", p.Encap, lab.Suggest(p.Encap, []string{"none", "vxlan", "ipip", "vlan"}, "There are"))
		return diags
	}
	for _, s := range []struct {
		name, of    string
		value       *int
		at          hcl.Range
		least, most int
	}{
		{"vni", "vxlan", p.VNI, p.VNIAt, 0, 1<<24 - 1},
		{"port", "vxlan", p.Port, p.PortAt, 1, 65535},
		{"vlan", "vlan", p.VLAN, p.VLANAt, 1, 4094},
	} {
		switch {
		case s.value == nil && s.of == p.Encap && s.name != "port":
			wrong(p.EncapAt, "Missing attribute", "What is encapsulated as %s has a %q, which this block does not say. Add:\n\n  %[2]s = 1", s.of, s.name)
		case s.value != nil && s.of != p.Encap:
			wrong(s.at, "Unused attribute", "%q belongs to encap = %q. Add that, or remove it.", s.name, s.of)
		case s.value != nil && (*s.value < s.least || *s.value > s.most):
			wrong(s.at, "Invalid "+s.name, "%d is not from %d to %d.", *s.value, s.least, s.most)
		}
	}
	return diags
}

// encap is what packets look like between two nodes.
func (m Mode) encap(from, to netip.Addr) plan.Encap {
	if m.set.Expect == nil {
		return plan.Encap{}
	}
	switch p := m.set.Expect; p.Encap {
	case "vxlan":
		port := 4789 // RFC 7348
		if p.Port != nil {
			port = *p.Port
		}
		return plan.Encap{Type: "vxlan", Overhead: vxlan.Overhead(from.Is6()), VNI: *p.VNI, Port: port, Src: from, Dst: to}
	case "vlan":
		return plan.Encap{Type: "vlan", VLAN: *p.VLAN}
	case "ipip":
		return plan.Encap{Type: "ipip", Overhead: ipip.Overhead, Src: from, Dst: to}
	}
	return plan.Encap{}
}

// room is what the underlay leaves the pods.
func (m Mode) room(n *plan.Node) int {
	return n.Uplink().Switch.MTU - m.encap(n.Uplink().Addresses[0].Addr(), netip.Addr{}).Overhead
}

// mtu is that of an endpoint's interface towards pods.
func (m Mode) mtu(c *plan.Net, e plan.Endpoint) int {
	if e.Pod == nil {
		return c.PodMTU(m.room(e.Node))
	}
	for _, nic := range e.Pod.NICs {
		if nic.MTU > 0 {
			return nic.MTU
		}
	}
	return c.PodMTU(m.room(e.Node))
}

// gateway is the address that a node has towards a pod of its own; the zero Addr where its plugins do not say.
func (m Mode) gateway(c *plan.Net, e plan.Endpoint) netip.Addr {
	for i, cidr := range c.CIDRs() {
		for _, nic := range e.Pod.NICs {
			switch {
			case cidr.Addr().Is6() != e.Address.Is6():
			case len(nic.Gateways) > i:
				return nic.Gateways[i]
			case nic.MTU == 0: // nothing is known yet
				return attach.Gateway(c.Member(e.Node).PodCIDRs[i])
			}
		}
	}
	return netip.Addr{}
}

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	e := plan.Expectation{Reachable: true, Source: from.Address, MTU: min(m.mtu(c, from), m.mtu(c, to))}
	said := promise{}
	if m.set.Expect != nil {
		said = *m.set.Expect
	}
	no := func(said *bool) bool { return said != nil && !*said && (from.Pod == nil || to.Pod == nil) }
	switch own := from.Node == to.Node; {
	case no(said.Nodes):
		return plan.Expectation{Lost: "pods and nodes do not reach each other, as the definition has it"}
	case own && no(said.OwnNode):
		return plan.Expectation{Lost: "a pod and its own node do not reach each other, as the definition has it"}
	case own && from.Pod == nil:
		e.Source = m.gateway(c, to)
		return e
	case own:
		return e
	}
	v6 := to.Address.Is6()
	near, far := from.Node.Uplink().Address(v6).Addr(), to.Node.Uplink().Address(v6).Addr()
	e.Wire = true
	if to.Pod != nil {
		e.Encap = m.encap(near, far)
	}
	switch {
	case from.Pod != nil && said.Masquerade:
		e.Source = near
	case from.Pod == nil && e.Encap.Type != "":
		e.Source = netip.Addr{} // the tunnel's, whatever that is
	}
	return e
}
