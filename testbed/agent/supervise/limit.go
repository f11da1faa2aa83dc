package supervise

import (
	"fmt"
	"os"
	"strings"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed/cgroup"
)

func limitsOf(c plan.Supervised) cgroup.Limits {
	return cgroup.Limits{Memory: c.Memory, CPUs: c.CPUs, PIDs: c.PIDs}
}

// labOf is the lab that a program is of.
func labOf(c plan.Supervised) string {
	name, _, _ := strings.Cut(c.Namespace, ".")
	return name
}

// confine makes the cgroup of a program that is limited, for its init to start it in; nil of one that is not.
func (s *Supervisor) confine() (*os.File, error) {
	if !limitsOf(s.Supervised).Some() {
		return nil, nil
	}
	group, err := cgroup.Make(labOf(s.Supervised), s.Target+":"+s.Name, limitsOf(s.Supervised))
	if err != nil {
		return nil, fmt.Errorf("its limits: %w", err)
	}
	s.set(func() { s.group, s.starved = group, group.Starved() })
	return group.Open()
}

// release removes the program's cgroup.
func (s *Supervisor) release() {
	if s.group != nil {
		s.group.Remove()
	}
}

// starving counts the processes that were killed for want of memory since the program was started.
func (s *Supervisor) starving() int {
	if s.group == nil {
		return 0
	}
	return s.group.Starved() - s.starved
}

// wanting says how a program ended that the kernel killed because it had more memory than it may.
func (s *Supervisor) wanting(err error) error {
	if err == nil || s.starving() == 0 || !strings.HasSuffix(err.Error(), "killed") {
		return err
	}
	return fmt.Errorf("killed out of memory: it may have %s", lab.SizeText(s.Memory))
}
