package packet

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The parts that frames are made of. 192.168.205.3 and .4 are nodes, 10.42.0.2 and 10.42.1.2 pods.
const (
	mac    = "02 00 c0 a8 cd 04  02 00 c0 a8 cd 03 "
	ip4    = "08 00 "
	ip6    = "86 dd "
	tag    = "81 00  60 64 " // priority 3, VLAN 100
	arp    = "08 06  00 01 08 00 06 04 00 01  02 00 c0 a8 cd 03  c0 a8 cd 03  00 00 00 00 00 00  c0 a8 cd 04 "
	vxlan1 = "08 00 00 00  00 00 01 00 "

	// An inner UDP packet of 32 bytes: 20 + 8 + "lab!".
	pods  = "45 00 00 20  00 00 40 00  40 11 00 00  0a 2a 00 02  0a 2a 01 02 " + udp4
	udp4  = "30 39 d4 31 00 0c 00 00 " + "6c 61 62 21 "
	pods6 = "60 00 00 00  00 0c 11 40 " + pod61 + pod62 + udp4
	pod61 = "fd 00 00 42 00 00 00 00 00 00 00 00 00 00 00 02 "
	pod62 = "fd 00 00 42 00 00 00 01 00 00 00 00 00 00 00 02 "

	nodes  = "c0 a8 cd 03  c0 a8 cd 04 "
	outer  = "45 00 00 52  00 00 00 00  40 11 00 00 " + nodes
	tunnel = "c0 00 21 18 00 3e 00 00 " // UDP to 8472
	marker = "ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff "
	// TCP from 179, 20 bytes of header.
	bgp = "00 b3 c0 00  00 00 00 01  00 00 00 02  50 18 01 00  00 00 00 00 "
)

func bytesOf(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// within is an IPv4 packet between the nodes.
func within(protocol byte, body string) string {
	n := len(strings.ReplaceAll(body, " ", ""))/2 + 20
	return fmt.Sprintf("45 00 %02x %02x  00 00 40 00  40 %02x 00 00 ", n>>8, n&0xff, protocol) + nodes + body
}

// cases are frames with what must be read in them.
var cases = []struct {
	name    string
	parts   []string
	bare    bool
	headers string // their protocols and lengths
	line    string
	cut     bool
}{
	{name: "UDP", parts: []string{mac, ip4, pods}, headers: "ethernet 14, ipv4 20, udp 8", line: "IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "padded to Ethernet's least", parts: []string{mac, ip4, pods, strings.Repeat("00", 14)}, headers: "ethernet 14, ipv4 20, udp 8", line: "IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "tagged", parts: []string{mac, tag, ip4, pods}, headers: "ethernet 14, vlan 4, ipv4 20, udp 8", line: "vlan 100, IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "tagged twice", parts: []string{mac, "88 a8 00 07 ", tag, ip6, pods6}, headers: "ethernet 14, vlan 4, vlan 4, ipv6 40, udp 8", line: "vlan 7, vlan 100, IP6 fd00:42::2.12345 > fd00:42:0:1::2.54321: UDP, length 4"},
	{name: "bare", parts: []string{pods}, bare: true, headers: "ipv4 20, udp 8", line: "IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "ARP", parts: []string{mac, arp}, headers: "ethernet 14, arp 28", line: "ARP, Request who-has 192.168.205.4 tell 192.168.205.3"},
	{name: "VXLAN", parts: []string{mac, ip4, outer, tunnel, vxlan1, mac, ip4, pods}, headers: "ethernet 14, ipv4 20, udp 8, vxlan 8, ethernet 14, ipv4 20, udp 8",
		line: "IP 192.168.205.3.49152 > 192.168.205.4.8472: VXLAN, vni 1: IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "ARP in VXLAN", parts: []string{mac, ip4, outer, tunnel, vxlan1, mac, arp}, headers: "ethernet 14, ipv4 20, udp 8, vxlan 8, ethernet 14, arp 28",
		line: "IP 192.168.205.3.49152 > 192.168.205.4.8472: VXLAN, vni 1: ARP, Request who-has 192.168.205.4 tell 192.168.205.3"},
	{name: "UDP on VXLAN's port", parts: []string{mac, ip4, outer, tunnel, "00 00 00 00 00 00 01 00", mac, ip4, pods}, headers: "ethernet 14, ipv4 20, udp 8", line: "IP 192.168.205.3.49152 > 192.168.205.4.8472: UDP, length 54"},
	{name: "flannel's udp", parts: []string{mac, ip4, within(17, "20 5d 20 5d 00 28 00 00 "+pods)}, headers: "ethernet 14, ipv4 20, udp 8, flannel-udp 0, ipv4 20, udp 8",
		line: "IP 192.168.205.3.8285 > 192.168.205.4.8285: flannel udp: IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "IP in IP", parts: []string{mac, ip4, within(4, pods)}, headers: "ethernet 14, ipv4 20, ipv4 20, udp 8", line: "IP 192.168.205.3 > 192.168.205.4: IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "IPv6 in IP", parts: []string{mac, ip4, within(41, pods6)}, headers: "ethernet 14, ipv4 20, ipv6 40, udp 8", line: "IP 192.168.205.3 > 192.168.205.4: IP6 fd00:42::2.12345 > fd00:42:0:1::2.54321: UDP, length 4"},
	{name: "echo", parts: []string{mac, ip4, within(1, "08 00 00 00 00 07 00 02 61 62 63 64")}, headers: "ethernet 14, ipv4 20, icmp 8", line: "IP 192.168.205.3 > 192.168.205.4: ICMP echo request, id 7, seq 2, length 12"},
	{name: "error", parts: []string{mac, ip4, within(1, "03 04 00 00 00 00 05 aa "+strings.TrimSuffix(pods, "6c 61 62 21 "))}, headers: "ethernet 14, ipv4 20, icmp 8, ipv4 20 quoted, udp 8 quoted",
		line: "IP 192.168.205.3 > 192.168.205.4: ICMP unreachable - need to frag (mtu 1450) (about IP 10.42.0.2 > 10.42.1.2, udp 12345 > 54321), length 36"},
	{name: "error about TCP", parts: []string{mac, ip4, within(1, "0b 00 00 00 00 00 00 00 "+within(6, bgp[:8*3+1]))}, headers: "ethernet 14, ipv4 20, icmp 8, ipv4 20 quoted, tcp 8 quoted",
		line: "IP 192.168.205.3 > 192.168.205.4: ICMP time exceeded in-transit (about IP 192.168.205.3 > 192.168.205.4, tcp 179 > 49152), length 36"},
	{name: "neighbour solicitation", parts: []string{mac, ip6, "60 00 00 00  00 18 3a ff ", pod61, pod62, "87 00 00 00  00 00 00 00 ", pod62}, headers: "ethernet 14, ipv6 40, icmpv6 8",
		line: "IP6 fd00:42::2 > fd00:42:0:1::2: ICMP6, neighbor solicitation, who has fd00:42:0:1::2, length 24"},
	{name: "IPv6 echo", parts: []string{mac, ip6, "60 00 00 00  00 08 3a 40 ", pod61, pod62, "81 00 00 00  00 07 00 02"}, headers: "ethernet 14, ipv6 40, icmpv6 8",
		line: "IP6 fd00:42::2 > fd00:42:0:1::2: ICMP6, echo reply, id 7, seq 2, length 8"},
	{name: "too big", parts: []string{mac, ip6, "60 00 00 00  00 3c 3a 40 ", pod61, pod62, "02 00 00 00  00 00 05 aa ", pods6}, headers: "ethernet 14, ipv6 40, icmpv6 8, ipv6 40 quoted, udp 8 quoted",
		line: "IP6 fd00:42::2 > fd00:42:0:1::2: ICMP6, packet too big, mtu 1450 (about IP6 fd00:42::2 > fd00:42:0:1::2, udp 12345 > 54321), length 60"},
	{name: "TCP", parts: []string{mac, ip4, within(6, "c0 00 00 50  00 00 00 01  00 00 00 00  50 02 01 00  00 00 00 00 ")}, headers: "ethernet 14, ipv4 20, tcp 20",
		line: "IP 192.168.205.3.49152 > 192.168.205.4.80: Flags [S], seq 1, win 256, length 0"},
	{name: "first fragment", parts: []string{mac, ip4, "45 00 00 20  00 01 20 00  40 11 00 00 ", nodes, "c0 00 00 35 00 3e 00 00 ", "6c 61 62 21"}, headers: "ethernet 14, ipv4 20, udp 8",
		line: "IP 192.168.205.3.49152 > 192.168.205.4.53: fragment of UDP 1, offset 0: UDP, length 54"},
	{name: "second fragment", parts: []string{mac, ip4, "45 00 00 20  00 01 00 0a  40 11 00 00 ", nodes, tunnel, "6c 61 62 21"}, headers: "ethernet 14, ipv4 20",
		line: "IP 192.168.205.3 > 192.168.205.4: fragment of UDP 1, offset 80: UDP, length 12"},
	{name: "IPv6 fragment", parts: []string{mac, ip6, "60 00 00 00  00 14 2c 40 ", pod61, pod62, "11 00 00 08 00 00 00 07", udp4}, headers: "ethernet 14, ipv6 40, ipv6-fragment 8",
		line: "IP6 fd00:42::2 > fd00:42:0:1::2: fragment, offset 8, length 12"},
	{name: "multicast listener report", parts: []string{mac, ip6, "60 00 00 00  00 10 00 01 ", pod61, pod62, "3a 00 05 02 00 00 01 00", "8f 00 00 00 00 00 00 00"}, headers: "ethernet 14, ipv6 40, icmpv6 8",
		line: "IP6 fd00:42::2 > fd00:42:0:1::2: ICMP6, multicast listener report v2, length 8"},
	{name: "BGP KEEPALIVE", parts: []string{mac, ip4, within(6, bgp+marker+"00 13 04")}, headers: "ethernet 14, ipv4 20, tcp 20, bgp 19",
		line: "IP 192.168.205.3.179 > 192.168.205.4.49152: Flags [P.], seq 1:20, ack 2, win 256, length 19: BGP KEEPALIVE"},
	{name: "BGP OPEN", parts: []string{mac, ip4, within(6, bgp+marker+"00 25 01  04 fb f0 00 5a c0 a8 cd 03  08  02 06 41 04 00 00 fb f0")}, headers: "ethernet 14, ipv4 20, tcp 20, bgp 37",
		line: "IP 192.168.205.3.179 > 192.168.205.4.49152: Flags [P.], seq 1:38, ack 2, win 256, length 37: BGP OPEN, as 64496, hold 90, router 192.168.205.3"},
	{name: "BGP UPDATE and NOTIFICATION", parts: []string{mac, ip4, within(6, bgp+marker+"00 26 02  00 04 18 0a 2a 09  00 07 40 03 04 c0 a8 cd 03  18 0a 2a 01 "+marker+"00 15 03 06 02")}, headers: "ethernet 14, ipv4 20, tcp 20, bgp 38, bgp 21",
		line: "IP 192.168.205.3.179 > 192.168.205.4.49152: Flags [P.], seq 1:60, ack 2, win 256, length 59: BGP UPDATE, announced 10.42.1.0/24, next hop 192.168.205.3, withdrawn 10.42.9.0/24: BGP NOTIFICATION, error cease, subcode 2"},
	{name: "BGP UPDATE of IPv6", parts: []string{mac, ip4, within(6, bgp+marker+"00 39 02  00 00  00 22 90 0e 00 1e  00 02 01  10 "+pod61+" 00 40 "+pod62[:24])}, headers: "ethernet 14, ipv4 20, tcp 20, bgp 57",
		line: "IP 192.168.205.3.179 > 192.168.205.4.49152: Flags [P.], seq 1:58, ack 2, win 256, length 57: BGP UPDATE, announced fd00:42:0:1::/64, next hop fd00:42::2"},
	{name: "longer than the header can say", parts: []string{mac, ip4, strings.Replace(pods, "45 00 00 20", "45 00 00 00", 1)}, headers: "ethernet 14, ipv4 20, udp 8", line: "IP 10.42.0.2.12345 > 10.42.1.2.54321: UDP, length 4"},
	{name: "spanning tree", parts: []string{"01 80 c2 00 00 00 02 00 c0 a8 cd 03 00 04 42 42 03 00"}, headers: "ethernet 14", line: "02:00:c0:a8:cd:03 > 01:80:c2:00:00:00, 802.3, length 18"},
	{name: "something else", parts: []string{mac, "88 b5 01 02"}, headers: "ethernet 14", line: "02:00:c0:a8:cd:03 > 02:00:c0:a8:cd:04, ethertype 0x88b5, length 16"},
	{name: "no Ethernet header", parts: []string{"02 00"}, line: "cut off, 2 bytes", cut: true},
	{name: "no IP header", parts: []string{mac, ip4, "45 00"}, headers: "ethernet 14", line: "02:00:c0:a8:cd:03 > 02:00:c0:a8:cd:04, ethertype 0x0800, length 16 [|cut off]", cut: true},
	{name: "half a UDP header", parts: []string{mac, ip4, "45 00 00 20  00 00 40 00  40 11 00 00 ", nodes, "30 39 00 35"}, headers: "ethernet 14, ipv4 20, udp 4", line: "IP 192.168.205.3.12345 > 192.168.205.4.53: UDP, length 0 [|cut off]", cut: true},
}

func TestDecode(t *testing.T) {
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			p := Decode(bytesOf(t, tt.parts...), Options{Bare: tt.bare})
			var headers []string
			for _, h := range p.Headers() {
				text := fmt.Sprintf("%s %d", h.Protocol, h.Bytes)
				if h.Quoted {
					text += " quoted"
				}
				headers = append(headers, text)
			}
			if got := strings.Join(headers, ", "); got != tt.headers {
				t.Errorf("headers %s\n   want %s", got, tt.headers)
			}
			if got := p.Line(); got != tt.line {
				t.Errorf("line %s\nwant %s", got, tt.line)
			}
			if p.Cut != tt.cut {
				t.Errorf("cut %v, want %v", p.Cut, tt.cut)
			}
		})
	}
}

// TestFields: what people look for in each header.
func TestFields(t *testing.T) {
	p := Decode(bytesOf(t, mac, tag, ip4, outer, tunnel, vxlan1, mac, ip4, pods), Options{})
	var got []string
	for _, h := range p.Headers() {
		text := h.Protocol + " " + h.Source + " " + h.Destination
		for _, f := range h.Fields {
			text += " " + f.Name + "=" + f.Value
		}
		got = append(got, text)
	}
	want := []string{
		"ethernet 02:00:c0:a8:cd:03 02:00:c0:a8:cd:04", "vlan   id=100 priority=3", "ipv4 192.168.205.3 192.168.205.4 ttl=64 length=82",
		"udp 49152 8472", "vxlan   vni=1", "ethernet 02:00:c0:a8:cd:03 02:00:c0:a8:cd:04", "ipv4 10.42.0.2 10.42.1.2 ttl=64 length=32 flags=DF", "udp 12345 54321",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestCutAnywhere: of a packet that is cut, all is read that is there, and nothing else.
func TestCutAnywhere(t *testing.T) {
	for _, tt := range cases {
		data := bytesOf(t, tt.parts...)
		whole := Decode(data, Options{Bare: tt.bare}).Headers()
		for n := range data {
			p := Decode(data[:n:n], Options{Bare: tt.bare, Length: len(data)})
			for i, h := range p.Headers() {
				if p.Length != len(data) || i < len(whole) && h.Protocol != whole[i].Protocol {
					t.Fatalf("%s, %d bytes: %+v", tt.name, n, p.Headers())
				}
			}
			if p.Line() == "" {
				t.Fatalf("%s, %d bytes: no line", tt.name, n)
			}
		}
	}
}

// TestManyTunnels: packets in packets without end take no more memory than they have bytes.
func TestManyTunnels(t *testing.T) {
	text := pods
	for range 20 {
		text = within(4, text)
	}
	p := Decode(bytesOf(t, mac, ip4, text), Options{})
	if len(p.Parts) != deepest || len(p.Layers) != deepest+1 || len(p.Inner().Payload) == 0 {
		t.Errorf("%d parts, %d headers", len(p.Parts), len(p.Layers))
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range cases {
		f.Add(bytesOf(f, tt.parts...), tt.bare, 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, bare bool, length int) {
		p := Decode(data, Options{Bare: bare, Length: length})
		if len(p.Parts) == 0 || len(p.Parts) > deepest || p.Length < len(data) {
			t.Fatalf("%+v", p)
		}
		size := 0
		for _, h := range p.Headers() {
			if size += h.Bytes; h.Protocol == "" || h.Bytes < 0 {
				t.Errorf("%+v", h)
			}
		}
		if size > len(data) {
			t.Errorf("%d bytes of headers in %d: %+v", size, len(data), p.Headers())
		}
		if line := p.Line(); line == "" || strings.ContainsAny(line, "\n\r\t") {
			t.Errorf("%q", line)
		}
		for _, part := range p.Parts {
			if part.IP != (part.IP && part.Src.IsValid() && part.Dst.IsValid()) || part.Ported && !part.IP || len(part.Payload) > len(data) {
				t.Errorf("%+v", part)
			}
		}
	})
}
