package testbed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"labnet/lab/plan"
	"labnet/testbed/cgroup"
	"labnet/testbed/cni"
)

// Instance is a lab on this machine.
type Instance struct {
	Name     string
	Machines []plan.Owner // switches, machines and pods, by namespace; none where a killed process left only a folder
}

// Instances lists the labs of this machine, by what their namespaces say of themselves.
func Instances(ctx context.Context) ([]Instance, error) {
	owners, err := census(ctx, "")
	if err != nil {
		return nil, err
	}
	byName := map[string]*Instance{}
	for _, dir := range Recorded() {
		byName[dir] = &Instance{Name: dir}
	}
	for _, name := range sortedNames(owners) {
		o := owners[name]
		if o.Lab == "" {
			continue
		}
		if byName[o.Lab] == nil {
			byName[o.Lab] = &Instance{Name: o.Lab}
		}
		byName[o.Lab].Machines = append(byName[o.Lab].Machines, o)
	}
	var all []Instance
	for _, i := range byName {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b Instance) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func sortedNames(owners map[string]plan.Owner) []string {
	names := make([]string, 0, len(owners))
	for n := range owners {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// census reads the owner of every named namespace that begins with the prefix. One that belongs to no lab has the zero Owner.
func census(ctx context.Context, prefix string) (map[string]plan.Owner, error) {
	names, err := Named(prefix)
	if err != nil {
		return nil, err
	}
	owners := map[string]plan.Owner{}
	err = onThread(func(t *thread) error {
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			place, err := Open(name)
			if err != nil {
				continue // no namespace: a leftover, or gone since
			}
			v, err := t.call(place)
			if err != nil {
				place.Close()
				return err
			}
			owners[name], err = v.owner()
			v.close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return owners, err
}

// owner reads whose a namespace is; the zero Owner is nobody.
func (v *visit) owner() (plan.Owner, error) {
	lo, err := v.LinkByIndex(loopback)
	if err != nil {
		return plan.Owner{}, fmt.Errorf("namespace %s: %w", v.place.Name, err)
	}
	owner, _ := plan.ParseOwner(lo.Attrs().Alias)
	return owner, nil
}

// Only returns the one lab of this machine, where that can be told from names alone: it is the only one with a record, and
// no namespace is called as another's would be.
func Only() (lab string, ok bool) {
	labs := Recorded()
	if len(labs) != 1 {
		return "", false
	}
	return labs[0], !Others(labs)
}

// Others reports whether there may be labs besides some: a namespace that is not called as theirs are.
func Others(labs []string) bool {
	names, err := Named("")
	return err != nil || slices.ContainsFunc(names, func(n string) bool {
		of, _, _ := strings.Cut(n, ".")
		return !slices.Contains(labs, of)
	})
}

// OpenTarget opens the namespace of a machine or pod of a lab; it is an error that wraps fs.ErrNotExist when there is none.
func OpenTarget(lab, target string) (place *Place, err error) {
	if r, err := Load(lab); err == nil && r.Shared[target] != "" {
		target = r.Shared[target]
	}
	if place, err = Open(lab + "." + strings.ReplaceAll(target, "/", ".")); err != nil {
		return nil, err
	}
	var owner plan.Owner
	err = onThread(func(t *thread) error {
		v, err := t.call(place)
		if err != nil {
			return err
		}
		defer v.Handle.Close()
		owner, err = v.owner()
		return err
	})
	if err == nil && (owner.Lab != lab || owner.Machine != target) {
		err = fmt.Errorf("namespace %s is no part of lab %s: %w", place.Name, lab, os.ErrNotExist)
	}
	if err != nil {
		place.Close()
		return nil, err
	}
	return place, nil
}

// Down removes a lab, wholly: its namespaces, and what it keeps below /run/lab. progress is told the names of the
// namespaces. A lab that is not there is no error.
func Down(ctx context.Context, lab string, progress func(string)) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	if !isFolderName(lab) {
		return nil
	}
	var lock *Lock
	if _, err := os.Stat(folder(lab)); err == nil {
		if lock, err = Acquire(ctx, lab, true); err != nil {
			return err
		}
		defer lock.Release()
	}
	owners, err := census(ctx, lab+".")
	if err != nil {
		return err
	}
	var errs, refused []error
	for _, name := range sortedNames(owners) { // while their uplinks are there, and the daemons that plugins may ask
		if owners[name].Lab != lab || !hasAgents(owners[name].Role) {
			continue
		}
		err := detach(ctx, name)
		if refused = append(refused, err); errors.Is(err, cni.ErrTimeout) {
			break
		}
	}
	for _, name := range sortedNames(owners) {
		if owners[name].Lab != lab {
			continue
		}
		if hasAgents(owners[name].Role) {
			errs = append(errs, endAgents(name))
		}
		if err := remove(name); err != nil {
			errs = append(errs, err)
		}
		progress(name)
	}
	errs = append(errs, cgroup.Remove(lab))
	if lock != nil {
		// Only where this lab was at work: files that a killed process had not come to mounting.
		errs = append(errs, removeStale(lab+"."))
		errs = append(errs, os.RemoveAll(folder(lab)))
	}
	if all := errors.Join(errs...); all != nil {
		return errors.Join(all, errors.Join(refused...))
	}
	if err := errors.Join(refused...); err != nil {
		return undetachedError{err}
	}
	return nil
}

// undetachedError is that of plugins which did not take back what they had made. It is gone with the namespaces.
type undetachedError struct{ error }

func (e undetachedError) Unwrap() error { return e.error }

// endAgents ends what works in a namespace, so that it goes with its name. An agent that is only just starting finds out
// by itself.
func endAgents(namespace string) error {
	place, err := Open(namespace)
	if err != nil {
		return nil // no namespace: a leftover, or gone since
	}
	defer place.Close()
	found, err := Agents(place)
	for _, a := range found {
		err = errors.Join(err, a.stop())
	}
	return err
}
