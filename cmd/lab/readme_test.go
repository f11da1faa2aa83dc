package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// varying is what differs from run to run, and the number of changes, from machine to machine.
var varying = regexp.MustCompile(`(?m)\d+\.\d+ ?s\b|\(\d+\)$|\d+ changes`)

// TestReadmeShowsWhatIsSaid types what the README types, into a lab of another name, and looks for what it shows: these lines,
// in this order, with nothing between them but where it has "…".
func TestReadmeShowsWhatIsSaid(t *testing.T) {
	needRoot(t)
	const name = "faults-doc" // as long as three-node
	t.Cleanup(func() { labRun(t, "down", name) })
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	type typed struct {
		line  string
		shown []string
	}
	var all []typed
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, typed{line: command})
			} else {
				last := &all[len(all)-1]
				last.shown = append(last.shown, strings.ReplaceAll(line, "three-node", name))
			}
		}
	}
	build := func(mode string) string { return must(t, "up", "three-node", "--name", name, "--mode", mode) }
	for _, c := range all {
		var said string
		command, _, _ := strings.Cut(c.line, "  #")
		switch words := strings.Fields(command); {
		case c.line == "make lab up":
			_, stdout, stderr := labRun(t, "up", "three-node", "--name", name)
			said = stderr + stdout + must(t, "status", name)
			build("host-gw") // which the README does before it breaks it
		case strings.HasSuffix(c.line, "compare"), strings.HasSuffix(c.line, "mine.hcl"):
			continue // held against the recorded run, and against what is said of mistakes
		case words[1] == "up":
			said = build("host-gw")
		default:
			for i := range words {
				words[i] = strings.ReplaceAll(words[i], "three-node", name)
			}
			code, stdout, stderr := labRun(t, words[1:]...)
			if said = stdout + stderr; code != 0 && (code != answer || words[1] != "check") {
				t.Fatalf("%s: exit status %d\n%s", c.line, code, said)
			}
		}
		shows(t, c.line, c.shown, said)
	}
}

// shows says which line is not there.
func shows(t *testing.T, command string, shown []string, said string) {
	t.Helper()
	lines := strings.Split(varying.ReplaceAllString(said, "T"), "\n")
	gap := false
	for _, want := range shown {
		if want == "…" {
			gap = true
			continue
		}
		i := slices.Index(lines, varying.ReplaceAllString(want, "T"))
		if i < 0 || i > 0 && !gap {
			t.Errorf("%s does not show, where the README does: %s\n%s", command, want, said)
			return
		}
		lines, gap = lines[i+1:], false
	}
}
