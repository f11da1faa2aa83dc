package trace

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// layout is where this kernel has what the programs read, as its own type information says.
type layout struct {
	skb struct {
		head, tail, data, len, dev, sk, iif, mac, network, tci, proto int32
		vlanByte                                                      int32 // of the bit that says that there is a tag; -1: there is one where its protocol is set
		vlanBit                                                       byte
	}
	dev  struct{ ifindex, name, kind, net int32 }
	net  struct{ inum int32 }
	sock struct{ net int32 }

	reasons map[uint32]string // why a packet is dropped, by the kernel's own numbers
}

func readLayout() (*layout, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information (BTF): %w", err)
	}
	l := &layout{reasons: map[uint32]string{}}
	var failed error
	at := func(typ, name string) int32 {
		bits, err := member(spec, typ, name)
		failed = errors.Join(failed, err)
		return int32(bits / 8)
	}
	for name, to := range map[string]*int32{
		"head": &l.skb.head, "tail": &l.skb.tail, "data": &l.skb.data, "len": &l.skb.len, "dev": &l.skb.dev, "sk": &l.skb.sk, "skb_iif": &l.skb.iif,
		"mac_header": &l.skb.mac, "network_header": &l.skb.network, "vlan_tci": &l.skb.tci, "vlan_proto": &l.skb.proto,
	} {
		*to = at("sk_buff", name)
	}
	for name, to := range map[string]*int32{"ifindex": &l.dev.ifindex, "name": &l.dev.name, "type": &l.dev.kind, "nd_net": &l.dev.net} {
		*to = at("net_device", name)
	}
	l.net.inum = at("net", "ns") + at("ns_common", "inum")
	l.sock.net = at("sock", "__sk_common") + at("sock_common", "skc_net")
	l.skb.vlanByte = -1
	if bits, err := member(spec, "sk_buff", "vlan_present"); err == nil { // up to Linux 6.1
		l.skb.vlanByte, l.skb.vlanBit = int32(bits/8), 1<<(bits%8)
	}
	var reasons *btf.Enum
	if err := spec.TypeByName("skb_drop_reason", &reasons); err != nil {
		return nil, fmt.Errorf("the kernel's type information: enum skb_drop_reason: %w", err)
	}
	for _, v := range reasons.Values {
		l.reasons[uint32(v.Value)] = strings.TrimPrefix(v.Name, "SKB_DROP_REASON_")
	}
	return l, failed
}

// member is the bit at which a member of a structure begins, also one within structures and unions that have no name.
func member(spec *btf.Spec, typ, name string) (btf.Bits, error) {
	var s *btf.Struct
	if err := spec.TypeByName(typ, &s); err != nil {
		return 0, fmt.Errorf("the kernel's type information: struct %s: %w", typ, err)
	}
	var find func(members []btf.Member) (btf.Bits, bool)
	find = func(members []btf.Member) (btf.Bits, bool) {
		for _, m := range members {
			if m.Name == name {
				return m.Offset, true
			}
			if m.Name != "" {
				continue
			}
			var inside []btf.Member
			switch t := btf.UnderlyingType(m.Type).(type) {
			case *btf.Struct:
				inside = t.Members
			case *btf.Union:
				inside = t.Members
			}
			if bits, ok := find(inside); ok {
				return m.Offset + bits, true
			}
		}
		return 0, false
	}
	if bits, ok := find(s.Members); ok {
		return bits, nil
	}
	return 0, fmt.Errorf("the kernel's type information: struct %s has no %s", typ, name)
}
