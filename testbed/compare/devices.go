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
func (r *run) unchanged(ctx context.Context, wire int) error {
	const name = "the lab is as it was built"
	r.results.Checks = slices.DeleteFunc(r.results.Checks, func(c report.Check) bool { return c.Name == name && c.Wire == r.wire.Name })
	for _, s := range r.subjects {
		found, err := testbed.Read(context.WithoutCancel(ctx), s.Plan.Cluster.Name, s.Plans[wire].State)
		if err != nil {
			return fmt.Errorf("mode %s, after it was measured: %w", s.Mode, err)
		}
		check := report.Check{Name: name, Mode: s.Mode, Wire: r.wire.Name, OK: true, Detail: fmt.Sprintf("%d objects", found.Len())}
		if changes := plan.Diff(found, s.Plans[wire].State); len(changes) > 0 {
			check.OK, check.Detail = false, fmt.Sprintf("%d changes, the first of them: %s", len(changes), strings.Join(changes[0].Lines(), "; "))
		}
		r.results.Checks = append(r.results.Checks, check)
	}
	return nil
}
