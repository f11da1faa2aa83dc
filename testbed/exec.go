package testbed

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// EnterArg is the first argument with which the program calls itself to go into a namespace for good: a mount namespace
// can be changed only by a process on its way to becoming another program.
const EnterArg = "__enter"

// Exit statuses of a program that could not be run, as shells have them.
const (
	cannotRun = 126
	notFound  = 127
)

// Command prepares a program that runs in a place. There the hostname is the given one and the given names resolve;
// neither is seen outside, and nothing is written to /etc.
func Command(p *Place, hosts Names, hostname, name string, args ...string) (*exec.Cmd, error) {
	file, err := InMemory("hosts", hosts.Hosts())
	if err != nil {
		return nil, fmt.Errorf("names for %s: %w", p.Name, err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{EnterArg, p.Name, hostname, name}, args...)...)
	cmd.ExtraFiles = []*os.File{file}
	return cmd, nil
}

// Hosts is the names as a hosts file has them.
func (n Names) Hosts() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(n)) {
		for _, a := range n[name] {
			fmt.Fprintf(&text, "%s\t%s\n", a, name)
		}
	}
	return text.String()
}

// Enter is the other half of Command. It returns only when it fails.
func Enter(args []string) int {
	if len(args) < 3 {
		fmt.Fprintln(os.Stderr, "lab: this is for lab itself to call")
		return 2
	}
	file := os.NewFile(3, "hosts")
	hosts, err := io.ReadAll(file)
	file.Close()
	var place *Place
	if err == nil {
		place, err = Open(args[0])
	}
	code := cannotRun
	if err == nil {
		code, err = become(place, string(hosts), args[1], os.Environ(), args[2:])
	}
	fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	return code
}

// Become turns this process into a program in a place, as Command would start it. It returns only when it fails, with the
// exit status that says so.
func Become(p *Place, hosts Names, hostname string, env []string, name string, args ...string) (code int, err error) {
	return become(p, hosts.Hosts(), hostname, env, append([]string{name}, args...))
}

func become(p *Place, hosts, hostname string, env, argv []string) (code int, err error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return notFound, err
	}
	if err := enter(p, hostname, hosts); err != nil {
		return cannotRun, fmt.Errorf("entering %s: %w", p.Name, err)
	}
	return cannotRun, fmt.Errorf("%s: %w", path, unix.Exec(path, argv, env))
}

// enter moves the calling thread into a place, from which there is no way back.
func enter(p *Place, hostname, hosts string) error {
	if err := p.settle(); err != nil {
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
	return names(hosts)
}

// names puts the lab's names before the machine's own, on a file system that only this process sees.
func names(ours string) error {
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
	text := strings.TrimRight(ours, "\n") + "\n" + string(machine)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(path, "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	return unix.Unmount(runDir, unix.MNT_DETACH)
}
