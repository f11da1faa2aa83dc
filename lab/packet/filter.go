package packet

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gopacket/gopacket/layers"
)

// Filter chooses packets.
type Filter func(*Packet) bool

// FilterWords are the words of the language of filters.
var FilterWords = []string{
	"and", "arp", "bgp", "dst", "host", "icmp", "icmp6", "inner", "ip", "ip6", "net", "not", "or", "port", "portrange", "src", "tcp", "udp", "vlan", "vni",
}

// FilterError is what is wrong with a filter, and where.
type FilterError struct {
	At      int    // the character, counted from 1
	Word    string // that stands there; empty: the filter ends there
	Problem string
	Unknown bool // it is no word of the language
}

func (e *FilterError) Error() string {
	at := fmt.Sprintf("%q, at character %d of the filter", e.Word, e.At)
	if e.Word == "" {
		at = "the end of the filter"
	}
	return at + ": " + e.Problem
}

// ParseFilter reads a filter. Names are what may stand where an address may. A filter looks at the frame as it is on the device;
// within inner it looks at what the innermost tunnel carries.
func ParseFilter(text string, names map[string][]netip.Addr) (Filter, error) {
	p := &filterParser{words: filterWords(text), names: names, end: len([]rune(text)) + 1}
	t, err := p.either()
	if err == nil && p.next().text != "" {
		err = p.wrong("and or or must stand before it")
	}
	if err != nil {
		return nil, err
	}
	return func(k *Packet) bool { return t(k, 0) }, nil
}

// test looks at one part of a packet.
type test func(k *Packet, part int) bool

type filterWord struct {
	text string
	at   int
}

func filterWords(text string) []filterWord {
	var all []filterWord
	begun := false
	for i, r := range []rune(text) {
		switch {
		case r == ' ' || r == '\t' || r == '\n':
			begun = false
		case r == '(' || r == ')' || r == '!':
			all, begun = append(all, filterWord{string(r), i + 1}), false
		case begun:
			all[len(all)-1].text += string(r)
		default:
			all, begun = append(all, filterWord{string(r), i + 1}), true
		}
	}
	return all
}

type filterParser struct {
	words []filterWord
	names map[string][]netip.Addr
	end   int
}

func (p *filterParser) next() filterWord {
	if len(p.words) == 0 {
		return filterWord{at: p.end}
	}
	return p.words[0]
}

func (p *filterParser) take() filterWord {
	w := p.next()
	p.words = p.words[min(1, len(p.words)):]
	return w
}

// accept takes the next word if it is one of these.
func (p *filterParser) accept(any ...string) string {
	if w := p.next(); w.text != "" && slices.Contains(any, w.text) {
		p.take()
		return w.text
	}
	return ""
}

func (p *filterParser) wrong(format string, args ...any) error {
	w := p.next()
	return &FilterError{At: w.at, Word: w.text, Problem: fmt.Sprintf(format, args...)}
}

func (p *filterParser) either() (test, error) {
	t, err := p.both()
	for err == nil && p.accept("or", "||") != "" {
		var more test
		if more, err = p.both(); err == nil {
			a := t
			t = func(k *Packet, part int) bool { return a(k, part) || more(k, part) }
		}
	}
	return t, err
}

func (p *filterParser) both() (test, error) {
	t, err := p.one()
	for err == nil && p.accept("and", "&&") != "" {
		var more test
		if more, err = p.one(); err == nil {
			a := t
			t = func(k *Packet, part int) bool { return a(k, part) && more(k, part) }
		}
	}
	return t, err
}

func (p *filterParser) one() (test, error) {
	switch w := p.accept("not", "!", "inner", "("); w {
	case "not", "!":
		t, err := p.one()
		return func(k *Packet, part int) bool { return !t(k, part) }, err
	case "inner":
		t, err := p.one()
		return func(k *Packet, _ int) bool { return len(k.Parts) > 1 && t(k, len(k.Parts)-1) }, err
	case "(":
		t, err := p.either()
		if err == nil && p.accept(")") == "" {
			err = p.wrong("a closing bracket is missing")
		}
		return t, err
	}
	return p.primitive()
}

func (p *filterParser) primitive() (test, error) {
	protocol := p.accept("arp", "ip", "ip6", "icmp", "icmp6", "tcp", "udp", "bgp", "vlan", "vni")
	switch protocol {
	case "":
	case "vlan":
		return p.tagged()
	case "vni":
		return p.numbered()
	case "tcp", "udp":
		if w := p.next().text; w != "src" && w != "dst" && w != "port" && w != "portrange" {
			return is(protocol), nil
		}
	default:
		return is(protocol), nil
	}
	way := p.accept("src", "dst")
	switch {
	case p.accept("port") != "":
		return p.ports(protocol, way, false)
	case p.accept("portrange") != "":
		return p.ports(protocol, way, true)
	case protocol != "":
		return nil, p.wrong("after %s %s stands port or portrange", protocol, way)
	case p.accept("host") != "":
		return p.host(way)
	case p.accept("net") != "":
		return p.net(way)
	case way != "":
		return nil, p.wrong("after %s stands host, net, port or portrange", way)
	case p.next().text == "":
		return nil, p.wrong("something must follow")
	}
	err := p.wrong("it is no word of the language of filters").(*FilterError)
	err.Unknown = !slices.Contains(FilterWords, err.Word)
	if !err.Unknown || err.Word == ")" {
		err.Unknown, err.Problem = false, "it cannot stand here"
	}
	return nil, err
}

func is(protocol string) test {
	of := map[string]layers.IPProtocol{"icmp": layers.IPProtocolICMPv4, "icmp6": layers.IPProtocolICMPv6, "tcp": layers.IPProtocolTCP, "udp": layers.IPProtocolUDP}
	return func(k *Packet, part int) bool {
		at := &k.Parts[part]
		switch protocol {
		case "arp":
			return slices.ContainsFunc(k.Layers, func(l Layer) bool {
				_, arp := l.Layer.(*layers.ARP)
				return arp && l.Part == part
			})
		case "ip":
			return at.IP && at.Src.Is4()
		case "ip6":
			return at.IP && at.Src.Is6()
		case "bgp":
			return at.IP && at.Protocol == layers.IPProtocolTCP && at.Ported && (at.SrcPort == bgpPort || at.DstPort == bgpPort)
		}
		return at.IP && at.Protocol == of[protocol]
	}
}

// number takes a number if there is one, and one that may be.
func (p *filterParser) number(what string, least, most int) (n int, ok bool, err error) {
	w := p.next().text
	if w == "" || w[0] < '0' || w[0] > '9' {
		return 0, false, nil
	}
	n, e := strconv.Atoi(w)
	if e != nil || n < least || n > most {
		return 0, false, p.wrong("%s is a number from %d to %d", what, least, most)
	}
	p.take()
	return n, true, nil
}

func (p *filterParser) tagged() (test, error) {
	id, given, err := p.number("a VLAN", 0, 4095)
	return func(k *Packet, part int) bool {
		tags := k.Parts[part].VLANs
		return len(tags) > 0 && (!given || slices.Contains(tags, id))
	}, err
}

func (p *filterParser) numbered() (test, error) {
	vni, given, err := p.number("a VNI", 0, 1<<24-1)
	return func(k *Packet, part int) bool {
		return slices.ContainsFunc(k.Parts[part+1:], func(in Part) bool { return in.Tunnel == "vxlan" && (!given || in.VNI == vni) })
	}, err
}

func (p *filterParser) ports(protocol, way string, several bool) (test, error) {
	var from, to int
	if several {
		low, high, ok := strings.Cut(p.next().text, "-")
		a, err1 := strconv.ParseUint(low, 10, 16)
		b, err2 := strconv.ParseUint(high, 10, 16)
		if !ok || err1 != nil || err2 != nil || a > b {
			return nil, p.wrong("a portrange is two numbers up to 65535, the lower first: 8000-8080")
		}
		p.take()
		from, to = int(a), int(b)
	} else {
		n, ok, err := p.number("a port", 0, 65535)
		if err == nil && !ok {
			err = p.wrong("a port is a number from 0 to 65535")
		}
		if err != nil {
			return nil, err
		}
		from, to = n, n
	}
	transport := is(protocol)
	in := func(port int) bool { return from <= port && port <= to }
	return func(k *Packet, part int) bool {
		at := &k.Parts[part]
		return at.Ported && (protocol == "" || transport(k, part)) && (way != "dst" && in(at.SrcPort) || way != "src" && in(at.DstPort))
	}, nil
}

func (p *filterParser) host(way string) (test, error) {
	w := p.next().text
	var all []netip.Addr
	if a, err := netip.ParseAddr(w); err == nil && a.Zone() == "" {
		all = []netip.Addr{a}
	} else if all = p.names[w]; len(all) == 0 {
		return nil, p.wrong("host wants an address, or the name of a machine or a pod that has one")
	}
	p.take()
	return between(way, func(a netip.Addr) bool { return slices.Contains(all, a) }), nil
}

func (p *filterParser) net(way string) (test, error) {
	prefix, err := netip.ParsePrefix(p.next().text)
	if err != nil {
		return nil, p.wrong("net wants a network: 10.42.0.0/16")
	}
	if whole := prefix.Masked(); whole != prefix {
		return nil, p.wrong("the network is %s; one address of it is a host", whole)
	}
	p.take()
	return between(way, prefix.Contains), nil
}

// between looks at the addresses of IP, and at those that ARP asks about and tells.
func between(way string, in func(netip.Addr) bool) test {
	return func(k *Packet, part int) bool {
		at := &k.Parts[part]
		return way != "dst" && at.Src.IsValid() && in(at.Src) || way != "src" && at.Dst.IsValid() && in(at.Dst)
	}
}
