package faults

import (
	"net/netip"

	"labnet/lab/nft"
	"labnet/lab/plan"
)

// podAddresses are the IPv4 addresses of pods' devices.
func (s *scene) podAddresses(use func(a plan.Address, p *plan.Pod) (Strike, bool)) (all []Strike) {
	for _, a := range find(s, func(a plan.Address) bool { return a.Link == "eth0" && whole(a.Prefix) }) {
		p := s.podOf(a.Namespace)
		if p == nil {
			continue
		}
		if strike, ok := use(a, p); ok {
			strike.Machine, strike.Device = p.Title(), a.Link
			strike.Look = "ip -4 address show dev " + a.Link
			all = append(all, strike)
		}
	}
	return all
}

// free returns an address of a pod's subnet that no pod and no machine has.
func (s *scene) free(like netip.Prefix) netip.Addr {
	for a := plan.Last(like).Prev(); like.Masked().Contains(a); a = a.Prev() {
		used := s.podWith(a) != nil
		s.State.Each(func(o plan.Object) {
			if have, ok := o.(plan.Address); ok && have.Prefix.Addr() == a {
				used = true
			}
		})
		if !used {
			return a
		}
	}
	return netip.Addr{}
}

var renumbered = &Fault{
	Name: "pod-renumbered", Level: 1, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "macvlan"}, Red: "reach",
	About:       "a pod has an unexpected address",
	Teach:       "other machines know a pod only by its address",
	Story:       "{machine} does not answer, although it can reach other machines.",
	Layer:       "Does {machine} have the address that the others use for it?",
	Explanation: "{machine} had another address than it should. It could send requests, but nobody could reach it under the expected address.",
	strikes: func(s *scene) []Strike {
		return s.podAddresses(func(a plan.Address, p *plan.Pod) (Strike, bool) {
			to := s.free(a.Prefix)
			if !to.IsValid() {
				return Strike{}, false
			}
			b := plan.NewAddress(a.Namespace, a.Link, netip.PrefixFrom(to, a.Prefix.Bits()))
			return Strike{Shows: to.String(), remove: []plan.Key{a.Key()}, put: []plan.Object{b}}, a.Prefix.Bits() < 31
		})
	},
}

var duplicate = &Fault{
	Name: "duplicate-address", Level: 3, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "macvlan"}, Red: "reach",
	About:       "two pods have the same address",
	Teach:       "when two machines answer ARP for one address, the faster answer wins, and that may change each time",
	Story:       "Connections to {other} work only sometimes. Now and then another machine answers.",
	Layer:       "Does any other machine have the address of {other}?",
	Explanation: "{machine} had the address of {other} besides its own. An ARP request gets two answers, and {machine} accepts packets meant for {other}.",
	strikes: func(s *scene) []Strike {
		return s.podAddresses(func(a plan.Address, p *plan.Pod) (Strike, bool) {
			for _, other := range p.Node.Pods {
				if theirs := other.Address(false); other != p && theirs.IsValid() && a.Prefix.Bits() < 31 {
					b := plan.NewAddress(a.Namespace, a.Link, netip.PrefixFrom(theirs, a.Prefix.Bits()))
					return Strike{Other: other.Title(), Shows: theirs.String() + "/", put: []plan.Object{b}}, true
				}
			}
			return Strike{}, false
		})
	},
}

var bridgeAddress = &Fault{
	Name: "bridge-address-missing", Level: 1, Modes: bridged, Red: "reach",
	About:       "a node's bridge has no address",
	Teach:       "the gateway of a pod is the bridge of its node",
	Story:       "The pods of {machine} can talk only to each other.",
	Layer:       "Who is the gateway of these pods, and does it answer?",
	Explanation: "cni0 on {machine} had no address. The pods' gateway did not exist, and the node had no route to its own pods.",
	strikes: func(s *scene) (all []Strike) {
		for _, a := range find(s, func(a plan.Address) bool { return a.Link == "cni0" && whole(a.Prefix) }) {
			if n := s.nodeOf(a.Namespace); n != nil {
				all = append(all, Strike{Machine: n.Name, Device: a.Link, Look: "ip -4 address show dev cni0", Lacks: a.Prefix.String(), remove: []plan.Key{a.Key()}})
			}
		}
		return all
	},
}

var masqueraded = &Fault{
	Name: "masquerade-all", Level: 2, Modes: []string{"host-gw", "vxlan", "ipip", "udp", "bgp"}, Red: "source",
	About:       "a node translates what pods send to pods",
	Teach:       "pods must see each other's own addresses: no NAT between pods",
	Story:       "Everything works, but the access log of every server shows one and the same client for all pods of {machine}.",
	Layer:       "Connections arrive with the node's address. Who translates them?",
	Explanation: "A rule on {machine} masqueraded whatever leaves by its uplink or tunnel, packets between pods included.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			for _, block := range n.PodCIDRs() {
				if !whole(block) {
					continue
				}
				r := nft.NewRuleset(nft.IPv4, "leftover")
				r.Base("postrouting", "nat", nft.Postrouting, nft.PrioritySNAT-10)
				r.Rule("postrouting", nft.Is("ip saddr", block), nft.Not("ip daddr", block), nft.Masquerade(0))
				all = append(all, Strike{Machine: n.Name, Look: "nft list ruleset", Shows: "leftover", put: plan.Firewall(n.Namespace, r)})
			}
		}
		return all
	},
}

var policyLeft = &Fault{
	Name: "policy-left", Level: 2, Modes: routed, Red: "reach",
	About:       "a node's firewall drops what is for one pod",
	Teach:       "a packet that arrives at a node may still be dropped before it is forwarded",
	Story:       "{other} cannot be reached from other nodes. It is running, and its routes are correct.",
	Layer:       "The packets arrive at {machine} and do not leave it towards {other}. Routes are not the only thing that decides.",
	Explanation: "An nftables rule on {machine} dropped what is forwarded to {other}: a policy left by a program that no longer runs.",
	strikes: func(s *scene) (all []Strike) {
		for _, n := range s.carriers() {
			for _, p := range n.Pods {
				a := p.Address(false)
				if !a.IsValid() {
					continue
				}
				r := nft.NewRuleset(nft.IPv4, "old-policies")
				r.Base("forward", "filter", nft.Forward, nft.PriorityFilter-10)
				r.Rule("forward", nft.Is("ip daddr", a), nft.Then(nft.Drop))
				all = append(all, Strike{Machine: n.Name, Other: p.Title(), Look: "nft list ruleset", Shows: "old-policies", put: plan.Firewall(n.Namespace, r)})
			}
		}
		return all
	},
}
