package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/holder"
)

// somebody is a user who is not root. He needs no name.
type somebody struct {
	t    testing.TB
	id   int
	self string // the program, where he can run it
	home string // a folder that is his alone, and where he works
}

const somebodysID = 1000

// asSomebody makes a user of the tests, or skips where no user may have namespaces of his own.
func asSomebody(t testing.TB) *somebody { return asUser(t, somebodysID) }

func asUser(t testing.TB, id int) *somebody {
	t.Helper()
	needRoot(t)
	heedHangup(t)
	dir, err := os.MkdirTemp("", "lab-somebody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &somebody{t: t, id: id, self: filepath.Join(dir, "lab"), home: filepath.Join(dir, "home")}
	program, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(s.self, program, 0o755)
	}
	if err == nil {
		err = os.Mkdir(s.home, 0o700)
	}
	if err == nil {
		err = os.Chown(s.home, id, id)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	var says doctorSays
	_, out, stderr := s.run("doctor", "-o", "json")
	if err := json.Unmarshal([]byte(out), &says); err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if !says.UserNamespace {
		t.Skipf("no namespaces for users here: %s", says.Modes[0].Remedy)
	}
	t.Cleanup(func() {
		if code, _, stderr := s.run("down", "--all"); code != 0 {
			t.Error(stderr)
		}
		s.awaitNobody()
	})
	return s
}

// command is lab as he calls it.
func (s *somebody) command(args ...string) *exec.Cmd { return s.program(s.self, args...) }

// program is one that he runs. He may open /dev/net/tun, as with most distributions.
func (s *somebody) program(name string, args ...string) *exec.Cmd {
	script := `mount -t tmpfs lab /mnt && mknod -m 666 /mnt/tun c 10 200 && mount --bind /mnt/tun /dev/net/tun
		exec setpriv --reuid ` + strconv.Itoa(s.id) + ` --regid ` + strconv.Itoa(s.id) + ` --clear-groups --bounding-set -all "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh", name}, args...)...)
	cmd.Dir = s.home
	cmd.Env = append(os.Environ(), asLab+"=1", "XDG_RUNTIME_DIR=", "SUDO_UID=0")
	return cmd
}

func (s *somebody) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	cmd := s.command(args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		s.t.Fatal(e)
	}
	code = cmd.ProcessState.ExitCode()
	if how := cmd.ProcessState.Sys().(syscall.WaitStatus); how.Signaled() {
		code = 128 + int(how.Signal())
	}
	return code, out.String(), err.String()
}

func (s *somebody) must(args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.run(args...)
	if code != 0 {
		s.t.Fatalf("lab %s: exit status %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// processes are those of his with a word among their arguments, by what the machine says.
func (s *somebody) processes(word string) []int {
	var all []int
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		line, _ := os.ReadFile(path)
		if words := strings.Split(string(line), "\x00"); words[0] == s.self && slices.Contains(words, word) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			all = append(all, pid)
		}
	}
	return all
}

// awaitNobody waits for the end of all that is his.
func (s *somebody) awaitNobody() {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, word := range []string{holder.HoldArg, testbed.AgentArg, holder.WithinArg} {
		for left := s.processes(word); len(left) > 0; left = s.processes(word) {
			if time.Now().After(deadline) {
				s.t.Fatalf("still there: %s, processes %d", word, left)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestRootlessModes: every mode that needs nothing of root's does what it promises without root, and the others say what
// they need. Nothing of it is visible outside.
func TestRootlessModes(t *testing.T) {
	s := asSomebody(t)
	var says doctorSays
	if err := json.Unmarshal([]byte(s.must("doctor", "-o", "json")), &says); err != nil {
		t.Fatal(err)
	}
	if says.Root {
		t.Error("doctor takes him for root")
	}
	s.awaitNobody() // a look around leaves nothing
	works := map[string]string{}
	for _, m := range says.Modes {
		works[m.Mode] = m.State
	}
	before := leftovers(t, "")
	built := 0
	for _, mode := range modes.All.Names() {
		file := "three-node"
		if mode == "cni" {
			file = "cni-bridge"
		}
		code, _, stderr := s.run("up", file, "--mode", mode)
		if works[mode] != "works" {
			if code != refused || strings.Contains(stderr, "goroutine") {
				t.Errorf("%s, which doctor does not promise: exit status %d\n%s", mode, code, stderr)
			}
			continue
		}
		built++
		if code != 0 || !strings.Contains(stderr, "without root") {
			t.Fatalf("%s: exit status %d\n%s", mode, code, stderr)
		}
		if code, out, stderr := s.run("check", file); code != 0 {
			t.Errorf("%s: exit status %d\n%s%s", mode, code, out, stderr)
		}
		s.must("plan", file, "--mode", mode, "--exit-code")
		if out := s.must("status", file); !strings.Contains(out, "mode "+mode) || strings.Contains(out, "Drift") {
			t.Error(out)
		}
	}
	if built < 3 {
		t.Errorf("only %d modes were built; doctor says %v", built, works)
	}
	if pids := s.processes(holder.HoldArg); len(pids) != 1 {
		t.Errorf("%d holders", len(pids))
	}
	if out := leftovers(t, ""); !slices.Equal(before, out) {
		t.Errorf("to be seen outside: %s", out)
	}
	s.must("down", "--all")
	s.awaitNobody()
}

// TestRootlessNeedsEBPF: what cannot be had without root is refused with that reason, and nothing of modules.
func TestRootlessNeedsEBPF(t *testing.T) {
	s := asSomebody(t)
	var says doctorSays
	if err := json.Unmarshal([]byte(s.must("doctor", "-o", "json")), &says); err != nil {
		t.Fatal(err)
	}
	if says.Features[plan.FeatureIPIP] || !says.Features[plan.BPFRefused] {
		t.Skip("this kernel has IP in IP of its own, or no ifb, or lets users load eBPF")
	}
	code, _, stderr := s.run("up", "flannel-ipip")
	if code != refused || !strings.Contains(stderr, "bpf() is refused") || !strings.Contains(stderr, "run lab as root") || strings.Contains(stderr, "modprobe") {
		t.Errorf("exit status %d\n%s", code, stderr)
	}
}

// TestRootlessTrace: a packet is followed by packet sockets; of tracepoints it is said what they take. The holder ends all the same.
func TestRootlessTrace(t *testing.T) {
	s := asSomebody(t)
	s.must("up", "three-node", "--mode", "host-gw")
	if out := s.must("trace", "master/p1", "worker1/p1", "-o", "json"); !strings.Contains(out, `"backend": "packet"`) || !strings.Contains(out, `"verdict": "As predicted"`) {
		t.Error(out)
	}
	if code, out, stderr := s.run("trace", "master/p1", "worker1/p1", "--backend", "tracepoint"); code != failed || !strings.Contains(stderr, "tracepoints need root") || !strings.Contains(stderr, "sudo lab trace") {
		t.Errorf("exit status %d\n%s%s", code, out, stderr)
	}
	if out := s.must("graph", "three-node", "--format", "mermaid"); !strings.Contains(out, "worker1") {
		t.Error(out)
	}
	s.must("down", "three-node")
	s.awaitNobody()
}

// TestRootlessCulprit: a check names what is to blame from the kernel's tables, also for who is not root.
func TestRootlessCulprit(t *testing.T) {
	s := asSomebody(t)
	s.must("up", "three-node", "--mode", "host-gw")
	s.must("exec", "--", "ip", "-n", "three-node.lan", "link", "set", "worker1", "down")
	code, out, stderr := s.run("check", "three-node", "-o", "json")
	var says struct {
		Culprits []struct{ Machine, Device, Command string }
	}
	if err := json.Unmarshal([]byte(out), &says); err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if c := says.Culprits; code != answer || len(c) == 0 || c[0].Machine != "lan" || c[0].Device != "worker1" || c[0].Command != "ip -n three-node.lan link show dev worker1" {
		t.Errorf("exit status %d, culprits %+v\n%s", code, c, stderr)
	}
	s.must("down", "three-node")
	s.awaitNobody()
}

// TestRootlessDrill: a learner needs no root: a drill is begun, is wrong, and is over.
func TestRootlessDrill(t *testing.T) {
	s := asSomebody(t)
	s.must("up", "three-node", "--mode", "host-gw")
	s.must("drill", "start", "forwarding-off", "--seed", "1")
	if code, out, stderr := s.run("drill", "check", "--wait", "0s"); code != answer {
		t.Errorf("exit status %d\n%s%s", code, out, stderr)
	}
	s.must("drill", "hint")
	// What reveals it can be typed as it stands beside the labs.
	if out := s.must("exec", "--", "ip", "netns", "list"); !strings.Contains(out, "three-node.worker1.p1") {
		t.Error(out)
	}
	s.must("shell") // and has nothing to read
	s.must("up", "three-node", "--mode", "host-gw")
	s.must("check", "three-node")
	s.must("down", "three-node")
	s.awaitNobody()
}

// TestRootlessFiles: the user's own files are his there too, also what is written, and the results say how they were measured.
func TestRootlessFiles(t *testing.T) {
	s := asSomebody(t)
	file := filepath.Join(s.home, "mine.hcl")
	if err := os.WriteFile(file, []byte(tiny), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, somebodysID, somebodysID); err != nil {
		t.Fatal(err)
	}
	s.must("up") // the only file of his folder
	if out := s.must("exec", "n1", "--", "sh", "-c", "pwd; id -u; echo hello >written"); out != s.home+"\n0\n" {
		t.Errorf("%q", out)
	}
	s.must("compare", "--quick", "--rounds", "1", "--modes", "host-gw,vxlan", "--paths", "cross-node", "--measures", "tcp-rr", "--wire", "super", "--out", "out")
	for _, name := range []string{"written", "out", "out/results.json", "out/report.html"} {
		info, err := os.Stat(filepath.Join(s.home, name))
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != somebodysID {
			t.Errorf("%s is of user %d", name, uid)
		}
	}
	results, err := report.Read(filepath.Join(s.home, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if !results.Machine.Rootless {
		t.Error("the results do not say that they were measured without root")
	}
	code, _, stderr := labRun(t, "compare", "--resume", filepath.Join(s.home, "out"))
	if code != refused || !strings.Contains(stderr, "without") {
		t.Errorf("root goes on with it: exit status %d\n%s", code, stderr)
	}
	byRoot := *results
	byRoot.Machine.Rootless = false
	if d := report.Compare(results, &byRoot); len(d.Disagreements) != 1 || !strings.Contains(d.Disagreements[0], "without root and root") {
		t.Errorf("%q", d.Disagreements)
	}
}

// TestRootlessPassesOn: standard input, signals and how a command ended are as if nothing stood between.
func TestRootlessPassesOn(t *testing.T) {
	s := asSomebody(t)
	s.must("up", "three-node")
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 128 + int(syscall.SIGTERM), "kill -KILL $$": 128 + int(syscall.SIGKILL)} {
		if code, _, stderr := s.run("exec", "worker1/p1", "--", "sh", "-c", script); code != want {
			t.Errorf("%s: %d, not %d\n%s", script, code, want, stderr)
		}
	}
	cmd := s.command("exec", "worker1", "--", "tr", "a-z", "A-Z")
	cmd.Stdin = strings.NewReader("hello")
	if out, err := cmd.Output(); err != nil || string(out) != "HELLO" {
		t.Errorf("%q, %v", out, err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1} {
		cmd := s.command("exec", "worker1", "--", "sh", "-c", fmt.Sprintf("trap 'echo caught; exit 9' %d; echo ready; while :; do sleep 0.01; done", int(sig)))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
			t.Fatal(err)
		}
		cmd.Process.Signal(sig)
		said, _ := io.ReadAll(out)
		cmd.Wait()
		if string(said) != "caught\n" || cmd.ProcessState.ExitCode() != 9 {
			t.Errorf("%v: %q, %v", sig, said, cmd.ProcessState)
		}
	}
	// What is killed outright is ended inside too.
	cmd = s.command("exec", "worker1", "--", "sh", "-c", "echo ready; exec sleep 1000000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	if _, err := io.ReadAll(out); err != nil { // it is open as long as the command is there
		t.Error(err)
	}
	cmd.Wait()
}

// TestRootlessTerminal: a shell has the terminal, keys that send signals reach what they should, and afterwards the terminal
// is the caller's again.
func TestRootlessTerminal(t *testing.T) {
	s := asSomebody(t)
	s.must("up", "three-node")
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The second is asked for by a shell that goes on after the first.
	cmd := s.command("shell", "worker1")
	lab := strings.Join([]string{s.self, "shell", "worker1"}, " ")
	cmd.Args = append(cmd.Args[:len(cmd.Args)-3], "sh", "-c", "trap '' INT; "+lab+"; echo first $?; trap - INT; "+lab+"; echo second $?; read -r line; echo $line")
	cmd.Env = append(cmd.Env, "SHELL=/bin/bash", "PS1=", "TERM=dumb")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	said := make(chan string)
	go func() {
		defer close(said)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	seen := ""
	expect := func(words string) {
		t.Helper()
		end := time.After(time.Minute)
		for !strings.Contains(seen, words) {
			select {
			case more, ok := <-said:
				if seen += more; !ok {
					t.Fatalf("the terminal is closed, and there was no %q in %q", words, seen)
				}
			case <-end:
				t.Fatalf("no %q in %q", words, seen)
			}
		}
		_, seen, _ = strings.Cut(seen, words)
	}
	send := func(keys string) { fmt.Fprint(master, keys) }
	send("echo here-$((6*7))\n")
	expect("here-42")
	send("exit 5\n")
	expect("first 5")
	send("sh -c 'echo begin-$((6*7)); exec sleep 1000000'\n") // it says so when the terminal is its own
	expect("begin-42")
	send("\x03")
	send("echo again-$((6*7))\n")
	expect("again-42")
	send("exit 6\n")
	expect("second 6")
	send("mine\n")
	expect("mine\r\nmine")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRootlessKilled: whenever a command is killed, down --all removes everything; and when the holder is, nothing is left.
func TestRootlessKilled(t *testing.T) {
	s := asSomebody(t)
	for i, mode := range []string{"vxlan", "bgp", "host-gw", "bgp", "vxlan", "bgp"} {
		cmd := s.command("up", "three-node", "--mode", mode)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i*i*17) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if i%2 == 0 {
			s.must("down", "--all")
			s.awaitNobody()
			continue
		}
		s.must("up", "three-node", "--mode", mode)
		s.must("plan", "three-node", "--mode", mode, "--exit-code")
		for _, pid := range s.processes(holder.HoldArg) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		s.awaitNobody()
		if _, _, stderr := s.run("status"); !strings.Contains(stderr, "No lab is running") {
			t.Errorf("%s", stderr)
		}
	}
}

// TestRootlessAtOnce: commands that come at the same time share one holder, and the last one to go ends it.
func TestRootlessAtOnce(t *testing.T) {
	s := asSomebody(t)
	s.awaitNobody()
	for range 3 {
		var all []*exec.Cmd
		for i := range 4 {
			cmd := s.command("up", "three-node", "--name", fmt.Sprint("once", i))
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
		if pids := s.processes(holder.HoldArg); len(pids) != 1 {
			t.Fatalf("%d holders", len(pids))
		}
		all = nil
		for i := range 4 {
			cmd := s.command("down", fmt.Sprint("once", i))
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
		s.awaitNobody()
	}
}

// TestBesideIsForUsers: root's labs are where root is, so that a shell needs a target.
func TestBesideIsForUsers(t *testing.T) {
	needRoot(t)
	for _, args := range [][]string{{"shell"}, {"exec", "--", "true"}, {"exec"}, {"exec", "worker1"}, {"exec", "worker1", "--"}} {
		if code, out, said := labRun(t, args...); code != refused || !strings.Contains(said, "say where") {
			t.Errorf("lab %s: exit status %d\n%s%s", strings.Join(args, " "), code, out, said)
		}
	}
}

// TestRootlessForRoot: root can ask for it, and has two worlds then.
func TestRootlessForRoot(t *testing.T) {
	asSomebody(t)
	run := func(args ...string) (int, string) {
		cmd := again(asLab+"=1", args...)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	file := tinyFile(t)
	if code, out := run("up", file, "--rootless"); code != 0 || !strings.Contains(out, "without root") {
		t.Fatal(out)
	}
	if code, out := run("status", "-o", "json"); code != 0 || strings.Contains(out, "faults-tiny") {
		t.Error(out)
	}
	if code, out := run("check", "faults-tiny", "--rootless"); code != 0 {
		t.Error(out)
	}
	if code, out := run("down", "--all", "--rootless"); code != 0 || !strings.Contains(out, "faults-tiny removed") {
		t.Error(out)
	}
}

// TestRootlessForbidden: where users may have no namespaces, what forbids it is said, doctor and plan say what they can, and
// nothing is left half made.
func TestRootlessForbidden(t *testing.T) {
	s := asSomebody(t)
	// The limit of a user namespace holds for those in it.
	forbid := func(args ...string) (int, string) {
		script := `echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"`
		cmd := exec.Command("unshare", append([]string{"-r", "sh", "-ec", script, "sh", os.Args[0]}, args...)...)
		cmd.Env = append(os.Environ(), asLab+"=1")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	const why = "user.max_user_namespaces is 0"
	if code, out := forbid("up", "three-node", "--rootless"); code != failed || !strings.Contains(out, why) || !strings.Contains(out, "sysctl -w") {
		t.Errorf("exit status %d\n%s", code, out)
	}
	if code, out := forbid("doctor", "--rootless"); code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), why) || strings.Count(out, " ? ") < 8 {
		t.Errorf("exit status %d\n%s", code, out)
	}
	cmd := s.command("up", "three-node")
	cmd.Args = slices.Insert(cmd.Args, len(cmd.Args)-3, "env", "PATH="+s.home)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != failed || !strings.Contains(string(out), "nsenter, of util-linux") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestRootlessVerbs: the verbs that are apart are verbs.
func TestRootlessVerbs(t *testing.T) {
	root := (&command{}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, name := range slices.Concat(staysOutside, entersIfThere, entersIfItCan) {
		if cmd, _, err := root.Find(strings.Fields(name)); !strings.HasPrefix(name, "__") && (err != nil || cmd.CommandPath() != "lab "+name) {
			t.Errorf("there is no verb %q", name)
		}
	}
}
