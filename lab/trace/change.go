package trace

import (
	"fmt"
	"slices"
	"strings"

	"labnet/lab/packet"
)

// Describe says what the packet is where it sets out.
func Describe(headers []packet.Header) string {
	var words []string
	for _, h := range headers {
		if h.Quoted { // by an ICMP error
			break
		}
		switch h.Protocol {
		case "ethernet":
			words = append(words, "frame for "+h.Destination)
		default:
			words = append(words, describe(h))
		}
	}
	return strings.Join(words, ", ")
}

func describe(h packet.Header) string {
	switch s := shown(h); {
	case h.Protocol == "ipv4" || h.Protocol == "ipv6":
		return fmt.Sprintf("%s → %s%s", h.Source, h.Destination, s)
	case h.Protocol == "ethernet":
		return "frame " + h.Source + " → " + h.Destination
	case h.Destination != "":
		return h.Protocol + " " + h.Destination + s
	default:
		return h.Protocol + s
	}
}

// shown are the fields of a header that tell what it is.
func shown(h packet.Header) string {
	text := ""
	for _, f := range h.Fields {
		switch f.Name {
		case "type":
			text += " " + f.Value
		case "ttl", "hop limit", "id", "vni", "flags":
			if f.Name != "id" || h.Protocol == "vlan" {
				text += " " + f.Name + " " + f.Value
			}
		}
	}
	return text
}

func field(h packet.Header, name string) string {
	i := slices.IndexFunc(h.Fields, func(f packet.Field) bool { return f.Name == name })
	if i < 0 {
		return ""
	}
	return h.Fields[i].Value
}

// Change says what is different about a packet from one device to the next: what was put around it or taken off, MAC
// addresses, TTL, translated addresses. It is empty where nothing is.
func Change(before, now []packet.Header) string {
	var words []string
	inner := common(before, now)
	added, gone := now[:len(now)-inner], before[:len(before)-inner]
	if around(added) || around(gone) {
		if text := encapsulation(gone, added); text != "" {
			words = append(words, text)
		}
	}
	was, is := before[len(before)-inner:], now[len(now)-inner:]
	for i := range is {
		words = append(words, differences(was[i], is[i])...)
	}
	return strings.Join(words, ", ")
}

// common is how many headers, from the innermost on, are of the same protocols.
func common(a, b []packet.Header) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n].Protocol == b[len(b)-1-n].Protocol {
		n++
	}
	return n
}

// around reports whether headers are more than a frame's own: a device without MAC addresses shows the packet without it.
func around(headers []packet.Header) bool {
	return slices.ContainsFunc(headers, func(h packet.Header) bool { return h.Protocol != "ethernet" })
}

// encapsulation says what was taken off and put around.
func encapsulation(gone, added []packet.Header) string {
	names := func(headers []packet.Header, each func(packet.Header) string) string {
		var words []string
		for _, h := range headers {
			words = append(words, each(h))
		}
		return strings.Join(words, ", ")
	}
	var words []string
	if around(gone) {
		words = append(words, fmt.Sprintf("−%d bytes: %s", bytes(gone), names(gone, func(h packet.Header) string { return h.Protocol })))
	}
	if around(added) {
		words = append(words, fmt.Sprintf("+%d bytes: %s", bytes(added), names(added, describe)))
	}
	return strings.Join(words, "; ")
}

func bytes(headers []packet.Header) int {
	n := 0
	for _, h := range headers {
		n += h.Bytes
	}
	return n
}

func differences(was, is packet.Header) []string {
	var words []string
	switch is.Protocol {
	case "ethernet":
		if was.Source != is.Source || was.Destination != is.Destination {
			words = append(words, "frame "+is.Source+" → "+is.Destination)
		}
		return words
	case "ipv4", "ipv6":
		if was.Source != is.Source {
			words = append(words, fmt.Sprintf("source %s becomes %s", was.Source, is.Source))
		}
		if was.Destination != is.Destination {
			words = append(words, fmt.Sprintf("destination %s becomes %s", was.Destination, is.Destination))
		}
	case "udp", "tcp":
		if was.Source != is.Source {
			words = append(words, fmt.Sprintf("source port %s becomes %s", was.Source, is.Source))
		}
		if was.Destination != is.Destination {
			words = append(words, fmt.Sprintf("port %s becomes %s", was.Destination, is.Destination))
		}
	}
	for _, name := range []string{"ttl", "hop limit", "vni"} {
		if v := field(is, name); v != field(was, name) {
			words = append(words, name+" "+v)
		}
	}
	if v := field(is, "id"); is.Protocol == "vlan" && v != field(was, "id") {
		words = append(words, "VLAN "+v)
	}
	return words
}
