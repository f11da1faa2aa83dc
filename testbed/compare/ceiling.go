package compare

import (
	"context"
	"fmt"
	"slices"
	"time"

	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// ceiling measures the generator where nothing is in its way, over the loopback of a namespace of ours.
func (r *run) ceiling(ctx context.Context) error {
	times := min(3, r.cfg.Rounds)
	var err error
	if r.idle, err = traffic.MeasureIdle(ctx, r.cfg.Window); err != nil {
		return err
	}
	var done []string
	place := r.subjects[0].anywhere()
	for _, x := range r.cells {
		id := x.name + " " + x.params
		if slices.Contains(done, id) || place == nil || r.cfg.Engine != ours || OfServices(x.name) {
			continue
		}
		done = append(done, id)
		r.say("the generator's own ceiling, over loopback", len(done), len(done))
		for round := range times {
			cfg := r.cfg.timing(x)
			cfg.Client.CPU, cfg.Server.CPU, cfg.Idle = r.client, r.server, r.idle
			t, err := x.run(ctx, cfg.Loopback(place.Do))
			if err != nil {
				return fmt.Errorf("%s over loopback: %w", x.name, err)
			}
			for _, n := range t.readings {
				r.results.Ceiling = append(r.results.Ceiling, report.Sample{
					Path: "loopback", Measure: x.name, Params: x.params, Metric: n.metric, Value: n.value, Unit: n.unit,
					Round: round + 1, MSS: t.socket.MSS, Congestion: t.socket.Congestion, Retransmits: t.socket.Retransmits,
				})
			}
		}
	}
	return nil
}

// ceilings estimates that.
func ceilings(c *Config) time.Duration {
	var total time.Duration
	var done []string
	for _, x := range c.cells() {
		if id := x.name + " " + x.params; !slices.Contains(done, id) && !OfServices(x.name) {
			done = append(done, id)
			total += 3 * x.takes(c.timing(x))
		}
	}
	return total
}
