package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFollowThePluginGuide does what docs/cni.md tells its reader to: a plugin in bash, a lab for it, checked, followed and
// compared.
func TestFollowThePluginGuide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	text, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	page, _, _ := strings.Cut(string(text), "## Settings")
	block := func(kind string) string {
		t.Helper()
		m := regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(page, -1)
		if len(m) != 1 {
			t.Fatalf("the page has %d blocks of %s", len(m), kind)
		}
		return m[0][1]
	}
	dir := t.TempDir()
	here := strings.NewReplacer("/tmp/mycni", dir, `lab "mycni"`, `lab "faults-mycni"`)
	for name, text := range map[string]string{"routed": block("bash"), "lab.hcl": block("hcl")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(here.Replace(text)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { labRun(t, "down", "faults-mycni") }) // which a command of the page does, where none fails
	typed := 0
	for line := range strings.Lines(block("sh")) {
		words := strings.Fields(here.Replace(line))
		for i, w := range words {
			if w == "mycni" {
				words[i] = "faults-mycni"
			}
		}
		if words[1] == "compare" {
			words = append(words, "--rounds", "1", "--window", "20ms")
		}
		cmd := exec.Command(self, words[1:]...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), asLab+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		if words[1] == "check" && !strings.Contains(string(out), "does what it promises") {
			t.Errorf("%s", out)
		}
		typed++
	}
	if typed != 6 {
		t.Errorf("%d commands were typed", typed)
	}

	// What the page says of a definition of somebody else's, and of a plugin that forgets a route.
	lab := func(args ...string) (string, error) {
		cmd := exec.Command(self, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), asLab+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	file := filepath.Join(dir, "lab.hcl")
	if err := os.Chown(file, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"up", "compare"} {
		if out, err := lab(verb, file); err == nil || !strings.Contains(out, "CNI plugin of the nodes  "+filepath.Join(dir, "routed")) || !strings.Contains(out, "nothing was built") {
			t.Errorf("%s of a definition that is somebody else's: %v\n%s", verb, err, out)
		}
	}
	plugin := filepath.Join(dir, "routed")
	forgetful := strings.Replace(here.Replace(block("bash")), "  ip route add $base.$n dev veth$n\n", "", 1)
	if err := os.WriteFile(plugin, []byte(forgetful), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := lab("up", file, "--allow-commands"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := lab("check", "faults-mycni"); err == nil || !strings.Contains(out, "does not arrive") && !strings.Contains(out, "route") {
		t.Errorf("a check of a plugin that forgets a route: %v\n%s", err, out)
	}
	if out, err := lab("down", "faults-mycni"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
