package testbed_test

import (
	"net/netip"

	"labnet/lab/nft"
	"labnet/lab/plan"
)

// everything is a small lab with an object of every kind, and of every shape a kind has: more than any one mode wants.
//
//	  p1            p1
//	  │ eth0        │ eth0
//	  │ veth0       │ veth0
//	cni0 n1       cni0 n2      vx0 on eth0, emulated eth0.10 and tunnel, routes, rules, neighbours, firewall
//	  │ eth0        │ eth0
//	  └──── br0 ────┘ lan
func everything(lab string) *plan.State {
	s := &plan.State{}
	space := func(name, role, forwards string) string {
		ns := lab + "." + name
		s.Add(
			plan.Namespace{Name: ns, Alias: plan.Owner{Lab: lab, Machine: name, Role: role}.String()},
			plan.Sysctl{Namespace: ns, Path: "net/ipv4/ip_forward", Value: forwards},
			plan.Sysctl{Namespace: ns, Path: "net/ipv6/conf/all/forwarding", Value: forwards},
			plan.Sysctl{Namespace: ns, Path: "net/ipv4/conf/default/rp_filter", Value: "0"},
			plan.Sysctl{Namespace: ns, Path: "net/ipv6/conf/default/disable_ipv6", Value: "0"},
			plan.Sysctl{Namespace: ns, Path: "net/ipv6/conf/default/accept_dad", Value: "0"},
		)
		return ns
	}
	lan := space("lan", "switch", "0")
	s.Add(plan.Link{Namespace: lan, Name: "br0", Device: plan.Bridge{}, MTU: 1500, MAC: "02:00:00:00:00:01", TxQueueLen: 1000})
	for i, name := range []string{"n1", "n2"} {
		b := byte(i + 1)
		ns, pod := space(name, "node", "1"), space(name+".p1", "pod", "0")
		near, far := plan.End{Namespace: ns, Name: "eth0"}, plan.End{Namespace: lan, Name: name}
		inside, outside := plan.End{Namespace: pod, Name: "eth0"}, plan.End{Namespace: ns, Name: "veth0"}
		other := 3 - b
		v6 := func(net, host byte, bits int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 7: net, 15: host}), bits)
		}
		s.Add(
			plan.Link{Namespace: ns, Name: "eth0", Device: plan.Veth{Peer: far}, MTU: 1500, TxQueueLen: 1000, MAC: plan.MACOf(2, 0, v4(192, 168, 205, b, 24).Addr())},
			plan.Link{Namespace: lan, Name: name, Device: plan.Veth{Peer: near}, MTU: 1500, TxQueueLen: 500, Port: plan.Port{Bridge: "br0"}},
			plan.Link{Namespace: ns, Name: "vx0", MTU: 1450, MAC: "02:11:00:00:00:0" + string('0'+b), GSOMaxSegs: 17,
				Device: plan.VXLAN{Lower: "eth0", VNI: 7, Port: 8472, Local: v4(192, 168, 205, b, 24).Addr()}},
			plan.Link{Namespace: ns, Name: "cni0", Device: plan.Bridge{}, MTU: 1450, TxQueueLen: 1000},
			plan.Link{Namespace: ns, Name: "veth0", Device: plan.Veth{Peer: inside}, MTU: 1450, Port: plan.Port{Bridge: "cni0", Hairpin: true}},
			plan.Link{Namespace: pod, Name: "eth0", Device: plan.Veth{Peer: outside}, MTU: 1450},
			plan.Sysctl{Namespace: ns, Path: "net/ipv4/conf/eth0/proxy_arp", Value: "1", Link: "eth0"},
			plan.Sysctl{Namespace: ns, Path: "net/ipv4/neigh/eth0/gc_stale_time", Value: "77", Link: "eth0"},
			plan.Link{Namespace: ns, Name: "eth0.10", Device: plan.IFB{ARP: true}, MTU: 1500, MAC: "02:12:00:00:00:0" + string('0'+b), TxQueueLen: 1000},
			plan.Link{Namespace: ns, Name: "tunnel", Device: plan.IFB{}, MTU: 1480, MAC: "02:13:00:00:00:0" + string('0'+b)},
			plan.Link{Namespace: ns, Name: "cni0-in", Device: plan.IFB{}, MTU: 1450, MAC: "02:14:00:00:00:0" + string('0'+b), Port: plan.Port{Bridge: "cni0", NoLearning: true}},
			plan.Qdisc{Namespace: ns, Link: "eth0", Type: "clsact"},
			plan.Qdisc{Namespace: ns, Link: "eth0.10", Type: "clsact"},
			plan.Qdisc{Namespace: ns, Link: "tunnel", Type: "clsact"},
			plan.Qdisc{Namespace: ns, Link: "cni0", Type: "clsact"},
			plan.Program{Namespace: ns, Link: "tunnel", Egress: true, Priority: 1, Does: "ipip-encap", Local: v4(192, 168, 205, b, 24).Addr()},
			plan.Program{Namespace: ns, Link: "eth0", Priority: 1, Does: "ipip-decap", To: "tunnel", Local: v4(192, 168, 205, b, 24).Addr()},
			plan.Program{Namespace: ns, Link: "eth0.10", Egress: true, Priority: 1, Does: "vlan-push", To: "eth0", VLAN: 10},
			plan.Program{Namespace: ns, Link: "eth0", Priority: 1010, Does: "vlan-pop", To: "eth0.10", VLAN: 10},
			plan.Program{Namespace: ns, Link: "cni0", Egress: true, Priority: 1, Does: "bridge-enter", To: "cni0-in"},
			plan.Qdisc{Namespace: ns, Link: "eth0", Type: "tbf", Rate: 100_000_000, Burst: 15_000, Limit: 150_000},

			plan.NewAddress(ns, "eth0", v4(192, 168, 205, b, 24)),
			plan.Address{Namespace: ns, Link: "eth0", Prefix: v6(0, b, 64)},
			plan.Address{Namespace: ns, Link: "vx0", Prefix: v4(10, 42, b, 0, 32)},
			plan.Address{Namespace: ns, Link: "vx0", Prefix: v6(9, b, 128), NoPrefixRoute: true},
			plan.NewAddress(ns, "cni0", v4(10, 42, b, 1, 24)),
			plan.Address{Namespace: ns, Link: "cni0", Prefix: v4(169, 254, 7, 1, 32), Scope: "link"},
			plan.Address{Namespace: ns, Link: "lo", Prefix: v4(10, 99, 0, b, 32)},
			plan.Address{Namespace: pod, Link: "eth0", Prefix: v4(10, 42, b, 2, 24), NoPrefixRoute: true},
			plan.Address{Namespace: pod, Link: "eth0", Prefix: v6(b, 2, 64)},

			plan.Neighbour{Namespace: ns, Link: "vx0", Addr: v4(10, 42, other, 0, 32).Addr(), MAC: "02:11:00:00:00:0" + string('0'+other)},
			plan.Neighbour{Namespace: ns, Link: "vx0", Addr: v6(9, other, 128).Addr(), MAC: "02:11:00:00:00:0" + string('0'+other)},
			plan.Neighbour{Namespace: ns, Link: "eth0", Addr: v4(10, 77, 0, 1, 32).Addr(), Proxy: true},
			plan.Neighbour{Namespace: ns, Link: "eth0", Addr: v6(7, 1, 128).Addr(), Proxy: true},
			plan.FDB{Namespace: ns, Link: "vx0", MAC: "02:11:00:00:00:0" + string('0'+other), Dst: v4(192, 168, 205, other, 32).Addr()},
			plan.FDB{Namespace: ns, Link: "vx0", MAC: "00:00:00:00:00:00", Dst: v4(192, 168, 205, other, 32).Addr()},
			plan.FDB{Namespace: ns, Link: "vx0", MAC: "00:00:00:00:00:00", Dst: v4(192, 168, 205, 9, 32).Addr()},
		)
		route := func(r plan.Route) {
			r.Namespace = ns
			if r.Table == 0 {
				r.Table = plan.TableMain
			}
			if r.Protocol == 0 {
				r.Protocol = plan.ProtocolBoot
			}
			s.Add(r)
		}
		route(plan.Route{Dst: plan.Everywhere(false), Via: v4(192, 168, 205, other, 32).Addr(), Dev: "eth0"})
		route(plan.Route{Dst: plan.Everywhere(true), Via: v6(0, other, 64).Addr(), Dev: "eth0"})
		route(plan.Route{Dst: v4(10, 42, other, 0, 24), Via: v4(10, 42, other, 0, 32).Addr(), Dev: "vx0", Onlink: true})
		route(plan.Route{Dst: v6(other, 0, 64), Via: v6(9, other, 128).Addr(), Dev: "vx0", Onlink: true})
		route(plan.Route{Dst: v4(10, 50, 0, 0, 16), Via: v4(192, 168, 205, other, 32).Addr(), Dev: "eth0", Metric: 20, MTU: 1400, Src: v4(10, 99, 0, b, 32).Addr(), Protocol: 186})
		route(plan.Route{Dst: v4(10, 50, 0, 0, 16), Via: v4(192, 168, 205, other, 32).Addr(), Dev: "eth0", Metric: 30})
		route(plan.Route{Dst: v4(10, 51, 0, 0, 16), Via: v4(192, 168, 205, other, 32).Addr(), Dev: "eth0", Table: 1000})
		route(plan.Route{Dst: v6(0x51, 0, 64), Dev: "eth0", Table: 1000, Metric: 5, MTU: 1300})
		route(plan.Route{Dst: v4(10, 42, b, 0, 26), Type: "blackhole", Protocol: plan.ProtocolFelix})
		route(plan.Route{Dst: v4(10, 52, 0, 0, 16), Type: "throw", Table: 100})
		route(plan.Route{Dst: v4(10, 53, 0, 0, 16), Type: "unreachable"})
		route(plan.Route{Dst: v6(0x53, 0, 64), Type: "blackhole"})
		route(plan.Route{Dst: v4(10, 42, b, 9, 32), Dev: "veth0", Scope: "link"})
		route(plan.Route{Dst: v4(10, 54, 0, 0, 16), Dev: "cni0"})
		route(plan.Route{Dst: v4(10, 55, 0, 0, 16), Metric: 7, MTU: 1400, Hops: plan.NextHops([]plan.Hop{
			{Via: v4(192, 168, 205, other, 32).Addr(), Dev: "eth0", Weight: 255}, {Via: v4(10, 42, b, 7, 32).Addr(), Dev: "cni0", Weight: 1}})})
		route(plan.Route{Dst: v6(0x55, 0, 64), Hops: plan.NextHops([]plan.Hop{
			{Via: v6(0, 7, 64).Addr(), Dev: "eth0", Weight: 2}, {Via: v6(0, other, 64).Addr(), Dev: "eth0", Weight: 3}})})
		s.Add(
			plan.Rule{Namespace: ns, Priority: 100, From: v4(10, 42, b, 0, 24), Table: 1000},
			plan.Rule{Namespace: ns, Priority: 101, To: v4(10, 52, 0, 0, 16), Mark: 0x10, Mask: 0xf0, Table: 100},
			plan.Rule{Namespace: ns, Priority: 101, Mark: 0x20, Mask: 0xffffffff, Table: 100},
			plan.Rule{Namespace: ns, V6: true, Priority: 100, From: v6(b, 0, 64), Table: 1000},
			plan.Route{Namespace: pod, Table: plan.TableMain, Protocol: plan.ProtocolBoot, Dst: v4(169, 254, 1, 1, 32), Dev: "eth0", Scope: "link"},
			plan.Route{Namespace: pod, Table: plan.TableMain, Protocol: plan.ProtocolBoot, Dst: plan.Everywhere(false), Via: v4(169, 254, 1, 1, 32).Addr(), Dev: "eth0"},
		)
		for _, r := range []*nft.Ruleset{masquerading(), nft.NewRuleset(nft.IPv6, "empty"), mixed()} {
			s.AddRuleset(ns, r)
		}
	}
	s.Resolve()
	return s
}

func v4(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
}

// masquerading has rules as flannel's and Calico's are.
func masquerading() *nft.Ruleset {
	r := nft.NewRuleset(nft.IPv4, "masq")
	r.Base("postrtg", "nat", nft.Postrouting, nft.PrioritySNAT)
	r.Rule("postrtg", nft.Is("meta mark", 0x4000), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Is("ip saddr", v4(10, 42, 1, 0, 24)), nft.Is("ip daddr", v4(10, 42, 0, 0, 16)), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Not("ip saddr", v4(10, 42, 1, 0, 26)), nft.Is("ip daddr", v4(10, 42, 0, 1, 32)), nft.Then(nft.Return))
	r.Rule("postrtg", nft.Is("ip saddr", v4(10, 42, 0, 0, 16)), nft.Not("ip daddr", v4(224, 0, 0, 0, 4)), nft.Masquerade(nft.FullyRandom))
	r.Rule("postrtg", nft.Is("oifname", "eth0"), nft.Masquerade(0))
	r.Base("forward", "filter", nft.Forward, nft.PriorityFilter)
	r.Rule("forward", nft.Not("iifname", "eth0"), nft.Then(nft.Accept))
	r.Rule("forward", nft.Is("tcp dport", 80), nft.Then(nft.Drop))
	return r
}

// mixed has what services and policies need: sets, maps, intervals, and chains that are jumped to.
func mixed() *nft.Ruleset {
	r := nft.NewRuleset(nft.INet, "mixed")
	nets := nft.SetOf(nft.INet, "mixed", "nets", nft.Interval, "ip saddr")
	dispatch := nft.SetOf(nft.INet, "mixed", "dispatch", 0, "ip daddr", "meta l4proto", "th dport").ToVerdicts()
	seen := nft.SetOf(nft.INet, "mixed", "seen", nft.Dynamic|nft.TimeoutSet, "ip saddr")
	seen.Timeout, seen.Size = 60_000, 1000
	r.Sets = append(r.Sets, nets, dispatch, seen)
	key := []string{"ip daddr", "meta l4proto", "th dport"}
	web := func(host byte, port int, verdict string) nft.Element {
		return nft.Element{Family: nft.INet, Table: "mixed", Set: "dispatch", Verdict: verdict, Key: nft.KeyOf(key, v4(10, 43, 0, host, 32), "tcp", port)}
	}
	r.Elements = append(r.Elements, web(1, 80, "goto web"), web(2, 80, "goto web"), web(3, 80, "drop"),
		nft.Element{Family: nft.INet, Table: "mixed", Set: "nets", Key: nft.KeyOf(key[:1], v4(10, 0, 0, 0, 16)), KeyEnd: nft.KeyOf(key[:1], v4(10, 0, 255, 255, 32))},
		nft.Element{Family: nft.INet, Table: "mixed", Set: "nets", Key: nft.KeyOf(key[:1], v4(10, 7, 0, 1, 32)), KeyEnd: nft.KeyOf(key[:1], v4(10, 7, 0, 9, 32))})
	r.Base("raw", "filter", nft.Prerouting, nft.PriorityRaw)
	r.Rule("raw", nft.Is("udp dport", 4789), nft.Untracked())
	r.Base("services", "nat", nft.Prerouting, nft.PriorityDNAT)
	r.Rule("services", nft.Vmap(dispatch, key...))
	r.Chains = append(r.Chains, nft.Chain{Family: nft.INet, Table: "mixed", Name: "web", Comment: "one service"})
	r.Rule("web", nft.Is("meta l4proto", "tcp"), nft.DNAT(netip.MustParseAddrPort("10.42.1.2:8080"), netip.MustParseAddrPort("10.42.2.2:8080")))
	r.Base("forward", "filter", nft.Forward, nft.PriorityFilter)
	r.Rule("forward", nft.Is("ct state", "established,related"), nft.Then(nft.Accept))
	r.Rule("forward", nft.In(nets, "ip saddr"), nft.OneOf("tcp dport", 80, 443), nft.Then(nft.Accept))
	r.Rule("forward", nft.Between("tcp dport", 1000, 2000), nft.Do(nft.Counter{}), nft.Then(nft.Accept))
	r.Rule("forward", nft.Has(0x4000), nft.FlipMark(0x4000), nft.SetMark(0x8000))
	r.Rule("forward", nft.Local("daddr"), nft.Is("ip6 daddr", netip.MustParseAddr("fd00::1")), nft.Refuse())
	return r
}
