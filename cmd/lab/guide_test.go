package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const guide = "../../docs/adding-a-mode.md"

// TestGuideIsTrue follows the guide: its code becomes a program with one mode more, and what the guide then types works.
func TestGuideIsTrue(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var code, line string
	var commands []string
	for rest := string(text); ; {
		_, after, ok := strings.Cut(rest, "\n```")
		if !ok {
			break
		}
		language, after, _ := strings.Cut(after, "\n")
		block, after, _ := strings.Cut(after, "\n```")
		switch {
		case language == "go" && strings.HasPrefix(block, "\t{Name"):
			line = block
		case language == "go":
			code += block + "\n\n"
		case language == "sh":
			commands = strings.Split(block, "\n")
		}
		rest = after
	}
	if line == "" || len(commands) < 5 {
		t.Fatalf("the guide has no line for the list of modes, or nothing to type: %q, %q", line, commands)
	}
	list, err := os.ReadFile("../../modes/modes.go")
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(list), "\t\"labnet/modes/udp\"\n", "\t\"labnet/modes/podroutes\"\n\t\"labnet/modes/udp\"\n", 1)
	more = strings.Replace(more, "\t{Name: \"vxlan\"", line+"\n\t{Name: \"vxlan\"", 1)
	dir := t.TempDir()
	mode := strings.TrimRight(code, "\n") + "\n"
	program := buildWith(t, dir, map[string]string{"modes/podroutes/podroutes.go": mode, "modes/modes.go": more})
	formatted := exec.Command("gofmt", "-l", filepath.Join(dir, "modes/podroutes/podroutes.go"))
	if out, err := formatted.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the guide's code is not formatted: %v %s", err, out)
	}
	needRoot(t)
	// Its labs have a name of their own, among those that the tests look for when they end.
	three, err := os.ReadFile("../../labs/three-node.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "guide.hcl"), []byte(strings.Replace(string(three), `lab "three-node"`, `lab "faults-guide"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, c := range commands {
		words := strings.Fields(strings.TrimPrefix(c, "sudo "))
		if words[0] != "bin/lab" {
			continue // make lab
		}
		for i, w := range words {
			if w == "three-node" {
				words[i] = "guide.hcl"
			}
		}
		if words[1] == "compare" {
			words = append(words, "--rounds", "1", "--window", "20ms")
		}
		cmd := exec.Command(program, words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", c, err, out)
		}
		typed++
	}
	if typed != len(commands)-1 {
		t.Errorf("%d of %d commands were typed", typed, len(commands)-1)
	}
	bad := filepath.Join(dir, "bad.hcl")
	if err := os.WriteFile(bad, []byte(tiny+"mode \"pod-routes\" {\n  metric = 5000\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "plan", bad, "--mode", "pod-routes").CombinedOutput(); err == nil || !strings.Contains(string(out), "Metric out of range") {
		t.Errorf("a metric out of range: %v\n%s", err, out)
	}
}

// buildWith builds the program with some files other than they are, or new, and returns its path below dir.
func buildWith(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	for path, text := range files {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, path)] = file
	}
	replace, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), replace, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "bin", "lab")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "labnet/cmd/lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
