package wire

import (
	"errors"
	"net/netip"

	"labnet/lab/packet"
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

// Decode takes a frame apart. UDP to one of the ports is a tunnel's: VXLAN, or IP as it is.
func Decode(data []byte, ports ...int) (Frame, error) {
	return Raw{Data: data, Length: len(data)}.Decode(ports...)
}

// Decode takes a captured frame apart. UDP to one of the ports is a tunnel's: VXLAN, or IP as it is. Of packets in packets in
// packets it sees the first two.
func (r Raw) Decode(ports ...int) (Frame, error) {
	p := packet.Decode(r.Data, packet.Options{Length: r.Length, Ports: append([]int{}, ports...)})
	f := Frame{Out: r.Out, Super: r.Super}
	outer := p.Outer()
	if len(outer.VLANs) > 0 {
		f.Encap = plan.Encap{Type: "vlan", VLAN: outer.VLANs[0]}
	}
	f.Outer = of(outer)
	f.Inner, f.Length = f.Outer, f.Outer.Length
	if len(p.Parts) > 1 {
		f.inside(&p.Parts[1])
	}
	switch {
	case p.Cut:
		return f, errShort
	case !outer.IP:
		return f, ErrNotIP
	}
	return f, nil
}

// inside is what a tunnel carries.
func (f *Frame) inside(inner *packet.Part) {
	f.Encap = plan.Encap{Type: inner.Tunnel, VNI: inner.VNI, Port: f.Outer.DstPort, VLAN: f.Encap.VLAN, Src: f.Outer.Src, Dst: f.Outer.Dst}
	f.Inner = of(inner)
	if inner.IP {
		f.Encap.Overhead = f.Outer.Length - inner.Length
	}
}

func of(p *packet.Part) Packet {
	if !p.IP {
		return Packet{}
	}
	return Packet{Src: p.Src, Dst: p.Dst, Proto: int(p.Protocol), SrcPort: p.SrcPort, DstPort: p.DstPort, Length: p.Length, Fragment: p.Fragment, Payload: p.Payload}
}
