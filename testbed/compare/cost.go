package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// Path cost is the work of the kernel for a message: warm, uncontended, one flow, both ends on one CPU. Nothing sleeps there,
// the softirq runs in the sender's context, and the time of a round trip is the time of that work.
//
// Instances of one mode differ from one another by more than slices within one do, so a round is a generation: an instance of
// every variant. All generations are built before the first is measured, because the kernel is busy for seconds after an
// instance is built or removed, and stand side by side, idle.

// costs reports whether path cost is measured.
func (c *Config) costs() bool {
	if c.Engine != ours || len(c.Paths) > 0 && !slices.Contains(c.Paths, crossNode) || len(c.Measures) > 0 && !slices.Contains(c.Measures, pathCost) {
		return false
	}
	return slices.ContainsFunc(c.Variants, func(v Variant) bool {
		return v.Copy != nil && routes(v.Plans[0].Cluster).missing(crossNode, v.Plans[0]) == ""
	})
}

// Bare is the wire model of path cost: every packet is paid for alone.
var Bare = Wires[slices.IndexFunc(Wires, func(w Wire) bool { return w.Model == lab.WireBare })]

// ruleFree is the suffix of the name that the control without netfilter rules has.
const ruleFree = " without rules"

// row is what is measured in turn with others within a generation: a variant's pods, or the nodes that all are held against.
type row struct {
	*subject
	path  string
	curve bool // has the points of the curve
}

// costly lists the variants of path cost: those of the comparison, and the first that has netfilter rules once more without.
func (c *Config) costly() (all []Variant, free *report.Twin, err error) {
	for _, v := range c.Variants {
		if v.Copy != nil {
			all = append(all, v)
		}
	}
	for _, v := range all {
		p, err := v.Copy()
		if err != nil {
			return nil, nil, err
		}
		if !p.State.RemoveRulesets() {
			continue
		}
		without := Variant{Mode: v.Mode + ruleFree, Datapath: v.Datapath, Copy: func() (*plan.Plan, error) {
			p, err := v.Copy()
			if err == nil {
				p.State.RemoveRulesets()
			}
			return p, err
		}}
		return append(all, without), &report.Twin{Mode: without.Mode, Of: v.Mode}, nil
	}
	return all, nil, nil
}

// impaired names the switches that limit, delay or lose packets in any variant.
func (c *Config) impaired() string {
	var names []string
	for _, v := range c.Variants {
		for _, sw := range v.Plans[0].Cluster.Lab.Switches {
			if sw.Impair != (lab.Impairment{}) && !slices.Contains(names, sw.Name) {
				names = append(names, sw.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// cost measures path cost, in the generations that are not measured yet.
func (r *run) cost(ctx context.Context) error {
	if !r.cfg.costs() {
		return nil
	}
	missing := r.unmeasured()
	if len(missing) == 0 {
		return nil
	}
	if p := r.results.PathCost; p != nil && (p.Slice != slice.Seconds() || p.Slices != ranked) {
		return fmt.Errorf("this comparison was begun by another version of lab, which cut path cost into %s slices; numbers of the two do not go together: begin anew", time.Duration(p.Slice*float64(time.Second)))
	}
	variants, free, err := r.cfg.costly()
	if err != nil {
		return err
	}
	cpu := traffic.First()
	if r.results.PathCost == nil {
		r.results.RuleFree = free
		r.results.PathCost = &report.PathCost{Impaired: r.cfg.impaired(), Asked: r.cfg.Generations, Slice: slice.Seconds(), Brief: slice.Seconds(), Slices: ranked, MSS: map[string]int{}, Passes: []report.Generation{}, Left: []report.Left{}}
	}
	if r.results.PathCost.CPU, r.results.PathCost.Before = cpu, traffic.MayGoBefore(); !r.results.PathCost.Before {
		r.warn("path cost: the threads that are measured may not go before others (that needs CAP_SYS_NICE), so these interrupt them")
	}
	standing, err := r.erect(ctx, variants, missing)
	if err != nil {
		return err
	}
	r.wire = Bare
	r.begun, r.spent = time.Now(), 0 // the clock of what is left begins when measuring does
	for i, g := range missing {
		subjects := standing[i]
		err := r.enterAll(subjects)
		if err == nil && i == 0 {
			if err = r.prove(ctx, subjects); err == nil {
				r.describe(subjects[0])
			}
		}
		if err == nil {
			err = r.generation(ctx, g, r.rows(subjects, free), cpu)
		}
		if err == nil {
			err = r.asBuilt(ctx, subjects, g)
		}
		for _, s := range subjects {
			s.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rows lists what is measured of a generation.
func (r *run) rows(subjects []*subject, free *report.Twin) (rows []row) {
	reference := subjects[0].Mode
	for _, s := range subjects {
		if s.Mode == r.cfg.Baseline {
			reference = s.Mode
		}
	}
	if free != nil { // the kernel's own path, whatever the baseline does with packets of the nodes
		reference = free.Mode
	}
	for _, s := range subjects {
		if _, ok := s.routes[crossNode]; ok {
			rows = append(rows, row{s, crossNode, s.Mode != r.cfg.Twin && (free == nil || s.Mode != free.Mode)})
		}
		if _, ok := s.routes[hostHost]; ok && s.Mode == reference {
			rows = append(rows, row{s, hostHost, true})
		}
	}
	return rows
}

// segments lists the TCP payloads that fill a packet between pods, of every mode.
func (r *run) segments(rows []row) (all []int) {
	for _, w := range rows {
		if w.path != crossNode {
			continue
		}
		mss := segment(w.Plan, w.routes[crossNode])
		r.results.PathCost.MSS[w.Mode] = mss
		if w.curve {
			all = append(all, mss)
		}
	}
	return all
}

// describe records the wire model, where nothing else is measured under it.
func (r *run) describe(s *subject) {
	if !slices.ContainsFunc(r.results.Wires, func(w report.Wire) bool { return w.Name == Bare.Name }) {
		r.results.Wires = append(r.results.Wires, report.Wire{Name: Bare.Name, About: Bare.about, Settings: settings(s.Plan)})
	}
}
