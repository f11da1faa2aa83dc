package testbed

import (
	"context"
	"slices"

	"labnet/lab/plan"
)

// Learn takes what plugins have answered into the plan, and applies what depends on that. It tells them which pods there are.
func Learn(ctx context.Context, p *plan.Plan, changes []plan.Change) error {
	attaches := func(c plan.Change) bool { _, ok := c.Object.(plan.Attachment); return ok && c.Op != plan.Delete }
	if !slices.ContainsFunc(changes, attaches) {
		return nil
	}
	told := map[string]bool{}
	for _, c := range changes {
		if a, ok := c.Object.(plan.Attachment); ok && !told[a.Namespace] {
			told[a.Namespace] = true
			if err := pluginsOf(a.Namespace).Collect(ctx); err != nil {
				return err
			}
		}
	}
	known, err := Attached(p.State)
	if err != nil {
		return err
	}
	changed, diags := p.Learn(known)
	if diags.HasErrors() {
		return diags
	}
	if !changed {
		return nil
	}
	actual, err := Read(ctx, p.Cluster.Name, p.State)
	if err != nil {
		return err
	}
	return Apply(ctx, plan.Diff(actual, p.State), func(plan.Change) {})
}

// Recall takes what the plugins of a lab have answered into its plan.
func Recall(p *plan.Plan) error {
	known, err := Attached(p.State)
	if err != nil || len(known) == 0 {
		return err
	}
	if _, diags := p.Learn(known); diags.HasErrors() {
		return diags
	}
	return nil
}
