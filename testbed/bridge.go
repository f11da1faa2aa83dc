package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var bridgeLink = linkType{
	read: func(l netlink.Link, s sight) plan.Device {
		b, found := l.(*netlink.Bridge), plan.Bridge{}
		if wanted, ok := s.wanted.Device.(plan.Bridge); ok && s.older(wanted.After, l.Attrs().Index) {
			found.After = wanted.After
		}
		if filters(b) {
			found.Filtering = b.VlanDefaultPVID == nil || *b.VlanDefaultPVID == 0 // otherwise it puts new ports in a VLAN
			if s.retags {
				found.Odd = "another tag than 802.1Q"
			}
		}
		return found
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return newBridge(base, l.Device.(plan.Bridge).Filtering), nil
	},
	change: func(v *visit, _ int, l, _ plan.Link) error {
		// By its name alone: with an index too it would be given that name, which older kernels refuse while it is up.
		filtering := l.Device.(plan.Bridge).Filtering
		return v.BridgeSetVlanFiltering(newBridge(attrs(l.Name), filtering), filtering)
	},
	probes: []probe{
		{plan.FeatureBridge, []string{"bridge"}, func(h *netlink.Handle) error {
			return h.LinkAdd(newBridge(attrs("probe-bridge"), false))
		}},
		{plan.FeatureVLANFiltering, []string{"bridge"}, func(h *netlink.Handle) error {
			filtering := true
			return h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("probe-filter"), VlanFiltering: &filtering})
		}},
	},
}

// filters reports whether a bridge keeps VLANs apart.
func filters(b *netlink.Bridge) bool { return b.VlanFiltering != nil && *b.VlanFiltering }

// newBridge is a bridge that, where it keeps VLANs apart, puts no port in one that nobody named for it.
func newBridge(base netlink.LinkAttrs, filtering bool) *netlink.Bridge {
	b := &netlink.Bridge{LinkAttrs: base}
	if filtering {
		none := uint16(0)
		b.VlanFiltering, b.VlanDefaultPVID = &filtering, &none
	}
	return b
}
