// Package vxlan is flannel's vxlan backend and, with like = "calico" or "hybridnet", Calico's and Hybridnet's: Ethernet
// frames between the nodes' VXLAN tunnel endpoints (VTEPs), inside UDP over the underlay.
//
// docs/walks.md shows a packet's walk, as it was seen.
//
// Cost per node: one device, and one route, one neighbour and one FDB entry for every other node. Every packet is 50 bytes
// longer on the wire (70 over IPv6), so the pods' MTU is that much smaller. The underlay needs to carry UDP between the
// nodes and nothing else: it never learns of the pods, and the nodes need not share a switch.
//
// With direct = true (flannel's DirectRouting, Calico's CrossSubnet) a node in the same subnet is a plain next hop, and its
// packets cross the underlay as they are; the device is there all the same, for the others, and the pods' MTU is still the
// tunnel's, since one MTU has to suit every destination.
//
// Hybridnet's nodes have no blocks: any pod may be on any node, and its neighbour entry says on which. The cost is then one
// route in all, but a neighbour for every pod of the other nodes.
//
// The kernel state is that of flanneld 0.28 (--ip-masq, EnableNFTables) and of Calico 3.32 with VXLAN "Always" and
// "CrossSubnet". What differs: MAC addresses and veth names are derived from names instead of random, blocks come in the order of the nodes,
// Calico's firewall is only the part that translates and spares connection tracking (its policies are left out; it is
// nftables where the dumps show iptables), and a Calico node without a default route gets one to 169.254.1.1, without
// which it would not answer its pods' ARP.
//
// Of Hybridnet (its packages as of July 2024) there is no daemon here that hears of an unresolved neighbour and looks its
// node up: the entries it would make are there from the start, permanent. Nobody has to ask by broadcast then, so the prio
// qdisc that rewrites broadcasts to ff:ff:ff:ff:ff:f1, and that address's FDB entries, are left out; they would also need a
// kernel with act_pedit. The firewall is only the masquerading, as an nftables table. No packet gets the mark 0x20, which
// sends a pod's answer to another node back through the tunnel: it goes over the underlay as it is.
package vxlan

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	like   like
	vni    int
	port   int
	direct bool
	at     lab.Ranges // "vni"
}

// like is whose names, attributes and node side a cluster has.
type like interface {
	allocate(*plan.Net) hcl.Diagnostics
	// device is the name of the tunnel of one family on a node with such an uplink.
	device(m Mode, uplink string, v6 bool) string
	plan(m Mode, c *plan.Net, s *plan.State, n *plan.Member)
	// nodeAddress is the address from which a node talks to its own pods.
	nodeAddress(n *plan.Member, v6 bool) netip.Addr
	// through is the address from which a node talks through the tunnel of a family.
	through(n *plan.Member, family int) netip.Addr
}

var likes = map[string]struct {
	like
	vni, port int
}{
	"flannel":   {flannel{}, 1, 8472},
	"calico":    {calico{}, 4096, 4789},
	"hybridnet": {hybridnet{}, 20, 8472},
}

func (Mode) About() string {
	return "Ethernet in UDP between VTEPs, over any underlay (flannel vxlan, Calico VXLAN, Hybridnet)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	var set struct {
		Like        *string   `hcl:"like"`
		LikeRange   hcl.Range `hcl:"like,attr_value_range"`
		VNI         *int      `hcl:"vni"`
		VNIRange    hcl.Range `hcl:"vni,attr_value_range"`
		Port        *int      `hcl:"port"`
		PortRange   hcl.Range `hcl:"port,attr_value_range"`
		Direct      *bool     `hcl:"direct"`
		DirectRange hcl.Range `hcl:"direct,attr_value_range"`
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
			fmt.Sprintf("There is no vxlan like %q.%s", name, lab.Suggest(name, []string{"flannel", "calico", "hybridnet"}, "It can be like"))))
	}
	m := Mode{kind.like, kind.vni, kind.port, set.Direct != nil && *set.Direct, lab.Ranges{}}
	if set.VNI != nil {
		m.vni, m.at["vni"] = *set.VNI, set.VNIRange
		if m.vni < 1 || m.vni > 1<<24-1 {
			diags = append(diags, wrong(set.VNIRange, "VNI out of range", fmt.Sprintf("A VXLAN network identifier has 24 bits (RFC 7348): give a number from 1 to 16777215, not %d.", m.vni)))
		} else {
			diags = append(diags, m.name("e", false, set.VNIRange)...)
		}
	}
	if m.direct && name == "hybridnet" {
		diags = append(diags, wrong(set.DirectRange, "Nothing direct in Hybridnet", "Hybridnet's overlay sends everything through the tunnel: leave direct out, or be like flannel or calico."))
	}
	if set.Port != nil {
		m.port = *set.Port
		if m.port < 1 || m.port > 65535 {
			diags = append(diags, wrong(set.PortRange, "Port out of range", fmt.Sprintf("A UDP port is a number from 1 to 65535, not %d. flannel uses 8472 on Linux, Calico and RFC 7348 use 4789.", m.port)))
		}
	}
	return m, diags
}

func wrong(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

func (m Mode) Needs(*plan.Net) []plan.Need {
	return []plan.Need{{Feature: plan.FeatureVXLAN}, {Feature: plan.FeatureNFTables}}
}

func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics { return m.like.allocate(c) }

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := append(attach.Families(c), attach.Room(c, "vxlan", func(n *plan.Node) int { return room(c, n) })...)
	for _, n := range c.Nodes {
		for _, cidr := range c.CIDRs() {
			at := m.at.Of("vni", n.Uplink().At.Of("name", n.Uplink().Range))
			diags = append(diags, m.name(n.Uplink().Name, cidr.Addr().Is6(), at)...)
		}
	}
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		m.like.plan(m, c, s, n)
	}
	return diags
}

// name reports the name of a device that would be too long.
func (m Mode) name(uplink string, v6 bool, at hcl.Range) hcl.Diagnostics {
	device := m.like.device(m, uplink, v6)
	over := len(device) - lab.MaxInterface
	if over <= 0 {
		return nil
	}
	shorten := "Give a VNI"
	if strings.HasPrefix(device, uplink) {
		shorten = "Give a VNI, or the uplink a name,"
	}
	return hcl.Diagnostics{wrong(at, "The device's name would be too long",
		fmt.Sprintf("%s has %d characters, and an interface name at most %d. %s with %d characters less.", device, len(device), lab.MaxInterface, shorten, over))}
}

// Overhead is how much longer a packet is outside the tunnel: outer IP, UDP, VXLAN and inner Ethernet header (RFC 7348).
func Overhead(v6 bool) int {
	if v6 {
		return 40 + 8 + 8 + 14
	}
	return 20 + 8 + 8 + 14
}

// inside is what is left of the underlay's MTU inside the tunnel of one family; room has to suit all families.
func inside(n *plan.Node, v6 bool) int { return n.Uplink().Switch.MTU - Overhead(v6) }

func room(c *plan.Net, n *plan.Node) int {
	mtu := n.Uplink().Switch.MTU
	for _, cidr := range c.CIDRs() {
		mtu = min(mtu, inside(n, cidr.Addr().Is6()))
	}
	return mtu
}

func podMTU(c *plan.Net, n *plan.Node) int { return c.PodMTU(room(c, n)) }

// overlay is what the systems' tunnels differ in.
type overlay struct {
	mtu, txQueueLen, routeMTU int
	mac                       func(*plan.Member) string
	direct                    plan.Route // what else is said of a route to a node in the same subnet
	always                    bool       // whether such a node has its neighbour and FDB entry all the same
}

// tunnel adds the device of one family, and for every other node a route, a neighbour and an FDB entry.
func (m Mode) tunnel(s *plan.State, c *plan.Net, n *plan.Member, family int, o overlay) {
	v6 := c.CIDRs()[family].Addr().Is6()
	device := m.like.device(m, n.Uplink().Name, v6)
	uplink := n.Uplink()
	s.Add(
		plan.Link{
			Namespace: n.Namespace, Name: device, MTU: o.mtu, MAC: o.mac(n), TxQueueLen: o.txQueueLen,
			Device: plan.VXLAN{Lower: uplink.Name, VNI: m.vni, Port: m.port, Local: uplink.Address(v6).Addr()},
		},
		plan.Address{Namespace: n.Namespace, Link: device, Prefix: plan.Single(vtep(n, family))},
	)
	for _, peer := range c.Nodes {
		if peer == n {
			continue
		}
		node := peer.Uplink().Address(v6).Addr()
		route := plan.Route{
			Namespace: n.Namespace, Table: plan.TableMain, Dst: peer.PodCIDRs[family], Via: vtep(peer, family), Dev: device,
			Protocol: plan.ProtocolBoot, Onlink: true, MTU: o.routeMTU,
		}
		if m.reaches(n.Node, peer.Node) {
			route.Via, route.Dev, route.MTU = node, uplink.Name, 0
			route.Protocol, route.Onlink = o.direct.Protocol, o.direct.Onlink
			if !o.always {
				s.Add(route)
				continue
			}
		}
		mac := o.mac(peer)
		s.Add(
			route,
			plan.Neighbour{Namespace: n.Namespace, Link: device, Addr: vtep(peer, family), MAC: mac},
			plan.FDB{Namespace: n.Namespace, Link: device, MAC: mac, Dst: node},
		)
	}
}

// reaches reports whether packets to the other node's pods need no tunnel: the mode is direct, and the nodes share a subnet.
func (m Mode) reaches(n, other *plan.Node) bool {
	return m.direct && n.Uplink().Segment() == other.Uplink().Segment()
}

// vtep is the address of a node's tunnel device: the first of its block.
func vtep(n *plan.Member, family int) netip.Addr { return n.PodCIDRs[family].Addr() }

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	v6 := to.Address.Is6()
	if from.Node == to.Node {
		return attach.Local(f, podMTU(c, from.Node), m.like.nodeAddress(c.Member(from.Node), v6))
	}
	if to.Pod == nil {
		return attach.Outside(f, podMTU(c, from.Node))
	}
	e := plan.Expectation{
		Reachable: true,
		Source:    from.Address,
		MTU:       min(podMTU(c, from.Node), podMTU(c, to.Node)),
		Wire:      true,
		Encap: plan.Encap{
			Type: "vxlan", Overhead: Overhead(v6), VNI: m.vni, Port: m.port,
			Src: from.Node.Uplink().Address(v6).Addr(), Dst: to.Node.Uplink().Address(v6).Addr(),
		},
	}
	reached := m.reaches(from.Node, to.Node)
	if reached {
		e.Encap = plan.Encap{}
	}
	switch {
	case from.Pod != nil:
	case reached:
		e.Source, e.MTU = from.Address, min(from.Node.Uplink().Switch.MTU, podMTU(c, to.Node))
	default:
		for i, cidr := range c.CIDRs() {
			if cidr.Addr().Is6() == v6 {
				e.Source = m.like.through(c.Member(from.Node), i)
				e.MTU = min(inside(from.Node, v6), podMTU(c, to.Node))
			}
		}
	}
	return e
}
