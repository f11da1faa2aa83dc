package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// datatype says how nft(8) writes a value.
type datatype struct {
	id      uint32
	name    string
	size    int  // bytes; 0 where it depends on what has the value
	host    bool // its number is in the machine's order
	prefix  bool // a mask of leading ones is written as a prefix length
	bitmask bool
	symbols map[uint64]string
	format  string // of what has no symbol
	text    func(b []byte) string
}

var (
	typeVerdict = &datatype{id: 1, name: "verdict"}
	typeProto3  = &datatype{id: 2, name: "nf_proto", size: 1, symbols: map[uint64]string{2: "ipv4", 10: "ipv6"}}
	typeInteger = &datatype{id: 4, name: "integer"}
	typeHost    = &datatype{id: 4, name: "integer", host: true}
	typeString  = &datatype{id: 5, name: "string", text: quoted}
	typeIPv4    = &datatype{id: 7, name: "ipv4_addr", size: 4, prefix: true, text: addressText}
	typeIPv6    = &datatype{id: 8, name: "ipv6_addr", size: 16, prefix: true, text: addressText}
	typeMAC     = &datatype{id: 9, name: "ether_addr", size: 6, text: macText}
	typeEther   = &datatype{id: 10, name: "ether_type", size: 2, format: "0x%04x", symbols: map[uint64]string{0x800: "ip", 0x806: "arp", 0x86dd: "ip6", 0x8100: "8021q", 0x88a8: "8021ad"}}
	typeARPOp   = &datatype{id: 11, name: "arp_op", size: 2, symbols: map[uint64]string{1: "request", 2: "reply", 3: "rrequest", 4: "rreply", 8: "inrequest", 9: "inreply", 10: "nak"}}
	typeProto   = &datatype{id: 12, name: "inet_proto", size: 1, symbols: protocols}
	typePort    = &datatype{id: 13, name: "inet_service", size: 2}
	typeICMP    = &datatype{id: 14, name: "icmp_type", size: 1, symbols: map[uint64]string{0: "echo-reply", 3: "destination-unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request", 9: "router-advertisement", 10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply", 15: "info-request", 16: "info-reply", 17: "address-mask-request", 18: "address-mask-reply"}}
	typeTCPFlag = &datatype{id: 15, name: "tcp_flag", size: 1, bitmask: true, symbols: map[uint64]string{1: "fin", 2: "syn", 4: "rst", 8: "psh", 16: "ack", 32: "urg", 64: "ecn", 128: "cwr"}}
	typeTime    = &datatype{id: 18, name: "time", size: 8, host: true, text: func(b []byte) string { return duration(binary.NativeEndian.Uint64(b) * 1000) }}
	typeMark    = &datatype{id: 19, name: "mark", size: 4, host: true, format: "0x%08x"}
	typeIfindex = &datatype{id: 20, name: "iface_index", size: 4, host: true, symbols: map[uint64]string{1: `"lo"`}}
	typeIftype  = &datatype{id: 21, name: "iface_type", size: 2, host: true, symbols: map[uint64]string{1: "ether", 512: "ppp", 768: "ipip", 769: "ipip6", 772: "loopback", 776: "sit", 778: "ipgre"}}
	typeRealm   = &datatype{id: 22, name: "realm", size: 4, host: true}
	typeClass   = &datatype{id: 23, name: "classid", size: 4, host: true, text: func(b []byte) string {
		n := binary.NativeEndian.Uint32(b)
		return fmt.Sprintf("%x:%x", n>>16, n&0xffff)
	}}
	typeUID      = &datatype{id: 24, name: "uid", size: 4, host: true}
	typeGID      = &datatype{id: 25, name: "gid", size: 4, host: true}
	typeState    = &datatype{id: 26, name: "ct_state", size: 4, host: true, bitmask: true, symbols: map[uint64]string{1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}}
	typeCTDir    = &datatype{id: 27, name: "ct_dir", size: 1, symbols: map[uint64]string{0: "original", 1: "reply"}}
	typeStatus   = &datatype{id: 28, name: "ct_status", size: 4, host: true, bitmask: true, symbols: map[uint64]string{1: "expected", 2: "seen-reply", 4: "assured", 8: "confirmed", 16: "snat", 32: "dnat", 512: "dying"}}
	typeICMPv6   = &datatype{id: 29, name: "icmpv6_type", size: 1, symbols: map[uint64]string{1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply", 130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done", 133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit", 136: "nd-neighbor-advert", 137: "nd-redirect", 138: "router-renumbering", 141: "ind-neighbor-solicit", 142: "ind-neighbor-advert", 143: "mld2-listener-report"}}
	typePkttype  = &datatype{id: 31, name: "pkt_type", size: 1, symbols: map[uint64]string{0: "host", 1: "broadcast", 2: "multicast", 3: "other"}}
	typeCode     = &datatype{id: 32, name: "icmp_code", size: 1, symbols: map[uint64]string{0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable", 9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited", 4: "frag-needed"}}
	typeCodeV6   = &datatype{id: 33, name: "icmpv6_code", size: 1, symbols: map[uint64]string{0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable", 5: "policy-fail", 6: "reject-route"}}
	typeCodeX    = &datatype{id: 34, name: "icmpx_code", size: 1, symbols: map[uint64]string{1: "port-unreachable", 3: "admin-prohibited", 0: "no-route", 2: "host-unreachable"}}
	typeGroup    = &datatype{id: 35, name: "devgroup", size: 4, host: true, symbols: map[uint64]string{0: "default"}}
	typeDSCP     = &datatype{id: 36, name: "dscp", size: 1, format: "0x%02x", symbols: map[uint64]string{0: "cs0", 8: "cs1", 16: "cs2", 24: "cs3", 32: "cs4", 40: "cs5", 48: "cs6", 56: "cs7", 1: "lephb", 10: "af11", 12: "af12", 14: "af13", 18: "af21", 20: "af22", 22: "af23", 26: "af31", 28: "af32", 30: "af33", 34: "af41", 36: "af42", 38: "af43", 44: "va", 46: "ef"}}
	typeECN      = &datatype{id: 37, name: "ecn", size: 1, symbols: map[uint64]string{0: "not-ect", 1: "ect1", 2: "ect0", 3: "ce"}}
	typeAddrtype = &datatype{id: 38, name: "fib_addrtype", size: 4, host: true, symbols: map[uint64]string{0: "unspec", 1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}}
	typeBoolean  = &datatype{id: 39, name: "boolean", size: 1, symbols: map[uint64]string{0: "missing", 1: "exists"}}
	typeIfname   = &datatype{id: 41, name: "ifname", size: 16, host: true, text: quoted}
)

var protocols = map[uint64]string{
	0: "ip", 1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp",
	89: "ospf", 94: "ipip", 108: "ipcomp", 112: "vrrp", 132: "sctp", 136: "udplite",
}

// datatypes are the types by number.
var datatypes = func() map[uint32]*datatype {
	all := map[uint32]*datatype{}
	for _, t := range []*datatype{
		typeVerdict, typeProto3, typeInteger, typeString, typeIPv4, typeIPv6, typeMAC, typeEther, typeARPOp, typeProto, typePort, typeICMP, typeTCPFlag,
		typeTime, typeMark, typeIfindex, typeIftype, typeRealm, typeClass, typeUID, typeGID, typeState, typeCTDir, typeStatus, typeICMPv6, typePkttype,
		typeCode, typeCodeV6, typeCodeX, typeGroup, typeDSCP, typeECN, typeAddrtype, typeBoolean, typeIfname,
	} {
		all[t.id] = t
	}
	return all
}()

// fieldTypes splits the type of a concatenation.
func fieldTypes(id uint32) []*datatype {
	if id == VerdictType {
		return []*datatype{typeVerdict}
	}
	var list []*datatype
	for ; id != 0; id >>= 6 {
		t := datatypes[id&0x3f]
		if t == nil {
			t = &datatype{id: id & 0x3f, name: fmt.Sprintf("?type%d", id&0x3f)}
		}
		list = append(list, t)
	}
	slices.Reverse(list)
	return list
}

// VerdictType is the type of the data of a verdict map.
const VerdictType = 0xffffff00

func typeNames(types []*datatype) string {
	var names []string
	for _, t := range types {
		names = append(names, t.name)
	}
	return strings.Join(names, " . ")
}

func quoted(b []byte) string { return `"` + string(bytes.TrimRight(b, "\x00")) + `"` }

func addressText(b []byte) string {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return fmt.Sprintf("?%x", b)
	}
	if a.Is4In6() { // as the C library writes it
		return "::ffff:" + a.Unmap().String()
	}
	return a.String()
}

func macText(b []byte) string {
	var parts []string
	for _, c := range b {
		parts = append(parts, fmt.Sprintf("%02x", c))
	}
	return strings.Join(parts, ":")
}

func duration(ms uint64) string {
	var b strings.Builder
	for _, unit := range []struct {
		ms   uint64
		name string
	}{{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}} {
		if n := ms / unit.ms; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
		}
		ms %= unit.ms
	}
	return b.String()
}

// number is a value as a number.
func (t *datatype) number(b []byte) *big.Int {
	if t.host {
		b = slices.Clone(b)
		if nativeLittle {
			slices.Reverse(b)
		}
	}
	return new(big.Int).SetBytes(b)
}

var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// value writes a value of the type.
func (t *datatype) value(b []byte) string {
	if t.size > 0 && len(b) > t.size {
		b = b[:t.size] // registers are filled up
	}
	if t.text != nil && (t.size == 0 || len(b) == t.size) {
		return t.text(b)
	}
	n := t.number(b)
	if !n.IsUint64() {
		return n.String()
	}
	if t.bitmask {
		return t.bits(n.Uint64(), ",")
	}
	if name, ok := t.symbols[n.Uint64()]; ok {
		return name
	}
	if t.format != "" {
		return fmt.Sprintf(t.format, n.Uint64())
	}
	return n.String()
}

// bits writes the flags that are set.
func (t *datatype) bits(n uint64, separator string) string {
	if n == 0 {
		return "0x0"
	}
	var names []string
	for n != 0 {
		bit := uint64(1) << bits.TrailingZeros64(n)
		name, ok := t.symbols[bit]
		if !ok {
			name = "0x" + strconv.FormatUint(bit, 16)
		}
		names = append(names, name)
		n &^= bit
	}
	return strings.Join(names, separator)
}

// interval writes what lies between two values, both included.
func (t *datatype) interval(from, to []byte) string {
	if bytes.Equal(from, to) {
		return t.value(from)
	}
	if n, ok := prefixLength(from, to); ok && t.prefix {
		return t.value(from) + "/" + strconv.Itoa(n)
	}
	plain := *t
	if t.text == nil && t.format == "" {
		plain.symbols, plain.bitmask = nil, false
	}
	return plain.value(from) + "-" + plain.value(to)
}

// prefixLength is the number of bits that two values have in common, where those that follow are 0 in one and 1 in the
// other.
func prefixLength(from, to []byte) (int, bool) {
	if len(from) != len(to) {
		return 0, false
	}
	x, y := new(big.Int).SetBytes(from), new(big.Int).SetBytes(to)
	differ := new(big.Int).Xor(x, y)
	host := differ.BitLen()
	ones := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(host)), big.NewInt(1))
	return len(from)*8 - host, differ.Cmp(ones) == 0 && new(big.Int).And(x, ones).Sign() == 0
}

// maskLength is the number of leading ones, where nothing but zeros follows.
func maskLength(mask []byte) (int, bool) {
	n := 0
	for n < len(mask)*8 && mask[n/8]&(0x80>>(n%8)) != 0 {
		n++
	}
	return n, bytes.Equal(mask, maskOf(n, len(mask)))
}

func maskOf(bits, length int) []byte {
	m := make([]byte, length)
	for i := range bits {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}
