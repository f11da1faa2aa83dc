package compare

import (
	"fmt"
	"slices"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/traffic"
)

// The paths. Between hosts no mode is at work: that number is the same for all of them, and a comparison that finds a
// difference there has been disturbed.
const (
	hostHost  = "host-host"  // from one node to another
	sameNode  = "same-node"  // between two pods of a node
	crossNode = "cross-node" // between pods of two nodes
	nodePod   = "node-pod"   // from a node to a pod of another
	podNode   = "pod-node"   // from a pod to another node

	betweenEnds = "chosen" // between the two that were asked for
)

// Paths lists the paths in the order in which they are measured.
var Paths = []string{hostHost, sameNode, crossNode, nodePod, podNode}

// route is a path in one instance.
type route struct{ from, to plan.Endpoint }

// subject is a variant as it is measured.
type subject struct {
	Variant
	Plan   *plan.Plan // under the wire model that is up
	routes map[string]route
	across *route                    // between pods of two nodes, for the proof; also where it is not measured
	places map[string]*testbed.Place // by namespace
}

// open finds the subject's paths and opens the namespaces along them.
func (r *run) open(s *subject) error {
	s.Plan, s.routes, s.places = s.Plans[0], map[string]route{}, map[string]*testbed.Place{}
	all := routes(s.Plan.Cluster)
	paths := Paths
	if r.cfg.From != nil {
		all[betweenEnds] = route{*r.cfg.From, *r.cfg.To}
		paths = []string{betweenEnds}
	}
	for _, path := range paths {
		if !slices.ContainsFunc(r.cells, func(x cell) bool { return x.path == path }) {
			continue
		}
		if why := all.missing(path, s.Plan); why != "" {
			r.warn("%s: %s is not measured: %s", s.Mode, path, why)
			continue
		}
		s.routes[path] = all[path]
	}
	if way := all[crossNode]; all.missing(crossNode, s.Plan) == "" {
		s.across = &way
		if err := s.enter(way); err != nil {
			return err
		}
	}
	for _, path := range paths {
		way, ok := s.routes[path]
		if !ok {
			continue
		}
		if err := s.enter(way); err != nil {
			return err
		}
		e := report.Endpoints{
			Mode: s.Mode, Path: path, From: way.from.Title, To: way.to.Title,
			FromAddress: way.from.Address.String(), ToAddress: way.to.Address.String(),
		}
		if !slices.Contains(r.results.Endpoints, e) {
			r.results.Endpoints = append(r.results.Endpoints, e)
		}
	}
	return nil
}

// enter opens the namespaces along a way.
func (s *subject) enter(way route) error {
	for _, namespace := range s.along(way) {
		if s.places[namespace] != nil {
			continue
		}
		place, err := testbed.Open(namespace)
		if err != nil {
			return err
		}
		s.places[namespace] = place
	}
	return nil
}

// along lists the namespaces that packets of a way can pass: its ends, their nodes, and between nodes the switches and
// routers.
func (s *subject) along(way route) []string {
	all := []string{way.from.Namespace, way.from.Node.Namespace}
	if way.from.Node != way.to.Node {
		for _, m := range s.Plan.Cluster.Lab.Machines {
			if m.Kind == lab.Router {
				all = append(all, s.Plan.Cluster.NamespaceOf(m.Name))
			}
		}
		for _, sw := range s.Plan.Cluster.Lab.Switches {
			all = append(all, s.Plan.Cluster.NamespaceOf(sw.Name))
		}
	}
	all = append(all, way.to.Node.Namespace, way.to.Namespace)
	slices.Sort(all)
	return slices.Compact(all)
}

// anywhere is one of the subject's places.
func (s *subject) anywhere() *testbed.Place {
	for _, way := range s.routes {
		return s.places[way.from.Namespace]
	}
	return nil
}

func (s *subject) close() {
	for _, p := range s.places {
		_ = p.Close()
	}
	s.places = nil
}

type ways map[string]route

// routes chooses the ends of every path that the cluster has, the same ones every time: the first pod that has a pod on
// another node, and the first of those; the nodes of these two; the first two pods of the first node that has two. Where
// the network has two families the first one is measured.
func routes(c *plan.Cluster) ways {
	all := ways{}
	add := func(path string, from, to plan.Endpoint) {
		if _, ok := all[path]; !ok {
			all[path] = route{from, to}
		}
	}
	var nodes, pods []plan.Endpoint
	for _, e := range c.Endpoints() {
		switch {
		case e.Address.Is6() != c.CIDRs()[0].Addr().Is6():
		case e.Pod == nil:
			nodes = append(nodes, e)
		default:
			pods = append(pods, e)
		}
	}
	pairs(pods, func(from, to plan.Endpoint) {
		if from.Node == to.Node {
			add(sameNode, from, to)
		} else {
			add(crossNode, from, to)
		}
	})
	across := all[crossNode]
	pairs(nodes, func(from, to plan.Endpoint) {
		if across.from.Pod == nil || from.Node == across.from.Node && to.Node == across.to.Node {
			add(hostHost, from, to)
		}
	})
	if hosts, ok := all[hostHost]; ok && across.from.Pod != nil {
		add(nodePod, hosts.from, across.to)
		add(podNode, across.from, hosts.to)
	}
	return all
}

func pairs(of []plan.Endpoint, f func(from, to plan.Endpoint)) {
	for i, from := range of {
		for _, to := range of[i+1:] {
			f(from, to)
		}
	}
}

// missing says why a path cannot be measured, or nothing.
func (w ways) missing(path string, p *plan.Plan) string {
	way, ok := w[path]
	if !ok {
		return map[string]string{
			hostHost:  "there are no two nodes",
			sameNode:  "no node has two pods",
			crossNode: "no two nodes have pods",
			nodePod:   "no two nodes have pods",
			podNode:   "no two nodes have pods",
		}[path]
	}
	if !p.Expect(plan.Flow{From: way.from, To: way.to}).Reachable || !p.Expect(plan.Flow{From: way.to, To: way.from}).Reachable {
		return fmt.Sprintf("in this mode %s does not reach %s", way.from.Title, way.to.Title)
	}
	return ""
}

// traffic returns how the engine gets from one end of a path to the other.
func (r *run) traffic(s *subject, way route, cfg traffic.Config) traffic.Config {
	cfg.Client = traffic.Side{Open: s.places[way.from.Namespace].Do, Addr: way.from.Address, CPU: r.client}
	cfg.Server = traffic.Side{Open: s.places[way.to.Namespace].Do, Addr: way.to.Address, CPU: r.server}
	cfg.Idle = r.idle
	return cfg
}
