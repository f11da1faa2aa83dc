package holder

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Within is the step between nsenter and the command: it is in the user namespace, and the rest is for it to join. The first
// argument is what join has found. It stays as the command's parent, since no process changes its own pid namespace.
func Within(args []string) int {
	code, err := within(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	}
	return code
}

func within(args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("this is for lab itself to call")
	}
	var world []int
	for number := range strings.SplitSeq(args[0], ",") {
		fd, err := strconv.Atoi(number)
		if err != nil || fd <= 2 {
			return 2, errors.New("this is for lab itself to call")
		}
		unix.CloseOnExec(fd)
		world = append(world, fd)
	}
	if len(world) != 4 {
		return 2, errors.New("this is for lab itself to call")
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	here, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	was, err := os.Stat(here)
	if err != nil {
		return 1, err
	}

	// This thread alone goes there, and the command is its child. It must stay until the end, since the command ends with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return 1, os.NewSyscallError("unshare", err)
	}
	for i, kind := range []int{unix.CLONE_NEWNS, unix.CLONE_NEWNET, unix.CLONE_NEWPID} {
		if err := unix.Setns(world[i], kind); err != nil {
			return 1, fmt.Errorf("joining your labs: %w", err)
		}
	}
	if is, err := os.Stat(here); err != nil || !os.SameFile(is, was) {
		return 1, fmt.Errorf("the folder %s is not to be seen from your labs, which have a /run of their own; work in another one", here)
	}

	signals, ours := listen()
	child, err := os.StartProcess(self, append([]string{self}, args[1:]...), &os.ProcAttr{
		Dir: here, Env: environment(os.Environ()), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 1, fmt.Errorf("joining your labs: %w", err)
	}
	go func() {
		for s := range signals {
			if (s == syscall.SIGINT || s == syscall.SIGQUIT) && foreground() == unix.Getpgrp() {
				continue // typed: the command has it too
			}
			_ = child.Signal(s)
		}
	}()
	state, err := child.Wait()
	if err != nil {
		return 1, err
	}
	if ours && foreground() != unix.Getpgrp() { // a shell took the terminal for itself
		retake()
	}
	how := state.Sys().(syscall.WaitStatus)
	if !how.Signaled() {
		return how.ExitStatus(), nil
	}
	signal.Reset(how.Signal())
	_ = unix.Kill(unix.Getpid(), how.Signal())
	time.Sleep(time.Second)
	return 128 + int(how.Signal()), nil
}

// Tie lets a command in a user's world end with its parent outside, which is what the user sees of it; elsewhere it does
// nothing. The tie is the calling thread's, and becomes a program with it.
func Tie() {
	if Inside() && os.Getppid() == 0 {
		_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	}
}

// environment is that of the commands: as root of their world they want the programs of an administrator too, and what sudo
// says of the world outside is not meant for them.
func environment(env []string) []string {
	path := os.Getenv("PATH")
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !slices.Contains(strings.Split(path, ":"), dir) {
			path += ":" + dir
		}
	}
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "SUDO_") || strings.HasPrefix(v, "PATH=") })
	return append(env, "PATH="+path, insideEnv+"=1")
}

// listen takes the signals that are the command's, except those that are ignored, and says whether the terminal is ours.
func listen() (<-chan os.Signal, bool) {
	signals := make(chan os.Signal, 16)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals, foreground() == unix.Getpgrp()
}

// foreground is the process group to which the terminal belongs; 0 where there is none.
func foreground() int {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return 0
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

func retake() {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return
	}
	defer tty.Close()
	signal.Ignore(unix.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
}
