// Package compare measures the modes of a lab against one another, over instances that stand side by side.
//
// Before anything is measured, each mode is proved: while its pods talk across nodes, what is on the underlay has to be
// what the mode promises, in frames of the size that the wire model says. A number without that proof would be a number of
// something else.
//
// Then it goes in rounds, first under the wire model that ranks and then under the others. In every round each path and measure is taken once of every mode, in an order drawn anew for
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

// congestion is the congestion control of every flow; a machine's default may pace.
const congestion = "cubic"

// Variant is an instance of the lab in one mode.
type Variant struct {
	Mode     string
	Datapath string
	Plans    []*plan.Plan // the same instance under each of the configured wire models; it is up under the first
	Life     *plan.Plan   // another instance, which is built and removed to measure that; without one it is not
	Smaller  *plan.Plan   // the same with a node less; without one it is not told what a node costs the others
	Services *Programmed  // what is programmed for services in the first of Plans; without it that is not measured

	// Copy plans one instance more, under the wire model of path cost and under a name that no other has. Without it path cost
	// is not measured of the variant.
	Copy func() (*plan.Plan, error)
}

// Config says what is compared.
type Config struct {
	Lab      string
	Variants []Variant
	Baseline string // a mode; the first one where it is left out
	Twin     string // the name of the variant that is the baseline once more
	Set      string // [Quick], [Default], [Thorough] or [Full]
	Wires    []Wire
	Paths    []string // of [Paths]; what the set has where they are left out
	Measures []string // of [Measures]; likewise
	Engine   string   // "lab" or "iperf3"
	Rounds   int

	Generations int    // of path cost: its rounds
	Seed        uint64 // of the order within rounds; drawn where it is left out
	Warmup      time.Duration
	Window      time.Duration  // what is counted, of every measurement
	Argv        []string       // recorded
	Swept       []report.Swept // likewise

	Stands bool           // the variants stand already, as somebody made them, and stay: a proof that fails is no end
	From   *plan.Endpoint // measure from here to there, instead of between the ends that each path has by itself
	To     *plan.Endpoint

	Bring func(context.Context, *plan.Plan) error // makes the kernel be a plan; several at a time
	Down  func(context.Context, string) error     // removes an instance
	Keep  func(*report.Results) error             // is given the results after each round
	Prior *report.Results                         // of a comparison that was interrupted, and goes on
}

// Complete fills in what was left out, and refuses what cannot be meant. It does not look at the variants. Wires are given
// by name, and both engines are known by theirs.
func (c *Config) Complete(wires []string) error {
	var err error
	if c.Set == "" {
		c.Set = Default
	}
	if c.Paths, err = known("path", c.Paths, Paths); err != nil {
		return err
	}
	if c.Measures, err = known("measure", c.Measures, Measures); err != nil {
		return err
	}
	if len(wires) == 0 {
		wires = map[string][]string{Quick: {"nic"}, Default: {"nic", shaped}, Thorough: {"nic", "bare", shaped}, Full: {"nic", "bare", "super", shaped}}[c.Set]
	}
	if c.Wires, err = wiresOf(wires); err != nil {
		return err
	}
	switch c.Engine {
	case "":
		c.Engine = ours
	case ours:
	case iperf3:
		if err := c.witnessed(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("there is no engine %q; the engines are %s, %s", c.Engine, ours, iperf3)
	}
	rounds, generations, warmup, window := 10, Generations, 200*time.Millisecond, time.Second
	switch c.Set {
	case Quick:
		rounds, generations, warmup, window = 3, 3, 100*time.Millisecond, 300*time.Millisecond
	case Default:
		rounds, window = 8, sliceWindow
	}
	if c.Generations == 0 {
		c.Generations = c.Rounds // where that was chosen
	}
	if c.Generations == 0 {
		c.Generations = generations
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

// known returns what was asked for in the order in which it is measured.
func known(kind string, asked, all []string) ([]string, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	for _, a := range asked {
		if !slices.Contains(all, a) {
			return nil, fmt.Errorf("there is no %s %q; the %ss are %s", kind, a, kind, strings.Join(all, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(asked, s) }), nil
}

// Progress is told of each piece of work as it begins: the step it belongs to, its number from 1, of how many, and about how
// long it is to the end.
type Progress func(step string, number, of int, left time.Duration)

// Run proves the modes and measures them. When ctx is cancelled it returns the rounds that are finished, and no error
// unless there is none. An error comes with what was found out before it: a mode whose proof failed, finished rounds.
func Run(ctx context.Context, cfg Config, progress Progress) (*report.Results, error) {
	if len(cfg.Variants) == 0 {
		return nil, errors.New("no mode to measure")
	}
	if cfg.Baseline == "" {
		cfg.Baseline = cfg.Variants[0].Mode
	}
	if !slices.ContainsFunc(cfg.Variants, func(v Variant) bool { return v.Mode == cfg.Baseline }) {
		return nil, fmt.Errorf("the baseline %s is none of the modes", cfg.Baseline)
	}
	run := &run{cfg: cfg, cells: cfg.cells(), progress: progress, results: begin(cfg)}
	for _, v := range cfg.Variants {
		run.subjects = append(run.subjects, &subject{Variant: v})
	}
	before := stolen()
	err := errors.Join(run.all(ctx), run.close(ctx))
	run.results.Machine.Steal += (stolen() - before).Seconds()
	run.results.Finish = time.Now().Round(time.Second)
	run.results.Derive()
	if ctx.Err() != nil {
		if !run.any() {
			return nil, fmt.Errorf("interrupted before a round was finished: %w", context.Cause(ctx))
		}
		return run.results, nil
	}
	return run.results, err
}

// begin starts the record, or takes up that of the comparison which goes on.
func begin(cfg Config) *report.Results {
	if r := cfg.Prior; r != nil {
		r.Resumed = append(r.Resumed, time.Now().Round(time.Second))
		r.Argv = cfg.Argv
		return r
	}
	r := &report.Results{
		Argv: cfg.Argv, Start: time.Now().Round(time.Second), Lab: cfg.Lab, Baseline: cfg.Baseline, Engine: cfg.Engine,
		Set: cfg.Set, Quick: cfg.Set == Quick, Asked: cfg.Rounds, Warmup: cfg.Warmup.Seconds(), Window: cfg.Window.Seconds(), Tail: traffic.Tail.Seconds(),
		Seed: cfg.Seed, Machine: Machine(), Topology: topology(cfg.Variants[0].Plans[0].Cluster),
	}
	if len(cfg.Paths)+len(cfg.Measures) > 0 {
		r.Set = ""
	}
	for _, v := range cfg.Variants {
		if v.Mode == cfg.Twin {
			r.Twin = &report.Twin{Mode: v.Mode, Of: cfg.Baseline}
		} else {
			r.Modes = append(r.Modes, v.Mode)
		}
	}
	r.Swept = cfg.Swept
	for i, w := range cfg.Wires {
		r.Wires = append(r.Wires, report.Wire{Name: w.Name, About: w.about, Settings: settings(cfg.Variants[0].Plans[i]), Rate: float64(w.Rate) / 1e9})
	}
	r.Expected = cfg.arithmetic()
	return r
}

// any reports whether anything is finished.
func (r *run) any() bool { return r.results.Rounds > 0 || len(r.unmeasured()) < r.cfg.Generations }

// close lets go of the instances, and removes those that were built for path cost.
func (r *run) close(ctx context.Context) error {
	var errs []error
	for _, s := range r.subjects {
		s.close()
	}
	for i, name := range r.standing {
		r.say("removing the generations of path cost", i+1, len(r.standing))
		errs = append(errs, r.cfg.Down(context.WithoutCancel(ctx), name))
	}
	return errors.Join(errs...)
}

// run is one comparison under way.
type run struct {
	cfg            Config
	cells          []cell
	results        *report.Results
	progress       Progress
	subjects       []*subject
	standing       []string // instances of path cost
	client, server int      // CPUs
	idle           traffic.CPU
	wire           Wire          // that the instances are up under
	taken, wanted  int           // measurements
	spent, total   time.Duration // what they were estimated to take
	begun          time.Time
}

func (r *run) all(ctx context.Context) error {
	r.client, r.server = traffic.CPUs()
	if r.client == traffic.Unpinned {
		r.warn("client and server share one CPU, so they are not pinned")
	} else {
		r.results.Machine.Pinned = []int{r.client, r.server}
	}
	if r.cfg.Capacity() {
		for _, s := range r.subjects {
			if err := r.open(s); err != nil {
				return fmt.Errorf("mode %s: %w", s.Mode, err)
			}
		}
	}
	r.count()
	if r.wanted == 0 && !r.any() {
		return errors.New("the lab offers none of the paths that are asked for")
	}
	if err := r.cost(ctx); err != nil {
		return err
	}
	if len(r.cells) == 0 {
		return errors.Join(r.programs(ctx), r.lives(ctx))
	}
	for i, w := range r.cfg.Wires {
		if i > 0 {
			if err := r.rewire(ctx, i); err != nil {
				return err
			}
		}
		if r.wire = w; r.finished(w.Name) >= r.cfg.rounds(w.Name) {
			continue
		}
		if err := r.prove(ctx, r.subjects); err != nil {
			return err
		}
		if i == 0 && len(r.results.Ceiling) == 0 {
			if err := r.ceiling(ctx); err != nil {
				return err
			}
		}
		err := r.measure(ctx)
		r.devices()
		if err = errors.Join(err, r.unchanged(ctx)); err != nil {
			return err
		}
	}
	if err := r.programs(ctx); err != nil {
		return err
	}
	return r.lives(ctx)
}

// count adds up what there is to do.
func (r *run) count() {
	r.begun = time.Now()
	for _, w := range r.cfg.Wires {
		for round := r.finished(w.Name) + 1; round <= r.cfg.rounds(w.Name); round++ {
			for _, s := range r.subjects {
				for _, x := range r.cells {
					if _, ok := s.routes[x.path]; ok && x.wire == w.Name {
						r.wanted += r.cfg.slices(x)
						r.total += time.Duration(r.cfg.slices(x)) * (x.takes(r.cfg.timing(x)) + around)
					}
				}
			}
		}
	}
	if r.cfg.programs() {
		left := (r.cfg.Rounds - r.programmed()) * len(r.subjects)
		r.wanted += left
		r.total += time.Duration(left) * programming
	}
	for range r.cfg.lifetimes() - r.lived() {
		for _, s := range r.subjects {
			if s.Life != nil {
				r.wanted++
				r.total += life
			}
		}
	}
	if r.cfg.costs() {
		for _, g := range r.unmeasured() {
			turns, total := r.cfg.generation(g)
			r.wanted += turns
			r.total += total
		}
	}
}

// finished is how many rounds of a wire model are done.
func (r *run) finished(wire string) int {
	n := 0
	for _, p := range r.results.Passes {
		if p.Wire == wire {
			n++
		}
	}
	return n
}

func (r *run) say(step string, number, of int) { r.progress(step, number, of, 0) }

// next tells of a measurement that begins.
func (r *run) next(step string, estimate time.Duration) {
	r.taken++
	left := r.total - r.spent
	if r.spent > 0 {
		left = time.Duration(float64(left) * float64(time.Since(r.begun)) / float64(r.spent))
	}
	r.spent += estimate
	r.progress(step, r.taken, r.wanted, left)
}

// rewire brings all instances under another wire model.
func (r *run) rewire(ctx context.Context, wire int) error {
	for i, s := range r.subjects {
		r.say("wire model "+r.cfg.Wires[wire].Name, i+1, len(r.subjects))
		if err := r.cfg.Bring(ctx, s.Plans[wire]); err != nil {
			return fmt.Errorf("mode %s under the wire model %s: %w", s.Mode, r.cfg.Wires[wire].Name, err)
		}
		s.Plan = s.Plans[wire]
	}
	return nil
}

// prove holds every mode against what it promises of the underlay. All of them are tried before one that failed ends the
// comparison.
func (r *run) prove(ctx context.Context, subjects []*subject) error {
	var failed []error
	for i, s := range subjects {
		r.say("proving on the underlay, wire model "+r.wire.Name, i+1, len(subjects))
		if s.across == nil {
			r.warn("%s has no two pods on different nodes: what is on the underlay is not proved", s.Mode)
			continue
		}
		p, err := r.witness(ctx, s)
		if err != nil {
			return fmt.Errorf("mode %s: %w", s.Mode, err)
		}
		r.results.Proof = slices.DeleteFunc(r.results.Proof, func(o report.Proof) bool { return o.Mode == p.Mode && o.Wire == p.Wire })
		r.results.Proof = append(r.results.Proof, p)
		if !p.OK {
			failed = append(failed, fmt.Errorf("mode %s is not on the underlay what it promises (%s): %s", s.Mode, p.Encapsulation, p.Detail))
		}
	}
	if r.cfg.Stands {
		return nil // the record has it
	}
	return errors.Join(failed...)
}

func (r *run) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(r.results.Warnings, text) {
		r.results.Warnings = append(r.results.Warnings, text)
	}
}
