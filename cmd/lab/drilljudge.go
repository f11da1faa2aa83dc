package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labnet/faults"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/check"
)

func (c *command) drillCheck() *cobra.Command {
	wait := 15 * time.Second
	cmd := c.during("check", "Judge your fix by kernel state and by packets", `Judges by the state of the kernel and by packets. Exit status 0: solved, and the drill is over. 3: unsolved, or only the
symptom is gone: all checks are green, but what was broken is not as it was. When the cause is fixed and packets
are still lost, it waits for protocols to converge.`, "  lab drill check\n  lab drill check --wait 1m -o json",
		func(cmd *cobra.Command, name string, d faults.Drill) error {
			p, strikes, err := c.planned(name, d)
			if err != nil {
				return err
			}
			d.Attempts++
			if err := testbed.Keep(name, drillName, d.Seal()); err != nil {
				return err
			}
			doc, r, err := c.judges(cmd.Context(), p, d, wait)
			if err != nil {
				return err
			}
			solved := doc.State == faults.Solved
			if solved {
				doc.Drill = strings.Join(d.Names, "+")
				if err := testbed.Drop(name, drillName); err != nil {
					return err
				}
			}
			for _, s := range strikes {
				doc.Story = append(doc.Story, s.Tell(s.Story))
			}
			if c.json() {
				err = c.document(doc)
			} else {
				c.verdict(d, doc, r, strikes)
			}
			if err == nil && !solved {
				return status{code: answer}
			}
			return err
		})
	cmd.Flags().DurationVar(&wait, "wait", wait, "wait at most this `long` for protocols to converge")
	return cmd
}

// judges holds a lab against its plan.
func (c *command) judges(ctx context.Context, p *plan.Plan, d faults.Drill, wait time.Duration) (drillDocument, *check.Report, error) {
	for end := time.Now().Add(wait); ; {
		pending, err := pendingOf(ctx, p)
		if err != nil {
			return drillDocument{}, nil, err
		}
		r, err := check.Run(ctx, p, check.Options{}, func(int, int) {})
		if err != nil {
			return drillDocument{}, nil, err
		}
		state, cause, also := d.Grade(pending, r.OK)
		if len(pending) == 0 && !r.OK && time.Now().Before(end) {
			select {
			case <-ctx.Done():
				return drillDocument{}, nil, ctx.Err()
			case <-time.After(300 * time.Millisecond):
			}
			continue
		}
		doc := document(d, p.Cluster.Name, state)
		if doc.Also, doc.Red = titles(p, also), red(r); state == faults.SymptomGone {
			doc.Differs = titles(p, cause)
		}
		return doc, r, nil
	}
}

func (d drillDocument) changed() string {
	if len(d.Also) == 0 {
		return ""
	}
	return "Also changed: " + strings.Join(d.Also, "; ") + "; \"lab up\" puts that back."
}

func (c *command) verdict(d faults.Drill, doc drillDocument, r *check.Report, strikes []faults.Strike) {
	switch doc.State {
	case faults.Solved:
		c.tell(nil, fmt.Sprintf("Solved: %s, in %s with %s and %s.", doc.Drill, spent(d), count(d.Attempts, "attempt"), count(d.Hints, "hint")))
		for _, s := range strikes {
			c.tell(nil, s.Tell(s.Explanation))
		}
		c.tell(nil, doc.changed())
	case faults.SymptomGone:
		c.tell(nil, "The symptom is gone, the cause is not: all checks are green, but this is not as it was: "+strings.Join(doc.Differs, "; ")+".", doc.changed())
	default:
		c.tell(nil, "Not solved yet. "+symptom(r), doc.changed())
	}
}

// red names the checks that fail.
func red(r *check.Report) []string {
	names := []string{}
	for _, name := range check.Names {
		if slices.ContainsFunc(r.Checks, func(c check.Check) bool { return c.Name == name && !c.OK }) {
			names = append(names, name)
		}
	}
	return names
}

// symptom says which checks fail and which do not.
func symptom(r *check.Report) string {
	failing := red(r)
	var green []string
	for _, name := range check.Names {
		made := slices.ContainsFunc(r.Checks, func(c check.Check) bool { return c.Name == name })
		if made && !slices.Contains(failing, name) {
			green = append(green, name)
		}
	}
	if len(failing) == 0 {
		return "All checks are green."
	}
	failed := 0
	for _, c := range r.Checks {
		if !c.OK {
			failed++
		}
	}
	text := fmt.Sprintf("Red: %s (%d of %d pairs).", strings.Join(failing, ", "), failed, r.Pairs)
	if len(green) > 0 {
		text += " Green: " + strings.Join(green, ", ") + "."
	}
	return text
}
