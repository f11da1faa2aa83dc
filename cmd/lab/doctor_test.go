package main

import (
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
)

// TestDoctorFindsAll: where the kernel has everything, doctor says so.
func TestDoctorFindsAll(t *testing.T) {
	needRoot(t)
	has, err := testbed.Probe(false)
	if err != nil {
		t.Fatal(err)
	}
	for f := range plan.AllFeatures() {
		if !has[f] {
			t.Skipf("the kernel has no %s; make test-vm runs this on one that has", f)
		}
	}
	out := must(t, "doctor")
	for _, m := range modes.All {
		if !strings.Contains(out, " ✓ "+m.Name+" ") {
			t.Errorf("%s is not said to work:\n%s", m.Name, out)
		}
	}
	if strings.Contains(out, "✗") {
		t.Errorf("something is said to be missing:\n%s", out)
	}
}
