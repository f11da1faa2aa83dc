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
	"time"

	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/traffic"
)

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
	round     []float64 // ns, one for each slice: the middle half's mean
	elsewhere float64
	socket    traffic.Socket
}

// value is the lower quartile of the slices. What else the host does makes slices slower, up to half of them and more while
// it is busy; the least is left out too, since a CPU whose neighbour has just stopped is faster for a moment.
func (p pool) value() float64 {
	v := slices.Sorted(slices.Values(p.round))
	rank := float64(len(v)-1) / 4
	below := int(rank)
	if below == len(v)-1 {
		return v[below]
	}
	return v[below] + (rank-float64(below))*(v[below+1]-v[below])
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
	for turn := range ranked {
		for i, x := range points {
			if !x.due(turn) || x.curve && !r.cfg.curved(number) {
				continue
			}
			if testbed.Traced(pass.Start) {
				pass.Void = "packets were traced meanwhile"
				return nil, nil
			}
			r.next(fmt.Sprintf("path cost, generation %d of %d", number, r.cfg.Generations), slice*time.Duration(len(rows)))
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
			if len(got.round) == 0 {
				continue
			}
			one := report.Sample{
				Mode: w.Mode, Datapath: w.Datapath, Wire: Bare.Name, Path: w.path, Measure: pathCost, Params: x.params(), Round: number,
				MSS: got.socket.MSS, Congestion: got.socket.Congestion, Retransmits: got.socket.Retransmits,
			}
			one.Metric, one.Unit, one.Value = "round trip", report.Unit("round trip"), math.Round(got.value())
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
	cfg, way := timing, w.routes[w.path]
	cfg.Client = traffic.Side{Open: w.places[way.from.Namespace].Do, Addr: way.from.Address, CPU: cpu}
	cfg.Server = traffic.Side{Open: w.places[way.to.Namespace].Do, Addr: way.to.Address, CPU: cpu}
	return cfg
}

// slice takes one slice of a row. One that fails, or in which nothing was answered because others had the CPU, is taken again,
// for longer.
func (r *run) slice(ctx context.Context, w row, x point, cpu, number int, into *pool) error {
	const tries = 4
	var got traffic.Transactions
	for try := range tries {
		cfg := r.oneCPU(w, x, cpu)
		cfg.Window <<= try
		var err error
		got, err = r.timed(ctx, cfg, x)
		if err == nil && got.Count > 0 {
			break
		}
		if ctx.Err() != nil || err != nil && try > 0 {
			return err
		}
		if err == nil {
			if err = errors.New("no round trip was finished in time"); try == tries-1 {
				return err
			}
		}
		r.results.Retries = append(r.results.Retries, report.Retry{
			Mode: w.Mode, Wire: Bare.Name, Path: w.path, Measure: pathCost, Params: x.params(), Round: number, Reason: err.Error(),
		})
	}
	elsewhere := float64(got.Elsewhere) / float64(max(1, got.Count))
	if len(into.round) == 0 {
		into.elsewhere, into.socket = elsewhere, got.Socket
	} else {
		into.elsewhere = min(into.elsewhere, elsewhere)
		into.socket.Retransmits += got.Retransmits
	}
	into.round = append(into.round, float64(got.Latency.Middle().Nanoseconds()))
	return nil
}

func (r *run) timed(ctx context.Context, cfg traffic.Config, x point) (traffic.Transactions, error) {
	if x.connect {
		t, err := traffic.RunConnections(ctx, cfg, traffic.Connections{Size: x.size})
		if err == nil && t.Lost > 0 {
			err = fmt.Errorf("%d of %d connections were reset", t.Lost, t.Lost+t.Count)
		}
		return t, err
	}
	return traffic.RunTransactions(ctx, cfg, traffic.Requests{Protocol: x.protocol, Size: x.size})
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
