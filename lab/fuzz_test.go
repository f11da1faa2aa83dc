package lab_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"labnet/lab"
	"labnet/labs"
)

// FuzzLoad holds the promise that no text makes Load or Format panic, hang, or return neither a Lab nor a reason.
func FuzzLoad(f *testing.F) {
	for _, name := range labs.Names() {
		src, _ := labs.Read(name)
		f.Add(src)
	}
	files, _ := filepath.Glob("testdata/*/*.hcl")
	for _, path := range files {
		if base := filepath.Base(path); base == "work.hcl" || base == "large-values.hcl" {
			continue // a second each, which TestMistakes spends on them already
		}
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		l, sources, diags := lab.Load("fuzz.hcl", src, lab.Inputs{Environ: []string{"LAB_VAR_pods=3"}})
		if (l == nil) != diags.HasErrors() {
			t.Fatalf("a Lab and errors, or neither: %v, %v", l, diags)
		}
		print(t, sources, diags)
		for _, d := range diags {
			if d.Summary == "" || d.Detail == "" {
				t.Errorf("a diagnostic that says nothing: %#v", d)
			}
		}
		if l != nil {
			consistent(t, l)
		}
		once, diags := lab.Format("fuzz.hcl", src)
		if !diags.HasErrors() {
			if _, diags := lab.Format("fuzz.hcl", once); diags.HasErrors() {
				t.Errorf("formatting broke the file: %v", diags)
			}
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

// consistent checks what everybody who is handed a Lab relies on.
func consistent(t *testing.T, l *lab.Lab) {
	t.Helper()
	names := map[string]bool{}
	addresses := map[string]bool{}
	for _, m := range l.Machines {
		if names[m.Name] || len(m.Interfaces) == 0 {
			t.Errorf("%s: a second one, or without an interface", m.Name)
		}
		names[m.Name] = true
		for _, i := range m.Interfaces {
			if len(i.Addresses) != len(i.Segment().Subnets()) {
				t.Errorf("%s %s: %v for %v", m.Name, i.Name, i.Addresses, i.Segment().Subnets())
			}
			for n, a := range i.Addresses {
				if addresses[a.String()] || a.Masked() != i.Segment().Subnets()[n] {
					t.Errorf("%s %s: %s twice, or not of %s", m.Name, i.Name, a, i.Segment().Subnets()[n])
				}
				addresses[a.String()] = true
			}
		}
	}
}
