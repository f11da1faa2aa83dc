package supervise

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// stage is where the new root is put together: a folder that is there while a lab is up.
const stage = "/run/lab"

// How much a program may write, and how many files: both are memory.
const (
	rootSize = "size=64m,nr_inodes=64k,mode=0755"
	ownSize  = "size=16m,nr_inodes=16k"
)

// own are the folders that a program has for itself, empty when it starts.
var own = []string{"run", "tmp", "var/log"}

// OwnPath reports whether a program cannot see a path of the machine, since it has that folder for itself.
func OwnPath(path string) (folder string, is bool) {
	for _, o := range slices.Concat(own, []string{"dev", "proc", "sys"}) {
		if strings.HasPrefix(path, "/"+o+"/") {
			return "/" + o, true
		}
	}
	return "", false
}

// devices are those that a program can open.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty", "net/tun"}

// What of /proc cannot be written, and what cannot be read, as in other containers: it is the whole machine's.
var (
	readOnly = []string{"proc/acpi", "proc/bus", "proc/fs", "proc/irq", "proc/scsi", "proc/sys", "proc/sysrq-trigger"}
	unseen   = []string{"proc/kcore", "proc/keys", "proc/timer_list", "proc/sched_debug"}
)

// ownRoot gives this process, in a mount namespace of its own, a file system of its own: the machine's below, which it sees and
// cannot change, and memory above. The hostname is the target's, and the lab's names resolve.
func ownRoot(hostname, hosts string, administers bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("lab", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, rootSize); err != nil {
		return err
	}
	root := filepath.Join(stage, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := machineFiles(root); err != nil {
		return err
	}
	text, _ := os.ReadFile("/etc/hosts")
	if err := replace(root, "etc/hosts", strings.TrimRight(hosts, "\n")+"\n"+string(text)); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return err
	}
	for _, o := range own {
		mode := ",mode=0755"
		if o == "tmp" {
			mode = ",mode=1777"
		}
		if err := mount(root, o, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ownSize+mode); err != nil {
			return err
		}
	}
	if err := mount(root, "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	// A machine whose /sys is not wholly visible lets nobody mount another; programs that do not look there do without.
	_ = mount(root, "sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "")
	if err := ownDevices(root); err != nil {
		return err
	}
	for _, path := range readOnly {
		if err := bind(filepath.Join(root, path), filepath.Join(root, path), unix.MS_RDONLY); err != nil {
			return err
		}
	}
	if administers {
		if err := bind(filepath.Join(root, "proc/sys/net"), filepath.Join(root, "proc/sys/net"), 0); err != nil {
			return err
		}
	}
	for _, path := range unseen {
		if err := bind("/dev/null", filepath.Join(root, path), unix.MS_RDONLY); err != nil {
			return err
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root is over the new one now
		return fmt.Errorf("changing to it: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}

// machineFiles puts the machine's files into the new root.
func machineFiles(root string) error {
	mounts, err := machineMounts() // before there are more
	if err != nil {
		return err
	}
	if overlay("/", root, filepath.Join(stage, "files")) != nil {
		return eachFolder(root)
	}
	for i, m := range mounts {
		if err := layer(m, filepath.Join(root, m), filepath.Join(stage, fmt.Sprint(i))); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

// eachFolder does it folder by folder: a user's namespaces may not take a file system apart from what is mounted below it, so
// that there is no overlay of / as a whole.
func eachFolder(root string) error {
	if err := unix.Mount("lab", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ownSize+",mode=0755"); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, at := filepath.Join("/", e.Name()), filepath.Join(root, e.Name())
		_, hidden := OwnPath(from + "/")
		switch {
		case hidden:
		case e.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(from)
			if err != nil {
				return err
			}
			err = os.Symlink(to, at)
			if err != nil {
				return err
			}
		case e.IsDir():
			if err := os.Mkdir(at, 0o755); err != nil {
				return err
			}
			if err := layer(from, at, filepath.Join(stage, "of-"+e.Name())); err != nil {
				return fmt.Errorf("%s: %w", from, err)
			}
		}
	}
	return nil
}

// machineMounts are the file systems below / that a program sees; those of the kernel, and those that it has for itself, are
// not.
func machineMounts() (mounts []string, err error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		dash := slices.Index(words, "-")
		if dash < 6 || dash+1 >= len(words) {
			continue
		}
		at, kind := unescape(words[4]), words[dash+1]
		_, hidden := OwnPath(at + "/")
		if at == "/" || hidden || at == "/etc/hosts" || slices.Contains(kernels, kind) || slices.Contains(mounts, at) {
			continue
		}
		if _, err := os.Stat(at); err == nil { // else another one lies over it
			mounts = append(mounts, at)
		}
	}
	return mounts, nil
}

// kernels are file systems that hold no files of the machine's.
var kernels = []string{
	"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore",
	"ramfs", "rpc_pipefs", "securityfs", "sysfs", "tmpfs", "tracefs",
}

// unescape reads a path of mountinfo, where blanks and the like are octal.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// layer puts a folder of the machine at a place of the new root, with memory above. Where the kernel cannot do that it is there
// with all that is mounted below it, and cannot be written.
func layer(lower, at, above string) error {
	if info, err := os.Stat(lower); err != nil || !info.IsDir() {
		return bind(lower, at, unix.MS_RDONLY)
	}
	if overlay(lower, at, above) == nil {
		return nil
	}
	if err := unix.Mount(lower, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, at, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

func overlay(lower, at, above string) error {
	if strings.ContainsAny(lower, `:,\`) {
		return unix.EINVAL // mount(2) would take them for its own
	}
	upper, work := filepath.Join(above, "upper"), filepath.Join(above, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)
	err := unix.Mount("overlay", at, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options)
	if err != nil { // a user may write no other attributes
		err = unix.Mount("overlay", at, "overlay", unix.MS_NODEV|unix.MS_NOSUID, options+",userxattr")
	}
	return err
}

// bind shows something at another place too. What is not there is left out.
func bind(from, at string, flags uintptr) error {
	if _, err := os.Stat(from); err != nil {
		return nil
	}
	if _, err := os.Stat(at); err != nil {
		return nil
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	// A user's namespaces may not drop what the mount below has.
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return err
	}
	kept := uintptr(s.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	if err := unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|kept|flags, ""); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// mount mounts a new file system in the new root.
func mount(root, at, kind string, flags uintptr, options string) error {
	path := filepath.Join(root, at)
	_ = os.MkdirAll(path, 0o755) // what cannot be made cannot be mounted on either
	if err := unix.Mount("lab", path, kind, flags, options); err != nil {
		return fmt.Errorf("/%s: %w", at, err)
	}
	return nil
}

// replace writes a file of the new root.
func replace(root, at, text string) error {
	path := filepath.Join(root, at)
	err := os.Remove(path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return os.WriteFile(path, []byte(text), 0o644)
	}
	kept := filepath.Join(stage, filepath.Base(at)) // the root cannot be written
	if err := os.WriteFile(kept, []byte(text), 0o644); err != nil {
		return err
	}
	return bind(kept, path, unix.MS_RDONLY)
}

// ownDevices fills /dev.
func ownDevices(root string) error {
	dev := filepath.Join(root, "dev")
	if err := mount(root, "dev", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,nr_inodes=1k,mode=0755"); err != nil {
		return err
	}
	for _, d := range devices {
		at := filepath.Join(dev, d)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, nil, 0o666); err != nil {
			return err
		}
		if err := bind(filepath.Join("/dev", d), at, 0); err != nil {
			return err
		}
	}
	for at, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, filepath.Join(dev, at)); err != nil {
			return err
		}
	}
	if err := mount(root, "dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ownSize+",mode=1777"); err != nil {
		return err
	}
	// Terminals are a convenience; a user's namespaces may have no group for them.
	_ = mount(root, "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	return nil
}
