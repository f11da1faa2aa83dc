// Package bgp connects pods by routes that the nodes tell one another over BGP, without encapsulation: Calico's way, and with
// like = "bridge" that of any CNI bridge beside a BGP speaker.
//
// A packet from a pod on node1 to a pod on node2, Calico's way:
//
//	pod eth0 → caliXXXXXXXXXXX   the pod's default route via 169.254.1.1, for which the node answers by proxy ARP
//	route on node1               10.42.0.64/26 via 192.168.205.3 dev eth0 proto bgp: learnt from node2's speaker
//	wire                         an ordinary IP packet between the pods' own addresses; only the MAC addresses are the nodes'
//	route on node2               10.42.0.66 dev caliYYYYYYYYYYY scope link: the pod itself
//
// Who tells whom: without reflectors every node has a session with every other one (a full mesh, n·(n-1)/2 sessions); with
// reflectors = ["node1"] the others speak only with these, which pass on what they hear (RFC 4456). The next hop is always
// the node that has the pods, so packets go straight to it either way.
//
// Cost per node: one process, one route for every other node, and no byte on the wire. The nodes have to be on one segment;
// the underlay may learn the pods' routes by joining in, which no other mode offers. A speaker that dies leaves its routes in
// place, and its peers keep theirs for two minutes: packets flow while it comes back (graceful restart, RFC 4724).
//
// The kernel state is that of Calico 3.32 without encapsulation. What differs: the speaker is GoBGP, so the routes it learns
// are "proto bgp" and not BIRD's "proto bird", and stand beside those of a BIRD or FRR on the same node; blocks come in the
// order of the nodes; of Calico's firewall there is only the part that translates.
package bgp

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

const (
	agent      = "bgp"
	defaultAS  = 64512 // Calico's
	restart    = 120   // seconds: the default of BIRD, and so of Calico
	calicoPrio = 1024  // Felix's IPv4NormalRoutePriority, which confd gives BIRD too
)

// Mode is the mode with its settings; the zero value knows only how to decode them.
type Mode struct {
	like       like
	as         uint32
	reflectors []reflector
}

type reflector struct {
	name string
	at   hcl.Range
}

// like is whose node side a cluster has.
type like interface {
	allocate(*plan.Cluster) hcl.Diagnostics
	pods(c *plan.Cluster, f plan.Features, s *plan.State, n *plan.Node)
	metric() int
	// own is the address from which a node talks to its own pods.
	own(n *plan.Node, v6 bool) netip.Addr
	// source is what another node sees of a pod that talks to it.
	source(from, to plan.Endpoint) netip.Addr
}

var likes = map[string]like{"calico": calico{}, "bridge": bridge{}}

func (Mode) About() string {
	return "routes that nodes learn from one another over BGP, no encapsulation (Calico BGP)"
}

func (Mode) Decode(body hcl.Body, ctx *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) {
	var set struct {
		Like       *string        `hcl:"like"`
		LikeRange  hcl.Range      `hcl:"like,attr_value_range"`
		AS         *int           `hcl:"as"`
		ASRange    hcl.Range      `hcl:"as,attr_value_range"`
		Reflectors hcl.Expression `hcl:"reflectors,optional"`
	}
	diags := gohcl.DecodeBody(body, ctx, &set)
	if diags.HasErrors() {
		return nil, diags
	}
	m := Mode{like: calico{}, as: defaultAS}
	if set.Like != nil {
		var ok bool
		if m.like, ok = likes[*set.Like]; !ok {
			return nil, append(diags, wrong(set.LikeRange, "Unknown system",
				fmt.Sprintf("There is no bgp like %q.%s", *set.Like, lab.Suggest(*set.Like, []string{"calico", "bridge"}, "It can be like"))))
		}
	}
	if set.AS != nil {
		if *set.AS < 1 || *set.AS > 1<<32-2 {
			diags = append(diags, wrong(set.ASRange, "AS number out of range",
				fmt.Sprintf("An AS number is from 1 to 4294967294, not %d. 64512 to 65534 are for private use (RFC 6996).", *set.AS)))
		} else {
			m.as = uint32(*set.AS)
		}
	}
	reflectors, more := names(set.Reflectors, ctx)
	m.reflectors = reflectors
	return m, append(diags, more...)
}

// names reads a list of names, each with its place.
func names(list hcl.Expression, ctx *hcl.EvalContext) ([]reflector, hcl.Diagnostics) {
	if list == nil {
		return nil, nil
	}
	var texts []string
	diags := gohcl.DecodeExpression(list, ctx, &texts)
	items, more := hcl.ExprList(list)
	var out []reflector
	for i, t := range texts {
		at := list.Range()
		if !more.HasErrors() && i < len(items) {
			at = items[i].Range()
		}
		out = append(out, reflector{t, at})
	}
	return out, diags
}

func wrong(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

func (Mode) Needs(*plan.Cluster) []plan.Need { return []plan.Need{{Feature: plan.FeatureNFTables}} }

func (m Mode) Allocate(c *plan.Cluster) hcl.Diagnostics { return m.like.allocate(c) }

func (m Mode) Plan(c *plan.Cluster, f plan.Features, s *plan.State) hcl.Diagnostics {
	diags := append(attach.OneSegment(c, "bgp"), attach.Families(c)...)
	reflects := map[*plan.Node]bool{}
	for _, r := range m.reflectors {
		i := slices.IndexFunc(c.Nodes, func(n *plan.Node) bool { return n.Name == r.name })
		if i < 0 {
			var all []string
			for _, n := range c.Nodes {
				all = append(all, n.Name)
			}
			diags = append(diags, wrong(r.at, "Unknown node", fmt.Sprintf("There is no node %q to be a route reflector.%s", r.name, lab.Suggest(r.name, all, "There are"))))
			continue
		}
		reflects[c.Nodes[i]] = true
	}
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		m.like.pods(c, f, s, n)
		s.Add(plan.Agent{
			Namespace: n.Namespace, Name: agent, On: n.Uplink().Name, Config: m.speaker(c, n, reflects).Text(), Protocol: plan.ProtocolBGP,
		})
	}
	return diags
}

// speaker is what a node's agent is told. Sessions run over the families that the pods have.
func (m Mode) speaker(c *plan.Cluster, n *plan.Node, reflects map[*plan.Node]bool) plan.Speaker {
	sp := plan.Speaker{
		AS: m.as, RouterID: routerID(n), Restart: restart, Learns: (len(c.Nodes) - 1) * len(n.PodCIDRs),
		Install: &plan.Install{Within: c.CIDRs(), Protocol: plan.ProtocolBGP, Metric: m.like.metric()},
	}
	for i, block := range n.PodCIDRs {
		v6 := c.CIDRs()[i].Addr().Is6()
		own := n.Uplink().Address(v6).Addr()
		sp.Listen = append(sp.Listen, own)
		sp.Announce = append(sp.Announce, plan.Announcement{Prefix: block, NextHop: own})
		for _, peer := range c.Nodes {
			if peer == n || len(reflects) > 0 && !reflects[n] && !reflects[peer] {
				continue
			}
			far := peer.Uplink().Address(v6).Addr()
			sp.Peers = append(sp.Peers, plan.Peer{
				Address: far, AS: m.as,
				Passive: own.Less(far), // as confd tells BIRD
				Client:  reflects[n] && !reflects[peer],
			})
		}
	}
	return sp
}

// routerID is the node's IPv4 address, or where it has none a number that only it has.
func routerID(n *plan.Node) netip.Addr {
	if a := n.Uplink().Address(false); a.IsValid() {
		return a.Addr()
	}
	i := n.Index + 1
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func (m Mode) Expect(c *plan.Cluster, from, to plan.Endpoint) plan.Expectation {
	v6 := to.Address.Is6()
	if from.Node == to.Node {
		return attach.Local(from, to, mtu(from.Node), m.like.own(from.Node, v6))
	}
	e := plan.Expectation{Reachable: true, Source: from.Address, MTU: min(mtu(from.Node), mtu(to.Node)), Wire: true}
	if to.Pod == nil {
		e.Source = m.like.source(from, to)
	}
	return e
}

func mtu(n *plan.Node) int { return n.Uplink().Switch.MTU }

// calico has routed pods, and translates what leaves the pool.
type calico struct{}

func (calico) allocate(c *plan.Cluster) hcl.Diagnostics { return attach.AllocateRouted(c, false) }
func (calico) metric() int                              { return calicoPrio }

func (calico) pods(c *plan.Cluster, _ plan.Features, s *plan.State, n *plan.Node) {
	for _, pool := range c.CIDRs() {
		attach.CalicoFirewall(s, n, pool, 0)
	}
	attach.Routed(c, s, n, mtu(n), plan.ProtocolBIRD)
}

func (calico) own(n *plan.Node, v6 bool) netip.Addr { return n.Uplink().Address(v6).Addr() }
func (calico) source(from, to plan.Endpoint) netip.Addr {
	return from.Node.Uplink().Address(to.Address.Is6()).Addr()
}

// bridge has pods on cni0, and translates nothing: every node knows the way back.
type bridge struct{}

func (bridge) allocate(c *plan.Cluster) hcl.Diagnostics { return attach.AllocateBridge(c) }
func (bridge) metric() int                              { return 0 }

func (bridge) pods(c *plan.Cluster, f plan.Features, s *plan.State, n *plan.Node) {
	attach.Bridge(c, f, s, n, mtu(n))
}

func (bridge) own(n *plan.Node, v6 bool) netip.Addr {
	for _, block := range n.PodCIDRs {
		if block.Addr().Is6() == v6 {
			return attach.Gateway(block)
		}
	}
	return netip.Addr{}
}
func (bridge) source(from, _ plan.Endpoint) netip.Addr { return from.Address }
