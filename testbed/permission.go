package testbed

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// InUserNamespace reports whether root here is not the machine's.
func InUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

// explain says of what the kernel does not permit which right may be missing.
func explain(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return err
	}
	for _, c := range []struct {
		name string
		bit  int
	}{{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		if data[0].Effective&(1<<c.bit) == 0 {
			return fmt.Errorf("%w (a container without %s?)", err, c.name)
		}
	}
	if InUserNamespace() {
		return fmt.Errorf("%w (this is a user namespace)", err)
	}
	return err
}

// SocketBuffer gives a socket a buffer of that size, with SO_RCVBUFFORCE or SO_SNDBUFFORCE, or the largest that a user may
// have who is not the machine's root.
func SocketBuffer(fd, force, size int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		option := unix.SO_RCVBUF
		if force == unix.SO_SNDBUFFORCE {
			option = unix.SO_SNDBUF
		}
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
	return os.NewSyscallError("setsockopt", err)
}
