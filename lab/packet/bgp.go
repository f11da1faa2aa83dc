package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// BGP is one message of BGP (RFC 4271), in the segment in which it begins. gopacket knows none.
type BGP struct {
	layers.BaseLayer
	Type      string // OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH
	AS        int    // of OPEN
	Hold      int    // seconds; of OPEN
	Router    netip.Addr
	NextHop   netip.Addr // of UPDATE
	Announced []netip.Prefix
	Withdrawn []netip.Prefix
	Code      string // of NOTIFICATION
	Cut       bool   // it goes on in another segment
}

// LayerType satisfies gopacket.Layer; the layer is in no registry of gopacket's.
func (*BGP) LayerType() gopacket.LayerType { return gopacket.LayerTypePayload }

const bgpHeader = 19

var bgpTypes = []string{1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE", 5: "ROUTE-REFRESH"}

var bgpCodes = []string{1: "message header error", 2: "OPEN message error", 3: "UPDATE message error", 4: "hold timer expired", 5: "finite state machine error", 6: "cease", 7: "ROUTE-REFRESH message error"}

// messages are those that begin in a segment: one begins with 16 bytes of ones.
func messages(data []byte) []*BGP {
	var all []*BGP
	for len(data) >= bgpHeader && string(data[:16]) == strings.Repeat("\xff", 16) {
		length, kind := int(binary.BigEndian.Uint16(data[16:])), int(data[18])
		if length < bgpHeader || kind == 0 || kind >= len(bgpTypes) {
			break
		}
		m := &BGP{Type: bgpTypes[kind], Cut: length > len(data)}
		length = min(length, len(data))
		m.Contents, m.Payload = data[:length], data[length:]
		m.read(data[bgpHeader:length])
		all = append(all, m)
		data = data[length:]
	}
	return all
}

func (m *BGP) read(body []byte) {
	switch m.Type {
	case "OPEN":
		if len(body) >= 10 {
			m.AS, m.Hold = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
			m.Router = netip.AddrFrom4([4]byte(body[5:9]))
			m.capabilities(body[10:])
		}
	case "UPDATE":
		m.update(body)
	case "NOTIFICATION":
		if len(body) >= 2 {
			m.Code = fmt.Sprintf("code %d", body[0])
			if n := int(body[0]); n > 0 && n < len(bgpCodes) {
				m.Code = bgpCodes[n]
			}
			m.Code += fmt.Sprintf(", subcode %d", body[1])
		}
	}
}

// capabilities tell the AS where two bytes do not hold it (RFC 6793).
func (m *BGP) capabilities(parameters []byte) {
	const capability, as4 = 2, 65
	for len(parameters) >= 2 {
		value, rest := chop(parameters[2:], int(parameters[1]))
		if parameters[0] == capability {
			for len(value) >= 2 {
				c, more := chop(value[2:], int(value[1]))
				if value[0] == as4 && len(c) == 4 {
					m.AS = int(binary.BigEndian.Uint32(c))
				}
				value = more
			}
		}
		parameters = rest
	}
}

// chop cuts data in two, where there is as much.
func chop(data []byte, n int) (head, rest []byte) {
	n = min(n, len(data))
	return data[:n], data[n:]
}

// counted takes off a field that begins with its length in two bytes.
func counted(data []byte) (field, rest []byte) {
	if len(data) < 2 {
		return nil, nil
	}
	return chop(data[2:], int(binary.BigEndian.Uint16(data)))
}

func (m *BGP) update(body []byte) {
	const nextHop, mpReach, mpUnreach, extended = 3, 14, 15, 0x10
	withdrawn, body := counted(body)
	attributes, announced := counted(body)
	m.Withdrawn, m.Announced = prefixes(withdrawn, false), prefixes(announced, false)
	for len(attributes) >= 3 {
		flags, kind := attributes[0], attributes[1]
		var value []byte
		if flags&extended != 0 {
			value, attributes = counted(attributes[2:])
		} else {
			value, attributes = chop(attributes[3:], int(attributes[2]))
		}
		switch {
		case kind == nextHop:
			m.NextHop, _ = netip.AddrFromSlice(value)
		case kind == mpReach && len(value) >= 5:
			hop, rest := chop(value[4:], int(value[3]))
			hop, _ = chop(hop, 16) // a link-local address may follow
			m.NextHop, _ = netip.AddrFromSlice(hop)
			_, rest = chop(rest, 1)
			m.Announced = append(m.Announced, family(value, rest)...)
		case kind == mpUnreach && len(value) >= 3:
			m.Withdrawn = append(m.Withdrawn, family(value, value[3:])...)
		}
	}
}

// family reads prefixes of a family that RFC 4760 names in front of them.
func family(value, data []byte) []netip.Prefix {
	const ipv4, ipv6, unicast = 1, 2, 1
	afi, safi := binary.BigEndian.Uint16(value), value[2]
	if safi != unicast || afi != ipv4 && afi != ipv6 {
		return nil
	}
	return prefixes(data, afi == ipv6)
}

// prefixes reads addresses of which only the bytes are there that count.
func prefixes(data []byte, six bool) []netip.Prefix {
	var all []netip.Prefix
	for len(data) > 0 {
		bits := int(data[0])
		var raw []byte
		raw, data = chop(data[1:], (bits+7)/8)
		var a netip.Addr
		if six {
			var full [16]byte
			copy(full[:], raw)
			a = netip.AddrFrom16(full)
		} else {
			var full [4]byte
			copy(full[:], raw)
			a = netip.AddrFrom4(full)
		}
		p := netip.PrefixFrom(a, bits)
		if !p.IsValid() || len(raw) < (bits+7)/8 {
			break
		}
		all = append(all, p)
	}
	return all
}

// fields are what a message says, besides its type.
func (m *BGP) fields() []Field {
	var all []Field
	add := func(name string, value any) { all = append(all, Field{name, fmt.Sprint(value)}) }
	switch {
	case m.Router.IsValid():
		add("as", m.AS)
		add("hold", m.Hold)
		add("router", m.Router)
	case m.Code != "":
		add("error", m.Code)
	}
	if len(m.Announced) > 0 {
		add("announced", listed(m.Announced))
		if m.NextHop.IsValid() {
			add("next hop", m.NextHop)
		}
	}
	if len(m.Withdrawn) > 0 {
		add("withdrawn", listed(m.Withdrawn))
	}
	if m.Cut {
		add("goes on", "in the next segment")
	}
	return all
}

// listed names the first prefixes and counts the others.
func listed(prefixes []netip.Prefix) string {
	const few = 4
	var words []string
	for _, p := range prefixes[:min(few, len(prefixes))] {
		words = append(words, p.String())
	}
	if more := len(prefixes) - few; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, " ")
}
