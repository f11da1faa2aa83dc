package traffic

import (
	"fmt"
	"runtime"
	"time"

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

// First returns the first CPU that the process may use, for runs with both ends on one.
func First() int {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil || may.Count() == 0 {
		return Unpinned
	}
	cpu := 0
	for !may.IsSet(cpu) {
		cpu++
	}
	return cpu
}

// pinned calls f on an operating system thread that runs on one CPU and has no other work meanwhile; one that goes before
// others is not interrupted by their threads either.
func pinned(cpu int, before bool, f func() error) error {
	runtime.LockOSThread()
	if cpu == Unpinned {
		defer runtime.UnlockOSThread()
		return f()
	}
	var was, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	if before {
		before = precede() == nil
	}
	err := f()
	if before && recede() != nil {
		return err // and the thread stays locked
	}
	// A thread that cannot be set free again stays locked, and ends with its goroutine.
	if unix.SchedSetaffinity(0, &was) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// precede lets the thread go before all that have no such priority, and recede takes that back. Not everybody may.
func precede() error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

func recede() error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_NORMAL}, 0)
}

// MayGoBefore says whether threads of a run may go before others.
func MayGoBefore() (may bool) {
	done := make(chan struct{})
	go func() { // on a thread that ends with it, should it not recede
		defer close(done)
		runtime.LockOSThread()
		if may = precede() == nil; !may || recede() == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return may
}

// room gives the Go scheduler so many processors that none of a run's threads has to wait for one when it returns from a
// system call. More of them than CPUs do no harm afterwards.
func room(threads int) {
	if need := threads + runtime.NumCPU(); runtime.GOMAXPROCS(0) < need {
		runtime.GOMAXPROCS(need)
	}
}

// epoch is where the engine's clock starts. Its readings are CLOCK_MONOTONIC's, which all ends share, taken without a
// system call.
var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }
