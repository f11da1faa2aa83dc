package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/testbed/cni"
)

// PluginArg is the first argument with which the program calls itself to become a CNI plugin in a node.
const PluginArg = "__plugin"

// What a node has of its own, in the folder that its plugins' records are in.
var ownFolders = map[string]string{"/var/lib/cni": "lib", "/etc/cni/net.d": "net.d", "/run/cni": "run"}

// attachmentsOf is where the plugins of a node keep what they have made.
func attachmentsOf(namespace string) string {
	lab, machine, _ := strings.Cut(namespace, ".")
	return filepath.Join(folder(lab), "cni", machine)
}

// pluginsOf calls the plugins of a node, in its namespaces. What one leaves running ends with it.
func pluginsOf(namespace string) cni.Node {
	at := attachmentsOf(namespace)
	return cni.Node{Folder: at, Start: func(plugin, files string) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self, PluginArg, namespace, at, files, plugin)
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
		return cmd, nil
	}}
}

// netnsOf is the path of a namespace as plugins get it, empty where it is gone.
func netnsOf(name string) string {
	place, err := Open(name)
	if err != nil {
		return ""
	}
	place.Close()
	return place.Path()
}

// Plugin is the other half: it returns only when it fails.
func Plugin(args []string) int {
	err := errors.New("this is for lab itself to call")
	if len(args) == 4 {
		err = becomePlugin(args[0], args[1], args[2], args[3])
	}
	fmt.Fprintf(os.Stderr, "lab: %v\n", err)
	return cannotRun
}

func becomePlugin(namespace, own, files, plugin string) error {
	place, err := Open(namespace)
	if err != nil {
		return err
	}
	_, machine, _ := strings.Cut(namespace, ".")
	if err := enter(place, machine, ""); err != nil {
		return fmt.Errorf("entering %s: %w", namespace, err)
	}
	if err := unix.Mount("lab", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("its own /proc: %w", err)
	}
	for path, name := range ownFolders {
		from := filepath.Join(own, name)
		if err := os.MkdirAll(from, 0o755); err != nil {
			return err
		}
		if err := standIn(path, from); err != nil {
			return fmt.Errorf("its own %s: %w", path, err)
		}
	}
	if files != "" {
		if err := standInFiles(files); err != nil {
			return err
		}
	}
	unix.CloseOnExec(cni.Begun)
	return fmt.Errorf("%s: %w", plugin, unix.Exec(plugin, []string{plugin}, os.Environ()))
}

// standIn mounts a folder at a path, where nothing of the machine's is changed: folders on the way that are missing are made
// on a file system that only this process sees.
func standIn(path, from string) error {
	if !isDir(path) {
		if err := room(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	}
	return unix.Mount(from, path, "", unix.MS_BIND, "")
}

// room makes a folder one in which something can be made that only this process sees.
func room(folder string) error {
	at := folder
	for !isDir(at) {
		at = filepath.Dir(at)
	}
	if err := mimic(at); err != nil {
		return err
	}
	return os.MkdirAll(folder, 0o755)
}

// standInFiles mounts each file below a folder at its path.
func standInFiles(given string) error {
	return filepath.WalkDir(given, func(from string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		path := strings.TrimPrefix(from, given)
		if _, err := os.Lstat(path); err != nil {
			if err := room(filepath.Dir(path)); err != nil {
				return fmt.Errorf("its own %s: %w", path, err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				return err
			}
		}
		if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("its own %s: %w", path, err)
		}
		return nil
	})
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// mimic puts a file system in the place of a folder, with what the folder has and room for more.
func mimic(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	before, err := unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(before)
	if err := unix.Mount("lab", folder, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, e := range entries {
		was, is := fmt.Sprintf("/proc/self/fd/%d/%s", before, e.Name()), filepath.Join(folder, e.Name())
		switch {
		case e.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(was)
			if err == nil {
				err = os.Symlink(to, is)
			}
			if err != nil {
				return err
			}
			continue
		case e.IsDir():
			err = os.Mkdir(is, 0o755)
		default:
			err = os.WriteFile(is, nil, 0o644)
		}
		if err != nil {
			return err
		}
		if err := unix.Mount(was, is, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("%s: %w", is, err)
		}
	}
	return nil
}
