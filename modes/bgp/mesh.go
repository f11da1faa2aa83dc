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

// mesh is a cluster whose nodes speak with one another, in one AS.
type mesh struct{ side }

// side is whose node side a mesh has.
type side interface {
	allocate(*plan.Net) hcl.Diagnostics
	pods(c *plan.Net, s *plan.State, n *plan.Member)
	metric() int
	// nodeAddress is the address from which a node talks to its own pods.
	nodeAddress(n *plan.Member, v6 bool) netip.Addr
	// source is what another node sees of a pod that talks to it.
	source(from, to plan.Endpoint) netip.Addr
}

func (k mesh) plan(m Mode, c *plan.Net, s *plan.State) hcl.Diagnostics {
	var diags hcl.Diagnostics
	reflects := map[*plan.Member]bool{}
	nodes := map[string]*plan.Member{}
	var all []string
	for _, n := range c.Nodes {
		nodes[n.Name], all = n, append(all, n.Name)
	}
	for _, r := range m.reflectors {
		n, ok := nodes[r.Text]
		if !ok {
			diags = append(diags, wrong(r.At, "Unknown node", fmt.Sprintf("There is no node %q to be a route reflector.%s", r.Text, lab.Suggest(r.Text, all, "There are"))))
			continue
		}
		reflects[n] = true
	}
	if diags.HasErrors() {
		return diags
	}
	for _, n := range c.Nodes {
		k.pods(c, s, n)
		s.Add(plan.Agent{
			Namespace: n.Namespace, Name: agent, On: n.Uplink().Name, Config: plan.Config(k.speaker(m, c, n, reflects)), Protocol: plan.ProtocolBGP,
		})
	}
	return diags
}

// speaker is what a node's agent is told. Sessions run over the families that the pods have.
func (k mesh) speaker(m Mode, c *plan.Net, n *plan.Member, reflects map[*plan.Member]bool) speaker.Config {
	sp := speaker.Config{
		AS: m.as, RouterID: routerID(n), Restart: restart, Learns: (len(c.Nodes) - 1) * len(n.PodCIDRs),
		Install: &speaker.Install{Within: c.CIDRs(), Protocol: plan.ProtocolBGP, Metric: k.metric()},
	}
	for i, block := range n.PodCIDRs {
		v6 := c.CIDRs()[i].Addr().Is6()
		own := n.Uplink().Address(v6).Addr()
		sp.Listen = append(sp.Listen, own)
		sp.Announce = append(sp.Announce, speaker.Announcement{Prefix: block, NextHop: own})
		for _, peer := range c.Nodes {
			if peer == n || len(reflects) > 0 && !reflects[n] && !reflects[peer] {
				continue
			}
			far := peer.Uplink().Address(v6).Addr()
			sp.Peers = append(sp.Peers, speaker.Peer{
				Address: far, AS: m.as,
				Passive: own.Less(far), // as confd tells BIRD
				Client:  reflects[n] && !reflects[peer],
			})
		}
	}
	return sp
}

func (k mesh) expect(c *plan.Net, f plan.Flow) plan.Expectation {
	from, to := f.From, f.To
	v6 := to.Address.Is6()
	if from.Node == to.Node {
		return attach.Local(f, podMTU(c, from.Node), k.nodeAddress(c.Member(from.Node), v6))
	}
	e := plan.Expectation{Reachable: true, Source: from.Address, MTU: min(podMTU(c, from.Node), podMTU(c, to.Node)), Wire: true}
	if to.Pod == nil {
		e.Source = k.source(from, to)
	}
	return e
}

// calico has routed pods, and translates what leaves the pool.
type calico struct{}

func (calico) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateRouted(c, false) }
func (calico) metric() int                          { return calicoPrio }

func (calico) pods(c *plan.Net, s *plan.State, n *plan.Member) {
	for _, pool := range c.CIDRs() {
		attach.CalicoFirewall(s, n, pool, 0)
	}
	attach.Routed(c, s, n, podMTU(c, n.Node), plan.ProtocolBIRD)
}

func (calico) nodeAddress(n *plan.Member, v6 bool) netip.Addr { return n.Uplink().Address(v6).Addr() }
func (calico) source(from, to plan.Endpoint) netip.Addr {
	return from.Node.Uplink().Address(to.Address.Is6()).Addr()
}

// bridge has pods on cni0, and translates nothing: every node knows the way back.
type bridge struct{}

func (bridge) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateBridge(c) }
func (bridge) metric() int                          { return 0 }

func (bridge) pods(c *plan.Net, s *plan.State, n *plan.Member) {
	attach.Bridge(c, s, n, podMTU(c, n.Node))
}

func (bridge) nodeAddress(n *plan.Member, v6 bool) netip.Addr {
	for _, block := range n.PodCIDRs {
		if block.Addr().Is6() == v6 {
			return attach.Gateway(block)
		}
	}
	return netip.Addr{}
}
func (bridge) source(from, _ plan.Endpoint) netip.Addr { return from.Address }
