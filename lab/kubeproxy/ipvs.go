package kubeproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labnet/lab/nft"
)

// IPVSDevice is the device that has the services' addresses, so that the kernel takes what is for them for its own.
const IPVSDevice = "kube-ipvs0"

// IPVS is what kube-proxy's ipvs proxy makes of a node.
type IPVS struct {
	Tables    *nft.Ruleset // those that iptables calls nat and filter
	Sets      []IPSet
	Servers   []VirtualServer
	Addresses []netip.Addr // of its device
}

// IPSet is an ipset with its members.
type IPSet struct {
	Name, Type string // hash:ip,port
	V6         bool
	Entries    []IPSetEntry
	comment    string // of the rules that ask it
}

// IPSetEntry is a member of an ipset; of the fields it has those that the set's type names.
type IPSetEntry struct {
	Address  netip.Addr
	Protocol string // tcp, udp
	Port     uint16
	Second   netip.Addr
}

// String is a member as ipset(8) writes it.
func (e IPSetEntry) String() string {
	var words []string
	if e.Address.IsValid() {
		words = append(words, e.Address.String())
	}
	switch {
	case e.Protocol != "":
		words = append(words, fmt.Sprintf("%s:%d", e.Protocol, e.Port))
	case !e.Address.IsValid():
		words = append(words, fmt.Sprint(e.Port))
	}
	if e.Second.IsValid() {
		words = append(words, e.Second.String())
	}
	return strings.Join(words, ",")
}

// VirtualServer is an address and a port whose connections IPVS gives to real servers.
type VirtualServer struct {
	Protocol   string
	Address    netip.AddrPort
	Scheduler  string
	Persistent uint32 // for how many seconds a client keeps its real server; 0: for one connection
	SourcePort bool   // the scheduler mh looks at the client's port too
	Real       []netip.AddrPort
}

// the ipsets, in the order in which kube-proxy names them.
const (
	loopBack    = "KUBE-LOOP-BACK"
	clusterIP   = "KUBE-CLUSTER-IP"
	externalIP  = "KUBE-EXTERNAL-IP"
	externalOwn = "KUBE-EXTERNAL-IP-LOCAL"
	balancer    = "KUBE-LOAD-BALANCER"
	balancerOwn = "KUBE-LOAD-BALANCER-LOCAL"
	portTCP     = "KUBE-NODE-PORT-TCP"
	portTCPOwn  = "KUBE-NODE-PORT-LOCAL-TCP"
	portUDP     = "KUBE-NODE-PORT-UDP"
	portUDPOwn  = "KUBE-NODE-PORT-LOCAL-UDP"
	healthCheck = "KUBE-HEALTH-CHECK-NODE-PORT"
	bound       = "KUBE-IPVS-IPS"
)

var ipsets = []IPSet{
	{Name: loopBack, Type: "hash:ip,port,ip", comment: "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"},
	{Name: clusterIP, Type: "hash:ip,port", comment: "Kubernetes service cluster ip + port for masquerade purpose"},
	{Name: externalIP, Type: "hash:ip,port"},
	{Name: externalOwn, Type: "hash:ip,port"},
	{Name: balancer, Type: "hash:ip,port", comment: "Kubernetes service lb portal"},
	{Name: "KUBE-LOAD-BALANCER-FW", Type: "hash:ip,port"},
	{Name: balancerOwn, Type: "hash:ip,port", comment: "Kubernetes service load balancer ip + port with externalTrafficPolicy=local"},
	{Name: "KUBE-LOAD-BALANCER-SOURCE-IP", Type: "hash:ip,port,ip"},
	{Name: "KUBE-LOAD-BALANCER-SOURCE-CIDR", Type: "hash:ip,port,net"},
	{Name: portTCP, Type: "bitmap:port", comment: "Kubernetes nodeport TCP port for masquerade purpose"},
	{Name: portTCPOwn, Type: "bitmap:port", comment: "Kubernetes nodeport TCP port with externalTrafficPolicy=local"},
	{Name: portUDP, Type: "bitmap:port", comment: "Kubernetes nodeport UDP port for masquerade purpose"},
	{Name: portUDPOwn, Type: "bitmap:port", comment: "Kubernetes nodeport UDP port with externalTrafficPolicy=local"},
	{Name: "KUBE-NODE-PORT-SCTP-HASH", Type: "hash:ip,port"},
	{Name: "KUBE-NODE-PORT-LOCAL-SCTP-HASH", Type: "hash:ip,port"},
	{Name: healthCheck, Type: "bitmap:port", comment: "Kubernetes health check node port"},
	{Name: bound, Type: "hash:ip"},
}

const longestIPSet = 31

// ipsetName is what a set is called in a family.
func ipsetName(name string, v6 bool) string {
	if v6 {
		name = strings.Replace(name, "KUBE-", "KUBE-6-", 1)
	}
	return name[:min(len(name), longestIPSet)]
}

// ipvs is what is being written.
type ipvs struct {
	IPVS
	iptables
	sets map[string]*IPSet // by the names that they have in IPv4
	has  map[string]bool   // members of sets that are there
}

// NewIPVS computes what a node has.
func NewIPVS(n Node, ports []Port) IPVS {
	t := &ipvs{iptables: iptables{node: n, saddr: "ip saddr"}, sets: map[string]*IPSet{}, has: map[string]bool{}}
	if n.Family == nft.IPv6 {
		t.saddr = "ip6 saddr"
	}
	t.nat, t.filter = nft.NewRuleset(n.Family, "nat"), nft.NewRuleset(n.Family, "filter")
	t.Sets = slices.Clone(ipsets)
	for i := range t.Sets {
		s := &t.Sets[i]
		t.sets[s.Name] = s
		s.Name, s.V6 = ipsetName(s.Name, n.Family == nft.IPv6), n.Family == nft.IPv6
	}
	for _, p := range ports {
		t.port(p)
	}
	for _, a := range t.Addresses {
		t.member(bound, IPSetEntry{Address: a})
	}
	t.natTable()
	t.filterTable()
	t.Tables = &nft.Ruleset{}
	for _, r := range []*nft.Ruleset{t.nat, t.filter} {
		all := t.Tables
		all.Tables, all.Chains, all.Rules = append(all.Tables, r.Tables...), append(all.Chains, r.Chains...), append(all.Rules, r.Rules...)
	}
	return t.IPVS
}

func (t *ipvs) member(set string, e IPSetEntry) {
	if key := set + " " + e.String(); !t.has[key] {
		t.has[key] = true
		t.sets[set].Entries = append(t.sets[set].Entries, e)
	}
}

// port adds what belongs to a port of a service: its virtual servers, and what the sets say of them.
func (t *ipvs) port(p Port) {
	for _, e := range p.Endpoints {
		if t.node.Local(e.Addr()) {
			t.member(loopBack, IPSetEntry{e.Addr(), p.Protocol, e.Port(), e.Addr()})
		}
	}
	at := func(a netip.Addr) IPSetEntry { return IPSetEntry{Address: a, Protocol: p.Protocol, Port: p.Port} }
	t.member(clusterIP, at(p.Address))
	t.bind(p.Address)
	t.server(p, netip.AddrPortFrom(p.Address, p.Port), p.InternalLocal)
	if p.Balancer.IsValid() {
		t.member(balancer, at(p.Balancer))
		if p.ExternalLocal {
			t.member(balancerOwn, at(p.Balancer))
		}
		if !slices.Contains(t.node.Addresses, p.Balancer) {
			t.bind(p.Balancer)
		}
		t.server(p, netip.AddrPortFrom(p.Balancer, p.Port), p.ExternalLocal)
	}
	if p.NodePort == 0 {
		return
	}
	all, own := portTCP, portTCPOwn
	if p.Protocol == "udp" {
		all, own = portUDP, portUDPOwn
	}
	t.member(all, IPSetEntry{Port: p.NodePort})
	if p.ExternalLocal {
		t.member(own, IPSetEntry{Port: p.NodePort})
	}
	for _, a := range t.node.Addresses {
		t.server(p, netip.AddrPortFrom(a, p.NodePort), p.ExternalLocal)
	}
}

// bind gives the device an address.
func (t *ipvs) bind(a netip.Addr) {
	if !slices.Contains(t.Addresses, a) {
		t.Addresses = append(t.Addresses, a)
	}
}

// server adds a virtual server. Where just the node's own endpoints are to answer and there are none, all do.
func (t *ipvs) server(p Port, at netip.AddrPort, own bool) {
	real := p.Endpoints
	if own {
		if local := t.node.OwnEndpoints(p); len(local) > 0 {
			real = local
		}
	}
	t.Servers = append(t.Servers, VirtualServer{
		Protocol: p.Protocol, Address: at, Scheduler: t.node.Scheduler, Persistent: p.Affinity, SourcePort: t.node.Scheduler == "mh", Real: real,
	})
}

// in is a match of one of the sets, and asked the same with the set's comment.
func (t *ipvs) in(set string, fields ...string) nft.Part {
	return nft.InIPSet(t.sets[set].Name, fields...)
}

func (t *ipvs) asked(set string, more ...nft.Part) []nft.Part {
	fields := map[string][]string{"hash:ip,port": {"dst", "dst"}, "hash:ip,port,ip": {"dst", "dst", "src"}}[t.sets[set].Type]
	if fields == nil {
		fields = []string{"dst"}
	}
	return append(more, nft.Comment(t.sets[set].comment), t.in(set, fields...))
}

// whereSome adds a rule that asks a set, where that has members.
func (t *ipvs) whereSome(set, chain string, does nft.Part, more ...nft.Part) {
	if len(t.sets[set].Entries) > 0 {
		t.nat.Rule(chain, append(t.asked(set, more...), does)...)
	}
}

func (t *ipvs) natTable() {
	for _, name := range []string{"KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"} {
		t.chain(t.nat, name)
	}
	t.nat.Base("OUTPUT", "nat", nft.Output, nft.PriorityDNAT)
	t.nat.Base("PREROUTING", "nat", nft.Prerouting, nft.PriorityDNAT)
	t.nat.Base("POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)

	marks, returns, accepts := nft.Jumps("KUBE-MARK-MASQ"), nft.Decides(nft.Return), nft.Decides(nft.Accept)
	t.nat.Rule("KUBE-SERVICES", nft.Is(t.saddr, t.loopback()), returns)
	t.whereSome(balancer, "KUBE-SERVICES", nft.Jumps("KUBE-LOAD-BALANCER"))
	switch {
	case t.node.MasqueradeAll:
		t.whereSome(clusterIP, "KUBE-SERVICES", marks)
	case t.node.Pods.IsValid():
		t.whereSome(clusterIP, "KUBE-SERVICES", marks, nft.Not(t.saddr, t.node.Pods))
	}
	t.nat.Rule("KUBE-SERVICES", nft.ToLocal(), nft.Jumps("KUBE-NODE-PORT"))
	for _, set := range []string{clusterIP, balancer} {
		if len(t.sets[set].Entries) > 0 {
			t.nat.Rule("KUBE-SERVICES", t.in(set, "dst", "dst"), accepts)
		}
	}

	t.whereSome(loopBack, "KUBE-POSTROUTING", nft.Masqueraded())
	t.nat.Rule("KUBE-POSTROUTING", nft.Unmarked(masqueradeMark), returns)
	t.nat.Rule("KUBE-POSTROUTING", nft.Mark(masqueradeMark, 0))
	t.nat.Rule("KUBE-POSTROUTING", nft.Comment("kubernetes service traffic requiring SNAT"), nft.MasqueradesByLot())

	for _, one := range []struct{ protocol, own, all string }{{"tcp", portTCPOwn, portTCP}, {"udp", portUDPOwn, portUDP}} {
		t.whereSome(one.own, "KUBE-NODE-PORT", returns, nft.Is("meta l4proto", one.protocol))
		t.whereSome(one.all, "KUBE-NODE-PORT", marks, nft.Is("meta l4proto", one.protocol))
	}

	t.whereSome(balancerOwn, "KUBE-LOAD-BALANCER", returns)
	t.nat.Rule("KUBE-LOAD-BALANCER", marks)
	t.nat.Rule("KUBE-MARK-MASQ", nft.Mark(masqueradeMark, masqueradeMark))

	t.jump(t.nat, "OUTPUT", "kubernetes service portals", "KUBE-SERVICES")
	t.jump(t.nat, "PREROUTING", "kubernetes service portals", "KUBE-SERVICES")
	t.jump(t.nat, "POSTROUTING", "kubernetes postrouting rules", "KUBE-POSTROUTING")
}

func (t *ipvs) filterTable() {
	for _, name := range []string{"KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER"} {
		t.chain(t.filter, name)
	}
	f := t.filter
	f.Base("FORWARD", "filter", nft.Forward, nft.PriorityFilter)
	f.Base("INPUT", "filter", nft.Input, nft.PriorityFilter)
	f.Base("OUTPUT", "filter", nft.Output, nft.PriorityFilter)
	accepts, returns := nft.Decides(nft.Accept), nft.Decides(nft.Return)
	f.Rule("KUBE-FORWARD", nft.Comment("kubernetes forwarding rules"), nft.Marked(masqueradeMark), accepts)
	f.Rule("KUBE-FORWARD", nft.Comment("kubernetes forwarding conntrack rule"), nft.State(nft.StateRelated|nft.StateEstablished), accepts)
	f.Rule("KUBE-NODE-PORT", append(t.asked(healthCheck), accepts)...)
	f.Rule("KUBE-SOURCE-RANGES-FIREWALL", nft.Decides(nft.Drop))
	for _, set := range []string{balancer, clusterIP, externalIP, externalOwn} {
		f.Rule("KUBE-IPVS-FILTER", t.in(set, "dst", "dst"), returns)
	}
	f.Rule("KUBE-IPVS-FILTER", t.in(healthCheck, "dst"), returns)
	f.Rule("KUBE-IPVS-FILTER", nft.State(nft.StateNew), t.in(bound, "dst"), nft.Rejects())
	t.jump(f, "FORWARD", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL")
	t.jump(f, "FORWARD", "kubernetes forwarding rules", "KUBE-FORWARD")
	t.jump(f, "INPUT", "kubernetes ipvs access filter", "KUBE-IPVS-FILTER")
	t.jump(f, "INPUT", "kube-proxy firewall rules", "KUBE-PROXY-FIREWALL")
	t.jump(f, "INPUT", "kubernetes health check rules", "KUBE-NODE-PORT")
	t.jump(f, "OUTPUT", "kubernetes ipvs access filter", "KUBE-IPVS-OUT-FILTER")
}

func (t *ipvs) loopback() any {
	if t.node.Family == nft.IPv6 {
		return netip.IPv6Loopback()
	}
	return netip.MustParsePrefix("127.0.0.0/8")
}
