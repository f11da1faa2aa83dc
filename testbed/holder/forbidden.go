package holder

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Forbidden is an error that says why a user may have no world of his own here, and what would let him.
type Forbidden struct {
	Reason, Remedy string
	Err            error
}

func (f *Forbidden) Error() string { return fmt.Sprintf("%s (%v). %s", f.Reason, f.Err, f.Remedy) }
func (f *Forbidden) Unwrap() error { return f.Err }

// forbidden finds out what forbids a world. Which of them it was the kernel does not say; read returns what is set.
func forbidden(err error, read func(string) ([]byte, error)) error {
	set := func(path string) string {
		text, err := read(path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, os.ErrPermission) {
		return err
	}
	f := &Forbidden{Err: err}
	for _, limit := range []string{"user", "mnt", "net", "pid"} {
		if sysctl := "user.max_" + limit + "_namespaces"; errors.Is(err, unix.ENOSPC) && set("/proc/sys/"+strings.ReplaceAll(sysctl, ".", "/")) == "0" {
			f.Reason, f.Remedy = "This machine allows users no "+limit+" namespaces: "+sysctl+" is 0", "Let an administrator say \"sysctl -w "+sysctl+"=10000\"."
			return f
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		f.Reason, f.Remedy = "There are as many namespaces as this machine allows, or they are nested too deep", "End some, or let an administrator raise user.max_user_namespaces."
	case set("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		f.Reason, f.Remedy = "This machine forbids users their own namespaces: kernel.unprivileged_userns_clone is 0", "Let an administrator say \"sysctl -w kernel.unprivileged_userns_clone=1\"."
	case set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		f.Reason = "AppArmor forbids it to programs that it does not know: kernel.apparmor_restrict_unprivileged_userns is 1"
		f.Remedy = "Let an administrator say \"sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\", or give lab a profile with \"userns,\" (docs/rootless.md has one)."
	case contained(read):
		f.Reason, f.Remedy = "The container that this is runs in does not permit it", "Run it with \"--security-opt seccomp=unconfined --security-opt systempaths=unconfined\", or as root with the capabilities SYS_ADMIN and NET_ADMIN."
	default:
		f.Reason, f.Remedy = "The kernel refuses users their own namespaces here", "A chroot, a seccomp filter or a security module does that; an administrator of this machine knows which."
	}
	return f
}

// contained reports whether this is a container, as far as the runtimes tell.
func contained(read func(string) ([]byte, error)) bool {
	for _, path := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := read(path); err == nil {
			return true
		}
	}
	env, _ := read("/proc/1/environ")
	return strings.HasPrefix(string(env), "container=") || strings.Contains(string(env), "\x00container=")
}
