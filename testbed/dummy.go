package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var dummyLink = linkType{
	read: func(netlink.Link, sight) plan.Device { return plan.Dummy{} },
	create: func(_ *applier, _ plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return &netlink.Dummy{LinkAttrs: base}, nil
	},
}
