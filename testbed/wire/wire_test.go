package wire

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"labnet/lab/plan"
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
	pods  = "45 00 00 20  00 00 40 00  40 11 00 00  0a 2a 00 02  0a 2a 01 02 " + ping
	ping  = "30 39 d4 31 00 0c 00 00 " + "6c 61 62 21 "
	pods6 = "60 00 00 00  00 0c 11 40 " + pod61 + pod62 + ping
	pod61 = "fd 00 00 42 00 00 00 00 00 00 00 00 00 00 00 02 "
	pod62 = "fd 00 00 42 00 00 00 01 00 00 00 00 00 00 00 02 "

	nodes  = "c0 a8 cd 03  c0 a8 cd 04 "
	tunnel = "c0 00 21 18 00 3e 00 00 " // UDP to 8472
)

func frame(t testing.TB, parts ...string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var (
	addr       = netip.MustParseAddr
	podPacket  = Packet{Src: addr("10.42.0.2"), Dst: addr("10.42.1.2"), Proto: 17, SrcPort: 12345, DstPort: 54321, Length: 32, Payload: []byte("lab!")}
	pod6Packet = Packet{Src: addr("fd00:42::2"), Dst: addr("fd00:42:0:1::2"), Proto: 17, SrcPort: 12345, DstPort: 54321, Length: 52, Payload: []byte("lab!")}
	nodePacket = Packet{Src: addr("192.168.205.3"), Dst: addr("192.168.205.4"), Proto: 17, SrcPort: 49152, DstPort: 8472, Length: 82}
	flannelVNI = plan.Encap{Type: "vxlan", Overhead: 50, VNI: 1, Port: 8472, Src: addr("192.168.205.3"), Dst: addr("192.168.205.4")}
)

func TestDecode(t *testing.T) {
	outer := "45 00 00 52  00 00 00 00  40 11 00 00 " + nodes
	for _, tt := range []struct {
		name  string
		parts []string
		want  Frame
		err   error
	}{
		{name: "plain", parts: []string{mac, ip4, pods},
			want: Frame{Length: 32, Outer: podPacket, Inner: podPacket}},
		{name: "padded to Ethernet's least", parts: []string{mac, ip4, pods, strings.Repeat("00", 14)},
			want: Frame{Length: 32, Outer: podPacket, Inner: podPacket}},
		{name: "tagged", parts: []string{mac, tag, ip4, pods},
			want: Frame{Encap: plan.Encap{Type: "vlan", VLAN: 100}, Length: 32, Outer: podPacket, Inner: podPacket}},
		{name: "IPv6", parts: []string{mac, ip6, pods6},
			want: Frame{Length: 52, Outer: pod6Packet, Inner: pod6Packet}},
		{name: "vxlan", parts: []string{mac, ip4, outer, tunnel, vxlan1, mac, ip4, pods},
			want: Frame{Length: 82, Outer: nodePacket, Encap: flannelVNI, Inner: podPacket}},
		{name: "vxlan on another port is UDP", parts: []string{mac, ip4, outer, "c0 00 12 b5 00 3e 00 00 ", vxlan1, mac, ip4, pods},
			want: Frame{Length: 82, Outer: with(nodePacket, func(p *Packet) { p.DstPort = 4789 }), Inner: with(nodePacket, func(p *Packet) { p.DstPort = 4789 })}},
		{name: "vxlan without a VNI is UDP", parts: []string{mac, ip4, outer, tunnel, "00 00 00 00 00 00 01 00", mac, ip4, pods},
			want: Frame{Length: 82, Outer: nodePacket, Inner: nodePacket}},
		{name: "ARP inside", parts: []string{mac, ip4, outer, tunnel, vxlan1, mac, arp},
			want: Frame{Length: 82, Outer: nodePacket, Encap: with(flannelVNI, func(e *plan.Encap) { e.Overhead = 0 })}},
		{name: "first fragment", parts: []string{mac, ip4, "45 00 00 52  00 01 20 00  40 11 00 00 ", nodes, tunnel, vxlan1, mac, ip4, pods},
			want: Frame{Length: 82, Outer: with(nodePacket, func(p *Packet) { p.Fragment = true }), Encap: flannelVNI, Inner: podPacket}},
		{name: "second fragment has no ports", parts: []string{mac, ip4, "45 00 00 20  00 01 00 0a  40 11 00 00 ", nodes, tunnel, "6c 61 62 21"},
			want: Frame{Length: 32, Outer: fragment, Inner: fragment}},
		{name: "IPv6 fragment", parts: []string{mac, ip6, "60 00 00 00  00 14 2c 40 ", pod61, pod62, "11 00 00 01 00 00 00 07", ping},
			want: Frame{Length: 60, Outer: fragment6, Inner: fragment6}},
		{name: "longer than the header can say", parts: []string{mac, ip4, strings.Replace(pods, "45 00 00 20", "45 00 00 00", 1)},
			want: Frame{Length: 32, Outer: podPacket, Inner: podPacket}},
		{name: "ARP", parts: []string{mac, arp}, err: ErrNotIP},
		{name: "no Ethernet header", parts: []string{"02 00"}, err: errShort},
		{name: "no IP header", parts: []string{mac, ip4, "45 00"}, err: errShort},
		{name: "no UDP header", parts: []string{mac, ip4, "45 00 00 20  00 00 40 00  40 11 00 00 ", nodes, "30 39"}, err: errShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(frame(t, tt.parts...), 8472)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			payload := cmpopts.IgnoreFields(Frame{}, "Outer.Payload", "Inner.Payload")
			if diff := cmp.Diff(tt.want, got, payload, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if tt.want.Inner.Payload != nil && string(got.Inner.Payload) != "lab!" {
				t.Errorf("payload %q", got.Inner.Payload)
			}
		})
	}
}

var (
	fragment  = Packet{Src: addr("192.168.205.3"), Dst: addr("192.168.205.4"), Proto: 17, Length: 32, Fragment: true}
	fragment6 = with(pod6Packet, func(p *Packet) { p.Fragment, p.Length = true, 60 })
)

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestMatches(t *testing.T) {
	direct := Frame{Length: 32, Outer: podPacket, Inner: podPacket}
	tunnelled := Frame{Length: 82, Outer: nodePacket, Encap: flannelVNI, Inner: podPacket}
	for _, tt := range []struct {
		name  string
		frame Frame
		want  plan.Expectation
		why   string
	}{
		{"direct", direct, plan.Expectation{Wire: true}, ""},
		{"vxlan", tunnelled, plan.Expectation{Wire: true, Encap: flannelVNI}, ""},
		{"not on the wire", direct, plan.Expectation{}, "is on the underlay"},
		{"not encapsulated", direct, plan.Expectation{Wire: true, Encap: flannelVNI}, "is not encapsulated (10.42.0.2 > 10.42.1.2)"},
		{"encapsulated", tunnelled, plan.Expectation{Wire: true}, "and must not be"},
		{"other VNI", tunnelled, plan.Expectation{Wire: true, Encap: with(flannelVNI, func(e *plan.Encap) { e.VNI = 2 })}, "has VNI 1 instead of 2"},
		{"other port", tunnelled, plan.Expectation{Wire: true, Encap: with(flannelVNI, func(e *plan.Encap) { e.Port = 4789 })}, "port 8472 instead of 4789"},
		{"other sender", tunnelled, plan.Expectation{Wire: true, Encap: with(flannelVNI, func(e *plan.Encap) { e.Src = addr("192.168.205.9") })}, "comes from 192.168.205.3"},
		{"other receiver", tunnelled, plan.Expectation{Wire: true, Encap: with(flannelVNI, func(e *plan.Encap) { e.Dst = addr("192.168.205.9") })}, "goes to 192.168.205.4"},
		{"other overhead", tunnelled, plan.Expectation{Wire: true, Encap: with(flannelVNI, func(e *plan.Encap) { e.Overhead = 20 })}, "50 bytes longer"},
		{"fragment", with(tunnelled, func(f *Frame) { f.Outer.Fragment = true }), plan.Expectation{Wire: true, Encap: flannelVNI}, "is a fragment of 82 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, why := Matches(tt.frame, tt.want)
			if ok != (tt.why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("%v, %q; want %q", ok, why, tt.why)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(frame(f, mac, ip4, pods))
	f.Add(frame(f, mac, tag, ip6, pods6))
	f.Add(frame(f, mac, ip4, "45 00 00 52  00 00 00 00  40 11 00 00 ", nodes, tunnel, vxlan1, mac, ip4, pods))
	f.Add(frame(f, mac, ip6, "60 00 00 00  00 14 2c 40 ", pod61, pod62, "11 00 00 01 00 00 00 07", ping))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Decode(data, 8472)
		if err != nil {
			return
		}
		if !got.Outer.Src.IsValid() || len(got.Outer.Payload) > len(data) {
			t.Errorf("%+v", got)
		}
		if got.Encap.Type == "" && got.Inner.Length != got.Outer.Length {
			t.Errorf("nothing encapsulated, and an inner packet of its own: %+v", got)
		}
	})
}
