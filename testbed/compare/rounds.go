package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// measure goes through the rounds of a wire model. A round that is not finished leaves nothing.
func (r *run) measure(ctx context.Context) error {
	model := uint64(slices.Index(r.cfg.Wires, r.wire))
	for round := r.finished(r.wire.Name) + 1; round <= r.cfg.rounds(r.wire.Name); round++ {
		drawn := rand.New(rand.NewPCG(r.cfg.Seed, model<<32|uint64(round)))
		order := drawn.Perm(len(r.subjects))
		var names []string
		for _, i := range order {
			names = append(names, r.subjects[i].Mode)
		}
		start, stole := time.Now(), stolen()
		var err error
		if r.idle, err = traffic.MeasureIdle(ctx, r.cfg.Window); err != nil {
			return err
		}
		var got record
		for _, x := range r.cells {
			if x.wire != r.wire.Name {
				continue
			}
			each := make([][]taken, len(r.subjects)) // back in the order of the modes
			for turn := range r.cfg.slices(x) {
				if turn > 0 {
					order = drawn.Perm(len(r.subjects))
				}
				for _, i := range order {
					s := r.subjects[i]
					if _, ok := s.routes[x.path]; !ok {
						continue
					}
					r.next(fmt.Sprintf("round %d of %d, wire model %s", round, r.cfg.rounds(r.wire.Name), r.wire.Name), x.takes(r.cfg.timing(x))+around)
					t, err := r.take(ctx, s, x, round)
					if err != nil {
						return fmt.Errorf("round %d, wire model %s, mode %s, %s, %s: %w", round, x.wire, s.Mode, x.path, x.name, err)
					}
					each[i] = append(each[i], t)
				}
			}
			for i, s := range r.subjects {
				if len(each[i]) > 0 {
					got.add(s, x, round, pooled(each[i]))
				}
			}
		}
		r.results.Samples = append(r.results.Samples, got.samples...)
		r.results.Histograms = append(r.results.Histograms, got.histograms...)
		r.results.Series = append(r.results.Series, got.series...)
		r.results.Passes = append(r.results.Passes, report.Pass{
			Round: round, Wire: r.wire.Name, Order: names, Start: start, Seconds: time.Since(start).Seconds(), Steal: (stolen() - stole).Seconds(), Load: load(),
		})
		if r.wire == r.cfg.Wires[0] {
			r.results.Order = append(r.results.Order, names)
			r.results.Rounds = round
		}
		if err := r.keep(); err != nil {
			return err
		}
	}
	return nil
}

// keep hands on what there is so far.
func (r *run) keep() error {
	if r.cfg.Keep == nil {
		return nil
	}
	r.results.Finish = time.Now().Round(time.Second)
	r.results.Derive()
	return r.cfg.Keep(r.results)
}

// record is what measurements gave.
type record struct {
	samples    []report.Sample
	histograms []report.Histogram
	series     []report.Series
}

// add records what a measurement gave.
func (r *record) add(s *subject, x cell, round int, t taken) {
	for _, n := range t.readings {
		r.samples = append(r.samples, report.Sample{
			Mode: s.Mode, Datapath: s.Datapath, Wire: x.wire, Path: x.path, Measure: x.name, Metric: n.metric, Params: x.params,
			Round: round, Value: n.value, Unit: n.unit, MSS: t.socket.MSS, Congestion: t.socket.Congestion, Retransmits: t.socket.Retransmits,
		})
	}
	if t.latency != nil && t.latency.Count() > 0 {
		r.histograms = append(r.histograms, report.Histogram{
			Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Params: x.params, Round: round, Unit: "µs", Counts: counts(t.latency),
		})
	}
	if len(t.series.Counts) > 0 {
		v := report.Series{Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Metric: t.metric, Params: x.params, Round: round, Unit: t.unit, Step: t.series.Step.Seconds()}
		for _, n := range t.series.Counts {
			v.Values = append(v.Values, float64(n)*t.scale/t.series.Step.Seconds())
		}
		r.series = append(r.series, v)
	}
}

// take measures once. The path is primed first: a neighbour that has to be resolved again is not what is measured. What
// fails is tried once more, and that is recorded.
func (r *run) take(ctx context.Context, s *subject, x cell, round int) (taken, error) {
	t, err := r.attempt(ctx, s, x)
	if err == nil || ctx.Err() != nil {
		return t, err
	}
	r.results.Retries = append(r.results.Retries, report.Retry{
		Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Params: x.params, Round: round, Reason: err.Error(),
	})
	return r.attempt(ctx, s, x)
}

func (r *run) attempt(ctx context.Context, s *subject, x cell) (taken, error) {
	cfg := r.traffic(s, s.routes[x.path], r.cfg.timing(x))
	if err := traffic.Exchange(ctx, cfg, 1); err != nil {
		return taken{}, err
	}
	before, err := s.drops(x.path)
	if err != nil {
		return taken{}, err
	}
	run := x.run
	switch {
	case OfServices(x.name):
		run = r.services(s, x)
	case r.cfg.Engine == iperf3:
		run = r.iperf3(s, s.routes[x.path], x)
	}
	t, err := run(ctx, cfg)
	if err != nil {
		return taken{}, err
	}
	after, err := s.drops(x.path)
	if err != nil {
		return taken{}, err
	}
	t.readings = append(t.readings, measured{"drops", float64(after - before), "packets"})
	return t, nil
}
