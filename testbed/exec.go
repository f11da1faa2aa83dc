package testbed

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// EnterArg is the first argument with which the program calls itself to go into a namespace for good: a mount namespace
// can be changed only by a process on its way to becoming another program.
const EnterArg = "__enter"

// Command prepares a program that runs in a place. There the hostname is the given one and the given names resolve;
// neither is seen outside, and nothing is written to /etc.
func Command(p *Place, hosts map[string]string, hostname, name string, args ...string) (*exec.Cmd, error) {
	fd, err := unix.MemfdCreate("hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("names for %s: %w", p.Name, err)
	}
	file := os.NewFile(uintptr(fd), "hosts")
	var names []string
	for n := range hosts {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintf(file, "%s\t%s\n", hosts[n], n)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{EnterArg, filepath.Join(NetnsDir, p.Name), hostname, name}, args...)...)
	cmd.ExtraFiles = []*os.File{file}
	return cmd, nil
}

// Enter is the other half of Command. It returns only when it fails.
func Enter(args []string) int {
	const cannot = 126 // as the shell says it of what it found and could not run
	if len(args) < 3 {
		fmt.Fprintln(os.Stderr, "lab: this is for lab itself to call")
		return 2
	}
	path, err := exec.LookPath(args[2])
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		return 127
	}
	if err := enter(args[0], args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "lab: entering %s: %v\n", filepath.Base(args[0]), err)
		return cannot
	}
	err = unix.Exec(path, args[2:], os.Environ())
	fmt.Fprintf(os.Stderr, "lab: %s: %v\n", path, err)
	return cannot
}

func enter(namespace, hostname string) error {
	runtime.LockOSThread()
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("own mounts: %w", err)
	}
	// /sys/class/net shows the namespace it was mounted in. Programs that do not look there do without.
	if unix.Unmount("/sys", unix.MNT_DETACH) == nil {
		_ = unix.Mount("lab", "/sys", "sysfs", 0, "")
	}
	return names()
}

// names puts the lab's names before the machine's own, on a file system that only this process sees.
func names() error {
	file := os.NewFile(3, "hosts")
	ours, err := io.ReadAll(file)
	file.Close()
	if err != nil {
		return err
	}
	machine, err := os.ReadFile("/etc/hosts")
	if err != nil || len(ours) == 0 {
		return nil // there is nothing to put them over
	}
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("lab", runDir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("own files: %w", err)
	}
	path := filepath.Join(runDir, "hosts")
	text := strings.TrimRight(string(ours), "\n") + "\n" + string(machine)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(path, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	return unix.Unmount(runDir, unix.MNT_DETACH)
}
