package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// onBridges is a lab without a pod network: what stands for %s is the host's.
const onBridges = `
lab "bridged" {}
switch "lan" { subnet = "192.168.205.0/24" }
host "h" {
  on "lan" {}
  ROUTE
}
node "n" {
  count = 2
  on "lan" {}
  pod "a" { networks = ["back"] }
  pod "b" {
    networks = ["back"]
    address  = count.index == 0 ? "CIDR.3" : null
  }
}
network "back" {
  driver = "bridge"
  cidr   = "CIDR.0/28"
}
`

func bridged(t *testing.T, route string) *plan.Plan {
	t.Helper()
	l, _, diags := lab.Load("bridged.hcl", []byte(strings.NewReplacer("ROUTE", route, "CIDR", "172.18.0").Replace(onBridges)), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Features: plan.AllFeatures()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

// TestBridgesAllocate: a pod's address on a bridge is its own in the whole lab, and what is written is nobody else's.
func TestBridgesAllocate(t *testing.T) {
	p := bridged(t, "")
	var got []string
	for _, n := range p.Cluster.Nodes {
		for _, nic := range n.Bridges[0].NICs {
			got = append(got, nic.Title()+" "+nic.Address(false).String())
		}
		if b := n.Bridges[0]; b.Device != "br-back" || b.Addresses[0] != netip.MustParsePrefix("172.18.0.1/28") {
			t.Errorf("%s has %s with %v", n.Name, b.Device, b.Addresses)
		}
	}
	if want := "n1/a 172.18.0.2 n1/b 172.18.0.3 n2/a 172.18.0.4 n2/b 172.18.0.5"; strings.Join(got, " ") != want {
		t.Errorf("%s", got)
	}
}

// TestBridgesFill: a network with a pod more than it has addresses says so, and one with as many is full and good.
func TestBridgesFill(t *testing.T) {
	for pods, full := range map[string]bool{"13": false, "14": true} {
		l, _, diags := lab.Load("full.hcl", []byte(`
lab "full" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "n" {
  on "lan" {}
  pod "p" {
    count    = `+pods+`
    networks = ["back"]
  }
}
network "back" {
  driver = "bridge"
  cidr   = "172.18.0.0/28"
}
`), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		_, diags = plan.Build(l, plan.Options{Features: plan.AllFeatures()})
		if diags.HasErrors() != full || full && (diags[0].Summary != "The network is full" || diags[0].Subject == nil) {
			t.Errorf("%s pods: %v", pods, diags)
		}
	}
}

// TestRoutesToBridges: a route that is meant for a bridge leads nowhere, and one that is meant for more is as good as without.
func TestRoutesToBridges(t *testing.T) {
	for to, bad := range map[string]bool{"172.18.0.0/28": true, "172.18.0.4/32": true, "172.16.0.0/12": false, "default": false} {
		p := bridged(t, "route {\n    to = \""+to+"\"\n    via = \"192.168.205.3\"\n  }")
		if found := p.BadRoutes(); (len(found) > 0) != bad || bad && !strings.Contains(found[0].Problem, "bridge of n1's own") && !strings.Contains(found[0].Problem, "bridge of n2's own") {
			t.Errorf("to %s: %v", to, found)
		}
	}
}
