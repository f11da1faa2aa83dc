package attach

import (
	"fmt"
	"net/netip"

	"labnet/lab/plan"
)

// Flannel adds the firewall rules that flanneld makes for every backend, in the form of its EnableNFTables: traffic of
// the pod network is forwarded, and masqueraded only where it leaves the pod network. Its comments
// are left out: they cannot be set without nft(8).
func Flannel(c *plan.Cluster, s *plan.State, n *plan.Node) {
	tables := map[bool]plan.Table{
		false: {Namespace: n.Namespace, Family: "ip", Name: "flannel-ipv4"},
		true:  {Namespace: n.Namespace, Family: "ip6", Name: "flannel-ipv6"},
	}
	for i, block := range n.PodCIDRs {
		t := tables[block.Addr().Is6()]
		t.Body = flannelRules(t.Family, block, c.CIDRs()[i])
		tables[block.Addr().Is6()] = t
	}
	s.Add(tables[false], tables[true])
}

func flannelRules(family string, block, network netip.Prefix) string {
	multicast := "224.0.0.0/4"
	if family == "ip6" {
		multicast = "ff00::/8"
	}
	return fmt.Sprintf(`	chain postrtg {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		%[1]s saddr %[2]s %[1]s daddr %[3]s return
		%[1]s saddr %[3]s %[1]s daddr %[2]s return
		%[1]s saddr != %[2]s %[1]s daddr %[3]s return
		%[1]s saddr %[3]s %[1]s daddr != %[4]s masquerade fully-random
		%[1]s saddr != %[3]s %[1]s daddr %[3]s masquerade fully-random
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		%[1]s saddr %[3]s accept
		%[1]s daddr %[3]s accept
	}
`, family, block, network, multicast)
}
