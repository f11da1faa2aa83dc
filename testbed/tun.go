package testbed

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// tunLink is made by an agent: nothing else can make a device that is not persistent.
var tunLink = linkType{
	read: func(l netlink.Link, s sight) plan.Device {
		if tun, ok := s.wanted.Device.(plan.TUN); ok {
			return tun
		}
		return plan.Other(l.Type())
	},
	probes: []probe{{plan.FeatureTUN, []string{"tun"}, func(*netlink.Handle) error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}}},
}
