package testbed

import (
	"strings"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var vlanLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		v := l.(*netlink.Vlan)
		return plan.VLAN{ID: v.VlanId, Odd: unusual(v)}
	},
	stand: func(d plan.Device, on plan.End) plan.Device {
		v := d.(plan.VLAN)
		v.Lower = on
		return v
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		return &netlink.Vlan{LinkAttrs: base, VlanId: l.Device.(plan.VLAN).ID}, nil
	},
	probes: []probe{{plan.FeatureVLAN, []string{"8021q"}, on("vlan", func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Vlan{LinkAttrs: a, VlanId: 1}
	})}},
}

// unusual is what no lab wants of a VLAN device.
func unusual(l *netlink.Vlan) string {
	var words []string
	if l.VlanProtocol != netlink.VLAN_PROTOCOL_8021Q {
		words = append(words, strings.ToLower(l.VlanProtocol.String()))
	}
	for _, flag := range []struct {
		name   string
		on     *bool
		wanted bool
	}{
		{"reorder_hdr", l.ReorderHdr, true}, {"gvrp", l.Gvrp, false}, {"mvrp", l.Mvrp, false},
		{"loose_binding", l.LooseBinding, false}, {"bridge_binding", l.BridgeBinding, false},
	} {
		if flag.on != nil && *flag.on != flag.wanted {
			words = append(words, flag.name+" "+map[bool]string{true: "on", false: "off"}[*flag.on])
		}
	}
	if len(l.IngressQosMap)+len(l.EgressQosMap) > 0 {
		words = append(words, "with a QoS map")
	}
	return strings.Join(words, ", ")
}
