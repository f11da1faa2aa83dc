// Package modes is the table of contents: every way of connecting pods that there is.
package modes

import (
	"labnet/lab/plan"
	"labnet/modes/hostgw"
	"labnet/modes/macvlan"
	"labnet/modes/vxlan"
)

// All lists the modes in the order in which people are shown them.
var All = plan.Modes{
	{Name: "host-gw", Mode: hostgw.Mode{}},
	{Name: "vxlan", Mode: vxlan.Mode{}},
	{Name: "macvlan", Mode: macvlan.Mode{}},
}
