package packet

import (
	"fmt"
	"net"
	"strings"

	"github.com/gopacket/gopacket/layers"
)

// Line is a packet in one line, as tcpdump -n writes it.
func (p Packet) Line() string {
	var b strings.Builder
	part := 0
	for i, l := range p.Layers {
		if l.Quoted {
			continue
		}
		if l.Part != part { // the words for the tunnel end where what it carries begins
			part = l.Part
			if !strings.HasSuffix(b.String(), ": ") {
				b.WriteString(": ")
			}
		}
		b.WriteString(p.words(i))
	}
	text := strings.TrimSuffix(strings.TrimSpace(b.String()), ",")
	switch {
	case text == "":
		text = fmt.Sprintf("cut off, %d bytes", p.Length)
	case p.Cut:
		text += " [|cut off]"
	}
	return text
}

// words are a header's part of the line. That of a transport begins with what IP says, for tcpdump puts ports behind addresses.
func (p Packet) words(i int) string {
	last := i == len(p.Layers)-1 || p.Layers[i+1].Quoted
	payload := len(p.Layers[i].LayerPayload())
	switch l := p.Layers[i].Layer.(type) {
	case *layers.Ethernet:
		if last {
			return fmt.Sprintf("%s > %s, %s, length %d", l.SrcMAC, l.DstMAC, ethertype(l.EthernetType), p.Length)
		}
	case *layers.Dot1Q:
		text := fmt.Sprintf("vlan %d, ", l.VLANIdentifier)
		if last {
			text += ethertype(l.Type)
		}
		return text
	case *layers.ARP:
		switch l.Operation {
		case layers.ARPRequest:
			return fmt.Sprintf("ARP, Request who-has %s tell %s", address(l.DstProtAddress), address(l.SourceProtAddress))
		case layers.ARPReply:
			return fmt.Sprintf("ARP, Reply %s is-at %s", address(l.SourceProtAddress), net.HardwareAddr(l.SourceHwAddress))
		}
		return "ARP, operation " + arpName(l)
	case *layers.IPv4, *layers.IPv6:
		return p.addresses(i)
	case *layers.IPv6Fragment:
		if last {
			return fmt.Sprintf("fragment, offset %d, length %d", int(l.FragmentOffset)*8, payload)
		}
	case *layers.UDP:
		if last {
			return fmt.Sprintf("UDP, length %d", max(0, int(l.Length)-8))
		}
	case *layers.TCP:
		return tcpWords(l, p.payload(i))
	case *layers.ICMPv4:
		text := "ICMP " + icmpName(l)
		switch l.TypeCode.Type() {
		case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply:
			text += fmt.Sprintf(", id %d, seq %d", l.Id, l.Seq)
		}
		return text + p.about() + fmt.Sprintf(", length %d", p.payload(i)+len(l.Contents))
	case *layers.ICMPv6:
		text := "ICMP6, " + icmpv6Name(l)
		if id, seq, ok := echo6(l); ok {
			text += fmt.Sprintf(", id %d, seq %d", id, seq)
		}
		return text + p.about() + fmt.Sprintf(", length %d", p.payload(i)+len(l.Contents))
	case *layers.VXLAN:
		return fmt.Sprintf("VXLAN, vni %d", l.VNI)
	case *FlannelUDP:
		return "flannel udp"
	case *BGP:
		text := ": BGP " + l.Type
		for _, f := range l.fields() {
			text += ", " + f.Name + " " + f.Value
		}
		return text
	}
	return ""
}

// addresses are those of an IP packet with the ports of its transport.
func (p Packet) addresses(i int) string {
	part := &p.Parts[p.Layers[i].Part]
	name, src, dst := "IP", part.Src.String(), part.Dst.String()
	if part.Src.Is6() {
		name = "IP6"
	}
	if part.Ported {
		src, dst = fmt.Sprintf("%s.%d", src, part.SrcPort), fmt.Sprintf("%s.%d", dst, part.DstPort)
	}
	text := fmt.Sprintf("%s %s > %s: ", name, src, dst)
	last := i == len(p.Layers)-1
	switch l := p.Layers[i].Layer.(type) {
	case *layers.IPv4:
		if part.Fragment {
			text += fmt.Sprintf("fragment of %s %d, offset %d: ", l.Protocol, l.Id, int(l.FragOffset)*8)
		}
		if last {
			text += fmt.Sprintf("%s, length %d", l.Protocol, part.Length-len(l.Contents))
		}
	case *layers.IPv6:
		if last {
			text += fmt.Sprintf("%s, length %d", part.Protocol, part.Length-len(l.Contents))
		}
	}
	return text
}

// payload is how much a header carried on the wire, which may be more than was kept.
func (p Packet) payload(i int) int {
	return len(p.Layers[i].LayerPayload()) + p.Parts[p.Layers[i].Part].missing
}

func tcpWords(l *layers.TCP, payload int) string {
	if len(l.Contents) < 20 {
		return "TCP"
	}
	text := fmt.Sprintf("Flags [%s], seq %d", tcpFlags(l), l.Seq)
	if payload > 0 {
		text += fmt.Sprintf(":%d", l.Seq+uint32(payload))
	}
	if l.ACK {
		text += fmt.Sprintf(", ack %d", l.Ack)
	}
	return text + fmt.Sprintf(", win %d, length %d", l.Window, payload)
}

// about says which packet an error is about.
func (p Packet) about() string {
	text := ""
	for _, l := range p.Layers {
		if !l.Quoted {
			continue
		}
		switch l := l.Layer.(type) {
		case *layers.IPv4:
			text += fmt.Sprintf(" (about IP %s > %s", address(l.SrcIP), address(l.DstIP))
		case *layers.IPv6:
			text += fmt.Sprintf(" (about IP6 %s > %s", address(l.SrcIP), address(l.DstIP))
		case *layers.UDP:
			text += fmt.Sprintf(", udp %d > %d", uint16(l.SrcPort), uint16(l.DstPort))
		case *layers.TCP:
			text += fmt.Sprintf(", tcp %d > %d", uint16(l.SrcPort), uint16(l.DstPort))
		case *layers.ICMPv4:
			text += ", ICMP " + icmpName(l)
		case *layers.ICMPv6:
			text += ", ICMP6 " + icmpv6Name(l)
		}
	}
	if text == "" {
		return ""
	}
	return text + strings.Repeat(")", strings.Count(text, "("+"about"))
}

func ethertype(t layers.EthernetType) string {
	if t == layers.EthernetTypeLLC {
		return "802.3"
	}
	return fmt.Sprintf("ethertype 0x%04x", uint16(t))
}
