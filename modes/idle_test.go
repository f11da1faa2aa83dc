package modes

import (
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
)

// TestIdle: a comparison's instances have neither responders nor programs, and differ from a lab's by nothing else.
func TestIdle(t *testing.T) {
	text, _ := labs.Read("services")
	l, _, diags := lab.Load("services.hcl", text, lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	l.Machines[0].Processes = []*lab.Process{{Name: "x", Command: []string{"true"}}}
	state := func(idle bool) *plan.State {
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures(), Idle: idle})
		if p == nil {
			t.Fatal(diags)
		}
		return p.State
	}
	changes := plan.Diff(state(true), state(false))
	for _, c := range changes {
		if c.Op != plan.Create || c.Object.Key().Kind != plan.KindAgent {
			t.Errorf("they differ by %v", c.Lines())
		}
	}
	if len(changes) != 3 {
		t.Errorf("%d agents, not two responders and a supervisor", len(changes))
	}
}
