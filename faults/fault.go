// Package faults is the ways in which a lab can break, as data: where each can strike, what it changes in the wanted state,
// which checks turn red, and what helps to find it. A fault touches no kernel; [Strike.On] gives the state that the kernel is
// then made to be. What a fault changed is drift like any other, so that "lab up" mends it.
//
// A new fault is a value in one of the files of this package, and a line of [All].
package faults

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"labnet/lab/plan"
)

// Fault is one way in which a lab can break.
type Fault struct {
	Name  string
	Level int    // 1: one command finds it; 2: one has to know where to look; 3: the symptom misleads
	About string // what is wrong, in a few words
	Teach string // what finding it teaches, without the answer
	Modes []string
	Lab   string // a shipped lab in which it can be had; empty: three-node
	Red   string // the check that fails: reach, source, mtu, wire, serve, ready, service
	// Besides are checks that may fail with it.
	Besides []string
	// Story is what a user would report. {machine}, {other} and {device} are filled in, here and below.
	Story string
	// Layer is the second hint: what to look at. The first is the machine, and the third the command.
	Layer       string
	Explanation string

	strikes func(*scene) []Strike
}

// Strike is a fault at one place.
type Strike struct {
	*Fault
	Machine string // where it is: master, worker1/p2
	Other   string // whom it concerns besides
	Device  string
	At      string // where it is seen best; empty: Machine
	Look    string // a command that shows it there
	Shows   string // what its output has then; empty: it lacks Lacks
	Lacks   string
	Log     string // whose log shows it, as node1/p1:app, where no command in a machine does

	remove []plan.Key
	put    []plan.Object
}

// scene is a plan, with the questions that faults ask of it.
type scene struct{ *plan.Plan }

// Get returns the fault of that name, or nil.
func Get(name string) *Fault {
	for _, f := range All {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Names lists the faults.
func Names() []string {
	var names []string
	for _, f := range All {
		names = append(names, f.Name)
	}
	return names
}

// Mode returns the mode that a plan's variant is one of.
func Mode(p *plan.Plan) string {
	if b := p.Cluster.Lab.Mode(p.ModeName); b != nil {
		return b.Use
	}
	return p.ModeName
}

// In returns the places in a plan where the fault can strike; none where the mode or the lab has no such thing.
func (f *Fault) In(p *plan.Plan) []Strike {
	if p.Mode == nil || !slices.Contains(f.Modes, Mode(p)) {
		return nil
	}
	strikes := f.strikes(&scene{p})
	for i := range strikes {
		strikes[i].Fault = f
	}
	slices.SortStableFunc(strikes, func(a, b Strike) int {
		return strings.Compare(a.Machine+" "+a.Other+" "+a.Device, b.Machine+" "+b.Other+" "+b.Device)
	})
	return strikes
}

// Pick chooses the place of a fault by a seed: the same in all labs of one definition.
func (f *Fault) Pick(p *plan.Plan, seed uint64) (Strike, bool) {
	all := f.In(p)
	if len(all) == 0 {
		return Strike{}, false
	}
	return all[random(seed, f.Name).IntN(len(all))], true
}

// random is a source of its own for each purpose, so that one choice does not change another.
func random(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Random chooses so many faults of a level, or of any where it is 0, that can strike a plan and do not meet.
func Random(p *plan.Plan, level, count int, seed uint64) []Strike {
	var able []*Fault
	for _, f := range All {
		if (level == 0 || f.Level == level) && len(f.In(p)) > 0 {
			able = append(able, f)
		}
	}
	random(seed, "random").Shuffle(len(able), func(i, j int) { able[i], able[j] = able[j], able[i] })
	var chosen []Strike
	for _, f := range able {
		if len(chosen) == count {
			break
		}
		s, _ := f.Pick(p, seed)
		if !slices.ContainsFunc(chosen, func(other Strike) bool { return s.meets(other) }) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// meets reports whether two strikes change the same object, or things of the same machine, where one could hide the other.
func (s Strike) meets(other Strike) bool {
	return s.Machine == other.Machine || slices.ContainsFunc(s.changes(), func(k plan.Key) bool { return slices.Contains(other.changes(), k) })
}

// changes are the objects that a strike changes.
func (s Strike) changes() []plan.Key {
	keys := slices.Clone(s.remove)
	for _, o := range s.put {
		keys = append(keys, o.Key())
	}
	return keys
}

// On returns a state as it is with the strikes.
func On(want *plan.State, strikes ...Strike) *plan.State {
	broken := &plan.State{}
	want.Each(func(o plan.Object) { broken.Replace(o) })
	for _, s := range strikes {
		for _, k := range s.remove {
			broken.Remove(k)
		}
		for _, o := range s.put {
			broken.Replace(o)
		}
	}
	broken.Resolve()
	return broken
}

// Tell fills in the strike's names.
func (s Strike) Tell(text string) string {
	return strings.NewReplacer("{machine}", s.Machine, "{other}", s.Other, "{device}", s.Device).Replace(text)
}

// Hints are three, each saying more.
func (s Strike) Hints(lab string) []string {
	command := fmt.Sprintf("lab exec -l %s %s -- %s", lab, cmp.Or(s.At, s.Machine), s.Look)
	if s.Log != "" {
		command = fmt.Sprintf("lab logs -l %s %s", lab, s.Log)
	}
	return []string{"Look at " + s.Machine + ".", s.Tell(s.Layer), command}
}
