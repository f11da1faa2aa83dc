// Package portmap is what CNI's plugin portmap writes into a node for the ports that pods publish there, by way of iptables.
package portmap

import (
	"crypto/sha512"
	"fmt"
	"net/netip"
	"slices"

	"labnet/lab/nft"
)

// Container publishes ports of its node.
type Container struct {
	Network string       // its name
	ID      string       // whose the address is
	Address netip.Prefix // with the network in which it is
	Ports   []Port
}

// Port is a port of the node that leads to one of the container.
type Port struct {
	Protocol   string
	Host, Port uint16
}

const (
	mark     = 0x2000 // of packets that are to be masqueraded
	mostEach = 15     // ports that one match has
	mostName = 28     // bytes of a chain's name
)

// Rules are the table nat of a node whose containers publish ports, in IPv4.
func Rules(containers []Container) *nft.Ruleset {
	r := nft.NewRuleset(nft.IPv4, "nat")
	chain := func(name string) {
		r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "nat", Name: name})
	}
	const dnat, masquerade, set = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"
	chain(set)
	chain(masquerade)
	r.Base("POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
	chain(dnat)
	r.Base("PREROUTING", "nat", nft.Prerouting, nft.PriorityDNAT)
	r.Base("OUTPUT", "nat", nft.Output, nft.PriorityDNAT)
	r.Rule(set, nft.Comment("CNI portfwd masquerade mark"), nft.Mark(mark, mark))
	r.Rule(masquerade, nft.Marked(mark), nft.Masqueraded())
	r.Rule("POSTROUTING", nft.Comment("CNI portfwd requiring masquerade"), nft.Jumps(masquerade))
	for _, hook := range []string{"PREROUTING", "OUTPUT"} {
		r.Rule(hook, nft.ToLocal(), nft.Jumps(dnat))
	}
	for _, c := range containers {
		own := c.chain()
		chain(own)
		for _, protocol := range []string{"tcp", "udp"} {
			var ports []uint16
			for _, p := range c.Ports {
				if p.Protocol == protocol {
					ports = append(ports, p.Host)
				}
			}
			for some := range slices.Chunk(ports, mostEach) {
				name := fmt.Sprintf("dnat name: %q id: %q", c.Network, c.ID)
				r.Rule(dnat, nft.Is("meta l4proto", protocol), nft.Comment(name), nft.ToPorts(some...), nft.Jumps(own))
			}
		}
		for _, p := range c.Ports {
			to := []nft.Part{nft.Is("meta l4proto", p.Protocol), nft.ToPort(p.Host)}
			for _, from := range []any{c.Address.Masked(), netip.AddrFrom4([4]byte{127, 0, 0, 1})} {
				r.Rule(own, slices.Concat([]nft.Part{nft.Is("ip saddr", from)}, to, []nft.Part{nft.Jumps(set)})...)
			}
			r.Rule(own, append(to, nft.DNATs(netip.AddrPortFrom(c.Address.Addr(), p.Port)))...)
		}
	}
	return r
}

// chain is that of the container's own rules.
func (c Container) chain() string {
	const prefix = "CNI-DN-"
	return prefix + fmt.Sprintf("%x", sha512.Sum512([]byte(c.Network+c.ID)))[:mostName-len(prefix)]
}
