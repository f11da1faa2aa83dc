package faults

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of docs/drills.md anew")

// TestDocs holds the list of docs/drills.md against the faults.
func TestDocs(t *testing.T) {
	const path, begin, end = "../docs/drills.md", "<!-- the list -->\n", "<!-- its end -->\n"
	var list strings.Builder
	for level := 1; level <= 3; level++ {
		fmt.Fprintf(&list, "\n### Level %d\n\n| drill | teaches | modes |\n|---|---|---|\n", level)
		for _, f := range All {
			if f.Level == level {
				fmt.Fprintf(&list, "| `%s` | %s | %s |\n", f.Name, f.Teach, strings.Join(f.Modes, ", "))
			}
		}
	}
	list.WriteString("\n")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the list", path)
	}
	want := before + begin + list.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s is out of date: make update", path)
	}
}
