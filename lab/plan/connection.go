package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"labnet/lab/kubeproxy"
)

// Connection is an entry of a node's connection tracking: datagrams of UDP from one socket to another, and where their answers come
// from. No plan wants one. What is found are those that go on leading where the services of the plan do not lead any more: the
// kernel chooses an endpoint for the first datagram only, and a client that keeps asking keeps the entry.
type Connection struct {
	Namespace string
	From, To  netip.AddrPort // as the client sends it
	By, Back  netip.AddrPort // who answers, and to whom: where it was not translated, To and From
}

func (c Connection) Key() Key {
	return Key{c.Namespace, KindConnection, fmt.Sprintf("udp %s to %s", c.From, c.To)}
}
func (c Connection) Parents() []Key { return []Key{{c.Namespace, KindNamespace, ""}} }
func (c Connection) line(verb, more string) []string {
	return []string{fmt.Sprintf("ip netns exec %s conntrack %s -p udp -s %s -d %s --sport %d --dport %d%s",
		c.Namespace, verb, c.From.Addr(), c.To.Addr(), c.From.Port(), c.To.Port(), more)}
}
func (c Connection) Add() []string {
	return c.line("-I", fmt.Sprintf(" --dst-nat %s -u SEEN_REPLY,ASSURED -t %d", c.By, KeptSeconds))
}
func (c Connection) Set(Object) ([]string, bool) { return nil, false }
func (c Connection) Del() []string               { return c.line("-D", "") }

// KeptSeconds is for how long an entry stays that lab itself makes, whether it is used or not: longer than anybody looks for it.
const KeptSeconds = 7 * 24 * 3600

// Sockets are addresses and ports of services over UDP, with the addresses of who may answer there.
type Sockets map[netip.AddrPort][]netip.Addr

// leads is where datagrams to services lead.
type leads struct{ everywhere, here Sockets }

// lead says where datagrams lead in a namespace: to sockets that every node has, and to its own.
func (s *State) lead(namespace string, everywhere, here Sockets) {
	if len(everywhere)+len(here) == 0 {
		return
	}
	if s.leads == nil {
		s.leads = map[string]leads{}
	}
	l := s.leads[namespace]
	if l.here == nil {
		l.here = Sockets{}
	}
	maps.Copy(l.here, here)
	if everywhere != nil {
		l.everywhere = everywhere
	}
	s.leads[namespace] = l
}

// Leads reports whether datagrams of services are translated in a namespace.
func (s *State) Leads(namespace string) bool {
	l := s.leads[namespace]
	return len(l.everywhere)+len(l.here) > 0
}

// Leading are the namespaces where they are.
func (s *State) Leading() []string { return slices.Sorted(maps.Keys(s.leads)) }

// Stale reports whether an entry is one of a service's socket and leads to none of its endpoints. As kube-proxy has it, which looks
// at them whenever it has changed its rules, only addresses count, and not ports or traffic policies, and a service without
// endpoints is not looked at. Unlike there the socket of a node port has an address of the node: what passes it on its way to
// another node's is not translated here.
func (s *State) Stale(c Connection) bool {
	l := s.leads[c.Namespace]
	endpoints := l.everywhere[c.To]
	if endpoints == nil {
		endpoints = l.here[c.To]
	}
	return endpoints != nil && !slices.Contains(endpoints, c.By.Addr())
}

// sockets are those of services over UDP that every node has.
func sockets(ports []kubeproxy.Port) Sockets {
	all := Sockets{}
	for _, p := range ports {
		answering := answering(p)
		for _, a := range []netip.Addr{p.Address, p.Balancer} {
			if a.IsValid() && answering != nil {
				all[netip.AddrPortFrom(a, p.Port)] = answering
			}
		}
	}
	return all
}

// answering are the addresses of the endpoints of a port over UDP.
func answering(p kubeproxy.Port) (all []netip.Addr) {
	if p.Protocol != "udp" {
		return nil
	}
	for _, e := range p.Endpoints {
		all = append(all, e.Addr())
	}
	return all
}

// nodeSockets are those of a node's own node ports.
func nodeSockets(ports []kubeproxy.Port, addresses map[bool][]netip.Addr) Sockets {
	all := Sockets{}
	for _, p := range ports {
		if p.NodePort == 0 {
			continue
		}
		if answering := answering(p); answering != nil {
			for _, a := range addresses[p.Address.Is6()] {
				all[netip.AddrPortFrom(a, p.NodePort)] = answering
			}
		}
	}
	return all
}
