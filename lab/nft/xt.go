package nft

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
)

// xtText writes a match or a target of iptables as nft(8) with iptables' own translations does, for those that kube-proxy
// uses; of others it gives the name.
func xtText(kind, name string, rev uint32, info []byte, family Family) string {
	if f := translations[fmt.Sprintf("%s %d", name, rev)]; f.write != nil && len(info) >= f.size {
		return f.write(info, family)
	}
	return fmt.Sprintf("xt %s %s", kind, name)
}

type translation struct {
	size  int // of the kernel's structure
	write func(info []byte, family Family) string
}

var translations = map[string]translation{
	"comment 0":    {256, func([]byte, Family) string { return "" }},
	"tcp 0":        {12, func(info []byte, _ Family) string { return portsText("tcp", info, info[11], info[8:11]) }},
	"udp 0":        {9, func(info []byte, _ Family) string { return portsText("udp", info, info[8], nil) }},
	"conntrack 3":  {164, conntrackText},
	"addrtype 1":   {8, addrtypeText},
	"statistic 0":  {16, statisticText},
	"mark 1":       {9, markText},
	"MARK 2":       {8, setMarkText},
	"DNAT 2":       {40, func(info []byte, f Family) string { return "dnat" + rangeText(info, f) }},
	"SNAT 2":       {40, func(info []byte, f Family) string { return "snat" + rangeText(info, f) }},
	"DNAT 0":       {20, func(info []byte, _ Family) string { return "dnat" + range4Text(info) }},
	"SNAT 0":       {20, func(info []byte, _ Family) string { return "snat" + range4Text(info) }},
	"MASQUERADE 0": {20, masqueradeText},
	"REJECT 0":     {4, rejectText},
}

func not(yes bool) string {
	if yes {
		return "!= "
	}
	return ""
}

// portsText writes a struct xt_tcp or xt_udp: ranges of ports, and what is inverted.
func portsText(proto string, info []byte, invert byte, more []byte) string {
	if !zero(more) {
		return "xt match " + proto
	}
	var words []string
	for i, name := range []string{"sport", "dport"} {
		from, to := binary.NativeEndian.Uint16(info[4*i:]), binary.NativeEndian.Uint16(info[4*i+2:])
		if from == 0 && to == 0xffff {
			continue
		}
		text := fmt.Sprintf("%s %s %s%d", proto, name, not(invert&(1<<i) != 0), from)
		if from != to {
			text += fmt.Sprintf("-%d", to)
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

func conntrackText(info []byte, _ Family) string {
	const ( // where struct xt_conntrack_mtinfo3 has them, and what match_flags says is in it
		matchAt, invertAt, stateAt, statusAt = 146, 148, 150, 152
		state, status                        = 1, 64
	)
	at := func(i int) uint16 { return binary.NativeEndian.Uint16(info[i:]) }
	match, invert := at(matchAt), at(invertAt)
	if match&^(state|status) != 0 {
		return "xt match conntrack"
	}
	var words []string
	if match&state != 0 {
		const snat, dnat = 64, 128
		switch mask := at(stateAt); {
		case mask&snat != 0:
			words = append(words, "ct status "+strings.TrimSuffix(not(invert&status != 0), " ")+"snat")
		case mask&dnat != 0:
			words = append(words, "ct status "+strings.TrimSuffix(not(invert&status != 0), " ")+"dnat")
		default:
			words = append(words, "ct state "+listed(mask, invert&state != 0, []flag{{1, "invalid"}, {8, "new"}, {4, "related"}, {2, "established"}, {256, "untracked"}}))
		}
	}
	if match&status != 0 {
		words = append(words, "ct status "+listed(at(statusAt), invert&status != 0, []flag{{1, "expected"}, {2, "seen-reply"}, {4, "assured"}, {8, "confirmed"}}))
	}
	return strings.Join(words, " ")
}

type flag struct {
	bit  uint16
	name string
}

func listed(mask uint16, inverted bool, flags []flag) string {
	var names []string
	for _, f := range flags {
		if mask&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	text := strings.Join(names, ",")
	if inverted {
		text = "! " + text
	}
	return text
}

func addrtypeText(info []byte, _ Family) string {
	source, dest, flags := binary.NativeEndian.Uint16(info), binary.NativeEndian.Uint16(info[2:]), binary.NativeEndian.Uint32(info[4:])
	text, types := "fib daddr ", dest
	if source != 0 {
		text, types = "fib saddr ", source
	}
	switch {
	case flags&4 != 0:
		text += ". iif "
	case flags&8 != 0:
		text += ". oif "
	}
	text += "type " + not(flags&3 != 0)
	var names []string
	for i, name := range []string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"} {
		if types&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if bits.OnesCount16(types) > 1 {
		return text + "{ " + strings.Join(names, ", ") + " }"
	}
	return text + strings.Join(names, "")
}

func statisticText(info []byte, _ Family) string {
	mode, invert := binary.NativeEndian.Uint16(info), binary.NativeEndian.Uint16(info[2:])&1 != 0
	x, y := binary.NativeEndian.Uint32(info[4:]), binary.NativeEndian.Uint32(info[8:])
	switch {
	case mode == 1:
		return fmt.Sprintf("numgen inc mod %d %s%d", x+1, not(invert), y)
	case invert:
		return fmt.Sprintf("meta random & 2147483647 >= %d", x)
	}
	return fmt.Sprintf("meta random & 2147483647 < %d", x)
}

func markText(info []byte, _ Family) string {
	mark, mask, invert := binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[4:]), info[8] != 0
	if mask == 0xffffffff {
		return fmt.Sprintf("mark %s0x%x", not(invert), mark)
	}
	sign := "=="
	if invert {
		sign = "!="
	}
	return fmt.Sprintf("mark and 0x%x %s 0x%x", mask, sign, mark)
}

func setMarkText(info []byte, _ Family) string {
	mark, mask := binary.NativeEndian.Uint32(info), binary.NativeEndian.Uint32(info[4:])
	text := "meta mark set "
	switch {
	case mask == 0xffffffff:
		return text + fmt.Sprintf("0x%x", mark)
	case mark == 0:
		return text + fmt.Sprintf("mark and 0x%x", ^mask)
	case mark == mask:
		return text + fmt.Sprintf("mark or 0x%x", mark)
	case mask == 0:
		return text + fmt.Sprintf("mark xor 0x%x", mark)
	}
	return text + fmt.Sprintf("mark and 0x%x xor 0x%x", ^mask, mark)
}

const (
	rangeAddress = 1
	rangePort    = 2
	rangeOffset  = 32
)

// rangeText writes a struct nf_nat_range2.
func rangeText(info []byte, family Family) string {
	size := 4
	if family == IPv6 {
		size = 16
	}
	return natRangeText(binary.NativeEndian.Uint32(info), info[4:4+size], info[20:20+size], info[36:38], info[38:40])
}

// range4Text writes a struct nf_nat_ipv4_multi_range_compat.
func range4Text(info []byte) string {
	return natRangeText(binary.NativeEndian.Uint32(info[4:]), info[8:12], info[12:16], info[16:18], info[18:20])
}

func masqueradeText(info []byte, family Family) string {
	if family == IPv6 && len(info) >= 40 { // a struct nf_nat_range
		return "masquerade" + rangeText(info, family)
	}
	return "masquerade" + range4Text(info)
}

func natRangeText(flags uint32, from, to, portFrom, portTo []byte) string {
	text := ""
	if flags&rangeAddress != 0 {
		a, _ := netip.AddrFromSlice(from)
		b, _ := netip.AddrFromSlice(to)
		text = a.String()
		if a != b {
			text += "-" + b.String()
		}
		if a.Is6() && flags&rangePort != 0 {
			text = "[" + text + "]"
		}
	}
	if flags&rangePort != 0 {
		p, q := binary.BigEndian.Uint16(portFrom), binary.BigEndian.Uint16(portTo)
		text += fmt.Sprintf(":%d", p)
		if p != q {
			text += fmt.Sprintf("-%d", q)
		}
	}
	if text != "" {
		text = " to " + text
	}
	return text + natFlags(flags)
}

func rejectText(info []byte, family Family) string {
	with := binary.NativeEndian.Uint32(info)
	names := []string{"net-unreachable", "host-unreachable", "prot-unreachable", "port-unreachable", "", "net-prohibited", "host-prohibited", "tcp reset", "admin-prohibited"}
	protocol := "icmp"
	if family == IPv6 {
		names = []string{"no-route", "admin-prohibited", "", "addr-unreachable", "port-unreachable", "", "tcp reset", "policy-fail", "reject-route"}
		protocol = "icmpv6"
	}
	if int(with) >= len(names) {
		return "xt target REJECT"
	}
	switch name := names[with]; name {
	case "port-unreachable":
		return "reject"
	case "tcp reset":
		return "reject with tcp reset"
	default:
		return "reject with " + protocol + " type " + name
	}
}
