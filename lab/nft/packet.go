package nft

import (
	"encoding/binary"
	"net/netip"
)

// Packet is a packet that comes to the rules, as far as they can look at it.
type Packet struct {
	Source, Destination netip.Addr
	Protocol            uint8 // 1 icmp, 6 tcp, 17 udp, 58 icmpv6
	Sport, Dport        uint16
	ICMPType            uint8
	TTL                 uint8
	DF                  bool
	Length              int // of the IP packet
	Mark                uint32
	In, Out             string // devices; empty where there is none
	Established         bool   // it is not the first of its connection
	Untracked           bool
	Local               func(netip.Addr) bool // whether an address is the machine's
}

func (p *Packet) family() Family {
	if p.Destination.Is6() {
		return IPv6
	}
	return IPv4
}

// header writes one of the packet's headers; rules see nothing of what is in front of them.
func (p *Packet) header(base uint32) []byte {
	switch base {
	case networkHeader:
		if p.family() == IPv6 {
			b := make([]byte, 8, 40)
			b[0], b[6], b[7] = 0x60, p.Protocol, p.TTL
			binary.BigEndian.PutUint16(b[4:], uint16(p.Length-40))
			return append(append(b, p.Source.AsSlice()...), p.Destination.AsSlice()...)
		}
		b := make([]byte, 12, 20)
		b[0], b[8], b[9] = 0x45, p.TTL, p.Protocol
		binary.BigEndian.PutUint16(b[2:], uint16(p.Length))
		if p.DF {
			b[6] = 0x40
		}
		return append(append(b, p.Source.AsSlice()...), p.Destination.AsSlice()...)
	case transportHeader:
		switch p.Protocol {
		case 1, 58:
			return []byte{p.ICMPType, 0, 0, 0, 0, 0, 0, 0}
		case 6, 17:
			b := binary.BigEndian.AppendUint16(nil, p.Sport)
			b = binary.BigEndian.AppendUint16(b, p.Dport)
			if p.Protocol == 17 {
				return append(b, 0, 0, 0, 0)
			}
			rest := make([]byte, 16)
			rest[8], rest[9] = 0x50, 2 // a SYN
			if p.Established {
				rest[9] = 0x10
			}
			return append(b, rest...)
		}
	}
	return nil
}

// meta is what the kernel knows of the packet; not all can be told.
func (p *Packet) meta(key uint32) ([]byte, bool) {
	host := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	name := func(s string) []byte { return append([]byte(s), make([]byte, 16-min(len(s), 16))...) }
	switch key {
	case metaLen:
		return host(uint32(p.Length)), true
	case metaProto:
		if p.family() == IPv6 {
			return []byte{0x86, 0xdd}, true
		}
		return []byte{0x08, 0x00}, true
	case metaMark:
		return host(p.Mark), true
	case metaIifname:
		return name(p.In), true
	case metaOifname:
		return name(p.Out), true
	case metaNfproto:
		return []byte{byte(p.family())}, true
	case metaL4Proto:
		return []byte{p.Protocol}, true
	case metaTrace:
		return []byte{0}, true
	}
	return nil, false
}

// conntrack is what is known of the packet's connection.
func (p *Packet) conntrack(e CT) ([]byte, bool) {
	host := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	const state, direction, status, mark = 0, 1, 2, 3
	switch {
	case e.Key == state && p.Untracked:
		return host(64), true
	case e.Key == state && p.Established:
		return host(2), true
	case e.Key == state:
		return host(8), true
	case e.Key == direction && p.Established:
		return []byte{1}, true
	case e.Key == direction:
		return []byte{0}, true
	case (e.Key == status || e.Key == mark) && !p.Established:
		return host(0), true
	}
	return nil, false
}
