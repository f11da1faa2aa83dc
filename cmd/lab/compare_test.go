package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/compare"
)

// TestCompareWords: a definition may ask for what compare can do, and for nothing else.
func TestCompareWords(t *testing.T) {
	quoted := func(words []string) string { return `["` + strings.Join(words, `", "`) + `"]` }
	text := tiny + "compare {\n  modes = [\"host-gw\"]\n  paths = " + quoted(compare.Paths) + "\n  measures = " + quoted(compare.Measures) + "\n}\n"
	l, _, diags := lab.Load("words.hcl", []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if len(l.Compare.Paths) != len(compare.Paths) || len(l.Compare.Measures) != len(compare.Measures) {
		t.Errorf("%+v", l.Compare)
	}
}

// TestCompareGoesOn: a comparison that is killed keeps its finished rounds, leaves labs that down removes, and goes on.
func TestCompareGoesOn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file, out := filepath.Join(dir, "tiny.hcl"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte(tiny), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], append([]string{"compare"}, args...)...)
		cmd.Env = append(os.Environ(), asLab+"=1")
		return cmd
	}
	first := run(file, "--modes", "host-gw,vxlan", "--measures", "tcp-rr", "--paths", "cross-node", "--wire", "nic,bare", "--rounds", "6", "--window", "150ms", "--out", out)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	read := func() *report.Results {
		r, err := report.Read(out)
		if err != nil {
			return &report.Results{}
		}
		return r
	}
	for limit := time.Now().Add(time.Minute); read().Rounds < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("no rounds are finished")
		}
	}
	t.Logf("killed after round %d", read().Rounds)
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	all, err := testbed.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, i := range all {
		if strings.HasPrefix(i.Name, "faults-tiny-cmp") {
			left++
			must(t, "down", i.Name)
		}
	}
	if left != 3 {
		t.Errorf("%d instances were left behind, not one for each mode and the twin", left)
	}
	var text bytes.Buffer
	second := run("--resume", out)
	second.Stderr = &text
	if err := second.Run(); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	r := read()
	if r.Rounds != 6 || len(r.Passes) != 12 || len(r.Resumed) != 1 || r.Twin == nil || r.Definition == "" || r.Wires[0].Name != "nic" {
		t.Errorf("%d rounds, %d passes, resumed %v, twin %v", r.Rounds, len(r.Passes), r.Resumed, r.Twin)
	}
	ranked := 0
	for _, s := range r.Summary {
		// More than the rounds before the kill; on a busy machine a short window may be empty.
		if s.Mode == "vxlan" && s.Metric == "p50" && s.N > 2 {
			ranked++
		}
	}
	if ranked != 3 { // cross-node under two wire models, and host-host under the first
		t.Errorf("%d kinds of round trips are ranked", ranked)
	}
	for _, args := range [][]string{{"--resume", out, "--rounds", "9"}, {file, "--resume", out}, {file, "--out", out}, {"--resume", dir}, {file, "--quick", "--full"}} {
		text.Reset()
		bad := run(args...)
		bad.Stderr = &text
		if err := bad.Run(); bad.ProcessState.ExitCode() != 2 {
			t.Errorf("%v: %v\n%s", args, err, text.String())
		}
	}
	// What was recorded elsewhere does not go on here.
	path := filepath.Join(out, "results.json")
	recorded, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var other map[string]any
	if err := json.Unmarshal(recorded, &other); err != nil {
		t.Fatal(err)
	}
	other["machine"].(map[string]any)["kernel"] = "1.0"
	if recorded, err = json.Marshal(other); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, recorded, 0o644); err != nil {
		t.Fatal(err)
	}
	text.Reset()
	elsewhere := run("--resume", out)
	elsewhere.Stderr = &text
	if err := elsewhere.Run(); elsewhere.ProcessState.ExitCode() != 2 || !strings.Contains(text.String(), "begun on Linux 1.0") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// TestStrict: too few rounds to rank are the answer no.
func TestStrict(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "tiny.hcl")
	if err := os.WriteFile(file, []byte(tiny), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "compare", file, "--strict", "--quick", "--rounds", "1", "--window", "20ms", "--modes", "host-gw,vxlan",
		"--measures", "tcp-rr", "-o", "json", "--out", filepath.Join(dir, "out"))
	cmd.Env = append(os.Environ(), asLab+"=1")
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 || !strings.Contains(text.String(), "too few") {
		t.Errorf("%v\n%s", err, text.String())
	}
	var r report.Results
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Rounds != 1 || len(r.Samples) == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

// TestDiffFails: report diff --fail-on answers for CI.
func TestDiffFails(t *testing.T) {
	recorded := func(name string, vxlan float64) string {
		r, err := report.Read("../../lab/report/testdata")
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Samples {
			if s := &r.Samples[i]; s.Mode == "vxlan" && s.Unit == "µs" {
				s.Value *= vxlan
			}
		}
		dir := filepath.Join(t.TempDir(), name)
		if err := r.Save(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	before := recorded("before", 1)
	for _, tt := range []struct {
		after float64
		limit string
		code  int
		said  string
	}{
		{1, "slower:5%", 0, ""},
		{2, "slower:5%", answer, "vxlan is 100 % slower in"},
		{2, "slower:150%", 0, ""},
		{0.5, "slower:0%", 0, ""},
		{1, "slower:x%", refused, "such as slower:5%"},
		{1, "slower:5", refused, "such as slower:5%"},
		{1, "5%", refused, "such as slower:5%"},
		{1, "slower:-1%", refused, "such as slower:5%"},
		{1, "slower:NaN%", refused, "such as slower:5%"},
	} {
		code, _, said := labRun(t, "report", "diff", before, recorded("after", tt.after), "--fail-on", tt.limit)
		if code != tt.code || !strings.Contains(said, tt.said) {
			t.Errorf("%v: exit status %d\n%s", tt, code, said)
		}
	}
}
