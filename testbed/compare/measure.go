package compare

import (
	"context"
	"time"

	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// A measure takes numbers of a path.
type measure struct {
	name   string
	params string
	run    func(context.Context, traffic.Config) ([]reading, traffic.Socket, error)
}

type reading struct {
	metric string
	value  float64
	unit   string
}

var measures = []measure{
	{"tcp-stream", "streams=1", func(ctx context.Context, cfg traffic.Config) ([]reading, traffic.Socket, error) {
		s, err := traffic.RunStream(ctx, cfg, traffic.Streams{})
		if err != nil {
			return nil, s.Socket, err
		}
		return []reading{{"goodput", s.Goodput(), "Gbit/s"}}, s.Socket, nil
	}},
	{"tcp-rr", "request=1 response=1", func(ctx context.Context, cfg traffic.Config) ([]reading, traffic.Socket, error) {
		t, err := traffic.RunTransactions(ctx, cfg, traffic.Requests{})
		if err != nil {
			return nil, t.Socket, err
		}
		micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
		return []reading{
			{"rate", t.Rate(), "1/s"},
			{"p50", micros(t.Percentile(50)), "µs"},
			{"p99", micros(t.Percentile(99)), "µs"},
		}, t.Socket, nil
	}},
}

// Measures lists the measures in the order in which they are taken.
var Measures = func() []string {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	return names
}()

// take measures once. The path is primed first: a neighbour that has to be resolved again is not what is measured.
func (r *run) take(ctx context.Context, s *subject, path, name string, round int) ([]report.Sample, error) {
	cfg := r.traffic(s, s.routes[path])
	if err := traffic.Exchange(ctx, cfg, 1); err != nil {
		return nil, err
	}
	var samples []report.Sample
	for _, m := range measures {
		if m.name != name {
			continue
		}
		numbers, socket, err := m.run(ctx, cfg)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			samples = append(samples, report.Sample{
				Mode: s.Mode, Datapath: s.Datapath, Wire: wireModel, Path: path, Measure: m.name, Metric: n.metric, Params: m.params,
				Round: round, Value: n.value, Unit: n.unit, MSS: socket.MSS, Congestion: socket.Congestion, Retransmits: socket.Retransmits,
			})
		}
	}
	return samples, nil
}
