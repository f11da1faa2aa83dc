package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
)

// unmeasured lists the generations that are still to be measured.
func (r *run) unmeasured() (missing []int) {
	for g := 1; g <= r.cfg.Generations; g++ {
		if r.results.PathCost == nil || !slices.ContainsFunc(r.results.PathCost.Passes, func(p report.Generation) bool { return p.Number == g && p.Void == "" }) {
			missing = append(missing, g)
		}
	}
	return missing
}

// erect builds an instance of every variant for every generation. Those with agents are built at the same time: they wait for
// one another to agree, and so all of them wait together.
func (r *run) erect(ctx context.Context, variants []Variant, generations []int) ([][]*subject, error) {
	all := make([][]*subject, len(generations))
	var states []*plan.State
	for i := range generations {
		for _, v := range variants {
			p, err := v.Copy()
			if err != nil {
				return nil, fmt.Errorf("mode %s: %w", v.Mode, err)
			}
			all[i] = append(all[i], &subject{Variant: v, Plan: p})
			if i == 0 {
				states = append(states, p.State)
			}
		}
		if i > 0 {
			continue
		}
		fits, short, err := testbed.Together(states)
		if err != nil {
			return nil, err
		}
		if fits < len(generations) {
			return nil, fmt.Errorf("%d generations of %d instances do not fit on this machine, %d would; there is too little of %s; measure fewer with --rounds, or fewer modes with --modes",
				len(generations), len(variants), fits, short)
		}
	}
	const atOnce = 16
	places := make(chan struct{}, atOnce)
	var waiting sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	build := func(s *subject) {
		if err := r.cfg.Bring(ctx, s.Plan); err != nil {
			mu.Lock()
			failed = append(failed, fmt.Errorf("mode %s: %w", s.Mode, err))
			mu.Unlock()
		}
	}
	total := len(generations) * len(variants)
	for i, subjects := range all {
		for j, s := range subjects {
			r.say("building the generations of path cost", i*len(variants)+j+1, total)
			if ctx.Err() != nil {
				break
			}
			r.standing = append(r.standing, s.Plan.Cluster.Name)
			if !hasAgents(s.Plan.State) {
				build(s)
				continue
			}
			places <- struct{}{}
			waiting.Go(func() {
				build(s)
				<-places
			})
		}
	}
	waiting.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all, errors.Join(failed...)
}

func hasAgents(s *plan.State) (any bool) {
	s.Each(func(o plan.Object) {
		if _, ok := o.(plan.Agent); ok {
			any = true
		}
	})
	return any
}

// enterAll opens what is measured of a generation.
func (r *run) enterAll(subjects []*subject) error {
	for _, s := range subjects {
		s.places, s.routes = map[string]*testbed.Place{}, map[string]route{}
		all := routes(s.Plan.Cluster)
		for _, path := range []string{hostHost, crossNode} {
			if why := all.missing(path, s.Plan); why != "" {
				r.warn("%s: path cost of %s is not measured: %s", s.Mode, path, why)
				continue
			}
			s.routes[path] = all[path]
			if err := s.enter(all[path]); err != nil {
				return fmt.Errorf("mode %s: %w", s.Mode, err)
			}
		}
		if way, ok := s.routes[crossNode]; ok {
			s.across = &way
		}
	}
	return nil
}

// pinAgents keeps the agents of a generation on the CPU that is measured.
func pinAgents(rows []row, cpu int) (release func() error, err error) {
	var undo []func() error
	release = func() error {
		var errs []error
		for _, f := range undo {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	for _, w := range rows {
		if w.path != crossNode || !hasAgents(w.Plan.State) {
			continue
		}
		for _, place := range w.places {
			agents, err := testbed.Agents(place)
			if err != nil {
				return nil, errors.Join(err, release())
			}
			for _, a := range agents {
				free, err := a.Pin(cpu)
				if err != nil {
					return nil, errors.Join(err, release())
				}
				undo = append(undo, free)
			}
		}
	}
	return release, nil
}
