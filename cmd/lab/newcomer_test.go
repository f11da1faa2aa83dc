package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"labnet/testbed/suite"
)

// TestNewcomer goes the README's way as an ordinary user: from a fresh clone, with nothing compiled, by all that the README
// types but the comparison, to the first drill that is solved. It says how long that took. Most of it is compiling, so that only LAB_SOAK=1 does it.
func TestNewcomer(t *testing.T) {
	if !suite.Soaked {
		t.Skip("LAB_SOAK=1 compiles everything anew")
	}
	s := asSomebody(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(s.home, "lab")
	for _, words := range [][]string{
		{"git", "clone", "-q", "../..", tree},
		{"go", "-C", tree, "mod", "vendor"}, // what the network would bring
		{"chown", "-R", "1000:1000", tree},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", words, err, out)
		}
	}
	enter := func(line string) (code int, out string) {
		cmd := s.program("bash", "-c", "shopt -s expand_aliases\nalias lab=\"$PWD/bin/lab\"\n"+line)
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "HOME="+s.home, "GOCACHE="+filepath.Join(s.home, "cache"), "XDG_RUNTIME_DIR=")
		both, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(both)
	}
	start, typed := time.Now(), 0
	for _, block := range regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)^```$").FindAllStringSubmatch(string(readme), -1) {
		for line := range strings.Lines(block[2]) {
			if block[1] == "console" {
				var ok bool
				if line, ok = strings.CutPrefix(line, "$ "); !ok {
					continue
				}
			}
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "alias") || strings.Contains(line, "mine.hcl") || strings.Contains(line, "compare") {
				continue
			}
			code, out := enter(line)
			if code != 0 && code != answer {
				t.Fatalf("%s: exit status %d\n%s", line, code, out)
			}
			typed++
		}
	}
	var said struct{ Solution []string }
	_, out := enter("bin/lab drill reveal -o json 2>/dev/null")
	if err := json.Unmarshal([]byte(out), &said); err != nil || len(said.Solution) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, line := range said.Solution {
		if code, out := enter("lab exec -- " + line); code != 0 {
			t.Fatalf("%s: exit status %d\n%s", line, code, out)
		}
	}
	code, out := enter("lab drill check")
	if code != 0 || !strings.Contains(out, "Solved") {
		t.Errorf("exit status %d\n%s", code, out)
	}
	t.Logf("%d commands of the README, and a drill solved, in %s", typed, time.Since(start).Round(time.Second))
	enter("lab down --all")
}
