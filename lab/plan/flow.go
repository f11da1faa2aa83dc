package plan

import (
	"fmt"
	"net/netip"
)

// Flow is what is asked about: packets from one endpoint to another, of one family.
type Flow struct {
	From, To Endpoint
	Protocol string // tcp, udp, icmp; empty: whatever it is, the answer is the same
	Port     int    // that it is sent to; 0 likewise
}

// Back is the answer to it.
func (f Flow) Back() Flow { return Flow{From: f.To, To: f.From, Protocol: f.Protocol} }

// Expectation is what is promised of a flow.
type Expectation struct {
	Reachable   bool       // packets arrive, and answers come back
	OneWay      bool       // packets arrive, and answers get lost
	Lost        string     // where they are not: why
	Source      netip.Addr // what the receiver sees as the sender; the zero Addr where nothing is promised of it
	Destination netip.Addr // what the receiver sees as the destination; the zero Addr where nobody receives it
	MTU         int        // the largest IP packet that passes whole
	Spread      bool       // flows take ways that differ: of the source, the MTU and the underlay nothing can be said of one flow
	Wire        bool       // whether the packets leave the sender's node by its uplink
	Encap       Encap      // what they look like there
}

// Encap is an encapsulation on the underlay; the zero value is none.
type Encap struct {
	Type     string // "" or what a tunnel's device is called: "vxlan", "ipip"; "udp" (IP in UDP), "vlan"
	Overhead int    // bytes by which the outer IP packet is longer than the inner one
	VNI      int
	Port     int
	VLAN     int        // the tag of the frame
	Src, Dst netip.Addr // outer addresses
}

func (e Encap) String() string {
	s := e.Type
	switch {
	case s == "":
		return "none"
	case s == "vlan":
		return fmt.Sprintf("802.1Q vlan %d", e.VLAN)
	case s == "udp":
		return fmt.Sprintf("IP in UDP port %d, %s > %s", e.Port, e.Src, e.Dst)
	case e.VNI != 0:
		s += fmt.Sprintf(" vni %d, udp port %d", e.VNI, e.Port)
	}
	return fmt.Sprintf("%s, %s > %s", s, e.Src, e.Dst)
}
