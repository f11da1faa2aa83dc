package nft

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// packetTo is a packet of UDP.
func packetTo(port uint16) *Packet {
	return &Packet{
		Source: netip.MustParseAddr("10.42.0.2"), Destination: netip.MustParseAddr("10.42.1.2"), Protocol: 17, Sport: 40000, Dport: port,
		TTL: 64, Length: 60, In: "eth0", Out: "cni0", Local: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.1") },
	}
}

func TestEvaluate(t *testing.T) {
	pods := netip.MustParsePrefix("10.42.0.0/16")
	for _, tt := range []struct {
		name    string
		rules   [][]Part
		dropped bool
		why     string // in the rule, or in those that may decide
	}{
		{"nothing", nil, false, ""},
		{"a port", [][]Part{{Is("udp dport", 53), Then(Drop)}}, true, "udp dport 53 drop"},
		{"another port", [][]Part{{Is("udp dport", 54), Then(Drop)}}, false, ""},
		{"not another port", [][]Part{{Not("udp dport", 54), Then(Drop)}}, true, "udp dport != 54 drop"},
		{"another protocol", [][]Part{{Is("tcp dport", 53), Then(Drop)}}, false, ""},
		{"a prefix", [][]Part{{Is("ip saddr", pods), Then(Drop)}}, true, "10.42.0.0/16"},
		{"an odd prefix", [][]Part{{Is("ip daddr", netip.MustParsePrefix("10.42.0.0/23")), Then(Drop)}}, true, "10.42.0.0/23"},
		{"outside of a prefix", [][]Part{{Is("ip daddr", netip.MustParsePrefix("10.42.2.0/23")), Then(Drop)}}, false, ""},
		{"the first decides", [][]Part{{Is("ip saddr", pods), Then(Accept)}, {Then(Drop)}}, false, ""},
		{"a device", [][]Part{{Is("iifname", "eth0"), Then(Drop)}}, true, "eth0"},
		{"devices", [][]Part{{Is("oifname", "cni*"), Then(Drop)}}, true, "cni*"},
		{"a range", [][]Part{{Between("udp dport", 50, 60), Then(Drop)}}, true, "50-60"},
		{"outside of a range", [][]Part{{Between("udp dport", 54, 60), Then(Drop)}}, false, ""},
		{"a new connection", [][]Part{{Is("ct state", "new"), Then(Drop)}}, true, "new"},
		{"an old connection", [][]Part{{Is("ct state", "established,related"), Then(Drop)}}, false, ""},
		{"a mark that was set", [][]Part{{SetMark(0x4000)}, {Has(0x4000), Then(Drop)}}, true, "meta mark"},
		{"a mark that was not", [][]Part{{Has(0x4000), Then(Drop)}}, false, ""},
		{"refused", [][]Part{{Refuse()}}, true, "reject"},
		{"a jump and back", [][]Part{{Then(Jump, "more")}, {Then(Drop)}}, true, "drop"},
		{"the machine's own", [][]Part{{Local("daddr"), Then(Drop)}}, false, ""},
		{"iptables: a state", [][]Part{{State(StateNew | StateRelated), Decides(Drop)}}, true, "new"},
		{"iptables: not a state", [][]Part{{NotState(StateNew), Decides(Drop)}}, false, ""},
		{"iptables: what was translated", [][]Part{{State(StateDNAT), Decides(Drop)}}, false, "may: ct status dnat"},
		{"iptables: to the machine", [][]Part{{ToLocal(), Decides(Drop)}}, false, ""},
		{"iptables: from elsewhere", [][]Part{{FromLocal(), Decides(Drop)}, {Comment("rest"), Decides(Drop)}}, true, "drop"},
		{"iptables: one of several ports", [][]Part{{Is("meta l4proto", "udp"), ToPorts(52, 53), Decides(Drop)}}, true, "multiport"},
		{"iptables: none of several ports", [][]Part{{Is("meta l4proto", "udp"), ToPorts(52, 54), Decides(Drop)}}, false, ""},
		{"iptables: any port", [][]Part{{AnyPort("udp"), Decides(Drop)}}, true, "drop"},
		{"iptables: of another protocol", [][]Part{{AnyPort("tcp"), Decides(Drop)}}, false, ""},
		{"iptables: a mark that was set", [][]Part{{Mark(0x2000, 0x2000)}, {Marked(0x2000), Decides(Drop)}}, true, "0x00002000"},
		{"iptables: a mark that was taken", [][]Part{{Mark(0x2000, 0x2000)}, {Mark(0x2000, 0)}, {Marked(0x2000), Decides(Drop)}}, false, ""},
		{"iptables: refused", [][]Part{{Rejects()}}, true, "reject"},
		{"iptables: by lot", [][]Part{{Probably(0.5), Decides(Drop)}}, false, "may: "},
		{"iptables: by what was seen", [][]Part{{Seen("list", 10), Decides(Drop)}}, false, "may: "},
		{"by lot", [][]Part{{Do(Numgen{Dreg: 1, Modulus: 2, Type: 1}, Cmp{Sreg: 1, Data: Data{Value: make([]byte, 4)}}), Then(Drop)}}, false, "may: numgen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewRuleset(IPv4, "t")
			r.Base("c", "filter", Forward, PriorityFilter)
			r.Chains = append(r.Chains, Chain{Family: IPv4, Table: "t", Name: "more"})
			r.Rule("more", Is("udp dport", 99), Then(Drop))
			for _, parts := range tt.rules {
				r.Rule("c", parts...)
			}
			o := r.Evaluate(Forward, packetTo(53))
			why := o.Rule
			if len(o.May) > 0 {
				why = "may: " + strings.Join(o.May, "; ")
			}
			if o.Dropped != tt.dropped || !strings.Contains(why, tt.why) || tt.why == "" && why != "" {
				t.Errorf("%+v", o)
			}
			if o := r.Evaluate(Input, packetTo(53)); o.Dropped {
				t.Errorf("at another hook: %+v", o)
			}
		})
	}
}

// TestEvaluateNAT: a destination is taken from a map, and a connection is translated once.
func TestEvaluateNAT(t *testing.T) {
	r := NewRuleset(IPv4, "t")
	r.Base("pre", "nat", Prerouting, PriorityDNAT)
	r.Base("post", "nat", Postrouting, PrioritySNAT)
	address := netip.MustParseAddr("10.42.1.9")
	r.Rule("pre", Is("udp dport", 53), Do(
		Immediate{Dreg: 1, Data: Data{Value: address.AsSlice()}}, Immediate{Dreg: 2, Data: Data{Value: binary.BigEndian.AppendUint16(nil, 5353)}},
		NAT{Type: 1, Family: uint32(IPv4), AddrMin: 1, PortMin: 2}))
	r.Rule("pre", Then(Drop))
	r.Rule("post", Is("oifname", "cni0"), Masquerade(0))
	p := packetTo(53)
	if o := r.Evaluate(Prerouting, p); o.Dropped || p.Destination != address || p.Dport != 5353 || !strings.Contains(o.NAT, "dnat to 10.42.1.9:5353") {
		t.Errorf("%+v %+v", o, p)
	}
	if o := r.Evaluate(Postrouting, p); o.By != Masquerades {
		t.Errorf("%+v", o)
	}
	r = NewRuleset(IPv4, "nat")
	r.Base("PREROUTING", "nat", Prerouting, PriorityDNAT)
	r.Base("POSTROUTING", "nat", Postrouting, PrioritySNAT)
	r.Chains = append(r.Chains, Chain{Family: IPv4, Table: "nat", Name: "OWN"})
	r.Rule("PREROUTING", Is("meta l4proto", "udp"), ToPort(53), Jumps("OWN"))
	r.Rule("OWN", DNATs(netip.AddrPortFrom(address, 5353)))
	r.Rule("POSTROUTING", Not("oifname", "eth0"), Masqueraded())
	p = packetTo(53)
	if o := r.Evaluate(Prerouting, p); p.Destination != address || p.Dport != 5353 || !strings.Contains(o.NAT, "dnat to 10.42.1.9:5353") {
		t.Errorf("by iptables: %+v %+v", o, p)
	}
	if o := r.Evaluate(Postrouting, p); o.By != Masquerades {
		t.Errorf("by iptables: %+v", o)
	}
	p = packetTo(53)
	p.Established = true
	if o := r.Evaluate(Prerouting, p); o.Dropped || o.NAT != "" || p.Dport != 53 {
		t.Errorf("an answer is translated anew: %+v", o)
	}
}
