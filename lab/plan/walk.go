package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labnet/lab"
)

// stop is where a packet can be: a machine or a pod.
type stop struct {
	machine *lab.Machine
	pod     *Pod
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

// Walk follows packets through a lab as it is defined: machines have their connected subnets, their static routes and their
// gateways, and nothing else is known to anybody.
type Walk struct {
	Cluster *Cluster
	Net     *Net // the pods'; nil where they are behind their nodes
	// Segment is where a node's pods are, as machines of the underlay; nil where they are behind their nodes, and a node
	// delivers whatever is for a pod.
	Segment func(*Node) lab.Segment
	Gateway func(cidr netip.Prefix) netip.Addr // where pods on a segment send what is not for their subnet
	VLAN    int                                // of the pods' frames
	SameMAC bool                               // pods have the MAC address of what they stand on, which takes in what is for their IP addresses
	// Behind: pods are not on the segment themselves. Their nodes take in what is for them, and send by their own routes what
	// comes from them; every node has a route to the pods of every other.
	Behind bool
}

// holder is a stop and its port that has an address.
type holder struct {
	stop
	port
}

// walker is a walk with its addresses sorted.
type walker struct {
	Walk
	c       *Cluster
	stops   []stop
	holders map[netip.Addr][]holder
	pods    map[netip.Addr]bool // that nodes deliver to
}

func (walk Walk) walker() *walker {
	c := walk.Cluster
	w := &walker{Walk: walk, c: c, holders: map[netip.Addr][]holder{}, pods: map[netip.Addr]bool{}}
	for _, m := range c.Lab.Machines {
		w.stops = append(w.stops, stop{machine: m})
	}
	for _, n := range c.Nodes {
		for _, p := range n.Pods {
			if w.Segment != nil {
				w.stops = append(w.stops, stop{pod: p})
				continue
			}
			for _, a := range p.Addresses() {
				w.pods[a.Addr()] = true
			}
		}
	}
	for _, s := range w.stops {
		for _, p := range w.ports(s) {
			for _, a := range p.addresses {
				w.holders[a.Addr()] = append(w.holders[a.Addr()], holder{s, p})
			}
		}
	}
	return w
}

func (w *walker) ports(s stop) []port {
	if s.pod != nil {
		return []port{{w.Segment(s.pod.Node), s.pod.Addresses(), s.pod.Node.Uplink(), true}}
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
			consider(Everywhere(g.Is6()), g)
		}
		if w.Behind && s.machine.Kind == lab.Node {
			for _, peer := range w.c.Nodes {
				for _, block := range peer.PodCIDRs() {
					if a := peer.Uplink().Address(block.Addr().Is6()); peer.Machine != s.machine && a.IsValid() {
						consider(block, a.Addr())
					}
				}
			}
		}
		return out, via, ok
	}
	for _, cidr := range w.c.CIDRs() {
		if g := w.Gateway(cidr); g.IsValid() {
			consider(Everywhere(g.Is6()), g)
		}
	}
	return out, via, ok
}

// hop finds who has an address on the segment of a port. A machine and the pods on its interface do not hear each other.
func (w *walker) hop(out port, via, to netip.Addr) (stop, port, bool) {
	for _, h := range w.holders[via] {
		s, p := h.stop, h.port
		if w.Behind && s.pod != nil {
			continue
		}
		if p.segment != out.segment || p.on == out.on && p.pod != out.pod {
			continue
		}
		if w.SameMAC {
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
	for _, h := range w.holders[a] {
		if h.stop.pod != nil && h.stop.pod.Node.Uplink() == p.on && h.segment == p.segment {
			return h.stop, true
		}
	}
	return stop{}, false
}

// next is a stop's own choice, and where that leads.
func (w *walker) next(at stop, to netip.Addr) (l leg, via netip.Addr, s stop, ok bool) {
	if !w.Behind || at.pod == nil {
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

// track is the way of a packet.
type track struct {
	legs    []leg
	stops   []stop     // the sender, and whom the packet comes to
	source  netip.Addr // that the sender takes
	arrives bool
	lost    string // why it does not arrive
}

// last is where the packet ends.
func (t track) last() stop { return t.stops[len(t.stops)-1] }

// mtu is the largest packet that every segment on the way carries.
func (t track) mtu() (most int, at lab.Segment) {
	for i, l := range t.legs {
		if i == 0 || l.from.segment.Switch.MTU < most {
			most, at = l.from.segment.Switch.MTU, l.from.segment
		}
	}
	return most, at
}

func (s stop) String() string {
	if s.pod != nil {
		return s.pod.Title()
	}
	return s.machine.Name
}

// walk follows a packet to an address.
func (w *walker) walk(from stop, to netip.Addr) track {
	t := track{stops: []stop{from}}
	for at := from; ; at = t.last() {
		_, t.arrives = has(w.ports(at), to)
		delivers := w.pods[to] && at.machine != nil && at.machine.Kind == lab.Node
		if t.arrives = t.arrives || delivers; t.arrives {
			return t
		}
		switch forwards := at.machine != nil && at.machine.Kind != lab.Host; {
		case len(t.legs) > 0 && !forwards:
			t.lost = fmt.Sprintf("%s does not forward", at)
			return t
		case len(t.legs) == maxLegs:
			t.lost = "it goes in circles: " + w.circle(t)
			return t
		}
		l, via, next, found := w.next(at, to)
		switch {
		case !found && !via.IsValid():
			t.lost = fmt.Sprintf("%s has no route to %s", at, to)
			return t
		case !found:
			t.lost = fmt.Sprintf("%s sends to %s, which nobody has on %s", at, via, l.from.segment)
			return t
		}
		if len(t.legs) == 0 && at.pod != nil {
			t.source = at.pod.Address(to.Is6())
		} else if len(t.legs) == 0 {
			t.source = sourceOf(l.from, via)
		}
		t.legs, t.stops = append(t.legs, l), append(t.stops, next)
	}
}

// circle names the machines that a packet comes by again and again.
func (w *walker) circle(t track) string {
	last := len(t.stops) - 1
	before := slices.Index(reversed(t.stops[:last]), t.last())
	var names []string
	for _, s := range t.stops[max(0, last-1-before):] {
		names = append(names, s.String())
	}
	return strings.Join(names, " → ")
}

func reversed(stops []stop) []stop {
	back := slices.Clone(stops)
	slices.Reverse(back)
	return back
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
func (walk Walk) Expect(f Flow) Expectation { return walk.walker().expect(f.From, f.To) }

func (w *walker) expect(from, to Endpoint) Expectation {
	there := w.walk(stopOf(from), to.Address)
	if !there.arrives || len(there.legs) == 0 {
		return Expectation{Lost: there.lost}
	}
	if back := w.walk(stopOf(to), there.source); !back.arrives {
		return Expectation{OneWay: true, Lost: "no way back: " + back.lost}
	}
	e := Expectation{Reachable: true, Source: there.source}
	e.MTU, _ = there.mtu()
	if from.Pod != nil { // what comes for a pod its device takes as it is
		e.MTU = w.Net.PodMTU(e.MTU)
	}
	if first := there.legs[0]; first.wire() && first.from.on == from.Node.Uplink() {
		e.Wire = true
		if first.from.pod && w.VLAN != 0 {
			e.Encap = Encap{Type: "vlan", VLAN: w.VLAN}
		}
	}
	return e
}

func stopOf(e Endpoint) stop {
	if e.Pod != nil {
		return stop{pod: e.Pod}
	}
	return stop{machine: e.Machine}
}
