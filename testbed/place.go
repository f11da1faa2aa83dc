// Package testbed is the real thing: it reads what a lab's namespaces hold, applies changes to them, and removes them.
// It is the only importer of netlink.
//
// Each kind of kernel object has a file that says how it is read, made, changed and removed, and kinds.go lists them. What
// these stand on comes below (place.go, visit.go, raw.go), and what uses them above (read.go, apply.go).
package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// This file is the only door: whatever goes into a namespace, makes one or removes one goes through here.

// ErrNotRoot is returned by everything that works on namespaces.
var ErrNotRoot = errors.New("working on network namespaces needs root")

// NetnsDir is where named namespaces live, so that "ip netns" sees them too.
const NetnsDir = "/run/netns"

// Place is a network namespace, and the only way into one.
type Place struct {
	Name string
	file *os.File
}

// Open opens a named namespace.
func Open(name string) (*Place, error) {
	f, err := os.Open(filepath.Join(NetnsDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("namespace %s: %w", name, os.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil || !isNamespace(s) {
		f.Close()
		return nil, fmt.Errorf("namespace %s: %s is bound to none", name, f.Name())
	}
	return &Place{Name: name, file: f}, nil
}

// Home is the namespace that the process is in, which has a name. It is asked for when the process begins: later its first
// thread, whose namespace counts as the process's, may be in another place for a while.
func Home(name string) (*Place, error) {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	return &Place{Name: name, file: f}, nil
}

func isNamespace(s unix.Statfs_t) bool {
	return s.Type == unix.NSFS_MAGIC || s.Type == unix.PROC_SUPER_MAGIC
}

// Do calls f on a thread of its own inside the place. Sockets that f opens stay in the place; goroutines that f starts
// do not run there.
func (p *Place) Do(f func() error) error {
	return onThread(func(t *thread) error {
		if err := t.enter(p); err != nil {
			return err
		}
		return f()
	})
}

// Fd returns the namespace's file descriptor, for netlink attributes.
func (p *Place) Fd() int { return int(p.file.Fd()) }

// Close releases the handle; the namespace stays.
func (p *Place) Close() error { return p.file.Close() }

// Path is where the namespace is found by programs that take a path.
func (p *Place) Path() string { return filepath.Join(NetnsDir, p.Name) }

// settle moves the thread into the place for good.
func (p *Place) settle() error {
	runtime.LockOSThread()
	return unix.Setns(p.Fd(), unix.CLONE_NEWNET)
}

// Leads reports whether the name still leads to the place: it is gone where somebody has removed the name, or made another
// namespace of it.
func (p *Place) Leads() bool {
	here, err := p.file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(NetnsDir, p.Name))
	return err == nil && os.SameFile(here, there)
}

// Join moves the calling thread for good into the namespaces in which a process is; what it starts then is in its process
// namespace too.
func Join(pid string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	var files []*os.File
	for _, kind := range []string{"net", "ipc", "uts", "pid", "mnt"} { // mnt last: /proc is another then
		f, err := os.Open("/proc/" + pid + "/ns/" + kind)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	for _, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return nil
}

// thread is an OS thread that enters one namespace after another. Sockets and files of /proc/sys/net belong to the
// namespace that the thread is in when it opens them.
type thread struct {
	home int    // the namespace it started in
	in   string // the one that it is in; empty: another than a named one
	away bool   // it is not in its home namespace
	ipvs uint16 // what generic netlink calls IPVS; 0: not asked yet
	sent int    // bytes, to IPVS and of ipsets

	sysctls sysctlFiles
}

// onThread calls f on a goroutine with an OS thread of its own. The thread returns to its home namespace; if it cannot, it ends
// with the goroutine.
func onThread(f func(*thread) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		t := &thread{}
		err := func() (err error) {
			defer catch(&err)
			home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("the network namespace of this process: %w", err)
			}
			t.home = home
			defer unix.Close(home)
			defer t.sysctls.close()
			defer func() {
				if t.away && unix.Setns(home, unix.CLONE_NEWNET) == nil {
					t.away = false
				}
			}()
			return f(t)
		}()
		if !t.away {
			runtime.UnlockOSThread()
		}
		done <- explain(err)
	}()
	return <-done
}

// inEach calls f for each namespace, on two threads: reading is system calls most of the time, and the kernel does not
// serialise it.
func inEach(ctx context.Context, names []string, f func(t *thread, name string) error) error {
	work := make(chan string)
	var threads sync.WaitGroup
	var errs [2]error
	for i := range errs {
		threads.Go(func() {
			errs[i] = onThread(func(t *thread) error {
				var failed []error
				for name := range work {
					if len(failed) == 0 {
						if err := f(t, name); err != nil {
							failed = append(failed, fmt.Errorf("namespace %s: %w", name, err))
						}
					}
				}
				return errors.Join(failed...)
			})
		})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		work <- name
	}
	close(work)
	threads.Wait()
	return errors.Join(append(errs[:], ctx.Err())...)
}

// enter moves the thread into a namespace, where it is not there already.
func (t *thread) enter(p *Place) error {
	if t.in == p.Name {
		return nil
	}
	if err := unix.Setns(p.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering namespace %s: %w", p.Name, err)
	}
	t.in, t.away = p.Name, true
	return nil
}

// leave moves the thread into a new namespace that has no name, and goes with the thread.
func (t *thread) leave() error {
	t.in, t.away = "", true
	return unix.Unshare(unix.CLONE_NEWNET)
}

// create makes a namespace that records its owner before it becomes visible: sign does that, inside.
func (t *thread) create(name string, sign func() error) error {
	path := filepath.Join(NetnsDir, name)
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if errors.Is(err, os.ErrExist) && isStale(path) {
		err = nil // left by a killed process, which had not come to mounting it
	} else if err == nil {
		file.Close()
	}
	if err != nil {
		return fmt.Errorf("namespace %s: %w", name, err)
	}
	if err = t.leave(); err != nil {
		err = fmt.Errorf("making it: %w", err)
	} else {
		err = sign()
	}
	if err == nil {
		if err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			err = fmt.Errorf("binding it to %s: %w", path, err)
		}
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("namespace %s: %w", name, err)
	}
	t.in = name
	return nil
}

// remove unbinds a name. The namespace goes when nothing is in it any more.
func remove(name string) error {
	path := filepath.Join(NetnsDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("namespace %s: unbinding it: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("namespace %s: %w", name, err)
	}
	return nil
}

// Named lists the named namespaces that begin with a prefix.
func Named(prefix string) ([]string, error) {
	entries, err := os.ReadDir(NetnsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Numbers returns the names of the namespaces that begin with a prefix, by the numbers that the kernel gives them.
func Numbers(prefix string) (map[uint32]string, error) {
	names, err := Named(prefix)
	if err != nil {
		return nil, err
	}
	numbers := map[uint32]string{}
	for _, name := range names {
		var s unix.Stat_t
		if unix.Stat(filepath.Join(NetnsDir, name), &s) == nil { // or it is gone since
			numbers[uint32(s.Ino)] = name
		}
	}
	return numbers, nil
}

// mountPoint prepares the folder of named namespaces as ip-netns(8) does, so that the two agree about it.
func mountPoint() error {
	if err := os.MkdirAll(NetnsDir, 0o755); err != nil {
		return fmt.Errorf("the folder of named namespaces: %w", err)
	}
	err := unix.Mount("", NetnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // it is no mount point yet
		if err = unix.Mount(NetnsDir, NetnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", NetnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("making %s a mount point: %w", NetnsDir, err)
	}
	return nil
}

// removeStale removes names that begin with the prefix and are bound to no namespace.
func removeStale(prefix string) error {
	names, err := Named(prefix)
	for _, name := range names {
		if path := filepath.Join(NetnsDir, name); isStale(path) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// isStale reports whether a name is an empty file, bound to no namespace. A file with something in it is somebody's.
func isStale(path string) bool {
	info, err := os.Lstat(path)
	var s unix.Statfs_t
	return err == nil && info.Mode().IsRegular() && info.Size() == 0 && unix.Statfs(path, &s) == nil && !isNamespace(s)
}
