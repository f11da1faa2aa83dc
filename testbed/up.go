package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"

	"labnet/lab/plan"
)

// large is how many objects a lab has whose plan is most of the program's memory. It stays to the end, so that little is gained
// by letting as much again pile up beside it.
const large = 100_000

// Watch is told how an Up goes; the zero value will do.
type Watch struct {
	Busy    func()                                // another command is at work on the lab: this one waits
	Changes func([]plan.Change) func(plan.Change) // asked once the changes are known; what it returns is called after each
	Settled func(n, all int)                      // agents
}

func (w Watch) complete() Watch {
	if w.Busy == nil {
		w.Busy = func() {}
	}
	if w.Changes == nil {
		w.Changes = func([]plan.Change) func(plan.Change) { return func(plan.Change) {} }
	}
	if w.Settled == nil {
		w.Settled = func(int, int) {}
	}
	return w
}

// Up makes the kernel be what a plan says: it reads what is there, applies the difference and waits until the lab works.
// What a first build has made is removed again when it fails, or when ctx is done.
func Up(ctx context.Context, p *plan.Plan, r Record, w Watch) (changes []plan.Change, err error) {
	w = w.complete()
	name := p.Cluster.Name
	if err := Capacity(p.State); err != nil {
		return nil, err
	}
	if _, err := Plugins(p.State); err != nil {
		return nil, err
	}
	lock, err := Acquire(ctx, name, false)
	if errors.Is(err, ErrBusy) {
		w.Busy()
		lock, err = Acquire(ctx, name, true)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	if p.State.Len() > large {
		defer debug.SetGCPercent(debug.SetGCPercent(50))
	}
	if err := Recall(p); err != nil {
		return nil, err
	}
	actual, err := Read(ctx, name, p.State)
	if err != nil {
		if _, unknown := Load(name); unknown != nil {
			err = errors.Join(err, lock.Forget())
		}
		return nil, err
	}
	first := actual.Len() == 0
	changes = plan.Diff(actual, p.State)
	if err := lock.Save(r); err != nil {
		if first {
			err = errors.Join(err, lock.Forget())
		}
		return nil, err
	}
	if err = claim(name, actual, p.State); err == nil {
		err = build(ctx, p, changes, w)
	}
	if err == nil {
		if names := p.Cluster.Names(); !maps.EqualFunc(names, r.Names, slices.Equal) { // plugins have given other addresses
			r.Names = names
			err = lock.Save(r)
		}
		return changes, err
	}
	if unsettled := (unsettledError{}); errors.As(err, &unsettled) && ctx.Err() == nil {
		return nil, fmt.Errorf("lab %s stands, but %w", name, err)
	}
	if !first {
		return nil, fmt.Errorf("%w\nlab %s is half changed: \"lab up\" again completes it, \"lab down %[2]s\" removes it", err, name)
	}
	lock.Release()
	undo := Down(context.WithoutCancel(ctx), name, func(string) {})
	if _, left := errors.AsType[undetachedError](undo); undo != nil && !left {
		return nil, errors.Join(err, fmt.Errorf("removing what was built: %w; \"lab down %s\" tries again", undo, name))
	}
	return nil, fmt.Errorf("%w; what was built has been removed", err)
}

// unsettledError is that of a lab which was built and does not work.
type unsettledError struct{ error }

func (e unsettledError) Unwrap() error { return e.error }

func build(ctx context.Context, p *plan.Plan, changes []plan.Change, w Watch) (err error) {
	defer catch(&err)
	if err := Apply(ctx, changes, w.Changes(changes)); err != nil {
		return err
	}
	if err := Learn(ctx, p, changes); err != nil {
		return err
	}
	if err := Forget(ctx, p.State, changes); err != nil {
		return err
	}
	if err := claim(p.Cluster.Name, nil, p.State); err != nil {
		return err
	}
	if err := Settle(ctx, p.State, w.Settled); err != nil {
		return unsettledError{err}
	}
	return nil
}
