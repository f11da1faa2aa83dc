package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Args[0] == guestInit { // the test is the program that the guest starts with
		guest()
	}
	os.Exit(m.Run())
}

func needVM(t *testing.T) {
	t.Helper()
	if err := equipped(); err != nil {
		t.Skip(err)
	}
}

func TestGuestRunsProgram(t *testing.T) {
	needVM(t)
	t.Setenv("GREETING", "hello")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))

	var out bytes.Buffer
	script := `printf '%s\n' "$GREETING" "$LAB_VM" "$(cat file)" "$(id -u)"; echo "the guest's" > file; cat file
ip link add n0 type bridge vlan_filtering 1 && ip link add link n0 name n0.5 type vlan id 5 && uname -r; exit 7`
	code, err := run(t.Context(), 3*time.Minute, "1G", []string{"sh", "-c", script}, &out)
	if err != nil || code != 7 {
		t.Errorf("exit status %d, %v; not 7", code, err)
	}
	k, err := kernel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := "hello\n1\nthe host's\n0\nthe guest's\n" + filepath.Base(k.modules) + "\n"; out.String() != want {
		t.Errorf("the guest printed\n%s\nnot\n%s", out.String(), want)
	}
	if text, _ := os.ReadFile(file); string(text) != "the host's" {
		t.Errorf("the guest changed a file of the host to %q", text)
	}
}

func TestGuestHasNoSuchProgram(t *testing.T) {
	needVM(t)
	var out bytes.Buffer
	code, err := run(t.Context(), 3*time.Minute, "1G", []string{"no-such-program"}, &out)
	if err != nil || code != failed || !strings.Contains(out.String(), "no-such-program") {
		t.Errorf("exit status %d, %v, output %q", code, err, out.String())
	}
}

func TestGuestTakesTooLong(t *testing.T) {
	needVM(t)
	_, err := run(t.Context(), 100*time.Millisecond, "1G", []string{"sleep", "1000"}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "sleep did not finish within 100ms") {
		t.Error(err)
	}
}

func TestPackagesAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := equipped()
	if err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends qemu-system-x86 ") {
		t.Error(err)
	}
}
