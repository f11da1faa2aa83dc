package trace

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"labnet/lab/packet"
)

func decode(b []byte, bare bool) []packet.Header {
	var hs []packet.Header
	if !bare {
		return ether(b)
	}
	return append(hs, ip(b)...)
}

func ether(b []byte) []packet.Header {
	if len(b) < 14 {
		return nil
	}
	hs := []packet.Header{{Protocol: "ethernet", Source: net.HardwareAddr(b[6:12]).String(), Destination: net.HardwareAddr(b[:6]).String(), Bytes: 14}}
	t := binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	if t == 0x8100 {
		hs = append(hs, packet.Header{Protocol: "vlan", Bytes: 4, Fields: []packet.Field{{Name: "id", Value: strconv.Itoa(int(binary.BigEndian.Uint16(b) & 0xfff))}}})
		b = b[4:]
	}
	return append(hs, ip(b)...)
}

func ip(b []byte) []packet.Header {
	if len(b) < 20 {
		return nil
	}
	switch b[0] >> 4 {
	case 4:
		h := packet.Header{Protocol: "ipv4", Source: netip.AddrFrom4([4]byte(b[12:16])).String(), Destination: netip.AddrFrom4([4]byte(b[16:20])).String(), Bytes: 20,
			Fields: []packet.Field{{Name: "ttl", Value: strconv.Itoa(int(b[8]))}, {Name: "length", Value: strconv.Itoa(int(binary.BigEndian.Uint16(b[2:])))}}}
		return append([]packet.Header{h}, l4(b[9], b[20:])...)
	case 6:
		if len(b) < 40 {
			return nil
		}
		h := packet.Header{Protocol: "ipv6", Source: netip.AddrFrom16([16]byte(b[8:24])).String(), Destination: netip.AddrFrom16([16]byte(b[24:40])).String(), Bytes: 40,
			Fields: []packet.Field{{Name: "ttl", Value: strconv.Itoa(int(b[7]))}}}
		return append([]packet.Header{h}, l4(b[6], b[40:])...)
	}
	return nil
}

func l4(p byte, b []byte) []packet.Header {
	if len(b) < 8 {
		return nil
	}
	port := func(i int) string { return fmt.Sprint(binary.BigEndian.Uint16(b[i:])) }
	switch p {
	case 4, 41:
		return ip(b)
	case 17:
		h := []packet.Header{{Protocol: "udp", Source: port(0), Destination: port(2), Bytes: 8}}
		switch {
		case (port(2) == "8472" || port(2) == "4789") && len(b) > 16:
			h = append(h, packet.Header{Protocol: "vxlan", Bytes: 8, Fields: []packet.Field{{Name: "vni", Value: fmt.Sprint(binary.BigEndian.Uint32(b[12:]) >> 8)}}})
			return append(h, ether(b[16:])...)
		case port(2) == "8285":
			return append(h, ip(b[8:])...)
		}
		return h
	case 6:
		return []packet.Header{{Protocol: "tcp", Source: port(0), Destination: port(2), Bytes: 20}}
	case 1:
		return []packet.Header{{Protocol: "icmp", Bytes: 8, Fields: []packet.Field{{Name: "type", Value: fmt.Sprint(b[0])}}}}
	case 58:
		return []packet.Header{{Protocol: "icmpv6", Bytes: 8, Fields: []packet.Field{{Name: "type", Value: fmt.Sprint(b[0])}}}}
	}
	return nil
}
