package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/hostile"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
	"labnet/testbed"
)

// TestHostileLabsStand builds some of the definitions with a wrong value in them that are right all the same: what validate
// accepts can be built, and is then what was planned.
func TestHostileLabsStand(t *testing.T) {
	needRoot(t)
	f, err := features("up", false)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hostile.hcl")
	built := 0
	for _, name := range labs.Names() {
		if name == "scale" {
			continue // a hundred nodes that are as those of the others
		}
		src, _ := labs.Read(name)
		for m := range hostile.Mutants(name, src) {
			if !m.Sampled(229) {
				continue
			}
			l, _, diags := lab.Load(m.Name, m.Text, lab.Inputs{})
			if diags.HasErrors() || len(l.Machines) > 30 {
				continue
			}
			p, _ := plan.Build(l, plan.Options{Modes: modes.All, Features: f})
			if p == nil {
				continue
			}
			if _, err := testbed.Plugins(p.State); err != nil {
				continue // which there are only the machine can say
			}
			built++
			instance := fmt.Sprintf("faults-hostile%d", built)
			if err := os.WriteFile(file, m.Text, 0o644); err != nil {
				t.Fatal(err)
			}
			switch code, _, stderr := labRun(t, "up", file, "--name", instance); {
			case code == failed && strings.Contains(stderr, "plugin ") && strings.Contains(stderr, "what was built has been removed"):
				continue // what a plugin makes of its configuration only it can say
			case code == refused && strings.Contains(stderr, "Program cannot be started"):
				continue // which programs there are only the machine can say
			case code != 0:
				t.Errorf("%s: up: exit status %d\n%s", m.Name, code, stderr)
			}
			if code, changes, stderr := labRun(t, "plan", file, "--name", instance, "--exit-code"); code != 0 && !strings.Contains(changes, " CHECK for ") { // nor what CHECK then thinks of it
				t.Errorf("%s: plan after up: exit status %d\n%s%s", m.Name, code, changes, stderr)
			}
			must(t, "down", instance)
		}
	}
	t.Logf("%d labs built", built)
	if built < 4 {
		t.Error("too few to mean anything")
	}
}
