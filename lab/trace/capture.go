package trace

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"labnet/lab/packet"
)

// Capture is what was seen of a probe and of what came back.
type Capture struct {
	Backend string
	Source  netip.Addr // that the kernel chose for the probe
	To      netip.Addr
	Port    int    // where it went to
	Refused string // why the sender's kernel did not take it
	Sights  []Sight
}

// Complete reports whether nothing more can be seen: something has come back to the sender, or every copy of every packet
// was thrown away. What a program took may still be answered.
func Complete(sights []Sight, sender string, m *Map) bool {
	ended := false
	for _, role := range []Role{Probe, Answer, Message} {
		for _, p := range Paths(sights, role, m) {
			if role != Probe && p.reaches(sender) {
				return true
			}
		}
	}
	for _, role := range []Role{Probe, Answer} {
		for _, p := range Paths(sights, role, m) {
			if p.end().Event != Dropped {
				return false
			}
			ended = true
		}
	}
	return ended
}

// reaches reports whether the packet came into a namespace.
func (p Path) reaches(namespace string) bool {
	return slices.ContainsFunc(p, func(s Sight) bool { return s.Event == Came && s.Namespace == namespace })
}

// Places are the two ends of a trace, by their namespaces. To is empty where nobody in the lab has the address.
type Places struct {
	From, To string
	Owners   map[string]string // namespaces by the addresses that are in them: where a packet goes to that is translated
}

// ending is the namespace where the packet has come to the address that it has then, which need not be the one it was sent to.
func (at Places) ending(probes []Path) string {
	p := best(probes, "")
	if p == nil || p.end().Event != Came {
		return ""
	}
	for _, h := range p.end().Headers {
		if h.Protocol == "ipv4" || h.Protocol == "ipv6" {
			if at.Owners[h.Destination] == p.end().Namespace {
				return p.end().Namespace
			}
			return ""
		}
	}
	return ""
}

// Walks are the probe's way and that of what came back. The way back is nil where nothing did; answered is that the target's
// answer came to the sender.
func (c *Capture) Walks(at Places, m *Map) (there Walk, back *Walk, answered bool) {
	answers := Paths(c.Sights, Answer, m)
	if at.To == "" && len(answers) > 0 {
		at.To = answers[0][0].Namespace
	}
	probes := Paths(c.Sights, Probe, m)
	if at.To == "" {
		at.To = at.ending(probes)
	}
	there = c.there(at, probes, answers, m)
	messages := Paths(c.Sights, Message, m)
	for i, ways := range [][]Path{answers, messages} {
		p := best(ways, at.From)
		if p == nil {
			continue
		}
		home := p.reaches(at.From)
		w := p.until(at.From).walk(home || i == 1, m) // whom else a message is for is no matter here
		w.Message = i == 1
		return there, &w, home && p[0].Namespace == at.To // also where it says that nobody listens on the port
	}
	return there, nil, false
}

func (c *Capture) there(at Places, probes, answers []Path, m *Map) Walk {
	p := best(probes, at.To)
	if p == nil {
		return c.refused(at.From)
	}
	answered := slices.ContainsFunc(answers, func(a Path) bool { return a[0].Namespace == at.To })
	end := p.end()
	w := p.walk(p.reaches(at.To) && (answered || end.Event != Dropped || end.Reason == noSocket), m)
	if w.Drop != nil && w.Drop.Reason == otherHost {
		w.flooded(probes, m)
	}
	if w.Disposition != Arrived && len(answers) > 0 && len(w.Hops) > 0 {
		if other := answers[0][0]; other.Namespace != at.To {
			w.Disposition, w.Drop = Lost, &Drop{Machine: other.Machine, Device: other.Device, Reason: "ELSEWHERE"}
			w.Drop.explain(other.Namespace, w.Hops[:1])
		}
	}
	return w
}

// refused is the walk of a probe that the sender's kernel did not let out.
func (c *Capture) refused(from string) Walk {
	protocol := "ipv4"
	if c.To.Is6() {
		protocol = "ipv6"
	}
	source := ""
	if c.Source.IsValid() {
		source = c.Source.String()
	}
	reason := cmp.Or(c.Refused, unsent)
	w := Walk{Drop: &Drop{Machine: title(from), Reason: reason}}
	w.Disposition = w.Drop.explain(from, []Hop{{Headers: []packet.Header{{Protocol: protocol, Source: source, Destination: c.To.String()}}}})
	return w
}

// noSocket is that nobody listens where the packet came to: it has arrived.
const noSocket = "NO_SOCKET"

// best is the path that leads there, or else the one that leads furthest.
func best(paths []Path, to string) Path {
	var chosen Path
	for _, p := range paths {
		switch {
		case chosen == nil,
			p.reaches(to) && !chosen.reaches(to),
			p.reaches(to) == chosen.reaches(to) && len(p) > len(chosen),
			p.reaches(to) == chosen.reaches(to) && len(p) == len(chosen) && chosen.end().Reason == otherHost:
			chosen = p
		}
	}
	return chosen
}

// until ends a path where it has come into a namespace for good: what it sends out of there again is something else.
func (p Path) until(namespace string) Path {
	came := false
	for i, s := range p {
		if came && (s.Event == Left || s.Namespace != namespace) {
			return p[:i]
		}
		came = came || s.Event == Came && s.Namespace == namespace
	}
	return p
}

// walk turns what was seen into hops.
func (p Path) walk(arrived bool, m *Map) Walk {
	w := Walk{Began: p[0].Time}
	var lost *Sight
	for i, s := range p {
		direction := In
		switch s.Event {
		case Left:
			direction = Out
		case Dropped:
			lost = &p[i]
			continue
		case Consumed:
			continue
		}
		w.Hops = append(w.Hops, Hop{
			Machine: s.Machine, Namespace: s.Namespace, Device: s.Device, Direction: direction, Time: s.Time - p[0].Time, Headers: s.Headers,
			Frame: Frame{s.Frame, s.Length, s.Bare},
		})
	}
	if arrived {
		w.Disposition = Arrived
		return w
	}
	last := p.end()
	switch {
	case lost != nil:
		last = *lost
		w.Drop = &Drop{Machine: last.Machine, Device: last.Device, Reason: last.Reason, Location: last.Where}
		if n := len(w.Hops); n > 0 && len(last.Headers) > 0 { // the frame's addresses are known from where it was seen
			last.Headers = slices.Concat(ethernet(w.Hops[n-1].Headers), last.Headers)
		}
	case last.Event == Consumed:
		w.Drop = &Drop{Machine: last.Machine, Device: last.Device, Reason: "TAKEN"}
	case last.Event == Left:
		w.Drop = &Drop{Machine: last.Machine, Device: last.Device, Reason: notTaken}
	default:
		w.Drop = &Drop{Machine: last.Machine, Device: last.Device, Reason: notSentOn}
	}
	hops := w.Hops
	if lost != nil {
		hops = append(slices.Clip(hops), Hop{Headers: last.Headers})
	}
	w.Disposition = w.Drop.explain(last.Namespace, hops)
	return w
}

// otherHost is that a frame came to a machine for which it is not.
const otherHost = "OTHERHOST"

// Words of lab's own for what no event of the kernel tells.
const (
	nobody    = "NOBODY"      // a switch sent a frame to all its ports, and nobody took it
	notTaken  = "NOT_TAKEN"   // it left, and came nowhere
	notSentOn = "NOT_SENT_ON" // it came, and did not leave
	unsent    = "UNSEEN"      // it was nowhere
)

// flooded looks for the reason at the switch, where it has sent copies of a frame to machines for which it is not: the loss is
// at the port behind which the address is, or else nobody has it.
func (w *Walk) flooded(copies []Path, m *Map) {
	n := len(w.Hops)
	frame := ethernet(w.Hops[n-1].Headers)
	if len(frame) == 0 || n < 3 || w.Hops[n-2].Direction != Out || w.Hops[n-3].Direction != In || w.Hops[n-2].Namespace != w.Hops[n-3].Namespace {
		return
	}
	sw, mac := w.Hops[n-2], frame[0].Destination
	if owner, known := m.MACs[mac]; known && owner.Namespace != w.Hops[n-1].Namespace {
		if port := m.Wires[owner]; port.Namespace == sw.Namespace {
			w.Hops = w.Hops[:n-2]
			w.Drop = &Drop{Machine: sw.Machine, Device: port.Device, Reason: "NO_PORT"}
			w.Disposition = w.Drop.explain(sw.Namespace, w.Hops)
		}
		return
	}
	left := 0
	for _, p := range copies {
		if slices.ContainsFunc(p, func(s Sight) bool { return s.Event == Left && s.Namespace == sw.Namespace }) {
			left++
		}
	}
	if left > 1 {
		w.Hops = w.Hops[:n-2]
		w.Drop = &Drop{Machine: sw.Machine, Device: w.Hops[n-3].Device, Reason: nobody}
		w.Disposition = w.Drop.explain(sw.Namespace, w.Hops)
	}
}

func ethernet(headers []packet.Header) []packet.Header {
	if len(headers) > 0 && headers[0].Protocol == "ethernet" {
		return headers[:1]
	}
	return nil
}

// title is a machine's name in its namespace's.
func title(namespace string) string {
	_, machine, _ := strings.Cut(namespace, ".")
	return strings.Replace(machine, ".", "/", 1)
}
