package faults

import (
	"strings"

	"labnet/lab/plan"
)

// translated are the modes whose nodes translate what their pods send to services.
var translated = []string{"host-gw", "vxlan", "udp", "ipip", "bgp"}

var serviceMissing = &Fault{
	Name: "service-missing", Level: 1, Modes: translated, Red: "service", Lab: "services",
	About:       "a node does not know a service",
	Teach:       "every node translates by itself: a service that works on one may be unknown to another",
	Story:       "Everything on {machine} is refused by one service. Other nodes reach it, and {machine} reaches all others.",
	Layer:       "A service's address is in no routing table. In which map of the table kube-proxy does {machine} look it up?",
	Explanation: "The map service-ips of {machine} did not have the service. Its address was still known to have no other ports, so that connections were refused.",
	strikes: func(s *scene) (all []Strike) {
		for _, e := range find(s, func(e plan.Element) bool { return e.Element.Set == "service-ips" }) {
			n := s.nodeOf(e.Namespace)
			socket, _, ok := strings.Cut(e.Words, " :")
			if n == nil || !ok || !strings.Contains(socket, " . tcp . ") {
				continue
			}
			all = append(all, Strike{Machine: n.Name, Look: "nft list map ip kube-proxy service-ips", Lacks: socket, remove: []plan.Key{e.Key()}})
		}
		return all
	},
}

var bridgePasses = &Fault{
	Name: "bridge-nf-off", Level: 3, Modes: bridged, Red: "service", Lab: "services",
	About:       "packets between pods of a node pass no firewall",
	Teach:       "a bridge forwards by itself, past iptables and nftables, unless br_netfilter makes it ask",
	Story:       "From some pods on {machine} a service works only now and then. Whoever asks a pod itself, or from another node, is answered each time.",
	Layer:       "It fails when the pod that is chosen is on {machine} too. Does its answer come back through what translated the question?",
	Explanation: "net.bridge.bridge-nf-call-iptables was 0 on {machine}: an answer of a pod of the same node went over the bridge as it was, from an address that nobody had asked.",
	strikes: func(s *scene) (all []Strike) {
		const path = "net/bridge/bridge-nf-call-iptables"
		if s.Cluster.Lab.Services == nil {
			return nil
		}
		for _, o := range find(s, func(o plan.Sysctl) bool { return o.Path == path && o.Value == "1" }) {
			if n := s.nodeOf(o.Namespace); n != nil && len(n.Pods) > 1 {
				o.Value = "0"
				all = append(all, Strike{Machine: n.Name, Look: "sysctl net.bridge.bridge-nf-call-iptables", Shows: "= 0", put: []plan.Object{o}})
			}
		}
		return all
	},
}

var hairpinOff = &Fault{
	Name: "hairpin-off", Level: 2, Modes: bridged, Red: "service", Lab: "services",
	About:       "a pod does not reach itself by way of its service",
	Teach:       "a bridge sends no frame back by the port that it came from, unless that port is in hairpin mode",
	Story:       "{other} asks its own service, and now and then gets no answer. Nobody else is affected.",
	Layer:       "When {other} is chosen to answer itself, by which port of the bridge would its question have to leave?",
	Explanation: "{device}, the bridge port of {other} on {machine}, was not in hairpin mode, so that the bridge dropped what had to go back by it.",
	strikes: func(s *scene) (all []Strike) {
		behind := map[string]bool{}
		for _, p := range s.Cluster.ServicePorts() {
			for _, e := range p.Endpoints {
				behind[e.Addr().String()] = true
			}
		}
		for _, l := range find(s, func(l plan.Link) bool { return l.Port.Hairpin && l.Type() == "veth" }) {
			n, p := s.nodeOf(l.Namespace), s.podOf(l.Peer().Namespace)
			if n == nil || p == nil || !behind[p.Address(false).String()] {
				continue
			}
			l.Port.Hairpin = false
			all = append(all, Strike{Machine: n.Name, Other: p.Title(), Device: l.Name, Look: "bridge -d link show dev " + l.Name, Shows: "hairpin off", put: []plan.Object{l}})
		}
		return all
	},
}
