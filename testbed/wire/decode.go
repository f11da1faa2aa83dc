package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Frame is a frame on the underlay, taken apart.
type Frame struct {
	Out    bool // whether the interface sent it
	Super  bool // whether it is a GSO packet, not cut into segments yet
	Length int  // of the outer IP packet
	Outer  Packet
	Encap  plan.Encap // as seen; zero is none
	Inner  Packet     // what the endpoints sent: Outer where nothing is encapsulated, zero where the inner packet is not IP
}

// Packet is an IP packet with the header of its transport.
type Packet struct {
	Src, Dst         netip.Addr
	Proto            int
	SrcPort, DstPort int // of TCP and UDP
	Length           int // as its header says, that header included
	Fragment         bool
	Payload          []byte // behind the headers; cut off where the capture was
}

// ErrNotIP is what becomes of ARP, spanning tree and the like.
var ErrNotIP = errors.New("not an IP packet")

var errShort = errors.New("cut off within its headers")

const (
	macLen   = 12 // both addresses
	vlanLen  = 4
	vxlanLen = 8
)

// Decode takes a frame apart. UDP to one of the ports is a tunnel's: VXLAN, or IP as it is.
func Decode(data []byte, ports ...int) (Frame, error) {
	return Raw{Data: data, Length: len(data)}.Decode(ports...)
}

// Decode takes a captured frame apart. UDP to one of the ports is a tunnel's: VXLAN, or IP as it is.
func (r Raw) Decode(ports ...int) (Frame, error) {
	f := Frame{Out: r.Out, Super: r.Super}
	packet, vlan, err := ethernet(r.Data)
	if err != nil {
		return f, err
	}
	if vlan != 0 {
		f.Encap = plan.Encap{Type: "vlan", VLAN: vlan}
	}
	if f.Outer, err = ip(packet); err != nil {
		return f, err
	}
	if f.Outer.Length == 0 { // a GSO packet longer than the header's field can say
		f.Outer.Length = r.Length - (len(r.Data) - len(packet))
	}
	f.Length = f.Outer.Length
	f.Inner = f.Outer
	switch {
	case f.Outer.Proto == unix.IPPROTO_IPIP && !f.Outer.Fragment:
		return f, f.tunnel("ipip", 0)
	case f.Outer.Proto == unix.IPPROTO_UDP && slices.Contains(ports, f.Outer.DstPort):
		if h := f.Outer.Payload; len(h) > 0 && (h[0]>>4 == 4 || h[0]>>4 == 6) {
			return f, f.tunnel("udp", f.Outer.DstPort)
		}
		return f, f.vxlan()
	}
	return f, nil
}

// tunnel takes a packet out of one that carries nothing else.
func (f *Frame) tunnel(kind string, port int) (err error) {
	f.Encap = plan.Encap{Type: kind, Port: port, VLAN: f.Encap.VLAN, Src: f.Outer.Src, Dst: f.Outer.Dst}
	if f.Inner, err = ip(f.Outer.Payload); err != nil {
		return err
	}
	f.Encap.Overhead = f.Outer.Length - f.Inner.Length
	return nil
}

// vxlan takes the header off (RFC 7348).
func (f *Frame) vxlan() error {
	const valid = 0x08
	h := f.Outer.Payload
	if len(h) < vxlanLen {
		return errShort
	}
	if h[0]&valid == 0 {
		return nil // without a VNI it is something else on the same port
	}
	return f.frame("vxlan", int(binary.BigEndian.Uint32(h[4:])>>8), h[vxlanLen:])
}

// frame takes a frame out of a tunnel that numbers its networks.
func (f *Frame) frame(kind string, vni int, data []byte) error {
	f.Encap = plan.Encap{Type: kind, VNI: vni, Port: f.Outer.DstPort, VLAN: f.Encap.VLAN, Src: f.Outer.Src, Dst: f.Outer.Dst}
	f.Inner = Packet{}
	packet, _, err := ethernet(data)
	if errors.Is(err, ErrNotIP) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Inner, err = ip(packet); err != nil {
		return err
	}
	f.Encap.Overhead = f.Outer.Length - f.Inner.Length
	return nil
}

// ethernet returns the IP packet in a frame, and the frame's VLAN tag.
func ethernet(data []byte) (packet []byte, vlan int, err error) {
	if len(data) < macLen+2 {
		return nil, 0, errShort
	}
	data = data[macLen:]
	if binary.BigEndian.Uint16(data) == unix.ETH_P_8021Q {
		if len(data) < vlanLen+2 {
			return nil, 0, errShort
		}
		vlan = int(binary.BigEndian.Uint16(data[2:]) & 0xfff)
		data = data[vlanLen:]
	}
	switch binary.BigEndian.Uint16(data) {
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		return data[2:], vlan, nil
	}
	return nil, vlan, ErrNotIP
}

func ip(data []byte) (Packet, error) {
	if len(data) == 0 {
		return Packet{}, errShort
	}
	switch data[0] >> 4 {
	case 4:
		return ipv4(data)
	case 6:
		return ipv6(data)
	}
	return Packet{}, ErrNotIP
}

func ipv4(data []byte) (Packet, error) {
	if len(data) < 20 {
		return Packet{}, errShort
	}
	header := int(data[0]&0xf) * 4
	if header < 20 || len(data) < header {
		return Packet{}, errShort
	}
	const moreFragments, offset = 0x2000, 0x1fff
	fragment := binary.BigEndian.Uint16(data[6:])
	p := Packet{
		Src:      netip.AddrFrom4([4]byte(data[12:16])),
		Dst:      netip.AddrFrom4([4]byte(data[16:20])),
		Proto:    int(data[9]),
		Length:   int(binary.BigEndian.Uint16(data[2:])),
		Fragment: fragment&(moreFragments|offset) != 0,
	}
	return transport(p, trim(data, header, p.Length), fragment&offset == 0)
}

func ipv6(data []byte) (Packet, error) {
	const header = 40
	if len(data) < header {
		return Packet{}, errShort
	}
	p := Packet{
		Src:   netip.AddrFrom16([16]byte(data[8:24])),
		Dst:   netip.AddrFrom16([16]byte(data[24:40])),
		Proto: int(data[6]),
	}
	if payload := int(binary.BigEndian.Uint16(data[4:])); payload > 0 {
		p.Length = header + payload
	}
	rest, first := trim(data, header, p.Length), true
	for {
		size := 8
		switch p.Proto {
		case unix.IPPROTO_FRAGMENT:
			p.Fragment = true
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			if len(rest) >= 2 {
				size += int(rest[1]) * 8
			}
		default:
			return transport(p, rest, first)
		}
		if len(rest) < size {
			return p, errShort
		}
		if p.Proto == unix.IPPROTO_FRAGMENT {
			first = binary.BigEndian.Uint16(rest[2:])>>3 == 0
		}
		p.Proto, rest = int(rest[0]), rest[size:]
	}
}

// transport fills in what TCP and UDP say. A fragment that is not the first has no such header.
func transport(p Packet, data []byte, first bool) (Packet, error) {
	p.Payload = data
	if !first || p.Proto != unix.IPPROTO_TCP && p.Proto != unix.IPPROTO_UDP {
		return p, nil
	}
	header := 8
	if p.Proto == unix.IPPROTO_TCP {
		if len(data) < 20 {
			return p, errShort
		}
		header = max(20, int(data[12]>>4)*4)
	}
	if len(data) < header {
		return p, errShort
	}
	p.SrcPort = int(binary.BigEndian.Uint16(data))
	p.DstPort = int(binary.BigEndian.Uint16(data[2:]))
	p.Payload = data[header:]
	return p, nil
}

// trim takes off the header, and what Ethernet has padded a short packet with. A length that cannot be is not believed.
func trim(data []byte, header, length int) []byte {
	if length >= header && length < len(data) {
		data = data[:length]
	}
	return data[header:]
}
