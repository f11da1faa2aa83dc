package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"labnet/lab/trace"
	kernel "labnet/testbed/trace"
)

// walkDocument is a trace among those of a mode.
type walkDocument struct {
	Title string `json:"title"`
	trace.Document
}

func (c *command) walk() *cobra.Command {
	opt := kernel.Options{Protocol: "icmp", Backend: kernel.Auto, Wait: 4 * time.Second}
	verbose := false
	cmd := &cobra.Command{
		Use:   "walk [NAME]",
		Short: "Show how packets travel in the mode of a running lab",
		Long: `Follows two packets through a running lab: between two pods of one node, and between pods of two nodes. That is what
makes one mode another. "lab trace" follows any other packet; docs/walks.md holds the walks of all modes.

Exit status 3 when a packet did not arrive or no answer came back.`,
		Example: `  lab walk
  lab walk three-node -v             # the way back too, and the command that shows each decision
  lab up three-node --mode host-gw && lab walk three-node`,
		Args:              atMost(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := features("walk", false)
			if err != nil {
				return err
			}
			asked := ""
			if len(args) > 0 {
				asked = args[0]
			}
			name, err := c.instance(cmd, asked, choice{})
			if err != nil {
				return err
			}
			p, err := c.running(name, f)
			if err != nil {
				return err
			}
			pairs := kernel.Typical(p.Cluster)
			if len(pairs) == 0 {
				return refuse("lab %s has no two pods", name)
			}
			docs, well := []walkDocument{}, true
			for i, pair := range pairs {
				opt.From, opt.To, opt.Size = pair.From, pair.To, max(60, kernel.Smallest(opt.Protocol, pair.To.Address.Is6()))
				t, err := kernel.Run(cmd.Context(), p, opt)
				if err != nil {
					return unprivileged(err)
				}
				well = well && t.OK()
				docs = append(docs, walkDocument{pair.Title, t.Document()})
				if c.json() {
					continue
				}
				gap := ""
				if i > 0 {
					gap = "\n"
				}
				fmt.Fprintf(c.out, "%s%s, mode %s\n", gap, pair.Title, p.ModeName)
				if err := c.walked(t, verbose); err != nil {
					return err
				}
			}
			if c.json() {
				err = c.document(map[string]any{"schema": schema, "lab": name, "mode": p.ModeName, "walks": docs})
			} else if verbose || !well {
				c.sayWhereToType()
			}
			if err == nil && !well {
				return status{code: answer}
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the way back device by device, also where it is the same, and the command that shows each decision")
	return cmd
}
