package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	untidy = "lab \"a\" {\n  about=\"x\"\n}\n"
	tidy   = "lab \"a\" {\n  about = \"x\"\n}\n"
)

// TestFormatKeepsTheFile: whatever a file is, fmt changes its text and nothing else of it.
func TestFormatKeepsTheFile(t *testing.T) {
	write := func(t *testing.T, path string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(untidy), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, to, path string) {
		t.Helper()
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		root bool
		make func(t *testing.T, dir string) (given, file string)
	}{
		{"plain", false, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o644)
			return dir + "/a.hcl", dir + "/a.hcl"
		}},
		{"mode", false, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o620)
			return dir + "/a.hcl", dir + "/a.hcl"
		}},
		{"set-group-id", false, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o644|os.ModeSetgid)
			return dir + "/a.hcl", dir + "/a.hcl"
		}},
		{"link", false, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o644)
			link(t, "a.hcl", dir+"/b.hcl")
			return dir + "/b.hcl", dir + "/a.hcl"
		}},
		{"links into another folder", false, func(t *testing.T, dir string) (string, string) {
			if err := os.Mkdir(dir+"/there", 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/there/a.hcl", 0o640)
			link(t, "there", dir+"/folder")
			link(t, "folder/a.hcl", dir+"/b.hcl")
			link(t, dir+"/b.hcl", dir+"/c.hcl")
			return dir + "/c.hcl", dir + "/there/a.hcl"
		}},
		{"hard link", false, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o644)
			if err := os.Link(dir+"/a.hcl", dir+"/b.hcl"); err != nil {
				t.Fatal(err)
			}
			return dir + "/b.hcl", dir + "/a.hcl"
		}},
		{"owner", true, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o604)
			if err := os.Chown(dir+"/a.hcl", 1234, 4321); err != nil {
				t.Fatal(err)
			}
			return dir + "/a.hcl", dir + "/a.hcl"
		}},
		{"attributes", true, func(t *testing.T, dir string) (string, string) {
			write(t, dir+"/a.hcl", 0o644)
			if err := syscall.Setxattr(dir+"/a.hcl", "trusted.lab", []byte("x"), 0); err != nil {
				t.Skip(err)
			}
			return dir + "/a.hcl", dir + "/a.hcl"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root {
				needRoot(t)
			}
			dir := t.TempDir()
			given, file := tt.make(t, dir)
			look := func(path string) string {
				info, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				s := info.Sys().(*syscall.Stat_t)
				var list [100]byte
				n, _ := syscall.Listxattr(path, list[:])
				return fmt.Sprint(info.Mode(), s.Uid, s.Gid, s.Nlink, string(list[:max(n, 0)]))
			}
			before := look(given) + look(file)
			if out := must(t, "fmt", given); out != given+"\n" {
				t.Errorf("it says %q", out)
			}
			if after := look(given) + look(file); after != before {
				t.Errorf("it was %s and is %s", before, after)
			}
			for _, path := range []string{given, file} {
				if text, err := os.ReadFile(path); err != nil || string(text) != tidy {
					t.Errorf("%s: %v, %q", path, err, text)
				}
			}
			if left, _ := filepath.Glob(dir + "/.lab-fmt*"); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// TestFormatWhereNothingCanBeMade: in a folder that takes no new file, or where the file is mounted, it is written itself.
func TestFormatWhereNothingCanBeMade(t *testing.T) {
	needRoot(t)
	for name, prepare := range map[string]string{
		"a mounted file":                         `cp "$1" other; mount --bind other "$1"`,
		"a folder to which nothing can be added": `chmod 666 "$1"; chmod 555 .; set -- "$@" as-nobody`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
				_ = os.Chmod(d, 0o777)
			}
			file := filepath.Join(dir, "a.hcl")
			if err := os.WriteFile(file, []byte(untidy), 0o644); err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(dir, "lab")
			if text, err := os.ReadFile(os.Args[0]); err != nil || os.WriteFile(program, text, 0o755) != nil {
				t.Fatal(err)
			}
			script := `cd "$2"; ` + prepare + `; as=; [ "$3" ] && as="setpriv --reuid 65534 --regid 65534 --clear-groups"; $as "$2/lab" fmt "$1"; code=$?; cat "$1"; exit $code`
			cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", file, dir)
			cmd.Env = append(os.Environ(), asLab+"=1", "GOCOVERDIR="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), tidy) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestFormatOnFullDisk: what was there stays.
func TestFormatOnFullDisk(t *testing.T) {
	needRoot(t)
	for name, prepare := range map[string]string{"a new file": "true", "the file itself": "ln a.hcl b.hcl"} {
		t.Run(name, func(t *testing.T) {
			// Each line becomes longer, past the only page that there is for the file.
			long := "lab \"a\" {\n"
			for i := range 450 {
				long += fmt.Sprintf("a%d=1\n", i)
			}
			long += "}\n"
			given := filepath.Join(t.TempDir(), "a.hcl")
			if err := os.WriteFile(given, []byte(long), 0o644); err != nil {
				t.Fatal(err)
			}
			script := `mount -t tmpfs -o size=4k none /mnt && cd /mnt && cp "$1" a.hcl && ` + prepare + ` && "$2" fmt a.hcl; code=$?; cmp "$1" a.hcl || exit 99; ls -A | grep lab-fmt && exit 98; exit $code`
			cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", given, os.Args[0])
			cmd.Env = append(os.Environ(), asLab+"=1")
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != failed || !strings.Contains(string(out), "no space left") {
				t.Errorf("exit status %d\n%s", code, out)
			}
		})
	}
}

// TestFormatRefuses what is no file.
func TestFormatRefuses(t *testing.T) {
	dir := t.TempDir()
	_ = os.Symlink("nowhere", dir+"/dangling.hcl")
	_ = os.Mkdir(dir+"/folder.hcl", 0o755)
	for _, name := range []string{"dangling.hcl", "folder.hcl", "missing.hcl"} {
		if code, _, stderr := labRun(t, "fmt", dir+"/"+name); code != refused || !strings.Contains(stderr, name) {
			t.Errorf("%s: exit status %d, %s", name, code, stderr)
		}
	}
	cmd := exec.Command(os.Args[0], "fmt", "/dev/stdin")
	cmd.Env, cmd.Stdin = append(os.Environ(), asLab+"=1"), strings.NewReader(untidy)
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("a pipe was rewritten: %s", out)
	}
	if info, err := os.Lstat("/dev/stdin"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("/dev/stdin: %v, %v", info, err)
	}
}
