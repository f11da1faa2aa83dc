package trace

import (
	"cmp"
	"slices"
	"time"

	"labnet/lab/packet"
)

// Event is what happened to a packet where it was seen.
type Event int

const (
	Came     Event = iota // in by a device
	Left                  // by a device
	Dropped               // the kernel threw it away
	Consumed              // the kernel or a program took it
)

// Role is what a packet of a trace is.
type Role int

const (
	Probe   Role = iota
	Answer       // what the target sends back
	Message      // an ICMP error about the probe or the answer
)

// At names a device.
type At struct{ Namespace, Device string }

// Sight is a packet of the trace, seen once.
type Sight struct {
	At
	Machine string
	Event   Event
	Role    Role
	Time    time.Duration // by the one clock of the machine
	Packet  uint64        // the kernel's own packet, the same from device to device until it is copied; 0: not told
	Came    string        // the device of this namespace by which it came; empty: not told
	Frame   []byte        // from its first header on, as much as was kept
	Bare    bool          // the frame begins with the IP header
	Length  int           // of the frame
	Headers []packet.Header
	Reason  string // why it was dropped, in the kernel's word; of one that came: why it will be, if nothing takes it up
	Where   string // the function of the kernel that dropped it
}

// Map is what a lab's definition says about its devices.
type Map struct {
	Wires map[At]At     // the other ends of veth pairs
	MACs  map[string]At // who has a MAC address, where the definition says it
	Below map[At]At     // what macvlan and the like stand on, in other namespaces
	Own   map[string]At // who has an IP address, of these that share the MAC address of what they stand on
}

// Path is the way of one packet, or of one copy of it: each sight follows from the one before.
type Path []Sight

// Paths follows the packets of one role from sight to sight. Where a switch floods, each copy has a path of its own.
func Paths(sights []Sight, role Role, m *Map) []Path {
	var seen []Sight
	for _, s := range sights {
		if s.Role == role {
			seen = append(seen, s)
		}
	}
	slices.SortStableFunc(seen, func(a, b Sight) int {
		switch { // what is handed up keeps its time
		case a.Time == b.Time && m.Below[b.At] == a.At:
			return -1
		case a.Time == b.Time && m.Below[a.At] == b.At:
			return 1
		}
		return cmp.Compare(a.Time, b.Time)
	})
	tellApart(seen)
	parent := make([]int, len(seen))
	leads := make([]bool, len(seen))
	aside := make([]bool, len(seen)) // the end of a copy that the kernel made for itself, as to ask for a neighbour
	for i := range seen {
		parent[i] = before(seen, i, m)
		switch aside[i] = seen[i].Event == Consumed && (parent[i] < 0 || seen[parent[i]].Packet != seen[i].Packet); {
		case aside[i]:
		case parent[i] >= 0:
			leads[parent[i]] = true
		}
	}
	var paths []Path
	for i := range seen {
		if leads[i] || aside[i] {
			continue
		}
		var p Path
		for j := i; j >= 0; j = parent[j] {
			p = append(p, seen[j])
		}
		slices.Reverse(p)
		paths = append(paths, p.complete().handed(m))
	}
	return paths
}

// tellApart numbers packets anew: the kernel uses the memory of one that has ended again for another.
func tellApart(seen []Sight) {
	number, last := map[uint64]uint64{}, uint64(0)
	for i, s := range seen {
		if s.Packet == 0 {
			continue
		}
		if number[s.Packet] == 0 {
			last++
			number[s.Packet] = last
		}
		seen[i].Packet = number[s.Packet]
		if s.Event == Dropped || s.Event == Consumed {
			delete(number, s.Packet)
		}
	}
}

// before finds the sight that another follows from; -1 is none.
func before(seen []Sight, i int, m *Map) int {
	s := seen[i]
	last := func(is func(Sight) bool) int {
		for j := i - 1; j >= 0; j-- {
			if e := seen[j].Event; (e == Came || e == Left) && is(seen[j]) {
				return j
			}
		}
		return -1
	}
	same := func(o Sight) bool { return s.Packet != 0 && o.Packet == s.Packet }
	here := func(o Sight) bool { // what has left by a wire is not here any more; what follows is another copy
		_, wired := m.Wires[o.At]
		return o.Namespace == s.Namespace && !(wired && o.Event == Left)
	}
	var ways []func(Sight) bool
	switch s.Event {
	case Came:
		if far, ok := m.Wires[s.At]; ok {
			ways = append(ways, func(o Sight) bool { return o.At == far && o.Event == Left })
		}
		ways = append(ways, same, here)
	case Left:
		ways = append(ways, func(o Sight) bool { return same(o) && here(o) }, here, same)
	default:
		ways = append(ways, same, here)
	}
	for _, is := range append(ways, func(Sight) bool { return true }) {
		if j := last(is); j >= 0 {
			return j
		}
	}
	return -1
}

// complete adds what no event tells: that a packet came in by a device that stands on another, such as a VLAN's or a macvlan.
func (p Path) complete() Path {
	var whole Path
	for _, s := range p {
		if n := len(whole); n > 0 && s.Came != "" && s.Event != Came {
			last, by := whole[n-1], At{s.Namespace, s.Came}
			if last.Namespace != s.Namespace || last.Event == Came && last.At != by {
				added := last
				added.At, added.Machine, added.Event, added.Headers = by, s.Machine, Came, withoutVLAN(last.Headers)
				whole = append(whole, added)
			}
		}
		whole = append(whole, s)
	}
	return whole
}

// handed adds that a device which has the frame's address, and stands on the one by which it came, took it up: a macvlan, of
// which no event tells where the packet goes straight to a socket; and an ipvlan in mode l3s, which takes packets out of the
// node's stack by their IP address.
func (p Path) handed(m *Map) Path {
	var whole Path
	for i, s := range p {
		whole = append(whole, s)
		if s.Event != Came || len(s.Headers) == 0 || s.Headers[0].Protocol != "ethernet" {
			continue
		}
		to, known := m.MACs[s.Headers[0].Destination]
		if !known || m.Below[to] != s.At {
			to, known = m.Own[destination(s.Headers)]
		}
		if !known || m.Below[to] != s.At || i+1 < len(p) && p[i+1].Event == Came && p[i+1].Namespace == to.Namespace {
			continue
		}
		s.At, s.Machine, s.Headers = to, title(to.Namespace), withoutVLAN(s.Headers)
		whole = append(whole, s)
	}
	return whole
}

// destination is the outermost IP header's.
func destination(headers []packet.Header) string {
	for _, h := range headers {
		if h.Protocol == "ipv4" || h.Protocol == "ipv6" {
			return h.Destination
		}
	}
	return ""
}

func withoutVLAN(headers []packet.Header) []packet.Header {
	return slices.DeleteFunc(slices.Clone(headers), func(h packet.Header) bool { return h.Protocol == "vlan" })
}

// end is where the packet was thrown away or taken, or the last device at which it was seen.
func (p Path) end() Sight { return p[len(p)-1] }
