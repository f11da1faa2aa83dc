package nft

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// What iptables-nft 1.8.9 writes: addresses, protocols, ports and marks are nftables' own comparisons, and the rest is
// iptables' own matches and targets, whose structures are the kernel's.

// Comment is -m comment --comment.
func Comment(text string) Part {
	info := make([]byte, 256)
	copy(info, text)
	return match("comment", 0, info)
}

func match(name string, rev uint32, info []byte) Part {
	return Do(Match{Name: name, Rev: rev, Info: info})
}

func target(name string, rev uint32, info []byte) Part {
	return Do(Counter{}, Target{Name: name, Rev: rev, Info: info})
}

// States of a connection, as iptables numbers them.
const (
	StateInvalid     = 1
	StateEstablished = 2
	StateRelated     = 4
	StateNew         = 8
	StateDNAT        = 128
)

// State is -m conntrack --ctstate: one of these. NotState is its opposite.
func State(mask uint16) Part    { return state(mask, 0) }
func NotState(mask uint16) Part { return state(mask, matchState) }

const matchState = 1

func state(mask, invert uint16) Part { return match("conntrack", 3, stateInfo(mask, invert)) }

func stateInfo(mask, invert uint16) []byte {
	info := make([]byte, 168)
	binary.NativeEndian.PutUint16(info[146:], matchState)
	binary.NativeEndian.PutUint16(info[148:], invert)
	binary.NativeEndian.PutUint16(info[150:], mask)
	return info
}

// FromLocal and ToLocal are -m addrtype --src-type LOCAL and --dst-type LOCAL.
func FromLocal() Part { return match("addrtype", 1, localInfo(0)) }
func ToLocal() Part   { return match("addrtype", 1, localInfo(2)) }

func localInfo(at int) []byte {
	const local = 1 << 2
	info := make([]byte, 8)
	binary.NativeEndian.PutUint16(info[at:], local)
	return info
}

// Probably is -m statistic --mode random --probability.
func Probably(p float64) Part {
	info := make([]byte, 24)
	x := uint32(math.Round(p * (1 << 31)))
	binary.NativeEndian.PutUint32(info[4:], x)
	binary.NativeEndian.PutUint32(info[12:], x) // iptables leaves it there
	return match("statistic", 0, info)
}

// Seen is -m recent --rcheck --reap: the source was noted in a list at most so many seconds ago. Note is --set: it is
// noted now.
func Seen(list string, seconds uint32) Part {
	return match("recent", 1, recentInfo(list, recentCheck|recentReap, seconds))
}
func Note(list string) Part { return match("recent", 1, recentInfo(list, recentSet, 0)) }

const (
	recentCheck = 1
	recentSet   = 2
	recentReap  = 32
)

func recentInfo(list string, what byte, seconds uint32) []byte {
	info := make([]byte, 232)
	binary.NativeEndian.PutUint32(info, seconds)
	info[8] = what
	copy(info[10:210], list)
	for i := range 16 {
		info[212+i] = 0xff // of the address all counts
	}
	return info
}

// AnyPort is -m tcp or -m udp that asks for no port, and ToPort one with --dport. What the protocol is was asked before.
func AnyPort(protocol string) Part { return match(protocol, 0, anyPort()) }

func anyPort() []byte {
	info := make([]byte, 16)
	for _, at := range []int{2, 6} {
		binary.NativeEndian.PutUint16(info[at:], 0xffff)
	}
	return info
}

func ToPort(port uint16) Part {
	return Do(Payload{Dreg: 1, Base: transportHeader, Offset: 2, Len: 2}, Cmp{Sreg: 1, Data: Data{Value: binary.BigEndian.AppendUint16(nil, port)}})
}

// ToPorts is -m multiport --dports: one of at most fifteen.
func ToPorts(ports ...uint16) Part { return match("multiport", 1, multiportInfo(ports)) }

func multiportInfo(ports []uint16) []byte {
	const destination = 1
	info := make([]byte, 48) // struct xt_multiport_v1
	info[0], info[1] = destination, byte(len(ports))
	for i, p := range ports {
		binary.NativeEndian.PutUint16(info[2+2*i:], p)
	}
	return info
}

// Enters and Leaves are -i and -o: the device by which a packet does so. EntersNot and LeavesNot are ! -i and ! -o.
func Enters(device string) Part    { return byDevice(metaIifname, cmpEq, device) }
func EntersNot(device string) Part { return byDevice(metaIifname, cmpNeq, device) }
func Leaves(device string) Part    { return byDevice(metaOifname, cmpEq, device) }
func LeavesNot(device string) Part { return byDevice(metaOifname, cmpNeq, device) }

func byDevice(key, op uint32, name string) Part {
	return Do(Meta{Dreg: 1, Key: key}, Cmp{Sreg: 1, Op: op, Data: Data{Value: append([]byte(name), 0)}})
}

// Marked is -m mark --mark BITS/BITS, and Unmarked -m mark ! --mark.
func Marked(bits uint32) Part   { return marked(bits, cmpEq) }
func Unmarked(bits uint32) Part { return marked(bits, cmpNeq) }

func marked(bits, op uint32) Part {
	value := binary.NativeEndian.AppendUint32(nil, bits)
	return Do(Meta{Dreg: 1, Key: metaMark}, masking(value, make([]byte, 4)), Cmp{Sreg: 1, Op: op, Data: Data{Value: value}})
}

// Mark is -j MARK --set-xmark BITS/MASK.
func Mark(bits, mask uint32) Part {
	info := binary.NativeEndian.AppendUint32(nil, bits)
	return target("MARK", 2, binary.NativeEndian.AppendUint32(info, mask))
}

// Jumps is -j CHAIN, and Verdict -j ACCEPT, DROP or RETURN: both count.
func Jumps(chain string) Part { return counted(Then(Jump, chain)) }
func Decides(v int32) Part    { return counted(Then(v)) }

func counted(p Part) Part {
	return func(b *builder) {
		b.add(Counter{})
		p(b)
	}
}

// DNATs is -j DNAT --to-destination.
func DNATs(to netip.AddrPort) Part {
	info := make([]byte, 48)
	binary.NativeEndian.PutUint32(info, rangeAddress|rangePort)
	copy(info[4:], to.Addr().AsSlice())
	copy(info[20:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(info[36:], to.Port())
	binary.BigEndian.PutUint16(info[38:], to.Port())
	return target("DNAT", 2, info)
}

// Masqueraded is -j MASQUERADE, which keeps the port where it can, and MasqueradesByLot -j MASQUERADE --random-fully.
func Masqueraded() Part      { return masquerades(0) }
func MasqueradesByLot() Part { return masquerades(natFullyRandom) }

func masquerades(how uint32) Part {
	return func(b *builder) {
		info := make([]byte, 40)
		flags := info
		if b.family == IPv4 {
			info = info[:24]
			binary.NativeEndian.PutUint32(info, 1) // ranges
			flags = info[4:]
		}
		binary.NativeEndian.PutUint32(flags, how)
		target("MASQUERADE", 0, info)(b)
	}
}

// Rejects is -j REJECT: it says that the port is unreachable.
func Rejects() Part {
	return func(b *builder) {
		info := make([]byte, 8)
		info[0] = map[Family]byte{IPv4: 3, IPv6: 4}[b.family]
		target("REJECT", 0, info)(b)
	}
}
