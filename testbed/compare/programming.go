package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"labnet/lab"
	"labnet/lab/kubeproxy"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/traffic"
)

// Programming is the measure of what it takes to tell the kernel of a node about services: time and bytes for all of them, for
// one more, and for an endpoint less; and of how many rules and elements they are. The rest of the node stays as it is.
const Programming = "service-programming"

// programming estimates a round of one variant.
const programming = 3 * time.Second

// Programmed are plans of one instance that differ in their services alone.
type Programmed struct {
	without *plan.Plan // no services
	fewer   *plan.Plan // all but the last
	smaller *plan.Plan // an endpoint of the last less; nil where it has only one
}

// Program plans an instance's services otherwise.
func Program(l *lab.Lab, build func(*lab.Lab) *plan.Plan) *Programmed {
	if l.Services == nil || len(l.Services.All) == 0 {
		return nil
	}
	all := l.Services.All
	others, last := all[:len(all)-1], *all[len(all)-1]
	p := &Programmed{without: build(l.WithServices()), fewer: build(l.WithServices(others...))}
	if n := len(last.Endpoints); n > 1 {
		last.Endpoints = last.Endpoints[:n-1]
		p.smaller = build(l.WithServices(append(slices.Clone(others), &last)...))
	}
	return p
}

func (c *Config) programs() bool { return slices.Contains(c.Measures, Programming) }

// programmed is how many of its rounds are finished.
func (r *run) programmed() (rounds int) {
	for _, s := range r.results.Samples {
		if s.Measure == Programming {
			rounds = max(rounds, s.Round)
		}
	}
	return rounds
}

// programs goes through the rounds of programming, over the instances that stand. Each has all its services again at the end.
func (r *run) programs(ctx context.Context) error {
	if !r.cfg.programs() {
		return nil
	}
	for round := r.programmed() + 1; round <= r.cfg.Rounds; round++ {
		each := make([][]report.Sample, len(r.subjects))
		for _, i := range rand.New(rand.NewPCG(r.cfg.Seed, 1<<42|uint64(round))).Perm(len(r.subjects)) {
			s := r.subjects[i]
			if s.Services == nil {
				continue
			}
			r.next(fmt.Sprintf("programming services, round %d of %d", round, r.cfg.Rounds), programming)
			got, err := r.program(ctx, s)
			if err != nil {
				return fmt.Errorf("round %d, mode %s, programming services: %w", round, s.Mode, err)
			}
			for _, g := range got {
				g.Mode, g.Datapath, g.Wire, g.Path, g.Measure, g.Round = s.Mode, s.Datapath, r.cfg.Wires[0].Name, "-", Programming, round
				each[i] = append(each[i], g)
			}
		}
		r.results.Samples = append(r.results.Samples, slices.Concat(each...)...)
		if len(r.cells) == 0 {
			r.results.Rounds = max(r.results.Rounds, round)
		}
		if err := r.keep(); err != nil {
			return err
		}
	}
	return nil
}

// program takes a node's services away and gives them back, in whole and in part.
func (r *run) program(ctx context.Context, s *subject) (got []report.Sample, err error) {
	node, name := s.Plan.Cluster.Nodes[0].Namespace, s.Plan.Cluster.Name
	become := func(p *plan.Plan) (took time.Duration, bytes int, err error) {
		found, err := testbed.ReadSome(ctx, name, []string{node}, p.State)
		if err != nil {
			return 0, 0, err
		}
		changes := plan.Diff(firewall(found, node), firewall(p.State, node))
		start := time.Now()
		bytes, err = testbed.Program(ctx, changes, func(plan.Change) {})
		return time.Since(start), bytes, err
	}
	whole := s.Plans[0]
	for _, of := range []struct {
		what          string
		before, after *plan.Plan
	}{{"all", s.Services.without, whole}, {"one more", s.Services.fewer, whole}, {"an endpoint less", whole, s.Services.smaller}} {
		if of.before == nil || of.after == nil {
			continue
		}
		if _, _, err := become(of.before); err != nil {
			return nil, err
		}
		took, bytes, err := become(of.after)
		if err != nil {
			return nil, err
		}
		params := "what=" + strings.ReplaceAll(of.what, " ", "-")
		got = append(got, report.Sample{Metric: "time", Params: params, Value: float64(took.Nanoseconds()) / 1e6, Unit: "ms"},
			report.Sample{Metric: "sent", Params: params, Value: float64(bytes), Unit: "bytes"})
		if of.what == "all" {
			if err := r.reached(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	if _, _, err := become(whole); err != nil {
		return nil, err
	}
	rules, elements := 0, 0
	whole.State.In(node, func(o plan.Object) {
		switch o.(type) {
		case plan.ChainRule:
			rules++
		case plan.Element, plan.IPSetEntry, plan.VirtualServer, plan.RealServer:
			elements++
		}
	})
	return append(got, report.Sample{Metric: "rules", Params: "what=objects", Value: float64(rules)},
		report.Sample{Metric: "elements", Params: "what=objects", Value: float64(elements)}), nil
}

// reached holds that the kernel has taken what it was told: connections to the last service are made.
func (r *run) reached(ctx context.Context, s *subject) error {
	if s.across == nil || len(served(s.Plan)) == 0 {
		return nil
	}
	cfg := r.traffic(s, *s.across, traffic.Config{Window: 5 * time.Millisecond, Congestion: congestion})
	_, err := r.services(s, cell{measure: measure{name: serviceSetup, params: "to=last"}, path: crossNode})(ctx, cfg)
	return err
}

// firewall is what a namespace's firewall is made of, and what ipvs has beside it.
func firewall(s *plan.State, namespace string) *plan.State {
	of := &plan.State{}
	s.In(namespace, func(o plan.Object) {
		beside := false
		switch o := o.(type) {
		case plan.IPSet, plan.IPSetEntry, plan.VirtualServer, plan.RealServer:
			beside = true
		case plan.Link:
			beside = o.Name == kubeproxy.IPVSDevice
		case plan.Address:
			beside = o.Link == kubeproxy.IPVSDevice
		}
		if beside || plan.InFirewall(o) {
			of.Add(o)
		}
	})
	return of
}
