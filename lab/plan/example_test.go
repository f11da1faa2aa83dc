package plan_test

import (
	"fmt"
	"strings"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
)

const twoNodes = `
lab "two" {}

switch "lan" { subnet = "192.168.1.0/24" }

node "n" {
  count = 2
  on "lan" {}
  pods = 1
}

network "pods" { cidr = "10.42.0.0/16" }
`

// A lab and a mode become the state that the kernel should have. The difference between two states is a list of changes.
func ExampleBuild() {
	l, _, diags := lab.Load("two.hcl", []byte(twoNodes), lab.Inputs{})
	if diags.HasErrors() {
		fmt.Println(diags)
		return
	}
	build := func(mode string) *plan.Plan {
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			fmt.Println(diags)
		}
		return p
	}
	routes := func(changes []plan.Change) {
		for _, c := range changes {
			for _, line := range c.Lines() {
				if strings.HasPrefix(line, "ip -n two.n1 route") {
					fmt.Println(line)
				}
			}
		}
	}
	hostGW := build("host-gw").State
	routes(plan.Diff(&plan.State{}, hostGW))
	fmt.Println("to vxlan:")
	routes(plan.Diff(hostGW, build("vxlan").State))
	// Output:
	// ip -n two.n1 route replace 10.42.1.0/24 via 192.168.1.3 dev eth0
	// to vxlan:
	// ip -n two.n1 route replace 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink
}
