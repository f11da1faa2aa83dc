package faults

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"labnet/lab"
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

var endpointGone = &Fault{
	Name: "endpoint-gone", Level: 2, Modes: translated, Red: "service", Lab: "services",
	About:       "a node still sends to a pod that has gone",
	Teach:       "a proxy knows endpoints by what it was told: one that is gone is chosen until it hears of that",
	Story:       "From {machine} and its pods a service answers only now and then. Whoever asks from another node is answered each time.",
	Layer:       "The rules of {machine} choose one of several addresses. Does somebody have each of them?",
	Explanation: "One of the endpoints to which {machine} sent what is for the service was the address of a pod that did not exist any more. Nobody answers there, and nothing refuses.",
	strikes: func(s *scene) []Strike {
		return s.misheard(func(n *plan.Node, svc *lab.Service) (strike Strike, ok bool) {
			at := slices.IndexFunc(svc.Endpoints, func(b lab.Backend) bool { return b.Pod != "" })
			if at < 0 || len(svc.Endpoints) < 2 {
				return strike, false
			}
			gone := s.unused(svc.Endpoints[at])
			svc.Endpoints[at] = lab.Backend{Address: gone}
			return Strike{Look: s.translations(), Shows: gone.String()}, gone.IsValid()
		})
	},
}

var targetWrong = &Fault{
	Name: "target-port-wrong", Level: 1, Modes: translated, Red: "service", Lab: "services",
	About:       "a node translates to a port where nobody listens",
	Teach:       "a service has a port, and its pods have another: what is refused there is refused by the pod",
	Story:       "From {machine} and its pods a service refuses each connection at once. Its pods are well, and other nodes are answered.",
	Layer:       "To which port of the pods does {machine} translate the service's? Where do the pods listen?",
	Explanation: "The proxy of {machine} had another target port for the service than the one at which its pods listen.",
	strikes: func(s *scene) []Strike {
		return s.misheard(func(n *plan.Node, svc *lab.Service) (Strike, bool) {
			port := *svc.Ports[0]
			port.Target++
			svc.Ports[0] = &port
			return Strike{Look: s.translations(), Shows: strconv.Itoa(port.Target)}, len(svc.Endpoints) > 0 && port.Target < 1<<16
		})
	},
}

var keptLocal = &Fault{
	Name: "external-local", Level: 3, Modes: translated, Red: "service", Besides: []string{"client", "balance"}, Lab: "services",
	About:       "a node keeps what comes from outside for pods of its own, and has none",
	Teach:       "with externalTrafficPolicy Local a node without a pod of the service drops what comes to its node port: by design, and without a word",
	Story:       "From outside the node port of a service is dead at {machine}, and alive at all others. Nothing is refused: there is no answer at all.",
	Layer:       "What {machine} itself sends to that port is answered. Which chain do packets from outside go through, and how does it end?",
	Explanation: "The proxy of {machine} had heard that the service has external_traffic = \"Local\" and that its pod on {machine} was gone. It then drops what comes from outside, so that the source stays visible where there is a pod.",
	strikes: func(s *scene) []Strike {
		return s.misheard(func(n *plan.Node, svc *lab.Service) (Strike, bool) {
			mine := func(b lab.Backend) bool { return b.Node == n.Name }
			if !svc.Outside() || svc.Traffic.ExternalLocal || !slices.ContainsFunc(svc.Endpoints, mine) {
				return Strike{}, false
			}
			svc.Traffic.ExternalLocal = true
			svc.Endpoints = slices.DeleteFunc(svc.Endpoints, mine)
			strike := Strike{Look: "nft list map ip kube-proxy no-endpoint-nodeports", Shows: strconv.Itoa(svc.Ports[0].NodePort) + " comment"}
			if s.Proxy == "iptables" {
				strike.Look, strike.Shows = "iptables -S KUBE-EXTERNAL-SERVICES", "has no local endpoints"
			}
			return strike, len(svc.Endpoints) > 0 && svc.Ports[0].NodePort != 0
		})
	},
}

var entryStale = &Fault{
	Name: "udp-entry-stale", Level: 3, Modes: translated, Red: "service", Lab: "services",
	About:       "a node goes on sending a client's datagrams to a pod that has gone",
	Teach:       "rules decide about the first packet alone; connection tracking remembers where the rest goes, and over UDP that never ends while somebody asks",
	Story:       "A program in {other} has had no answer from the service {device} since a pod was replaced yesterday. Whatever is started now is answered, in {other} too.",
	Layer:       "The rules of {machine} are right, and choose well for whoever begins to ask. What does {machine} still know of those who began before?",
	Explanation: "{machine} had an entry in its connection tracking by which datagrams of {other} went on to an address that no pod has any more. kube-proxy removes such entries when endpoints change, and lab up does; for TCP there is no need, since its connections break.",
	strikes: func(s *scene) (all []Strike) {
		if s.Cluster.Lab.Services == nil || s.Proxy == "ipvs" { // which keeps connections of its own besides
			return nil
		}
		for _, svc := range s.Cluster.Lab.Services.All {
			at := slices.IndexFunc(svc.Endpoints, func(b lab.Backend) bool { return b.Pod != "" })
			port := slices.IndexFunc(svc.Ports, func(p *lab.ServicePort) bool { return p.Protocol == "udp" })
			if at < 0 || port < 0 || !svc.Address.Is4() {
				continue
			}
			gone := s.unused(svc.Endpoints[at])
			for _, n := range s.carriers() {
				for _, p := range n.Pods {
					client := p.Address(false)
					answers := slices.ContainsFunc(svc.Endpoints, func(b lab.Backend) bool { return b.Node == n.Name && b.Pod == p.Pod.Name })
					if !client.IsValid() || !gone.IsValid() || answers {
						continue
					}
					entry := plan.Connection{
						Namespace: n.Namespace,
						From:      netip.AddrPortFrom(client, clientPort), To: netip.AddrPortFrom(svc.Address, uint16(svc.Ports[port].Port)),
						By: netip.AddrPortFrom(gone, uint16(svc.Ports[port].Target)), Back: netip.AddrPortFrom(client, clientPort),
					}
					all = append(all, Strike{
						Machine: n.Name, Other: p.Title(), Device: svc.Name, put: []plan.Object{entry},
						Look: "conntrack -L -p udp -d " + svc.Address.String(), Shows: "src=" + gone.String(),
					})
				}
			}
		}
		return all
	},
}

// clientPort is none that the kernel gives to whoever asks for any.
const clientPort = 20053

// misheard are the strikes in which a node's proxy knows a service otherwise. hear changes a copy of it.
func (s *scene) misheard(hear func(*plan.Node, *lab.Service) (Strike, bool)) (all []Strike) {
	if s.Cluster.Lab.Services == nil || s.Proxy == "ipvs" {
		return nil
	}
	for _, n := range s.carriers() {
		for i, svc := range s.Cluster.Lab.Services.All {
			if svc.Type == lab.Headless || svc.Ports[0].Protocol != "tcp" {
				continue
			}
			heard := *svc
			heard.Endpoints, heard.Ports = slices.Clone(svc.Endpoints), slices.Clone(svc.Ports)
			strike, ok := hear(n, &heard)
			if !ok {
				continue
			}
			services := slices.Clone(s.Cluster.Lab.Services.All)
			services[i] = &heard
			strike.Machine, strike.Device = n.Name, svc.Name
			strike.put, strike.remove = s.Knowing(n, services...)
			all = append(all, strike)
		}
	}
	return all
}

// translations is the command that shows where a node sends what is for services.
func (s *scene) translations() string {
	if s.Proxy == "iptables" {
		return "iptables -t nat -S"
	}
	return "nft list table ip kube-proxy"
}

// unused is an address that a pod could have where another is, and none has.
func (s *scene) unused(b lab.Backend) netip.Addr {
	for _, n := range s.Cluster.Nodes {
		for _, block := range n.PodCIDRs() {
			if n.Name != b.Node || !block.Addr().Is4() {
				continue
			}
			for a := plan.Last(block).Prev(); block.Contains(a); a = a.Prev() {
				if s.podWith(a) == nil {
					return a
				}
			}
		}
	}
	return netip.Addr{}
}
