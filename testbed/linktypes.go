package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

// linkTypes are the types of links that have more than what every link has, as netlink calls them.
var linkTypes = map[string]linkType{
	"bridge":  bridgeLink,
	"veth":    vethLink,
	"vxlan":   vxlanLink,
	"ipip":    ipipLink,
	"macvlan": macvlanLink,
	"ipvlan":  ipvlanLink,
	"vlan":    vlanLink,
	"ifb":     ifbLink,
	"tuntap":  tunLink,
	"dummy":   dummyLink,
}

// unknownLink is a link of a type that no lab has.
var unknownLink = linkType{read: func(l netlink.Link, _ sight) plan.Device { return plan.Other(l.Type()) }}
