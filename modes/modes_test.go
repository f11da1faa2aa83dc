package modes

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// small keeps the golden files of labs that are made to be big readable.
var small = map[string]map[string]string{"scale": {"nodes": "3", "pods": "2"}}

func TestEveryModeIsListed(t *testing.T) {
	folders, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range folders {
		if f.IsDir() && f.Name() != "internal" {
			want = append(want, f.Name())
		}
	}
	var got []string
	for _, name := range All.Names() {
		got = append(got, strings.ReplaceAll(name, "-", ""))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modes.All and the folders differ:\n%s", diff)
	}
}

// TestGoldenPlans holds the whole plan of every shipped lab in every mode against what was reviewed.
func TestGoldenPlans(t *testing.T) {
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{Vars: small[name]})
		if diags.HasErrors() {
			t.Fatalf("%s: %v", name, diags)
		}
		names := All.Names()
		for _, b := range l.Modes {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
		for _, mode := range names {
			t.Run(name+"/"+mode, func(t *testing.T) {
				p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()})
				if diags.HasErrors() {
					t.Fatal(diags)
				}
				var lines []string
				for _, o := range p.State.Objects() {
					lines = append(lines, o.Add()...)
				}
				golden(t, filepath.Join("..", "labs", "golden", name+"."+mode+".txt"), strings.Join(lines, "\n")+"\n")
			})
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./modes -update writes it anew):\n%s", file, diff)
	}
}
