package attach

import (
	"net/netip"

	"labnet/lab"
	"labnet/lab/plan"
)

// stop is where a packet can be: a machine or a pod.
type stop struct {
	machine *lab.Machine
	pod     *plan.Pod
}

// port is an interface of a stop, as far as packets are concerned.
type port struct {
	segment   lab.Segment
	addresses []netip.Prefix
	on        *lab.Interface // the machine's interface that it is, or that the pod's device stands on
	pod       bool
}

// leg is a way from one stop to the next.
type leg struct {
	from, to port
}

// wire reports whether the frame leaves the machine: between two pods on one uplink it does not.
func (l leg) wire() bool { return l.from.on != l.to.on }

const maxLegs = 32 // more than any lab has routers in a row: what goes further goes in circles

// walker follows packets through a lab whose pods' devices stand on their nodes' uplinks: machines and pods have their
// connected subnets and their routes, and nothing else is known to anybody.
type walker struct {
	s     Shared
	c     *plan.Cluster
	stops []stop
	// behind: pods are not on the segment themselves. Their nodes take in what is for them, and send by their own routes what
	// comes from them; every node has a route to the pods of every other.
	behind bool
}

func (s Shared) walker(c *plan.Cluster, behind bool) *walker {
	w := &walker{s: s, c: c, behind: behind}
	for _, m := range c.Lab.Machines {
		w.stops = append(w.stops, stop{machine: m})
	}
	for _, n := range c.Nodes {
		for _, p := range n.Pods {
			w.stops = append(w.stops, stop{pod: p})
		}
	}
	return w
}

func (w *walker) ports(s stop) []port {
	if s.pod != nil {
		return []port{{w.s.Segment(s.pod.Node), s.pod.Addresses, s.pod.Node.Uplink(), true}}
	}
	var ports []port
	for _, nic := range s.machine.Interfaces {
		ports = append(ports, port{nic.Segment(), nic.Addresses, nic, false})
	}
	return ports
}

func has(ports []port, a netip.Addr) (port, bool) {
	for _, p := range ports {
		for _, own := range p.addresses {
			if own.Addr() == a {
				return p, true
			}
		}
	}
	return port{}, false
}

// route is a stop's choice for a destination: the port, and to whom.
func (w *walker) route(s stop, to netip.Addr) (out port, via netip.Addr, ok bool) {
	ports := w.ports(s)
	best := -1
	consider := func(dst netip.Prefix, next netip.Addr) {
		if !dst.Contains(to) || dst.Bits() <= best {
			return
		}
		for _, p := range ports {
			for _, own := range p.addresses {
				if own.Masked().Contains(next) {
					out, via, best, ok = p, next, dst.Bits(), true
				}
			}
		}
	}
	for _, p := range ports {
		for _, own := range p.addresses {
			consider(own.Masked(), to)
		}
	}
	if s.machine != nil {
		for _, r := range s.machine.Routes {
			consider(r.To, r.Via)
		}
		for _, g := range s.machine.Gateways {
			consider(plan.Everywhere(g.Is6()), g)
		}
		if w.behind && s.machine.Kind == lab.Node {
			for _, peer := range w.c.Nodes {
				for _, block := range peer.PodCIDRs {
					if a := peer.Uplink().Address(block.Addr().Is6()); peer.Machine != s.machine && a.IsValid() {
						consider(block, a.Addr())
					}
				}
			}
		}
		return out, via, ok
	}
	for _, cidr := range w.c.CIDRs() {
		if g := w.s.Gateway(w.c, cidr); g.IsValid() {
			consider(plan.Everywhere(g.Is6()), g)
		}
	}
	return out, via, ok
}

// hop finds who has an address on the segment of a port. A machine and the pods on its interface do not hear each other.
func (w *walker) hop(out port, via, to netip.Addr) (stop, port, bool) {
	for _, s := range w.stops {
		if w.behind && s.pod != nil {
			continue
		}
		p, ok := has(w.ports(s), via)
		if !ok || p.segment != out.segment || p.on == out.on && p.pod != out.pod {
			continue
		}
		if w.s.SameMAC {
			if pod, ok := w.podOn(p, to); ok {
				return pod, p, true
			}
		}
		return s, p, true
	}
	return stop{}, port{}, false
}

// podOn finds the pod with an address among those whose devices stand on what a port is.
func (w *walker) podOn(p port, a netip.Addr) (stop, bool) {
	for _, s := range w.stops {
		if s.pod != nil && s.pod.Node.Uplink() == p.on && w.s.Segment(s.pod.Node) == p.segment && s.pod.Address(a.Is6()) == a {
			return s, true
		}
	}
	return stop{}, false
}

// next is a stop's own choice, and where that leads.
func (w *walker) next(at stop, to netip.Addr) (l leg, via netip.Addr, s stop, ok bool) {
	if !w.behind || at.pod == nil {
		out, via, ok := w.route(at, to)
		if !ok {
			return leg{}, via, stop{}, false
		}
		s, in, ok := w.hop(out, via, to)
		return leg{out, in}, via, s, ok
	}
	// For a pod its node decides, among the routes that lead out of the uplink.
	node := at.pod.Node
	own := w.ports(at)[0]
	if pod, ok := w.podOn(own, to); ok {
		return leg{own, own}, to, pod, true
	}
	self := stop{machine: node.Machine}
	if up, ok := has(w.ports(self), to); ok && up.on == node.Uplink() {
		return leg{own, up}, to, self, true
	}
	out, via, ok := w.route(self, to)
	if !ok || out.on != node.Uplink() {
		return leg{}, via, stop{}, false
	}
	s, in, ok := w.hop(out, via, to)
	return leg{out, in}, via, s, ok
}

// walk follows a packet to an address; ok is whether it gets there. The source is the address that the sender takes.
func (w *walker) walk(from stop, to netip.Addr) (legs []leg, source netip.Addr, ok bool) {
	at := from
	for len(legs) < maxLegs {
		if _, arrived := has(w.ports(at), to); arrived {
			return legs, source, true
		}
		forwards := at.machine != nil && at.machine.Kind != lab.Host
		if len(legs) > 0 && !forwards {
			return legs, source, false
		}
		l, via, next, found := w.next(at, to)
		if !found {
			return legs, source, false
		}
		if len(legs) == 0 && at.pod != nil {
			source = at.pod.Address(to.Is6())
		} else if len(legs) == 0 {
			source = sourceOf(l.from, via)
		}
		legs, at = append(legs, l), next
	}
	return legs, source, false
}

// sourceOf is the address that the kernel takes for what it sends by a port.
func sourceOf(out port, via netip.Addr) netip.Addr {
	for _, a := range out.addresses {
		if a.Masked().Contains(via) {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// Expect follows a packet and the answer to it.
func (s Shared) Expect(c *plan.Cluster, from, to plan.Endpoint) plan.Expectation {
	return s.walker(c, false).expect(from, to)
}

// ExpectBehind does so where nodes route for the pods on their uplinks.
func ExpectBehind(c *plan.Cluster, from, to plan.Endpoint) plan.Expectation {
	return Shared{SameMAC: true}.walker(c, true).expect(from, to)
}

func (w *walker) expect(from, to plan.Endpoint) plan.Expectation {
	legs, source, arrives := w.walk(stopOf(from), to.Address)
	if !arrives || len(legs) == 0 {
		return plan.Expectation{}
	}
	if _, _, answers := w.walk(stopOf(to), source); !answers {
		return plan.Expectation{OneWay: true}
	}
	e := plan.Expectation{Reachable: true, Source: source, MTU: legs[0].from.segment.Switch.MTU}
	for _, l := range legs {
		e.MTU = min(e.MTU, l.from.segment.Switch.MTU)
	}
	if from.Pod != nil { // what comes for a pod its device takes as it is
		e.MTU = w.c.PodMTU(e.MTU)
	}
	if first := legs[0]; first.wire() && first.from.on == from.Node.Uplink() {
		e.Wire = true
		if first.from.pod && w.s.VLAN != 0 {
			e.Encap = plan.Encap{Type: "vlan", VLAN: w.s.VLAN}
		}
	}
	return e
}

func stopOf(e plan.Endpoint) stop {
	if e.Pod != nil {
		return stop{pod: e.Pod}
	}
	return stop{machine: e.Machine}
}
