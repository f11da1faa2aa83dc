package faults

import (
	"strconv"
	"strings"

	"labnet/lab"
	"labnet/lab/plan"
)

var (
	bridged  = []string{"host-gw", "vxlan", "ipip", "udp"}
	anyMode  = []string{"host-gw", "vxlan", "ipip", "udp", "bgp", "macvlan", "vlan", "ipvlan"}
	withVLAN = []string{"macvlan", "vlan"}
)

// podLinks are the devices of pods.
func (s *scene) podLinks(use func(l plan.Link, p *plan.Pod) (Strike, bool)) (all []Strike) {
	for _, l := range find(s, func(l plan.Link) bool { return l.Name == "eth0" }) {
		p := s.podOf(l.Namespace)
		if p == nil {
			continue
		}
		if strike, ok := use(l, p); ok {
			strike.Machine, strike.Device = p.Title(), l.Name
			if strike.Look == "" {
				strike.Look = "ip link show dev " + l.Name
			}
			all = append(all, strike)
		}
	}
	return all
}

var podMTULow = &Fault{
	Name: "pod-mtu-low", Level: 1, Modes: anyMode, Red: "mtu",
	About:       "a pod's MTU is too small",
	Teach:       "an MTU is a property of each device, and large packets show it",
	Story:       "{machine} is slow with large answers. Ping works.",
	Layer:       "How large are the packets that {machine} can send?",
	Explanation: "eth0 of {machine} had an MTU of 900. Traffic passed in smaller packets than necessary, and anything that needs larger ones failed.",
	strikes: func(s *scene) []Strike {
		return s.podLinks(func(l plan.Link, _ *plan.Pod) (Strike, bool) {
			l.MTU = 900
			return Strike{Shows: "mtu 900", put: []plan.Object{l}}, s.Cluster.Lab.Network.CIDRs[0].Addr().Is4()
		})
	},
}

var uplinkMTULow = &Fault{
	Name: "uplink-mtu-low", Level: 2, Modes: []string{"host-gw", "vxlan", "bgp"}, Red: "mtu",
	About:       "a node's uplink has a smaller MTU than the underlay",
	Teach:       "what a tunnel needs of its underlay is more than its pods' MTU",
	Story:       "Between pods of {machine} and those of other nodes small requests work and large ones hang.",
	Layer:       "Between the pod and the wire there are several devices. Which one has an MTU that does not fit?",
	Explanation: "{device} of {machine} had an MTU of 1300, and the pods' packets did not fit.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			if l, ok := s.link(n.Namespace, n.Uplink().Name); ok && l.MTU > 1300 {
				l.MTU = 1300
				all = append(all, Strike{Machine: n.Name, Device: l.Name, Look: "ip link show dev " + l.Name, Shows: "mtu 1300", put: []plan.Object{l}})
			}
		}
		return all
	},
}

var switchMTULow = &Fault{
	Name: "switch-port-mtu", Level: 3, Modes: []string{"host-gw", "vxlan", "ipip", "bgp", "macvlan"}, Red: "mtu",
	About:       "a switch port drops large frames",
	Teach:       "a switch drops a frame that is too large without telling anyone",
	Story:       "Everything that {other} sends in large packets disappears. Nothing in the cluster reports an error.",
	Layer:       "The packets leave {other} and do not arrive. What lies in between has an MTU as well.",
	Explanation: "The port of {other} on switch {machine} had an MTU of 1300. A switch does not cut frames, and sends no ICMP message.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			sw := n.Uplink().Switch
			if l, ok := s.link(s.Cluster.NamespaceOf(sw.Name), s.Cluster.Port(n)); ok && l.MTU > 1300 {
				l.MTU = 1300
				all = append(all, Strike{Machine: sw.Name, Other: n.Name, Device: l.Name, Look: "ip link show dev " + l.Name, Shows: "mtu 1300", put: []plan.Object{l}})
			}
		}
		return all
	},
}

var offBridge = &Fault{
	Name: "off-bridge", Level: 1, Modes: bridged, Red: "reach",
	About:       "a pod's veth is not on the bridge",
	Teach:       "a pod is connected to its node's bridge by the other end of its eth0",
	Story:       "{other} on {machine} cannot reach anything. Its addresses and routes are correct.",
	Layer:       "Follow the wire from eth0 of {other}: where does its other end go?",
	Explanation: "{device}, the node's end of {other}'s veth pair, was no port of the bridge.",
	strikes: func(s *scene) (all []Strike) {
		for _, l := range find(s, func(l plan.Link) bool { return l.Port.Bridge != "" && l.Type() == "veth" }) {
			n, p := s.nodeOf(l.Namespace), s.podOf(l.Peer().Namespace)
			if n == nil || p == nil {
				continue
			}
			l.Port = plan.Port{}
			all = append(all, Strike{Machine: n.Name, Other: p.Title(), Device: l.Name, Look: "bridge link", Lacks: l.Name, put: []plan.Object{l}})
		}
		return all
	},
}

var macvlanPrivate = &Fault{
	Name: "macvlan-private", Level: 3, Modes: []string{"macvlan"}, Red: "reach",
	About:       "a pod's macvlan device is private",
	Teach:       "whether macvlan devices on one uplink hear each other is decided by their mode",
	Story:       "{machine} can talk to pods on every node except its own.",
	Layer:       "Between pods of one node no packet touches the switch. What decides whether they may?",
	Explanation: "eth0 of {machine} was a macvlan device in mode private: it exchanges no frames with others on the same uplink.",
	strikes: func(s *scene) []Strike {
		return s.podLinks(func(l plan.Link, p *plan.Pod) (Strike, bool) {
			d, ok := l.Device.(plan.MACVLAN)
			d.Mode = "private"
			l.Device = d
			return Strike{Look: "ip -d link show dev eth0", Shows: "mode private", put: []plan.Object{l}}, ok && len(p.Node.Pods) > 1
		})
	},
}

var vlanWrong = &Fault{
	Name: "vlan-mismatch", Level: 1, Modes: withVLAN, Red: "reach", Lab: "hybridnet-vlan",
	About:       "a node's device is in the wrong VLAN",
	Teach:       "a VLAN is a number in the frame, and both ends must have the same",
	Story:       "The pods of {machine} cannot reach anything outside the node.",
	Layer:       "Capture on the uplink of {machine}: which tag do its frames have?",
	Explanation: "{device} on {machine} tagged frames with another VLAN than the switch carries there.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			for _, l := range find(s, func(l plan.Link) bool { return l.Namespace == n.Namespace }) {
				if d, ok := l.Device.(plan.VLAN); ok {
					d.ID++
					l.Device = d
					all = append(all, Strike{Machine: n.Name, Device: l.Name, Look: "ip -d link show dev " + l.Name, Shows: "id " + strconv.Itoa(d.ID), put: []plan.Object{l}})
				}
			}
		}
		return all
	},
}

var trunkMissing = &Fault{
	Name: "trunk-missing", Level: 2, Modes: withVLAN, Red: "reach", Lab: "hybridnet-vlan",
	About:       "a switch port does not carry the pods' VLAN",
	Teach:       "a trunk carries the VLANs that it lists, and silently drops all others",
	Story:       "The pods of {other} are cut off. {other} itself is fine, and so is everything running on it.",
	Layer:       "Tagged frames leave {other}. Which VLANs does its port on switch {machine} carry?",
	Explanation: "The port of {other} on switch {machine} was in no VLAN but the untagged one.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			ns, port := s.Cluster.NamespaceOf(n.Uplink().Switch.Name), s.Cluster.Port(n)
			l, ok := s.link(ns, port)
			if untagged, rest, trunk := strings.Cut(l.Port.VLANs, ", "); ok && trunk && rest != "" {
				l.Port.VLANs = untagged
				all = append(all, Strike{Machine: n.Uplink().Switch.Name, Other: n.Name, Device: port, Look: "bridge vlan show dev " + port, Lacks: rest, put: []plan.Object{l}})
			}
		}
		return all
	},
}

var arpStuck = &Fault{
	Name: "arp-stuck", Level: 2, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach",
	About:       "a node has a wrong MAC address for a neighbour, and keeps it",
	Teach:       "a permanent neighbour entry is never resolved again, even when it is wrong",
	Story:       "Since {other} got a new network card {machine} cannot reach it. Everybody else can.",
	Layer:       "Frames leave {machine} and {other} does not take them. To which MAC address do they go?",
	Explanation: "{machine} had a permanent neighbour entry for {other} with a MAC address that nobody has any more.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			for _, other := range s.carriers() {
				a := other.Uplink().Address(false)
				if other == n || !a.IsValid() || other.Uplink().Segment() != n.Uplink().Segment() {
					continue
				}
				all = append(all, Strike{
					Machine: n.Name, Other: other.Name, Device: n.Uplink().Name, Look: "ip -4 neighbour show dev " + n.Uplink().Name, Shows: nobody,
					put: []plan.Object{plan.Neighbour{Namespace: n.Namespace, Link: n.Uplink().Name, Addr: a.Addr(), MAC: nobody}},
				})
			}
		}
		return all
	},
}

var podARPStuck = &Fault{
	Name: "pod-arp-stuck", Level: 2, Modes: bridged, Red: "reach",
	About:       "a pod has a wrong MAC address for its gateway",
	Teach:       "a pod has a neighbour table of its own",
	Story:       "{machine} can reach only the other pods of its node.",
	Layer:       "The gateway is there. Which MAC address does {machine} have for it?",
	Explanation: "{machine} had a permanent neighbour entry for its gateway with a MAC address that nobody has.",
	strikes: func(s *scene) (all []Strike) {
		for _, r := range find(s, func(r plan.Route) bool { return r.Dst == plan.Everywhere(false) }) {
			if p := s.podOf(r.Namespace); p != nil {
				all = append(all, Strike{
					Machine: p.Title(), Device: r.Dev, Look: "ip -4 neighbour", Shows: nobody,
					put: []plan.Object{plan.Neighbour{Namespace: r.Namespace, Link: r.Dev, Addr: r.Via, MAC: nobody}},
				})
			}
		}
		return all
	},
}

var hostGatewayMissing = &Fault{
	Name: "host-gateway-missing", Level: 1, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach", Lab: "office",
	About:       "a host outside of the cluster has no default route",
	Teach:       "an answer needs a way back, which is the other side's routing table",
	Story:       "{machine} cannot reach the cluster, and says so at once.",
	Layer:       "\"Network is unreachable\" comes from {machine} itself.",
	Explanation: "{machine} had no default route.",
	strikes: func(s *scene) (all []Strike) {
		for _, m := range s.machines(lab.Host) {
			for _, g := range m.Gateways {
				if g.Is4() {
					all = append(all, Strike{Machine: m.Name, Look: "ip -4 route", Lacks: "default", remove: []plan.Key{
						plan.Route{Namespace: s.Cluster.NamespaceOf(m.Name), Table: plan.TableMain, Dst: plan.Everywhere(false)}.Key(),
					}})
				}
			}
		}
		return all
	},
}
