// Package supervise keeps a program running in a machine or a pod: in its network namespace, and otherwise in namespaces of its own
// with a file system of its own. For each program there is a supervisor, which starts it, starts it again and keeps what it
// prints, and an init, which is process 1 where the program is.
//
// When the init dies the kernel ends all that is in its process namespace, and the init ends when its supervisor is gone. So a
// program does not outlive its lab, whoever is killed.
package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/agent/logfile"
	"labnet/testbed/cgroup"
)

// ContainArg is the first argument with which the program calls itself to become an init, and JoinArg to go where one is.
const (
	ContainArg = "__contain"
	JoinArg    = "__join"
)

const (
	firstPause = 100 * time.Millisecond // before a program is started again; it doubles
	lastPause  = 10 * time.Second       // … until this, and one that has run so long begins anew
	patience   = 1500 * time.Millisecond
	steady     = time.Second // after which a program that was started again is taken to run
)

// Supervisor keeps one program running.
type Supervisor struct {
	plan.Supervised
	log *logfile.File

	mu       sync.Mutex
	place    *testbed.Place
	pid      int // of the init; 0: it does not run
	began    time.Time
	ended    string
	restarts int
	done     bool // it has ended, and is to stay so
	ready    bool
	group    *cgroup.Group // of one that is limited
	starved  int           // how many were killed in it for want of memory before the program was started
}

// New reads a configuration. The supervisor is at home in the namespace.
func New(config []byte, namespace string) (*Supervisor, error) {
	s := &Supervisor{}
	if err := json.Unmarshal(config, &s.Supervised); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(namespace, ".")
	s.log = logfile.New(testbed.AgentLog(name+"."+strings.ReplaceAll(s.Target, "/", "."), s.Name))
	return s, nil
}

// Run keeps the program running until ctx is done. It is an error when a program that is not to be started again fails.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	defer s.log.Close()
	defer s.release()
	pause := firstPause
	for first := true; ; first = false {
		began := time.Now()
		err := s.once(ctx, func() {
			if first {
				ready()
			}
		})
		var start startError
		switch {
		case ctx.Err() != nil:
			return nil
		case first && errors.As(err, &start):
			return err
		case s.Restart == lab.RestartNever && err != nil:
			return fmt.Errorf("%s of %s: %w", s.Name, s.Target, err)
		case s.Restart == lab.RestartNever:
			s.set(func() { s.done, s.ended = true, EndedWell })
			<-ctx.Done()
			return nil
		}
		s.set(func() { s.ended = EndedWell })
		if err != nil {
			s.set(func() { s.ended = err.Error() })
		}
		log.Printf("%s; it is started again", s.ended)
		if time.Since(began) > lastPause {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
		s.set(func() { s.restarts++ })
	}
}

func (s *Supervisor) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// EndedWell is how a program ends that has done its work.
const EndedWell = "ended with 0"

// startError is that of a program that never ran.
type startError struct{ error }

// once runs the program until it ends, its namespace is gone, or ctx is done.
func (s *Supervisor) once(ctx context.Context, started func()) error {
	place, err := testbed.Open(s.Namespace)
	if err != nil {
		return startError{err}
	}
	defer place.Close()
	life, hold, err := os.Pipe() // the init ends when nobody holds the other end any more
	if err != nil {
		return startError{err}
	}
	defer hold.Close()
	said, say, err := os.Pipe()
	if err != nil {
		life.Close()
		return startError{err}
	}
	defer said.Close()
	config, err := testbed.InMemory("config", plan.Config(s.Supervised))
	if err != nil {
		return startError{err}
	}
	cmd := exec.Command("/proc/self/exe", ContainArg, s.Namespace, s.Name)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = config, s.log, s.log
	cmd.ExtraFiles = []*os.File{life, say}
	group, err := s.confine()
	if err != nil {
		return startError{err}
	}
	if group != nil {
		defer group.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, group)
	}
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{}, patience
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC, Setsid: true}
	err = place.Do(cmd.Start)
	life.Close()
	say.Close()
	config.Close()
	if err != nil {
		return startError{err}
	}
	text, err := io.ReadAll(said)
	if err != nil || string(text) != startedWord {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return startError{errors.Join(err, errors.New(strings.TrimSpace(string(text))))}
	}
	s.set(func() { s.place, s.pid, s.began, s.ready = place, cmd.Process.Pid, time.Now(), s.Ready == "" })
	defer s.set(func() { s.place, s.pid, s.ready = nil, 0, false })
	started()
	return s.wanting(s.wait(ctx, cmd, place))
}

// wait returns when the program has ended, and all its children.
func (s *Supervisor) wait(ctx context.Context, cmd *exec.Cmd, place *testbed.Place) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	look := time.NewTicker(300 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			return outcome(err)
		case <-look.C:
			if !place.Leads() {
				_ = cmd.Process.Kill()
				<-ended
				return fmt.Errorf("namespace %s is gone", place.Name)
			}
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(patience):
				_ = cmd.Process.Kill()
				<-ended
			}
			return ctx.Err()
		}
	}
}

// outcome says how a program ended; nil where it did so with 0.
func outcome(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if errors.Is(err, exec.ErrWaitDelay) {
			return nil
		}
		return err
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return fmt.Errorf("killed by %v", w.Signal())
	}
	if code := exit.ExitCode(); code > 128 {
		return fmt.Errorf("ended by %v", syscall.Signal(code-128))
	}
	return fmt.Errorf("ended with %d", exit.ExitCode())
}

// Status is what the supervisor says of its program.
func (s *Supervisor) Status() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid != 0 && !s.ready {
		s.ready = listens(s.place, s.Ready)
	}
	state, text := "running", fmt.Sprintf("running, process %d", s.pid)
	switch {
	case s.done:
		state, text = "ended", s.ended
	case s.pid == 0:
		state, text = "waiting", fmt.Sprintf("%s; waits to be started again", s.ended)
	case !s.ready:
		state, text = "starting", fmt.Sprintf("process %d does not listen on %s yet", s.pid, s.Ready)
	}
	if n := s.starving(); n > 0 && s.pid != 0 {
		text += fmt.Sprintf(", %d of its processes killed out of memory", n)
	}
	if s.restarts > 0 {
		text += fmt.Sprintf(", restarted %d×", s.restarts)
	}
	if state == "running" && s.restarts > 0 && s.ended != EndedWell && time.Since(s.began) < steady {
		state = "restarting"
	}
	if s.restarts > 0 && s.pid != 0 {
		text += ", last " + s.ended
	}
	return map[string]any{
		"summary": fmt.Sprintf("%s of %s: %s", s.Name, s.Target, text), "settled": s.done || s.Ready == "" || s.pid != 0 && s.ready,
		"target": s.Target, "name": s.Name, "state": state, "process": s.pid, "restarts": s.restarts, "ended": s.ended, "command": s.Command,
	}
}
