package compare

import (
	"context"
	"fmt"
	"time"

	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// A measure takes numbers of a path. Several measures share a name and differ in their parameters.
type measure struct {
	name   string
	params string
	sliced bool // its window can be cut
	takes  func(traffic.Config) time.Duration
	run    func(context.Context, traffic.Config) (taken, error)
}

// taken is what one measurement gave: numbers, the first of which is what it was made for.
type taken struct {
	readings []measured
	socket   traffic.Socket
	latency  *traffic.Histogram
	series   traffic.Series
	metric   string  // of the series
	unit     string  // of the series
	scale    float64 // from a step's count to the unit
}

// pooled makes one measurement of its slices: latencies merged, from which the percentiles are taken anew, and of the rest the
// average, of CPU time that for each unit of work.
func pooled(slices []taken) taken {
	all := slices[0]
	if len(slices) == 1 {
		return all
	}
	all.readings, all.latency, all.series.Counts = nil, nil, nil
	all.socket.Retransmits = 0
	type sum struct{ value, weight float64 }
	sums, units := map[string]sum{}, []measured(nil)
	for _, t := range slices {
		all.socket.Retransmits += t.socket.Retransmits
		all.series.Counts = append(all.series.Counts, t.series.Counts...)
		if t.latency != nil {
			if all.latency == nil {
				all.latency = traffic.NewHistogram()
			}
			all.latency.Merge(t.latency)
		}
		work := 0.0 // of this slice: what was carried, or how often it was asked
		for _, n := range t.readings {
			if n.metric == "goodput" || n.metric == "rate" {
				work = n.value
			}
		}
		for _, n := range t.readings {
			weight := 1.0
			if n.metric == "cpu" || n.metric == "retransmits" {
				weight = work
			}
			was, known := sums[n.metric]
			if !known {
				units = append(units, n)
			}
			sums[n.metric] = sum{was.value + weight*n.value, was.weight + weight}
		}
	}
	if all.latency != nil {
		all.readings = percentiles(all.latency)
	}
	for _, n := range units {
		if n.metric == "p50" || n.metric == "p99" {
			continue
		}
		if s := sums[n.metric]; s.weight > 0 {
			all.readings = append(all.readings, measured{n.metric, s.value / s.weight, n.unit})
		}
	}
	return all
}

type measured struct {
	metric string
	value  float64
	unit   string
}

// inItsUnit is a value of a metric that has one unit.
func inItsUnit(metric string, value float64) measured {
	return measured{metric, value, report.Unit(metric)}
}

// step is that of the time series.
const step = 100 * time.Millisecond

const highLoss = 0.001 // what the highest rate of datagrams may lose

// once is how long a single run takes; one that counts datagrams waits for stragglers besides.
func once(cfg traffic.Config) time.Duration { return cfg.Warmup + cfg.Window + traffic.Tail }

func waiting(cfg traffic.Config) time.Duration { return cfg.Takes() }

// stream measures TCP throughput.
func stream(params string, what traffic.Streams) measure {
	what.Step = step
	return measure{"tcp-stream", params, true, once, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		s, err := traffic.RunStream(ctx, cfg, what)
		if err != nil {
			return taken{socket: s.Socket}, err
		}
		t := taken{socket: s.Socket, series: s.Series, metric: "goodput", unit: report.Unit("goodput"), scale: 8 / 1e9}
		t.readings = []measured{inItsUnit("goodput", s.Goodput())}
		if s.Bytes > 0 {
			t.readings = append(t.readings, measured{"cpu", s.CPU.Per(s.Gbit()), "s/Gbit"}, measured{"retransmits", s.RetransmitsPerGB(), "1/GB"})
		}
		return t, nil
	}}
}

// requests measures a closed loop of requests and answers.
func requests(name, params string, what traffic.Requests) measure {
	what.Step = step
	return measure{name, params, true, once, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		r, err := traffic.RunTransactions(ctx, cfg, what)
		if err != nil {
			return taken{socket: r.Socket}, err
		}
		t := transactions(r)
		if what.Protocol == traffic.UDP {
			t.readings = append(t.readings, measured{"lost", float64(r.Lost), "requests"})
		}
		return t, nil
	}}
}

func transactions(r traffic.Transactions) taken {
	t := taken{socket: r.Socket, latency: r.Latency, series: r.Series, metric: "rate", unit: report.Unit("rate"), scale: 1}
	t.readings = append(percentiles(r.Latency), inItsUnit("rate", r.Rate()))
	if r.Count > 0 {
		t.readings = append(t.readings, measured{"cpu", r.CPU.Per(r.Millions()), "s/million"})
	}
	return t
}

// percentiles are those that a single run can tell. The tail beyond is read off the merged histograms.
func percentiles(h *traffic.Histogram) []measured {
	var all []measured
	if n := h.Count(); n > 0 {
		all = append(all, inItsUnit("p50", micros(h.Percentile(50))))
		if n >= 100 {
			all = append(all, inItsUnit("p99", micros(h.Percentile(99))))
		}
	}
	return all
}

// counts are a histogram's for the record, in steps of one in a hundred: finer ones tell nothing, and fill the file.
func counts(h *traffic.Histogram) [][2]float64 {
	var all [][2]float64
	for _, p := range h.Pairs() {
		value := float64(p[0]) / 1e3
		if last := len(all) - 1; last >= 0 && value < all[last][0]*1.01 {
			all[last][1] += float64(p[1])
			continue
		}
		all = append(all, [2]float64{value, float64(p[1])})
	}
	return all
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// connections measures a new connection for every request.
func connections() measure {
	return measure{"tcp-crr", "request=1 response=1", true, once, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		r, err := traffic.RunConnections(ctx, cfg, traffic.Connections{})
		if err != nil {
			return taken{socket: r.Socket}, err
		}
		t := transactions(r)
		t.readings = append(t.readings, measured{"lost", float64(r.Lost), "connections"})
		return t, nil
	}}
}

// loaded measures requests beside a stream.
func loaded() measure {
	return measure{"latency-under-load", "streams=1", true, once, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		r, s, err := traffic.RunLoaded(ctx, cfg, traffic.Requests{Step: step}, traffic.Streams{})
		if err != nil {
			return taken{socket: r.Socket}, err
		}
		t := transactions(r)
		t.readings = append(percentiles(r.Latency), inItsUnit("goodput", s.Goodput()))
		return t, nil
	}}
}

// scheduled measures requests at a rate, timed from when they were due.
func scheduled(perSecond float64) measure {
	return measure{"latency-at-rate", fmt.Sprintf("udp rate=%g", perSecond), false, waiting, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		r, err := traffic.RunSchedule(ctx, cfg, traffic.Schedule{Protocol: traffic.UDP, PerSecond: perSecond})
		if err != nil {
			return taken{}, err
		}
		return taken{latency: r.Latency, readings: append(percentiles(r.Latency), measured{"lost", float64(r.Lost()), "requests"})}, nil
	}}
}

// offered sends datagrams at a rate, and sees what becomes of them.
func offered(size int, perSecond float64) measure {
	return measure{"udp-rate", fmt.Sprintf("size=%d rate=%g", size, perSecond), false, waiting, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		d, err := traffic.RunPackets(ctx, cfg, traffic.Packets{Size: size, PerSecond: perSecond})
		if err != nil {
			return taken{}, err
		}
		t := taken{latency: d.Delay, readings: []measured{inItsUnit("loss", 100*d.Loss()), inItsUnit("delivered", d.Rate())}}
		t.readings = append(t.readings, spent(d)...)
		return t, nil
	}}
}

// oneWay measures how long datagrams are on their way: both ends read one clock.
func oneWay(size int, perSecond float64) measure {
	return measure{"one-way", fmt.Sprintf("size=%d rate=%g", size, perSecond), false, waiting, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		d, err := traffic.RunPackets(ctx, cfg, traffic.Packets{Size: size, PerSecond: perSecond})
		if err != nil {
			return taken{}, err
		}
		return taken{latency: d.Delay, readings: append(percentiles(d.Delay), measured{"jitter", micros(d.Jitter), "µs"})}, nil
	}}
}

// highest looks for the highest rate of datagrams that gets through.
func highest(size int) measure {
	search := traffic.Search{Size: size, Low: 5000, High: 1_000_000, Loss: highLoss, Trial: 80 * time.Millisecond, Steps: 9}
	brief := func(cfg traffic.Config) traffic.Config {
		cfg.Warmup = min(cfg.Warmup, 30*time.Millisecond)
		return cfg
	}
	takes := func(cfg traffic.Config) time.Duration {
		trial := brief(cfg)
		trial.Window = search.Trial
		return time.Duration(search.Steps*3/2+2)*trial.Takes() + brief(cfg).Takes()
	}
	return measure{"udp-rate", fmt.Sprintf("size=%d highest", size), false, takes, func(ctx context.Context, cfg traffic.Config) (taken, error) {
		f, err := traffic.FindRate(ctx, brief(cfg), search)
		if err != nil {
			return taken{}, err
		}
		switch {
		case f.Window == 0 && f.Limit == traffic.LimitedBySender:
			return taken{}, nil // the machine had no time to send, which tells nothing of the path
		case f.Window == 0:
			return taken{readings: []measured{inItsUnit("packets", 0), inItsUnit("loss", 100)}}, nil // not even the lowest rate
		}
		return taken{latency: f.Delay, readings: append([]measured{inItsUnit("packets", f.Rate()), inItsUnit("loss", 100*f.Loss())}, spent(f.Delivery)...)}, nil
	}}
}

// spent is the CPU time of datagrams, without what the sender spent on waiting for their time.
func spent(d traffic.Delivery) []measured {
	if d.Received == 0 {
		return nil
	}
	return []measured{{"cpu", (d.CPU.Busy() - d.Spun).Seconds() / (float64(d.Received) / 1e6), "s/million"}}
}
