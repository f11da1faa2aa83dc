package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab/plan"
	"labnet/labs"
	"labnet/testbed"
)

// schema is the version of every JSON document.
const schema = 1

func (c *command) up() *cobra.Command {
	var ch choice
	var verbose, load, reset bool
	cmd := &cobra.Command{
		Use:     "up [FILE]",
		Aliases: []string{"deploy", "apply"},
		Short:   "Build, repair or change a lab as its definition says",
		Long: `Builds the lab that FILE defines. Run again, it changes nothing, or repairs what has drifted, or, with another
--mode or --proxy, changes that of the running cluster in place: pods keep their namespaces and, where the modes
agree, their addresses. An error or Ctrl-C in a first build removes what was built; in a change it leaves what a repeated
"lab up" completes.

FILE is a path, a folder whose *.hcl files are one lab, "-", or one of the labs that ship with the program:
` + strings.Join(labs.Names(), ", "),
		Example: `  lab up three-node
  lab up three-node --mode vxlan
  lab up services --proxy iptables
  lab up three-node --name blue --var pods=5
  lab up lab.hcl -v                 # print every change as it is made`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.find(first(args), ch)
			if err != nil {
				return err
			}
			l, files, err := c.load(s)
			if err != nil {
				return err
			}
			f, err := features("up", load)
			if err != nil {
				return err
			}
			if !reset {
				ch.impaired(l)
			}
			p, err := c.plans(l, files, ch, f)
			if err != nil {
				return err
			}
			if err := c.mayRun(s, p, ch.allow); err != nil {
				return err
			}
			return c.make(cmd.Context(), p, s.record(p), verbose)
		},
	}
	ch.allFlags(cmd)
	ch.allowFlag(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "print each change as it is made")
	cmd.Flags().BoolVar(&reset, "reset", false, "undo what \"lab impair\" has done to links")
	cmd.Flags().BoolVar(&load, "load-modules", false, "load kernel modules that the lab needs")
	return cmd
}

// make brings an instance to its plan, and tells about it.
func (c *command) make(ctx context.Context, p *plan.Plan, r testbed.Record, verbose bool) error {
	name, start := p.Cluster.Name, time.Now()
	changes, err := c.reconcile(ctx, p, r, verbose)
	if err != nil {
		return err
	}
	if c.json() {
		return c.document(map[string]any{
			"schema": schema, "lab": name, "mode": p.ModeName, "datapath": datapath(p), "changes": len(changes), "seconds": time.Since(start).Seconds(),
		})
	}
	if len(changes) == 0 {
		c.say("Lab %s is up already%s; there was nothing to change.", name, inMode(p))
		return nil
	}
	c.say("Lab %s is up%s%s: %s in %.2f s.", name, inMode(p), privilege(), count(len(changes), "change"), time.Since(start).Seconds())
	if machines := p.Cluster.Lab.Machines; len(machines) > 0 {
		c.say("Try: lab status %s · lab check %[1]s · lab exec -l %[1]s %s -- ip route", name, machines[0].Name)
	}
	return nil
}

// reconcile makes the kernel be the plan, shows how it goes, and ends a drill: nothing is broken any more.
func (c *command) reconcile(ctx context.Context, p *plan.Plan, r testbed.Record, verbose bool) ([]plan.Change, error) {
	name := p.Cluster.Name
	steps := newProgress(c.err)
	watch := testbed.Watch{
		Busy:    func() { c.waits(name) },
		Changes: func(all []plan.Change) func(plan.Change) { return stages(steps, all) },
		Settled: func(n, all int) {
			if text := fmt.Sprintf("agents (%d)", all); steps.text != text {
				steps.begin("%s", text)
			}
			steps.set("%d", n)
		},
	}
	if verbose {
		watch.Changes = func([]plan.Change) func(plan.Change) {
			return func(ch plan.Change) {
				for _, line := range ch.Lines() {
					c.say("+ %s", line)
				}
			}
		}
	}
	if warning := testbed.Crowded(p.State); warning != "" {
		c.say("Warning: %s", warning)
	}
	defer c.working()()
	changes, err := testbed.Up(ctx, p, r, watch)
	if err != nil {
		steps.end(false)
		return nil, err
	}
	steps.end(true)
	if drilled(name) {
		if err := testbed.Drop(name, drillName); err != nil {
			return nil, err
		}
		c.say("The drill in lab %s is over.", name)
	}
	return changes, nil
}

func (c *command) waits(name string) {
	c.say("Another lab command is working on %s; waiting for it.", name)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func inMode(p *plan.Plan) string {
	if p.Mode == nil {
		return ""
	}
	return fmt.Sprintf(" in mode %s%s", p.ModeName, inDatapath(datapath(p)))
}

// inDatapath is empty where no node is left that could have one.
func inDatapath(datapath string) string {
	if datapath == "" {
		return ""
	}
	return " (" + datapath + " datapath)"
}

// datapath says what carries the pods' packets; nodes may differ.
func datapath(p *plan.Plan) string {
	used := map[string]bool{}
	of := p.State.Datapaths()
	for _, n := range p.Cluster.Nodes {
		used[string(of[n.Namespace])] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(used)), "+")
}

// stages turns single changes into the steps that a person follows.
func stages(steps *progress, changes []plan.Change) func(plan.Change) {
	stage := func(ch plan.Change) string {
		switch {
		case ch.Op == plan.Delete:
			return "removing what is not wanted"
		case ch.Op == plan.Update:
			return "changing in place"
		case ch.Object.Key().Kind == plan.KindNamespace:
			return "namespaces"
		}
		return "links, addresses and routes"
	}
	total := map[string]int{}
	for _, ch := range changes {
		total[stage(ch)]++
	}
	done := map[string]int{}
	current := ""
	return func(ch plan.Change) {
		s := stage(ch)
		if s != current && done[s] == 0 {
			current = s
			steps.begin("%s (%d)", s, total[s])
		}
		done[s]++
		steps.set("%d", done[s])
	}
}

func (c *command) down() *cobra.Command {
	var all bool
	var ch choice
	cmd := &cobra.Command{
		Use:     "down [FILE|NAME]",
		Aliases: []string{"destroy"},
		Short:   "Remove a lab completely",
		Long: `Removes a lab: its namespaces and all that is in them, also when it is half built or its definition is gone. A lab
that is not there is no error.`,
		Example: `  lab down three-node
  lab down --all`,
		Args:              atMost(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := demandRoot("down"); err != nil {
				return err
			}
			found, err := testbed.Instances(cmd.Context())
			if err != nil {
				return err
			}
			var names []string
			switch {
			case all && len(args) > 0:
				return refuse("give either a name or --all")
			case all:
				for _, i := range found {
					names = append(names, i.Name)
				}
			default:
				name, err := c.target(cmd, first(args), ch)
				if err != nil {
					return err
				}
				names = []string{name}
			}
			defer c.working()()
			removed := []string{}
			var errs []error
			for _, name := range names {
				was := false
				for _, i := range found {
					was = was || i.Name == name
				}
				if testbed.Busy(name) {
					c.waits(name)
				}
				if err := testbed.Down(cmd.Context(), name, func(string) {}); err != nil {
					errs = append(errs, err)
					continue
				}
				if was {
					removed = append(removed, name)
					c.say(" ✓ lab %s removed", name)
				} else {
					c.say("Lab %s is not there.", name)
				}
			}
			if all && len(names) == 0 {
				c.say("No lab is there.")
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if c.json() {
				return c.document(map[string]any{"schema": schema, "removed": removed})
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every lab of this machine")
	cmd.Flags().StringVar(&ch.instance, "name", "", "the instance's `name`, where it is not the definition's")
	completeFlag(cmd, "name", runningLabs)
	ch.inputFlags(cmd)
	return cmd
}

// target finds the name of the lab to remove: unlike instance it need not run, and its file need not be valid.
func (c *command) target(cmd *cobra.Command, arg string, ch choice) (string, error) {
	if ch.instance != "" {
		return ch.instance, nil
	}
	name, err := c.instance(cmd, arg, ch)
	if err == nil || arg == "" {
		return name, err
	}
	s, ferr := c.find(arg, ch)
	if ferr != nil {
		return arg, nil // the name of a lab that is not there
	}
	l, _, err := c.load(s)
	if err != nil {
		return "", err
	}
	return l.Name, nil
}
