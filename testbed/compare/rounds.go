package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// measure goes through the rounds of a wire model. A round that is not finished leaves nothing.
func (r *run) measure(ctx context.Context) error {
	if r.wanted == 0 && len(r.results.Passes) == 0 {
		return errors.New("the lab offers none of the paths that are asked for")
	}
	model := uint64(slices.Index(r.cfg.Wires, r.wire))
	for round := r.finished(r.wire.Name) + 1; round <= r.cfg.rounds(r.wire.Name); round++ {
		order := rand.New(rand.NewPCG(r.cfg.Seed, model<<32|uint64(round))).Perm(len(r.subjects))
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
			each := make([]record, len(r.subjects)) // back in the order of the modes
			for _, i := range order {
				s := r.subjects[i]
				if _, ok := s.routes[x.path]; !ok {
					continue
				}
				r.next(round, x.takes(r.cfg.timing(x.wire))+around)
				var err error
				if each[i], err = r.take(ctx, s, x, round); err != nil {
					return fmt.Errorf("round %d, wire model %s, mode %s, %s, %s: %w", round, x.wire, s.Mode, x.path, x.name, err)
				}
			}
			got.add(each...)
		}
		if r.wire == r.cfg.Wires[0] && r.cfg.lives() {
			each := make([]record, len(r.subjects))
			for _, i := range order {
				if r.subjects[i].Life == nil {
					continue
				}
				r.next(round, life)
				if each[i], err = r.live(ctx, r.subjects[i], round); err != nil {
					return fmt.Errorf("round %d, mode %s, building it anew: %w", round, r.subjects[i].Mode, err)
				}
			}
			got.add(each...)
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
		if r.cfg.Keep != nil {
			r.results.Finish = time.Now().Round(time.Second)
			r.results.Derive()
			if err := r.cfg.Keep(r.results); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is what measurements gave.
type record struct {
	samples    []report.Sample
	histograms []report.Histogram
	series     []report.Series
}

func (r *record) add(more ...record) {
	for _, m := range more {
		r.samples = append(r.samples, m.samples...)
		r.histograms = append(r.histograms, m.histograms...)
		r.series = append(r.series, m.series...)
	}
}

// take measures once. The path is primed first: a neighbour that has to be resolved again is not what is measured. What
// fails is tried once more, and that is recorded.
func (r *run) take(ctx context.Context, s *subject, x cell, round int) (record, error) {
	got, err := r.attempt(ctx, s, x, round)
	if err == nil || ctx.Err() != nil {
		return got, err
	}
	r.results.Retries = append(r.results.Retries, report.Retry{
		Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Params: x.params, Round: round, Reason: err.Error(),
	})
	return r.attempt(ctx, s, x, round)
}

func (r *run) attempt(ctx context.Context, s *subject, x cell, round int) (record, error) {
	cfg := r.traffic(s, s.routes[x.path])
	if err := traffic.Exchange(ctx, cfg, 1); err != nil {
		return record{}, err
	}
	before, err := s.drops(x.path)
	if err != nil {
		return record{}, err
	}
	measured := x.run
	if r.cfg.Engine == iperf3 {
		measured = r.iperf3(s, s.routes[x.path], x)
	}
	t, err := measured(ctx, cfg)
	if err != nil {
		return record{}, err
	}
	after, err := s.drops(x.path)
	if err != nil {
		return record{}, err
	}
	t.readings = append(t.readings, reading{"drops", float64(after - before), "packets"})
	var got record
	for _, n := range t.readings {
		got.samples = append(got.samples, report.Sample{
			Mode: s.Mode, Datapath: s.Datapath, Wire: x.wire, Path: x.path, Measure: x.name, Metric: n.metric, Params: x.params,
			Round: round, Value: n.value, Unit: n.unit, MSS: t.socket.MSS, Congestion: t.socket.Congestion, Retransmits: t.socket.Retransmits,
		})
	}
	if t.latency != nil && t.latency.Count() > 0 {
		h := report.Histogram{Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Params: x.params, Round: round, Unit: "µs", Counts: counts(t.latency)}
		got.histograms = append(got.histograms, h)
	}
	if len(t.series.Counts) > 0 {
		v := report.Series{Mode: s.Mode, Wire: x.wire, Path: x.path, Measure: x.name, Metric: t.metric, Params: x.params, Round: round, Unit: t.unit, Step: t.series.Step.Seconds()}
		for _, n := range t.series.Counts {
			v.Values = append(v.Values, float64(n)*t.scale/t.series.Step.Seconds())
		}
		got.series = append(got.series, v)
	}
	return got, nil
}
