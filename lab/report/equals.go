package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// twins holds where the pair of twins, between which there is no difference, shows none: over all numbers of the wire model
// together there is one chance in twenty that it does.
func (r *Results) twins(wire string) Check {
	c := Check{Name: "A/A pair agrees", Wire: wire}
	if r.Twin == nil {
		c.State, c.Detail = notTested, "no mode was built and measured twice"
		return c
	}
	c.Mode = r.Twin.Mode
	var told []string
	n, judged, closest := 0, false, Control{}
	for _, k := range r.Control {
		if k.Wire != wire {
			continue
		}
		n++
		if k.Adjusted == nil {
			continue
		}
		if !judged || *k.Adjusted < *closest.Adjusted {
			judged, closest = true, k
		}
		if *k.Adjusted < alpha {
			told = append(told, k.describe()+": do not believe differences of that size")
		}
	}
	switch {
	case n == 0:
		c.State, c.Detail = notTested, "the twin has no numbers"
	case !judged:
		c.State, c.Detail = notTested, fmt.Sprintf("too few rounds to say (needs %d)", MinRounds)
	default:
		c.OK = len(told) == 0
		c.Detail = found(told, fmt.Sprintf("no difference in %s; the nearest to one is %s", plural(n, "number"), closest.describe()))
	}
	return c
}

func (c Control) describe() string {
	return fmt.Sprintf("%s (p %.3f%s)", c.kind(), *c.Adjusted, Summary{Ratio: c.Ratio}.times())
}

// controls holds the twin against its original, in every kind of numbers.
func (r *Results) controls() []Control {
	if r.Twin == nil {
		return nil
	}
	var controls []Control
	for _, m := range r.Summary {
		if m.Mode == r.Twin.Mode && m.Measure != costMeasure {
			controls = append(controls, Control{
				Wire: m.Wire, Path: m.Path, Measure: m.Measure, Metric: m.Metric, Params: m.Params, N: m.N,
				Ratio: m.Ratio, RatioLow: m.RatioLow, RatioHigh: m.RatioHigh, P: m.P,
			})
		}
	}
	for _, wire := range r.wires() {
		adjusted := r.relabelled([]string{r.Twin.Of, r.Twin.Mode}, func(k kind) bool { return k.wire == wire })
		for i := range controls {
			c := &controls[i]
			if p, ok := adjusted[c.kind()]; ok {
				c.Adjusted = &p[1]
			}
		}
	}
	return controls
}

// relabelled prepares the numbers of the modes, of all kinds that are wanted and have rounds enough, for the function of
// that name, and returns its answer by kind.
func (r *Results) relabelled(modes []string, wanted func(kind) bool) map[kind][]float64 {
	count := 0
	samples := r.measured()
	for _, s := range samples {
		count = max(count, s.Round)
	}
	var kinds []kind
	var values [][][]float64
	for _, s := range collect(samples) {
		if !wanted(s.kind) || slices.ContainsFunc(modes, func(mode string) bool { return len(s.values[mode]) < MinRounds }) {
			continue
		}
		dealt := make([][]float64, count)
		for round := range dealt {
			for _, mode := range modes {
				v := math.NaN()
				if measured, ok := s.values[mode][round+1]; ok {
					v = s.scale(measured)
				}
				dealt[round] = append(dealt[round], v)
			}
		}
		kinds, values = append(kinds, s.kind), append(values, dealt)
	}
	answer := map[kind][]float64{}
	for i, p := range relabelled(values) {
		answer[kinds[i]] = p
	}
	return answer
}

// sameHosts are the modes whose nodes treat packets of their own alike, the baseline first: those that have netfilter rules, and those
// that have none. With rules comes connection tracking, so that between nodes too the one is not the other.
func (r *Results) sameHosts() (groups [][]string) {
	modes := append([]string{r.Baseline}, slices.DeleteFunc(slices.Clone(r.Modes), func(m string) bool { return m == r.Baseline })...)
	rules := func(mode string) bool { t, _ := r.trait(mode); return t.Rules }
	for _, with := range []bool{rules(r.Baseline), !rules(r.Baseline)} {
		alike := slices.DeleteFunc(slices.Clone(modes), func(m string) bool { return rules(m) != with })
		if len(alike) > 1 {
			groups = append(groups, alike)
		}
	}
	return groups
}

// hosts holds where no mode differs from another between hosts, where no mode is at work.
func (r *Results) hosts(wire string) Check {
	const path = "host-host"
	c := Check{Name: "hosts agree", Wire: wire}
	var told, held []string
	numbers, groups := 0, r.sameHosts()
	for _, modes := range groups {
		kinds := r.relabelled(modes, func(k kind) bool { return k.wire == wire && k.path == path })
		if len(kinds) > 0 {
			numbers = max(numbers, len(kinds))
			held = append(held, fmt.Sprintf("%s against %s", list(modes[1:]), modes[0]))
		}
		for _, s := range r.Summary {
			k := s.kind()
			i := slices.Index(modes, s.Mode)
			if i <= 0 || kinds[k] == nil {
				continue
			}
			if p := min(1, kinds[k][i]*float64(len(groups))); p < alpha {
				ratio := ""
				if modes[0] == r.Baseline {
					ratio = s.times()
				}
				told = append(told, fmt.Sprintf("%s differs in %s from %s (p %.3f%s): do not believe differences of that size", k, s.Mode, modes[0], p, ratio))
			}
		}
	}
	switch {
	case len(r.Modes) < 2:
		return Check{}
	case len(groups) == 0:
		c.State, c.Detail = notTested, "no two modes have nodes that are alike: those of some have netfilter rules, and those of others none"
	case numbers > 0:
		c.OK = len(told) == 0
		c.Detail = found(told, fmt.Sprintf("no mode differs in %s on %s: %s", plural(numbers, "number"), path, strings.Join(held, "; ")))
	case slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Wire == wire && s.Path == path && !isCost(s) }):
		c.State, c.Detail = notTested, fmt.Sprintf("too few rounds to say (needs %d)", MinRounds)
	case slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Path == path }):
		return Check{} // this wire model is there for something else
	default:
		c.State, c.Detail = notTested, "nothing was measured between hosts"
	}
	return c
}
