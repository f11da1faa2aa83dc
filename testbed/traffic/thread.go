package traffic

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// CPUs returns a CPU for the client and another for the server, from those that the process may use; Unpinned where
// there is only one.
func CPUs() (client, server int) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil || may.Count() < 2 {
		return Unpinned, Unpinned
	}
	client = Unpinned
	for cpu := 0; ; cpu++ {
		if !may.IsSet(cpu) {
			continue
		}
		if client != Unpinned {
			return client, cpu
		}
		client = cpu
	}
}

// pinned calls f on an operating system thread that runs on one CPU and has no other work meanwhile.
func pinned(cpu int, f func() error) error {
	runtime.LockOSThread()
	if cpu == Unpinned {
		defer runtime.UnlockOSThread()
		return f()
	}
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	err := f()
	// A thread that cannot be set free again stays locked, and ends with its goroutine.
	if unix.SchedSetaffinity(0, &before) == nil {
		runtime.UnlockOSThread()
	}
	return err
}
