package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"labnet/lab/plan"
	"labnet/testbed"
)

func (c *command) plan() *cobra.Command {
	var ch choice
	var shell, exitCode bool
	cmd := &cobra.Command{
		Use:   "plan [FILE]",
		Short: "Show what up would change, as the commands that would do it",
		Long: `Shows what "lab up" would change, as ip, bridge, tc, nft and sysctl commands. Where an ordinary user
has no lab running, or a container lacks the capability, nothing can be read, and the plan is what builds the lab from scratch. With --shell it is a script that does so.`,
		Example: `  lab plan three-node
  lab plan three-node --mode vxlan
  lab plan three-node --shell > build.sh
  lab plan three-node --exit-code   # 3 when the running lab has drifted`,
		Args:              atMost(1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.find(first(args), ch)
			if err != nil {
				return err
			}
			f, err := testbed.Probe(false)
			unasked := mute(err)
			if unasked != "" {
				f, err = plan.AllFeatures(), nil
			}
			if err != nil {
				return err
			}
			l, files, err := c.load(s)
			if err != nil {
				return err
			}
			if !shell {
				ch.impaired(l)
			}
			p, err := c.plans(l, files, ch, f)
			if err != nil {
				return err
			}
			actual := &plan.State{}
			switch {
			case shell:
			case unasked != "":
				c.say("%s: this is the plan for building it from scratch, on a kernel with every feature.", unasked)
			default:
				actual, err = testbed.Read(cmd.Context(), p.Cluster.Name, p.State)
				if unread := mute(err); unread != "" {
					c.say("%s: this is the plan for building it from scratch.", unread)
					actual, err = &plan.State{}, nil
				}
				if err != nil {
					return err
				}
			}
			if actual.Len() > 0 && drilled(p.Cluster.Name) {
				return refuse("a drill is on in lab %s, and the plan would be its answer; \"lab drill reveal\" gives it up", p.Cluster.Name)
			}
			changes := plan.Diff(actual, p.State)
			switch {
			case c.json():
				err = c.document(planDocument(p, changes))
			case shell:
				_, err = fmt.Fprint(c.out, script(p, changes))
			case len(changes) == 0:
				c.say("Lab %s is as it should be; up would change nothing.", p.Cluster.Name)
			default:
				_, err = fmt.Fprint(c.out, text(changes))
			}
			if err == nil && exitCode && len(changes) > 0 {
				return status{code: answer}
			}
			return err
		},
	}
	ch.allFlags(cmd)
	cmd.Flags().BoolVar(&shell, "shell", false, "print a script that builds the lab from scratch")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 3 when there is something to change")
	return cmd
}

// text lists changes as commands.
func text(changes []plan.Change) string {
	var b strings.Builder
	for _, ch := range changes {
		for _, line := range ch.Lines() {
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// script makes a shell script of a plan from nothing.
func script(p *plan.Plan, changes []plan.Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# Lab %s%s, as \"lab up\" builds it. \"lab down %[1]s\" removes it.\nset -eu\n\n", p.Cluster.Name, inMode(p))
	b.WriteString(text(changes))
	return b.String()
}

type changeDocument struct {
	Namespace string   `json:"namespace"`
	Object    string   `json:"object"`
	Change    string   `json:"change"`
	Lines     []string `json:"lines"`
}

func planDocument(p *plan.Plan, changes []plan.Change) any {
	list := make([]changeDocument, 0, len(changes))
	for _, ch := range changes {
		k := ch.Object.Key()
		list = append(list, changeDocument{k.Namespace, strings.TrimSpace(k.Kind.String() + " " + k.Name), ch.Op.String(), ch.Lines()})
	}
	return map[string]any{"schema": schema, "lab": p.Cluster.Name, "mode": p.ModeName, "changes": list}
}

// byHand is a verb that only scripts of plans use.
func (c *command) byHand(verb string) *cobra.Command {
	return &cobra.Command{
		Use:                verb,
		Short:              "What scripts made by \"lab plan --shell\" call",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return testbed.ByHand(cmd.Context(), append([]string{verb}, args...), c.in)
		},
	}
}
