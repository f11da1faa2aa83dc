package kubeproxy

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"labnet/lab/nft"
)

// IPTables are the tables of a node: those that iptables calls mangle, nat and filter.
func IPTables(n Node, ports []Port) *nft.Ruleset {
	t := &iptables{node: n, saddr: "ip saddr", daddr: "ip daddr"}
	if n.Family == nft.IPv6 {
		t.saddr, t.daddr = "ip6 saddr", "ip6 daddr"
	}
	for to, name := range map[**nft.Ruleset]string{&t.mangle: "mangle", &t.nat: "nat", &t.filter: "filter"} {
		*to = nft.NewRuleset(n.Family, name)
	}
	t.chain(t.mangle, canary)
	t.natHooks()
	t.filterHooks()
	for _, p := range ports {
		t.port(p)
	}
	t.nodePorts()
	all := &nft.Ruleset{}
	for _, r := range []*nft.Ruleset{t.mangle, t.nat, t.filter} {
		all.Tables, all.Chains, all.Rules = append(all.Tables, r.Tables...), append(all.Chains, r.Chains...), append(all.Rules, r.Rules...)
	}
	return all
}

// Alike reports whether [IPTables] makes the same of some ports on all nodes: where no traffic is kept on its node it is of no consequence
// which endpoints are a node's own.
func Alike(ports []Port) bool {
	return !slices.ContainsFunc(ports, func(p Port) bool { return p.InternalLocal || p.ExternalLocal })
}

const canary = "KUBE-PROXY-CANARY" // tells kube-proxy, when it is gone, that somebody flushed the tables

// iptables are tables that are being written.
type iptables struct {
	node                Node
	saddr, daddr        string
	mangle, nat, filter *nft.Ruleset
}

func (t *iptables) chain(r *nft.Ruleset, name string) {
	r.Chains = append(r.Chains, nft.Chain{Family: t.node.Family, Table: r.Tables[0].Name, Name: name})
}

// jump is a rule with a comment that goes on in a chain.
func (t *iptables) jump(r *nft.Ruleset, chain, comment, to string) {
	r.Rule(chain, nft.Comment(comment), nft.Jumps(to))
}

func (t *iptables) natHooks() {
	t.chain(t.nat, canary)
	t.chain(t.nat, "KUBE-SERVICES")
	t.nat.Base("OUTPUT", "nat", nft.Output, nft.PriorityDNAT)
	t.nat.Base("PREROUTING", "nat", nft.Prerouting, nft.PriorityDNAT)
	t.chain(t.nat, "KUBE-POSTROUTING")
	t.nat.Base("POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
	t.chain(t.nat, "KUBE-NODEPORTS")
	t.chain(t.nat, "KUBE-MARK-MASQ")
	t.jump(t.nat, "OUTPUT", "kubernetes service portals", "KUBE-SERVICES")
	t.jump(t.nat, "PREROUTING", "kubernetes service portals", "KUBE-SERVICES")
	t.jump(t.nat, "POSTROUTING", "kubernetes postrouting rules", "KUBE-POSTROUTING")
	t.nat.Rule("KUBE-POSTROUTING", nft.Unmarked(masqueradeMark), nft.Decides(nft.Return))
	t.nat.Rule("KUBE-POSTROUTING", nft.Mark(masqueradeMark, 0))
	t.nat.Rule("KUBE-POSTROUTING", nft.Comment("kubernetes service traffic requiring SNAT"), nft.MasqueradesByLot())
	t.nat.Rule("KUBE-MARK-MASQ", nft.Mark(masqueradeMark, masqueradeMark))
}

func (t *iptables) filterHooks() {
	f := t.filter
	t.chain(f, canary)
	t.chain(f, "KUBE-EXTERNAL-SERVICES")
	f.Base("INPUT", "filter", nft.Input, nft.PriorityFilter)
	f.Base("FORWARD", "filter", nft.Forward, nft.PriorityFilter)
	for _, name := range []string{"KUBE-NODEPORTS", "KUBE-SERVICES"} {
		t.chain(f, name)
	}
	f.Base("OUTPUT", "filter", nft.Output, nft.PriorityFilter)
	for _, name := range []string{"KUBE-FORWARD", "KUBE-PROXY-FIREWALL", "KUBE-FIREWALL"} {
		t.chain(f, name)
	}
	first := func(chain, comment, to string) { // packets of a connection
		f.Rule(chain, nft.State(nft.StateNew), nft.Comment(comment), nft.Jumps(to))
	}
	const firewall, portals, external = "kubernetes load balancer firewall", "kubernetes service portals", "kubernetes externally-visible service portals"
	f.Rule("INPUT", nft.Jumps("KUBE-FIREWALL"))
	first("INPUT", firewall, "KUBE-PROXY-FIREWALL")
	t.jump(f, "INPUT", "kubernetes health check service ports", "KUBE-NODEPORTS")
	first("INPUT", external, "KUBE-EXTERNAL-SERVICES")
	first("FORWARD", firewall, "KUBE-PROXY-FIREWALL")
	t.jump(f, "FORWARD", "kubernetes forwarding rules", "KUBE-FORWARD")
	first("FORWARD", portals, "KUBE-SERVICES")
	first("FORWARD", external, "KUBE-EXTERNAL-SERVICES")
	f.Rule("OUTPUT", nft.Jumps("KUBE-FIREWALL"))
	first("OUTPUT", firewall, "KUBE-PROXY-FIREWALL")
	first("OUTPUT", portals, "KUBE-SERVICES")
	if t.node.Family == nft.IPv4 {
		loopback := netip.MustParsePrefix("127.0.0.0/8")
		f.Rule("KUBE-FIREWALL", nft.Not(t.saddr, loopback), nft.Is(t.daddr, loopback), nft.Comment("block incoming localnet connections"),
			nft.NotState(nft.StateRelated|nft.StateEstablished|nft.StateDNAT), nft.Decides(nft.Drop))
	}
	f.Rule("KUBE-FORWARD", nft.State(nft.StateInvalid), nft.Decides(nft.Drop))
	f.Rule("KUBE-FORWARD", nft.Comment("kubernetes forwarding rules"), nft.Marked(masqueradeMark), nft.Decides(nft.Accept))
	f.Rule("KUBE-FORWARD", nft.Comment("kubernetes forwarding conntrack rule"), nft.State(nft.StateRelated|nft.StateEstablished), nft.Decides(nft.Accept))
}

// name is that of one of the port's chains.
func (p Port) chain(kind string, more ...string) string {
	text := p.String() + p.Protocol
	for _, m := range more {
		text += m
	}
	sum := sha256.Sum256([]byte(text))
	return kind + base32.StdEncoding.EncodeToString(sum[:])[:16]
}

func (p Port) endpointChain(e netip.AddrPort) string { return p.chain("KUBE-SEP-", e.String()) }

// packet is what a rule asks of packets for a port of the service, at an address where one is given.
func (t *iptables) packet(p Port, comment string, to netip.Addr, port uint16, more ...nft.Part) []nft.Part {
	parts := []nft.Part{nft.Is("meta l4proto", p.Protocol)}
	parts = append(parts, more...) // comes before the destination
	if to.IsValid() {
		parts = append(parts, nft.Is(t.daddr, to))
	}
	return append(parts, nft.Comment(comment), nft.ToPort(port))
}

func (t *iptables) port(p Port) {
	r := t.node.reach(p)
	service, local, external := p.chain("KUBE-SVC-"), p.chain("KUBE-SVL-"), p.chain("KUBE-EXT-")
	internal, outer := service, service
	if p.InternalLocal {
		internal = local
	}
	if p.ExternalLocal {
		outer = local
	}
	some := len(p.Endpoints) > 0
	nothing, why := nft.Decides(nft.Drop), p.String()+" has no local endpoints"
	if !some {
		nothing, why = nft.Rejects(), p.String()+" has no endpoints"
	}
	comment := p.String() + " cluster IP"
	if r.internal {
		t.nat.Rule("KUBE-SERVICES", append(t.packet(p, comment, p.Address, p.Port), nft.Jumps(internal))...)
	} else {
		t.filter.Rule("KUBE-SERVICES", append(t.packet(p, why, p.Address, p.Port), nothing)...)
	}
	if p.Balancer.IsValid() {
		if some {
			t.nat.Rule("KUBE-SERVICES", append(t.packet(p, p.String()+" loadbalancer IP", p.Balancer, p.Port), nft.Jumps(external))...)
		}
		if !r.external {
			t.filter.Rule("KUBE-EXTERNAL-SERVICES", append(t.packet(p, why, p.Balancer, p.Port), nothing)...)
		}
	}
	if p.NodePort != 0 {
		if some {
			t.nat.Rule("KUBE-NODEPORTS", append(t.packet(p, p.String(), netip.Addr{}, p.NodePort), nft.Jumps(external))...)
		}
		if !r.external {
			t.filter.Rule("KUBE-EXTERNAL-SERVICES", nft.Is("meta l4proto", p.Protocol), nft.Comment(why), nft.ToLocal(), nft.ToPort(p.NodePort), nothing)
		}
	}
	if some && r.outside {
		t.outside(p, external, service, outer, r.external)
	}
	t.balance(p, service, r.cluster, comment, internal)
	t.balance(p, local, r.local, comment, internal)
	for _, e := range r.all {
		t.endpoint(p, e)
	}
}

// outside is the chain of what comes by a node port or a load balancer.
func (t *iptables) outside(p Port, chain, cluster, policy string, answers bool) {
	t.chain(t.nat, chain)
	destinations := " for " + p.String() + " external destinations"
	if !p.ExternalLocal {
		t.jump(t.nat, chain, "masquerade traffic"+destinations, "KUBE-MARK-MASQ")
	} else {
		if t.node.Pods.IsValid() {
			t.nat.Rule(chain, nft.Is(t.saddr, t.node.Pods), nft.Comment("pod traffic"+destinations), nft.Jumps(cluster))
		}
		t.nat.Rule(chain, nft.Comment("masquerade LOCAL traffic"+destinations), nft.FromLocal(), nft.Jumps("KUBE-MARK-MASQ"))
		t.nat.Rule(chain, nft.Comment("route LOCAL traffic"+destinations), nft.FromLocal(), nft.Jumps(cluster))
	}
	if answers {
		t.nat.Rule(chain, nft.Jumps(policy))
	}
}

// balance is the chain that chooses one of several endpoints: the one that the client had, or by lot. That of the
// service's address marks what is to be masqueraded.
func (t *iptables) balance(p Port, chain string, endpoints []netip.AddrPort, comment, internal string) {
	if len(endpoints) == 0 {
		return
	}
	t.chain(t.nat, chain)
	if chain == internal {
		switch {
		case t.node.MasqueradeAll:
			t.nat.Rule(chain, append(t.packet(p, comment, p.Address, p.Port), nft.Jumps("KUBE-MARK-MASQ"))...)
		case t.node.Pods.IsValid():
			t.nat.Rule(chain, append(t.packet(p, comment, p.Address, p.Port, nft.Not(t.saddr, t.node.Pods)), nft.Jumps("KUBE-MARK-MASQ"))...)
		}
	}
	to := func(e netip.AddrPort) nft.Part { return nft.Comment(p.String() + " -> " + e.String()) }
	if p.Affinity != 0 {
		for _, e := range endpoints {
			t.nat.Rule(chain, to(e), nft.Seen(p.endpointChain(e), p.Affinity), nft.Jumps(p.endpointChain(e)))
		}
	}
	for i, e := range endpoints {
		parts := []nft.Part{to(e)}
		if left := len(endpoints) - i; left > 1 {
			parts = append(parts, nft.Probably(probability(left)))
		}
		t.nat.Rule(chain, append(parts, nft.Jumps(p.endpointChain(e)))...)
	}
}

// probability is 1/n with as many digits as kube-proxy writes.
func probability(n int) float64 {
	p, _ := strconv.ParseFloat(fmt.Sprintf("%0.10f", 1/float64(n)), 64)
	return p
}

// endpoint is the chain that leads to one of them.
func (t *iptables) endpoint(p Port, e netip.AddrPort) {
	chain := p.endpointChain(e)
	t.chain(t.nat, chain)
	t.nat.Rule(chain, nft.Is(t.saddr, e.Addr()), nft.Comment(p.String()), nft.Jumps("KUBE-MARK-MASQ"))
	parts := []nft.Part{nft.Is("meta l4proto", p.Protocol), nft.Comment(p.String())}
	if p.Affinity != 0 {
		parts = append(parts, nft.Note(chain))
	}
	t.nat.Rule(chain, append(parts, nft.AnyPort(p.Protocol), nft.DNATs(e))...)
}

// nodePorts is the last rule of the services' chain.
func (t *iptables) nodePorts() {
	var parts []nft.Part
	if t.node.Family == nft.IPv6 {
		parts = append(parts, nft.Not(t.daddr, netip.IPv6Loopback()))
	}
	t.nat.Rule("KUBE-SERVICES", append(parts,
		nft.Comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain"), nft.ToLocal(), nft.Jumps("KUBE-NODEPORTS"))...)
}
