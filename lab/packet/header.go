// Package packet reads frames: bytes in, the stack of their headers out, as people know them from tcpdump and Wireshark.
// It touches no kernel.
package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket/layers"
)

// Header is one header of a frame.
type Header struct {
	// Protocol is its name: ethernet, vlan, arp, ipv4, ipv6, icmp, icmpv6, udp, tcp, vxlan, flannel-udp, bgp.
	Protocol string `json:"protocol"`
	// Source and Destination are its addresses (a MAC, an IP address) or its ports, as text; empty where it has none.
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination,omitempty"`
	// Fields are what else is worth seeing, in the order of the header: ttl, id, vni, flags, type.
	Fields []Field `json:"fields,omitempty"`
	// Bytes is the length of the header itself, without what it carries.
	Bytes int `json:"bytes"`
	// Quoted: it belongs to the packet that an ICMP error is about.
	Quoted bool `json:"quoted,omitempty"`
}

// Field is one field of a header with its value as text.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Headers are those of a packet, outermost first.
func (p Packet) Headers() []Header {
	var all []Header
	for _, l := range p.Layers {
		h := header(l)
		h.Quoted = l.Quoted
		if h.Bytes == 0 {
			h.Bytes = len(l.LayerContents())
		}
		all = append(all, h)
	}
	return all
}

func header(l Layer) Header {
	field := func(name string, value any) Field { return Field{name, fmt.Sprint(value)} }
	switch l := l.Layer.(type) {
	case *layers.Ethernet:
		return Header{Protocol: "ethernet", Source: l.SrcMAC.String(), Destination: l.DstMAC.String()}
	case *layers.Dot1Q:
		h := Header{Protocol: "vlan", Fields: []Field{field("id", l.VLANIdentifier)}}
		if l.Priority > 0 {
			h.Fields = append(h.Fields, field("priority", l.Priority))
		}
		return h
	case *layers.ARP:
		h := Header{Protocol: "arp", Source: address(l.SourceProtAddress), Destination: address(l.DstProtAddress)}
		h.Fields = append(h.Fields, field("type", arpName(l)))
		if l.Operation == layers.ARPReply {
			h.Fields = append(h.Fields, field("mac", net.HardwareAddr(l.SourceHwAddress)))
		}
		return h
	case *layers.IPv4:
		h := Header{Protocol: "ipv4", Source: address(l.SrcIP), Destination: address(l.DstIP)}
		h.Fields = []Field{field("ttl", l.TTL), field("length", l.Length)}
		if flags := strings.Trim(l.Flags.String(), "|"); flags != "" {
			h.Fields = append(h.Fields, field("flags", flags))
		}
		if l.FragOffset > 0 || l.Flags&layers.IPv4MoreFragments != 0 {
			h.Fields = append(h.Fields, field("id", l.Id), field("offset", int(l.FragOffset)*8))
		}
		return h
	case *layers.IPv6:
		return Header{Protocol: "ipv6", Source: address(l.SrcIP), Destination: address(l.DstIP), Fields: []Field{field("hop limit", l.HopLimit), field("length", int(l.Length)+40)}}
	case *layers.IPv6Fragment:
		return Header{Protocol: "ipv6-fragment", Fields: []Field{field("id", l.Identification), field("offset", int(l.FragmentOffset)*8)}}
	case *layers.UDP:
		return Header{Protocol: "udp", Source: field("", uint16(l.SrcPort)).Value, Destination: field("", uint16(l.DstPort)).Value}
	case *layers.TCP:
		h := Header{Protocol: "tcp", Source: field("", uint16(l.SrcPort)).Value, Destination: field("", uint16(l.DstPort)).Value}
		if flags := tcpFlags(l); len(l.Contents) >= 20 {
			h.Fields = []Field{field("flags", flags), field("seq", l.Seq), field("ack", l.Ack), field("window", l.Window)}
		}
		return h
	case *layers.ICMPv4:
		h := Header{Protocol: "icmp", Fields: []Field{field("type", icmpName(l))}}
		switch l.TypeCode.Type() {
		case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply:
			h.Fields = append(h.Fields, field("id", l.Id), field("seq", l.Seq))
		}
		return h
	case *layers.ICMPv6:
		h := Header{Protocol: "icmpv6", Fields: []Field{field("type", icmpv6Name(l))}, Bytes: len(l.Contents) + min(4, len(l.Payload))}
		if id, seq, ok := echo6(l); ok {
			h.Fields = append(h.Fields, field("id", id), field("seq", seq))
		}
		return h
	case *layers.VXLAN:
		return Header{Protocol: "vxlan", Fields: []Field{field("vni", l.VNI)}}
	case *FlannelUDP:
		return Header{Protocol: "flannel-udp"}
	case *BGP:
		h := Header{Protocol: "bgp", Fields: []Field{field("type", l.Type)}}
		for _, f := range l.fields() {
			h.Fields = append(h.Fields, field(f.Name, f.Value))
		}
		return h
	}
	return Header{Protocol: l.LayerType().String()}
}

func address(b []byte) string {
	if a, ok := netip.AddrFromSlice(b); ok {
		return a.String()
	}
	return ""
}

func arpName(l *layers.ARP) string {
	switch l.Operation {
	case layers.ARPRequest:
		return "request"
	case layers.ARPReply:
		return "reply"
	}
	return fmt.Sprint(l.Operation)
}

func tcpFlags(l *layers.TCP) string {
	text := ""
	for _, f := range []struct {
		set  bool
		name string
	}{{l.FIN, "F"}, {l.SYN, "S"}, {l.RST, "R"}, {l.PSH, "P"}, {l.ACK, "."}, {l.URG, "U"}, {l.ECE, "E"}, {l.CWR, "W"}} {
		if f.set {
			text += f.name
		}
	}
	return text
}

// icmpName is a message's name as tcpdump has it.
func icmpName(l *layers.ICMPv4) string {
	code := l.TypeCode.Code()
	switch t := l.TypeCode.Type(); t {
	case layers.ICMPv4TypeEchoRequest:
		return "echo request"
	case layers.ICMPv4TypeEchoReply:
		return "echo reply"
	case layers.ICMPv4TypeDestinationUnreachable:
		switch code {
		case layers.ICMPv4CodeNet:
			return "net unreachable"
		case layers.ICMPv4CodeHost:
			return "host unreachable"
		case layers.ICMPv4CodeProtocol:
			return "protocol unreachable"
		case layers.ICMPv4CodePort:
			return "port unreachable"
		case layers.ICMPv4CodeFragmentationNeeded:
			return fmt.Sprintf("unreachable - need to frag (mtu %d)", l.Seq)
		case layers.ICMPv4CodeNetAdminProhibited, layers.ICMPv4CodeHostAdminProhibited, layers.ICMPv4CodeCommAdminProhibited:
			return "unreachable - admin prohibited"
		}
		return fmt.Sprintf("unreachable, code %d", code)
	case layers.ICMPv4TypeRedirect:
		return "redirect"
	case layers.ICMPv4TypeTimeExceeded:
		if code == layers.ICMPv4CodeFragmentReassemblyTimeExceeded {
			return "ip reassembly time exceeded"
		}
		return "time exceeded in-transit"
	default:
		return fmt.Sprintf("type %d, code %d", t, code)
	}
}

func icmpv6Name(l *layers.ICMPv6) string {
	code := l.TypeCode.Code()
	switch t := l.TypeCode.Type(); t {
	case layers.ICMPv6TypeEchoRequest:
		return "echo request"
	case layers.ICMPv6TypeEchoReply:
		return "echo reply"
	case layers.ICMPv6TypeDestinationUnreachable:
		names := []string{"unreachable route", "unreachable prohibited", "beyond scope", "unreachable address", "unreachable port"}
		if int(code) < len(names) {
			return names[code]
		}
		return fmt.Sprintf("unreachable, code %d", code)
	case layers.ICMPv6TypePacketTooBig:
		if len(l.Payload) >= 4 {
			return fmt.Sprintf("packet too big, mtu %d", binary.BigEndian.Uint32(l.Payload))
		}
		return "packet too big"
	case layers.ICMPv6TypeTimeExceeded:
		return "time exceeded in-transit"
	case layers.ICMPv6TypeRouterSolicitation:
		return "router solicitation"
	case layers.ICMPv6TypeRouterAdvertisement:
		return "router advertisement"
	case layers.ICMPv6TypeNeighborSolicitation:
		return "neighbor solicitation, who has " + target6(l)
	case layers.ICMPv6TypeNeighborAdvertisement:
		return "neighbor advertisement, tgt is " + target6(l)
	case layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2:
		return "multicast listener report v2"
	default:
		return fmt.Sprintf("type %d, code %d", t, code)
	}
}

// target6 is the address that a message of neighbour discovery is about.
func target6(l *layers.ICMPv6) string {
	if len(l.Payload) < 20 {
		return "?"
	}
	return address(l.Payload[4:20])
}

func echo6(l *layers.ICMPv6) (id, seq uint16, ok bool) {
	switch l.TypeCode.Type() {
	case layers.ICMPv6TypeEchoRequest, layers.ICMPv6TypeEchoReply:
		if len(l.Payload) >= 4 {
			return binary.BigEndian.Uint16(l.Payload), binary.BigEndian.Uint16(l.Payload[2:]), true
		}
	}
	return 0, 0, false
}
