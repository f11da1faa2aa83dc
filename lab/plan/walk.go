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
func (l leg) between() bool { return l.from.on != l.to.on }

// veth reports whether it is the way between a node and a pod of its own by a veth pair.
func (l leg) veth() bool { return !l.between() && !l.from.pod && !l.to.pod }

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
	Veth   bool // a node and each of its pods have a veth pair for what they send one another, in the families of the uplink
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

// choice is where a stop may send what is for a destination: the port, and to whom.
type choice struct {
	out port
	via netip.Addr
}

// route is the first choice of a stop.
func (w *walker) route(s stop, to netip.Addr) (out port, via netip.Addr, ok bool) {
	all := w.routes(s, to)
	if len(all) == 0 {
		return port{}, netip.Addr{}, false
	}
	return all[0].out, all[0].via, true
}

// routes are a stop's choices for a destination: more than one where its route has several next hops.
func (w *walker) routes(s stop, to netip.Addr) (all []choice) {
	ports := w.ports(s)
	best := -1
	consider := func(dst netip.Prefix, hops ...netip.Addr) {
		if !dst.Contains(to) || dst.Bits() <= best {
			return
		}
		var found []choice
		for _, next := range hops {
			for _, p := range ports {
				for _, own := range p.addresses {
					if own.Masked().Contains(next) {
						found = append(found, choice{p, next})
					}
				}
			}
		}
		if len(found) > 0 {
			all, best = found, dst.Bits()
		}
	}
	for _, p := range ports {
		for _, own := range p.addresses {
			consider(own.Masked(), to)
		}
	}
	if s.machine != nil {
		for _, r := range s.machine.Routes {
			consider(r.To, r.NextHops()...)
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
		return all
	}
	for _, cidr := range w.c.CIDRs() {
		if g := w.Gateway(cidr); g.IsValid() {
			consider(Everywhere(g.Is6()), g)
		}
	}
	return all
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

// step is a choice, and where it leads.
type step struct {
	leg   leg
	via   netip.Addr
	stop  stop
	found bool
}

// next are a stop's own choices, and where they lead.
func (w *walker) next(at stop, to netip.Addr) (steps []step) {
	add := func(c choice, from port, ok bool) {
		if !ok {
			steps = append(steps, step{leg: leg{from: from}, via: c.via})
			return
		}
		s, in, ok := w.hop(c.out, c.via, to)
		steps = append(steps, step{leg{from, in}, c.via, s, ok})
	}
	if s, ok := w.veth(at, to); ok {
		return []step{s}
	}
	if !w.Behind || at.pod == nil {
		for _, c := range w.routes(at, to) {
			add(c, c.out, true)
		}
		return steps
	}
	// For a pod its node decides, among the routes that lead out of the uplink.
	node := at.pod.Node
	own := w.ports(at)[0]
	if pod, ok := w.podOn(own, to); ok {
		return []step{{leg{own, own}, to, pod, true}}
	}
	self := stop{machine: node.Machine}
	if up, ok := has(w.ports(self), to); ok && up.on == node.Uplink() {
		return []step{{leg{own, up}, to, self, true}}
	}
	for _, c := range w.routes(self, to) {
		add(c, own, c.out.on == node.Uplink())
	}
	return steps
}

// veth is the step between a node and a pod of its own by their veth pair. The node's end has the address of its uplink.
func (w *walker) veth(at stop, to netip.Addr) (step, bool) {
	if !w.Veth {
		return step{}, false
	}
	for _, h := range w.holders[to] {
		pod, machine := at.pod, h.machine
		if pod == nil {
			pod, machine = h.stop.pod, at.machine
		}
		if pod == nil || pod.Node.Machine != machine {
			continue
		}
		if own := pod.Node.Uplink().Address(to.Is6()); own.IsValid() {
			end := port{pod.Node.Uplink().Segment(), []netip.Prefix{own}, pod.Node.Uplink(), false}
			return step{leg{end, end}, own.Addr(), h.stop, true}, true
		}
	}
	return step{}, false
}

// track is the way of a packet.
type track struct {
	legs    []leg
	stops   []stop     // the sender, and whom the packet comes to
	source  netip.Addr // that the sender takes
	arrives bool
	lost    string // why it does not arrive
	varies  bool   // other flows go ways of which something else can be promised
}

// last is where the packet ends.
func (t track) last() stop { return t.stops[len(t.stops)-1] }

// takes reports whether the way leads by a machine, and from there to the one that has an address.
func (t track) takes(m *lab.Machine, via netip.Addr) bool {
	for i, l := range t.legs {
		if _, there := has([]port{l.to}, via); t.stops[i].machine == m && there {
			return true
		}
	}
	return false
}

// width is the largest packet that every segment on the way carries.
func (t track) width() int {
	most, _ := t.mtu()
	return most
}

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

// walk follows a packet to an address. Where flows are spread over several ways it is the narrowest that arrives.
func (w *walker) walk(from stop, to netip.Addr) track {
	return narrowest(w.ways(from, to), func(t track) bool { return t.arrives })
}

// narrowest picks the narrowest of the good ways, or the first where none is. It varies where they differ in more than the
// machines that they pass.
func narrowest(ways []track, good func(track) bool) track {
	best, found := ways[0], false
	for _, t := range ways {
		if !good(t) {
			continue
		}
		if most, least := t.width(), best.width(); !found || most < least {
			t.varies = best.varies || found
			best, found = t, true
		} else {
			best.varies = best.varies || most != least || t.source != best.source || len(t.legs) > 0 && t.legs[0].from.on != best.legs[0].from.on
		}
	}
	return best
}

// maxWays is how many ways are followed. That many differ only in machines that are alike.
const maxWays = 256

// ways follows a packet to an address by every next hop that it may take; there is at least one way.
func (w *walker) ways(from stop, to netip.Addr) []track {
	var ways []track
	open := []track{{stops: []stop{from}}}
	for len(open) > 0 && len(ways) < maxWays {
		t := open[len(open)-1]
		open = open[:len(open)-1]
		at := t.last()
		_, t.arrives = has(w.ports(at), to)
		delivers := w.pods[to] && at.machine != nil && at.machine.Kind == lab.Node
		if t.arrives = t.arrives || delivers; t.arrives {
			ways = append(ways, t)
			continue
		}
		forwards := at.machine != nil && at.machine.Kind != lab.Host
		steps := w.next(at, to)
		switch {
		case len(t.legs) > 0 && !forwards:
			t.lost = fmt.Sprintf("%s does not forward", at)
		case len(t.legs) == maxLegs:
			t.lost = "it goes in circles: " + w.circle(t)
		case len(steps) == 0:
			t.lost = fmt.Sprintf("%s has no route to %s", at, to)
		}
		if t.lost != "" {
			ways = append(ways, t)
			continue
		}
		for _, s := range slices.Backward(steps) {
			further := track{legs: slices.Clip(t.legs), stops: slices.Clip(t.stops), source: t.source}
			if !s.found {
				further.lost = fmt.Sprintf("%s sends to %s, which nobody has on %s", at, s.via, s.leg.from.segment)
				ways = append(ways, further)
				continue
			}
			if len(t.legs) == 0 && at.pod != nil {
				further.source = at.pod.Address(to.Is6())
			} else if len(t.legs) == 0 {
				further.source = sourceOf(s.leg.from, s.via)
			}
			further.legs, further.stops = append(further.legs, s.leg), append(further.stops, s.stop)
			open = append(open, further)
		}
	}
	return ways
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
	ways := w.ways(stopOf(from), to.Address)
	there := narrowest(ways, func(t track) bool { return t.arrives && w.walk(stopOf(to), t.source).arrives })
	if !there.arrives { // nor any other that is answered
		there = narrowest(ways, func(t track) bool { return t.arrives })
	}
	if !there.arrives || len(there.legs) == 0 {
		return Expectation{Lost: there.lost}
	}
	if back := w.walk(stopOf(to), there.source); !back.arrives {
		return Expectation{OneWay: true, Lost: "no way back: " + back.lost}
	}
	e := Expectation{Reachable: true, Source: there.source, Spread: there.varies}
	e.MTU, _ = there.mtu()
	if from.Pod != nil || slices.ContainsFunc(there.legs, leg.veth) { // what comes for a pod a device on the uplink takes as it is
		e.MTU = w.Net.PodMTU(e.MTU)
	}
	if first := there.legs[0]; first.between() && first.from.on == from.Node.Uplink() {
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
