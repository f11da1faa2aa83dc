package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"labnet/lab/plan"
)

// Read returns what the namespaces of a lab hold, also those that are no longer wanted. Left out is what the kernel makes
// by itself: lo's addresses, link-local addresses, connected routes, the local table, default rules, learnt neighbours.
// Of sysctls only the wanted ones are read; of what the plan leaves to the kernel, such as a device's MAC address, the
// wanted value is returned.
func Read(ctx context.Context, lab string, want *plan.State) (*plan.State, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	names, err := Named(lab + ".")
	if err != nil {
		return nil, err
	}
	state, err := read(ctx, lab, names, want)
	if err == nil {
		err = entrust(lab, state, want)
	}
	return state, err
}

// ReadSome returns the same of some namespaces alone. Those at the other ends of their links are read as well, since only they
// tell what these are.
func ReadSome(ctx context.Context, lab string, names []string, want *plan.State) (*plan.State, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	all := slices.Clone(names)
	want.Of(names...).Each(func(o plan.Object) {
		if l, ok := o.(plan.Link); ok {
			for _, far := range []string{l.Peer().Namespace, l.Below().Namespace} {
				if far != "" && !slices.Contains(all, far) {
					all = append(all, far)
				}
			}
		}
	})
	state, err := read(ctx, lab, all, want)
	if err != nil {
		return nil, err
	}
	if err := entrust(lab, state, want); err != nil {
		return nil, err
	}
	return state.Of(names...), nil
}

func read(ctx context.Context, lab string, names []string, want *plan.State) (*plan.State, error) {
	sysctls, firewalls := map[string][]plan.Sysctl{}, map[string][]plan.Object{}
	lowers, delegated, settings := map[plan.End]bool{}, map[string][]int{}, map[string]bool{}
	want.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Sysctl:
			sysctls[o.Namespace] = append(sysctls[o.Namespace], o)
		case plan.Table, plan.Stateful, plan.Set, plan.Chain, plan.Element, plan.ChainRule:
			ns := o.Key().Namespace
			firewalls[ns] = append(firewalls[ns], o)
		case plan.Agent:
			if o.Protocol != 0 {
				delegated[o.Namespace] = append(delegated[o.Namespace], o.Protocol)
			}
			settings[o.Sets] = true
		case plan.Link:
			if below := o.Below(); below.Namespace != o.Namespace {
				lowers[below] = true
			}
		}
	})
	r := &reader{
		lab: lab, want: want, sysctls: sysctls, firewalls: firewalls, lowers: lowers, delegated: delegated, agents: settings, indices: map[plan.End]int{}, state: &plan.State{},
	}
	if err := inEach(ctx, names, r.namespace); err != nil {
		return nil, err
	}
	r.state.Add(r.join()...)
	r.state.Resolve()
	return r.state, nil
}

func (r *reader) namespace(t *thread, name string) error {
	place, err := Open(name)
	if err != nil {
		return nil // no namespace: a leftover, or gone since
	}
	v, err := t.call(place)
	if err != nil {
		place.Close()
		return err
	}
	defer v.close()
	f := &found{names: map[int]string{}, settings: devconf{}}
	for _, k := range kinds {
		err := k.read(r, v, f)
		if errors.Is(err, errForeign) && r.want.Get(plan.Key{Namespace: name, Kind: plan.KindNamespace}) == nil {
			return nil
		}
		if errors.Is(err, errForeign) {
			return fmt.Errorf("it %w; remove it with \"ip netns del %s\", or choose another name for the lab with --name", err, name)
		}
		if err != nil {
			return fmt.Errorf("reading its %s: %w", k.called, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Adopt(name, f.objects, r.want)
	r.open = append(r.open, f.open...)
	for index, link := range f.names {
		if end := (plan.End{Namespace: name, Name: link}); r.lowers[end] {
			r.indices[end] = index
		}
	}
	return nil
}
