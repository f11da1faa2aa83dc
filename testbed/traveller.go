package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// traveller is an OS thread that goes from namespace to namespace. Sockets and files of /proc/sys/net belong to the
// namespace that the thread is in when it opens them.
type traveller struct {
	home  int // the namespace it started in
	stray bool

	sysctls sysctls
}

// travel calls f on a goroutine that has an OS thread for itself. The thread returns to where it came from; where it
// cannot, it ends with the goroutine.
func travel(f func(*traveller) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		t := &traveller{}
		err := func() (err error) {
			defer catch(&err)
			home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("the own network namespace: %w", err)
			}
			t.home = home
			defer unix.Close(home)
			defer t.sysctls.close()
			defer func() {
				if t.stray && unix.Setns(home, unix.CLONE_NEWNET) == nil {
					t.stray = false
				}
			}()
			return f(t)
		}()
		if !t.stray {
			runtime.UnlockOSThread()
		}
		done <- explain(err)
	}()
	return <-done
}

// enter moves the thread into a namespace.
func (t *traveller) enter(p *Place) error {
	if err := unix.Setns(p.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering namespace %s: %w", p.Name, err)
	}
	t.stray = true
	return nil
}

// visit is the thread in one namespace, with a netlink connection into it.
type visit struct {
	*netlink.Handle
	place *Place
	by    *traveller
	raw   map[int]*nl.SocketHandle // for what the library has no call
	index map[string]int           // of links that are known so far

	answer []byte // room for one message
}

// call opens a netlink connection into a namespace and enters it.
func (t *traveller) call(p *Place) (*visit, error) {
	if err := t.enter(p); err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: netlink: %w", p.Name, err)
	}
	return &visit{Handle: h, by: t, place: p, index: map[string]int{}}, nil
}

func (v *visit) close() {
	for _, s := range v.raw {
		s.Close()
	}
	v.Handle.Close()
	v.place.Close()
}

// link returns the index of a device.
func (v *visit) link(name string) (int, error) {
	if i, ok := v.index[name]; ok {
		return i, nil
	}
	l, err := v.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", name, err)
	}
	v.index[name] = l.Attrs().Index
	return l.Attrs().Index, nil
}

// device is a link for calls that need no more of it than its index.
func device(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

const loopback = 1 // the index of lo, in every namespace

// create makes a namespace that says whose it is before anybody can see it.
func (t *traveller) create(n plan.Namespace) (*visit, error) {
	path := filepath.Join(NetnsDir, n.Name)
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if errors.Is(err, os.ErrExist) && isStale(path) {
		err = nil // left by a killed process, which had not come to mounting it
	} else if err == nil {
		file.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	v, err := t.unshare(n)
	if err == nil {
		if err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			err = fmt.Errorf("binding it to %s: %w", path, err)
		}
	}
	if err != nil {
		os.Remove(path)
		return nil, fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	if v.place, err = Open(n.Name); err != nil {
		return nil, err
	}
	return v, nil
}

func (t *traveller) unshare(n plan.Namespace) (*visit, error) {
	t.stray = true
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("making it: %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	v := &visit{Handle: h, by: t, index: map[string]int{}}
	if err := v.own(n); err != nil {
		h.Close()
		return nil, err
	}
	return v, nil
}

// own writes into a namespace whose it is, and sets its loopback device up.
func (v *visit) own(n plan.Namespace) error {
	lo := device(loopback)
	if err := v.LinkSetAlias(lo, n.Alias); err != nil {
		return fmt.Errorf("alias of lo: %w", err)
	}
	if err := v.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
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

// isStale reports whether a name is an empty file, bound to no namespace. A file with something in it is somebody's.
func isStale(path string) bool {
	info, err := os.Lstat(path)
	var s unix.Statfs_t
	return err == nil && info.Mode().IsRegular() && info.Size() == 0 && unix.Statfs(path, &s) == nil &&
		s.Type != unix.NSFS_MAGIC && s.Type != unix.PROC_SUPER_MAGIC
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
