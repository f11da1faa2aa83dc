package modes

import (
	"net/netip"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestNoRouteIsConnected: no route of a plan is one that an address brings along. Writing it would take the place of that one,
// and what the kernel made would be missed. It happens where a node has the whole pod network for itself.
func TestNoRouteIsConnected(t *testing.T) {
	const src = `
lab "alone" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "n" {
  on "lan" {}
  pod_cidr = "10.42.0.0/16"
  pods     = 2
}
network "pods" { cidr = "10.42.0.0/16" }
`
	l, _, diags := lab.Load("alone.hcl", []byte(src), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	tried := 0
	for _, mode := range All.Names() {
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()})
		if p == nil {
			t.Logf("%s: %v", mode, diags)
			continue
		}
		tried++
		type prefix struct {
			namespace string
			of        netip.Prefix
		}
		connected := map[prefix]bool{}
		p.State.Each(func(o plan.Object) {
			if a, ok := o.(plan.Address); ok && !a.NoPrefixRoute {
				connected[prefix{a.Namespace, a.Prefix.Masked()}] = true
			}
		})
		p.State.Each(func(o plan.Object) {
			if r, ok := o.(plan.Route); ok && r.Table == plan.TableMain && r.Metric == 0 && connected[prefix{r.Namespace, r.Dst}] {
				t.Errorf("%s: %s", mode, strings.Join(r.Add(), "; "))
			}
		})
	}
	if tried < 4 {
		t.Errorf("only %d modes can be planned", tried)
	}
}
