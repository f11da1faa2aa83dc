package testbed

import (
	"net"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var geneveLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		g := l.(*netlink.Geneve)
		return plan.GENEVE{VNI: int(g.ID), Remote: address(g.Remote), Port: int(g.Dport)}
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		g := l.Device.(plan.GENEVE)
		return &netlink.Geneve{LinkAttrs: base, ID: uint32(g.VNI), Remote: g.Remote.AsSlice(), Dport: uint16(g.Port)}, nil
	},
	probes: []probe{{plan.FeatureGENEVE, []string{"geneve"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Geneve{LinkAttrs: attrs("probe-geneve"), ID: 1, Remote: net.IPv4(192, 0, 2, 1)})
	}}},
}
