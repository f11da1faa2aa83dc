package testbed

import (
	"context"
	"errors"
	"slices"

	"labnet/lab/plan"
)

// Change brings some objects of a lab that runs to what a plan wants of them, and records what it is made from now. All else
// stays as it is, also where it has drifted.
func Change(ctx context.Context, p *plan.Plan, r Record, only []plan.Key, w Watch) (changes []plan.Change, err error) {
	defer catch(&err)
	w = w.complete()
	name := p.Cluster.Name
	lock, err := Acquire(ctx, name, false)
	if errors.Is(err, ErrBusy) {
		w.Busy()
		lock, err = Acquire(ctx, name, true)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	var spaces []string
	for _, k := range only {
		if !slices.Contains(spaces, k.Namespace) {
			spaces = append(spaces, k.Namespace)
		}
	}
	actual, err := ReadSome(ctx, name, spaces, p.State)
	if err != nil {
		return nil, err
	}
	changes = slices.DeleteFunc(plan.Diff(actual, p.State.Of(spaces...)), func(c plan.Change) bool { return !slices.Contains(only, c.Object.Key()) })
	if err := lock.Save(r); err != nil {
		return nil, err
	}
	return changes, Apply(ctx, changes, w.Changes(changes))
}
