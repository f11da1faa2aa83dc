// Package ipip is flannel's ipip backend and, with like = "calico", Calico's IP-in-IP: IP packets between the nodes,
// inside IP packets of protocol 4 (RFC 2003).
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// With like = "calico" the device is the kernel's tunl0, which has the first address of the node's block, and pods are
// routed; BIRD's routes have the same form: 10.42.1.0/24 via 192.168.205.3 dev tunl0 onlink. With direct = true a node
// that can be reached without a router is (flannel's DirectRouting, Calico's CrossSubnet): its route leads out of eth0,
// and packets to its pods are not encapsulated.
//
// Cost per node: one device, and one route for every other node: no neighbour, no FDB entry. Every packet is 20 bytes
// longer on the wire, so the pods' MTU is that much smaller. The underlay needs to carry protocol 4, which clouds and
// firewalls that know only TCP and UDP may not do. There is nothing but IPv4 in IPv4.
//
// Where the kernel has no ipip device an ifb with two eBPF programs takes its place; package device tells how. Then the
// outer packets pass neither the node's firewall nor its connection tracking, a router's word that the path between two
// nodes has a smaller MTU than their uplinks is not heard, and an underlay whose MTU is above 16,050 bytes is refused.
//
// The kernel state is that of flanneld 0.28 (--ip-masq, EnableNFTables) and of Calico 3.32 with IPIP "Always" or
// "CrossSubnet". What differs is what differs in vxlan.
package ipip

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
	"labnet/modes/internal/device"
)

// Overhead is how much longer a packet is outside the tunnel: the outer IP header.
const Overhead = 20

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	like   like
	direct bool
}

// like is whose names, attributes and node side a cluster has.
type like interface {
	allocate(*plan.Net) hcl.Diagnostics
	device(*plan.Net, *plan.Member) plan.Link
	// route is what distinguishes its routes, in the tunnel and beside it.
	route(tunnel bool) plan.Route
	attach(*plan.Net, *plan.State, *plan.Member)
	// nodeAddress is the address from which a node talks to its own pods.
	nodeAddress(*plan.Net, *plan.Member) netip.Addr
}

var likes = map[string]like{"flannel": flannel{}, "calico": calico{}}

func (Mode) About() string {
	return "IP in IP between nodes, over any underlay (flannel ipip, Calico IPIP)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	var set struct {
		Like      *string   `hcl:"like"`
		LikeRange hcl.Range `hcl:"like,attr_value_range"`
		Direct    *bool     `hcl:"direct"`
	}
	diags := gohcl.DecodeBody(body, ctx, &set)
	if diags.HasErrors() {
		return nil, diags
	}
	name := "flannel"
	if set.Like != nil {
		name = *set.Like
	}
	kind, ok := likes[name]
	if !ok {
		return nil, append(diags, wrong(set.LikeRange, "Unknown system",
			fmt.Sprintf("There is no ipip like %q.%s", name, lab.Suggest(name, []string{"flannel", "calico"}, "It can be like"))))
	}
	return Mode{kind, set.Direct != nil && *set.Direct}, diags
}

func wrong(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return []plan.Need{device.NeedIPIP, {Feature: plan.FeatureNFTables}}
}

func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics {
	if diags := attach.OnlyIPv4(c, "ipip"); diags.HasErrors() {
		return diags
	}
	return m.like.allocate(c)
}

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := append(attach.Families(c), attach.Room(c, "ipip", room)...)
	for _, n := range c.Nodes {
		if kernel := m.tunnel(c, n); kernel.Permanent() && c.Features[plan.FeatureIPIP] && n.Emulates(plan.FeatureIPIP, c.Features) {
			diags = append(diags, wrong(n.At.Of("datapath", n.Range), "The kernel's own device is in the way",
				fmt.Sprintf("Node %q asks for eBPF, but this kernel has made %s in every namespace, and that cannot be removed. Leave datapath out, or use like = \"flannel\".", n.Name, kernel.Name)))
		}
	}
	diags = append(diags, m.tooLong(c)...)
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		tunnel := m.tunnel(c, n)
		device.IPIP(c, s, n, tunnel)
		s.Add(plan.Address{Namespace: n.Namespace, Link: tunnel.Name, Prefix: plan.Single(n.PodCIDRs[0].Addr())})
		for _, peer := range c.Nodes {
			if peer != n {
				s.Add(m.route(c, n, peer))
			}
		}
		m.like.attach(c, s, n)
	}
	return diags
}

// tooLong reports switches whose packets are longer than an emulated tunnel's can be.
func (m Mode) tooLong(c *plan.Net) hcl.Diagnostics {
	var diags hcl.Diagnostics
	reported := map[*lab.Switch]bool{}
	for _, n := range c.Nodes {
		sw := n.Uplink().Switch
		tunnels := slices.ContainsFunc(c.Nodes, func(peer *plan.Member) bool { return peer != n && m.tunnels(n.Node, peer.Node) })
		if m.tunnel(c, n).MTU+Overhead <= device.MaxIPIP || reported[sw] || !tunnels || !n.Emulates(plan.FeatureIPIP, c.Features) {
			continue
		}
		reported[sw] = true
		diags = append(diags, wrong(sw.At.Of("mtu", sw.Range), "The MTU is too large for ipip by eBPF",
			fmt.Sprintf("The tunnel of node %q is made by eBPF, which cannot make packets longer than %d bytes, and switch %q has an MTU of %d. Use an MTU of at most %[2]d, or the ipip device of a kernel that has one.", n.Name, device.MaxIPIP, sw.Name, sw.MTU)))
	}
	return diags
}

func (m Mode) tunnel(c *plan.Net, n *plan.Member) plan.Link {
	l := m.like.device(c, n)
	l.Namespace = n.Namespace
	return l
}

// route is a node's route to the pods of another.
func (m Mode) route(c *plan.Net, n, peer *plan.Member) plan.Route {
	tunnel := m.tunnels(n.Node, peer.Node)
	r := m.like.route(tunnel)
	r.Namespace, r.Table, r.Dst, r.Via = n.Namespace, plan.TableMain, peer.PodCIDRs[0], peer.Uplink().Address(false).Addr()
	r.Dev = n.Uplink().Name
	if tunnel {
		r.Dev = m.tunnel(c, n).Name
	}
	return r
}

// tunnels reports whether packets to the other node's pods are encapsulated.
func (m Mode) tunnels(n, peer *plan.Node) bool {
	here, there := n.Uplink(), peer.Uplink()
	return !m.direct || here.Switch != there.Switch || !here.Address(false).Masked().Contains(there.Address(false).Addr())
}

// room is what is left inside the tunnel.
func room(n *plan.Node) int { return n.Uplink().Switch.MTU - Overhead }

// podMTU is that of the pods, also where some of their packets are not encapsulated.
func podMTU(c *plan.Net, n *plan.Node) int { return c.PodMTU(room(n)) }

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	if from.Node == to.Node {
		return attach.Local(f, podMTU(c, from.Node), m.like.nodeAddress(c, c.Member(from.Node)))
	}
	if to.Pod == nil {
		return attach.Outside(f, podMTU(c, from.Node))
	}
	e := plan.Expectation{Reachable: true, Source: from.Address, MTU: min(podMTU(c, from.Node), podMTU(c, to.Node)), Wire: true}
	if !m.tunnels(from.Node, to.Node) {
		return e
	}
	if from.Pod == nil {
		e.Source = c.Member(from.Node).PodCIDRs[0].Addr()
	}
	e.Encap = plan.Encap{
		Type: "ipip", Overhead: Overhead,
		Src: from.Node.Uplink().Address(false).Addr(), Dst: to.Node.Uplink().Address(false).Addr(),
	}
	return e
}
