package faults

import (
	"net/netip"
	"slices"
	"strings"

	"labnet/lab"
	"labnet/lab/plan"
)

// find returns the objects of one kind for which keep is true, in order.
func find[T plan.Object](s *scene, keep func(T) bool) []T {
	var found []T
	s.State.Each(func(o plan.Object) {
		if t, ok := o.(T); ok && keep(t) {
			found = append(found, t)
		}
	})
	slices.SortFunc(found, func(a, b T) int { return strings.Compare(a.Key().String(), b.Key().String()) })
	return found
}

// carriers are the nodes that have pods.
func (s *scene) carriers() []*plan.Node {
	var all []*plan.Node
	for _, n := range s.Cluster.Nodes {
		if len(n.Pods) > 0 {
			all = append(all, n)
		}
	}
	return all
}

// nodeOf returns the node whose namespace it is, or nil.
func (s *scene) nodeOf(namespace string) *plan.Node {
	for _, n := range s.carriers() {
		if n.Namespace == namespace {
			return n
		}
	}
	return nil
}

// podOf returns the pod whose namespace it is, or nil.
func (s *scene) podOf(namespace string) *plan.Pod {
	for _, n := range s.Cluster.Nodes {
		for _, p := range n.Pods {
			if p.Namespace == namespace {
				return p
			}
		}
	}
	return nil
}

// owner returns the node that a block of the pod network, or an address in it, belongs to, or nil.
func (s *scene) owner(of netip.Prefix) *plan.Node {
	for _, n := range s.carriers() {
		for _, block := range n.PodCIDRs() {
			if block.Contains(of.Addr()) && block.Bits() <= of.Bits() {
				return n
			}
		}
	}
	return nil
}

// spare returns the last address of a node's segment that nobody has, of a family.
func (s *scene) spare(n *plan.Node, v6 bool) netip.Addr {
	own := n.Uplink().Address(v6)
	if !own.IsValid() {
		return netip.Addr{}
	}
	taken := map[netip.Addr]bool{}
	for _, m := range s.Cluster.Lab.Machines {
		for _, nic := range m.Interfaces {
			for _, a := range nic.Addresses {
				taken[a.Addr()] = true
			}
		}
	}
	for a := plan.Last(own).Prev(); own.Masked().Contains(a); a = a.Prev() {
		if !taken[a] && s.podWith(a) == nil {
			return a
		}
	}
	return netip.Addr{}
}

func (s *scene) podWith(a netip.Addr) *plan.Pod {
	for _, n := range s.Cluster.Nodes {
		for _, p := range n.Pods {
			if p.Address(a.Is6()) == a {
				return p
			}
		}
	}
	return nil
}

// link returns a device, and whether there is one.
func (s *scene) link(namespace, name string) (plan.Link, bool) {
	l, ok := s.State.Get(plan.Key{Namespace: namespace, Kind: plan.KindLink, Name: name}).(plan.Link)
	return l, ok
}

// nobody is a MAC address that nothing in the lab has.
const nobody = "02:00:00:00:de:ad"

// machines returns those of a kind.
func (s *scene) machines(kind lab.Kind) []*lab.Machine { return s.Cluster.Lab.Of(kind) }

// whole reports whether it is a block or an address of IPv4: the commands that faults look with are those of IPv4.
func whole(p netip.Prefix) bool { return p.Addr().Is4() }
