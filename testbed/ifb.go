package testbed

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var ifbLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		return plan.IFB{ARP: l.Attrs().RawFlags&unix.IFF_NOARP == 0}
	},
	bare: plan.IFB{},
	create: func(_ *applier, _ plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return &netlink.Ifb{LinkAttrs: base}, nil
	},
	change: func(v *visit, index int, l, _ plan.Link) error {
		if l.Device.(plan.IFB).ARP {
			return v.LinkSetARPOn(device(index))
		}
		return v.LinkSetARPOff(device(index))
	},
}
