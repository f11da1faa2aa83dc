package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Tracing slows down what it looks at, and not all modes alike. Who traces holds a shared lock on a file, so that who measures
// knows; the file's time is that of the last begin or end.
var tracingFile = filepath.Join(runDir, "tracing")

// BeginTracing says that packets are traced from now on, until end is called.
func BeginTracing() (end func() error, err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(tracingFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("saying that packets are traced: %w", err)
	}
	stamp := func() error { return os.Chtimes(tracingFile, time.Time{}, time.Now()) }
	if err := errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_SH), stamp()); err != nil {
		return nil, errors.Join(fmt.Errorf("saying that packets are traced: %w", err), f.Close())
	}
	return func() error { return errors.Join(stamp(), f.Close()) }, nil
}

// Traced reports whether packets are traced now, or were at any moment since.
func Traced(since time.Time) bool {
	f, err := os.OpenFile(tracingFile, os.O_RDWR, 0)
	if err != nil {
		return false // nobody ever has
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return true
	}
	now, err := f.Stat()
	return err == nil && now.ModTime().After(since)
}
