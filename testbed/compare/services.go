package compare

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"labnet/lab/kubeproxy"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/traffic"
)

// What a service costs: to make a connection to it, and to use one that stands. Both are measured from a pod, with all work on
// one CPU, and beside them the same to a pod and to a node, whose addresses no service has.
const (
	serviceSetup = "service-setup"
	serviceRR    = "service-rr"
)

// targets are where connections are made to: "first", "middle" and "last" are services in the order of the file.
var targets = []string{"pod", "node", "first", "middle", "last"}

// serviceChoices are the measures of services. They are taken where they are asked for.
func serviceChoices() (all []choice) {
	for _, to := range targets {
		all = append(all, choice{measure{serviceSetup, "to=" + to, true, once, nil}, across, across, across, across})
	}
	for _, to := range []string{"pod", "first", "last"} {
		all = append(all, choice{measure{serviceRR, "to=" + to, true, once, nil}, across, across, across, across})
	}
	return all
}

// OfServices reports whether a measure is of services, and so needs some.
func OfServices(measure string) bool {
	return measure == serviceSetup || measure == serviceRR || measure == Programming
}

// Served reports whether what is measured of services can be: there has to be one over TCP whose endpoints are all pods.
func Served(p *plan.Plan) error {
	if len(served(p)) == 0 {
		return errors.New("measures of services need a service over TCP whose endpoints are pods")
	}
	return nil
}

// serving is a service's port, and the pods that it leads to.
type serving struct {
	kubeproxy.Port
	pods []plan.Endpoint
}

// served are those of one family, that of the first.
func served(p *plan.Plan) (all []serving) {
	pods := map[netip.Addr]plan.Endpoint{}
	for _, e := range p.Cluster.Endpoints() {
		if e.Pod != nil {
			pods[e.Address] = e
		}
	}
	for _, port := range p.Cluster.ServicePorts() {
		s := serving{Port: port}
		for _, a := range port.Endpoints {
			if e, ok := pods[a.Addr()]; ok {
				s.pods = append(s.pods, e)
			}
		}
		if port.Protocol == "tcp" && port.Address.IsValid() && (len(all) == 0 || port.Address.Is6() == all[0].Address.Is6()) && len(s.pods) > 0 && len(s.pods) == len(port.Endpoints) {
			all = append(all, s)
		}
	}
	return all
}

// target is where connections go, and where they arrive.
func (s *subject) target(to string, way route) (what traffic.Setups, ends []plan.Endpoint, err error) {
	all := served(s.Plan)
	if len(all) == 0 {
		return what, nil, Served(s.Plan)
	}
	at := all[0]
	what.Port = at.Endpoints[0].Port()
	switch to {
	case "pod":
		what.To = netip.AddrPortFrom(way.to.Address, what.Port)
		return what, []plan.Endpoint{way.to}, nil
	case "node":
		i := slices.IndexFunc(s.Plan.Cluster.Endpoints(), func(e plan.Endpoint) bool {
			return e.Pod == nil && e.Node == way.to.Node && e.Address.Is4() == way.to.Address.Is4()
		})
		if i < 0 {
			return what, nil, fmt.Errorf("node %s has no address", way.to.Node.Name)
		}
		node := s.Plan.Cluster.Endpoints()[i]
		what.To = netip.AddrPortFrom(node.Address, what.Port)
		return what, []plan.Endpoint{node}, nil
	case "middle":
		at = all[len(all)/2]
	case "last":
		at = all[len(all)-1]
	}
	what.To, what.Port = netip.AddrPortFrom(at.Address, at.Port.Port), at.Endpoints[0].Port()
	return what, at.pods, nil
}

// services measures a cell of services. One thread on one CPU does all.
func (r *run) services(s *subject, x cell) func(context.Context, traffic.Config) (taken, error) {
	return func(ctx context.Context, cfg traffic.Config) (t taken, err error) {
		what, ends, err := s.target(strings.TrimPrefix(x.params, "to="), s.routes[x.path])
		if err != nil {
			return t, err
		}
		cfg.Server.CPU, cfg.Before, what.Kept = cfg.Client.CPU, true, x.name == serviceRR
		for _, e := range ends {
			place, err := testbed.Open(e.Namespace)
			if err != nil {
				return t, err
			}
			defer place.Close()
			what.Servers = append(what.Servers, traffic.Side{Open: place.Do, Addr: e.Address})
		}
		got, err := traffic.RunSetups(ctx, cfg, what)
		if err != nil {
			return t, fmt.Errorf("%s, %s: %w", x.params, what.To, err)
		}
		metric := map[bool]string{true: "round trip", false: "set-up"}[what.Kept]
		return taken{readings: []measured{inItsUnit(metric, float64(got.Latency.Middle()/time.Nanosecond))}}, nil
	}
}
