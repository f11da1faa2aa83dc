package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab"
	"labnet/lab/report"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/compare"
)

func (c *command) compare() *cobra.Command {
	var ch choice
	var cfg compare.Config
	var asked, paths, measures []string
	var strict bool
	var out string
	cmd := &cobra.Command{
		Use:   "compare [FILE]",
		Short: "Build the lab in each mode, measure the modes against one another, report",
		Long: `Builds a private instance of the lab in each mode, proves on the wire that each mode is what it says, and measures
them in interleaved rounds: in every round each mode is measured once, in a fresh random order. What is compared are
medians of whole rounds and the ratio to the first mode; below 6 rounds nothing is ranked. The results, every sample
among them, are written to --out; "lab report DIR" renders them again.`,
		Example: `  sudo lab compare three-node --quick
  sudo lab compare three-node --modes host-gw,vxlan --rounds 20
  lab report results/three-node-… --format html > report.html`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.find(first(args), ch)
			if err != nil {
				return err
			}
			l, _, err := c.load(s)
			if err != nil {
				return err
			}
			f, err := features("compare", false)
			if err != nil {
				return err
			}
			want := l.Compare
			if want == nil {
				want = &lab.Compare{}
			}
			if len(asked) == 0 {
				asked = want.Modes
			}
			if len(asked) == 0 {
				asked = modes.All.Names()
			}
			cfg.Lab, cfg.Paths, cfg.Measures, cfg.Argv = l.Name, or(paths, want.Paths), or(measures, want.Measures), os.Args
			if cfg.Rounds == 0 && !cfg.Quick {
				cfg.Rounds = want.Rounds
			}
			if err := cfg.Complete(); err != nil {
				return status{refused, err}
			}
			for i, mode := range asked {
				if slices.Contains(asked[:i], mode) {
					return refuse("mode %s is named twice", mode)
				}
				instance := private(l.Name, i)
				p, err := c.build(s, choice{mode: mode, instance: instance}, f)
				if err != nil {
					return err
				}
				cfg.Variants = append(cfg.Variants, compare.Variant{Mode: mode, Datapath: datapath(p), Plan: p})
			}
			if out == "" {
				out = filepath.Join("results", l.Name+"-"+time.Now().Format("20060102-150405"))
			}
			return c.measure(cmd.Context(), s, cfg, out, strict)
		},
	}
	ch.inputFlags(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&asked, "modes", nil, "compare these `modes` or variants; the first is the baseline")
	flags.StringSliceVar(&paths, "paths", nil, "measure along these `paths`: "+strings.Join(compare.Paths, ", "))
	flags.StringSliceVar(&measures, "measures", nil, "`measures` to take: "+strings.Join(compare.Measures, ", "))
	flags.IntVar(&cfg.Rounds, "rounds", 0, "measure this many rounds (default 10)")
	flags.BoolVar(&cfg.Quick, "quick", false, "a first look within a minute; too short to rank modes")
	flags.Uint64Var(&cfg.Seed, "seed", 0, "order the rounds by this seed (default: a random one, recorded)")
	flags.StringVar(&out, "out", "", "write the results to this `folder` (default results/LAB-TIME)")
	flags.BoolVar(&strict, "strict", false, "exit with 3 when there are too few rounds to rank")
	_ = cmd.RegisterFlagCompletionFunc("modes", cobra.FixedCompletions(modes.All.Names(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("paths", cobra.FixedCompletions(compare.Paths, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("measures", cobra.FixedCompletions(compare.Measures, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// private names an instance that only this comparison uses.
func private(name string, i int) string {
	return fmt.Sprintf("%.40s-cmp%d-%d", name, os.Getpid(), i+1)
}

func or(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// measure builds the instances, runs the comparison and reports it, and leaves nothing behind.
func (c *command) measure(ctx context.Context, s *source, cfg compare.Config, out string, strict bool) (err error) {
	c.say("Comparing %s: %d modes, %d rounds, about %s. Results go to %s.", cfg.Lab, len(cfg.Variants), cfg.Rounds, compare.Estimate(cfg).Round(time.Second), out)
	steps := newProgress(c.err)
	defer func() {
		steps.end(err == nil)
		for _, v := range cfg.Variants {
			err = errors.Join(err, testbed.Down(context.WithoutCancel(ctx), v.Plan.Cluster.Name, func(string) {}))
		}
	}()
	for _, v := range cfg.Variants {
		steps.begin("building %s", v.Mode)
		r := s.record(v.Plan)
		if _, err := bring(ctx, v.Plan, r, unobserved); err != nil {
			return err
		}
	}
	results, err := compare.Run(ctx, cfg, func(step string, done, total int) {
		if done <= 1 {
			steps.begin("%s", step)
		}
		steps.set("%d of %d", done, total)
	})
	steps.end(err == nil)
	if results == nil {
		return err
	}
	results.Tool = "lab " + version()
	if err := errors.Join(err, results.Save(out)); err != nil {
		return err
	}
	if err := own(out); err != nil {
		return err
	}
	format := c.format
	if err := results.Write(c.out, format, colour(c.out)); err != nil {
		return err
	}
	c.say("Rendered again by: lab report %s --format html", out)
	if ctx.Err() != nil {
		return errors.New("interrupted; the finished rounds are reported")
	}
	if strict && cfg.Rounds < report.MinRounds {
		return status{answer, fmt.Errorf("%d rounds are too few to rank modes; it takes %d", cfg.Rounds, report.MinRounds)}
	}
	return nil
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

func (c *command) report() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "Render recorded results again, from the raw samples",
		Long: `Renders what "lab compare" recorded: as text; as Markdown to paste; as one HTML file that needs nothing else; as CSV,
a row for every sample; as JSON; or in Go's benchmark format, for benchstat. All is computed anew from the raw samples.`,
		Example: `  lab report results/three-node-20260101-120000
  lab report results/three-node-20260101-120000 --format html > report.html
  lab report results/three-node-20260101-120000 --format bench | benchstat -col /mode -
  lab report diff results/three-node-20260101-120000 results/three-node-20260102-120000`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return refuse("say which results: lab report results/three-node-…")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.render(&format, report.Formats); err != nil {
				return err
			}
			r, err := report.Read(args[0])
			if err != nil {
				return status{refused, err}
			}
			return r.Write(c.out, format, colour(c.out))
		},
	}
	renderFlag(cmd, &format, report.Formats)
	cmd.AddCommand(c.reportDiff())
	return cmd
}

func (c *command) reportDiff() *cobra.Command {
	var format string
	var force bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Put two recorded comparisons side by side",
		Long: `Shows what two recordings say of the modes that both have: medians, ratios to the baseline, whether their intervals
overlap, and whether they differ beyond the noise of both. Recordings of different machines, labs or wire models answer
different questions and are refused; --force shows them all the same, and says what is not the same.`,
		Example: `  lab report diff results/before results/after
  lab report diff results/before results/after --format md`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return refuse("say which two results: lab report diff results/before results/after")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := c.render(&format, report.DiffFormats); err != nil {
				return err
			}
			var read []*report.Results
			for _, dir := range args {
				r, err := report.Read(dir)
				if err != nil {
					return status{refused, err}
				}
				read = append(read, r)
			}
			d := report.Compare(read[0], read[1])
			if len(d.Disagreements) > 0 && !force {
				return refuse("%s and %s are not recordings of the same thing:\n  %s\n--force puts them side by side all the same",
					args[0], args[1], strings.Join(d.Disagreements, "\n  "))
			}
			return d.Write(c.out, format, colour(c.out))
		},
	}
	renderFlag(cmd, &format, report.DiffFormats)
	cmd.Flags().BoolVar(&force, "force", false, "also recordings of different machines, labs or wire models")
	return cmd
}

// render settles the format of a report: --format goes before -o.
func (c *command) render(format *string, formats []string) error {
	if *format == "" {
		*format = c.format
	}
	if !slices.Contains(formats, *format) {
		return refuse("--format %s: it is one of %s", *format, strings.Join(formats, ", "))
	}
	return nil
}

func renderFlag(cmd *cobra.Command, format *string, formats []string) {
	cmd.Flags().StringVar(format, "format", "", "`format`: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}
