package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/faults"
	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/check"
)

type faultDocument struct {
	Name  string   `json:"name"`
	Level int      `json:"level"`
	Modes []string `json:"modes"`
	About string   `json:"about"`
}

func (c *command) faults() *cobra.Command {
	return &cobra.Command{
		Use:   "faults",
		Short: "List the ways in which a lab can be broken",
		Long: `Lists the faults that "lab break" and "lab drill" know: their level, the modes in which they can strike, and what is
wrong then. Level 1 is found by one command; at level 2 one has to know where to look; at level 3 the symptom misleads.`,
		Example: `  lab faults
  lab faults -o json`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			var docs []faultDocument
			var rows []row
			for _, f := range faults.All {
				docs = append(docs, faultDocument{f.Name, f.Level, f.Modes, f.About})
				rows = append(rows, row{cells: []string{f.Name, strconv.Itoa(f.Level), f.About + " (" + strings.Join(f.Modes, ", ") + ")"}})
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "faults": docs})
			}
			fmt.Fprint(c.out, columns(rows, width(c.out)))
			return nil
		},
	}
}

// chosen is which fault is asked for.
type chosen struct {
	random bool
	level  int
	seed   int64
	count  int
	lab    string
	mend   bool
}

func (w *chosen) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.random, "random", false, "choose a fault that applies to this lab")
	cmd.Flags().IntVar(&w.level, "level", 0, "choose at random among those of this `level`, 1 to 3")
	cmd.Flags().Int64Var(&w.seed, "seed", -1, "choose fault and place by this `number`: the same for a whole class")
	cmd.Flags().IntVar(&w.count, "count", 1, "choose this `number` of faults at random, on different machines")
	cmd.Flags().StringVarP(&w.lab, "lab", "l", "", "the `lab`, where several are running")
	cmd.Flags().BoolVar(&w.mend, "mend", false, "repair drift first")
	completeFlag(cmd, "lab", runningLabs)
	completeFlag(cmd, "level", func(*cobra.Command) []string { return []string{"1", "2", "3"} })
}

// asks refuses what cannot be meant, and chooses a seed where none is given.
func (w *chosen) asks(verb string, args []string) error {
	w.random = w.random || w.level != 0 || w.count > 1
	switch name := first(args); {
	case name == "" && !w.random:
		return refuse("say which fault, or --random: %s %s (\"lab faults\" lists them)", verb, faults.All[0].Name)
	case name != "" && w.random:
		return refuse("give either a fault or --random, --level and --count")
	case name != "" && faults.Get(name) == nil:
		return refuse("there is no fault %q.%s", name, lab.Suggest(name, faults.Names(), "There are"))
	case w.level < 0 || w.level > 3:
		return refuse("--level %d: levels are 1 to 3", w.level)
	case w.count < 1 || w.count > len(faults.All):
		return refuse("--count %d: it is from 1 to %d", w.count, len(faults.All))
	case w.seed < -1:
		return refuse("--seed %d: a seed is a number from 0 on", w.seed)
	}
	if w.seed < 0 {
		w.seed = int64(rand.IntN(1_000_000))
	}
	return nil
}

// strikes chooses where the lab is struck.
func (w *chosen) strikes(p *plan.Plan, name string) ([]faults.Strike, error) {
	if w.random {
		all := faults.Random(p, w.level, w.count, uint64(w.seed))
		if len(all) < w.count {
			at := ""
			if w.level != 0 {
				at = fmt.Sprintf(" of level %d", w.level)
			}
			return nil, refuse("lab %s in mode %s can have %d faults%s at a time, not %d", p.Cluster.Name, p.ModeName, len(all), at, w.count)
		}
		return all, nil
	}
	f := faults.Get(name)
	s, ok := f.Pick(p, uint64(w.seed))
	if !ok {
		return nil, refuse("%s does not apply to lab %s in mode %s. It applies in mode %s; \"lab drill start %[1]s\" without a running lab builds one of its own.",
			name, p.Cluster.Name, p.ModeName, lab.Enumerate(f.Modes, "or"))
	}
	return []faults.Strike{s}, nil
}

func (c *command) breaks() *cobra.Command {
	var w chosen
	cmd := &cobra.Command{
		Use:   "break FAULT|--random",
		Short: "Break the running lab by a fault",
		Long: `Changes the running lab as a fault does. "lab check" shows what it does to packets, "lab status" and "lab plan" what
is different, and "lab up" repairs it. For a fault whose answer is hidden: "lab drill start".`,
		Example: `  lab break fdb-missing
  lab break --random --level 2 --seed 7`,
		Args:              atMost(1),
		ValidArgsFunction: completeFault,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.asks("lab break", args); err != nil {
				return err
			}
			p, err := c.subject(cmd, "break", w)
			if err != nil {
				return err
			}
			strikes, err := w.strikes(p, first(args))
			if err != nil {
				return err
			}
			if _, err := c.strike(cmd.Context(), p, strikes, nil); err != nil {
				return err
			}
			var docs []map[string]any
			for _, s := range strikes {
				docs = append(docs, map[string]any{"fault": s.Name, "machine": s.Machine, "about": s.About})
				c.say("%s at %s: %s.", s.Name, s.Machine, s.About)
			}
			c.say("Try: lab check %s · lab status %[1]s · lab up repairs it", p.Cluster.Name)
			if c.json() {
				return c.document(map[string]any{"schema": schema, "lab": p.Cluster.Name, "mode": p.ModeName, "seed": w.seed, "faults": docs})
			}
			return nil
		},
	}
	w.flags(cmd)
	return cmd
}

func completeFault(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return faults.Names(), cobra.ShellCompDirectiveNoFileComp
}

// subject is the running lab that will be broken. It must be whole.
func (c *command) subject(cmd *cobra.Command, verb string, w chosen) (*plan.Plan, error) {
	f, err := features(verb, false)
	if err != nil {
		return nil, err
	}
	name, err := c.instance(cmd, w.lab, choice{})
	if err != nil {
		return nil, err
	}
	return c.whole(cmd.Context(), name, f, w.mend)
}

// whole plans a running lab, in which nothing may have drifted.
func (c *command) whole(ctx context.Context, name string, f plan.Features, mend bool) (*plan.Plan, error) {
	p, err := c.running(name, f)
	if err != nil {
		return nil, err
	}
	if p.Mode == nil {
		return nil, refuse("lab %s has no pod network, and faults need pods", name)
	}
	if d, err := drillOf(name); err == nil {
		return nil, refuse("a drill is on in lab %s (%s); \"lab drill stop\" ends it", name, d.Title())
	}
	pending, err := pendingOf(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case len(pending) > 0 && !mend:
		return nil, refuse("lab %s has drifted already: %s would repair it (\"lab status %[1]s\" shows it). Repair it first: lab up, or --mend", name, count(len(pending), "change"))
	case len(pending) > 0:
		return p, c.mend(ctx, p)
	}
	return p, nil
}

func pendingOf(ctx context.Context, p *plan.Plan) ([]plan.Change, error) {
	actual, err := testbed.Read(ctx, p.Cluster.Name, p.State)
	if err != nil {
		return nil, err
	}
	return plan.Diff(actual, p.State), nil
}

// strike makes the kernel be the plan with its faults, and waits until they are felt. keep is called before anything is
// changed, and when it is known what differs.
func (c *command) strike(ctx context.Context, p *plan.Plan, strikes []faults.Strike, keep func(causes []plan.Key) error) (*check.Report, error) {
	name := p.Cluster.Name
	lock, err := testbed.Acquire(ctx, name, true)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	defer c.working()()
	if keep == nil {
		keep = func([]plan.Key) error { return nil }
	}
	if err := keep(nil); err != nil {
		return nil, err
	}
	actual, err := testbed.Read(ctx, name, p.State) // rules are changed by what the kernel calls them
	if err != nil {
		return nil, err
	}
	if err := testbed.Apply(ctx, plan.Diff(actual, faults.On(p.State, strikes...)), func(plan.Change) {}); err != nil {
		return nil, fmt.Errorf("%w\n\"lab up\" mends lab %s", err, name)
	}
	pending, err := pendingOf(ctx, p)
	if err != nil {
		return nil, err
	}
	causes := map[plan.Key]bool{}
	for _, ch := range pending {
		causes[ch.Object.Key()] = true
	}
	if err := keep(slices.Collect(maps.Keys(causes))); err != nil {
		return nil, err
	}
	steps := newProgress(c.err)
	if steps.live {
		steps.begin("breaking %s", name)
	}
	// What is learnt by a protocol takes its time to go.
	for end := time.Now().Add(30 * time.Second); ; {
		r, err := check.Run(ctx, p, check.Options{}, func(done, total int) { steps.set("%d of %d", done, total) })
		if err != nil || !r.OK || time.Now().After(end) {
			steps.end(err == nil)
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// drillName is the file of a drill, beside a lab's record.
const drillName = "drill.json"

// drillOf reads the drill that is on in a lab; the error wraps fs.ErrNotExist where there is none.
func drillOf(name string) (faults.Drill, error) {
	text, err := testbed.Kept(name, drillName)
	if err != nil {
		return faults.Drill{}, err
	}
	d, err := faults.Open(text)
	if err != nil {
		return d, fmt.Errorf("the record of the drill in lab %s is damaged: %w; \"lab up\" ends it", name, err)
	}
	return d, nil
}

// drilled reports whether a drill is on.
func drilled(name string) bool {
	_, err := drillOf(name)
	return !errors.Is(err, os.ErrNotExist)
}
