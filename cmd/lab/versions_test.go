package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed"
)

// TestLabsOfOtherVersions: a lab that another version of the program has made is seen, entered, converted and removed.
// testdata/versions keeps the record of a definition and the alias of a namespace as each release has written them, and as
// one to come might.
func TestLabsOfOtherVersions(t *testing.T) {
	needRoot(t)
	versions, err := os.ReadDir("testdata/versions")
	if err != nil || len(versions) == 0 {
		t.Fatal("no version is kept", err)
	}
	for _, v := range versions {
		t.Run(v.Name(), func(t *testing.T) {
			dir := filepath.Join("testdata/versions", v.Name())
			text, err := os.ReadFile(filepath.Join(dir, "record.json"))
			if err != nil {
				t.Fatal(err)
			}
			alias, err := os.ReadFile(filepath.Join(dir, "alias"))
			if err != nil {
				t.Fatal(err)
			}
			var r struct{ Instance, Source string }
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "versions.hcl")
			if err := os.WriteFile(file, []byte(r.Source), 0o644); err != nil {
				t.Fatal(err)
			}
			name := r.Instance
			if !strings.HasPrefix(name, "faults-") {
				t.Fatalf("%s is no lab of this test", name)
			}
			must(t, "up", file, "--name", name, "--mode", "vxlan")
			t.Cleanup(func() { must(t, "down", name) })
			age(t, name, string(text), strings.TrimSpace(string(alias)))

			if list := must(t, "ls"); !strings.Contains(list, name) {
				t.Errorf("ls does not know it:\n%s", list)
			}
			if s := must(t, "status", name); !strings.Contains(s, "mode vxlan") || strings.Contains(s, "unknown") {
				t.Errorf("status:\n%s", s)
			}
			if out := must(t, "exec", "-l", name, "n1/p1", "--", "getent", "hosts", "p1.n2"); !strings.HasPrefix(out, "10.9.") {
				t.Errorf("exec: %s", out)
			}
			must(t, "up", file, "--name", name, "--mode", "vxlan")
			if code, changes, _ := labRun(t, "plan", file, "--name", name, "--mode", "vxlan", "--exit-code"); code != 0 {
				t.Errorf("up has not converted it:\n%s", changes)
			}
			age(t, name, string(text), strings.TrimSpace(string(alias)))
			must(t, "down", name)
			if left := leftovers(t, name); len(left) > 0 {
				t.Errorf("down leaves %s", left)
			}
		})
	}
}

// age makes a running lab one that another version has made.
func age(t *testing.T, name, record, alias string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/run/lab", name, "definition.json"), []byte(record), 0o644); err != nil {
		t.Fatal(err)
	}
	all, err := testbed.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Name != name {
			continue
		}
		for _, o := range i.Machines {
			ns := name + "." + strings.ReplaceAll(o.Machine, "/", ".")
			own := strings.NewReplacer("LAB", o.Lab, "MACHINE", o.Machine, "ROLE", o.Role).Replace(alias)
			if was, ok := plan.ParseOwner(own); !ok || was != o {
				t.Fatalf("%q is read as %+v, not %+v", own, was, o)
			}
			if out, err := exec.Command("ip", "-n", ns, "link", "set", "lo", "alias", own).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
}
