package plan

import (
	"fmt"
	"iter"
	"net/netip"

	"labnet/lab"
)

// Demand is a rule of the Kubernetes network model.
type Demand struct {
	Name   string
	Covers func(from, to Endpoint) bool // the packets that it is about
	// Breaks says why what is promised of such packets does not meet it; empty where it does.
	Breaks func(from, to Endpoint, e Expectation) string
}

// ofCluster reports whether the endpoint is a pod of the pod network, which the model is about.
func ofCluster(e Endpoint) bool { return e.Pod != nil && !e.Bridged() }

func podToPod(from, to Endpoint) bool { return ofCluster(from) && ofCluster(to) }

func nodeAndPod(from, to Endpoint) bool {
	node := func(e Endpoint) bool { return e.Pod == nil && e.Node.Kind == lab.Node && !e.Also }
	return node(from) && ofCluster(to) || ofCluster(from) && node(to)
}

func unreachable(from, to Endpoint, e Expectation) string {
	switch {
	case e.OneWay:
		return fmt.Sprintf("%s gets no answer from %s", from.Title, to.Title)
	case !e.Reachable:
		return fmt.Sprintf("%s does not reach %s", from.Title, to.Title)
	}
	return ""
}

func otherSender(from, to Endpoint, e Expectation) string {
	if !e.Reachable || !e.Source.IsValid() || e.Source == from.Address || from.Pod == nil && from.Node.has(e.Source) {
		return ""
	}
	if from.Node.has(e.Source) {
		return fmt.Sprintf("%s sees %s under its node's address", to.Title, from.Title)
	}
	return fmt.Sprintf("%s sees %s as %s", to.Title, from.Title, e.Source)
}

// has reports whether an address is the node's own: of an interface, or of a device of the mode, in its block.
func (n *Node) has(a netip.Addr) bool {
	for _, nic := range n.Interfaces {
		if own := nic.Address(a.Is6()); own.IsValid() && own.Addr() == a {
			return true
		}
	}
	for _, block := range n.PodCIDRs() {
		if block.Contains(a) {
			return true
		}
	}
	return false
}

// Demands are the rules of the Kubernetes network model, in the order in which people are shown them.
var Demands = []Demand{
	{"pods reach all pods without NAT", podToPod, func(from, to Endpoint, e Expectation) string {
		if why := unreachable(from, to, e); why != "" {
			return why
		}
		return otherSender(from, to, e)
	}},
	{"a node reaches its own pods", func(from, to Endpoint) bool {
		return nodeAndPod(from, to) && from.Pod == nil && from.Node == to.Node
	}, unreachable},
	{"nodes and pods reach each other without NAT", nodeAndPod, func(from, to Endpoint, e Expectation) string {
		if why := unreachable(from, to, e); why != "" {
			return why
		}
		return otherSender(from, to, e)
	}},
	{"a pod sees itself as other pods do", podToPod, otherSender},
}

// States of a demand.
const (
	Kept     = "kept"
	Broken   = "broken by design" // by what the mode promises
	Violated = "violated"         // by the kernel, against that promise
)

// Ruling is what becomes of a demand.
type Ruling struct {
	Demand string `json:"demand"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// Model holds what the plan promises of some pairs against the Kubernetes network model. A plan without pods has no rulings.
func (p *Plan) Model(pairs iter.Seq2[Endpoint, Endpoint]) []Ruling {
	rulings := []Ruling{}
	if p.Mode == nil {
		return rulings
	}
	seen := map[string]bool{}
	for _, d := range Demands {
		rulings = append(rulings, Ruling{Demand: d.Name, State: Kept})
	}
	for from, to := range pairs {
		for i, d := range Demands {
			if !d.Covers(from, to) {
				continue
			}
			seen[d.Name] = true
			if rulings[i].State != Kept {
				continue
			}
			if why := d.Breaks(from, to, p.Expect(Flow{From: from, To: to})); why != "" {
				rulings[i].State, rulings[i].Reason = Broken, why
			}
		}
	}
	var judged []Ruling
	for _, r := range rulings {
		if seen[r.Demand] {
			judged = append(judged, r)
		}
	}
	return append([]Ruling{}, judged...)
}
