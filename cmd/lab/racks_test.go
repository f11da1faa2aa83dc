package main

import (
	"strings"
	"testing"
)

// TestRacks: a lab in Terraform's idiom comes up, is what it says, and grows with its data.
func TestRacks(t *testing.T) {
	needRoot(t)
	const name = "faults-racks"
	t.Cleanup(func() { labRun(t, "down", name) })
	for _, racks := range []string{`{ a = {}, b = { nodes = 1 } }`, `{ a = { nodes = 1 }, b = { nodes = 1, mtu = 1400 }, c = {} }`} {
		must(t, "up", "racks", "--name", name, "--var", "racks="+racks)
		must(t, "plan", "racks", "--name", name, "--var", "racks="+racks, "--exit-code")
		must(t, "check", name)
	}
	if out := must(t, "status", name); !strings.Contains(out, "subnets = {\n    a = \"10.1.0.0/24\"\n    b = \"10.1.1.0/24\"\n    c = \"10.1.2.0/24\"\n  }") {
		t.Errorf("the outputs are not in\n%s", out)
	}
	code, _, stderr := labRun(t, "validate", "racks", "--var", "racks={ a = { nodes = 0 } }")
	if code != refused || !strings.Contains(stderr, "A rack has 1 to 100 nodes. The condition is at racks.hcl") {
		t.Errorf("what the lab forbids: exit status %d\n%s", code, stderr)
	}
}
