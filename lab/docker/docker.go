// Package docker is what Docker 28 writes into a node for its bridges, by way of iptables: the pods of one go out under the node's
// address, and nobody comes in but by the ports that they publish.
package docker

import (
	"net/netip"
	"slices"

	"labnet/lab/nft"
)

// Bridge is one of a node.
type Bridge struct {
	Device    string
	Subnets   []netip.Prefix // at most one a family
	Published []Port
}

// Port is one of a pod on the bridge, to which a port of the node leads.
type Port struct {
	Address  netip.Addr
	Protocol string
	Port     uint16
}

// The chains that Docker makes, beside that which it leaves to the user.
const (
	docker   = "DOCKER"
	bridge   = "DOCKER-BRIDGE"
	tracked  = "DOCKER-CT"
	forward  = "DOCKER-FORWARD"
	stage1   = "DOCKER-ISOLATION-STAGE-1"
	stage2   = "DOCKER-ISOLATION-STAGE-2"
	userRule = "DOCKER-USER"
)

// Rules are the tables filter and nat of a family in a node with such bridges; none where no bridge has addresses of it. The other
// networks of the node that a bridge is to be kept apart from are known by their ranges, since not every one has a bridge.
func Rules(family nft.Family, bridges []Bridge, others []netip.Prefix) *nft.Ruleset {
	is := func(p netip.Prefix) bool { return p.Addr().Is6() == (family == nft.IPv6) }
	bridges = slices.DeleteFunc(slices.Clone(bridges), func(b Bridge) bool { return !slices.ContainsFunc(b.Subnets, is) })
	if len(bridges) == 0 {
		return &nft.Ruleset{}
	}
	source, destination := "ip saddr", "ip daddr"
	if family == nft.IPv6 {
		source, destination = "ip6 saddr", "ip6 daddr"
	}
	filter, nat := nft.NewRuleset(family, "filter"), nft.NewRuleset(family, "nat")
	filter.Base("FORWARD", "filter", nft.Forward, nft.PriorityFilter)
	for _, name := range []string{docker, bridge, tracked, forward, stage1, stage2, userRule} {
		filter.Chains = append(filter.Chains, nft.Chain{Family: family, Table: "filter", Name: name})
	}
	nat.Base("POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
	from := func(b Bridge) nft.Part { return nft.Enters(b.Device) }
	to := func(b Bridge) nft.Part { return nft.Leaves(b.Device) }
	notFrom := func(b Bridge) nft.Part { return nft.EntersNot(b.Device) }
	notTo := func(b Bridge) nft.Part { return nft.LeavesNot(b.Device) }

	filter.Rule("FORWARD", nft.Jumps(userRule))
	filter.Rule("FORWARD", nft.Jumps(forward))
	filter.Rule(userRule, nft.Decides(nft.Return))
	filter.Rule(forward, nft.Jumps(tracked))
	filter.Rule(forward, nft.Jumps(stage1))
	filter.Rule(forward, nft.Jumps(bridge))
	for _, b := range bridges {
		for _, p := range b.Published {
			if p.Address.Is6() == (family == nft.IPv6) {
				filter.Rule(docker, notFrom(b), to(b), nft.Is("meta l4proto", p.Protocol), nft.Is(destination, p.Address), nft.ToPort(p.Port), nft.Decides(nft.Accept))
			}
		}
	}
	for _, b := range bridges {
		filter.Rule(docker, notFrom(b), to(b), nft.Decides(nft.Drop))
		filter.Rule(bridge, to(b), nft.Jumps(docker))
		filter.Rule(tracked, to(b), nft.State(nft.StateRelated|nft.StateEstablished), nft.Decides(nft.Accept))
		filter.Rule(forward, from(b), nft.Decides(nft.Accept))
		filter.Rule(stage1, from(b), notTo(b), nft.Jumps(stage2))
		filter.Rule(stage2, to(b), nft.Decides(nft.Drop))
		for _, subnet := range b.Subnets {
			if is(subnet) {
				nat.Rule("POSTROUTING", notTo(b), nft.Is(source, subnet), nft.Masqueraded())
			}
		}
	}
	for _, other := range others {
		if is(other) {
			filter.Rule(stage1, nft.Is(source, other), nft.Not(destination, other), nft.Jumps(stage2))
			filter.Rule(stage2, nft.Is(destination, other), nft.Decides(nft.Drop))
		}
	}
	return &nft.Ruleset{Tables: append(filter.Tables, nat.Tables...), Chains: append(filter.Chains, nat.Chains...), Rules: append(filter.Rules, nat.Rules...)}
}
