// Package kubeproxy computes what kube-proxy would write into the kernel of a node, from the services of a cluster and their
// endpoints. It is pure: the result is a value of labnet/lab/nft.
//
// [NFTables] is kube-proxy v1.36 with --proxy-mode=nftables, held against what that program made. One thing differs:
// kube-proxy adds services in the order of a Go map, which is another each time; here it is the order in which they are given.
package kubeproxy

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"

	"labnet/lab/nft"
)

// Port is one port of a service.
type Port struct {
	Service   string // default/web
	Name      string // http
	Protocol  string // tcp, udp
	Address   netip.Addr
	Port      uint16
	NodePort  uint16 // 0: it has none
	Endpoints []netip.AddrPort
}

func (p Port) String() string { return p.Service + ":" + p.Name }

// chain is the name of one of the port's chains.
func (p Port) chain(kind string) string {
	name := fmt.Sprintf("%s/%s/%s", p.Service, p.Protocol, p.Name)
	sum := sha256.Sum256([]byte(name))
	return kind + "-" + base32.StdEncoding.EncodeToString(sum[:])[:8] + "-" + name
}

// Node is what a proxy knows of the node that it runs on, in one family.
type Node struct {
	Family   nft.Family            // nft.IPv4 or nft.IPv6
	Pods     netip.Prefix          // the pods' addresses; connections from elsewhere are masqueraded. Zero: it knows none
	Services netip.Prefix          // the services' addresses; zero likewise
	Address  netip.Addr            // where node ports are accepted; zero: at every local address
	Local    func(netip.Addr) bool // whether an endpoint is on this node
}

// TableName is the name of the table.
const TableName = "kube-proxy"

const masqueradeMark = 0x4000

// NFTables is the table of a node.
func NFTables(n Node, ports []Port) *nft.Ruleset {
	t := newTable(n)
	t.hooks()
	t.checks()
	t.services()
	for _, p := range ports {
		t.port(p)
	}
	return t.Ruleset
}

// table is a table that is being written.
type table struct {
	*nft.Ruleset
	node     Node
	saddr    string
	daddr    string
	sets     map[string]nft.Set
	elements map[[2]string]bool // that are there
}

func newTable(n Node) *table {
	t := &table{
		Ruleset: nft.NewRuleset(n.Family, TableName), node: n, saddr: "ip saddr", daddr: "ip daddr",
		sets: map[string]nft.Set{}, elements: map[[2]string]bool{},
	}
	if n.Family == nft.IPv6 {
		t.saddr, t.daddr = "ip6 saddr", "ip6 daddr"
	}
	t.Tables[0].Comment = "rules for kube-proxy"
	set := func(name, comment string, fields ...string) {
		s := nft.SetOf(n.Family, TableName, name, 0, fields...)
		s.Comment = comment
		t.sets[name] = s
		t.Sets = append(t.Sets, s)
	}
	verdicts := func(name, comment string, fields ...string) {
		set(name, comment, fields...)
		last := &t.Sets[len(t.Sets)-1]
		*last = last.ToVerdicts()
		t.sets[name] = *last
	}
	set("hairpin-connections", "service hairpin connections", t.saddr, t.daddr, "meta l4proto", "th dport")
	set("cluster-ips", "Active ClusterIPs", t.daddr)
	if n.Address.IsValid() {
		set("nodeport-ips", "IPs that accept NodePort traffic", t.daddr)
		t.element("nodeport-ips", "", "", []string{t.daddr}, n.Address)
	}
	verdicts("no-endpoint-services", "vmap to drop or reject packets to services with no endpoints", t.socket()...)
	verdicts("no-endpoint-nodeports", "vmap to drop or reject packets to service nodeports with no endpoints", nodePort...)
	verdicts("firewall-ips", "destinations that are subject to LoadBalancerSourceRanges", t.socket()...)
	verdicts("service-ips", "ClusterIP, ExternalIP and LoadBalancer IP traffic", t.socket()...)
	verdicts("service-nodeports", "NodePort traffic", nodePort...)
	return t
}

// nodePort are the fields of a node port, and socket those of a service's.
var nodePort = []string{"meta l4proto", "th dport"}

func (t *table) socket() []string { return append([]string{t.daddr}, nodePort...) }

// element adds one to a set. kube-proxy keeps one of each, whichever service it is for.
func (t *table) element(set, verdict, comment string, fields []string, values ...any) {
	key := nft.KeyOf(fields, values...)
	if t.elements[[2]string{set, key}] {
		return
	}
	t.elements[[2]string{set, key}] = true
	t.Elements = append(t.Elements, nft.Element{Family: t.node.Family, Table: TableName, Set: set, Key: key, Verdict: verdict, Comment: comment})
}

func (t *table) chain(name, comment string) {
	t.Chains = append(t.Chains, nft.Chain{Family: t.node.Family, Table: TableName, Name: name, Comment: comment})
}

// commented adds a rule that says what it is for.
func (t *table) commented(chain, comment string, parts ...nft.Part) {
	t.Rule(chain, parts...)
	t.Rules[len(t.Rules)-1].Comment = comment
}

// hooks are the chains that packets come into, and where they go on.
func (t *table) hooks() {
	isNew := nft.Is("ct state", "new")
	for _, base := range []struct {
		name, kind string
		hook       uint32
		priority   int32
		jumps      []string
	}{
		{"filter-prerouting-pre-dnat", "filter", nft.Prerouting, nft.PriorityDNAT - 10, []string{"firewall-check"}},
		{"filter-output-pre-dnat", "filter", nft.Output, nft.PriorityDNAT - 10, []string{"firewall-check"}},
		{"filter-input", "filter", nft.Input, nft.PriorityFilter, []string{"nodeport-endpoints-check", "service-endpoints-check"}},
		{"filter-forward", "filter", nft.Forward, nft.PriorityFilter, []string{"service-endpoints-check", "cluster-ips-check"}},
		{"filter-output", "filter", nft.Output, nft.PriorityFilter, []string{"service-endpoints-check", "cluster-ips-check"}},
		{"nat-prerouting", "nat", nft.Prerouting, nft.PriorityDNAT, []string{"services"}},
		{"nat-output", "nat", nft.Output, nft.PriorityDNAT, []string{"services"}},
		{"nat-postrouting", "nat", nft.Postrouting, nft.PrioritySNAT, []string{"masquerading"}},
	} {
		t.Base(base.name, base.kind, base.hook, base.priority)
		for _, to := range base.jumps {
			if base.kind == "filter" {
				t.Rule(base.name, isNew, nft.Then(nft.Jump, to))
			} else {
				t.Rule(base.name, nft.Then(nft.Jump, to))
			}
		}
	}
	for _, name := range []string{"nodeport-endpoints-check", "service-endpoints-check", "firewall-check", "services", "masquerading", "cluster-ips-check"} {
		t.chain(name, "")
	}
	t.chain("reject-chain", "helper for @no-endpoint-services / @no-endpoint-nodeports")
}

// checks refuse what no service answers.
func (t *table) checks() {
	t.Rule("nodeport-endpoints-check", append(t.atNode(), nft.Vmap(t.sets["no-endpoint-nodeports"], nodePort...))...)
	t.Rule("service-endpoints-check", nft.Vmap(t.sets["no-endpoint-services"], t.socket()...))
	t.Rule("firewall-check", nft.Vmap(t.sets["firewall-ips"], t.socket()...))
	t.commented("cluster-ips-check", "Reject traffic to invalid ports of ClusterIPs", nft.In(t.sets["cluster-ips"], t.daddr), nft.Refuse())
	if t.node.Services.IsValid() {
		t.commented("cluster-ips-check", "Drop traffic to unallocated ClusterIPs", nft.Is(t.daddr, t.node.Services), nft.Then(nft.Drop))
	}
	t.Rule("reject-chain", nft.Refuse())
}

// atNode is whether a packet is for an address where node ports are accepted.
func (t *table) atNode() []nft.Part {
	if t.node.Address.IsValid() {
		return []nft.Part{nft.In(t.sets["nodeport-ips"], t.daddr)}
	}
	loopback := netip.IPv6Loopback()
	if t.node.Family == nft.IPv4 {
		return []nft.Part{nft.Not(t.daddr, netip.MustParsePrefix("127.0.0.0/8"))}
	}
	return []nft.Part{nft.Not(t.daddr, loopback)}
}

// services finds the service of a packet, and masquerading gives it the node's address where the answer must come back here.
func (t *table) services() {
	if t.node.Pods.IsValid() {
		t.commented("services", "masquerade clusterIP traffic from outside cluster",
			nft.In(t.sets["cluster-ips"], t.daddr), nft.Not(t.saddr, t.node.Pods), nft.SetMark(masqueradeMark))
	}
	t.Rule("services", nft.Vmap(t.sets["service-ips"], t.socket()...))
	node := t.atNode()
	if !t.node.Address.IsValid() {
		node = append([]nft.Part{nft.Local("daddr")}, node...)
	}
	t.Rule("services", append(node, nft.Vmap(t.sets["service-nodeports"], nodePort...))...)
	t.Rule("masquerading", nft.Has(masqueradeMark), nft.FlipMark(masqueradeMark), nft.Masquerade(nft.FullyRandom))
	t.Rule("masquerading", nft.Is("ct status", "dnat"),
		nft.In(t.sets["hairpin-connections"], t.saddr, t.daddr, "meta l4proto", "th dport"), nft.Masquerade(nft.FullyRandom))
}

// port adds what belongs to one port of a service.
func (t *table) port(p Port) {
	t.element("cluster-ips", "", "", []string{t.daddr}, p.Address)
	if len(p.Endpoints) == 0 {
		const refused = "goto reject-chain"
		t.element("no-endpoint-services", refused, p.String(), t.socket(), p.Address, p.Protocol, p.Port)
		if p.NodePort != 0 {
			t.element("no-endpoint-nodeports", refused, p.String(), nodePort, p.Protocol, p.NodePort)
		}
		return
	}
	service := p.chain("service")
	t.chain(service, "")
	t.Rule(service, nft.Is("meta l4proto", p.Protocol), nft.DNAT(p.Endpoints...))
	t.element("service-ips", "goto "+service, "", t.socket(), p.Address, p.Protocol, p.Port)
	if p.NodePort != 0 {
		external := p.chain("external")
		t.chain(external, "")
		t.commented(external, "masquerade", nft.SetMark(masqueradeMark))
		t.Rule(external, nft.Then(nft.Goto, service))
		t.element("service-nodeports", "goto "+external, "", nodePort, p.Protocol, p.NodePort)
	}
	for _, e := range p.Endpoints {
		if t.node.Local(e.Addr()) {
			t.element("hairpin-connections", "", "", []string{t.saddr, t.daddr, "meta l4proto", "th dport"}, e.Addr(), e.Addr(), p.Protocol, e.Port())
		}
	}
}
