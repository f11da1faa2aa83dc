package trace

import (
	"fmt"
	"slices"
	"strings"
)

// Beside lays a prediction beside what was seen: hops get the decisions that sent the packet on, and a loss that was foreseen
// the words of the prediction, which knows the tables.
func (t *Trace) Beside(p Prediction) {
	t.Predicted = &p
	t.There.learn(p.There)
	if t.Back != nil && p.Back != nil && !t.Back.Message {
		t.Back.learn(*p.Back)
	}
}

// learn takes over what a prediction knows of the same hops and of the same loss.
func (w *Walk) learn(p Walk) {
	at := 0
	for i, h := range w.Hops {
		if j := slices.IndexFunc(p.Hops[at:], h.Same); j >= 0 {
			at += j
			w.Hops[i].Decision, w.Hops[i].Command = p.Hops[at].Decision, p.Hops[at].Command
			at++
		}
	}
	if !w.foreseen(p) || p.Drop.Sentence == "" {
		return
	}
	if w.Drop.unseen() && p.Drop.Reason != "" && w.Drop.Machine == p.Drop.Machine {
		w.Drop.Device, w.Drop.Reason = p.Drop.Device, p.Drop.Reason
	}
	w.Drop.Sentence, w.Disposition = p.Drop.Sentence, p.Disposition
	if !strings.HasPrefix(w.Drop.Command, p.Drop.Command) { // the same, and more exact
		w.Drop.Command = p.Drop.Command
	}
}

// Same reports whether two hops are the same place.
func (h Hop) Same(o Hop) bool {
	return h.Namespace == o.Namespace && h.Device == o.Device && h.Direction == o.Direction
}

// foreseen reports whether the packet was lost where and for what reason it was predicted to be. A neighbour that does not
// answer is missed at one machine, and what it lacks is predicted of the other.
func (w *Walk) foreseen(p Walk) bool {
	switch {
	case w.Drop == nil || p.Drop == nil:
		return false
	case w.Drop.Machine != p.Drop.Machine:
		return p.Disposition == NeighbourUnknown && (w.Drop.Reason == p.Drop.Reason || w.Drop.unseen())
	}
	return w.Drop.Reason == p.Drop.Reason || w.Drop.Device == p.Drop.Device || w.Drop.Reason == nobody || w.Drop.unseen()
}

// unseen reports whether the kernel has told no reason for a loss.
func (d *Drop) unseen() bool {
	return d.Reason == notTaken || d.Reason == notSentOn || d.Reason == unsent || strings.ToUpper(d.Reason) != d.Reason
}

// Parts says where a walk that was seen differs from the predicted one; nothing where they agree.
func (w Walk) Parts(p Walk) string {
	if p.Disposition == Loop && w.Disposition == Loop {
		return "" // it goes round until its TTL is used up
	}
	for i, h := range w.Hops {
		switch {
		case i < len(p.Hops) && h.Same(p.Hops[i]):
			continue
		case i < len(p.Hops):
			return fmt.Sprintf("%s it was to be seen next at %s, and was seen at %s", after(w.Hops[:i]), p.Hops[i], h)
		case p.Drop != nil:
			return fmt.Sprintf("%s it was to be lost: %s", after(w.Hops[:i]), p.Drop.Sentence)
		}
		return fmt.Sprintf("%s it was to have arrived, and was seen at %s", after(w.Hops[:i]), h)
	}
	arrives, arrived := p.Disposition == Arrived, w.Disposition == Arrived
	switch {
	case arrived && !arrives && p.Drop != nil:
		return fmt.Sprintf("it was to be lost: %s", p.Drop.Sentence)
	case arrived:
		return ""
	case arrives:
		return fmt.Sprintf("%s it was to go on, and arrive", after(w.Hops))
	case !w.foreseen(p) && p.Drop != nil:
		return fmt.Sprintf("it was to be lost at %s %s: %s", p.Drop.Machine, p.Drop.Device, p.Drop.Sentence)
	}
	return ""
}

// open is the machine with a rule that no table foretells, on the way that both walks have in common; empty where there is none.
func (w Walk) open(p Walk) string {
	for i, h := range p.Hops {
		may := h.Decision != nil && strings.HasPrefix(h.Decision.Firewall, May)
		if i == 0 && may { // decided before it leaves
			return h.Machine
		}
		if i >= len(w.Hops) || !h.Same(w.Hops[i]) {
			return ""
		}
		if may {
			return h.Machine
		}
	}
	return ""
}

// May begins a decision that is the firewall's, and that no table foretells.
const May = "may: "

func after(hops []Hop) string {
	if len(hops) == 0 {
		return "at once"
	}
	return "after " + hops[len(hops)-1].String()
}

// String names a hop: worker1 out eth0.
func (h Hop) String() string { return h.Machine + " " + string(h.Direction) + " " + h.Device }

// Verdict says in a sentence how what was seen and what was predicted agree.
func (t *Trace) Verdict() string {
	if t.Predicted == nil {
		return ""
	}
	if parts := t.There.Parts(t.Predicted.There); parts != "" {
		if at := t.There.open(t.Predicted.There); at != "" {
			return "As predicted as far as " + at + ", where a rule decides by lot or by what it remembers"
		}
		return "Not as predicted: " + parts
	}
	if t.Back != nil && !t.Back.Message && t.Predicted.Back != nil {
		if parts := t.Back.Parts(*t.Predicted.Back); parts != "" {
			return "As predicted on the way there, but not on the way back: " + parts
		}
	}
	return "As predicted"
}
