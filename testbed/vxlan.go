package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var vxlanLink = linkType{
	read: func(l netlink.Link, s sight) plan.Device {
		v := l.(*netlink.Vxlan)
		return plan.VXLAN{Lower: s.names[v.VtepDevIndex], VNI: v.VxlanId, Port: v.Port, Local: address(v.SrcAddr), Learning: v.Learning}
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		v := l.Device.(plan.VXLAN)
		lower := base.ParentIndex
		base.ParentIndex = 0 // it says that in words of its own
		return &netlink.Vxlan{LinkAttrs: base, VtepDevIndex: lower, VxlanId: v.VNI, SrcAddr: v.Local.AsSlice(), Port: v.Port, Learning: v.Learning}, nil
	},
	probes: []probe{{plan.FeatureVXLAN, []string{"vxlan"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs("probe-vxlan"), VxlanId: 1, Port: 4789})
	}}},
}
