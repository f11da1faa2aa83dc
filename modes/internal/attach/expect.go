package attach

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
)

// Local is what becomes of packets that stay on one node. own is the address that the node itself uses towards its pods.
func Local(from, to plan.Endpoint, mtu int, own netip.Addr) plan.Expectation {
	e := plan.Expectation{Reachable: true, Source: from.Address, MTU: mtu}
	if from.Pod == nil && own.IsValid() {
		e.Source = own
	}
	return e
}

// Outside is what becomes of packets from a pod to another node itself: that is no pod, so they are masqueraded and cross
// the underlay as they are.
func Outside(from, to plan.Endpoint, mtu int) plan.Expectation {
	return plan.Expectation{
		Reachable: true,
		Source:    from.Node.Uplink().Address(to.Address.Is6()).Addr(),
		MTU:       min(mtu, from.Node.Uplink().Switch.MTU, to.Node.Uplink().Switch.MTU),
		Wire:      true,
	}
}

// Families reports nodes whose uplink lacks a family that the pod network has.
func Families(c *plan.Cluster) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, cidr := range c.CIDRs() {
		for _, n := range c.Nodes {
			if n.Uplink().Address(cidr.Addr().Is6()).IsValid() {
				continue
			}
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "The underlay lacks a family of the pod network",
				Detail: fmt.Sprintf("The pod network has %s, but %s has no subnet of that family, so node %q cannot carry it. Add such a subnet to it.",
					cidr, n.Uplink().Segment(), n.Name),
				Subject: n.Uplink().Range.Ptr(),
			})
		}
	}
	return diags
}
