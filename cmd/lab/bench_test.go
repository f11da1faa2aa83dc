package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labnet/lab/report"
)

// TestBench measures a lab that stands, also one that was changed by hand, and leaves it as it was.
func TestBench(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "tiny.hcl")
	if err := os.WriteFile(file, []byte(tiny), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "up", file, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", file) })
	lab := func(args ...string) (out, said string, code int) {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), asLab+"=1")
		var o, e bytes.Buffer
		cmd.Stdout, cmd.Stderr = &o, &e
		_ = cmd.Run()
		return o.String(), e.String(), cmd.ProcessState.ExitCode()
	}
	bench := func(args ...string) *report.Results {
		out, said, code := lab(append([]string{"bench", "--rounds", "1", "--window", "30ms", "-o", "json"}, args...)...)
		var r report.Results
		if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
			t.Fatalf("status %d, %v\n%s", code, err, said)
		}
		return &r
	}
	r := bench("--measures", "tcp-rr,udp-rr", "--from", "n1/p1", "--to", "n2", "--out", filepath.Join(dir, "one"))
	if len(r.Modes) != 1 || r.Modes[0] != "vxlan" || r.Twin != nil || len(r.Endpoints) != 1 || r.Endpoints[0].From != "n1/p1" || r.Endpoints[0].To != "n2" {
		t.Errorf("modes %v, ends %+v", r.Modes, r.Endpoints)
	}
	for _, measure := range []string{"tcp-rr", "udp-rr"} {
		if !slices.ContainsFunc(r.Samples, func(s report.Sample) bool { return s.Measure == measure && s.Path == r.Endpoints[0].Path }) {
			t.Errorf("%s gave nothing", measure)
		}
	}
	if len(r.Proof) != 1 || !r.Proof[0].OK || len(r.Checks) != 1 || !r.Checks[0].OK {
		t.Errorf("%+v, %+v", r.Proof, r.Checks)
	}
	// Past the tunnel: it is measured all the same, and said.
	for _, name := range []string{"faults-tiny.n1", "faults-tiny.n2"} {
		if out, err := exec.Command("ip", "-n", name, "link", "set", "flannel.1", "mtu", "1400").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	r = bench("--measures", "tcp-rr", "--paths", "cross-node", "--out", filepath.Join(dir, "two"))
	if len(r.Checks) != 1 || r.Checks[0].OK || len(r.Samples) == 0 {
		t.Errorf("%+v, %d samples", r.Checks, len(r.Samples))
	}
	if out, err := exec.Command("ip", "-n", "faults-tiny.n1", "-o", "link", "show", "flannel.1").CombinedOutput(); err != nil || !strings.Contains(string(out), "mtu 1400") {
		t.Errorf("the lab was changed: %s, %v", out, err)
	}
	for _, args := range [][]string{
		{"--from", "n1"}, {"--from", "n1", "--to", "n1"}, {"--from", "n1", "--to", "nobody"}, {"--from", "n1", "--to", "n2", "--paths", "cross-node"},
		{"--measures", "lifecycle"}, {"--measures", "nothing"}, {"--out", filepath.Join(dir, "two")},
	} {
		if _, said, code := lab(append([]string{"bench"}, args...)...); code != 2 {
			t.Errorf("%v: status %d\n%s", args, code, said)
		}
	}
}
