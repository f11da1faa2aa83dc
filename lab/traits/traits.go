// Package traits says what a mode needs and is good for besides its cost, for a comparison to recommend by.
package traits

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
)

// Of says what a plan's mode needs and is good for besides its cost. It is computed: from what the plan promises, and from
// whether the same mode, with the same settings, can be planned for other clusters.
func Of(p *plan.Plan) report.Trait {
	_, joins := p.Mode.(plan.Joiner)
	t := report.Trait{Mode: p.ModeName, LAN: joins, Needs: []string{}, Cannot: []string{}}
	t.Routed = !joins && able(p.Mode, apart, false)
	p.State.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Agent:
			t.BGP = t.BGP || o.Name == "bgp"
		case plan.Table:
			t.Rules = true
		}
	})
	nodes := slices.DeleteFunc(slices.Clone(p.Cluster.Nodes), func(n *plan.Node) bool { return len(n.Pods) == 0 })
	if len(nodes) > 0 {
		v6 := !nodes[0].Pods[0].Address(false).IsValid()
		own := machine(nodes[0], v6)
		t.OwnPods = p.Expect(plan.Flow{From: own, To: pod(nodes[0], v6)}).Reachable
		if len(nodes) > 1 {
			e := p.Expect(plan.Flow{From: pod(nodes[0], v6), To: pod(nodes[1], v6)})
			t.MTU, t.Bytes = e.MTU, e.Encap.Overhead
			t.IPv6 = able(p.Mode, dualStack(e.Encap.VLAN), true)
			switch e.Encap.Type {
			case "vlan":
				t.Bytes = 4
				t.Needs = append(t.Needs, fmt.Sprintf("VLAN %d on every node's port", e.Encap.VLAN))
			case "ipip":
				t.Needs = append(t.Needs, "IP protocol 4 between nodes")
			case "vxlan", "udp":
				t.Needs = append(t.Needs, fmt.Sprintf("UDP port %d between nodes", e.Encap.Port))
			}
		}
	}
	switch {
	case joins:
		t.Needs = append(t.Needs, "addresses of the nodes' segment")
	case !t.Routed:
		t.Needs = append(t.Needs, "nodes on one segment")
	}
	if !t.OwnPods {
		t.Cannot = append(t.Cannot, "nodes and their own pods talk")
	}
	if !t.IPv6 {
		t.Cannot = append(t.Cannot, "IPv6")
	}
	return t
}

func machine(n *plan.Node, v6 bool) plan.Endpoint {
	return plan.Endpoint{Title: n.Name, Namespace: n.Namespace, Address: n.Uplink().Address(v6).Addr(), Node: n, Machine: n.Machine}
}

func pod(n *plan.Node, v6 bool) plan.Endpoint {
	p := n.Pods[0]
	return plan.Endpoint{Title: p.Title(), Namespace: p.Namespace, Address: p.Address(v6), Node: n, Pod: p}
}

// set is a mode with its settings, whatever a definition says.
type set struct{ plan.Mode }

func (s set) Decode(hcl.Body, *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) { return s.Mode, nil }

// able reports whether a mode can be planned for a cluster, and connects the pods of its nodes there.
func able(mode plan.Mode, definition string, v6 bool) bool {
	l, _, diags := lab.Load("cluster.hcl", []byte(definition), lab.Inputs{})
	if diags.HasErrors() {
		panic("traits: " + diags.Error()) // both are below
	}
	p, diags := plan.Build(l, plan.Options{Modes: plan.Modes{{Name: "it", Mode: set{mode}}}, Features: plan.AllFeatures()})
	if diags.HasErrors() {
		return false
	}
	a, b := p.Cluster.Nodes[0], p.Cluster.Nodes[1]
	return p.Expect(plan.Flow{From: pod(a, v6), To: pod(b, v6)}).Reachable
}

// apart has nodes behind a router.
const apart = `
lab "apart" {}
switch "a" { subnet = "192.168.1.0/24" }
switch "b" { subnet = "192.168.2.0/24" }
router "gw" {
  on "a" { address = "192.168.1.1" }
  on "b" { address = "192.168.2.1" }
}
node "a1" {
  on "a" {}
  gateway = "192.168.1.1"
  pods    = 1
}
node "b1" {
  on "b" {}
  gateway = "192.168.2.1"
  pods    = 1
}
network "pods" {
  cidr = "10.42.0.0/16"
  mode = "it"
}
`

// dualStack has both families, and the pods' network in a VLAN where they are in one.
func dualStack(vlan int) string {
	segment, trunk := "", ""
	if vlan != 0 {
		segment = fmt.Sprintf("vlan \"%d\" { subnet = [\"10.42.0.0/16\", \"fd42::/48\"] }", vlan)
		trunk = fmt.Sprintf("trunk = [%d]", vlan)
	}
	return fmt.Sprintf(`
lab "dual" {}
switch "a" {
  subnet = ["192.168.1.0/24", "fd01::/64"]
  %s
}
router "gw" {
  on "a" { address = ["192.168.1.1", "fd01::1"] }
}
node "n" {
  count = 2
  on "a" {
    %s
  }
  gateway = ["192.168.1.1", "fd01::1"]
  pods    = 1
}
network "pods" {
  cidr = ["10.42.0.0/16", "fd42::/48"]
  mode = "it"
}
`, segment, trunk)
}
