package packet

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

var known = map[string][]netip.Addr{"worker1": {netip.MustParseAddr("192.168.205.4")}, "worker1/p1": {netip.MustParseAddr("10.42.1.2"), netip.MustParseAddr("fd00:42:0:1::2")}}

// TestFilter: which of the frames of TestDecode a filter chooses.
func TestFilter(t *testing.T) {
	for filter, want := range map[string]string{
		"arp":  "ARP",
		"icmp": "echo, error, error about TCP",
		"!icmp and host 192.168.205.4 and not udp and not tcp and not arp": "IP in IP, IPv6 in IP",
		"icmp6":                                 "neighbour solicitation, IPv6 echo, too big, multicast listener report",
		"vlan":                                  "tagged, tagged twice",
		"vlan 100":                              "tagged, tagged twice",
		"vlan 7":                                "tagged twice",
		"vlan 8":                                "",
		"vlan 100 and udp port 54321 and ip":    "tagged",
		"vni":                                   "VXLAN, ARP in VXLAN",
		"vni 1":                                 "VXLAN, ARP in VXLAN",
		"vni 2":                                 "",
		"vni 1 and inner arp":                   "ARP in VXLAN",
		"inner arp and not arp":                 "ARP in VXLAN",
		"inner host worker1/p1":                 "VXLAN, flannel's udp, IP in IP, IPv6 in IP",
		"inner (ip6 and udp)":                   "IPv6 in IP",
		"inner src host 10.42.1.2":              "",
		"inner dst host 10.42.1.2 && ip":        "VXLAN, flannel's udp, IP in IP",
		"host worker1/p1 and vlan":              "tagged, tagged twice",
		"src net 10.42.0.0/16 and not vlan":     "UDP, padded to Ethernet's least, bare, longer than the header can say",
		"net fd00:42::/48 and udp and not vlan": "IPv6 fragment",
		"bgp":                                   "BGP KEEPALIVE, BGP OPEN, BGP UPDATE and NOTIFICATION, BGP UPDATE of IPv6",
		"port 53":                               "first fragment, half a UDP header",
		"udp dst port 53":                       "first fragment, half a UDP header",
		"tcp port 53":                           "",
		"src port 53":                           "",
		"tcp portrange 79-81":                   "TCP",
		"portrange 54320-54322 and ip6":         "tagged twice",
		"tcp src port 179 and dst portrange 49000-50000 or arp": "ARP, BGP KEEPALIVE, BGP OPEN, BGP UPDATE and NOTIFICATION, BGP UPDATE of IPv6",
		"arp or vlan and vlan 8":                                "ARP",
		"(arp or vlan) and vlan 7":                              "tagged twice",
		"not (ip or ip6 or arp)":                                "spanning tree, something else, no Ethernet header, no IP header",
		"inner inner arp":                                       "ARP in VXLAN",
	} {
		f, err := ParseFilter(filter, known)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		var got []string
		for _, tt := range cases {
			if p := Decode(bytesOf(t, tt.parts...), Options{Bare: tt.bare}); f(&p) {
				got = append(got, tt.name)
			}
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s chooses %s\nnot %s", filter, s, want)
		}
	}
}

// TestFilterRefuses: what is not in the language is an error with its place, never a filter that chooses something else.
func TestFilterRefuses(t *testing.T) {
	for filter, want := range map[string]string{
		"":                         "the end of the filter: something must follow",
		"host":                     "the end of the filter: host wants an address",
		"host nobody":              `"nobody", at character 6 of the filter: host wants`,
		"host 10.42.0.2 10.42.0.3": `"10.42.0.3", at character 16 of the filter: and or or must stand before it`,
		"port 53 or 80":            `"80", at character 12 of the filter: it is no word`,
		"port http":                "a port is a number",
		"port 65536":               `"65536", at character 6 of the filter: a port is a number from 0 to 65535`,
		"portrange 80":             "two numbers",
		"portrange 81-80":          "the lower first",
		"portrange 1-2-3":          "two numbers",
		"tcp[13] & 2 != 0":         `"tcp[13]", at character 1 of the filter: it is no word`,
		"tcp arp":                  `"arp", at character 5 of the filter: and or or must stand before it`,
		"tcp src host 1.2.3.4":     `after tcp src stands port or portrange`,
		"src 10.42.0.2":            "after src stands host, net, port or portrange",
		"net 10.42.0.2/16":         "the network is 10.42.0.0/16",
		"net 10.42":                "net wants a network",
		"vlan 4096":                "from 0 to 4095",
		"vni 16777216":             "from 0 to 16777215",
		"(arp":                     "the end of the filter: a closing bracket is missing",
		"arp)":                     `")", at character 4 of the filter: and or or`,
		")":                        `")", at character 1 of the filter: it cannot stand here`,
		"and arp":                  `"and", at character 1 of the filter: it cannot stand here`,
		"not":                      "the end of the filter: something must follow",
		"inner":                    "the end of the filter: something must follow",
		"arp and":                  "something must follow",
		"udp6":                     `"udp6", at character 1 of the filter: it is no word`,
		"host fe80::1%eth0":        "host wants",
		"ärp or arq":               `"ärp", at character 1`,
		"äther or":                 `at character 1`,
	} {
		f, err := ParseFilter(filter, known)
		var e *FilterError
		if f != nil || !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", filter, err, want)
		}
	}
}

// TestFilterLogic: and, or, not and brackets mean what they mean in logic, whatever they are put together of.
func TestFilterLogic(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 9))
	var packets []Packet
	for _, tt := range cases {
		packets = append(packets, Decode(bytesOf(t, tt.parts...), Options{Bare: tt.bare}))
	}
	atoms := []string{"arp", "ip", "ip6", "icmp", "tcp", "udp", "vlan", "vni 1", "port 53", "bgp", "host worker1", "net 10.42.0.0/16"}
	single := map[string]Filter{}
	for _, a := range atoms {
		single[a], _ = ParseFilter(a, known)
	}
	var build func(depth int) (string, Filter)
	build = func(depth int) (string, Filter) {
		if depth == 0 || random.IntN(4) == 0 {
			a := atoms[random.IntN(len(atoms))]
			return a, single[a]
		}
		a, fa := build(depth - 1)
		b, fb := build(depth - 1)
		switch random.IntN(3) {
		case 0:
			return "not (" + a + ")", func(k *Packet) bool { return !fa(k) }
		case 1:
			return "(" + a + ") and (" + b + ")", func(k *Packet) bool { return fa(k) && fb(k) }
		}
		return "(" + a + ") or (" + b + ")", func(k *Packet) bool { return fa(k) || fb(k) }
	}
	for range 500 {
		text, want := build(4)
		f, err := ParseFilter(text, known)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for i := range packets {
			if f(&packets[i]) != want(&packets[i]) {
				t.Errorf("%s of %s", text, cases[i].name)
			}
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("inner (host worker1/p1 or not vlan 7) && tcp src portrange 1-2")
	f.Add("tcp[13] & 2")
	packets := []Packet{}
	for _, tt := range cases {
		packets = append(packets, Decode(bytesOf(f, tt.parts...), Options{Bare: tt.bare}))
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text, known)
		var e *FilterError
		switch {
		case err == nil:
			for i := range packets {
				filter(&packets[i])
			}
		case !errors.As(err, &e) || e.At < 1 || e.At > len([]rune(text))+1:
			t.Errorf("%q: %v", text, err)
		}
	})
}
