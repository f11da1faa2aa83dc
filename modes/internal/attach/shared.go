package attach

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/device"
)

// Shared has the pods of all nodes on one segment of the underlay, each as if it were plugged into the switch itself: their
// devices stand on the node's uplink, or on a VLAN of it. The node's own network stack has no part in it, and there is no way
// between it and the pods on the same uplink: what either sends leaves by the wire, and a switch does not send a frame back.
type Shared struct {
	Mode     string       // what it is called in diagnostics
	VLAN     int          // 0: the segment of the uplink itself
	Gateways []netip.Addr // at most one a family; left out, it is the router on the segment that has an address among the pods'
	SameMAC  bool         // pods have the MAC address of what they stand on, which takes in what is for their IP addresses
	At       lab.Ranges   // "vlan" and "gateway"
}

// Segment is where a node's pods are.
func (s Shared) Segment(n *plan.Node) lab.Segment {
	if s.VLAN == 0 {
		return n.Uplink().Segment()
	}
	return lab.Segment{Switch: n.Uplink().Switch, VLAN: s.VLAN}
}

// Joins reports whether the pods are on that segment.
func (s Shared) Joins(c *plan.Net, seg lab.Segment) bool {
	return slices.ContainsFunc(c.Nodes, func(n *plan.Member) bool { return s.Segment(n.Node) == seg })
}

// Check reports nodes whose uplink does not lead to the pods' segment, and what that segment cannot carry.
func (s Shared) Check(c *plan.Net) hcl.Diagnostics {
	var diags hcl.Diagnostics
	report := func(at hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at})
	}
	for _, n := range c.Nodes {
		up, first := n.Uplink(), c.Nodes[0]
		switch {
		case s.Segment(n.Node) != s.Segment(first.Node):
			report(up.Range, s.Mode+" needs all nodes on one segment",
				"The pods of node %q would be on %s and those of node %q on %s, and they share one subnet. Put the nodes' first interfaces on one switch, or use a mode that routes or encapsulates, such as vxlan.",
				n.Name, s.Segment(n.Node), first.Name, s.Segment(first.Node))
		case s.VLAN != 0 && !slices.Contains(up.Trunk, s.VLAN):
			write := fmt.Sprintf("trunk = [%d]", s.VLAN)
			if up.Switch.VLAN(s.VLAN) == nil {
				write = fmt.Sprintf("vlan \"%d\" {} into switch %q, and %s", s.VLAN, up.Switch.Name, write)
			}
			report(up.Range, "The uplink does not carry the pods' VLAN",
				"In mode %s the pods of node %q are in VLAN %d, and the port of its %s carries no frames of it. Add %s to this block.", s.Mode, n.Name, s.VLAN, up.Name, write)
		}
		if name := s.device(n); len(name) > lab.MaxInterface {
			report(up.At.Of("name", up.Range), "The device's name would be too long",
				"%s, the device of the pods' VLAN, has %d characters, and an interface name at most %d. Give the uplink a name that is %d characters shorter.", name, len(name), lab.MaxInterface, len(name)-lab.MaxInterface)
		}
		for _, cidr := range c.CIDRs() {
			if sw := up.Switch; cidr.Addr().Is6() && sw.MTU < 1280 {
				report(sw.At.Of("mtu", sw.Range), "MTU too small for IPv6", "IPv6 needs an MTU of 1280 bytes at least (RFC 8200), and the pods, which have addresses of %s, are on this switch.", cidr)
			}
		}
	}
	if diags.HasErrors() {
		return diags
	}
	return Room(c, s.Mode, OnSegment)
}

// subnet is what the pods take for their own subnet: that of the segment where the network lies in it, else the network.
func (s Shared) subnet(c *plan.Net, cidr netip.Prefix) netip.Prefix {
	seg, joined := c.Lab.Joined(cidr)
	if joined {
		for _, subnet := range seg.Subnets() {
			if subnet.Contains(cidr.Addr()) {
				return subnet
			}
		}
	}
	return cidr
}

// Allocate hands out the addresses of the network over all nodes. A node with a pod_cidr has its pods in there, and nobody
// else's; no pod gets the address of a machine, nor the subnet's first, which is left to routers.
func (s Shared) Allocate(c *plan.Net) hcl.Diagnostics {
	diags := s.Check(c)
	if diags.HasErrors() {
		return diags
	}
	for _, cidr := range c.CIDRs() {
		diags = append(diags, s.allocate(c, cidr)...)
	}
	return append(diags, s.gatewaysAmongPods(c)...)
}

func (s Shared) allocate(c *plan.Net, cidr netip.Prefix) hcl.Diagnostics {
	var diags hcl.Diagnostics
	v6 := cidr.Addr().Is6()
	subnet := s.subnet(c, cidr)
	taken := map[netip.Addr]string{}
	for _, m := range c.Lab.Machines {
		for _, nic := range m.Interfaces {
			for _, a := range nic.Addresses {
				taken[a.Addr()] = m.Name
			}
		}
	}
	reserved := map[netip.Addr]bool{subnet.Addr(): true, plan.Nth(subnet, 1): true}
	if !v6 {
		reserved[plan.Last(subnet)] = true
	}
	for _, g := range s.Gateways {
		reserved[g] = true
	}
	for _, n := range c.Nodes {
		for _, p := range n.NICs {
			a, asked := wanted(p, v6)
			if !asked {
				continue
			}
			at := p.At.Of("address", p.Range)
			switch owner := taken[a]; {
			case owner != "":
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Duplicate address", Subject: &at,
					Detail: fmt.Sprintf("In mode %s pod %s is on the segment of %s, which has %s already. Give the pod another address, or leave it out to have one allocated.", s.Mode, p.Title(), owner, a),
				})
			case a == subnet.Addr(), !v6 && a == plan.Last(subnet), slices.Contains(s.Gateways, a):
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "No pod can have this address", Subject: &at,
					Detail: fmt.Sprintf("%s is the network's, the broadcast or the gateway's address of %s. Give the pod another address, or leave it out to have one allocated.", a, subnet),
				})
			}
			taken[a] = p.Title()
		}
	}
	blocks := map[*plan.Member]netip.Prefix{}
	var others []netip.Prefix // all of them, for nodes without one
	for _, n := range c.Nodes {
		for _, b := range n.Asked {
			if b.Addr().Is6() == v6 {
				blocks[n] = b
				others = append(others, b)
			}
		}
	}
	next := map[netip.Prefix]netip.Addr{}
	for _, n := range c.Nodes {
		block, own := blocks[n]
		if !own {
			block = cidr
		}
		n.PodCIDRs = append(n.PodCIDRs, block)
		for _, p := range n.NICs {
			a, asked := wanted(p, v6)
			for !asked {
				if a = next[block]; !a.IsValid() {
					a = block.Addr()
				}
				for !own && slices.ContainsFunc(others, func(b netip.Prefix) bool { return b.Contains(a) }) {
					i := slices.IndexFunc(others, func(b netip.Prefix) bool { return b.Contains(a) })
					a = plan.Last(others[i]).Next()
				}
				if !a.IsValid() || !block.Contains(a) {
					return append(diags, s.full(c, n, block))
				}
				next[block] = a.Next()
				asked = !reserved[a] && taken[a] == ""
				if !next[block].IsValid() && !asked {
					return append(diags, s.full(c, n, block))
				}
			}
			p.Addresses = append(p.Addresses, netip.PrefixFrom(a, subnet.Bits()))
		}
	}
	return diags
}

func (s Shared) full(c *plan.Net, n *plan.Member, block netip.Prefix) *hcl.Diagnostic {
	at := n.At.Of("pod_cidr", c.Def.At.Of("cidr", c.Def.Range))
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "The pod network is full", Subject: &at,
		Detail: fmt.Sprintf("%s has no address left for the pods of node %q, besides those of machines on the segment and the first one, kept for routers. Use a wider one.", block, n.Name),
	}
}

// gatewaysAmongPods reports gateways that the pods could not send to.
func (s Shared) gatewaysAmongPods(c *plan.Net) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, g := range s.Gateways {
		var subnets []string
		within := false
		for _, cidr := range c.CIDRs() {
			subnet := s.subnet(c, cidr)
			subnets = append(subnets, subnet.String())
			within = within || subnet.Contains(g)
		}
		if !within && len(subnets) > 0 {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "The gateway is not in the pods' subnet", Subject: s.At.Of("gateway", c.Def.Range).Ptr(),
				Detail: fmt.Sprintf("Pods send to their gateway directly, and %s is not in %s. Name the address that a router has there, or leave it out.", g, lab.Enumerate(subnets, "or")),
			})
		}
	}
	return diags
}

// Gateway is where the pods of a CIDR send what is not for their subnet; the zero Addr is nowhere.
func (s Shared) Gateway(c *plan.Net, cidr netip.Prefix) netip.Addr {
	for _, g := range s.Gateways {
		if g.Is6() == cidr.Addr().Is6() {
			return g
		}
	}
	subnet := s.subnet(c, cidr)
	for _, m := range c.Lab.Of(lab.Router) {
		for _, nic := range m.Interfaces {
			if len(c.Nodes) == 0 || nic.Segment() != s.Segment(c.Nodes[0].Node) {
				continue
			}
			if a := nic.Address(cidr.Addr().Is6()); a.IsValid() && subnet.Contains(a.Addr()) {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// Pods adds the pods' devices, all of the same kind, with their addresses and default routes.
func (s Shared) Pods(c *plan.Net, st *plan.State, n *plan.Member, device plan.Device) {
	var gateways []netip.Addr
	for _, cidr := range c.CIDRs() {
		gateways = append(gateways, s.Gateway(c, cidr))
	}
	for _, p := range n.NICs {
		OnUplink(c, st, p, device)
		for i, a := range p.Addresses {
			if gateway := gateways[i]; gateway.IsValid() {
				st.Add(plan.Route{Namespace: p.Namespace, Table: plan.TableMain, Dst: plan.Everywhere(a.Addr().Is6()), Via: gateway, Dev: p.Device, Protocol: plan.ProtocolBoot})
			}
		}
	}
}

// OnUplink adds a pod's device, which stands on one of its node's, with the pod's addresses.
func OnUplink(c *plan.Net, st *plan.State, p *plan.NIC, device plan.Device) {
	link := plan.Link{Namespace: p.Namespace, Name: p.Device, Device: device, MTU: c.PodMTU(OnSegment(p.Node))}
	if _, own := device.(plan.MACVLAN); own {
		link.MAC = plan.MACOf(0x0a, 0x58, plan.AddressesOf(p.Addresses)...)
	}
	st.Add(link, plan.Sysctl{Namespace: p.Namespace, Path: "net/ipv4/conf/" + p.Device + "/arp_notify", Value: "1", Link: p.Device})
	if c.SpeaksIPv6() {
		st.Add(plan.Sysctl{Namespace: p.Namespace, Path: "net/ipv6/conf/" + p.Device + "/accept_dad", Value: "0", Link: p.Device})
	}
	for _, a := range p.Addresses {
		st.Add(plan.NewAddress(p.Namespace, p.Device, a))
	}
}

// DecodeShared reads the settings that modes with pods on a segment have in common. likes are what the mode can be like, the
// default first; it returns the one that is asked for.
func DecodeShared(mode string, body hcl.Body, ctx *hcl.EvalContext, likes ...string) (s Shared, like string, diags hcl.Diagnostics) {
	var set struct {
		Like    *string        `hcl:"like"`
		LikeAt  hcl.Range      `hcl:"like,attr_value_range"`
		VLAN    *int           `hcl:"vlan"`
		VLANAt  hcl.Range      `hcl:"vlan,attr_value_range"`
		Gateway hcl.Expression `hcl:"gateway,optional"`
	}
	s, like = Shared{Mode: mode, At: lab.Ranges{}}, likes[0]
	if diags = gohcl.DecodeBody(body, ctx, &set); diags.HasErrors() {
		return s, like, diags
	}
	report := func(at hcl.Range, summary, detail string, args ...any) {
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at})
	}
	if set.Like != nil {
		like = *set.Like
		if !slices.Contains(likes, like) {
			report(set.LikeAt, "Unknown system", "There is no %s like %q.%s", mode, like, lab.Suggest(like, likes, "It can be like"))
		}
	}
	if set.VLAN != nil {
		s.VLAN, s.At["vlan"] = *set.VLAN, set.VLANAt
		if s.VLAN < 1 || s.VLAN > 4094 {
			report(set.VLANAt, "VLAN out of range", "A VLAN has a number from 1 to 4094 (IEEE 802.1Q), not %d.", s.VLAN)
		}
	}
	words, more := Words(set.Gateway, ctx, "an address")
	diags = append(diags, more...)
	for _, w := range words {
		word, at := w.Text, w.At
		s.At["gateway"] = set.Gateway.Range()
		a, err := netip.ParseAddr(word)
		switch {
		case err != nil || a.Zone() != "" || a.Is4In6():
			report(at, "Invalid address", "%q is not an IP address such as 10.10.0.1.", word)
		case slices.ContainsFunc(s.Gateways, func(g netip.Addr) bool { return g.Is6() == a.Is6() }):
			report(at, "Two of one family", "\"gateway\" takes one of IPv4 and one of IPv6; %s is the second of its family.", a)
		default:
			s.Gateways = append(s.Gateways, a)
		}
	}
	return s, like, diags
}

// OnSegment is the MTU that a segment leaves pods on it: all of it, with or without a tag.
func OnSegment(n *plan.Node) int { return n.Uplink().Switch.MTU }

// Needs is what the pods' segment asks of a node's kernel.
func (s Shared) Needs() []plan.Need {
	if s.VLAN == 0 {
		return nil
	}
	return []plan.Need{device.NeedVLAN}
}

// Device returns what the pods' devices stand on, and adds it where it is not the uplink itself.
func (s Shared) Device(c *plan.Net, st *plan.State, n *plan.Member) plan.End {
	name := s.device(n)
	if up := n.Uplink(); s.VLAN != 0 {
		vlan := plan.VLAN{Lower: plan.End{Namespace: n.Namespace, Name: up.Name}, ID: s.VLAN}
		device.VLAN(c, st, n, plan.Link{Namespace: n.Namespace, Name: name, Device: vlan, MTU: up.Switch.MTU, TxQueueLen: 1000})
	}
	return plan.End{Namespace: n.Namespace, Name: name}
}

// device names what the pods' devices stand on.
func (s Shared) device(n *plan.Member) string {
	if s.VLAN == 0 {
		return n.Uplink().Name
	}
	return fmt.Sprintf("%s.%d", n.Uplink().Name, s.VLAN)
}
