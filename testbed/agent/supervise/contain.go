package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/cgroup"
)

const (
	lifeFd      = 3
	sayFd       = 4
	groupFd     = 5 // of a program that is limited: the cgroup to start it in
	startedWord = "started"

	cannotRun = 126 // as of a shell
	notFound  = 127
)

// usual are the capabilities that a program has: enough for a server that changes its user, and no more. NET_ADMIN is not among
// them, so that none changes its pod's network.
var usual = []capability.Cap{
	capability.CAP_CHOWN, capability.CAP_DAC_OVERRIDE, capability.CAP_FOWNER, capability.CAP_FSETID, capability.CAP_KILL, capability.CAP_NET_BIND_SERVICE,
	capability.CAP_NET_RAW, capability.CAP_SETGID, capability.CAP_SETUID,
}

// path is where programs are looked for.
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Contain is the init of a program: lab __contain NAMESPACE NAME, what it is told on standard input. It is process 1 of new
// namespaces, in the network namespace of the machine or pod.
func Contain(args []string) int {
	runtime.LockOSThread()
	say := os.NewFile(sayFd, "say")
	if len(args) != 2 || os.Getpid() != 1 || say == nil {
		fmt.Fprintln(os.Stderr, "lab: this is for lab itself to call")
		return 2
	}
	syscall.CloseOnExec(lifeFd)
	syscall.CloseOnExec(sayFd)
	syscall.CloseOnExec(groupFd)
	go func() { // the supervisor holds the other end
		_, _ = os.NewFile(lifeFd, "life").Read(make([]byte, 1))
		os.Exit(128 + int(syscall.SIGKILL))
	}()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM)
	program, err := begin(args[0])
	if err != nil {
		_, _ = say.WriteString(err.Error()) // nobody else is there to be told
		return cannotRun
	}
	_, _ = say.WriteString(startedWord)
	say.Close()
	go func() {
		for s := range signals {
			_ = program.Signal(s)
		}
	}()
	for { // what the program leaves behind is reaped here
		var w syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &w, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return cannotRun
		case pid == program.Pid && w.Signaled():
			return 128 + int(w.Signal())
		case pid == program.Pid && w.Exited():
			return w.ExitStatus()
		}
	}
}

func begin(namespace string) (*os.Process, error) {
	var c plan.Supervised
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(namespace, ".")
	var names testbed.Names
	if r, err := testbed.Load(name); err == nil {
		names = r.NamesIn(namespace)
	}
	hostname := strings.ReplaceAll(c.Target, "/", "-")
	if err := ownRoot(hostname, itself(names, c.Target, hostname)+names.Hosts(), slices.Contains(c.Capabilities, "NET_ADMIN")); err != nil {
		return nil, fmt.Errorf("its file system: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	how := &syscall.SysProcAttr{Setsid: true}
	if limitsOf(c).Some() {
		how.UseCgroupFD, how.CgroupFD = true, groupFd
	}
	return start(c, c.Command, []*os.File{null, os.Stdout, os.Stderr}, how)
}

// itself says which address the hostname has: programs look for their own, and would ask a server that they do not reach.
func itself(names testbed.Names, target, hostname string) string {
	name := target
	if machine, pod, ok := strings.Cut(target, "/"); ok {
		name = pod + "." + machine
	}
	var text strings.Builder
	for _, a := range names[name] {
		fmt.Fprintf(&text, "%s\t%s\n", a, hostname)
	}
	if text.Len() == 0 {
		fmt.Fprintf(&text, "127.0.1.1\t%s\n", hostname)
	}
	return text.String()
}

// start starts a program from this thread, in whose namespaces it is, with the user, the environment and the capabilities that
// the configuration says. The thread loses what the program may not have.
func start(c plan.Supervised, command []string, files []*os.File, how *syscall.SysProcAttr) (*os.Process, error) {
	env := []string{"PATH=" + path, "LAB_TARGET=" + c.Target}
	home := "/"
	if c.User != "" {
		credential, at, err := credentialOf(c.User)
		if err != nil {
			return nil, err
		}
		how.Credential, home = credential, at
	}
	env = append(env, "HOME="+home)
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name])
	}
	file, err := lookFor(command[0], env)
	if err != nil {
		return nil, err
	}
	if err := restrict(c, how); err != nil {
		return nil, fmt.Errorf("its capabilities: %w", err)
	}
	p, err := os.StartProcess(file, command, &os.ProcAttr{Dir: "/", Env: env, Files: files, Sys: how})
	if errors.Is(err, syscall.EINVAL) && c.User != "" {
		err = fmt.Errorf("%w; without root there are only the users that /etc/subuid gives you", err)
	}
	return p, err
}

// lookFor finds a program as execvp would, in the PATH of its environment.
func lookFor(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	in := path
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			in = v
		}
	}
	for _, dir := range filepath.SplitList(in) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// credentialOf finds a user by name or number.
func credentialOf(name string) (*syscall.Credential, string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		var byNumber error
		if u, byNumber = user.LookupId(name); byNumber != nil {
			n, bad := strconv.ParseUint(name, 10, 32)
			if bad != nil {
				return nil, "", err
			}
			return &syscall.Credential{Uid: uint32(n), Gid: uint32(n)}, "/", nil
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, "", err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, "", err
	}
	var groups []uint32
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			if g, err := strconv.ParseUint(id, 10, 32); err == nil {
				groups = append(groups, uint32(g))
			}
		}
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}, u.HomeDir, nil
}

// Capability finds a capability by its name: NET_ADMIN.
func Capability(name string) (capability.Cap, bool) {
	for _, c := range capability.ListKnown() {
		if strings.EqualFold(c.String(), name) {
			return c, true
		}
	}
	return 0, false
}

// restrict takes from this thread, and so from what it starts, what a program may not have.
func restrict(c plan.Supervised, how *syscall.SysProcAttr) error {
	keep := slices.Clone(usual)
	for _, name := range c.Capabilities {
		one, ok := Capability(name)
		if !ok {
			return fmt.Errorf("there is no %s", name)
		}
		keep = append(keep, one)
		if how.Credential != nil {
			how.AmbientCaps = append(how.AmbientCaps, uintptr(one))
		}
	}
	last, err := capability.LastCap()
	if err != nil {
		return err
	}
	for one := capability.Cap(0); one <= last; one++ {
		if !slices.Contains(keep, one) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(one), 0, 0, 0); err != nil {
				return err
			}
		}
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// Join runs a command where a program is: lab __join PID COMMAND…, PID is that of its init. It has what the program has.
func Join(args []string) int {
	runtime.LockOSThread()
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "lab: this is for lab itself to call")
		return 2
	}
	program, err := join(args[0], args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return notFound
		}
		return cannotRun
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT) // a terminal sends them to the program as well
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			_ = program.Signal(s)
		}
	}()
	state, err := program.Wait()
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		return cannotRun
	}
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return state.ExitCode()
}

func join(pid string, command []string) (*os.Process, error) {
	config, err := os.Open("/proc/" + pid + "/fd/0")
	if err != nil {
		return nil, err
	}
	var c plan.Supervised
	err = json.NewDecoder(io.NewSectionReader(config, 0, 1<<20)).Decode(&c)
	config.Close()
	if err != nil || c.Target == "" {
		return nil, fmt.Errorf("process %s is no container of a lab", pid)
	}
	how := &syscall.SysProcAttr{}
	if limitsOf(c).Some() { // it takes of what the program may take
		group, err := cgroup.Open(labOf(c), c.Target+":"+c.Name)
		if err != nil {
			return nil, err
		}
		defer group.Close()
		how.UseCgroupFD, how.CgroupFD = true, int(group.Fd())
	}
	if err := testbed.Join(pid); err != nil {
		return nil, err
	}
	return start(c, command, []*os.File{os.Stdin, os.Stdout, os.Stderr}, how)
}
