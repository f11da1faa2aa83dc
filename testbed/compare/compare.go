// Package compare measures the modes of a lab against one another, over instances that stand side by side.
//
// Before anything is measured, each mode is proved: while its pods talk across nodes, what is on the underlay has to be
// what the mode promises. A number without that proof would be a number of something else.
//
// Then it goes in rounds. In every round each path and measure is taken once of every mode, in an order drawn anew for
// the round; the modes of one path and measure follow upon one another, so that what is compared within a round is as
// near in time as can be. A measurement is a new connection.
package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed/traffic"
)

// wireModel is the model of the underlay's links: veth as it is, where what a pod sends is never cut into packets.
const wireModel = "super"

// congestion is the congestion control of every flow; a machine's default may pace.
const congestion = "cubic"

// Variant is an instance of the lab in one mode. It is up.
type Variant struct {
	Mode     string
	Datapath string
	Plan     *plan.Plan
}

// Config says what is compared.
type Config struct {
	Lab      string
	Variants []Variant
	Baseline string   // a mode; the first one where it is left out
	Paths    []string // of [Paths]; all where they are left out
	Measures []string // of [Measures]; all where they are left out
	Rounds   int
	Seed     uint64 // of the order within rounds; drawn where it is left out
	Warmup   time.Duration
	Window   time.Duration // what is counted, of every measurement
	Quick    bool          // few and short rounds, where nothing else is said
	Argv     []string      // recorded
}

// Complete fills in what was left out, and refuses what cannot be meant. It does not look at the variants.
func (c *Config) Complete() error {
	var err error
	if c.Paths, err = known("path", c.Paths, Paths); err != nil {
		return err
	}
	if !slices.Contains(c.Paths, hostHost) {
		c.Paths = slices.Insert(c.Paths, 0, hostHost) // the control belongs to every comparison
	}
	if c.Measures, err = known("measure", c.Measures, Measures); err != nil {
		return err
	}
	rounds, warmup, window := 10, 500*time.Millisecond, 2*time.Second
	if c.Quick {
		rounds, warmup, window = 3, 100*time.Millisecond, 400*time.Millisecond
	}
	if c.Rounds == 0 {
		c.Rounds = rounds
	}
	if c.Warmup == 0 {
		c.Warmup = warmup
	}
	if c.Window == 0 {
		c.Window = window
	}
	if c.Rounds < 0 || c.Warmup < 0 || c.Window < 0 {
		return fmt.Errorf("%d rounds of %s after %s: none of them can be negative", c.Rounds, c.Window, c.Warmup)
	}
	if c.Seed == 0 {
		c.Seed = 1 + rand.Uint64N(1<<53-1) // what every reader of JSON can hold
	}
	return nil
}

// known returns what was asked for in the order in which it is measured; nothing asked for is everything.
func known(kind string, asked, all []string) ([]string, error) {
	if len(asked) == 0 {
		return slices.Clone(all), nil
	}
	for _, a := range asked {
		if !slices.Contains(all, a) {
			return nil, fmt.Errorf("there is no %s %q; the %ss are %s", kind, a, kind, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(asked, s) }), nil
}

// Estimate returns about how long the comparison will take, building and removing the instances included.
func Estimate(c Config) time.Duration {
	const (
		around   = 10 * time.Millisecond // connections before and after a measurement
		instance = time.Second           // to build, prove and remove one
	)
	one := time.Duration(len(c.Paths)*len(c.Measures)*c.Rounds)*(c.Warmup+c.Window+around) + instance
	return time.Duration(len(c.Variants)) * one
}

// Progress is told of each piece of work as it begins: the step it belongs to, its number from 1, and of how many.
type Progress func(step string, number, of int)

// Run proves the modes and measures them. When ctx is cancelled it returns the rounds that are finished, and no error
// unless there is none. An error comes with what was found out before it: a mode whose proof failed, finished rounds.
func Run(ctx context.Context, cfg Config, progress Progress) (*report.Results, error) {
	if err := cfg.Complete(); err != nil {
		return nil, err
	}
	if len(cfg.Variants) == 0 {
		return nil, errors.New("no mode to measure")
	}
	r := &report.Results{
		Argv: cfg.Argv, Start: time.Now().Round(time.Second), Lab: cfg.Lab, Quick: cfg.Quick, Asked: cfg.Rounds,
		Warmup: cfg.Warmup.Seconds(), Window: cfg.Window.Seconds(), Seed: cfg.Seed, Machine: machine(),
	}
	for _, v := range cfg.Variants {
		r.Modes = append(r.Modes, v.Mode)
	}
	if r.Baseline = cfg.Baseline; r.Baseline == "" {
		r.Baseline = r.Modes[0]
	}
	if !slices.Contains(r.Modes, r.Baseline) {
		return nil, fmt.Errorf("the baseline %s is none of the modes %s", r.Baseline, strings.Join(r.Modes, ", "))
	}
	run := &run{cfg: cfg, results: r}
	defer run.close()
	err := run.all(ctx, progress)
	r.Finish = time.Now().Round(time.Second)
	r.Derive()
	if ctx.Err() != nil {
		if r.Rounds == 0 {
			return nil, fmt.Errorf("interrupted before a round was finished: %w", context.Cause(ctx))
		}
		return r, nil
	}
	return r, err
}

// run is one comparison under way.
type run struct {
	cfg            Config
	results        *report.Results
	subjects       []*subject
	client, server int // CPUs
}

func (r *run) all(ctx context.Context, progress Progress) error {
	r.client, r.server = traffic.CPUs()
	if r.client == traffic.Unpinned {
		r.warn("client and server share one CPU, so they are not pinned")
	} else {
		r.results.Machine.Pinned = []int{r.client, r.server}
	}
	for _, v := range r.cfg.Variants {
		if err := r.open(v); err != nil {
			return fmt.Errorf("mode %s: %w", v.Mode, err)
		}
	}
	if err := r.prove(ctx, progress); err != nil {
		return err
	}
	return r.measure(ctx, progress)
}

// prove holds every mode against what it promises of the underlay. All of them are tried before one that failed ends the
// comparison.
func (r *run) prove(ctx context.Context, progress Progress) error {
	var failed []error
	for i, s := range r.subjects {
		progress("proving on the underlay", i+1, len(r.subjects))
		if s.across == nil {
			r.warn("%s has no two pods on different nodes: what is on the underlay is not proved", s.Mode)
			continue
		}
		p, err := r.witness(ctx, s)
		if err != nil {
			return fmt.Errorf("mode %s: %w", s.Mode, err)
		}
		r.results.Proof = append(r.results.Proof, p)
		if !p.OK {
			failed = append(failed, fmt.Errorf("mode %s is not on the underlay what it promises (%s): %s", s.Mode, p.Encapsulation, p.Detail))
		}
	}
	return errors.Join(failed...)
}

// measure goes through the rounds. A round that is not finished leaves no samples.
func (r *run) measure(ctx context.Context, progress Progress) error {
	total, number := 0, 0
	for _, s := range r.subjects {
		total += len(s.routes) * len(r.cfg.Measures) * r.cfg.Rounds
	}
	if total == 0 {
		return errors.New("the lab offers none of the paths " + strings.Join(r.cfg.Paths, ", "))
	}
	rng := rand.New(rand.NewPCG(r.cfg.Seed, 0))
	for round := 1; round <= r.cfg.Rounds; round++ {
		order := rng.Perm(len(r.subjects))
		var names []string
		for _, i := range order {
			names = append(names, r.subjects[i].Mode)
		}
		var samples []report.Sample
		for _, path := range r.cfg.Paths {
			for _, measure := range r.cfg.Measures {
				taken := make([][]report.Sample, len(r.subjects)) // back in the order of the modes
				for _, i := range order {
					s := r.subjects[i]
					if _, ok := s.routes[path]; !ok {
						continue
					}
					number++
					progress("measuring", number, total)
					var err error
					if taken[i], err = r.take(ctx, s, path, measure, round); err != nil {
						return fmt.Errorf("round %d, mode %s, %s, %s: %w", round, s.Mode, path, measure, err)
					}
				}
				samples = append(samples, slices.Concat(taken...)...)
			}
		}
		r.results.Samples = append(r.results.Samples, samples...)
		r.results.Order = append(r.results.Order, names)
		r.results.Rounds = round
	}
	return nil
}

func (r *run) warn(format string, args ...any) {
	r.results.Warnings = append(r.results.Warnings, fmt.Sprintf(format, args...))
}
