package attach

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
)

// Local is what becomes of packets that stay on one node. own is the address that the node itself uses towards its pods.
func Local(f plan.Flow, mtu int, own netip.Addr) plan.Expectation {
	e := plan.Expectation{Reachable: true, Source: f.From.Address, MTU: mtu}
	if f.From.Pod == nil && own.IsValid() {
		e.Source = own
	}
	return e
}

// Outside is what becomes of packets from a pod to another node itself: that is no pod, so they are masqueraded and cross
// the underlay as they are.
func Outside(f plan.Flow, mtu int) plan.Expectation {
	from, to := f.From, f.To
	return plan.Expectation{
		Reachable: true,
		Source:    from.Node.Uplink().Address(to.Address.Is6()).Addr(),
		MTU:       min(mtu, from.Node.Uplink().Switch.MTU, to.Node.Uplink().Switch.MTU),
		Wire:      true,
	}
}

// Families reports nodes whose uplink lacks a family that the pod network has.
func Families(c *plan.Net) hcl.Diagnostics {
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

// OnlyIPv4 refuses a pod network with IPv6 where the mode's own program has none.
func OnlyIPv4(c *plan.Net, mode string) hcl.Diagnostics {
	for _, cidr := range c.CIDRs() {
		if cidr.Addr().Is6() {
			return hcl.Diagnostics{{
				Severity: hcl.DiagError,
				Summary:  mode + " is IPv4 only",
				Detail:   fmt.Sprintf("The pod network has %s, and %s carries no IPv6. Remove that CIDR, or use a mode that has both, such as vxlan or host-gw.", cidr, mode),
				Subject:  c.Def.At.Of("cidr", c.Def.Range).Ptr(),
			}}
		}
	}
	return nil
}

// Room reports switches on which a mode leaves the pods too small an MTU, or a smaller one than the network asks for. room is
// how much it leaves them.
func Room(c *plan.Net, mode string, room func(*plan.Node) int) hcl.Diagnostics {
	least := 68 // RFC 791
	for _, cidr := range c.CIDRs() {
		if cidr.Addr().Is6() {
			least = 1280 // RFC 8200
		}
	}
	var diags hcl.Diagnostics
	narrow := map[*lab.Switch]bool{}
	for _, n := range c.Nodes {
		sw := n.Uplink().Switch
		left := room(n.Node)
		if wanted := c.Def.MTU; wanted > left && left >= least && !narrow[sw] {
			narrow[sw] = true
			diags = append(diags, lab.Contradiction(c.Def.At.Of("mtu", c.Def.Range), sw.At.Of("mtu", sw.Range),
				"The pods' MTU is too large for "+mode,
				"Packets of %d bytes do not fit: on switch %[2]q (MTU %[3]d) mode %[4]s leaves %[5]d bytes for the pods. Write mtu = %[5]d or less, leave it out to use all of it, or give the switch an MTU of %[6]d; it is at %[7]s.",
				wanted, sw.Name, sw.MTU, mode, left, sw.MTU-left+wanted))
		}
		if left < least {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "The underlay's MTU is too small for " + mode,
				Detail: fmt.Sprintf("On switch %q (MTU %d) %d bytes would be left for the pods of node %q; they need %d. Use an MTU of at least %d.",
					sw.Name, sw.MTU, left, n.Name, least, sw.MTU-left+least),
				Subject: sw.At.Of("mtu", sw.Range).Ptr(),
			})
		}
	}
	return diags
}

// OneSegment reports the nodes that another node cannot be the gateway for.
func OneSegment(c *plan.Net, mode string) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range c.Nodes {
		first := c.Nodes[0].Uplink()
		if n.Uplink().Segment() != first.Segment() {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  mode + " needs all nodes on one switch",
				Detail: fmt.Sprintf("Node %q is on %s and node %q on %s; a next hop must be on the same segment. Put the nodes on one switch, or use a mode that encapsulates, such as vxlan.",
					n.Name, n.Uplink().Segment(), c.Nodes[0].Name, first.Segment()),
				Subject: n.Uplink().Range.Ptr(),
			})
		}
	}
	return diags
}

// Expect follows a packet and the answer to it, where the pods' devices stand on their nodes' uplinks.
func (s Shared) Expect(c *plan.Net, f plan.Flow) plan.Expectation { return s.Walk(c).Expect(f) }

// Walk is how packets go there.
func (s Shared) Walk(c *plan.Net) plan.Walk {
	gateway := func(cidr netip.Prefix) netip.Addr { return s.Gateway(c, cidr) }
	return plan.Walk{Cluster: c.Cluster, Net: c, Segment: s.Segment, Gateway: gateway, VLAN: s.VLAN, SameMAC: s.SameMAC}
}

// ExpectBehind does so where nodes route for the pods on their uplinks.
func ExpectBehind(c *plan.Net, f plan.Flow) plan.Expectation {
	return plan.Walk{Cluster: c.Cluster, Net: c, Segment: Shared{}.Segment, SameMAC: true, Behind: true}.Expect(f)
}
