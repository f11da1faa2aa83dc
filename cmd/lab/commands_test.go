package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const programs = `
lab "faults-programs" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  on "lan" {}
  pod "p1" {
    container "app" {
      command = ["perl", "-MIO::Socket::INET", "-e", "$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5) or die; while ($c = $s->accept) { print $c qq(HTTP/1.0 200 OK\r\n\r\napp\n); close $c }"]
      ready   = "tcp/8080"
    }
  }
  process "job" {
    command = ["sh", "-c", "echo the job; ls -A /run; sleep 98758"]
    restart = "never"
  }
}
network "pods" { cidr = "10.9.0.0/16" }
`

// ranPrograms is what a user sees of the programs of a lab that is up.
func ranPrograms(t *testing.T, lab func(args ...string) string) {
	t.Helper()
	const name = "faults-programs"
	if text := lab("status", name); !strings.Contains(text, "app of n/p1: running, process ") || !strings.Contains(text, "job of n: running, process ") {
		t.Errorf("status says:\n%s", text)
	}
	if text := lab("logs", "n:job", "-l", name); text != "the job\n" {
		t.Errorf("the job says %q", text)
	}
	if text := lab("exec", "-l", name, "n/p1:app", "--", "sh", "-c", "ls -d /proc/[0-9]*; echo $LAB_TARGET"); strings.Count(text, "/proc/") > 5 || !strings.HasSuffix(text, "n/p1\n") {
		t.Errorf("beside the container it says %q", text)
	}
	if text := lab("exec", "-l", name, "n", "--", "perl", "-MIO::Socket::INET", "-e", `$s = IO::Socket::INET->new(PeerAddr => "10.9.0.2", PeerPort => 8080) or die; print $s "GET / HTTP/1.0\r\n\r\n"; print <$s>`); !strings.HasSuffix(text, "app\n") {
		t.Errorf("the container answers %q", text)
	}
}

// TestPrograms: up waits until a container listens, status and logs tell of it, exec goes beside it with its exit status.
func TestPrograms(t *testing.T) {
	needRoot(t)
	const name = "faults-programs"
	file := filepath.Join(t.TempDir(), "programs.hcl")
	if err := os.WriteFile(file, []byte(programs), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "up", file)
	t.Cleanup(func() { must(t, "down", name) })
	ranPrograms(t, func(args ...string) string { return must(t, args...) })
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"n/p1:app", "--", "sh", "-c", "exit 7"}, 7},
		{[]string{"n/p1:app", "--", "no-such-program"}, 127},
		{[]string{"n/p1:nobody", "--", "true"}, refused},
		{[]string{"n:app", "--", "true"}, refused},
	} {
		if code, _, stderr := labRun(t, append([]string{"exec", "-l", name}, c.args...)...); code != c.code {
			t.Errorf("exec %v: exit status %d, want %d\n%s", c.args, code, c.code, stderr)
		}
	}
}

// TestProgramsMissing: what the machine lacks is said with its place, and nothing is built.
func TestProgramsMissing(t *testing.T) {
	needRoot(t)
	file := filepath.Join(t.TempDir(), "missing.hcl")
	text := strings.NewReplacer(`"perl"`, `"no-such-program"`, `["sh"`, `["/tmp/hidden"`, `ready   = "tcp/8080"`, "user = \"no-such-user\"\ncapabilities = [\"NO_SUCH\"]").Replace(programs)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := labRun(t, "up", file)
	for _, want := range []string{`no program "no-such-program"`, "line 8", "has that folder for itself"} {
		if !strings.Contains(strings.Join(strings.Fields(stderr), " "), want) {
			t.Errorf("it does not say %q:\n%s", want, stderr)
		}
	}
	if code != refused {
		t.Errorf("exit status %d", code)
	}
	text = strings.NewReplacer(`"no-such-program"`, `"perl"`, "/tmp/hidden", "sh").Replace(text)
	for _, want := range []string{`no user "no-such-user"`, "no capability NO_SUCH"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := labRun(t, "up", file); code != refused || !strings.Contains(strings.Join(strings.Fields(stderr), " "), want) {
			t.Errorf("exit status %d, and it does not say %q:\n%s", code, want, stderr)
		}
		text = strings.Replace(text, `user = "no-such-user"`, "", 1)
	}
	if _, err := os.Stat("/run/lab/faults-programs"); err == nil {
		t.Error("something was built")
	}
}

// TestProgramsOfOthers: a definition that is not the caller's runs nothing before he has said so.
func TestProgramsOfOthers(t *testing.T) {
	needRoot(t)
	const name = "faults-programs"
	t.Setenv("SUDO_UID", "")
	file := filepath.Join(t.TempDir(), "others.hcl")
	if err := os.WriteFile(file, []byte(programs), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := labRun(t, "up", file)
	if code != refused || !strings.Contains(stderr, "--allow-commands") || !strings.Contains(stderr, "n:job  sh -c echo the job") {
		t.Errorf("exit status %d:\n%s", code, stderr)
	}
	t.Cleanup(func() { must(t, "down", name) })
	must(t, "up", file, "--allow-commands")
	must(t, "down", name)
	t.Setenv("SUDO_UID", "12345")
	must(t, "up", file)
}

// TestRootlessPrograms: they run without root as well.
func TestRootlessPrograms(t *testing.T) {
	s := asSomebody(t)
	file := filepath.Join(s.home, "programs.hcl")
	if err := os.WriteFile(file, []byte(programs), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, s.id, s.id); err != nil {
		t.Fatal(err)
	}
	s.must("up", file)
	ranPrograms(t, func(args ...string) string { return s.must(args...) })
	s.must("down", "faults-programs")
}
