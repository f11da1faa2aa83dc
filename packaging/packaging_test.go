// Package packaging makes what a release consists of; make dist and make install are its commands.
package packaging

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command in the checkout and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// files lists the files below a folder.
func files(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(root, path)
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestInstallAndRemove installs from the checkout and from the package, uses what is there, and removes it again.
func TestInstallAndRemove(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and what packs it")
	}
	for _, tool := range []string{"make", "dpkg", "tar", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	out := "out=" + t.TempDir()
	changelog, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	_, newest, _ := strings.Cut(string(changelog), "\n## v")
	release, _, _ := strings.Cut(newest, "\n")
	holds := func(root string) {
		t.Helper()
		if got := run(t, filepath.Join(root, "bin/lab"), "version"); !strings.HasPrefix(got, "lab v"+release) {
			t.Errorf("lab version: %q, and the changelog begins with v%s", got, release)
		}
		for _, name := range []string{"share/man/man8/lab-up.8.gz", "share/bash-completion/completions/lab", "share/zsh/site-functions/_lab", "share/fish/vendor_completions.d/lab.fish", "share/doc/lab/LICENSE"} {
			if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Size() == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}

	root := t.TempDir()
	run(t, "make", "install", out, "DESTDIR="+root, "PREFIX=/opt/lab")
	holds(filepath.Join(root, "opt/lab"))
	run(t, "make", "uninstall", out, "DESTDIR="+root, "PREFIX=/opt/lab")
	if left := files(t, root); len(left) > 0 {
		t.Errorf("uninstall leaves %v", left)
	}

	run(t, "make", "dist", out)
	folder := strings.TrimPrefix(out, "out=")
	run(t, "sh", "-euc", `cd "$0" && sha256sum -c SHA256SUMS`, folder)
	debs, _ := filepath.Glob(filepath.Join(folder, "*.deb"))
	sboms, _ := filepath.Glob(filepath.Join(folder, "*.sbom.json"))
	if len(debs) != 1 || len(sboms) != 1 {
		t.Fatalf("dist holds %v", files(t, folder))
	}
	if sbom, err := os.ReadFile(sboms[0]); err != nil || !strings.Contains(string(sbom), "github.com/vishvananda/netlink") {
		t.Errorf("the SBOM does not name netlink: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Log("not root: dpkg cannot install the package into a folder")
		return
	}
	system := t.TempDir()
	for _, dir := range []string{"info", "updates"} {
		if err := os.MkdirAll(filepath.Join(system, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(system, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dpkg := func(args ...string) { t.Helper(); run(t, "dpkg", append([]string{"--root=" + system}, args...)...) }
	dpkg("--install", debs[0])
	holds(filepath.Join(system, "usr"))
	dpkg("--purge", "lab")
	if _, err := os.Stat(filepath.Join(system, "usr")); err == nil {
		t.Errorf("dpkg leaves %v", files(t, filepath.Join(system, "usr")))
	}
}
