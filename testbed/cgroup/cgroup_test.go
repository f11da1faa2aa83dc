package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asUser is the part of a test that a process plays which is not root.
const asUser = "LAB_CGROUP_AS"

const nobody = 65534

// user starts this test as somebody else, in a cgroup where one is given.
func user(t *testing.T, part, in string) string {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe") // its folder may be root's alone
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "cgroup")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "-test.run", "^TestUser$")
	cmd.Dir, cmd.Env = "/", []string{asUser + "=" + part, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if in != "" {
		f, err := (&Group{in}).Open()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestUser plays the parts of others.
func TestUser(t *testing.T) {
	switch os.Getenv(asUser) {
	case "has":
		has, err := Has()
		t.Logf("has %v: %v", has, err)
		if !errors.Is(err, ErrRefused) && !errors.Is(err, os.ErrNotExist) {
			t.Error("it is not refused")
		}
	case "runs":
		g, err := Make("mine", "n/a:app", Limits{Memory: 8 << 20, PIDs: 7})
		if err != nil {
			t.Fatal(err)
		}
		f, err := g.Open()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "98765")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	case "removes":
		if err := Remove("mine"); err != nil {
			t.Error(err)
		}
	}
}

// TestRefused: who may make no cgroup is told so.
func TestRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	user(t, "has", "")
}

// TestDelegated: a user to whom a part of the hierarchy was given limits programs there, and removes what is left of them from
// wherever it is.
func TestDelegated(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if has, _ := Has(); !slices.Contains(has, Memory) || !slices.Contains(has, PIDs) {
		t.Skip("the machine passes no controllers on")
	}
	given := filepath.Join(Mount(), "given-by-test")
	shell, tree := filepath.Join(given, "shell"), filepath.Join(given, "lab-mine")
	defer func() { _ = errors.Join(unlink(shell), unlink(given)) }()
	for _, dir := range []string{given, shell} {
		err := os.Mkdir(dir, 0o755)
		for _, file := range []string{".", "cgroup.procs", "cgroup.subtree_control"} {
			err = errors.Join(err, os.Chown(filepath.Join(dir, file), nobody, nobody))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := write(given, "cgroup.subtree_control", "+memory +pids"); err != nil {
		t.Fatal(err)
	}
	user(t, "runs", shell)
	for file, want := range map[string]string{"memory.max": "8388608", "memory.swap.max": "0", "pids.max": "7", "pids.current": "1"} {
		if got, err := os.ReadFile(filepath.Join(tree, "n.a:app", file)); strings.TrimSpace(string(got)) != want && !(file == "memory.swap.max" && os.IsNotExist(err)) {
			t.Errorf("%s is %q: %v", file, got, err)
		}
	}
	if err := Remove("mine"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(tree); err != nil {
		t.Error("root's Remove took another's: ", err)
	}
	user(t, "removes", "")
	for until := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(tree); os.IsNotExist(err) {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it is left")
		}
	}
}
