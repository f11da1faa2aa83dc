package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
)

// drops adds up what the devices along a path, and their queues, have thrown away.
func (s *subject) drops(path string) (uint64, error) {
	var sum uint64
	for _, namespace := range s.along(s.routes[path]) {
		devices, err := testbed.Devices(s.places[namespace], false)
		if err != nil {
			return 0, err
		}
		for _, d := range devices {
			sum += d.Drops
		}
	}
	return sum, nil
}

// devices records the devices of all measured paths that have carried anything, as they are when a wire model has been
// measured.
func (r *run) devices() {
	r.results.Devices = slices.DeleteFunc(r.results.Devices, func(d report.Device) bool { return d.Wire == r.wire.Name })
	for _, s := range r.subjects {
		titles := map[string]string{}
		for _, e := range s.Plan.Cluster.Endpoints() {
			titles[e.Namespace] = e.Title
		}
		for _, sw := range s.Plan.Cluster.Lab.Switches {
			titles[s.Plan.Cluster.NamespaceOf(sw.Name)] = sw.Name
		}
		for _, m := range s.Plan.Cluster.Lab.Machines {
			titles[s.Plan.Cluster.NamespaceOf(m.Name)] = m.Name
		}
		for _, namespace := range s.Plan.State.Namespaces() {
			place, ok := s.places[namespace]
			if !ok {
				continue
			}
			found, err := testbed.Devices(place, true)
			if err != nil {
				r.warn("%s: %v", s.Mode, err)
				continue
			}
			for _, d := range found {
				if d.Sent+d.Received == 0 {
					continue
				}
				r.results.Devices = append(r.results.Devices, report.Device{
					Mode: s.Mode, Wire: r.wire.Name, Machine: titles[namespace], Namespace: namespace, Device: d.Name, Kind: d.Kind, MTU: d.MTU, Qdisc: d.Qdisc,
					GSOMaxSegs: d.GSOMaxSegs, GSOMaxSize: d.GSOMaxSize, GROMaxSize: d.GROMaxSize, Offloads: d.Offloads, Drops: d.Drops,
				})
			}
		}
	}
}

// unchanged holds the instances, when they have been measured, against what was built.
func (r *run) unchanged(ctx context.Context) error {
	const name = "the lab is as it was built"
	r.results.Checks = slices.DeleteFunc(r.results.Checks, func(c report.Check) bool { return c.Name == name && c.Wire == r.wire.Name })
	for _, s := range r.subjects {
		check := report.Check{Name: name, Mode: s.Mode, Wire: r.wire.Name, OK: true, Detail: fmt.Sprintf("%d objects", s.Plan.State.Len())}
		drift, err := s.drift(ctx)
		if err != nil {
			return err
		}
		if drift != "" {
			check.OK, check.Detail = false, drift
		}
		r.results.Checks = append(r.results.Checks, check)
	}
	return nil
}

// asBuilt does the same for a generation of path cost; all generations are one check.
func (r *run) asBuilt(ctx context.Context, subjects []*subject, generation int) error {
	const name = "path cost: the instances are as they were built"
	at := slices.IndexFunc(r.results.Checks, func(c report.Check) bool { return c.Name == name })
	if at < 0 {
		at = len(r.results.Checks)
		r.results.Checks = append(r.results.Checks, report.Check{Name: name, Wire: Bare.Name, OK: true})
	}
	check := &r.results.Checks[at]
	for _, s := range subjects {
		drift, err := s.drift(ctx)
		if err != nil {
			return err
		}
		if drift != "" && check.OK {
			check.OK, check.Detail = false, fmt.Sprintf("%s in generation %d: %s", s.Mode, generation, drift)
		}
	}
	if check.OK {
		check.Detail = fmt.Sprintf("%d instances in each of %d generations", len(subjects), generation)
	}
	return nil
}

// drift says what of an instance is not as it was built.
func (s *subject) drift(ctx context.Context) (string, error) {
	found, err := testbed.Read(context.WithoutCancel(ctx), s.Plan.Cluster.Name, s.Plan.State)
	if err != nil {
		return "", fmt.Errorf("mode %s, after it was measured: %w", s.Mode, err)
	}
	if changes := plan.Diff(found, s.Plan.State); len(changes) > 0 {
		return fmt.Sprintf("%d changes, the first of them: %s", len(changes), strings.Join(changes[0].Lines(), "; ")), nil
	}
	return "", nil
}
