package testbed

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// AgentArg is the first argument with which the program calls itself to become an agent.
const AgentArg = "__agent"

// An agent listens on a socket in its namespace whose abstract name says what it is and what it was started with. So the
// kernel knows which agents there are, and nothing is left of one that died.
const agentSocket = "lab/agent/"

// startTimeout is how long an agent may take until it works.
const startTimeout = 10 * time.Second

// RunningAgent is an agent as it was found.
type RunningAgent struct {
	Namespace string
	Name      string
	PID       int
	Started   string // what it was started with, see fingerprint
}

// fingerprint tells an agent's program and configuration from others.
func fingerprint(a plan.Agent) string {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if strings.HasPrefix(s.Key, "vcs.") {
				revision += s.Value
			}
		}
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s", a.Name, strings.TrimSpace(a.Config), revision))
	return hex.EncodeToString(h[:6])
}

// AgentSocket listens where agents are looked for. The thread has to be in the namespace.
func AgentSocket(name, started string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: "@" + agentSocket + name + "/" + started, Net: "unix"})
}

// agents finds the agents of the namespace that the thread is in.
func agents(namespace string) ([]RunningAgent, error) {
	file, err := os.Open("/proc/thread-self/net/unix")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var found []RunningAgent
	for lines := bufio.NewScanner(file); lines.Scan(); {
		_, path, ok := strings.Cut(lines.Text(), "@"+agentSocket)
		if !ok {
			continue
		}
		a := RunningAgent{Namespace: namespace}
		if a.Name, a.Started, ok = strings.Cut(path, "/"); !ok {
			continue
		}
		if a.PID, err = a.owner(); err != nil {
			continue // it is gone, or a connection to one
		}
		if !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	return found, nil
}

func (a RunningAgent) dial() (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: "@" + agentSocket + a.Name + "/" + a.Started, Net: "unix"})
}

// owner asks the kernel for the process behind the socket.
func (a RunningAgent) owner() (int, error) {
	conn, err := a.dial()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cred.Pid))
	if err != nil || !strings.Contains(string(line), "\x00"+AgentArg+"\x00") {
		return 0, fmt.Errorf("process %d is no agent", cred.Pid)
	}
	return int(cred.Pid), nil
}

// Agents lists the agents of a namespace.
func Agents(p *Place) (found []RunningAgent, err error) {
	err = p.Do(func() error {
		found, err = agents(p.Name)
		return err
	})
	return found, err
}

// Ask returns what an agent says of itself, as JSON.
func (a RunningAgent) Ask(p *Place) (report json.RawMessage, err error) {
	err = p.Do(func() error {
		conn, err := a.dial()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		report, err = io.ReadAll(conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking the %s agent of %s: %w", a.Name, a.Namespace, err)
	}
	return report, nil
}

// Program returns the process of the program that an agent keeps running; 0: none runs.
func (a RunningAgent) Program(p *Place) (pid int, err error) {
	report, err := a.Ask(p)
	if err != nil {
		return 0, err
	}
	var said struct{ Process int }
	return said.Process, json.Unmarshal(report, &said)
}

// AgentLog is the file that an agent writes to.
func AgentLog(namespace, name string) string {
	lab, machine, _ := strings.Cut(namespace, ".")
	return filepath.Join(folder(lab), machine+"."+name+logSuffix)
}

// StartAgent starts an agent in the namespace that the thread is in, and returns when it works.
func StartAgent(ctx context.Context, a plan.Agent) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := AgentLog(a.Namespace, a.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	config, err := InMemory("config", a.Config)
	if err != nil {
		return err
	}
	defer config.Close()
	ready, answer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(self, AgentArg, a.Namespace, a.Name, fingerprint(a))
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", config, log, log
	cmd.ExtraFiles = []*os.File{answer}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), "GOGC=50") // there may be hundreds of them
	err = cmd.Start()
	answer.Close()
	if err != nil {
		return err
	}
	if err := ready.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(ready)
	if err == nil && string(said) == agentReady {
		return cmd.Process.Release()
	}
	if err != nil {
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("it did not start: %s (its log is %s)", strings.TrimSpace(string(said)), path)
}

const (
	agentReady   = "ready"
	agentReadyFd = 3
)

// AgentReady tells the process that started this agent how it went: nil when it works.
func AgentReady(failed error) {
	file := os.NewFile(agentReadyFd, "ready")
	if file == nil {
		return
	}
	said := agentReady
	if failed != nil {
		said = failed.Error()
	}
	_, _ = file.WriteString(said) // nobody may be waiting any more
	file.Close()
}

// stop ends an agent, and returns when it is gone.
func (a RunningAgent) stop() error {
	fd, err := unix.PidfdOpen(a.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", a.PID, err)
	}
	defer unix.Close(fd)
	for _, how := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, 2 * time.Second}, {unix.SIGKILL, 5 * time.Second}} {
		if err := unix.PidfdSendSignal(fd, how.signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fmt.Errorf("ending process %d: %w", a.PID, err)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		until := time.Now().Add(how.wait)
		for left := how.wait; left > 0; left = time.Until(until) {
			if n, err := unix.Poll(poll, int(left.Milliseconds())+1); n > 0 {
				return nil
			} else if err != nil && !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	}
	return fmt.Errorf("process %d does not end", a.PID)
}

// StopAgent ends the agents of that name in the namespace that the thread is in.
func StopAgent(namespace, name string) error {
	found, err := agents(namespace)
	if err != nil {
		return err
	}
	for _, a := range found {
		if a.Name == name {
			if err := a.stop(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleTimeout is how long agents may take until they have agreed with one another.
const settleTimeout = time.Minute

// Settle waits until all agents of a lab say that they are where they want to be: a BGP speaker has its sessions, and what it
// learnt is in the kernel. progress is told how many are.
func Settle(ctx context.Context, want *plan.State, progress func(settled, all int)) error {
	waiting := map[plan.Agent]string{} // and what they say
	want.Each(func(o plan.Object) {
		if a, ok := o.(plan.Agent); ok {
			waiting[a] = ""
		}
	})
	all := len(waiting)
	for until := time.Now().Add(settleTimeout); ; {
		for a := range waiting {
			ok, summary, err := settled(a)
			if err != nil {
				return err
			}
			if waiting[a] = summary; ok {
				delete(waiting, a)
			}
		}
		if all > 0 {
			progress(all-len(waiting), all)
		}
		if len(waiting) == 0 {
			return nil
		}
		if time.Now().After(until) {
			for a, summary := range waiting {
				return fmt.Errorf("the %s agent of %s has not settled within %v: %s (its log is %s)", a.Name, a.Namespace, settleTimeout, summary, AgentLog(a.Namespace, a.Name))
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// settled asks an agent whether it is where it wants to be.
func settled(a plan.Agent) (ok bool, summary string, err error) {
	place, err := Open(a.Namespace)
	if err != nil {
		return false, "", err
	}
	defer place.Close()
	report, err := RunningAgent{Namespace: a.Namespace, Name: a.Name, Started: fingerprint(a)}.Ask(place)
	if err != nil {
		return false, "", err
	}
	var said struct {
		Settled bool
		Summary string
	}
	if err := json.Unmarshal(report, &said); err != nil {
		return false, "", fmt.Errorf("the %s agent of %s does not say how it is: %w", a.Name, a.Namespace, err)
	}
	return said.Settled, said.Summary, nil
}
