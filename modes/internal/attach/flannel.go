package attach

import (
	"net/netip"

	"labnet/lab/nft"
	"labnet/lab/plan"
)

// Flannel adds the firewall rules that flanneld makes for every backend, in the form of its EnableNFTables: traffic of
// the pod network is forwarded, and masqueraded only where it leaves the pod network. Its comments are left out: they say
// nothing that is not here.
func Flannel(c *plan.Net, s *plan.State, n *plan.Member) {
	tables := map[bool]*nft.Ruleset{false: nft.NewRuleset(nft.IPv4, "flannel-ipv4"), true: nft.NewRuleset(nft.IPv6, "flannel-ipv6")}
	for i, block := range n.PodCIDRs {
		v6 := block.Addr().Is6()
		flannelRules(tables[v6], v6, block, c.CIDRs()[i])
	}
	s.AddRuleset(n.Namespace, tables[false])
	s.AddRuleset(n.Namespace, tables[true])
}

func flannelRules(r *nft.Ruleset, v6 bool, block, network netip.Prefix) {
	const ours = 0x4000 // the mark of what is masqueraded for a service
	source, destination, multicast := "ip saddr", "ip daddr", netip.MustParsePrefix("224.0.0.0/4")
	if v6 {
		source, destination, multicast = "ip6 saddr", "ip6 daddr", netip.MustParsePrefix("ff00::/8")
	}
	r.Base("postrtg", "nat", nft.Postrouting, nft.PrioritySNAT)
	r.Rule("postrtg", nft.Is("meta mark", ours), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Is(source, block), nft.Is(destination, network), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Is(source, network), nft.Is(destination, block), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Not(source, block), nft.Is(destination, network), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Is(source, network), nft.Not(destination, multicast), nft.Masquerade(nft.FullyRandom))
	r.Rule("postrtg", nft.Not(source, network), nft.Is(destination, network), nft.Masquerade(nft.FullyRandom))
	r.Base("forward", "filter", nft.Forward, nft.PriorityFilter)
	r.Rule("forward", nft.Is(source, network), nft.Then(nft.Accept))
	r.Rule("forward", nft.Is(destination, network), nft.Then(nft.Accept))
}
