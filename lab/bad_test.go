package lab_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

var update = flag.Bool("update", false, "write the golden files")

// Each file in testdata/bad is wrong in its own way; what is said about it is beside it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".hcl")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			l, sources, diags := lab.Load(name+".hcl", src, lab.Inputs{})
			if !diags.HasErrors() || l != nil {
				t.Error("the file was accepted")
			}
			golden(t, strings.TrimSuffix(path, ".hcl")+".txt", print(t, sources, diags))
		})
	}
}

func print(t *testing.T, sources lab.Files, diags hcl.Diagnostics) string {
	t.Helper()
	var text strings.Builder
	if err := sources.Print(&text, diags, 100, false); err != nil {
		t.Fatal(err)
	}
	// What an excerpt ends with is the file's, trailing blanks in a golden file are an accident.
	lines := strings.Split(text.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
