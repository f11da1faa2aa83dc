package main

import (
	"github.com/spf13/cobra"

	"labnet/testbed/check"
)

func (c *command) check() *cobra.Command {
	var ch choice
	opt := check.Options{}
	verbose := false
	cmd := &cobra.Command{
		Use:   "check [FILE|NAME]",
		Short: "Prove with real packets that a lab does what its mode promises",
		Long: `Sends real packets through a running lab and holds them against what its definition and its mode promise: every
machine and pod reaches every address that they connect it with, by all gateways and static routes; the receiver sees
the sender's own address; a packet of exactly the promised MTU passes whole and one byte more does not; and what is on
the underlay is the promised encapsulation. Pairs that the definition does not connect are not tested; -v lists them. A
static route fails if it leads nowhere, loops, or has no way back. Each rule of the Kubernetes network model
is kept, broken by design of the mode, or violated. Each port of "serve" and "ready" is asked from elsewhere: whether the
pod or program answers, and if not, whether it ended, or where it listens. Services are asked from everywhere, at every address and node
port: who answers, whom they take for the client, how evenly connections are spread.
Failures are grouped by cause, as the tables of the kernels on the path show it: machine, device, reason, the
command that shows it, and how many pairs are affected.
Up to --pairs, every pair is tested; above that a sample, and the report says so. Exit status 3 when a check fails.`,
		Example: `  lab check three-node
  lab check three-node -o json`,
		Args:              atMost(1),
		ValidArgsFunction: completeInstance,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := features("check", false)
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
			steps := newProgress(c.err)
			if steps.live {
				steps.begin("checking %s", name)
			}
			r, err := check.Run(cmd.Context(), p, opt, func(done, total int) { steps.set("%d of %d", done, total) })
			if err != nil {
				steps.end(false)
				return err
			}
			steps.end(r.OK)
			if c.json() {
				err = c.document(r)
			} else {
				r.Text(c.out, width(c.out), colour(c.out))
				if verbose {
					r.Failures(c.out, width(c.out), colour(c.out))
					r.Unconnected(c.out)
				}
			}
			if err == nil && !r.OK {
				c.sayWhereToType()
				return status{code: answer}
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every failure in full, and name the pairs that the definition does not connect")
	cmd.Flags().IntVar(&opt.Pairs, "pairs", 400, "try at most this many pairs")
	cmd.Flags().StringVar(&ch.instance, "name", "", "the instance's `name`, where it is not the definition's")
	completeFlag(cmd, "name", runningLabs)
	ch.inputFlags(cmd)
	return cmd
}
