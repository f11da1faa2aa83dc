package wire

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"labnet/testbed"
)

// Device is where frames are captured.
type Device struct {
	Index int
	Name  string
	Bare  bool // packets begin with the IP header
}

// Devices lists the devices of a place.
func Devices(place *testbed.Place) ([]Device, error) {
	var all []Device
	err := place.Do(func() error {
		list, err := net.Interfaces()
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer unix.Close(fd)
		for _, dev := range list {
			request, err := unix.NewIfreq(dev.Name)
			if err == nil {
				err = unix.IoctlIfreq(fd, unix.SIOCGIFHWADDR, request)
			}
			if err == unix.ENODEV { // gone since
				continue
			}
			if err != nil {
				return fmt.Errorf("the type of %s: %w", dev.Name, err)
			}
			all = append(all, Device{dev.Index, dev.Name, Bare(int(request.Uint16()))})
		}
		return nil
	})
	return all, err
}
