package trace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trace is one packet's way from one place to another and what came back of it, as it was seen and as it was to be expected.
type Trace struct {
	From, To  string
	Address   string // that it was sent to
	Protocol  string
	Port      int // of UDP and TCP
	Size      int // of the IP packet
	Backend   string
	Start     time.Time // when the probe was sent
	There     Walk
	Back      *Walk // nil: nothing came back
	Predicted *Prediction
	Answered  bool
}

// Prediction is what the tables of the kernel said before.
type Prediction struct {
	There Walk
	Back  *Walk
}

// OK reports whether the packet arrived and the answer came back.
func (t *Trace) OK() bool { return t.There.Disposition == Arrived && t.Answered }

// Sentences tell what became of the packet, the most important first.
func (t *Trace) Sentences() []string {
	what := fmt.Sprintf("%s of %d bytes", t.Protocol, t.Size)
	if t.Port != 0 {
		what = fmt.Sprintf("%s to port %d, %d bytes", t.Protocol, t.Port, t.Size)
	}
	if t.There.Disposition != Arrived {
		said := []string{what + " was lost" + t.There.loss()}
		if b := t.Back; b != nil && b.Message && len(b.Hops) > 0 {
			said = append(said, fmt.Sprintf("%s told %s so by ICMP", b.Hops[0].Machine, b.Hops[len(b.Hops)-1].Machine))
		}
		return said
	}
	said := fmt.Sprintf("%s arrived after %s in %d hops", what, Span(t.There.took()), len(t.There.Hops))
	switch {
	case !t.Answered && t.Back == nil:
		return []string{said, "No answer set out: what listens there may not answer"}
	case !t.Answered:
		return []string{said, "Its answer was lost" + t.Back.loss()}
	case t.Back.Message:
		return []string{said + fmt.Sprintf("; nobody listens on the port there, and an ICMP message that says so came back in %s", Span(t.Back.took()))}
	case t.Mirrored():
		return []string{said + fmt.Sprintf("; the answer came back the same way in %s", Span(t.Back.took()))}
	}
	return []string{said + fmt.Sprintf("; the answer came back another way, in %s", Span(t.Back.took()))}
}

// Mirrored reports whether the answer came back by the devices that the packet had gone by.
func (t *Trace) Mirrored() bool { return t.Back != nil && t.Back.mirrors(t.There) }

// loss is where and why a packet was lost.
func (w Walk) loss() string {
	if w.Drop == nil {
		return ""
	}
	at := ""
	if w.Drop.Machine != "" {
		at = " at " + w.Drop.Machine
	}
	if w.Drop.Device != "" {
		at += " " + w.Drop.Device
	}
	word := ""
	if w.Drop.Reason != "" {
		word = " (" + w.Drop.Reason + ")"
	}
	return fmt.Sprintf("%s: %s%s", at, w.Drop.Sentence, word)
}

func (w Walk) took() time.Duration {
	if len(w.Hops) == 0 {
		return 0
	}
	return w.Hops[len(w.Hops)-1].Time
}

// mirrors reports whether a walk goes by the same devices as another, the other way round.
func (w Walk) mirrors(o Walk) bool {
	return slices.Equal(w.devices(), reversed(o.devices()))
}

// devices are those that a walk goes by, without a VLAN's beside the one that it stands on: where eBPF programs take its place,
// what goes out does not pass it.
func (w Walk) devices() []At {
	var all []At
	for _, h := range w.Hops {
		lower, id, ok := strings.Cut(h.Device, ".")
		if _, err := strconv.Atoi(id); ok && err == nil && slices.ContainsFunc(w.Hops, func(o Hop) bool { return o.Namespace == h.Namespace && o.Device == lower }) {
			continue
		}
		all = append(all, At{h.Namespace, h.Device})
	}
	return all
}

func reversed(all []At) []At {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// Span writes a time as people read it.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1e3)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
