package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
)

// offered is what a shell would offer, which leaves out what does not begin as what is typed.
func offered(out, typed string) []string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return slices.DeleteFunc(lines[:len(lines)-1], func(l string) bool { return !strings.HasPrefix(l, typed) }) // the last one is a directive
}

func complete(t *testing.T, args ...string) []string {
	t.Helper()
	return offered(must(t, append([]string{"__complete"}, args...)...), args[len(args)-1])
}

func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

const variants = tiny + `
mode "vxlan-direct" {
  use    = "vxlan"
  direct = true
}
mode "vxlan" {}
`

// TestCompleteModes: the variants of the definition, whichever it is, also while it is being written.
func TestCompleteModes(t *testing.T) {
	inFolder(t, map[string]string{"only.hcl": variants})
	for _, verb := range []string{"up", "plan", "validate"} {
		for _, args := range [][]string{{"--mode"}, {"only.hcl", "--mode"}} {
			got := complete(t, append(append([]string{verb}, args...), "vx")...)
			if !slices.Equal(got, []string{"vxlan", "vxlan-direct"}) {
				t.Errorf("%s %s: %q", verb, args, got)
			}
		}
		if got := complete(t, verb, "-", "--mode", "vx"); !slices.Equal(got, []string{"vxlan"}) {
			t.Errorf("of standard input: %q", got)
		}
	}
	for typed, want := range map[string][]string{
		"vx": {"vxlan", "vxlan-direct"}, "host-gw,vx": {"host-gw,vxlan", "host-gw,vxlan-direct"}, "vxlan,vx": {"vxlan,vxlan-direct"},
		"host-gw,": nil, "nonsense": {},
	} {
		got := complete(t, "compare", "--modes", typed)
		if want != nil && !slices.Equal(got, want) || want == nil && (!slices.Contains(got, "host-gw,vxlan-direct") || slices.Contains(got, "host-gw,host-gw")) {
			t.Errorf("--modes %s: %q", typed, got)
		}
	}
	if got := complete(t, "compare", "--paths", "cross-node,same"); !slices.Equal(got, []string{"cross-node,same-node"}) {
		t.Errorf("--paths: %q", got)
	}
	for what, text := range map[string]string{"unfinished": variants + "\nnode \"x\" {\n  on \"l", "wrong": variants + "\nnode \"x\" { on \"nowhere\" {} }\n"} {
		inFolder(t, map[string]string{"only.hcl": text})
		if got := complete(t, "up", "--mode", "vxlan-"); !slices.Equal(got, []string{"vxlan-direct"}) {
			t.Errorf("%s: %q", what, got)
		}
	}
	inFolder(t, map[string]string{"a.hcl": variants, "b.hcl": tiny})
	if got := complete(t, "up", "--mode", "vx"); !slices.Equal(got, []string{"vxlan"}) {
		t.Errorf("which of two definitions is not known, and yet %q", got)
	}
	if got := complete(t, "up", "--proxy", ""); !slices.Equal(got, lab.Proxies) {
		t.Errorf("up --proxy: %q", got)
	}
	if got := complete(t, "up", "a.hcl", "--mode", "vx"); !slices.Equal(got, []string{"vxlan", "vxlan-direct"}) {
		t.Errorf("the named of two: %q", got)
	}
}

// TestCompleteShippedVariants: a lab that ships with the program is a definition as any other.
func TestCompleteShippedVariants(t *testing.T) {
	inFolder(t, nil)
	tried := 0
	for _, name := range completedLabs(t) {
		ch := choice{}
		for _, mode := range ch.variants([]string{name}) {
			if !slices.Contains(complete(t, "up", name, "--mode", ""), mode) {
				t.Errorf("%s: %s is not offered", name, mode)
			}
			if code, _, stderr := labRun(t, "validate", name, "--mode", mode); strings.Contains(stderr, "Unknown mode") {
				t.Errorf("%s: %s is offered, and unknown (%d): %s", name, mode, code, stderr)
			}
			tried++
		}
	}
	if tried < 50 {
		t.Errorf("%d modes", tried)
	}
}

func completedLabs(t *testing.T) []string {
	t.Helper()
	names := complete(t, "up", "")
	if !slices.Contains(names, "three-node") {
		t.Fatalf("%q", names)
	}
	return names
}

// TestCompleteTargets: of what runs, of one lab, and where nothing runs of the only definition; with and without root.
func TestCompleteTargets(t *testing.T) {
	want := []string{"n1", "n1/p1", "n2", "n2/p1"}
	inFolder(t, map[string]string{"only.hcl": tiny})
	if len(complete(t, "status", "--name", "")) == 0 {
		for _, verb := range []string{"exec", "shell"} {
			if got := complete(t, verb, ""); !slices.Equal(got, want) {
				t.Errorf("%s, of the definition: %q", verb, got)
			}
		}
	}
	needRoot(t)
	inFolder(t, nil)
	file := tinyFile(t)
	const blue, green = "faults-blue", "faults-green"
	other := strings.ReplaceAll(tiny, `node "n"`, `node "m"`)
	must(t, "up", file, "--name", blue)
	t.Cleanup(func() { must(t, "down", blue) })
	otherFile := filepath.Join(t.TempDir(), "other.hcl")
	if err := os.WriteFile(otherFile, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "up", otherFile, "--name", green)
	t.Cleanup(func() { must(t, "down", green) })
	anybody := func(args ...string) []string {
		cmd := exec.Command("setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps", "-all", os.Args[0], "__complete"}, args...)...)
		cmd.Env = append(os.Environ(), asLab+"=1")
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("%v: this test binary is where nobody can run it", err)
		}
		return offered(string(out), args[len(args)-1])
	}
	for who, complete := range map[string]func(...string) []string{"root": func(args ...string) []string { return complete(t, args...) }, "anybody": anybody} {
		if got := complete("exec", "-l", blue, ""); !slices.Equal(got, want) {
			t.Errorf("%s: of one lab: %q", who, got)
		}
		if got := complete("shell", "-l", green, "m1"); !slices.Equal(got, []string{"m1", "m1/p1"}) {
			t.Errorf("%s: of the other: %q", who, got)
		}
		got := complete("exec", "")
		for _, target := range append([]string{"m1", "m2/p1"}, want...) {
			if !slices.Contains(got, target) {
				t.Errorf("%s: %s is not among %q", who, target, got)
			}
		}
		if slices.Contains(got, "lan") {
			t.Errorf("%s: a switch is no target: %q", who, got)
		}
		if got := complete("status", green, ""); !slices.Equal(got, []string{"m1", "m1/p1", "m2", "m2/p1"}) {
			t.Errorf("%s: status, of the other: %q", who, got)
		}
		for _, args := range [][]string{{"exec", "-l"}, {"shell", "--lab"}, {"down", "--name"}, {"status", "--name"}, {"check", "--name"}, {"up", "--name"}, {"down"}, {"status"}, {"check"}, {"graph"}} {
			got := complete(append(args, "faults-")...)
			if !slices.Contains(got, blue) || !slices.Contains(got, green) {
				t.Errorf("%s: %s: %q", who, args, got)
			}
		}
	}
}
