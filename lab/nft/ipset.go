package nft

import (
	"encoding/binary"
	"strings"
)

// The match "set" of iptables names an ipset, and the kernel has its number there, which each namespace gives anew. So a rule
// of a plan has the name behind the kernel's structure, and whoever talks to the kernel exchanges the one for the other:
// [Exprs.NumberIPSets], [Exprs.NameIPSets].

const (
	ipsetMatch = 48 // struct xt_set_info_match_v4
	ipsetName  = 32 // IPSET_MAXNAMELEN
)

// InIPSet is -m set --match-set: whether the packet's addresses and ports are in an ipset, each "src" or "dst".
func InIPSet(name string, fields ...string) Part {
	info := make([]byte, ipsetMatch+ipsetName)
	info[2] = byte(len(fields))
	for i, f := range fields {
		if f == "src" {
			info[3] |= 2 << i
		}
	}
	copy(info[ipsetMatch:], name)
	return match("set", 4, info)
}

// ipset is the name of a match's set, where it has one, and what is asked for in it.
func (m Match) ipset() (name string, fields []string, ok bool) {
	if m.Name != "set" || m.Rev != 4 || len(m.Info) != ipsetMatch+ipsetName || !zero(m.Info[:2]) || m.Info[2] > 6 {
		return "", nil, false
	}
	flags := m.Info[3]
	for range m.Info[2] {
		flags >>= 1
		fields = append(fields, map[bool]string{true: "src", false: "dst"}[flags&1 != 0])
	}
	name, _, _ = strings.Cut(string(m.Info[ipsetMatch:]), "\x00")
	return name, fields, flags>>1 == 0 && m.Info[3]&1 == 0 && zero(m.Info[4:ipsetMatch])
}

// asksIPSet reports whether an expression is such a match, from what stands in it.
func asksIPSet(data string) bool {
	return exprName(data) == "match" && strings.Contains(data, "\x00set\x00")
}

// AsksIPSets reports whether an ipset is asked, by its name or its number.
func (x Exprs) AsksIPSets() bool {
	for kind, data := range x.records {
		if kind == recordExpr && asksIPSet(data) {
			return true
		}
	}
	return false
}

// NumberIPSets gives ipsets their numbers.
func (x Exprs) NumberIPSets(number func(name string) (uint16, error)) (Exprs, error) {
	var failed error
	return x.matches(func(m Match) Match {
		name, _, ok := m.ipset()
		if !ok {
			return m
		}
		n, err := number(name)
		if err != nil {
			failed = err
		}
		m.Info = append([]byte{}, m.Info[:ipsetMatch]...)
		binary.NativeEndian.PutUint16(m.Info, n)
		return m
	}), failed
}

// NameIPSets gives ipsets their names. A number that nobody has stays.
func (x Exprs) NameIPSets(name func(number uint16) (string, bool)) Exprs {
	return x.matches(func(m Match) Match {
		if m.Name != "set" || m.Rev != 4 || len(m.Info) != ipsetMatch {
			return m
		}
		text, ok := name(binary.NativeEndian.Uint16(m.Info))
		if !ok {
			return m
		}
		info := make([]byte, ipsetMatch+ipsetName)
		copy(info, m.Info)
		info[0], info[1] = 0, 0
		copy(info[ipsetMatch:], text)
		m.Info = info
		return m
	})
}

func (x Exprs) matches(change func(Match) Match) Exprs {
	if !x.AsksIPSets() {
		return x
	}
	list, err := x.List()
	if err != nil {
		return x
	}
	for i, e := range list {
		if m, ok := e.(Match); ok {
			list[i] = change(m)
		}
	}
	return Pack(list...)
}
