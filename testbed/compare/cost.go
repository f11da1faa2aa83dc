package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
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

// cost measures path cost, in the generations that are not measured yet.
func (r *run) cost(ctx context.Context) error {
	if !r.cfg.costs() {
		return nil
	}
	missing := r.unmeasured()
	if len(missing) == 0 {
		return nil
	}
	variants, free, err := r.cfg.costly()
	if err != nil {
		return err
	}
	cpu := traffic.First()
	if r.results.PathCost == nil {
		r.results.RuleFree = free
		r.results.PathCost = &report.PathCost{Asked: r.cfg.Generations, Slice: slice.Seconds(), Brief: brief.Seconds(), MSS: map[string]int{}, Passes: []report.Generation{}, Left: []report.Left{}}
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

// generation measures one generation: slice after slice, each of all rows in an order drawn anew. One in which packets were
// traced is void, and is measured once more.
func (r *run) generation(ctx context.Context, number int, rows []row, cpu int) error {
	for try := 1; ; try++ {
		pass := report.Generation{Number: number, Start: time.Now()}
		stole := stolen()
		samples, err := r.turns(ctx, number, rows, cpu, &pass)
		if err != nil {
			return fmt.Errorf("generation %d, %w", number, err)
		}
		pass.Seconds, pass.Steal, pass.Load = time.Since(pass.Start).Seconds(), (stolen() - stole).Seconds(), load()
		r.results.PathCost.Passes = append(r.results.PathCost.Passes, pass)
		if pass.Void == "" {
			r.results.Samples = append(r.results.Samples, samples...)
			r.results.PathCost.Left = left(r.results.Samples)
		} else if try == 1 {
			r.warn("generation %d was measured again: %s", number, pass.Void)
		}
		if len(r.cells) == 0 {
			r.results.Rounds = number
		}
		if pass.Void == "" || try == 2 {
			return r.keep()
		}
		const patience = time.Minute
		for until := time.Now().Add(patience); testbed.Traced(time.Now()) && time.Now().Before(until); {
			r.say("waiting until nobody traces packets", number, r.cfg.Generations)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// pool is what the slices of a row's cell have given.
type pool struct {
	latency   *traffic.Histogram
	elsewhere float64
	socket    traffic.Socket
}

// turns takes all slices of a generation.
func (r *run) turns(ctx context.Context, number int, rows []row, cpu int, pass *report.Generation) ([]report.Sample, error) {
	release, err := pinAgents(rows, cpu)
	if err != nil {
		return nil, err
	}
	defer func() { _ = release() }()
	// Nothing of ours is to run beside the load.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, w := range rows {
		if err := traffic.Exchange(ctx, r.oneCPU(w, ranking[0], cpu), 10); err != nil {
			return nil, fmt.Errorf("mode %s: %w", w.Mode, err)
		}
	}
	points := grid(r.cfg.Set, r.segments(rows))
	pools := make([][]pool, len(points))
	for i := range pools {
		pools[i] = make([]pool, len(rows))
	}
	order := rand.New(rand.NewPCG(r.cfg.Seed, 1<<40|uint64(number)))
	for turn := range ranking[0].slices {
		for i, x := range points {
			if turn >= x.slices || x.curve && !r.cfg.curved(number) {
				continue
			}
			if testbed.Traced(pass.Start) {
				pass.Void = "packets were traced meanwhile"
				return nil, nil
			}
			r.next(fmt.Sprintf("path cost, generation %d of %d", number, r.cfg.Generations), x.takes()*time.Duration(len(rows)))
			for _, j := range order.Perm(len(rows)) {
				if w := rows[j]; !x.curve || w.curve {
					if err := r.slice(ctx, w, x, cpu, number, &pools[i][j]); err != nil {
						return nil, fmt.Errorf("mode %s, %s, %s: %w", w.Mode, w.path, x.params(), err)
					}
				}
			}
			runtime.GC()
		}
	}
	if testbed.Traced(pass.Start) {
		pass.Void = "packets were traced meanwhile"
		return nil, nil
	}
	var samples []report.Sample
	for j, w := range rows {
		for i, x := range points {
			got := pools[i][j]
			if got.latency == nil || got.latency.Count() == 0 {
				continue
			}
			one := report.Sample{
				Mode: w.Mode, Datapath: w.Datapath, Wire: Bare.Name, Path: w.path, Measure: pathCost, Params: x.params(), Round: number,
				MSS: got.socket.MSS, Congestion: got.socket.Congestion, Retransmits: got.socket.Retransmits,
			}
			one.Metric, one.Unit, one.Value = "round trip", report.Unit("round trip"), float64(got.latency.Middle().Nanoseconds())
			samples = append(samples, one)
			one.Metric, one.Unit, one.Value = "elsewhere", "", got.elsewhere
			samples = append(samples, one)
		}
	}
	return samples, nil
}

// curved says whether a generation has the points of the curve.
func (c *Config) curved(generation int) bool {
	return c.Set != Default || generation <= curveGenerations
}

func (r *run) oneCPU(w row, x point, cpu int) traffic.Config {
	cfg, way := x.timing(), w.routes[w.path]
	cfg.Client = traffic.Side{Open: w.places[way.from.Namespace].Do, Addr: way.from.Address, CPU: cpu}
	cfg.Server = traffic.Side{Open: w.places[way.to.Namespace].Do, Addr: way.to.Address, CPU: cpu}
	return cfg
}

// slice takes one slice of a row, and once more where it fails.
func (r *run) slice(ctx context.Context, w row, x point, cpu, number int, into *pool) error {
	got, err := r.timed(ctx, w, x, cpu)
	if err != nil && ctx.Err() == nil {
		r.results.Retries = append(r.results.Retries, report.Retry{
			Mode: w.Mode, Wire: Bare.Name, Path: w.path, Measure: pathCost, Params: x.params(), Round: number, Reason: err.Error(),
		})
		got, err = r.timed(ctx, w, x, cpu)
	}
	if err != nil {
		return err
	}
	elsewhere := float64(got.Elsewhere) / float64(max(1, got.Count))
	if into.latency == nil {
		*into = pool{latency: got.Latency, elsewhere: elsewhere, socket: got.Socket}
		return nil
	}
	into.latency.Merge(got.Latency)
	into.elsewhere = min(into.elsewhere, elsewhere)
	into.socket.Retransmits += got.Retransmits
	return nil
}

func (r *run) timed(ctx context.Context, w row, x point, cpu int) (traffic.Transactions, error) {
	cfg := r.oneCPU(w, x, cpu)
	if x.connect {
		return traffic.RunConnections(ctx, cfg, traffic.Connections{Size: x.size})
	}
	return traffic.RunTransactions(ctx, cfg, traffic.Requests{Protocol: x.protocol, Size: x.size})
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

// leaves is how many softirqs elsewhere for each round trip say that work has left the CPU. A packet that another CPU works on
// makes one; what stays makes none.
const leaves = 0.2

// left finds the modes whose work has left the CPU, by the cell that ranks.
func left(samples []report.Sample) []report.Left {
	values, names := map[string][]float64{}, []string(nil)
	for _, s := range samples {
		if s.Measure == pathCost && s.Metric == "elsewhere" && s.Path == crossNode && s.Params == ranking[0].params() {
			if values[s.Mode] == nil {
				names = append(names, s.Mode)
			}
			values[s.Mode] = append(values[s.Mode], s.Value)
		}
	}
	all := []report.Left{}
	for _, name := range names {
		v := values[name]
		slices.Sort(v)
		if median := (v[(len(v)-1)/2] + v[len(v)/2]) / 2; median > leaves {
			all = append(all, report.Left{Mode: name, Elsewhere: math.Round(median*100) / 100})
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
