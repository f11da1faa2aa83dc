// Package packet reads frames: bytes in, the stack of their headers out, as people know them from tcpdump and Wireshark.
// It touches no kernel.
package packet

// Header is one header of a frame.
type Header struct {
	// Protocol is its name: ethernet, vlan, arp, ipv4, ipv6, icmp, icmpv6, udp, tcp, vxlan, flannel-udp, bgp.
	Protocol string `json:"protocol"`
	// Source and Destination are its addresses (a MAC, an IP address) or its ports, as text; empty where it has none.
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination,omitempty"`
	// Fields are what else is worth seeing, in the order of the header: ttl, id, vni, flags, type.
	Fields []Field `json:"fields,omitempty"`
	// Bytes is the length of the header itself, without what it carries.
	Bytes int `json:"bytes"`
}

// Field is one field of a header with its value as text.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
