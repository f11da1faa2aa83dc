package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var pieces = map[string]string{
	"net.hcl": "lab \"faults-folder\" {\n  about = file(\"about.txt\")\n}\n\nswitch \"lan\" { subnet = local.lan }\n",
	"nodes.hcl": "node \"n\" {\n  count = var.nodes\n  on \"lan\" {}\n  pods = 1\n}\n\nnetwork \"pods\" { cidr = \"10.9.0.0/16\" }\n\n" +
		"mode \"mine\" { use = \"vxlan\" }\n",
	"vars.hcl":    "\ufeffvariable \"nodes\" { default = 2 }\n\nlocals {\n  lan = \"192.0.2.0/24\"\n}\n",
	"about.txt":   "in three files",
	".hidden.hcl": "nonsense",
	"notes.md":    "# notes",
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.MkdirAll(filepath.Join(dir, "more.hcl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFolder: a folder that is named is one lab, wherever a file can be; a folder that is not named never is.
func TestFolder(t *testing.T) {
	with := func(name, text string) string {
		files := map[string]string{name: text}
		for k, v := range pieces {
			if k != name {
				files[k] = v
			}
		}
		return folder(t, files)
	}
	dir := folder(t, pieces)
	if out := must(t, "validate", dir); !strings.Contains(out, "lab faults-folder in mode host-gw") || !strings.Contains(out, "machines 2") {
		t.Errorf("validate says %s", out)
	}
	if code, out, _ := labRun(t, "fmt", "--check", dir); code != answer || out != filepath.Join(dir, "vars.hcl")+"\n" { // it has a byte order mark
		t.Errorf("fmt --check: exit status %d\n%s", code, out)
	}
	for _, tt := range []struct {
		name string
		dir  string
		want []string
	}{
		{"a mistake has its file", with("vars.hcl", "variable \"nodes\" { default = 2 }\nlocals {\n  lan = \"192.0.2.7/24\"\n}\n"), []string{"net.hcl line 5", "Host bits set"}},
		{"syntax", with("vars.hcl", "variable \"nodes\" {"), []string{"vars.hcl line 1"}},
		{"twice", with("other.hcl", "lab \"other\" {}\n\nnetwork \"pods\" { cidr = \"10.8.0.0/16\" }\n"), []string{"Second lab block", "Second pod network", "nodes.hcl:7", "other.hcl line 1"}},
		{"an attribute", with("other.hcl", "about = 1\n"), []string{"other.hcl line 1", "Unknown attribute"}},
		{"JSON", with("other.hcl.json", "{}"), []string{"other.hcl.json", "JSON syntax is not read"}},
		{"none", folder(t, nil), []string{"no *.hcl file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := labRun(t, "validate", tt.dir)
			if code != refused {
				t.Errorf("exit status %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("nothing of %q in\n%s", want, stderr)
				}
			}
		})
	}
	t.Chdir(dir)
	if code, _, stderr := labRun(t, "validate"); code != refused || !strings.Contains(stderr, "or . for all of them") {
		t.Errorf("a folder that is not named: exit status %d\n%s", code, stderr)
	}
	must(t, "validate", ".")
	if out := must(t, "__complete", "up", ".", "--mode", ""); !strings.Contains(out, "mine\n") {
		t.Errorf("the variants of a folder are not completed:\n%s", out)
	}
	t.Chdir(filepath.Dir(dir))
	if err := os.Mkdir("three-node", 0o755); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "validate", "three-node"); !strings.Contains(out, "lab three-node") {
		t.Errorf("a folder without definitions hides a shipped lab: %s", out)
	}
}

// TestFolderRuns: what runs of a folder is found again by the folder and by its name, also when the files are gone.
func TestFolderRuns(t *testing.T) {
	needRoot(t)
	dir := folder(t, pieces)
	t.Cleanup(func() { labRun(t, "down", "faults-folder") })
	must(t, "up", dir)
	must(t, "plan", dir, "--exit-code")
	must(t, "check", dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "status", "faults-folder"); strings.Contains(out, "rift") {
		t.Errorf("status without the files:\n%s", out)
	}
	must(t, "check", "faults-folder")
	dir = folder(t, pieces)
	must(t, "down", dir)
}
