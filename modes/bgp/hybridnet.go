package bgp

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/bgp/speaker"
	"labnet/modes/internal/attach"
)

// The AS numbers of Hybridnet's own example: all nodes are in one, the top-of-rack switch in another.
const (
	hybridnetAS     = 100
	hybridnetPeerAS = 200
)

// hybridnet is a cluster whose nodes speak with the router of their segment only, as with the switch on top of a rack. A
// node announces the pods' subnet, and each of its own pods with the community no-export: outside the rack one route leads to
// all pods, inside it one to each. Nodes learn nothing: what they have for other nodes' pods goes to the router, so that every
// packet between nodes crosses the segment twice.
type hybridnet struct{}

func (hybridnet) allocate(c *plan.Net) hcl.Diagnostics {
	if diags := attach.OnlyIPv4(c, "bgp like hybridnet"); diags.HasErrors() {
		return diags
	}
	return attach.AllocateOverlay(c, "bgp")
}

func (hybridnet) plan(m Mode, c *plan.Net, s *plan.State) hcl.Diagnostics {
	router, uplink, diags := m.router(c)
	for _, n := range c.Nodes {
		if !hasIPv4(n.Gateways) {
			diags = append(diags, wrong(n.At.Of("gateway", n.Range), "The node has no gateway",
				fmt.Sprintf("Node %q itself reaches the pods of other nodes, and answers them, by its default route. Give it gateway = the router's address.", n.Name)))
		}
	}
	if diags.HasErrors() {
		return diags
	}
	gateway := uplink.Address(false).Addr()
	tor := speaker.Config{
		AS: m.peerAS, RouterID: gateway, Listen: []netip.Addr{gateway}, Restart: restart,
		Install: &speaker.Install{Within: c.CIDRs(), Protocol: plan.ProtocolBGP, Multipath: true},
	}
	subnet := c.CIDRs()[0]
	for _, n := range c.Nodes {
		own := n.Uplink().Address(false).Addr()
		config := speaker.Config{
			AS: m.as, RouterID: own, Listen: []netip.Addr{own}, Restart: restart,
			Announce: []speaker.Announcement{{Prefix: subnet, NextHop: own}},
			Peers:    []speaker.Peer{{Address: gateway, AS: m.peerAS, Passive: own.Less(gateway)}},
		}
		for _, p := range n.NICs {
			a := p.Address(false)
			config.Announce = append(config.Announce, speaker.Announcement{Prefix: netip.PrefixFrom(a, a.BitLen()), NextHop: own, NoExport: true})
			tor.Learns++
		}
		tor.Peers = append(tor.Peers, speaker.Peer{Address: own, AS: m.as, Passive: gateway.Less(own)})
		s.Add(
			plan.Agent{Namespace: n.Namespace, Name: agent, On: n.Uplink().Name, Config: plan.Config(config)},
			plan.Route{Namespace: n.Namespace, Table: attach.TableSubnet, Dst: plan.Everywhere(false), Via: gateway, Dev: n.Uplink().Name, Protocol: plan.ProtocolBoot},
		)
		attach.NoReturn(s, n, n.Uplink().Name, subnet)
		attach.Hybridnet(c, s, n, podMTU(c, n.Node))
	}
	if len(c.Nodes) > 0 {
		tor.Learns++ // the subnet
	}
	s.Add(plan.Agent{Namespace: c.NamespaceOf(router.Name), Name: agent, On: uplink.Name, Config: plan.Config(tor), Protocol: plan.ProtocolBGP})
	return nil
}

func hasIPv4(gateways []netip.Addr) bool {
	for _, g := range gateways {
		if g.Is4() {
			return true
		}
	}
	return false
}

// router finds the nodes' peer: the router that is named, or the only one on their segment.
func (m Mode) router(c *plan.Net) (*lab.Machine, *lab.Interface, hcl.Diagnostics) {
	var names []string
	var router *lab.Machine
	var uplink *lab.Interface
	for _, r := range c.Lab.Of(lab.Router) {
		for _, nic := range r.Interfaces {
			if len(c.Nodes) > 0 && nic.Segment() != c.Nodes[0].Uplink().Segment() || !nic.Address(false).IsValid() {
				continue
			}
			names = append(names, r.Name)
			if m.peer.Text == "" || m.peer.Text == r.Name {
				router, uplink = r, nic
			}
		}
	}
	network := c.Lab.Network
	switch {
	case len(names) == 0:
		return nil, nil, hcl.Diagnostics{wrong(network.At.Of("mode", network.Range), "No router to speak with",
			"With like = \"hybridnet\" the nodes speak BGP with a router of their segment, and there is none. Add a router, or use like = \"calico\".")}
	case m.peer.Text != "" && router == nil:
		return nil, nil, hcl.Diagnostics{wrong(m.peer.At, "Unknown router", fmt.Sprintf("There is no router %q on the nodes' segment.%s", m.peer.Text, lab.Suggest(m.peer.Text, names, "There are")))}
	case m.peer.Text == "" && len(names) > 1:
		return nil, nil, hcl.Diagnostics{wrong(network.At.Of("mode", network.Range), "Which router?",
			fmt.Sprintf("The nodes speak BGP with one router of their segment, and there are %d. Name it: mode \"bgp\" { peer = %q }.", len(names), names[0]))}
	}
	return router, uplink, nil
}

func (hybridnet) expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	if from.Node == to.Node {
		return attach.Local(f, podMTU(c, from.Node), from.Node.Uplink().Address(false).Addr())
	}
	return plan.Expectation{Reachable: true, Source: from.Address, MTU: min(podMTU(c, from.Node), podMTU(c, to.Node)), Wire: true}
}
