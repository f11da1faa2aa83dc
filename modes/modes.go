// Package modes is the table of contents: every way of connecting pods that there is.
package modes

import (
	"labnet/lab/plan"
	"labnet/modes/bgp"
	"labnet/modes/cni"
	"labnet/modes/hostgw"
	"labnet/modes/ipip"
	"labnet/modes/ipvlan"
	"labnet/modes/macvlan"
	"labnet/modes/udp"
	"labnet/modes/vlan"
	"labnet/modes/vxlan"
)

// All lists the modes in the order in which people are shown them.
var All = plan.Modes{
	{Name: "host-gw", Mode: hostgw.Mode{}},
	{Name: "vxlan", Mode: vxlan.Mode{}},
	{Name: "ipip", Mode: ipip.Mode{}},
	{Name: "udp", Mode: udp.Mode{}},
	{Name: "bgp", Mode: bgp.Mode{}},
	{Name: "macvlan", Mode: macvlan.Mode{}},
	{Name: "vlan", Mode: vlan.Mode{}},
	{Name: "ipvlan", Mode: ipvlan.Mode{}},
	{Name: "cni", Mode: cni.Mode{}},
}
