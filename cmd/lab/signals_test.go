package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

// child is lab in a process of its own.
type child struct {
	*exec.Cmd
	stderr string // the file of it
	done   chan error
}

func (c *child) said() string {
	text, _ := os.ReadFile(c.stderr)
	return string(text)
}

func begin(t *testing.T, args ...string) *child {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := &child{Cmd: again(asLab+"=1", args...), stderr: file.Name(), done: make(chan error, 1)}
	c.Stderr = file
	heedHangup(t)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.Wait() }()
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// heedHangup has children begin with the hangup as it usually is. Where the tests run with it ignored, as under nohup, lab and
// whatever else would rightly ignore it too.
func heedHangup(t testing.TB) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
}

// ends waits until the child is finished, which must say that it was interrupted.
func (c *child) ends(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(within):
		t.Fatalf("%s goes on after %s", c, within)
	}
	if code := c.ProcessState.ExitCode(); code != failed {
		t.Errorf("%s: exit status %d, not %d", c, code, failed)
	}
	if text := c.said(); !strings.Contains(text, "interrupted") || strings.Contains(text, "context canceled") {
		t.Errorf("%s says:\n%s", c, text)
	}
}

// named counts the namespaces whose name begins so.
func named(prefix string) int {
	found, _ := filepath.Glob(filepath.Join(testbed.NetnsDir, prefix+"*"))
	return len(found)
}

// until waits for something that does happen.
func until(t *testing.T, what string, happens func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !happens(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

var endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// TestFirstBuildIsRemoved interrupts a first build in its middle, in every way in which lab can be ended but one.
func TestFirstBuildIsRemoved(t *testing.T) {
	needRoot(t)
	const name = "faults-signals"
	for _, signal := range endings {
		t.Run(signal.String(), func(t *testing.T) {
			for {
				c := begin(t, "up", "scale", "--var", "nodes=40", "--name", name)
				until(t, "a namespace", func() bool { return named(name+".") > 0 })
				_ = c.Process.Signal(syscall.SIGSTOP)
				if named(name+".") < 400 { // it stands still before it is through
					_ = c.Process.Signal(signal)
					_ = c.Process.Signal(syscall.SIGCONT)
					c.ends(t, time.Minute)
					break
				}
				_ = c.Process.Signal(syscall.SIGCONT)
				<-c.done
				must(t, "down", name)
			}
			if left := leftovers(t, name); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
	t.Run("closed pipe", func(t *testing.T) {
		unread(t, "up", "scale", "--var", "nodes=40", "--name", name, "-v")
		if left := leftovers(t, name); len(left) > 0 {
			t.Errorf("left behind: %s", left)
		}
	})
}

// unread runs lab with a reader of what it says that goes away after the first line.
func unread(t *testing.T, args ...string) {
	t.Helper()
	cmd := again(asLab+"=1", args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stderr).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != failed {
		t.Errorf("lab %s: exit status %d, not %d", strings.Join(args, " "), code, failed)
	}
}

// TestComparisonIsRemoved interrupts a comparison while its instances stand.
func TestComparisonIsRemoved(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	const private = "faults-tiny-cmp"
	for _, signal := range endings[1:] {
		t.Run(signal.String(), func(t *testing.T) {
			c := begin(t, "compare", file, "--modes", "host-gw,vxlan", "--quick", "--out", t.TempDir())
			until(t, "an instance", func() bool { return named(private) > 8 })
			_ = c.Process.Signal(signal)
			c.ends(t, time.Minute)
			if n := named(private); n > 0 {
				t.Errorf("%d namespaces are left behind", n)
			}
		})
	}
	t.Run("closed pipe", func(t *testing.T) {
		unread(t, "compare", file, "--modes", "host-gw,vxlan", "--quick", "--out", t.TempDir())
		if n := named(private); n > 0 {
			t.Errorf("%d namespaces are left behind", n)
		}
	})
}

// TestWaitingEnds: whatever lab waits for, it stops waiting.
func TestWaitingEnds(t *testing.T) {
	t.Run("for standard input", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		cmd := again(asLab+"=1", "validate", "-")
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = r, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString("lab"); err != nil {
			t.Fatal(err)
		}
		until(t, "reading", func() bool {
			left, err := unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ)
			return err == nil && left == 0
		})
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != failed || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("exit status %d: %s", code, stderr.String())
		}
	})
	t.Run("for the lock", func(t *testing.T) {
		needRoot(t)
		file := tinyFile(t)
		const name = "faults-wait"
		must(t, "up", file, "--name", name)
		defer must(t, "down", name)
		lock, err := testbed.Acquire(t.Context(), name, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range [][]string{{"down", name}, {"up", file, "--name", name, "--mode", "vxlan"}} {
			c := begin(t, verb...)
			until(t, "waiting", func() bool { return strings.Contains(c.said(), "waiting for it") })
			_ = c.Process.Signal(os.Interrupt)
			c.ends(t, time.Minute)
		}
		lock.Release()
	})
}

// panicking panics when it is read.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("read me") }

// TestInternalError: a panic is one line that says what to report, and a status that promises nothing.
func TestInternalError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"validate", "-"}, panicking{}, &stdout, &stderr); code != broken {
		t.Errorf("exit status %d, not %d", code, broken)
	}
	for _, want := range []string{"internal error: read me", "report it", "lab validate -", "panicking"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is missing from:\n%s", want, stderr.String())
		}
	}
}

// TestInternalErrorIsRolledBack: what a first build had made before a panic is removed.
func TestInternalErrorIsRolledBack(t *testing.T) {
	needRoot(t)
	const name = "faults-panic"
	c := &command{in: strings.NewReader(""), out: &output{Writer: io.Discard}, err: &output{Writer: io.Discard}, format: "text"}
	s, err := c.find(tinyFile(t), choice{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := features("up", false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.build(s, choice{instance: name}, f)
	if err != nil {
		t.Fatal(err)
	}
	left := 20
	_, err = testbed.Up(t.Context(), p, s.record(p), testbed.Watch{Changes: func([]plan.Change) func(plan.Change) {
		return func(plan.Change) {
			if left--; left == 0 {
				panic("in the middle")
			}
		}
	}})
	if fault := (testbed.Fault{}); !errors.As(err, &fault) || !strings.Contains(err.Error(), "has been removed") {
		t.Errorf("%v", err)
	}
	if left := leftovers(t, name); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}
