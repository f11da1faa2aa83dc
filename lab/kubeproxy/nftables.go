package kubeproxy

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strings"

	"labnet/lab/nft"
)

// base is what the names of the port's chains have in common, and endpointBase likewise those of one endpoint.
func (p Port) base() string { return hashed(fmt.Sprintf("%s/%s/%s", p.Service, p.Protocol, p.Name)) }

func (p Port) endpointBase(e netip.AddrPort) string {
	return hashed(fmt.Sprintf("%s/%s/%s__%s/%d", p.Service, p.Protocol, p.Name, strings.ReplaceAll(e.Addr().String(), ":", "."), e.Port()))
}

func hashed(name string) string {
	sum := sha256.Sum256([]byte(name))
	return base32.StdEncoding.EncodeToString(sum[:])[:8] + "-" + name
}

// TableName is the name of the table.
const TableName = "kube-proxy"

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
	switch {
	case t.node.MasqueradeAll:
		t.commented("services", "masquerade all clusterIP traffic", nft.In(t.sets["cluster-ips"], t.daddr), nft.SetMark(masqueradeMark))
	case t.node.Pods.IsValid():
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
	r := t.node.reach(p)
	service, local, external := "service-"+p.base(), "local-"+p.base(), "external-"+p.base()
	internal, outer := service, service
	if p.InternalLocal {
		internal = local
	}
	if p.ExternalLocal {
		outer = local
	}
	nothing := "drop" // is what becomes of packets where others have endpoints
	if len(p.Endpoints) == 0 {
		nothing = "goto reject-chain"
	}
	t.element("cluster-ips", "", "", []string{t.daddr}, p.Address)
	t.way(p, p.Address, r.internal, r.internal, internal, nothing)
	some := len(p.Endpoints) > 0
	if p.Balancer.IsValid() {
		t.way(p, p.Balancer, some, r.external, external, nothing)
	}
	if p.NodePort != 0 {
		if some {
			t.element("service-nodeports", "goto "+external, "", nodePort, p.Protocol, p.NodePort)
		}
		if !r.external {
			t.element("no-endpoint-nodeports", nothing, p.String(), nodePort, p.Protocol, p.NodePort)
		}
	}
	if len(r.cluster) > 0 {
		t.balance(p, service, r.cluster)
	}
	if len(r.local) > 0 {
		t.balance(p, local, r.local)
	}
	if some && r.outside {
		t.outside(p, external, service, outer, r.external)
	}
	for _, e := range r.all {
		if t.node.Local(e.Addr()) {
			t.element("hairpin-connections", "", "", []string{t.saddr, t.daddr, "meta l4proto", "th dport"}, e.Addr(), e.Addr(), p.Protocol, e.Port())
		}
		if p.Affinity != 0 {
			t.keeps(p, e)
		}
	}
}

// way leads from an address to a chain, and says what becomes of packets where that does not translate them.
func (t *table) way(p Port, to netip.Addr, leads, answers bool, chain, nothing string) {
	if leads {
		t.element("service-ips", "goto "+chain, "", t.socket(), to, p.Protocol, p.Port)
	}
	if !answers {
		t.element("no-endpoint-services", nothing, p.String(), t.socket(), to, p.Protocol, p.Port)
	}
}

// outside is the chain of what comes by a node port or a load balancer.
func (t *table) outside(p Port, chain, cluster, policy string, answers bool) {
	t.chain(chain, "")
	if !p.ExternalLocal {
		t.commented(chain, "masquerade", nft.SetMark(masqueradeMark))
	} else {
		if t.node.Pods.IsValid() {
			t.commented(chain, "short-circuit pod traffic", nft.Is(t.saddr, t.node.Pods), nft.Then(nft.Goto, cluster))
		}
		t.commented(chain, "masquerade local traffic", nft.Local("saddr"), nft.SetMark(masqueradeMark))
		t.commented(chain, "short-circuit local traffic", nft.Local("saddr"), nft.Then(nft.Goto, cluster))
	}
	if answers {
		t.Rule(chain, nft.Then(nft.Goto, policy))
	}
}

// balance is the chain that chooses one of several endpoints: by lot, or the one that the client had.
func (t *table) balance(p Port, chain string, endpoints []netip.AddrPort) {
	t.chain(chain, "")
	if p.Affinity == 0 {
		t.Rule(chain, nft.Is("meta l4proto", p.Protocol), nft.DNAT(endpoints...))
		return
	}
	var to []string
	for _, e := range endpoints {
		to = append(to, "endpoint-"+p.endpointBase(e))
		t.Rule(chain, nft.In(t.affinity(p, e), t.saddr), nft.Then(nft.Goto, to[len(to)-1]))
	}
	t.Rule(chain, nft.ByLot(to...))
}

// affinity is the set of the clients that an endpoint has.
func (t *table) affinity(p Port, e netip.AddrPort) nft.Set {
	s := nft.SetOf(t.node.Family, TableName, "affinity-"+p.endpointBase(e), nft.Dynamic|nft.TimeoutSet, t.saddr)
	s.Size, s.Timeout = dynamicSize, uint64(p.Affinity)*1000
	return s
}

const dynamicSize = 65535 // nft(8) gives one that packets add to

// keeps is what an endpoint has of its own where clients keep theirs.
func (t *table) keeps(p Port, e netip.AddrPort) {
	chain := "endpoint-" + p.endpointBase(e)
	set := t.affinity(p, e)
	t.Sets = append(t.Sets, set)
	t.chain(chain, "")
	t.Rule(chain, nft.Refresh(set, t.saddr))
	t.Rule(chain, nft.Is("meta l4proto", p.Protocol), nft.SendTo(e))
}
