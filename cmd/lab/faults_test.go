package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/holder"
	"labnet/testbed/suite"
)

// The test binary is also lab itself, so that it can be killed, and a lab that kills itself after a given change.
const (
	asLab  = "LAB_TEST_AS_LAB"
	dieEnv = "LAB_TEST_DIE_AFTER"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{testbed.EnterArg, testbed.PluginArg, testbed.AgentArg, supervise.ContainArg, supervise.JoinArg, holder.HoldArg, holder.WithinArg}, os.Args[1]) {
		os.Exit(suite.Main(m, ""))
	}
	if os.Getenv(asLab) != "" {
		holder.Tie()
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if after := os.Getenv(dieEnv); after != "" {
		n, _ := strconv.Atoi(after)
		dieAfter(n, os.Args[1], os.Args[2], os.Args[3])
	}
	os.Exit(suite.Main(m, "faults-"))
}

const tiny = `
lab "faults-tiny" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 2
  on "lan" {}
  pods = 1
}
network "pods" { cidr = "10.9.0.0/16" }
`

// serving has programs, what answers, and services beside.
const serving = `
lab "faults-serving" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 2
  on "lan" {}
  pod "web" {
    serve = ["tcp/8080"]
    container "app" { command = ["sleep", "98765"] }
    container "job" {
      command = ["sh", "-c", "sleep 98765 & wait"]
      user    = "nobody"
    }
  }
  process "daemon" { command = ["sleep", "98765"] }
}
network "pods" { cidr = "10.9.0.0/16" }
services { cidr = "10.96.0.0/24" }
service "web" {
  selector = { pod = "web" }
  port "http" {
    port   = 80
    target = 8080
  }
}
`

// dieAfter does what "lab up" does and is killed, as by kill -9, after the nth change.
func dieAfter(n int, file, instance, mode string) {
	c := &command{in: os.Stdin, out: &output{Writer: os.Stdout}, err: &output{Writer: os.Stderr}, format: "text"}
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	s, err := c.find(file, choice{})
	die(err)
	f, err := features("up", false)
	die(err)
	p, err := c.build(s, choice{instance: instance, mode: mode}, f)
	die(err)
	killer := testbed.Watch{Changes: func([]plan.Change) func(plan.Change) {
		return func(plan.Change) {
			if n--; n == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}}
	_, err = testbed.Up(context.Background(), p, s.record(p), killer)
	die(err)
	os.Exit(0)
}

func again(env string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), env)
	return cmd
}

// labRun runs lab in this process.
func labRun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := labRun(t, args...)
	if code != 0 {
		t.Fatalf("lab %s: exit status %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
}

func tinyFile(t *testing.T) string { return labFile(t, tiny) }

func labFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lab.hcl")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestKilledAfterEveryChange kills a first build and a change of mode after each of their changes. Then, in turn, down
// removes everything or up completes it.
func TestKilledAfterEveryChange(t *testing.T) {
	needRoot(t)
	const name = "faults-every"
	for _, tt := range []struct {
		what, text, from, to string
		step                 int
	}{
		{"a first build", tiny, "", "vxlan", 1},
		{"a change of mode", tiny, "host-gw", "vxlan", 1},
		{"a change back", tiny, "vxlan", "host-gw", 1},
		{"agents come", tiny, "host-gw", "udp", 1},
		{"agents go", tiny, "udp", "vxlan", 1},
		{"programs come", serving, "", "vxlan", 7},
	} {
		t.Run(tt.what, func(t *testing.T) {
			file := labFile(t, tt.text)
			step := tt.step
			if suite.Soaked {
				step = 1
			}
			for n := 1; ; n += step {
				if tt.from != "" {
					must(t, "up", file, "--name", name, "--mode", tt.from)
				}
				out, err := again(dieEnv+"="+strconv.Itoa(n), file, name, tt.to).CombinedOutput()
				finished := err == nil
				if !finished && !strings.Contains(err.Error(), "killed") {
					t.Fatalf("after %d changes: %v\n%s", n, err, out)
				}
				if n%2 == 0 {
					must(t, "up", file, "--name", name, "--mode", tt.to)
					if code, plan, _ := labRun(t, "plan", file, "--name", name, "--mode", tt.to, "--exit-code"); code != 0 {
						t.Fatalf("killed after %d changes, up did not complete it:\n%s", n, plan)
					}
				}
				must(t, "down", name)
				if left := leftovers(t, name); len(left) > 0 {
					t.Fatalf("killed after %d changes, down left %s", n, left)
				}
				if finished {
					t.Logf("at most %d changes", n-1)
					return
				}
			}
		})
	}
}

func leftovers(t *testing.T, name string) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{testbed.NetnsDir + "/" + name + "*", "/run/lab/" + name + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	for range 100 { // one that was only just started finds out by itself
		out, _ := exec.Command("pgrep", "-f", "("+testbed.AgentArg+"|"+supervise.ContainArg+") "+name+"|sleep 98765").Output()
		if len(out) == 0 {
			return left
		}
		time.Sleep(100 * time.Millisecond)
	}
	return append(left, "an agent or a program")
}

// TestKilledAtAnyMoment kills up, a change of mode and down at random moments, between changes and within them.
func TestKilledAtAnyMoment(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	const name = "faults-moment"
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 45 {
		var args []string
		switch i % 3 {
		case 0:
			args = []string{"up", file, "--name", name}
		case 1:
			must(t, "up", file, "--name", name, "--mode", "host-gw")
			args = []string{"up", file, "--name", name, "--mode", []string{"vxlan", "udp"}[i%2]}
		case 2:
			must(t, "up", file, "--name", name)
			args = []string{"down", name}
		}
		cmd := again(asLab+"=1", args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(random.IntN(90)) * time.Millisecond
		time.Sleep(delay)
		cmd.Process.Kill()
		cmd.Wait()
		if i%2 == 0 {
			must(t, "up", file, "--name", name)
			if code, plan, _ := labRun(t, "plan", file, "--name", name, "--exit-code"); code != 0 {
				t.Fatalf("%v killed after %v, up did not complete it:\n%s", args, delay, plan)
			}
		}
		must(t, "down", name)
		if left := leftovers(t, name); len(left) > 0 {
			t.Fatalf("%v killed after %v, down left %s", args, delay, left)
		}
	}
}

// TestUpsAtOnce: two of one lab do not corrupt it, whichever comes first.
func TestUpsAtOnce(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	const name = "faults-once"
	t.Cleanup(func() { must(t, "down", name) })
	var all []*exec.Cmd
	for _, mode := range []string{"vxlan", "host-gw", "vxlan"} {
		cmd := again(asLab+"=1", "up", file, "--name", name, "--mode", mode)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	must(t, "up", file, "--name", name, "--mode", "vxlan")
	if code, plan, _ := labRun(t, "plan", file, "--name", name, "--mode", "vxlan", "--exit-code"); code != 0 {
		t.Errorf("the lab is not what was asked for last:\n%s", plan)
	}
}

// TestInterrupted: Ctrl-C in a first build removes what was built.
func TestInterrupted(t *testing.T) {
	needRoot(t)
	const name = "faults-interrupt"
	var stderr bytes.Buffer
	for nodes := 30; ; nodes *= 2 {
		cmd := again(asLab+"=1", "up", "scale", "--var", fmt.Sprintf("nodes=%d", nodes), "--name", name)
		stderr.Reset()
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for begun := []string(nil); len(begun) <= 3; time.Sleep(time.Millisecond) {
			begun, _ = filepath.Glob(filepath.Join(testbed.NetnsDir, name+".*"))
		}
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			break
		}
		must(t, "down", name) // it was done before it could be interrupted
		if nodes > 100 {
			t.Fatalf("nobody interrupts the building of %d nodes", nodes)
		}
	}
	if !strings.Contains(stderr.String(), "removed") {
		t.Errorf("it does not say that what was built is gone: %s", stderr.String())
	}
	if left := leftovers(t, name); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// TestNamespaceOfOthers: one that is not ours is never touched.
func TestNamespaceOfOthers(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	const name = "faults-others"
	ns := name + ".n1"
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	code, _, stderr := labRun(t, "up", file, "--name", name)
	if code != failed || !strings.Contains(stderr, ns) || !strings.Contains(stderr, "ip netns del") {
		t.Errorf("exit status %d, and no word of what to do: %s", code, stderr)
	}
	must(t, "down", name)
	if _, err := os.Stat(filepath.Join(testbed.NetnsDir, ns)); err != nil {
		t.Errorf("down removed a namespace that was not its own: %v", err)
	}
	if left := leftovers(t, name); len(left) != 1 {
		t.Errorf("half-made: %s", left)
	}
}

// TestFullRun: with a full /run there is one line about it, and nothing is made.
func TestFullRun(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	for _, room := range []string{"size=4k,nr_inodes=1", "size=4k,nr_inodes=5"} {
		t.Run(room, func(t *testing.T) {
			// In mounts of its own, so that the machine's /run stays as it is.
			script := `mount -t tmpfs -o "$1" none /run && shift && "$@"; code=$?; find /run -type f -o -mindepth 2 -type d; exit $code`
			cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", room, os.Args[0], "up", file, "--name", "faults-full")
			cmd.Env = append(os.Environ(), asLab+"=1")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if err == nil || cmd.ProcessState.ExitCode() != failed {
				t.Errorf("%v, not exit status %d", err, failed)
			}
			if !strings.Contains(stderr.String(), "no space left on device") || strings.Contains(stderr.String(), "goroutine") {
				t.Errorf("not a clear word about it: %s", stderr.String())
			}
			if left := strings.TrimSpace(stdout.String()); left != "" {
				t.Errorf("left behind:\n%s", left)
			}
		})
	}
}
