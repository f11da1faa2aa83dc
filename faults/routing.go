package faults

import (
	"fmt"
	"net/netip"
	"slices"

	"labnet/lab"
	"labnet/lab/plan"
)

// routed are the modes in which nodes forward the packets of their pods.
var routed = []string{"host-gw", "vxlan", "ipip", "udp", "bgp", "vlan"}

var forwardingOff = &Fault{
	Name: "forwarding-off", Level: 1, Modes: routed, Red: "reach",
	About:       "a node does not forward",
	Teach:       "a node is a router for its pods",
	Story:       "After an update of {machine} its pods cannot reach anything outside the node, and nothing outside can reach them.",
	Layer:       "The packets come to {machine} and do not leave it. What makes a machine a router?",
	Explanation: "net.ipv4.ip_forward was 0 on {machine}. A node hands packets from its pods on to other devices only if the kernel may forward.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			all = append(all, Strike{
				Machine: n.Name, Look: "sysctl net.ipv4.ip_forward", Shows: "= 0",
				put: []plan.Object{plan.Sysctl{Namespace: n.Namespace, Path: "net/ipv4/ip_forward", Value: "0"}},
			})
		}
		return all
	},
}

var interfaceForwardingOff = &Fault{
	Name: "interface-forwarding-off", Level: 2, Modes: []string{"host-gw", "vxlan", "ipip"}, Red: "reach",
	About:       "a node does not forward what arrives at one interface",
	Teach:       "forwarding is a setting of every interface; ip_forward only sets them all",
	Story:       "{machine} was hardened, with a list of sysctls from the web. Since then other nodes do not reach its pods. \"net.ipv4.ip_forward is 1\", says the list's author, \"it cannot be that\".",
	Layer:       "The packets come to {machine} and do not leave it, although ip_forward is 1. What else has a say in whether a machine forwards?",
	Explanation: "Forwarding was off at {device} of {machine}. ip_forward writes to all interfaces when it is set; each can be set otherwise afterwards, and what counts is the one that a packet arrives at.",
	strikes: func(s *scene) (all []Strike) {
		ways := s.toBlocks(func(r plan.Route, from, _ *plan.Node) (Strike, bool) {
			if r.Dst.Addr().Is6() { // IPv6 asks only whether all forward: net/ipv6/ip6_output.c
				return Strike{}, false
			}
			path := "net/ipv4/conf/" + r.Dev + "/forwarding"
			return Strike{Look: "sysctl " + path, Shows: "= 0", put: []plan.Object{plan.Sysctl{Namespace: from.Namespace, Path: path, Value: "0", Link: r.Dev}}}, true
		})
		for _, way := range ways {
			if way.Other = ""; !slices.ContainsFunc(all, func(s Strike) bool { return s.Machine == way.Machine && s.Device == way.Device }) {
				all = append(all, way)
			}
		}
		return all
	},
}

// toBlocks are the routes of nodes to the blocks of others.
func (s *scene) toBlocks(use func(r plan.Route, from, to *plan.Node) (Strike, bool)) (all []Strike) {
	for _, r := range find(s, func(r plan.Route) bool { return r.Type == "" && r.Via.IsValid() && whole(r.Dst) }) {
		from, to := s.nodeOf(r.Namespace), s.owner(r.Dst)
		if from == nil || to == nil || from == to {
			continue
		}
		if strike, ok := use(r, from, to); ok {
			strike.Machine, strike.Other, strike.Device = from.Name, to.Name, r.Dev
			if strike.Look == "" {
				strike.Look = "ip -4 route"
			}
			all = append(all, strike)
		}
	}
	return all
}

var routeMissing = &Fault{
	Name: "route-missing", Level: 1, Modes: []string{"host-gw", "vxlan", "ipip"}, Red: "reach",
	About:       "a node has no route to the pods of another",
	Teach:       "every node needs a route to every other node's pods, and the answer needs one too",
	Story:       "Pods on {machine} and pods on {other} do not reach each other. All else works.",
	Layer:       "Where does {machine} send packets for the pods of {other}?",
	Explanation: "{machine} had no route to the block of {other}. Without one the packet is refused, or follows the default route to a router that does not know the pods.",
	strikes: func(s *scene) []Strike {
		return s.toBlocks(func(r plan.Route, _, _ *plan.Node) (Strike, bool) {
			return Strike{Lacks: r.Dst.String(), remove: []plan.Key{r.Key()}}, true
		})
	},
}

var hopAbsent = &Fault{
	Name: "hop-absent", Level: 2, Modes: []string{"host-gw"}, Red: "reach",
	About:       "a route leads to an address that nobody has",
	Teach:       "a next hop has to answer ARP; a wrong one costs seconds before it is reported",
	Story:       "From {machine} the pods of {other} are dead. Programs hang for three seconds, then they say \"No route to host\".",
	Layer:       "There is a route. Does anybody answer to its next hop? Look at the neighbours after a try.",
	Explanation: "The route to the block of {other} had a next hop that no machine has. The kernel asks for it by ARP three times and gives up after three seconds.",
	strikes: func(s *scene) []Strike {
		return s.toBlocks(func(r plan.Route, from, _ *plan.Node) (Strike, bool) {
			r.Via = s.spare(from, false)
			return Strike{Shows: "via " + r.Via.String(), put: []plan.Object{r}}, r.Via.IsValid()
		})
	},
}

var routeMTU = &Fault{
	Name: "route-mtu", Level: 3, Modes: []string{"host-gw", "vxlan", "ipip"}, Red: "mtu",
	About:       "a route has an MTU of its own",
	Teach:       "a route may carry an MTU, and the smallest on the way counts",
	Story:       "Downloads from pods of {other} to pods of {machine} are fast; in the other direction they are very slow. Ping works.",
	Layer:       "Something on {machine} makes packets to {other} smaller than its devices do. Devices are not all that has an MTU.",
	Explanation: "The route to the block of {other} had an MTU of 1000. Packets above it are refused with \"fragmentation needed\", whatever the devices could carry.",
	strikes: func(s *scene) []Strike {
		return s.toBlocks(func(r plan.Route, _, _ *plan.Node) (Strike, bool) {
			r.MTU = 1000
			return Strike{Shows: "mtu 1000", put: []plan.Object{r}}, true
		})
	},
}

var blackholeLeft = &Fault{
	Name: "blackhole-left", Level: 2, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach",
	About:       "a route that drops was left behind for one pod",
	Teach:       "the longest prefix wins, also if it drops",
	Story:       "{other} cannot be reached from {machine} and its pods. Its neighbours on the same node can.",
	Layer:       "Which route of {machine} is the most specific for {other}?",
	Explanation: "A blackhole route to the very address of {other} was left on {machine}. It is more specific than the route to the block, and drops without a word.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			for _, other := range s.carriers() {
				if a := other.Pods[0].Address(false); other != n && a.IsValid() {
					all = append(all, Strike{
						Machine: n.Name, Other: other.Pods[0].Title(), Look: "ip -4 route", Shows: "blackhole " + a.String(),
						put: []plan.Object{plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: plan.Single(a), Type: "blackhole", Protocol: plan.ProtocolBoot}},
					})
				}
			}
		}
		return all
	},
}

var podRouteMissing = &Fault{
	Name: "pod-route-missing", Level: 2, Modes: []string{"bgp", "ipip", "vxlan", "vlan"}, Red: "reach", Lab: "calico-bgp",
	About:       "a node has no route to a pod of its own",
	Teach:       "without a bridge a node needs a route to each of its pods",
	Story:       "{other} has been dead since it was moved. Other pods of {machine} work.",
	Layer:       "How does {machine} know through which device {other} is?",
	Explanation: "{machine} had no route to {other}. Pods without a bridge are reached by a route of their own; without it the packet meets whatever is wider.",
	strikes: func(s *scene) (all []Strike) {
		for _, r := range find(s, func(r plan.Route) bool { return r.Type == "" && !r.Via.IsValid() && whole(r.Dst) && r.Dst.IsSingleIP() }) {
			n, p := s.nodeOf(r.Namespace), s.podWith(r.Dst.Addr())
			if n == nil || p == nil || p.Node != n {
				continue
			}
			all = append(all, Strike{
				Machine: n.Name, Other: p.Title(), Device: r.Dev, Look: "ip -4 route show table all " + r.Dst.Addr().String() + " type unicast", Lacks: r.Dev,
				remove: []plan.Key{r.Key()},
			})
		}
		return all
	},
}

var podGatewayMissing = &Fault{
	Name: "pod-gateway-missing", Level: 1, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach",
	About:       "a pod has no default route",
	Teach:       "a pod has a routing table of its own",
	Story:       "{machine} cannot talk to machines, and does not answer them.",
	Layer:       "Which routes has {machine} itself?",
	Explanation: "{machine} had no default route. It could neither send nor answer beyond its other routes.",
	strikes: func(s *scene) (all []Strike) {
		for _, r := range find(s, func(r plan.Route) bool { return r.Dst == plan.Everywhere(false) }) {
			if p := s.podOf(r.Namespace); p != nil {
				all = append(all, Strike{Machine: p.Title(), Look: "ip -4 route", Lacks: "default", remove: []plan.Key{r.Key()}})
			}
		}
		return all
	},
}

var nodeGatewayMissing = &Fault{
	Name: "node-gateway-missing", Level: 1, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach", Lab: "office",
	About:       "a node has no default route",
	Teach:       "the way out of the cluster, and the answer to it, is the node's default route",
	Story:       "{machine} does not answer the office. Inside the cluster everything works.",
	Layer:       "Where does {machine} send what is for another network?",
	Explanation: "{machine} had no default route, so that it could not answer beyond its own segment.",
	strikes: func(s *scene) (all []Strike) {
		for _, r := range find(s, func(r plan.Route) bool { return r.Dst == plan.Everywhere(false) && r.Table == plan.TableMain }) {
			if n := s.nodeOf(r.Namespace); n != nil {
				all = append(all, Strike{Machine: n.Name, Look: "ip -4 route", Lacks: "default", remove: []plan.Key{r.Key()}})
			}
		}
		return all
	},
}

var routerRouteMissing = &Fault{
	Name: "router-route-missing", Level: 2, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "reach", Lab: "office",
	About:       "a router has lost its route to the pods",
	Teach:       "pods are reached from outside only if the routers there know a node to send to",
	Story:       "From outside of the cluster no pod can be reached any more; nodes can.",
	Layer:       "Who outside of the cluster has to know where pods are? Ask its routing table.",
	Explanation: "The router {machine} had no static route to the pod network any more, and sent packets for pods to nowhere.",
	strikes: func(s *scene) (all []Strike) {
		for _, m := range s.machines(lab.Router) {
			for _, r := range m.Routes {
				if s.Cluster.Lab.Network.Has(r.To.Addr()) && whole(r.To) {
					all = append(all, Strike{
						Machine: m.Name, Look: "ip -4 route", Lacks: r.To.String(),
						remove: []plan.Key{plan.Route{Namespace: s.Cluster.NamespaceOf(m.Name), Table: plan.TableMain, Dst: r.To}.Key()},
					})
				}
			}
		}
		return all
	},
}

var ruleMissing = &Fault{
	Name: "rule-missing", Level: 2, Modes: []string{"vxlan", "vlan", "bgp"}, Red: "reach", Lab: "hybridnet-vxlan",
	About:       "a rule of policy routing is missing",
	Teach:       "which routing table a packet meets is decided by rules, in their order",
	Story:       "Nothing reaches the pods of {machine}. The routes to them are all there.",
	Layer:       "A routing table is of no use if no rule leads to it.",
	Explanation: "The rule that sends packets into the table of {machine}'s own pods was gone, so its routes were never used.",
	strikes: func(s *scene) (all []Strike) {
		for _, r := range find(s, func(r plan.Rule) bool { return r.Table == 39999 }) {
			if n := s.nodeOf(r.Namespace); n != nil {
				all = append(all, Strike{Machine: n.Name, Look: "ip rule", Lacks: fmt.Sprint(r.Table), remove: []plan.Key{r.Key()}})
			}
		}
		return all
	},
}

var forwardingOff6 = &Fault{
	Name: "ipv6-forwarding-off", Level: 2, Modes: []string{"host-gw", "vxlan", "bgp"}, Red: "reach", Lab: "dual-stack",
	About:       "a node forwards IPv4 and not IPv6",
	Teach:       "IPv4 and IPv6 forwarding are switched on separately",
	Story:       "Half of the requests to pods on {machine} hang, and nobody can tell which half.",
	Layer:       "Try both families, each by itself.",
	Explanation: "net.ipv6.conf.all.forwarding was 0 on {machine}: IPv4 passed, IPv6 did not.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			if n.Pods[0].Address(true).IsValid() {
				all = append(all, Strike{
					Machine: n.Name, Look: "sysctl net.ipv6.conf.all.forwarding", Shows: "= 0",
					put: []plan.Object{plan.Sysctl{Namespace: n.Namespace, Path: "net/ipv6/conf/all/forwarding", Value: "0"}},
				})
			}
		}
		return all
	},
}

var nodeMask = &Fault{
	Name: "node-mask", Level: 3, Modes: []string{"vxlan", "ipip", "udp"}, Red: "reach",
	About:       "a node's prefix is too long for its segment",
	Teach:       "which addresses are neighbours is decided by the prefix length of one's own",
	Story:       "{machine} and {other} are on one switch, and {machine} says that there is no route to {other}.",
	Layer:       "Which addresses does {machine} consider to be on its own segment?",
	Explanation: "The address of {machine} had a prefix so long that {other} lay outside of it. Without a matching route nothing is sent, not even the tunnel's packets.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			own := n.Uplink().Address(false)
			for _, other := range s.carriers() {
				far := other.Uplink().Address(false)
				if other == n || !own.IsValid() || !own.Masked().Contains(far.Addr()) {
					continue
				}
				narrow := own
				for narrow.Masked().Contains(far.Addr()) && narrow.Bits() < 31 {
					narrow = netip.PrefixFrom(own.Addr(), narrow.Bits()+1)
				}
				old := plan.NewAddress(n.Namespace, n.Uplink().Name, own)
				all = append(all, Strike{
					Machine: n.Name, Other: other.Name, Device: n.Uplink().Name, Look: "ip -4 address show dev " + n.Uplink().Name, Shows: narrow.String(),
					remove: []plan.Key{old.Key()}, put: []plan.Object{plan.NewAddress(n.Namespace, n.Uplink().Name, narrow)},
				})
			}
		}
		return all
	},
}
