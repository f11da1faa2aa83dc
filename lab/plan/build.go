package plan

import (
	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Options says how a lab is to be planned.
type Options struct {
	Instance string // name of the instance; empty: the lab's own
	Mode     string // overrides the network's mode
	Modes    Modes
	Features Features
}

// Plan is a lab in one mode: what it wants the kernel to be, and what is then to be expected.
type Plan struct {
	Cluster  *Cluster
	ModeName string // as asked for: the variant's name
	Mode     Mode   // nil where the lab has no pod network
	State    *State
}

// Build plans a lab. It reports everything that is wrong, and then returns no plan.
func Build(l *lab.Lab, opt Options) (*Plan, hcl.Diagnostics) {
	panic("in the next commit")
}

// Expect says what becomes of packets between two endpoints of one family.
func (p *Plan) Expect(from, to Endpoint) Expectation {
	panic("in the next commit")
}
