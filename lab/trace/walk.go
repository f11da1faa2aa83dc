// Package trace describes how one packet travels through a lab: the hops it takes, what decided each, and where it ended. A
// walk is predicted from the tables of the kernel or captured from live frames; both are the same values, so that they can be
// laid side by side. The package touches no kernel.
package trace

import (
	"time"

	"labnet/lab/packet"
)

// Direction says whether a packet came in by a device or left by it.
type Direction string

const (
	In  Direction = "in"
	Out Direction = "out"
)

// Hop is a packet at one device. Two hops of different walks are the same place if namespace, device and direction agree.
type Hop struct {
	// Machine is the name that people use: worker1, worker1/p1, lan.
	Machine   string
	Namespace string
	Device    string
	Direction Direction
	// Time is counted from the first hop of the walk; it is zero in a prediction.
	Time time.Duration
	// Headers are those of the frame at this device, outermost first.
	Headers []packet.Header
	// Decision is what sent the packet on from here; nil where nothing was decided (the other end of a veth).
	Decision *Decision
	// Command shows the same, to copy: ip -n three-node.master route get 10.42.1.2 from 10.42.0.2 iif cni0.
	Command string
	// Frame is what was seen here; it is zero in a prediction.
	Frame Frame
}

// Frame is a frame as it was seen.
type Frame struct {
	Data   []byte // its beginning
	Length int    // of the whole
	Bare   bool   // it begins with the IP header
}

// Decision is what the kernel of one namespace decided about a packet. Only what took part is filled in, each as the usual
// tool prints it.
type Decision struct {
	// Text is the whole in a few words: "route 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink".
	Text      string `json:"text,omitempty"`
	Rule      string `json:"rule,omitempty"`      // of policy routing, where it is not one of the three that always exist
	Route     string `json:"route,omitempty"`     // the entry of the table that matched
	Neighbour string `json:"neighbour,omitempty"` // the entry that gave the link-layer address
	FDB       string `json:"fdb,omitempty"`       // the entry that gave a bridge's port or a VTEP
	Firewall  string `json:"firewall,omitempty"`  // the rule of nftables that decided
	NAT       string `json:"nat,omitempty"`       // how addresses or ports changed
	Tunnel    string `json:"tunnel,omitempty"`    // what was put around the packet or taken off it
}

// Walk is a packet's way from one place to another.
type Walk struct {
	Hops        []Hop
	Began       time.Duration // by the clock of the machine; zero in a prediction
	Disposition Disposition
	// Drop says where and why the packet ended; nil if it arrived.
	Drop *Drop
	// Blame is what to mend, where that is elsewhere than where the packet ended: a machine that has a wrong neighbour for another.
	// It is only known of a prediction; nil where there is nothing better to look at than Drop.
	Blame *Drop
	// Cut says where it was cut into fragments, which none of its hops is to do to a packet that fits; nil if it was not.
	Cut *Drop
	// Message: the packet is an ICMP error about another.
	Message bool
}

// Disposition is how a walk ends.
type Disposition string

const (
	Arrived          Disposition = "arrived"
	NoRoute          Disposition = "no route"
	Refused          Disposition = "refused by rule"
	TooBig           Disposition = "too big"
	NeighbourUnknown Disposition = "neighbour unknown"
	Loop             Disposition = "loop"
	Lost             Disposition = "lost" // for a reason that has no word of its own
)

// Drop is where and why a packet ended.
type Drop struct {
	Machine  string `json:"machine"`
	Device   string `json:"device"`
	Reason   string `json:"reason"`   // the kernel's word where there is one: IP_RPFILTER
	Location string `json:"location"` // the kernel's function, where it is known
	Sentence string `json:"sentence"` // the same for somebody who learns
	Command  string `json:"command"`  // where to look
}
