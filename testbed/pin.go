package testbed

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pin keeps all threads of an agent on one CPU, and returns what gives them back the CPUs that they had. Threads that it
// makes meanwhile are where those are that make them.
func (a RunningAgent) Pin(cpu int) (release func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(a.PID, &before); err != nil {
		return nil, fmt.Errorf("the CPUs of agent %s of %s: %w", a.Name, a.Namespace, err)
	}
	var only unix.CPUSet
	only.Set(cpu)
	release = func() error { return a.confine(&before) }
	if err := a.confine(&only); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

// confine goes through the threads until there is none that it has not met: one that was not yet confined may have made
// others.
func (a RunningAgent) confine(to *unix.CPUSet) error {
	for met := map[string]bool{}; ; {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", a.PID))
		if errors.Is(err, os.ErrNotExist) {
			return nil // it has ended, which others will notice
		}
		if err != nil {
			return err
		}
		news := false
		for _, thread := range threads {
			if met[thread.Name()] {
				continue
			}
			met[thread.Name()], news = true, true
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, to); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("the CPUs of thread %d of agent %s of %s: %w", id, a.Name, a.Namespace, err)
			}
		}
		if !news {
			return nil
		}
	}
}
