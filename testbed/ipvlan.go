package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var (
	ipvlanModes = map[netlink.IPVlanMode]string{netlink.IPVLAN_MODE_L2: "l2", netlink.IPVLAN_MODE_L3: "l3", netlink.IPVLAN_MODE_L3S: "l3s"}
	ipvlanFlags = map[netlink.IPVlanFlag]string{netlink.IPVLAN_FLAG_PRIVATE: " private", netlink.IPVLAN_FLAG_VEPA: " vepa"}
)

var ipvlanLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		i := l.(*netlink.IPVlan)
		return plan.IPVLAN{Mode: ipvlanModes[i.Mode] + ipvlanFlags[i.Flag]}
	},
	stand: func(d plan.Device, on plan.End) plan.Device {
		i := d.(plan.IPVLAN)
		i.Lower = on
		return i
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return &netlink.IPVlan{LinkAttrs: base, Mode: keyOf(ipvlanModes, l.Device.(plan.IPVLAN).Mode)}, nil
	},
	probes: []probe{{plan.FeatureIPVLAN, []string{"ipvlan"}, on("ipvlan", func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.IPVlan{LinkAttrs: a, Mode: netlink.IPVLAN_MODE_L2}
	})}},
}
