package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// check reports contradictions between blocks. It runs last, on what could be decoded.
func (l *loader) check(lab *Lab) {
	l.subnets(lab)
	l.nextHops(lab)
	l.podNetwork(lab)
	l.onBridges(lab)
}

// nextHops reports gateways that lead nowhere. It runs when every address is known, including those that are allocated.
func (l *loader) nextHops(lab *Lab) {
	owner := map[netip.Addr]*Machine{}
	for _, m := range lab.Machines {
		for _, i := range m.Interfaces {
			for _, a := range i.Addresses {
				owner[a.Addr()] = m
			}
		}
	}
	leads := func(m *Machine, a netip.Addr, at hcl.Range) {
		switch owner[a] {
		case m:
			l.errorf(at, "Own address", "%s is an address of %s itself: packets would go nowhere. Name the router that should forward them.", a, m.Name)
		case nil:
			l.report(&hcl.Diagnostic{
				Severity: hcl.DiagWarning,
				Summary:  "No machine has this address",
				Detail:   "Packets sent via " + a.String() + " will be lost: no machine of the lab has that address. Is a router missing?",
				Subject:  &at,
			})
		}
	}
	for _, m := range lab.Machines {
		for _, a := range m.Gateways {
			leads(m, a, m.At.Of("gateway", m.Range))
		}
		for _, r := range m.Routes {
			for _, h := range r.Hops {
				leads(m, h.Via, r.At.Of("via", r.Range))
			}
		}
	}
}

// claimed is a range of addresses and what it is for.
type claimed struct {
	netip.Prefix
	what string
	at   hcl.Range
}

func (l *loader) subnets(lab *Lab) {
	var all []claimed
	for _, s := range lab.Segments() {
		block, at := s.At()
		for _, p := range s.Subnets() {
			all = append(all, claimed{p, s.String(), at.Of("subnet", block)})
		}
	}
	if lab.Network != nil {
		for _, p := range lab.Network.CIDRs {
			if _, inside := lab.Joined(p); !inside {
				all = append(all, claimed{p, "the pod network", lab.Network.At.Of("cidr", lab.Network.Range)})
			}
		}
	}
	for _, n := range lab.Bridges {
		for _, p := range n.CIDRs {
			all = append(all, claimed{p, fmt.Sprintf("network %q", n.Name), n.At.Of("cidr", n.Range)})
		}
	}
	if s := lab.Services; s != nil {
		for _, p := range s.CIDRs() {
			all = append(all, claimed{p, "the services", s.At.Of("cidr", s.Range)})
		}
	}
	l.overlaps(all)
	for _, b := range lab.Modes {
		l.variant(lab, b)
	}
}

// variant reports CIDRs of a mode block that a switch has a part of. What other modes have is nobody else's: a lab is in one
// mode at a time.
func (l *loader) variant(lab *Lab, b *ModeBlock) {
	for _, p := range b.CIDRs {
		if _, inside := lab.Joined(p); inside {
			continue
		}
		if s := lab.Services; s != nil {
			for _, cidr := range s.CIDRs() {
				if cidr.Overlaps(p) {
					l.clash(b.At.Of("cidr", b.Range), s.At.Of("cidr", s.Range), "Overlapping networks", "%s of mode %q shares addresses with %s of the services. Give one of them another range; the other is at %s.", p, b.Name, cidr)
				}
			}
		}
		for _, n := range lab.Bridges {
			for _, cidr := range n.CIDRs {
				if cidr.Overlaps(p) {
					l.clash(b.At.Of("cidr", b.Range), n.At.Of("cidr", n.Range), "Overlapping networks", "%s of mode %q shares addresses with %s of network %q. Give one of them another range; the other is at %s.", p, b.Name, cidr, n.Name)
				}
			}
		}
		for _, s := range lab.Segments() {
			block, at := s.At()
			for _, subnet := range s.Subnets() {
				if subnet.Overlaps(p) {
					l.clash(b.At.Of("cidr", b.Range), at.Of("subnet", block), "Overlapping networks", "%s of mode %q shares addresses with %s of %s. Give one of them another range; the other is at %s.", p, b.Name, subnet, s)
				}
			}
		}
	}
}

// podCIDRs returns all CIDRs that the pod network has, in one mode or another.
func (l *Lab) podCIDRs() []netip.Prefix {
	all := slices.Clone(l.Network.CIDRs)
	for _, b := range l.Modes {
		all = append(all, b.CIDRs...)
	}
	return all
}

// Joined returns the segment in whose subnet a CIDR of the pod network lies, which suits only modes that put their pods on that
// segment.
func (l *Lab) Joined(cidr netip.Prefix) (Segment, bool) {
	for _, s := range l.Segments() {
		if subnet, ok := containing(s.Subnets(), cidr.Addr()); ok && subnet.Bits() <= cidr.Bits() {
			return s, true
		}
	}
	return Segment{}, false
}

// Refuse reports that a CIDR of the pod network lies in a segment's subnet, for a mode that cannot have that.
func (l *Lab) Refuse(cidr netip.Prefix, s Segment, mode string) *hcl.Diagnostic {
	block, at := s.At()
	subnet, _ := containing(s.Subnets(), cidr.Addr())
	return Contradiction(l.Network.At.Of("cidr", l.Network.Range), at.Of("subnet", block), "Overlapping networks",
		"%s of the pod network shares addresses with %s of %s. In mode %s the pods need a range of their own; the other is at %s.", cidr, subnet, s, mode)
}

// overlaps reports ranges that share addresses. CIDRs either contain one another or have nothing in common, so in the
// order of their first addresses each is compared with the one that encloses it.
func (l *loader) overlaps(all []claimed) {
	slices.SortStableFunc(all, func(a, b claimed) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var outer []claimed
	for _, c := range all {
		for len(outer) > 0 && !outer[len(outer)-1].Overlaps(c.Prefix) {
			outer = outer[:len(outer)-1]
		}
		if len(outer) > 0 {
			a, b := outer[len(outer)-1], c
			if inFile(a.at, b.at) > 0 {
				a, b = b, a
			}
			if a.at == b.at {
				l.errorf(b.at, "Overlapping networks", "%s of %s and %s of %s share addresses. Compute it from count.index or each.value, for example with cidrsubnet.", b.Prefix, b.what, a.Prefix, a.what)
			} else {
				l.clash(b.at, a.at, "Overlapping networks", "%s of %s shares addresses with %s of %s. Give one of them another range; the other is at %s.", b.Prefix, b.what, a.Prefix, a.what)
			}
		}
		outer = append(outer, c)
	}
}

// podNetwork checks what nodes say about pods against the network.
func (l *loader) podNetwork(lab *Lab) {
	var blocks []claimed
	addresses := map[netip.Addr]hcl.Range{}
	for _, m := range lab.Of(Node) {
		if lab.Network == nil {
			if at, ok := podsOf(m); ok {
				l.errorf(at, "Pods without a network", "%s has pods, but the file has no pod network. Add one:\n\n  network \"pods\" {\n    cidr = \"10.42.0.0/16\"\n  }", m.Name)
			}
			continue
		}
		for _, p := range m.PodCIDRs {
			at := m.At.Of("pod_cidr", m.Range)
			if l.podCIDR(lab, m, p, at) {
				blocks = append(blocks, claimed{p, "node " + m.Name, at})
			}
		}
		for _, p := range m.Pods {
			for _, a := range p.Addresses {
				if !p.Apart() {
					l.podAddress(lab, m, p, a, addresses)
				}
			}
		}
	}
	l.overlaps(blocks)
}

// podsOf returns where a node first mentions pods.
func podsOf(m *Machine) (hcl.Range, bool) {
	for _, p := range m.Pods {
		if !p.Apart() {
			return p.Range, true
		}
	}
	at, ok := m.At["pod_cidr"]
	return at, ok
}

func (l *loader) podCIDR(lab *Lab, m *Machine, p netip.Prefix, at hcl.Range) bool {
	n, all := lab.Network, lab.podCIDRs()
	if len(n.CIDRs) == 0 { // reported with the network
		return false
	}
	if c, ok := containing(all, p.Addr()); !ok || c.Bits() > p.Bits() {
		l.errorf(at, "Outside the pod network", "%s is not in %s, the pod network (%s). Use a part of it, or leave pod_cidr out to have one allocated.", p, join(all), place(n.At.Of("cidr", n.Range)))
		return false
	}
	// The network's address, the broadcast address of IPv4 and the node's own are not for pods.
	spare := 3
	if p.Addr().Is6() {
		spare = 2
	}
	pods := 0
	for _, pod := range m.Pods {
		if !pod.Apart() {
			pods++
		}
	}
	if host := p.Addr().BitLen() - p.Bits(); pods > 0 && host < 12 && 1<<host < pods+spare {
		l.errorf(at, "Too small for its pods", "%s has %d addresses; the %d pods of %s and the node itself need %d. Take a /%d, or fewer pods.", p, 1<<host, pods, m.Name, pods+spare, p.Addr().BitLen()-bits(pods+spare))
	}
	return true
}

// bits is the length of the numbers below n.
func bits(n int) int {
	b := 0
	for 1<<b < n {
		b++
	}
	return b
}

func (l *loader) podAddress(lab *Lab, m *Machine, p *Pod, a netip.Addr, taken map[netip.Addr]hcl.Range) {
	n, all := lab.Network, lab.podCIDRs()
	if len(n.CIDRs) == 0 {
		return
	}
	at := p.At.Of("address", p.Range)
	network, ok := containing(all, a)
	if !ok {
		l.errorf(at, "Outside the pod network", "%s is not in %s, the pod network (%s).", a, join(all), place(n.At.Of("cidr", n.Range)))
		return
	}
	within := network
	for _, c := range m.PodCIDRs {
		if !network.Overlaps(c) {
			continue
		}
		if within = c; !c.Contains(a) {
			l.errorf(at, "Outside the node's pod_cidr", "%s is not in %s, the pod_cidr of %s (%s).", a, c, m.Name, place(m.At.Of("pod_cidr", m.Range)))
			return
		}
	}
	if l.host(a, within, within.String(), at) {
		l.takes(a, at, taken)
	}
}

// takes reports an address that another pod has.
func (l *loader) takes(a netip.Addr, at hcl.Range, taken map[netip.Addr]hcl.Range) {
	if first, ok := taken[a]; ok {
		if first == at {
			l.errorf(at, "Duplicate address", "Several pods would have %s. Compute it from count.index or each.value, or leave it out to have one allocated.", a)
			return
		}
		l.clash(at, first, "Duplicate address", "Another pod has %s already, at %s. Give one of them another address, or leave it out to have one allocated.", a)
		return
	}
	taken[a] = at
}
