package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// match tells whether a match of iptables holds; what is asked of a set, of a list, of chance or of what is not known of the
// packet cannot be told.
func (m *machine) match(e Match) (holds, known bool) {
	at := func(i int) uint16 { return binary.NativeEndian.Uint16(e.Info[i:]) }
	long := func(i int) uint32 { return binary.NativeEndian.Uint32(e.Info[i:]) }
	p := m.packet
	switch key := fmt.Sprintf("%s %d", e.Name, e.Rev); {
	case key == "comment 0":
		return true, true
	case (key == "tcp 0" || key == "udp 0") && len(e.Info) >= 12:
		inverted := e.Info[8]
		if key == "tcp 0" {
			if inverted = e.Info[11]; !zero(e.Info[8:11]) {
				return false, false
			}
		}
		if inverted != 0 || map[string]uint8{"tcp": 6, "udp": 17}[e.Name] != p.Protocol {
			return false, inverted == 0
		}
		return at(0) <= p.Sport && p.Sport <= at(2) && at(4) <= p.Dport && p.Dport <= at(6), true
	case key == "conntrack 3" && len(e.Info) >= 152 && at(146) == matchState:
		is := uint16(StateNew)
		switch {
		case p.Untracked:
			is = 256
		case p.Established:
			is = StateEstablished
		}
		const translated = 64 | 128 // what was done at another hook
		if at(150)&is == 0 && at(150)&translated != 0 {
			return false, false
		}
		return (at(150)&is != 0) != (at(148)&matchState != 0), true
	case key == "addrtype 1" && len(e.Info) >= 8 && p.Local != nil:
		const local = 1 << 2
		source, destination, flags := at(0), at(2), long(4)
		if flags&^3 != 0 || source&^local != 0 || destination&^local != 0 {
			return false, false
		}
		return (source == 0 || p.Local(p.Source) != (flags&1 != 0)) && (destination == 0 || p.Local(p.Destination) != (flags&2 != 0)), true
	case key == "multiport 1" && len(e.Info) == 48 && e.Info[1] <= 15:
		var ports []uint16
		for i := range int(e.Info[1]) {
			ports = append(ports, at(2+2*i))
		}
		if string(e.Info) != string(multiportInfo(ports)) {
			return false, false
		}
		return (p.Protocol == 6 || p.Protocol == 17) && slices.Contains(ports, p.Dport), true
	case key == "mark 1" && len(e.Info) >= 9:
		return (p.Mark&long(4) == long(0)) != (e.Info[8] != 0), true
	}
	return false, false
}

// target does what a target of iptables does to the packet; Continue where the next rule is asked.
func (m *machine) target(l Rule, e Target) (v Verdict, known bool) {
	p := m.packet
	switch key := fmt.Sprintf("%s %d", e.Name, e.Rev); {
	case key == "MARK 2" && len(e.Info) >= 8:
		p.Mark = p.Mark&^binary.NativeEndian.Uint32(e.Info[4:]) ^ binary.NativeEndian.Uint32(e.Info)
		return Verdict{Code: Continue}, true
	case key == "DNAT 2" && len(e.Info) >= 40:
		size := len(p.Destination.AsSlice())
		const addresses, ports = rangeAddress, rangePort
		flags := binary.NativeEndian.Uint32(e.Info)
		if flags&^(addresses|ports) != 0 || string(e.Info[4:4+size]) != string(e.Info[20:20+size]) || string(e.Info[36:38]) != string(e.Info[38:40]) {
			return Verdict{Code: Accept}, false
		}
		if flags&addresses != 0 {
			p.Destination, _ = netip.AddrFromSlice(e.Info[4 : 4+size])
		}
		if flags&ports != 0 {
			p.Dport = binary.BigEndian.Uint16(e.Info[36:])
		}
		m.translated, m.out.NAT = true, m.text(l)
	case key == "MASQUERADE 0":
		m.translated, m.out.NAT, m.out.By = true, m.text(l), Masquerades
	case key == "REJECT 0":
		m.out.Rejected = true
		return Verdict{Code: Drop}, true
	default:
		return Verdict{Code: Accept}, false
	}
	return Verdict{Code: Accept}, true
}
