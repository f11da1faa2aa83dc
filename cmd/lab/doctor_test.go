package main

import (
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
)

// TestDoctorFindsAll: where the kernel has everything, doctor says so, and that nothing stands in for a device.
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
	lines := strings.Split(out, "\n")
	for _, m := range modes.All {
		datapath := plan.Kernel
		if m.Name == "udp" {
			datapath = plan.User
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return slices.Equal(strings.Fields(l), []string{"✓", m.Name, string(datapath)}) }) {
			t.Errorf("%s is not said to work by the %s datapath:\n%s", m.Name, datapath, out)
		}
	}
	if strings.Contains(out, "✗") {
		t.Errorf("something is said to be missing:\n%s", out)
	}
}
