package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the checks, as shares.
const (
	stealBound   = 0.05 // of the CPUs' time, taken by the hypervisor
	ceilingBound = 0.90 // of the generator's own ceiling: above it the generator may be what is measured
	driftBound   = 0.10 // between the halves of a measurement
)

// The states of a check.
const (
	passed    = "passed"
	failed    = "failed"
	notTested = "not tested"
)

// warnings are the checks that may fail without a number being unusable: differences are then less sure, or some numbers
// are to be read with care.
var warnings = []string{
	"enough rounds", "no round is missing", "A/A pair agrees", "hosts agree", "twins cost the same", "no generation is void",
	"measurements are steady", "the machine did nothing else", "nothing was measured again",
	"the hypervisor took little",
}

// unusable reports whether the check says that numbers are not to be used.
func (c Check) unusable() bool { return c.State == failed && !slices.Contains(warnings, c.Name) }

// settled gives every check its state.
func settled(checks []Check) []Check {
	for i := range checks {
		c := &checks[i]
		switch {
		case c.OK:
			c.State = passed
		case c.State == "":
			c.State = failed
		}
	}
	return checks
}

// validity lists what a reader should want to know to be true before believing a number. What was checked while measuring
// follows what can be told from the recording.
func (r *Results) validity() []Check {
	checks := []Check{r.enough(), r.complete()}
	checks = append(checks, r.costChecks()...)
	for _, wire := range r.capacityWires() {
		if !r.limited(wire) { // there the arithmetic decides, in a few rounds
			checks = append(checks, r.twins(wire), r.hosts(wire))
		}
	}
	checks = append(checks, r.proved()...)
	checks = append(checks, r.arithmetic()...)
	checks = append(checks, r.below(), r.steady(), r.idle(), r.congestion(), r.untouched())
	if len(r.Passes) > 0 {
		checks = append(checks, r.stolen())
	}
	checks = slices.DeleteFunc(checks, func(c Check) bool { return c == Check{} })
	return settled(append(checks, r.Checks...))
}

// capacityWires are the wire models that have numbers in rounds.
func (r *Results) capacityWires() []string {
	return slices.DeleteFunc(r.wires(), func(wire string) bool {
		return !slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Wire == wire && !isCost(s) })
	})
}

// wires are the wire models that have numbers, in the order of the recording.
func (r *Results) wires() []string {
	var all []string
	for _, w := range r.Wires {
		all = append(all, w.Name)
	}
	for _, s := range r.Samples {
		if !slices.Contains(all, s.Wire) {
			all = append(all, s.Wire)
		}
	}
	return slices.DeleteFunc(all, func(wire string) bool {
		return !slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Wire == wire })
	})
}

// limited reports whether a wire model has a rate.
func (r *Results) limited(wire string) bool {
	return slices.ContainsFunc(r.Wires, func(w Wire) bool { return w.Name == wire && w.Rate > 0 })
}

func (r *Results) enough() Check {
	c := Check{Name: "enough rounds", OK: r.Rounds >= MinRounds && r.Rounds >= r.Asked,
		Detail: fmt.Sprintf("%d of %s finished; %d are needed to rank", r.Rounds, plural(r.Asked, "round"), MinRounds)}
	if r.Asked < MinRounds || len(r.capacityWires()) == 0 { // nobody wanted to rank by them
		c.State = notTested
	}
	return c
}

// complete holds where every mode has every number of every round.
func (r *Results) complete() Check {
	var lacking []string
	for _, s := range collect(r.Samples) {
		most := 0
		for _, mode := range s.modes {
			most = max(most, len(s.values[mode]))
		}
		for _, mode := range s.modes {
			if n := len(s.values[mode]); n < most {
				lacking = append(lacking, fmt.Sprintf("%s: %s has %d of %d", s.kind, mode, n, most))
			}
		}
	}
	return Check{Name: "no round is missing", OK: len(lacking) == 0, Detail: found(lacking, "every number was measured as often in every mode")}
}

// costChecks are those of path cost: whether its twins cost the same, and what became of its generations.
func (r *Results) costChecks() []Check {
	c := r.costs(ranking)
	if r.PathCost == nil || c == nil {
		return nil
	}
	var all []Check
	if r.Twin != nil && c.values[r.Twin.Mode] != nil {
		of := c.pairs[[2]string{r.Twin.Mode, r.Twin.Of}]
		twins := Check{Name: "twins cost the same", Mode: r.Twin.Mode, Wire: c.wire, OK: of.p >= alpha,
			Detail: fmt.Sprintf("%s of %s (%s), p %.3f", hundredths(of.ratio.value), r.Twin.Of, of.ratio.spread(hundredths), of.p)}
		if !c.decides() {
			twins.OK, twins.State, twins.Detail = false, notTested, fmt.Sprintf("%s; it takes %d to say", plural(c.generations, "generation"), c.needed)
		}
		all = append(all, twins)
	}
	var void []string
	robbed, worst := []string{}, 0.0
	for _, g := range r.PathCost.Passes {
		if g.Void != "" {
			void = append(void, fmt.Sprintf("generation %d: %s", g.Number, g.Void))
		}
		share := r.steal(Pass{Seconds: g.Seconds, Steal: g.Steal})
		if worst = max(worst, share); share > stealBound {
			robbed = append(robbed, fmt.Sprintf("generation %d: %s", g.Number, percent(share)))
		}
	}
	all = append(all, Check{Name: "no generation is void", OK: len(void) == 0, Detail: found(void, fmt.Sprintf("all %d count", len(r.PathCost.Passes)))})
	return append(all, Check{Name: "the hypervisor took little", Wire: c.wire, OK: len(robbed) == 0,
		Detail: found(robbed, fmt.Sprintf("at most %s of the CPUs' time in any generation", percent(worst)))})
}

func (r *Results) proved() []Check {
	var checks []Check
	for _, mode := range r.Modes {
		seen := false
		for _, p := range r.Proof {
			if p.Mode == mode {
				seen = true
				checks = append(checks, Check{Name: "is what it says", Mode: mode, Wire: p.Wire, OK: p.OK, Detail: p.proved()})
			}
		}
		if !seen {
			checks = append(checks, Check{Name: "is what it says", Mode: mode, State: notTested, Detail: "nothing of it was captured on the underlay"})
		}
	}
	return checks
}

// arithmetic fills in what was measured of what was expected, and checks it.
func (r *Results) arithmetic() []Check {
	var checks []Check
	for i := range r.Expected {
		e := &r.Expected[i]
		e.Measured, e.OK, e.Unfilled = nil, false, false
		k := kind{e.Wire, e.Path, e.Measure, e.Metric, e.Params}
		c := Check{Name: "equals the arithmetic", Mode: e.Mode, Wire: e.Wire, State: notTested, Detail: fmt.Sprintf("%s: not measured", k)}
		for _, s := range r.Summary {
			if s.Mode == e.Mode && s.kind() == k && s.Ratio != nil {
				ratio := *s.Ratio
				if of, to := r.step(e.Mode, k), r.step(r.Baseline, k); of > 0 && to > 0 {
					ratio = of / to
				}
				e.Measured = &ratio
				off := ratio/e.Ratio - 1
				e.OK = math.Abs(off) <= e.Tolerance
				c.OK, c.State = e.OK, ""
				c.Detail = fmt.Sprintf("%s: ratio %.4f, expected %.4f, off by %s of %s allowed", k, ratio, e.Ratio, percent(off), percent(e.Tolerance))
				if least, ok := r.unlimited(*e); ok && off < 0 && !e.OK && least < s.Median / *s.Ratio * e.Ratio {
					e.Unfilled, c.State = true, notTested
					c.Detail += fmt.Sprintf("; but where nothing limits it, there are rounds in which it carries %.3g %s: it does not always fill this rate", least, s.Unit)
				}
			}
		}
		checks = append(checks, c)
	}
	return checks
}

// step is the middle of what a mode carries in the steps of its series: in most of them it fills a rate that it can fill, also where a
// process was kept from its CPU in others. It is 0 where there are no series.
func (r *Results) step(mode string, k kind) float64 {
	var steps []float64
	for _, s := range r.Series {
		if s.Mode == mode && k == (kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params}) {
			steps = append(steps, s.Values...)
		}
	}
	if len(steps) == 0 {
		return 0
	}
	return median(steps)
}

// unlimited is what a mode carries in its worst round on a wire that limits nothing, where that was measured.
func (r *Results) unlimited(e Expected) (least float64, ok bool) {
	for _, s := range r.Summary {
		if s.Mode == e.Mode && s.Path == e.Path && s.Measure == e.Measure && s.Metric == e.Metric && s.Params == e.Params && !r.limited(s.Wire) {
			least, ok = max(least, s.Min), true
		}
	}
	return least, ok
}

// below says which numbers the generator limits rather than what is measured: they rank nothing.
func (r *Results) below() Check {
	c := Check{Name: "the generator is not the limit"}
	if len(r.Ceiling) == 0 {
		c.State, c.Detail = notTested, "the generator's own ceiling was not measured"
		return c
	}
	var near []string
	reached := r.reached()
	for _, s := range r.Summary {
		if share, ok := reached[s.kind()]; ok {
			near = append(near, fmt.Sprintf("%s comes to %s of what it does over loopback, and ranks nothing", s.kind(), percent(share)))
			delete(reached, s.kind())
		}
	}
	c.OK = true
	c.Detail = found(near, fmt.Sprintf("no number comes within %s of what it does over loopback", percent(1-ceilingBound)))
	return c
}

// reached are the numbers that come within a tenth of the generator's ceiling in a mode, as the largest share of that.
func (r *Results) reached() map[kind]float64 {
	ceilings := map[[3]string][]float64{}
	for _, s := range r.Ceiling {
		k := [3]string{s.Measure, s.Metric, s.Params}
		ceilings[k] = append(ceilings[k], s.Value)
	}
	all := map[kind]float64{}
	for _, s := range r.Summary {
		ceiling := ceilings[[3]string{s.Measure, s.Metric, s.Params}]
		if of(s.Metric).bounded && len(ceiling) > 0 && s.Median > ceilingBound*median(ceiling) {
			all[s.kind()] = max(all[s.kind()], s.Median/median(ceiling))
		}
	}
	return all
}

// unrank leaves the medians of what the generator limits, and no more.
func (r *Results) unrank() {
	reached := r.reached()
	for i := range r.Summary {
		if s := &r.Summary[i]; reached[s.kind()] > 0 {
			s.Ratio, s.RatioLow, s.RatioHigh, s.P, s.Tier, s.Detectable = nil, nil, nil, nil, nil, nil
			s.Difference, s.DifferenceLow, s.DifferenceHigh = nil, nil, nil
		}
	}
}

// steady holds where measurements do not drift from their first half to their second.
func (r *Results) steady() Check {
	type of struct {
		kind
		mode string
	}
	var order []of
	drifts := map[of][]float64{}
	for _, s := range r.Series {
		half := len(s.Values) / 2
		first, second := mean(s.Values[:half]), mean(s.Values[len(s.Values)-half:])
		if half == 0 || first <= 0 || second <= 0 {
			continue
		}
		k := of{kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params}, s.Mode}
		if drifts[k] == nil {
			order = append(order, k)
		}
		drifts[k] = append(drifts[k], second/first-1)
	}
	chances := make([]float64, len(order))
	for i, k := range order {
		chances[i] = wilcoxon(drifts[k])
	}
	var drifting []string
	for i, p := range holm(chances) {
		k := order[i]
		if d := median(drifts[k]); math.Abs(d) > driftBound && p < alpha {
			drifting = append(drifting, fmt.Sprintf("%s of %s changes by %s from its first half to its second", k.kind, k.mode, percent(d)))
		}
	}
	if len(order) == 0 {
		return Check{}
	}
	return Check{Name: "measurements are steady", OK: len(drifting) == 0, Detail: found(drifting, fmt.Sprintf("the halves of a measurement agree within %s", percent(driftBound)))}
}

// idle holds where the machine had nothing else to do: other work that comes and goes is taken for the idle machine's, and
// makes the CPU time of a measurement too small.
func (r *Results) idle() Check {
	var below []string
	measured := false
	for _, s := range r.Samples {
		if !of(s.Metric).processor {
			continue
		}
		if measured = true; s.Value <= 0 {
			below = append(below, fmt.Sprintf("%s of %s in round %d, wire %s, is below the idle floor", s.kind(), s.Mode, s.Round, s.Wire))
		}
	}
	if !measured {
		return Check{}
	}
	return Check{Name: "the machine did nothing else", OK: len(below) == 0, Detail: found(below, "no measurement took less CPU time than the idle machine")}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// congestion holds where all sockets used one congestion control.
func (r *Results) congestion() Check {
	var used []string
	for _, s := range r.Samples {
		if s.Congestion != "" && !slices.Contains(used, s.Congestion) {
			used = append(used, s.Congestion)
		}
	}
	if len(used) == 0 {
		return Check{}
	}
	return Check{Name: "one congestion control", OK: len(used) == 1, Detail: "the sockets used " + strings.Join(used, ", ")}
}

// untouched holds where nothing was measured again.
func (r *Results) untouched() Check {
	var again []string
	for _, t := range r.Retries {
		again = append(again, fmt.Sprintf("%s of %s in round %d: %s", kind{t.Wire, t.Path, t.Measure, "", t.Params}, t.Mode, t.Round, t.Reason))
	}
	return Check{Name: "nothing was measured again", OK: len(again) == 0, Detail: found(again, "every measurement is the first and only one")}
}

// stolen holds where the hypervisor left the machine its CPUs.
func (r *Results) stolen() Check {
	var robbed []string
	worst := 0.0
	for _, p := range r.Passes {
		share := r.steal(p)
		if worst = max(worst, share); share > stealBound {
			robbed = append(robbed, fmt.Sprintf("round %d, wire %s: %s", p.Round, p.Wire, percent(share)))
		}
	}
	return Check{Name: "the hypervisor took little", OK: len(robbed) == 0, Detail: found(robbed, fmt.Sprintf("at most %s of the CPUs' time in any round", percent(worst)))}
}

// steal is the share of the CPUs' time in a pass that the hypervisor took.
func (r *Results) steal(p Pass) float64 {
	if p.Seconds <= 0 {
		return 0
	}
	return p.Steal / (p.Seconds * float64(max(1, r.Machine.CPUs)))
}

// found lists the first of what was found, or says that nothing was.
func found(faults []string, none string) string {
	const most = 3
	switch n := len(faults); {
	case n == 0:
		return none
	case n > most:
		return strings.Join(faults[:most], "; ") + fmt.Sprintf("; and %d more", n-most)
	}
	return strings.Join(faults, "; ")
}

// percent writes a share to two digits: 3.1 %.
func percent(share float64) string {
	v := math.Abs(100 * share)
	if v < 0.005 {
		return "0 %"
	}
	sign := ""
	if share < 0 {
		sign = "−"
	}
	return sign + strconv.FormatFloat(v, 'f', max(0, min(2, 1-int(math.Floor(math.Log10(v))))), 64) + " %"
}
