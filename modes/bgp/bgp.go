// Package bgp connects pods by routes that the nodes tell one another over BGP, without encapsulation: Calico's way, and with
// like = "bridge" that of any CNI bridge beside a BGP speaker.
//
// docs/walks.md shows a packet's walk, as it was seen.
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
	reflectors []attach.Word // of nodes
	peer       attach.Word   // of a router
	peerAS     uint32
}

// like is whose arrangement a cluster has.
type like interface {
	allocate(*plan.Net) hcl.Diagnostics
	plan(Mode, *plan.Net, *plan.State) hcl.Diagnostics
	expect(c *plan.Net, f plan.Flow) plan.Expectation
}

var likes = map[string]like{"calico": mesh{calico{}}, "bridge": mesh{bridge{}}, "hybridnet": hybridnet{}}

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
		Peer       *string        `hcl:"peer"`
		PeerRange  hcl.Range      `hcl:"peer,attr_value_range"`
		PeerAS     *int           `hcl:"peer_as"`
		PeerASAt   hcl.Range      `hcl:"peer_as,attr_value_range"`
	}
	diags := gohcl.DecodeBody(body, ctx, &set)
	if diags.HasErrors() {
		return nil, diags
	}
	m := Mode{like: likes["calico"], as: defaultAS}
	var more hcl.Diagnostics
	if set.Like != nil {
		var ok bool
		if m.like, ok = likes[*set.Like]; !ok {
			return nil, append(diags, wrong(set.LikeRange, "Unknown system",
				fmt.Sprintf("There is no bgp like %q.%s", *set.Like, lab.Suggest(*set.Like, []string{"calico", "bridge", "hybridnet"}, "It can be like"))))
		}
	}
	if _, tor := m.like.(hybridnet); tor {
		m.as, m.peerAS = hybridnetAS, hybridnetPeerAS
		if set.PeerAS != nil {
			m.peerAS, more = number(*set.PeerAS, set.PeerASAt)
			diags = append(diags, more...)
		}
		if set.Peer != nil {
			m.peer = attach.Word{Text: *set.Peer, At: set.PeerRange}
		}
	} else if set.Peer != nil || set.PeerAS != nil {
		at := set.PeerRange
		if set.Peer == nil {
			at = set.PeerASAt
		}
		diags = append(diags, wrong(at, "Only Hybridnet's nodes have a router for a peer", "Here the nodes speak with one another. Take peer and peer_as out, or say like = \"hybridnet\"."))
	}
	if set.AS != nil {
		m.as, more = number(*set.AS, set.ASRange)
		diags = append(diags, more...)
	}
	m.reflectors, more = attach.Words(set.Reflectors, ctx, "a node")
	diags = append(diags, more...)
	if _, tor := m.like.(hybridnet); tor && len(m.reflectors) > 0 {
		diags = append(diags, wrong(m.reflectors[0].At, "Hybridnet's nodes need no reflector", "They speak with the router only, and with like = \"hybridnet\" there is nothing to reflect. Take reflectors out."))
	}
	return m, diags
}

// number reads an AS number.
func number(as int, at hcl.Range) (uint32, hcl.Diagnostics) {
	if as < 1 || as > 1<<32-2 {
		return 0, hcl.Diagnostics{wrong(at, "AS number out of range",
			fmt.Sprintf("An AS number is from 1 to 4294967294, not %d. 64512 to 65534 are for private use (RFC 6996).", as))}
	}
	return uint32(as), nil
}

func wrong(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

func (Mode) Needs(*plan.Net) []plan.Need { return []plan.Need{{Feature: plan.FeatureNFTables}} }

func (m Mode) Allocate(c *plan.Net) hcl.Diagnostics { return m.like.allocate(c) }

func (m Mode) Plan(c *plan.Net, s *plan.State) hcl.Diagnostics {
	diags := append(attach.OneSegment(c, "bgp"), attach.Families(c)...)
	if diags = append(diags, attach.Room(c, "bgp", room)...); diags.HasErrors() {
		return diags
	}
	return m.like.plan(m, c, s)
}

func (m Mode) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	return m.like.expect(c, f)
}

// room is what the underlay leaves the pods: all of it.
func room(n *plan.Node) int { return n.Uplink().Switch.MTU }

func podMTU(c *plan.Net, n *plan.Node) int { return c.PodMTU(room(n)) }

// routerID is the node's IPv4 address, or where it has none a number that only it has.
func routerID(n *plan.Member) netip.Addr {
	if a := n.Uplink().Address(false); a.IsValid() {
		return a.Addr()
	}
	i := n.Index + 1
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}
