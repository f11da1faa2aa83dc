package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/faults"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/testbed"
	"labnet/testbed/check"
)

type drillDocument struct {
	Schema   int      `json:"schema"`
	Lab      string   `json:"lab"`
	Drill    string   `json:"drill"` // "random" until it is solved or revealed
	Level    int      `json:"level"`
	Mode     string   `json:"mode"`
	Seed     uint64   `json:"seed"`
	State    string   `json:"state"`
	Differs  []string `json:"differs"` // where the symptom is gone: what is not as it was
	Also     []string `json:"also_changed"`
	Hints    int      `json:"hints"`
	Attempts int      `json:"attempts"`
	Seconds  float64  `json:"seconds"`
	Story    []string `json:"story"`
	Red      []string `json:"red"` // the checks that fail
}

func (c *command) drill() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Find and fix a fault: exercises for a class or for yourself",
		Long: `A drill breaks the running lab, or one of its own where none is running, and tells what a user would report. The
learner finds the cause with lab check, trace, capture and exec, or any tool they know, and fixes it. "lab drill
check" judges by state and by packets. During a drill, status and plan do not reveal the answer.`,
		Example: `  lab drill start --random --level 1
  lab drill hint
  lab drill check`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return refuse("there is no \"lab drill %s\"; see \"lab drill --help\"", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.drillList(), c.drillStart(), c.drillStatus(), c.drillHint(), c.drillCheck(), c.drillWatch(), c.drillReveal(), c.drillStop(), c.drillReport())
	return cmd
}

func (c *command) drillList() *cobra.Command {
	level := 0
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the drills by level, and what each teaches",
		Example: `  lab drill list
  lab drill list --level 1`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			docs := []faultDocument{}
			var rows []row
			for _, f := range faults.All {
				if level == 0 || f.Level == level {
					docs = append(docs, faultDocument{f.Name, f.Level, f.Modes, f.Teach})
					rows = append(rows, row{cells: []string{strconv.Itoa(f.Level), f.Name, f.Teach}})
				}
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "drills": docs})
			}
			fmt.Fprint(c.out, columns(rows, width(c.out)))
			return nil
		},
	}
	cmd.Flags().IntVar(&level, "level", 0, "only those of this `level`, 1 to 3")
	return cmd
}

func (c *command) drillStart() *cobra.Command {
	var w chosen
	cmd := &cobra.Command{
		Use:   "start FAULT|--random",
		Short: "Break a lab, and tell what a user would report",
		Long: `Breaks the running lab, or where none is running one of the drill's own, and tells what a user would report. With
--random the name is not told either. The same --seed breaks the labs of a whole class alike.`,
		Example: `  lab drill start --random --level 1
  lab drill start --random --level 2 --seed 7 --count 2
  lab drill start fdb-missing`,
		Args:              atMost(1),
		ValidArgsFunction: completeFault,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.asks("lab drill start", args); err != nil {
				return err
			}
			p, err := c.ground(cmd, w, first(args))
			if err != nil {
				return err
			}
			strikes, err := w.strikes(p, first(args))
			if err != nil {
				return err
			}
			d, r, err := c.begins(cmd.Context(), p, faults.New(p, uint64(w.seed), w.random, strikes...), strikes)
			if err != nil {
				return err
			}
			doc := document(d, p.Cluster.Name, faults.Unsolved)
			doc.Red = red(r)
			for _, s := range strikes {
				doc.Story = append(doc.Story, s.Tell(s.Story))
			}
			if c.json() {
				return c.document(doc)
			}
			name := "A drill"
			if !d.Random {
				name = "Drill " + d.Title()
			}
			c.tell(doc.Story, fmt.Sprintf("%s of level %d is on in lab %s, mode %s (seed %d).", name, d.Level, doc.Lab, d.Mode, d.Seed), symptom(r))
			c.say("Try: lab check %s · lab trace FROM TO · lab drill hint · lab drill check, when you have fixed it", doc.Lab)
			return nil
		},
	}
	w.flags(cmd)
	return cmd
}

// tell prints what a learner reads, as wide as the terminal.
func (c *command) tell(story []string, lines ...string) {
	room := width(c.out)
	for _, s := range story {
		fmt.Fprintln(c.out, hang("  \""+s+"\"", room, 3))
	}
	for _, l := range lines {
		if l != "" {
			fmt.Fprintln(c.out, hang(l, room, 0))
		}
	}
}

// begins strikes a lab and keeps the drill: before it strikes, so that whatever happens there is a drill that can be ended.
func (c *command) begins(ctx context.Context, p *plan.Plan, d faults.Drill, strikes []faults.Strike) (faults.Drill, *check.Report, error) {
	name := p.Cluster.Name
	r, err := c.strike(ctx, p, strikes, func(causes []plan.Key) error {
		d.Causes = causes
		return testbed.Keep(name, drillName, d.Seal())
	})
	if err == nil && r.OK {
		err = errors.Join(fmt.Errorf("no check fails: the fault has no effect in this lab"), c.mend(ctx, p))
	}
	return d, r, err
}

// ground is the lab of a drill: the one that runs, or one of the drill's own.
func (c *command) ground(cmd *cobra.Command, w chosen, name string) (*plan.Plan, error) {
	f, err := features("drill", false)
	if err != nil {
		return nil, err
	}
	running, err := testbed.Instances(cmd.Context())
	if err != nil {
		return nil, err
	}
	if len(running) > 0 || w.lab != "" {
		return c.subject(cmd, "drill", w)
	}
	definition, modes := "three-node", []string{""}
	if fault := faults.Get(name); fault != nil {
		definition, modes = cmp.Or(fault.Lab, definition), append(modes, fault.Modes...)
	}
	if _, ok := labs.Read(definition); !ok {
		return nil, fmt.Errorf("there is no lab %s", definition)
	}
	s, err := c.find(definition, choice{})
	if err != nil {
		return nil, err
	}
	var missing error
	for _, mode := range modes {
		p, err := c.build(s, choice{mode: mode}, f)
		if err != nil {
			missing = err
			continue
		}
		if fault := faults.Get(name); fault == nil || len(fault.In(p)) > 0 {
			if err := c.mayRun(s, p, false); err != nil {
				return nil, err
			}
			_, err := c.reconcile(cmd.Context(), p, s.record(p), false)
			return p, err
		}
	}
	if missing != nil {
		return nil, missing
	}
	return nil, refuse("%s cannot be injected on this kernel: \"lab doctor\" says which modes there are", name)
}

// drillIn finds the drill that is on: in the lab named, or in the only one that has one.
func (c *command) drillIn(cmd *cobra.Command, verb, labName string) (string, faults.Drill, error) {
	if err := demandRoot("drill " + verb); err != nil {
		return "", faults.Drill{}, err
	}
	if labName == "" {
		var on []string
		for _, name := range testbed.Recorded() {
			if drilled(name) {
				on = append(on, name)
			}
		}
		switch len(on) {
		case 0:
			return "", faults.Drill{}, refuse("no drill is on; \"lab drill start --random\" begins one")
		case 1:
			labName = on[0]
		default:
			return "", faults.Drill{}, refuse("drills are on in several labs; say which: -l %s", strings.Join(on, ", -l "))
		}
	}
	name, err := c.instance(cmd, labName, choice{})
	if err != nil {
		return "", faults.Drill{}, err
	}
	d, err := drillOf(name)
	if errors.Is(err, os.ErrNotExist) {
		return "", d, refuse("no drill is on in lab %s; \"lab drill start --random\" begins one", name)
	}
	return name, d, err
}

// during is a verb on the drill that is on.
func (c *command) during(use, short, long, example string, run func(cmd *cobra.Command, name string, d faults.Drill) error) *cobra.Command {
	labName := ""
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, d, err := c.drillIn(cmd, cmd.Name(), labName)
			if err != nil {
				return err
			}
			return run(cmd, name, d)
		},
	}
	cmd.Flags().StringVarP(&labName, "lab", "l", "", "the `lab`, where drills are on in several")
	completeFlag(cmd, "lab", runningLabs)
	return cmd
}

// planned plans the lab of a drill, and says where its faults are.
func (c *command) planned(name string, d faults.Drill) (*plan.Plan, []faults.Strike, error) {
	f, err := features("drill", false)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.running(name, f)
	if err != nil {
		return nil, nil, err
	}
	strikes, err := d.Strikes(p)
	return p, strikes, err
}

func (c *command) drillStatus() *cobra.Command {
	return c.during("status", "Show the drill that is on", "", "  lab drill status", func(cmd *cobra.Command, name string, d faults.Drill) error {
		_, strikes, err := c.planned(name, d)
		if err != nil {
			return err
		}
		doc := document(d, name, faults.Unsolved)
		for _, s := range strikes {
			doc.Story = append(doc.Story, s.Tell(s.Story))
		}
		if c.json() {
			return c.document(doc)
		}
		c.tell(doc.Story, fmt.Sprintf("Drill %s of level %d in lab %s, mode %s (seed %d): %s, %s, %s so far.",
			d.Title(), d.Level, name, d.Mode, d.Seed, spent(d), count(d.Attempts, "attempt"), count(d.Hints, "hint")))
		return nil
	})
}

func spent(d faults.Drill) string { return time.Since(d.Started).Round(time.Second).String() }

func (c *command) drillHint() *cobra.Command {
	return c.during("hint", "Give the next hint: the machine, then the layer, then the command", `Gives the next of the three hints of each fault: which machine, which layer, which command shows it. Hints are
counted. A hint also says when you have changed something unrelated to the fault.`, "  lab drill hint",
		func(cmd *cobra.Command, name string, d faults.Drill) error {
			p, strikes, err := c.planned(name, d)
			if err != nil {
				return err
			}
			all := every(strikes, name)
			pending, err := pendingOf(cmd.Context(), p)
			if err != nil {
				return err
			}
			_, _, also := d.Grade(pending, false)
			turns := titles(p, also)
			if d.Hints >= len(all) {
				return refuse("there are no more hints; \"lab drill reveal\" shows the answer")
			}
			hint := all[d.Hints]
			d.Hints++
			if err := testbed.Keep(name, drillName, d.Seal()); err != nil {
				return err
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "lab": name, "hint": hint, "hints": d.Hints, "also_changed": turns})
			}
			c.tell(nil, fmt.Sprintf("Hint %d of %d: %s", d.Hints, len(all), hint))
			if len(turns) > 0 {
				c.tell(nil, "You have also changed something that was correct: "+strings.Join(turns, "; ")+".")
			}
			return nil
		})
}

// titles names objects to people: "worker1: route 10.42.0.0/24".
func titles(p *plan.Plan, keys []plan.Key) []string {
	all := []string{}
	for _, k := range keys {
		machine := strings.Replace(strings.TrimPrefix(k.Namespace, p.Cluster.Name+"."), ".", "/", 1)
		name := strings.TrimPrefix(k.Name, strconv.Itoa(plan.TableMain)+" ")
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s: %s %s", machine, k.Kind, name)))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *command) drillReveal() *cobra.Command {
	return c.during("reveal", "Show the answer: what is wrong, why, and the commands that fix it", "", "  lab drill reveal", func(cmd *cobra.Command, name string, d faults.Drill) error {
		p, strikes, err := c.planned(name, d)
		if err != nil {
			return err
		}
		d.Revealed = true
		if err := testbed.Keep(name, drillName, d.Seal()); err != nil {
			return err
		}
		solution := []string{}
		broken := faults.On(p.State, strikes...)
		actual, err := testbed.Read(cmd.Context(), name, broken)
		if err != nil {
			return err
		}
		actual.Each(func(o plan.Object) { // rules are changed by what the kernel calls them
			is, rule := o.(plan.ChainRule)
			if r, ok := broken.Get(o.Key()).(plan.ChainRule); rule && ok {
				r.Handle = is.Handle
				broken.Replace(r)
			}
		})
		for _, ch := range plan.Diff(broken, p.State) {
			solution = append(solution, ch.Lines()...)
		}
		var explained []string
		for _, s := range strikes {
			explained = append(explained, s.Tell(s.Explanation))
		}
		if c.json() {
			return c.document(map[string]any{"schema": schema, "lab": name, "drill": d.Title(), "explanation": explained, "solution": solution})
		}
		c.tell(nil, fmt.Sprintf("It is %s.", strings.Join(d.Names, " and ")))
		c.tell(nil, explained...)
		fmt.Fprintln(c.out, "\nThis fixes it:")
		for _, line := range solution {
			fmt.Fprintln(c.out, "  "+line)
		}
		c.sayWhereToType()
		return nil
	})
}

func (c *command) drillStop() *cobra.Command {
	return c.during("stop", "End the drill and repair the lab", "", "  lab drill stop", func(cmd *cobra.Command, name string, d faults.Drill) error {
		f, err := features("drill", false)
		if err != nil {
			return err
		}
		p, err := c.running(name, f)
		if err != nil {
			return err
		}
		if err := c.mend(cmd.Context(), p); err != nil {
			return err
		}
		if c.json() {
			return c.document(document(d, name, faults.Unsolved))
		}
		c.say("It was %s. Nothing is broken any more.", strings.Join(d.Names, " and "))
		return nil
	})
}

// mend makes a lab what its record says, which ends its drill.
func (c *command) mend(ctx context.Context, p *plan.Plan) error {
	r, err := testbed.Load(p.Cluster.Name)
	if err != nil {
		return err
	}
	_, err = c.reconcile(ctx, p, *r, false)
	return err
}

// document is a drill as others read it.
func document(d faults.Drill, name, state string) drillDocument {
	return drillDocument{
		Schema: schema, Lab: name, Drill: d.Title(), Level: d.Level, Mode: d.Mode, Seed: d.Seed, State: state, Differs: []string{}, Also: []string{},
		Hints: d.Hints, Attempts: d.Attempts, Seconds: time.Since(d.Started).Seconds(), Story: []string{}, Red: []string{},
	}
}
