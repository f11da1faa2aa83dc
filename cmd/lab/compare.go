package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/compare"
)

// request is all that decides what a comparison does. It is kept beside the results, so that it can go on.
type request struct {
	File     string            `json:"file"`
	Source   string            `json:"source"`
	Vars     map[string]string `json:"vars"`
	Values   string            `json:"values,omitempty"`
	Texts    map[string]string `json:"texts,omitempty"`
	Modes    []string          `json:"modes"`
	Sweeps   []sweep           `json:"sweeps,omitempty"`
	Set      string            `json:"set"`
	Wires    []string          `json:"wires"`
	Paths    []string          `json:"paths"`
	Measures []string          `json:"measures"`
	Engine   string            `json:"engine"`
	Rounds   int               `json:"rounds"`

	Generations int `json:"generations"`

	Seed   uint64        `json:"seed"`
	Warmup time.Duration `json:"warmup"`
	Window time.Duration `json:"window"`
}

// requestName is its file in the folder of the results.
const requestName = "request.json"

func (c *command) compare() *cobra.Command {
	var ch choice
	var want request
	var quick, thorough, full, strict bool
	var out, resume string
	var sweeps []string
	cmd := &cobra.Command{
		Use:   "compare [FILE]",
		Short: "Build the lab in each mode, measure them against one another",
		Long: `Builds private instances of the lab in each mode, and of the first mode once more, to see what is found between
equals. Proves on the wire that each mode is what it says, and measures.

Path cost ranks the modes: the kernel's work for a message, as the time of a round trip between pods of two nodes with
both ends on one CPU. Its rounds are generations: 14 times an instance of every mode, built before the measuring begins.
One instance has the rules of its firewall taken away, which tells the cost of the path from that of the rules.

Capacity is what the machine carries: streams and round trips with the ends on two CPUs, in rounds in which the modes
take turns in random order. The wire model says what becomes of packets between nodes: nic cuts and merges them as
network cards do; bare does not merge; super is veth as it is; shaped is a limited rate, where the ratios must be those
of the headers. Measures of what is no traffic are building, objects in the kernel, memory, the first packet, a pulled
cable. With --thorough capacity ranks as well, over more measures and longer ones.

What is compared are medians of whole rounds and the ratio to the first mode; with too few rounds nothing is ranked.
The results, every sample among them, are written to --out after each round: Ctrl-C keeps the rounds that are finished,
--resume goes on, "lab report DIR" renders them again. docs/measuring.md explains how to read them.`,
		Example: `  sudo lab compare three-node --quick
  sudo lab compare three-node --modes host-gw,vxlan --rounds 20
  sudo lab compare three-node --measures path-cost
  sudo lab compare three-node --modes host-gw,vxlan --sweep mtu=1500,9000
  sudo lab compare three-node --measures tcp-rr --paths cross-node --wire nic,bare
  sudo lab compare --resume results/three-node-…
  lab report results/three-node-… --format html > report.html`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			want.Set = compare.Default
			for set, given := range map[string]bool{compare.Quick: quick, compare.Thorough: thorough, compare.Full: full} {
				if given && want.Set != compare.Default {
					return refuse("--%s and --%s exclude each other", set, want.Set)
				}
				if given {
					want.Set = set
				}
			}
			var err error
			if want.Sweeps, err = parseSweeps(sweeps); err != nil {
				return err
			}
			if resume == "" {
				if out == "" {
					out = "results"
				}
				return c.begin(cmd.Context(), first(args), ch, want, out, !cmd.Flags().Changed("out"), strict)
			}
			if len(args) > 0 {
				return refuse("--resume %s uses the recorded definition; leave out %s", resume, args[0])
			}
			for _, name := range []string{"modes", "paths", "measures", "wire", "rounds", "sweep", "quick", "thorough", "full", "seed", "engine", "out", "var", "var-file"} {
				if cmd.Flags().Changed(name) {
					return refuse("--resume %s keeps the recorded settings; leave out --%s", resume, name)
				}
			}
			return c.resume(cmd.Context(), resume, strict)
		},
	}
	ch.inputFlags(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&want.Modes, "modes", nil, "compare these `modes` or variants; the first is the baseline")
	flags.StringSliceVar(&want.Paths, "paths", nil, "measure along these `paths`: "+strings.Join(compare.Paths, ", "))
	flags.StringSliceVar(&want.Measures, "measures", nil, "`measures` to take: "+strings.Join(compare.Measures, ", "))
	flags.StringSliceVar(&want.Wires, "wire", nil, "`wire models`, the first of which ranks: "+strings.Join(compare.WireNames(), ", "))
	flags.StringArrayVar(&sweeps, "sweep", nil, "compare every mode at several values: `name=value,value` of a variable or of the switches' attributes, or firewall=on,off")
	flags.IntVar(&want.Rounds, "rounds", 0, "measure this many rounds, and generations of path cost (default 8 and 14)")
	flags.BoolVar(&quick, "quick", false, "a first look within two minutes; too short to rank modes")
	flags.BoolVar(&thorough, "thorough", false, "rank capacity as well: more measures and longer ones, in about an hour")
	flags.BoolVar(&full, "full", false, "every measure along every path, under every wire model; takes hours")
	flags.Uint64Var(&want.Seed, "seed", 0, "order the rounds by this seed (default: a random one, recorded)")
	flags.StringVar(&want.Engine, "engine", "", "what makes the load: lab, or iperf3 where it is installed, as an independent witness of tcp-stream")
	flags.DurationVar(&want.Window, "window", 0, "count for so long in every measurement of capacity (default 100ms)")
	flags.StringVar(&out, "out", "", "write the results to this `folder` (default results/LAB-TIME)")
	flags.StringVar(&resume, "resume", "", "resume the comparison in this `folder`")
	flags.BoolVar(&strict, "strict", false, "exit with 3 when there are too few rounds to rank")
	completeList(cmd, "modes", ch.variants)
	for name, words := range map[string][]string{"paths": compare.Paths, "measures": compare.Measures, "wire": compare.WireNames()} {
		completeList(cmd, name, func([]string) []string { return words })
	}
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(compare.Engines, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("out")
	_ = cmd.MarkFlagDirname("resume")
	return cmd
}

// begin starts a comparison. What the command line leaves open the definition says, and what both leave open the defaults.
func (c *command) begin(ctx context.Context, arg string, ch choice, want request, out string, dated, strict bool) error {
	s, err := c.find(arg, ch)
	if err != nil {
		return err
	}
	l, _, err := c.load(s)
	if err != nil {
		return err
	}
	if given := l.Compare; given != nil {
		want.Modes, want.Paths, want.Measures = or(want.Modes, given.Modes), or(want.Paths, given.Paths), or(want.Measures, given.Measures)
		if want.Rounds == 0 && want.Set != compare.Quick {
			want.Rounds = given.Rounds
		}
	}
	want.File, want.Source, want.Vars, want.Values, want.Texts = s.name, string(lab.Join(s.files)), l.Vars, l.Values, l.Texts
	if dated {
		out = filepath.Join(out, l.Name+"-"+time.Now().Format("20060102-150405"))
	}
	if _, err := os.Stat(filepath.Join(out, requestName)); err == nil {
		return refuse("%s already holds a comparison; choose another folder, or resume it: lab compare --resume %[1]s", out)
	}
	return c.contest(ctx, want, nil, out, strict)
}

// resume goes on with a comparison that ended before it was finished.
func (c *command) resume(ctx context.Context, dir string, strict bool) error {
	text, err := os.ReadFile(filepath.Join(dir, requestName))
	if err != nil {
		return status{refused, fmt.Errorf("no comparison to resume: %w", err)}
	}
	var want request
	if err := json.Unmarshal(text, &want); err != nil {
		return status{refused, fmt.Errorf("%s: %w", filepath.Join(dir, requestName), err)}
	}
	prior, err := report.Read(dir)
	if errors.Is(err, os.ErrNotExist) {
		prior, err = nil, nil // it ended before the first round did
	}
	if err != nil {
		return status{refused, err}
	}
	return c.contest(ctx, want, prior, dir, strict)
}

func or(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// contest plans the instances of a comparison, and lets them be measured.
func (c *command) contest(ctx context.Context, want request, prior *report.Results, out string, strict bool) error {
	f, err := features("compare", false)
	if err != nil {
		return err
	}
	s := recorded(&testbed.Record{File: want.File, Source: want.Source, Vars: want.Vars, Values: want.Values, Texts: want.Texts})
	settings, err := c.settings(s, want.Sweeps)
	if err != nil {
		return err
	}
	l := settings[0].lab
	if len(l.Of(lab.Node)) == 0 {
		return refuse("lab %s has no nodes, so there is nothing to compare", l.Name)
	}
	all := len(want.Modes) == 0
	if all {
		want.Modes = modes.All.Names()
	}
	cfg := compare.Config{
		Lab: l.Name, Set: want.Set, Paths: want.Paths, Measures: want.Measures, Engine: want.Engine, Rounds: want.Rounds, Seed: want.Seed,
		Generations: want.Generations, Warmup: want.Warmup, Window: want.Window, Argv: os.Args, Prior: prior,
	}
	if err := cfg.Complete(want.Wires); err != nil {
		return status{refused, err}
	}
	instances := 0
	variant := func(at setting, mode string) (compare.Variant, error) {
		v := compare.Variant{Mode: at.title(mode)}
		l := at.lab
		build := func(l *lab.Lab, instance int, w compare.Wire) (*plan.Plan, hcl.Diagnostics) {
			p, diags := plan.Build(l, plan.Options{
				Instance: fmt.Sprintf("%.40s-cmp%d-%d", l.Name, os.Getpid(), instance), Mode: mode, Modes: modes.All, Features: f, Wire: w.Model, Rate: w.Rate,
			})
			return at.stripped(p), diags
		}
		instances++
		for _, w := range cfg.Wires {
			p, diags := build(l, instances, w)
			if p == nil {
				if all {
					c.say("%s is left out: %s", v.Mode, diags[0].Summary)
					return v, nil
				}
				return v, c.judge(at.files, diags)
			}
			v.Plans = append(v.Plans, p)
		}
		v.Datapath = datapath(v.Plans[0])
		instances++
		v.Life, _ = build(l, instances, cfg.Wires[0])
		instances++
		if v.Smaller, _ = build(l.WithoutLastNode(), instances, cfg.Wires[0]); v.Smaller != nil && len(v.Smaller.Cluster.Nodes) == 0 {
			v.Smaller = nil
		}
		v.Copy = func() (*plan.Plan, error) {
			instances++
			p, diags := build(l, instances, compare.Bare)
			if p == nil {
				return nil, c.judge(at.files, diags)
			}
			return p, nil
		}
		return v, nil
	}
	var first struct { // the baseline
		at   setting
		mode string
	}
	for i, mode := range want.Modes {
		if slices.Contains(want.Modes[:i], mode) {
			return refuse("mode %s is named twice", mode)
		}
		for _, at := range settings {
			v, err := variant(at, mode)
			if err != nil {
				return err
			}
			if v.Plans != nil {
				if len(cfg.Variants) == 0 {
					first.at, first.mode = at, mode
				}
				cfg.Variants = append(cfg.Variants, v)
				if at.values != "" {
					cfg.Swept = append(cfg.Swept, report.Swept{Mode: v.Mode, Of: mode, Values: at.values})
				}
			}
		}
	}
	if len(cfg.Variants) == 0 {
		return refuse("none of the modes %s suits this lab and kernel", strings.Join(want.Modes, ", "))
	}
	cfg.Baseline = cfg.Variants[0].Mode
	twin, err := variant(first.at, first.mode)
	if err != nil {
		return err
	}
	twin.Mode += " again"
	cfg.Twin, cfg.Variants = twin.Mode, append(cfg.Variants, twin)
	want.Generations = cfg.Generations
	want.Seed, want.Rounds, want.Warmup, want.Window = cfg.Seed, cfg.Rounds, cfg.Warmup, cfg.Window
	if all {
		want.Modes = nil
	}
	if prior != nil {
		if err := same(prior, l, cfg); err != nil {
			return status{refused, fmt.Errorf("%s cannot be resumed: %w", out, err)}
		}
	}
	source := func(p *plan.Plan) *source {
		for _, at := range settings {
			if at.lab == p.Cluster.Lab {
				return at.source
			}
		}
		return s
	}
	return c.measure(ctx, s, source, cfg, want, out, strict)
}

// same refuses to go on with what was begun otherwise, or elsewhere.
func same(prior *report.Results, l *lab.Lab, cfg compare.Config) error {
	var names []string
	for _, v := range cfg.Variants[:len(cfg.Variants)-1] {
		names = append(names, v.Mode)
	}
	here := compare.Machine()
	switch was := prior.Machine; {
	case was.Kernel != here.Kernel || was.CPU != here.CPU || was.CPUs != here.CPUs:
		return fmt.Errorf("it was begun on Linux %s with %d × %s, and this is Linux %s with %d × %s", was.Kernel, was.CPUs, was.CPU, here.Kernel, here.CPUs, here.CPU)
	case !slices.Equal(prior.Modes, names):
		return fmt.Errorf("it was begun with the modes %s, and this kernel can %s", strings.Join(prior.Modes, ", "), strings.Join(names, ", "))
	case prior.Lab != l.Name || prior.Seed != cfg.Seed:
		return errors.New("its results belong to another comparison")
	}
	return nil
}

// measure builds the instances, runs the comparison and reports it, and leaves nothing behind.
func (c *command) measure(ctx context.Context, s *source, of func(*plan.Plan) *source, cfg compare.Config, want request, out string, strict bool) (err error) {
	c.say("Comparing %s: %d modes, %s, about %s. Results go to %s.", cfg.Lab, len(cfg.Variants)-1, cfg.Extent(), duration(compare.Estimate(cfg)), out)
	if err := keep(want, out); err != nil {
		return err
	}
	hash := fmt.Sprintf("%x", sha256.Sum256(lab.Join(s.files)))
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		_, err := testbed.Up(ctx, p, of(p).record(p), testbed.Watch{})
		return err
	}
	cfg.Down = func(ctx context.Context, name string) error { return testbed.Down(ctx, name, func(string) {}) }
	cfg.Keep = func(r *report.Results) error {
		r.Tool, r.Definition = "lab "+version(), hash
		return errors.Join(r.Save(out), own(out))
	}
	steps := newProgress(c.err)
	defer c.working()()
	defer func() {
		steps.end(err == nil)
		for _, v := range cfg.Variants {
			for _, p := range []*plan.Plan{v.Plans[0], v.Life, v.Smaller} {
				if p != nil {
					err = errors.Join(err, cfg.Down(context.WithoutCancel(ctx), p.Cluster.Name))
				}
			}
		}
	}()
	for i, v := range cfg.Variants {
		if !cfg.Capacity() {
			break
		}
		if i == 0 {
			steps.begin("building %d instances", len(cfg.Variants))
		}
		steps.set("%s", v.Mode)
		if err := cfg.Bring(ctx, v.Plans[0]); err != nil {
			return err
		}
	}
	last := ""
	results, err := compare.Run(ctx, cfg, func(step string, done, total int, left time.Duration) {
		if step != last {
			steps.begin("%s", step)
			last = step
		}
		if left > 0 {
			steps.set("%d of %d, about %s left", done, total, duration(left))
		} else {
			steps.set("%d of %d", done, total)
		}
	})
	steps.end(err == nil)
	if results == nil {
		return err
	}
	if err := errors.Join(err, cfg.Keep(results), results.SavePage(out), own(out)); err != nil {
		return err
	}
	if err := results.Write(c.out, c.format, width(c.out), colour(c.out)); err != nil {
		return err
	}
	c.say("To look at: %s. Rendered again by: lab report %s", filepath.Join(out, report.PageName), out)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; the finished rounds are reported, and \"lab compare --resume %s\" goes on", out)
	}
	if strict && cfg.Rounds < report.MinRounds {
		return status{answer, fmt.Errorf("%d rounds are too few to rank modes; it takes %d", cfg.Rounds, report.MinRounds)}
	}
	return nil
}

// keep writes down what is being done, for when it has to go on.
func keep(want request, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(out, requestName), append(text, '\n'), 0o644), own(out))
}

// duration is rounded to what a person wants to know: 42s, 7m30s, 1h5m.
func duration(d time.Duration) string {
	switch {
	case d > time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d > 2*time.Minute:
		return d.Round(10 * time.Second).String()
	}
	return d.Round(time.Second).String()
}

// own gives what root wrote to the user who called sudo.
func own(dir string) error {
	uid, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	gid, err := strconv.Atoi(os.Getenv("SUDO_GID"))
	if err != nil {
		return nil
	}
	if filepath.Dir(dir) == "results" {
		_ = os.Chown("results", uid, gid)
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}
