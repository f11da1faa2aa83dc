package holder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNone says that the user has no world.
var ErrNone = errors.New("no lab of this user is running")

// insideEnv is set for all that runs in a user's world.
const insideEnv = "LAB_ROOTLESS"

// Inside reports whether this process is in such a world.
func Inside() bool { return os.Getenv(insideEnv) != "" }

// Enter turns this process into one that runs the program with these arguments in the user's world. Where there is none it
// makes one, or returns ErrNone when that is not wanted. It returns only when it fails.
func Enter(args []string, begin bool) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return errors.New("nsenter, of util-linux, is not in PATH, and a Go program cannot join a user namespace without it")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	world, err := join(self, begin)
	if err != nil {
		return err
	}
	var numbers []string
	for _, fd := range world[1:] {
		numbers = append(numbers, strconv.Itoa(fd))
	}
	for _, fd := range world {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	argv := []string{"nsenter", fmt.Sprintf("--user=/proc/self/fd/%d", world[0]), "--preserve-credentials", "--", self, WithinArg, strings.Join(numbers, ",")}
	return fmt.Errorf("%s: %w", nsenter, unix.Exec(nsenter, append(argv, args...), os.Environ()))
}

// join returns what leads into the user's world: its user, mount, network and pid namespaces, and the connection by which
// the holder knows that somebody is there.
func join(self string, begin bool) ([]int, error) {
	name := &unix.SockaddrUnix{Name: fmt.Sprintf("@lab/world/%d", os.Geteuid())}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		world, err := connect(name)
		if err == nil || !errors.Is(err, ErrNone) || !begin {
			return world, err
		}
		if err := start(self, name); err != nil && !errors.Is(err, unix.EADDRINUSE) { // else another command is just starting it
			return nil, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("the process that is to hold the labs has not answered for %v", patience)
		}
	}
}

// connect asks the holder to be let in.
func connect(name unix.Sockaddr) (world []int, err error) {
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			for _, fd := range append(world, conn) {
				unix.Close(fd)
			}
			world = nil
		}
	}()
	if err := unix.Connect(conn, name); errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNone
	} else if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	who, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if int(who.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("user %d has taken the name of the socket that leads to your labs; process %d has it", who.Uid, who.Pid)
	}
	if who.Pid == 0 {
		return nil, errors.New("your labs are held by a process of another container")
	}
	wait := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if n, err := unix.Read(conn, make([]byte, 1)); errors.Is(err, unix.EAGAIN) {
		return nil, fmt.Errorf("process %d, which holds your labs, does not answer; kill it, and they are gone", who.Pid)
	} else if err != nil || n == 0 {
		return nil, ErrNone // it was about to end
	}
	for _, kind := range []string{"user", "mnt", "net", "pid"} {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", who.Pid, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return world, fmt.Errorf("the %s namespace of process %d: %w", kind, who.Pid, err)
		}
		world = append(world, fd)
	}
	// While the connection stands the number is that of no other process.
	if n, _, err := unix.Recvfrom(conn, make([]byte, 1), unix.MSG_DONTWAIT); n == 0 && err == nil {
		return world, ErrNone
	}
	return append(world, conn), nil
}

// start starts the holder, and returns when it can be asked.
func start(self string, name unix.Sockaddr) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), "socket")
	defer socket.Close()
	if err := unix.Bind(fd, name); err != nil {
		return os.NewSyscallError("bind", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(self, HoldArg)
	cmd.Dir = "/"
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SUDO_") })
	cmd.ExtraFiles = []*os.File{socket, w}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return forbidden(err, os.ReadFile)
	}
	if word, err := io.ReadAll(r); err != nil || len(word) > 0 {
		_ = cmd.Wait()
		var failed said
		_, _ = fmt.Sscan(string(word), &failed.errno)
		_, failed.text, _ = strings.Cut(string(word), " ")
		return forbidden(errors.Join(err, failed), os.ReadFile)
	}
	return nil
}

// said is an error of the holder's.
type said struct {
	text  string
	errno unix.Errno
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.errno }
