package testbed

import (
	"context"
	"encoding/json"

	"labnet/lab/plan"
)

// Learn takes what plugins have made and answered into the plan, and applies what depends on that.
func Learn(ctx context.Context, p *plan.Plan, changes []plan.Change) error {
	in := delegates(p.State)
	attached := false
	for _, c := range changes {
		_, ok := c.Object.(plan.Attachment)
		attached = attached || ok
	}
	if !attached || len(in) == 0 {
		return nil
	}
	name := p.Cluster.Name
	names, err := Named(name + ".")
	if err != nil {
		return err
	}
	actual, err := read(ctx, name, names, p.State)
	if err != nil {
		return err
	}
	keys := []plan.Key{}
	actual.Each(func(o plan.Object) {
		if k := o.Key(); in[k.Namespace] && p.State.Get(k) == nil {
			keys = append(keys, k)
		}
	})
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	if err := Keep(name, delegatedName, text); err != nil {
		return err
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
	if err := entrust(name, actual, p.State); err != nil {
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
