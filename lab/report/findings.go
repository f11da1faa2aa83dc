package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// checked says how many checks passed, and how many did not.
func (r *Results) checked() string {
	n := map[string]int{}
	for _, c := range r.Validity {
		n[c.State]++
	}
	s := fmt.Sprintf("%d of %s passed", n[passed], plural(len(r.Validity), "check"))
	for _, state := range []string{failed, notTested} {
		if n[state] > 0 {
			s += fmt.Sprintf(", %d %s", n[state], state)
		}
	}
	return s
}

// finding is what all checks of one name come to.
type finding struct {
	Name     string
	State    string // the worst
	Count    int    // of those in that state
	Of       int
	Unusable bool
	Seen     string // a line each: the reasons of those in that state, or what was seen
}

// findings are the checks by name: first those that make numbers unusable, then the others that failed, then what was not
// tested.
func (r *Results) findings() []finding {
	var all []finding
	for i, c := range r.Validity {
		if slices.ContainsFunc(r.Validity[:i], func(before Check) bool { return before.Name == c.Name }) {
			continue
		}
		f := finding{Name: c.Name, State: passed}
		seen := map[string][]string{}
		for _, c := range r.Validity {
			if c.Name == f.Name {
				f.Of++
				f.Unusable = f.Unusable || c.unusable()
				seen[c.State] = append(seen[c.State], c.said())
			}
		}
		for _, state := range []string{notTested, failed} {
			if len(seen[state]) > 0 {
				f.State = state
			}
		}
		f.Count = len(seen[f.State])
		if f.Seen = strings.Join(seen[f.State], "\n"); f.State == passed && f.Of == 1 {
			f.Seen = c.Detail
		} else if f.State == passed && f.Of > 3 {
			f.Seen = fmt.Sprintf("all %d", f.Of)
		}
		all = append(all, f)
	}
	place := func(f finding) int {
		if f.Unusable {
			return 0
		}
		return 1 + slices.Index([]string{failed, notTested, passed}, f.State)
	}
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(place(a), place(b)) })
	return all
}

// said is what a check saw, and of what.
func (c Check) said() string {
	if about := c.about(); about != "" {
		return about + ": " + c.Detail
	}
	return c.Detail
}

// about is the mode and the wire model of a check that is not about all of them.
func (c Check) about() string { return strings.Trim(c.Mode+", "+c.Wire, ", ") }
