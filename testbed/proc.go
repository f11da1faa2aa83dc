package testbed

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctlFiles reads and writes below /proc/sys. The names in /proc/sys/net mean the files of the namespace that the thread is
// in, and the kernel remembers those of all namespaces in one list for each name: in a file system that has looked into
// hundreds of them, every first look into another one walks that list. So this is a proc of its own, mounted nowhere, that
// is replaced by a new and empty one before the lists get long. Where the kernel does not permit that, it is /proc.
type sysctlFiles struct {
	root    int // the file system's root; 0 before the first use
	opened  int // files since it was new
	refused bool
}

// freshEvery is how many files are opened in one file system: a new one costs about as much as ten of them.
const freshEvery = 200

func (s *sysctlFiles) open(path string, flags int) (int, error) {
	if s.opened++; !s.refused && (s.root == 0 || s.opened > freshEvery) {
		s.close()
		root, err := newProc()
		s.root, s.refused = root, err != nil
	}
	at, name := s.root, "sys/"+path
	if s.refused {
		at, name = unix.AT_FDCWD, "/proc/sys/"+path
	}
	fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: "/proc/sys/" + path, Err: err}
	}
	return fd, nil
}

func (s *sysctlFiles) close() {
	if s.root != 0 {
		unix.Close(s.root)
	}
	s.root, s.opened = 0, 0
}

// newProc returns the root of a proc that nobody else uses.
func newProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return 0, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

func (s *sysctlFiles) read(path string) (string, error) {
	fd, err := s.open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", &os.PathError{Op: "read", Path: "/proc/sys/" + path, Err: err}
	}
	return strings.TrimSpace(string(b[:n])), nil
}

func (s *sysctlFiles) write(path, value string) error {
	fd, err := s.open(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: "/proc/sys/" + path, Err: err}
	}
	return nil
}
