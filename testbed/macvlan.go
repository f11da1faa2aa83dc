package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var macvlanModes = map[netlink.MacvlanMode]string{
	netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge", netlink.MACVLAN_MODE_PASSTHRU: "passthru",
}

var macvlanLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		return plan.MACVLAN{Mode: macvlanModes[l.(*netlink.Macvlan).Mode]}
	},
	stand: func(d plan.Device, on plan.End) plan.Device {
		m := d.(plan.MACVLAN)
		m.Lower = on
		return m
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return &netlink.Macvlan{LinkAttrs: base, Mode: keyOf(macvlanModes, l.Device.(plan.MACVLAN).Mode)}, nil
	},
	probes: []probe{{plan.FeatureMACVLAN, []string{"macvlan"}, on("macvlan", func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}
	})}},
}
