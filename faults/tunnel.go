package faults

import (
	"encoding/json"
	"fmt"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/modes/bgp/speaker"
	"labnet/modes/udp/proxy"
)

var vxlanOnly = []string{"vxlan"}

// forwards are the FDB entries of nodes' tunnels, with the node that each leads to.
func (s *scene) forwards(use func(f plan.FDB, from, to *plan.Node) (Strike, bool)) (all []Strike) {
	for _, f := range find(s, func(f plan.FDB) bool { return f.Dst.Is4() }) {
		from := s.nodeOf(f.Namespace)
		for _, to := range s.carriers() {
			if from == nil || to == from || to.Uplink().Address(false).Addr() != f.Dst {
				continue
			}
			if strike, ok := use(f, from, to); ok {
				strike.Machine, strike.Other, strike.Device = from.Name, to.Name, f.Link
				strike.Look = "bridge fdb show dev " + f.Link
				all = append(all, strike)
			}
		}
	}
	return all
}

var fdbMissing = &Fault{
	Name: "fdb-missing", Level: 1, Modes: vxlanOnly, Red: "reach",
	About:       "a tunnel does not know where a VTEP is",
	Teach:       "the forwarding table says to which node a tunnel sends a frame",
	Story:       "From {machine} the pods of {other} are dead, and not one packet for them leaves the node.",
	Layer:       "The route is there, the neighbour is there. Who tells {device} the address of the other node?",
	Explanation: "{device} on {machine} had no forwarding entry for the VTEP of {other}. It does not flood, so the frame was dropped there.",
	strikes: func(s *scene) []Strike {
		return s.forwards(func(f plan.FDB, _, _ *plan.Node) (Strike, bool) {
			return Strike{Lacks: f.Dst.String(), remove: []plan.Key{f.Key()}}, true
		})
	},
}

var fdbWrong = &Fault{
	Name: "fdb-wrong-node", Level: 2, Modes: vxlanOnly, Red: "reach",
	About:       "a tunnel sends to the wrong node",
	Teach:       "the outer address comes from the forwarding table, whatever the inner packet says",
	Story:       "Packets from {machine} to pods of {other} leave the node, and {other} never sees them.",
	Layer:       "Capture on the uplink of {machine}: to which node do the outer packets go, and why?",
	Explanation: "The forwarding entry for the VTEP of {other} on {machine} had another address. The node that receives such a frame drops it, since the inner MAC address is not its own.",
	strikes: func(s *scene) []Strike {
		return s.forwards(func(f plan.FDB, from, _ *plan.Node) (Strike, bool) {
			wrong := f
			wrong.Dst = s.spare(from, false)
			return Strike{Shows: wrong.Dst.String(), remove: []plan.Key{f.Key()}, put: []plan.Object{wrong}}, wrong.Dst.IsValid()
		})
	},
}

// inTunnels are the permanent neighbours on nodes' tunnels.
func (s *scene) inTunnels(use func(n plan.Neighbour, from, to *plan.Node) (Strike, bool)) (all []Strike) {
	for _, n := range find(s, func(n plan.Neighbour) bool { return n.Addr.Is4() && !n.Proxy }) {
		l, _ := s.link(n.Namespace, n.Link)
		from, to := s.nodeOf(n.Namespace), s.owner(plan.Single(n.Addr))
		if _, tunnel := l.Device.(plan.VXLAN); !tunnel || from == nil || to == nil || from == to {
			continue
		}
		if strike, ok := use(n, from, to); ok {
			strike.Machine, strike.Other, strike.Device = from.Name, to.Name, n.Link
			strike.Look = "ip -4 neighbour show dev " + n.Link
			all = append(all, strike)
		}
	}
	return all
}

var neighbourMissing = &Fault{
	Name: "neighbour-missing", Level: 1, Modes: vxlanOnly, Red: "reach",
	About:       "a tunnel's next hop has no MAC address",
	Teach:       "on an overlay nobody answers ARP: the entries are written, not learnt",
	Story:       "From {machine} the pods of {other} are dead. The route looks right.",
	Layer:       "The route has a next hop. Whose MAC address does {device} put into the frame?",
	Explanation: "{machine} had no neighbour entry for the VTEP of {other}. Nobody answers ARP on this overlay, so the entry must exist.",
	strikes: func(s *scene) []Strike {
		return s.inTunnels(func(n plan.Neighbour, _, _ *plan.Node) (Strike, bool) {
			return Strike{Lacks: n.MAC, remove: []plan.Key{n.Key()}}, true
		})
	},
}

var neighbourWrong = &Fault{
	Name: "neighbour-wrong", Level: 2, Modes: vxlanOnly, Red: "reach",
	About:       "a tunnel's next hop has the wrong MAC address",
	Teach:       "inside an overlay a frame has MAC addresses too, and they must fit",
	Story:       "From {machine} the pods of {other} are dead, though routes, neighbours and forwarding entries are all there.",
	Layer:       "Compare the MAC address that {machine} has for the VTEP of {other} with the forwarding table, and with {other}.",
	Explanation: "The neighbour entry for the VTEP of {other} had a MAC address that the forwarding table does not know.",
	strikes: func(s *scene) []Strike {
		return s.inTunnels(func(n plan.Neighbour, _, _ *plan.Node) (Strike, bool) {
			n.MAC = nobody
			return Strike{Shows: nobody, put: []plan.Object{n}}, true
		})
	},
}

// tunnels are the nodes' VXLAN devices.
func (s *scene) tunnels(use func(l plan.Link, d plan.VXLAN) (Strike, bool)) (all []Strike) {
	for _, l := range find(s, func(l plan.Link) bool { _, ok := l.Device.(plan.VXLAN); return ok }) {
		n := s.nodeOf(l.Namespace)
		if n == nil {
			continue
		}
		if strike, ok := use(l, l.Device.(plan.VXLAN)); ok {
			strike.Machine, strike.Device = n.Name, l.Name
			if strike.Look == "" {
				strike.Look = "ip -d link show dev " + l.Name
			}
			all = append(all, strike)
		}
	}
	return all
}

var vniWrong = &Fault{
	Name: "vni-mismatch", Level: 2, Modes: vxlanOnly, Red: "reach",
	About:       "one node's tunnel has another VNI",
	Teach:       "VXLAN packets with an unknown network identifier are dropped",
	Story:       "{machine} is cut off from the pods of all other nodes, in both directions. The outer packets arrive.",
	Layer:       "Both ends of a tunnel have to agree in more than their addresses.",
	Explanation: "{device} on {machine} had another VNI than those of the other nodes. What arrives with an unknown VNI is dropped.",
	strikes: func(s *scene) []Strike {
		return s.tunnels(func(l plan.Link, d plan.VXLAN) (Strike, bool) {
			d.VNI += 100
			l.Device = d
			return Strike{Shows: fmt.Sprintf("id %d", d.VNI), put: []plan.Object{l}}, true
		})
	},
}

var portWrong = &Fault{
	Name: "vxlan-port", Level: 2, Modes: vxlanOnly, Red: "reach",
	About:       "one node's tunnel uses another UDP port",
	Teach:       "Linux' old default is 8472, the standard's is 4789, and both are in use",
	Story:       "{machine} is cut off from the pods of all other nodes. Between the nodes there are ICMP messages that nobody expects.",
	Layer:       "Capture UDP on the uplink of {machine}, and compare the ports.",
	Explanation: "{device} on {machine} had another UDP port than those of the other nodes. Nobody listens there, and the kernel says so with ICMP.",
	strikes: func(s *scene) []Strike {
		return s.tunnels(func(l plan.Link, d plan.VXLAN) (Strike, bool) {
			if d.Port = 4789; l.Device.(plan.VXLAN).Port == 4789 {
				d.Port = 8472
			}
			l.Device = d
			return Strike{Shows: fmt.Sprintf("dstport %d", d.Port), put: []plan.Object{l}}, true
		})
	},
}

var tunnelBlocked = &Fault{
	Name: "tunnel-blocked", Level: 2, Modes: vxlanOnly, Red: "reach",
	About:       "a node's firewall drops the tunnel's packets",
	Teach:       "an overlay needs its UDP port open between the nodes",
	Story:       "Since {machine} has a firewall, pods of other nodes cannot be reached from its pods, nor the other way. Nodes can.",
	Layer:       "The outer packets arrive at {machine} and {device} never sees them. What lies in between?",
	Explanation: "An nftables rule on {machine} dropped the UDP packets of the tunnel before {device} saw them.",
	strikes: func(s *scene) []Strike {
		return s.tunnels(func(l plan.Link, d plan.VXLAN) (Strike, bool) {
			r := nft.NewRuleset(nft.IPv4, "host-firewall")
			r.Base("input", "filter", nft.Input, nft.PriorityFilter)
			r.Rule("input", nft.Is("udp dport", d.Port), nft.Then(nft.Drop))
			return Strike{Look: "nft list ruleset", Shows: "host-firewall", put: plan.Firewall(l.Namespace, r)}, true
		})
	},
}

// agents are the nodes' agents of one name.
func (s *scene) agents(name string, use func(a plan.Agent, n *plan.Node) (Strike, bool)) (all []Strike) {
	for _, a := range find(s, func(a plan.Agent) bool { return a.Name == name }) {
		n := s.nodeOf(a.Namespace)
		if n == nil {
			continue
		}
		if strike, ok := use(a, n); ok {
			strike.Machine = n.Name
			all = append(all, strike)
		}
	}
	return all
}

var proxyPort = &Fault{
	Name: "udp-port", Level: 2, Modes: []string{"udp"}, Red: "reach",
	About:       "one node's udp agent uses another port",
	Teach:       "an overlay in user space is a process with a socket",
	Story:       "{machine} is cut off from the pods of all other nodes.",
	Layer:       "On which UDP port does the agent of {machine} listen, and on which those of the others?",
	Explanation: "The udp agent of {machine} used another port than the others, so that none of them heard the other.",
	strikes: func(s *scene) []Strike {
		return s.agents("udp", func(a plan.Agent, _ *plan.Node) (Strike, bool) {
			var c proxy.Config
			if json.Unmarshal([]byte(a.Config), &c) != nil {
				return Strike{}, false
			}
			c.Port++
			a.Config = plan.Config(c)
			return Strike{Look: "ss -lun", Shows: fmt.Sprintf(":%d", c.Port), put: []plan.Object{a}}, true
		})
	},
}

var notAnnounced = &Fault{
	Name: "bgp-not-announced", Level: 2, Modes: []string{"bgp"}, Red: "reach", Lab: "three-node",
	About:       "a node's speaker does not announce its pods",
	Teach:       "an established session says nothing about the routes in it",
	Story:       "The pods of {machine} are dead for all other nodes. Every BGP session is established.",
	Layer:       "The sessions are up. Which prefixes do the others hear from {machine}?",
	Explanation: "The speaker of {machine} announced nothing. The other nodes had no route to its block, and an established session does not promise one.",
	strikes: func(s *scene) []Strike {
		return s.agents("bgp", func(a plan.Agent, n *plan.Node) (Strike, bool) {
			var c speaker.Config
			if json.Unmarshal([]byte(a.Config), &c) != nil || len(c.Announce) == 0 || len(c.Peers) == 0 {
				return Strike{}, false
			}
			block := c.Announce[0].Prefix
			c.Announce = nil
			a.Config = plan.Config(c)
			at := s.carriers()[0]
			if at == n {
				at = s.carriers()[1]
			}
			return Strike{At: at.Name, Look: "ip -4 route", Lacks: block.String(), put: []plan.Object{a}}, block.Addr().Is4()
		})
	},
}
