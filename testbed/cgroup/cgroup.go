// Package cgroup limits what programs take, by cgroup v2 and plain files. Each has a cgroup of its own, and those of a lab lie in
// one, lab-NAME. It is made where the cgroups begin in which this process may make some: for root at the top, for others where
// their service manager lets them. Nothing else is changed: a controller that is not passed on to there is not to be had.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are what a program may take; what is zero is not limited.
type Limits struct {
	Memory int64 // bytes
	CPUs   float64
	PIDs   int
}

// Some reports whether anything is limited.
func (l Limits) Some() bool { return l != Limits{} }

// The controllers that limits need.
const (
	Memory = "memory"
	CPU    = "cpu"
	PIDs   = "pids"
)

// ErrRefused is that of a user who may make no cgroup.
var ErrRefused = errors.New("no cgroup may be made here")

// Mount is where the hierarchy of cgroup v2 is; empty where there is none.
func Mount() string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		if words := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(words) > 4 {
			return words[4]
		}
	}
	return ""
}

// base is the highest cgroup above this process in which it may make others.
func base() (string, error) {
	mount := Mount()
	text, err := os.ReadFile("/proc/self/cgroup")
	if mount == "" || err != nil {
		return "", os.ErrNotExist
	}
	at := mount
	for line := range strings.Lines(string(text)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && !strings.HasPrefix(own, "..") {
			at = filepath.Join(mount, own)
		}
	}
	best := ""
	for ; ; at = filepath.Dir(at) {
		if unix.Access(at, unix.W_OK) == nil && unix.Access(filepath.Join(at, "cgroup.procs"), unix.W_OK) == nil {
			best = at
		}
		if at == mount {
			break
		}
	}
	if best == "" {
		return "", ErrRefused
	}
	return best, nil
}

// Has lists the controllers that limits can be set with.
func Has() ([]string, error) {
	dir, err := base()
	if err != nil {
		return nil, err
	}
	return passed(dir), nil
}

func passed(dir string) []string {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	return slices.DeleteFunc(strings.Fields(string(text)), func(c string) bool { return !slices.Contains([]string{Memory, CPU, PIDs}, c) })
}

func treeName(lab string) string { return "lab-" + lab }

// Group is the cgroup of a program.
type Group struct{ dir string }

// Make makes the cgroup of a program of a lab, or takes the one that is there, and sets its limits.
func Make(lab, program string, l Limits) (*Group, error) {
	at, err := base()
	if err != nil {
		return nil, err
	}
	tree := filepath.Join(at, treeName(lab))
	g := &Group{filepath.Join(tree, strings.ReplaceAll(program, "/", "."))}
	for tries := 0; ; tries++ { // the last of other programs may take the lab's along as it goes
		if err = g.make(tree, passed(at)); !errors.Is(err, os.ErrNotExist) || tries == 10 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return g, g.limit(l)
}

func (g *Group) make(tree string, controllers []string) error {
	if err := os.Mkdir(tree, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, c := range controllers {
		if err := write(tree, "cgroup.subtree_control", "+"+c); err != nil {
			return err
		}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

const period = 100000 // µs: of so long a program has its share

func (g *Group) limit(l Limits) error {
	memory, cpu, pids := "max", "max", "max"
	if l.Memory > 0 {
		memory = strconv.FormatInt(l.Memory, 10)
	}
	if l.CPUs > 0 {
		cpu = strconv.FormatInt(int64(l.CPUs*period), 10)
	}
	if l.PIDs > 0 {
		pids = strconv.Itoa(l.PIDs)
	}
	swap := "max"
	if l.Memory > 0 {
		swap = "0" // what it may have is all that it has
	}
	for _, set := range []struct {
		file, value string
		needed      bool
	}{{"memory.max", memory, l.Memory > 0}, {"memory.swap.max", swap, false}, {"cpu.max", fmt.Sprintf("%s %d", cpu, period), l.CPUs > 0}, {"pids.max", pids, l.PIDs > 0}} {
		err := write(g.dir, set.file, set.value)
		if errors.Is(err, os.ErrNotExist) && !set.needed { // the controller is not passed on, or there is no swap
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// Open returns the cgroup of a program, for a process to be started in.
func Open(lab, program string) (*os.File, error) {
	at, err := base()
	if err != nil {
		return nil, err
	}
	return (&Group{filepath.Join(at, treeName(lab), strings.ReplaceAll(program, "/", "."))}).Open()
}

// Open returns the cgroup for a process to be started in.
func (g *Group) Open() (*os.File, error) {
	fd, err := unix.Open(g.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: g.dir, Err: err}
	}
	return os.NewFile(uintptr(fd), g.dir), nil
}

// Starved is how many processes of the cgroup were killed because they had more memory than they may, since it was made.
func (g *Group) Starved() int {
	text, _ := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			count, _ := strconv.Atoi(n)
			return count
		}
	}
	return 0
}

// Remove removes the cgroup, whose processes have ended, and with the last one of a lab the lab's.
func (g *Group) Remove() {
	_ = unlink(g.dir)
	_ = unix.Rmdir(filepath.Dir(g.dir))
}

// Remove ends what is left in the cgroups of a lab, and removes them.
func Remove(lab string) error {
	var errs []error
	for _, tree := range trees(lab) {
		_ = write(tree, "cgroup.kill", "1")
		leaves, err := os.ReadDir(tree)
		errs = append(errs, err)
		for _, leaf := range leaves {
			if leaf.IsDir() {
				errs = append(errs, unlink(filepath.Join(tree, leaf.Name())))
			}
		}
		errs = append(errs, unlink(tree))
	}
	return errors.Join(errs...)
}

// trees are the cgroups of a lab: one, unless it was begun elsewhere. Root's are at the top; another's are looked for.
func trees(lab string) (found []string) {
	mount := Mount()
	if mount == "" {
		return nil
	}
	deepest := strings.Count(mount, "/") + 6
	if at, err := base(); err == nil && at == mount {
		deepest = strings.Count(mount, "/") + 1
	}
	_ = filepath.WalkDir(mount, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // others' cgroups come and go
		case d.Name() == treeName(lab):
			if info, err := d.Info(); err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == os.Geteuid() {
				found = append(found, path)
			}
			return filepath.SkipDir
		case strings.Count(path, "/") >= deepest:
			return filepath.SkipDir
		}
		return nil
	})
	return found
}

// unlink removes a cgroup. Its processes may still be on their way out.
func unlink(dir string) error {
	for until := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
}
