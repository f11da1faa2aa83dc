package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed/compare"
)

func (c *command) bench() *cobra.Command {
	var ch choice
	var want request
	var from, to, out string
	cmd := &cobra.Command{
		Use:   "bench [NAME]",
		Short: "Measure a running lab as it stands",
		Long: `Measures a lab that runs, as it stands: with the limits, delays and losses of its switches, with your changes, with what
else runs in it. It is left as it is. Paths, measures, proof and report are those of "lab compare", and so are the traps:
one machine, no network cards. Path cost needs generations of instances, and lifecycle builds and removes them; both belong
to compare.`,
		Example: `  lab bench three-node
  lab bench three-node --from master/p1 --to worker2/p1 --measures tcp-stream,one-way`,
		Args:              atMost(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (from == "") != (to == "") {
				return refuse("--from and --to go together: lab bench --from master/p1 --to worker1/p1")
			}
			if from != "" && len(want.Paths) > 0 {
				return refuse("--from and --to are a path; leave out --paths")
			}
			for _, m := range want.Measures {
				if !slices.Contains(standing, m) && slices.Contains(compare.Measures, m) {
					return refuse("%s builds instances of its own: lab compare measures it", m)
				}
			}
			f, err := features("bench", false)
			if err != nil {
				return err
			}
			name, err := c.instance(cmd, first(args), ch)
			if err != nil {
				return err
			}
			p, err := c.running(name, f)
			if err != nil {
				return err
			}
			cfg := compare.Config{Lab: p.Cluster.Lab.Name, Set: compare.Default, Paths: want.Paths, Measures: want.Measures, Rounds: want.Rounds, Window: want.Window, Argv: os.Args, Stands: true}
			if from != "" {
				if cfg.From, cfg.To, err = between(p.Cluster, from, to); err != nil {
					return err
				}
			}
			if out == "" {
				out = filepath.Join("results", name+"-bench-"+time.Now().Format("20060102-150405"))
			}
			return c.stands(cmd.Context(), p, cfg, out)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "measure from this `end`: a pod or a machine")
	flags.StringVar(&to, "to", "", "to this `end`")
	flags.StringSliceVar(&want.Paths, "paths", nil, "measure along these `paths`: "+strings.Join(compare.Paths, ", "))
	flags.StringSliceVar(&want.Measures, "measures", nil, "`measures` to take: "+strings.Join(standing, ", "))
	flags.IntVar(&want.Rounds, "rounds", 0, "measure this many rounds (default 8)")
	flags.DurationVar(&want.Window, "window", 0, "count for so long in every measurement (default 100ms)")
	flags.StringVar(&out, "out", "", "write the results to this `folder` (default results/NAME-bench-TIME)")
	for name, words := range map[string][]string{"paths": compare.Paths, "measures": standing} {
		completeList(cmd, name, func([]string) []string { return words })
	}
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// standing are the measures that need no instances of their own.
var standing = slices.DeleteFunc(slices.Clone(compare.Measures), compare.Builds)

// between finds the ends that are meant, in a family that both have.
func between(cluster *plan.Cluster, from, to string) (*plan.Endpoint, *plan.Endpoint, error) {
	var found [2][]plan.Endpoint
	for i, name := range []string{from, to} {
		all, err := endpoints(cluster, name)
		if err != nil {
			return nil, nil, err
		}
		if len(all) == 0 {
			return nil, nil, refuse("%s is no address of lab %s, so that nothing can answer there", name, cluster.Name)
		}
		found[i] = all
	}
	for _, a := range found[0] {
		for _, b := range found[1] {
			switch {
			case a.Namespace == b.Namespace:
				return nil, nil, refuse("%s and %s are one: packets between them do not leave it", from, to)
			case !a.Also && a.Address.Is6() == b.Address.Is6():
				return &a, &b, nil
			}
		}
	}
	return nil, nil, refuse("%s and %s have no address of the same family: %s, %s", from, to, addresses(found[0]), addresses(found[1]))
}

// stands measures a lab that stands, and leaves it alone.
func (c *command) stands(ctx context.Context, p *plan.Plan, cfg compare.Config, out string) error {
	title := p.ModeName
	if title == "" {
		title = "as it stands"
	}
	cfg.Variants = []compare.Variant{{Mode: title, Datapath: datapath(p), Plans: []*plan.Plan{p}}}
	if len(p.Cluster.Lab.Switches) == 0 {
		return refuse("lab %s has no switch, so there is no path to measure", cfg.Lab)
	}
	if err := cfg.Complete([]string{p.Cluster.Lab.Switches[0].Wire}); err != nil {
		return status{refused, err}
	}
	if _, err := os.Stat(filepath.Join(out, "results.json")); err == nil {
		return refuse("%s holds results already; give another folder", out)
	}
	c.say("Measuring %s as it stands: %s, about %s. Results go to %s.", p.Cluster.Name, cfg.Extent(), duration(compare.Estimate(cfg)), out)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	cfg.Keep = func(r *report.Results) error {
		r.Tool = "lab " + version()
		return errors.Join(r.Save(out), giveToCaller(out))
	}
	steps := newProgress(c.err)
	results, err := compare.Run(ctx, cfg, steps.follow())
	steps.end(err == nil)
	if results == nil {
		return err
	}
	return errors.Join(err, cfg.Keep(results), c.present(results, out))
}
