// Package holder gives a user who is not root a world of his own to build labs in: user, mount, network and pid namespaces
// with one user mapped, a private /run, a /proc and a /sys. In it the user is root, and all else works as it does for root.
//
// A process holds it, the first of its pid namespace. It is found by an abstract socket that is called after the user, so
// that no file can lie about it, and it ends by itself when no lab is left and no command is at work. When it is killed the
// kernel ends all that is in its world.
//
// A command gets there in two steps. It becomes nsenter(1), which joins the user namespace: the kernel permits that only to a
// process of one thread, and a Go program never is one. nsenter becomes the program again (see Within), which starts the
// command in the other namespaces and passes on signals, terminal and exit status.
package holder

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The first arguments with which the program calls itself.
const (
	HoldArg   = "__hold"
	WithinArg = "__within"
)

// patience is how long a holder that nobody comes to waits, and how long one that starts is waited for.
const patience = 10 * time.Second

// What the holder is handed.
const (
	socketFD = 3 // bound to its name
	wordFD   = 4 // takes what it says of its start: nothing when all is well
)

// Hold is the holder.
func Hold() int {
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	word := os.NewFile(wordFD, "word")
	unix.CloseOnExec(socketFD)
	err := prepare()
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(socketFD, 128)) // from now on it is this process that the name leads to
	}
	var listener net.Listener
	if err == nil {
		listener, err = net.FileListener(os.NewFile(socketFD, "socket"))
	}
	if err != nil {
		var errno unix.Errno
		errors.As(err, &errno)
		fmt.Fprintf(word, "%d %v", int(errno), err)
		return 1
	}
	word.Close()
	go reap()
	h := &guests{}
	time.AfterFunc(patience, h.mayLeave)
	for {
		guest, err := listener.Accept()
		if err != nil {
			return 1
		}
		h.admit(guest)
	}
}

// guests are the commands at work in this world.
type guests struct {
	mu sync.Mutex
	n  int
}

// admit lets a command in, and notices when it has ended.
func (h *guests) admit(guest net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := guest.Write([]byte{1}); err != nil {
		guest.Close()
		return
	}
	h.n++
	go func() {
		_, _ = guest.Read(make([]byte, 1)) // nothing is ever sent: it returns at the end
		guest.Close()
		h.mu.Lock()
		h.n--
		h.mu.Unlock()
		h.mayLeave()
	}()
}

// mayLeave ends the world when nothing is left in it. Who has connected and was not admitted finds the connection closed.
func (h *guests) mayLeave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	namespaces, _ := os.ReadDir("/run/netns")
	labs, _ := os.ReadDir("/run/lab")
	labs = slices.DeleteFunc(labs, func(e os.DirEntry) bool { return !e.IsDir() }) // a file there is no lab's
	if h.n == 0 && len(namespaces) == 0 && len(labs) == 0 {
		os.Exit(0)
	}
}

// reap waits for processes whose parents have ended, as the first process of a pid namespace must.
func reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}

// prepare makes the new namespaces a world: mounts of others still come in, and none goes out.
func prepare() error {
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("own mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting a /proc: %w", err)
	}
	// Programs that look into /sys for devices do without where it cannot be had.
	_ = unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := ownRun(); err != nil {
		return err
	}
	return raise("lo")
}

// ownRun mounts an empty /run, in which the user's own folder stays.
func ownRun() error {
	mine := os.Getenv("XDG_RUNTIME_DIR")
	kept := -1
	if strings.HasPrefix(mine, "/run/") {
		if fd, err := unix.OpenTree(unix.AT_FDCWD, mine, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE); err == nil {
			kept = fd
			defer unix.Close(fd)
		}
	}
	if err := unix.Mount("lab", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting a /run: %w", err)
	}
	for _, dir := range []string{"netns", "lock"} {
		if err := os.Mkdir(filepath.Join("/run", dir), 0o755); err != nil {
			return err
		}
	}
	if kept < 0 {
		return nil
	}
	if err := os.MkdirAll(mine, 0o700); err != nil {
		return err
	}
	if err := unix.MoveMount(kept, "", unix.AT_FDCWD, mine, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("keeping %s: %w", mine, err)
	}
	return nil
}

// raise sets a device up.
func raise(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("setting %s up: %w", device, err)
	}
	return nil
}
