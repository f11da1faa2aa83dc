package trace

import (
	"fmt"
	"io"
	"slices"
	"time"

	"labnet/lab/packet"
)

// File writes the frames that were seen, there and back, as pcapng: an interface for each device, and what was decided as
// comments. Frames are kept as far as they were read.
func (t *Trace) File(w io.Writer, about packet.About) error {
	type seen struct {
		Hop
		when time.Time
		note string
	}
	var all []seen
	for _, walk := range []*Walk{&t.There, t.Back} {
		if walk == nil {
			continue
		}
		for i, h := range walk.Hops {
			s := seen{Hop: h, when: t.Start.Add(walk.Began - t.There.Began + h.Time)}
			if h.Decision != nil {
				s.note = h.Decision.Text
			}
			if d := walk.Drop; d != nil && i == len(walk.Hops)-1 {
				s.note = fmt.Sprintf("lost after this at %s %s: %s (%s)", d.Machine, d.Device, d.Sentence, d.Reason)
			}
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b seen) int { return a.when.Compare(b.when) })
	at := func(h Hop) packet.Interface {
		return packet.Interface{Name: h.Machine + "/" + h.Device, Bare: h.Frame.Bare}
	}
	first := packet.Interface{Name: t.From + "/lo"} // a file has one, also where the packet was nowhere
	if len(all) > 0 {
		first = at(all[0].Hop)
	}
	f, err := packet.NewFile(w, about, first)
	if err != nil {
		return err
	}
	for _, s := range all {
		var notes []string
		if s.note != "" {
			notes = append(notes, s.note)
		}
		if err := f.Write(at(s.Hop), s.when, s.Direction == Out, s.Frame.Data, s.Frame.Length, notes...); err != nil {
			return err
		}
	}
	return f.Flush()
}
