package packet

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Ports of UDP on which tunnels are found in the wild: IANA's and Linux's of VXLAN, and flannel's of its udp backend.
var Ports = []int{4789, 8472, 8285}

// bgpPort is IANA's of BGP.
const bgpPort = 179

// deepest is how many packets in packets are taken apart.
const deepest = 8

// Options say what is known of a frame besides its bytes.
type Options struct {
	Bare   bool  // it begins with the IP header: the device has no addresses of its own
	Length int   // of the whole frame, where less of it was kept
	Ports  []int // of UDP behind which tunnels are; nil: the usual ones
}

// Packet is a frame taken apart, as far as that goes.
type Packet struct {
	Layers []Layer // its headers, outermost first
	Parts  []Part  // the frame, then what each tunnel carries; the last one is what the endpoints have sent
	Length int     // of the frame
	Cut    bool    // a header is not whole
}

// Layer is a header as gopacket knows it, or one of this package: [FlannelUDP], [BGP].
type Layer struct {
	gopacket.Layer
	Part   int
	Quoted bool // it belongs to the packet that an ICMP error is about
}

// Part is what one sender has put together: the frame, or what a tunnel carries.
type Part struct {
	Tunnel   string // around it, as plans call it: vxlan, ipip, udp (flannel's); empty for the frame
	VNI      int    // of VXLAN
	VLANs    []int  // outermost first
	Src, Dst netip.Addr
	IP       bool // or else ARP, when there are addresses
	Protocol layers.IPProtocol
	// SrcPort and DstPort are those of TCP and UDP. Only the first fragment of a packet has them.
	SrcPort, DstPort int
	Ported           bool
	Length           int // of the IP packet, its header included
	Fragment         bool
	Payload          []byte // behind the last header that is known; cut off where the capture was
	missing          int    // bytes of the IP packet that were not kept
}

// Outer is the frame without what tunnels carry, and Inner the part within all tunnels; without a tunnel they are one.
func (p Packet) Outer() *Part { return &p.Parts[0] }
func (p Packet) Inner() *Part { return &p.Parts[len(p.Parts)-1] }

// FlannelUDP is flannel's udp backend: an IP packet as it is behind the header of UDP.
type FlannelUDP struct{ layers.BaseLayer }

// LayerType satisfies gopacket.Layer; the layer is in no registry of gopacket's.
func (*FlannelUDP) LayerType() gopacket.LayerType { return gopacket.LayerTypePayload }

// Decode takes a frame apart.
func Decode(data []byte, o Options) Packet {
	d := decoder{Options: o}
	if d.Ports == nil {
		d.Ports = Ports
	}
	d.p.Length = max(o.Length, len(data))
	d.missing = d.p.Length - len(data)
	d.p.Layers = make([]Layer, 0, 8)
	d.p.Parts = append(make([]Part, 0, 2), Part{})
	if o.Bare {
		d.ip(data)
	} else {
		d.ethernet(data)
	}
	return d.p
}

type decoder struct {
	Options
	p       Packet
	missing int  // bytes at the end that were not kept
	quoted  bool // within an ICMP error
}

func (d *decoder) part() *Part { return &d.p.Parts[len(d.p.Parts)-1] }

// decoding is what gopacket's layers have that do not call for the next one.
type decoding interface {
	gopacket.Layer
	DecodeFromBytes([]byte, gopacket.DecodeFeedback) error
}

// take decodes a header. It reports whether what follows can be read.
func (d *decoder) take(l decoding, data []byte) bool {
	if err := l.DecodeFromBytes(data, gopacket.NilDecodeFeedback); err != nil {
		d.rest(data)
		d.p.Cut = true
		return false
	}
	d.add(l)
	return true
}

func (d *decoder) add(l gopacket.Layer) {
	d.p.Layers = append(d.p.Layers, Layer{Layer: l, Part: len(d.p.Parts) - 1, Quoted: d.quoted})
	d.rest(l.LayerPayload())
}

// rest is what follows the headers so far.
func (d *decoder) rest(data []byte) {
	if !d.quoted {
		d.part().Payload = data
	}
}

func (d *decoder) ethernet(data []byte) {
	var l layers.Ethernet
	if d.take(&l, data) {
		d.ethertype(l.EthernetType, l.Payload)
	}
}

func (d *decoder) ethertype(t layers.EthernetType, data []byte) {
	switch t {
	case layers.EthernetTypeDot1Q, layers.EthernetTypeQinQ:
		var l layers.Dot1Q
		if d.take(&l, data) {
			d.part().VLANs = append(d.part().VLANs, int(l.VLANIdentifier))
			d.ethertype(l.Type, l.Payload)
		}
	case layers.EthernetTypeARP:
		var l layers.ARP
		if d.take(&l, data) {
			d.part().Src, _ = netip.AddrFromSlice(l.SourceProtAddress)
			d.part().Dst, _ = netip.AddrFromSlice(l.DstProtAddress)
		}
	case layers.EthernetTypeIPv4, layers.EthernetTypeIPv6:
		d.ip(data)
	}
}

func (d *decoder) ip(data []byte) {
	switch version(data) {
	case 4:
		d.ipv4(data)
	case 6:
		d.ipv6(data)
	default:
		d.rest(data)
		d.p.Cut = d.p.Cut || len(data) == 0
	}
}

func version(data []byte) byte {
	if len(data) == 0 {
		return 0
	}
	return data[0] >> 4
}

func (d *decoder) ipv4(data []byte) {
	var l layers.IPv4
	if !d.take(&l, data) {
		return
	}
	length := int(l.Length)
	if binary.BigEndian.Uint16(data[2:]) == 0 { // a GSO packet longer than the field can say
		length = len(data) + d.missing
		l.Length = uint16(min(length, math.MaxUint16))
	}
	d.addressed(data, l.SrcIP, l.DstIP, l.Protocol, length, l.FragOffset > 0 || l.Flags&layers.IPv4MoreFragments != 0)
	if l.FragOffset == 0 {
		d.transport(l.Protocol, l.Payload)
	}
}

func (d *decoder) ipv6(data []byte) {
	var l layers.IPv6
	err := l.DecodeFromBytes(data, gopacket.NilDecodeFeedback)
	if err != nil && (len(data) < 40 || l.Length != 0 || l.NextHeader == layers.IPProtocolIPv6HopByHop) {
		d.rest(data)
		d.p.Cut = true
		return
	}
	d.add(&l)
	length := 40 + int(l.Length)
	if l.Length == 0 { // a GSO packet longer than the field can say, for which gopacket wants a jumbogram's option
		length = len(data) + d.missing
		l.Length = uint16(min(length-40, math.MaxUint16))
	}
	next := l.NextHeader
	if l.HopByHop != nil {
		next = l.HopByHop.NextHeader
	}
	d.addressed(data, l.SrcIP, l.DstIP, next, length, false)
	d.extension(next, l.Payload)
}

// extension passes what may stand between an IPv6 header and its transport.
func (d *decoder) extension(next layers.IPProtocol, data []byte) {
	for {
		if !d.quoted {
			d.part().Protocol = next
		}
		switch next {
		case layers.IPProtocolIPv6Fragment:
			var l layers.IPv6Fragment
			if !d.take(&l, data) {
				return
			}
			if !d.quoted {
				d.part().Fragment, d.part().Protocol = true, l.NextHeader
			}
			if l.FragmentOffset > 0 {
				return
			}
			next, data = l.NextHeader, l.Payload
		case layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Destination:
			var l layers.IPv6ExtensionSkipper
			if err := l.DecodeFromBytes(data, gopacket.NilDecodeFeedback); err != nil {
				d.rest(data)
				d.p.Cut = true
				return
			}
			next, data = l.NextHeader, l.Payload
			d.rest(data)
		default:
			d.transport(next, data)
			return
		}
	}
}

func (d *decoder) addressed(data, src, dst []byte, protocol layers.IPProtocol, length int, fragment bool) {
	if d.quoted {
		return
	}
	p := d.part()
	p.Src, _ = netip.AddrFromSlice(src)
	p.Dst, _ = netip.AddrFromSlice(dst)
	p.IP, p.Protocol, p.Length, p.Fragment, p.missing = true, protocol, length, fragment, max(0, length-len(data))
}

func (d *decoder) transport(protocol layers.IPProtocol, data []byte) {
	switch protocol {
	case layers.IPProtocolIPv4, layers.IPProtocolIPv6:
		d.carried("ipip", 0, data, d.ip)
	case layers.IPProtocolUDP:
		d.udp(data)
	case layers.IPProtocolTCP:
		d.tcp(data)
	case layers.IPProtocolICMPv4:
		d.icmp(data)
	case layers.IPProtocolICMPv6:
		d.icmpv6(data)
	}
}

// carried takes apart what a tunnel carries.
func (d *decoder) carried(tunnel string, vni int, data []byte, as func([]byte)) {
	if d.quoted {
		as(data)
		return
	}
	if len(d.p.Parts) == deepest {
		return
	}
	d.p.Parts = append(d.p.Parts, Part{Tunnel: tunnel, VNI: vni})
	as(data)
}

func (d *decoder) udp(data []byte) {
	var l layers.UDP
	if !d.ports(d.take(&l, data), &l, data) {
		return
	}
	if !slices.Contains(d.Ports, int(l.DstPort)) {
		return
	}
	if v := version(l.Payload); v == 4 || v == 6 {
		d.add(&FlannelUDP{layers.BaseLayer{Payload: l.Payload}})
		d.carried("udp", 0, l.Payload, d.ip)
		return
	}
	var tunnel layers.VXLAN
	switch {
	case len(l.Payload) > 0 && l.Payload[0]&0x08 == 0: // without a VNI it is something else on the same port
	case d.take(&tunnel, l.Payload):
		d.carried("vxlan", int(tunnel.VNI), tunnel.Payload, d.ethernet)
	}
}

func (d *decoder) tcp(data []byte) {
	var l layers.TCP
	if d.ports(d.take(&l, data), &l, data) && (l.SrcPort == bgpPort || l.DstPort == bgpPort) {
		for _, m := range messages(l.Payload) {
			d.add(m)
		}
	}
}

// ports are the first bytes of a transport's header. They are known also of a header that is not whole, as it is quoted by
// routers that quote no more than they must.
func (d *decoder) ports(whole bool, l gopacket.Layer, data []byte) bool {
	if len(data) < 4 {
		return false
	}
	src, dst := binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	if !d.quoted {
		d.part().SrcPort, d.part().DstPort, d.part().Ported = int(src), int(dst), true
	}
	if whole {
		return true
	}
	switch l := l.(type) {
	case *layers.UDP:
		*l = layers.UDP{BaseLayer: layers.BaseLayer{Contents: data}, SrcPort: layers.UDPPort(src), DstPort: layers.UDPPort(dst)}
	case *layers.TCP:
		*l = layers.TCP{BaseLayer: layers.BaseLayer{Contents: data}, SrcPort: layers.TCPPort(src), DstPort: layers.TCPPort(dst)}
	}
	d.add(l)
	return false
}

func (d *decoder) icmp(data []byte) {
	var l layers.ICMPv4
	if !d.take(&l, data) {
		return
	}
	switch l.TypeCode.Type() {
	case layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4TypeRedirect, layers.ICMPv4TypeTimeExceeded, layers.ICMPv4TypeParameterProblem:
		d.quote(l.Payload)
	}
}

func (d *decoder) icmpv6(data []byte) {
	var l layers.ICMPv6
	if !d.take(&l, data) {
		return
	}
	if t := l.TypeCode.Type(); t < 128 && len(l.Payload) >= 4 { // RFC 4443: an error
		d.quote(l.Payload[4:])
	}
}

// quote takes apart the packet that an error is about.
func (d *decoder) quote(data []byte) {
	if d.quoted || len(data) == 0 {
		return
	}
	whole := d.p.Cut
	d.quoted = true
	d.ip(data)
	d.quoted, d.p.Cut = false, whole // that a quotation is cut is as it must be
}
