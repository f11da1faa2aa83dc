package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// replace gives a file another text. What else is known of the file stays as it is: owner, mode, links to it. Where a new
// file can take its place, a full disk or a kill leaves it whole, as it was or as it will be.
func replace(name string, text []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file that can be rewritten", name)
	}
	err = exchange(name, text, info)
	if err == nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) {
		return err
	}
	return overwrite(name, text)
}

// errUnlike is why a file cannot be exchanged for one that is like it.
var errUnlike = errors.New("a new file would not be like it")

// exchange puts a new file where the old one is.
func exchange(name string, text []byte, was fs.FileInfo) (err error) {
	if s := was.Sys().(*syscall.Stat_t); s.Nlink > 1 || hasAttributes(name) {
		return errUnlike
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".lab-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	s := was.Sys().(*syscall.Stat_t)
	if _, err = tmp.Write(text); err == nil {
		err = tmp.Chown(int(s.Uid), int(s.Gid))
	}
	if err == nil {
		err = tmp.Chmod(was.Mode()) // after chown, which takes bits away
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// hasAttributes reports whether a file has extended attributes, as access control lists are. The label of SELinux is not
// one: a new file has that of its folder.
func hasAttributes(name string) bool {
	var list [4096]byte
	n, err := syscall.Listxattr(name, list[:])
	if err != nil {
		return errors.Is(err, syscall.ERANGE)
	}
	return strings.TrimRight(string(list[:n]), "\x00") != "" && string(list[:n]) != "security.selinux\x00"
}

// overwrite writes into the file itself. Should that fail, it writes back what was there, for which there is room.
func overwrite(name string, text []byte) error {
	was, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	put := func(text []byte) error {
		_, err := f.WriteAt(text, 0)
		if err == nil {
			err = f.Truncate(int64(len(text)))
		}
		return errors.Join(err, f.Sync())
	}
	if err = put(text); err != nil {
		err = errors.Join(err, put(was))
	}
	return errors.Join(err, f.Close())
}
