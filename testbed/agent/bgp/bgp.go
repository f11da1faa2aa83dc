// Package bgp is the BGP speaker that runs in a node or a router of a lab, in place of BIRD, FRR or a vendor's switch. It is
// GoBGP, and beside it what GoBGP does not do: it writes what was learnt into the kernel's routing table, and keeps it there.
//
//	peers ──TCP 179── GoBGP ── best paths ──▶ wanted routes ──┐
//	                                                          ├─ difference ──▶ RTM_NEWROUTE, RTM_DELROUTE
//	        kernel ── routes of our protocol ──▶ what is there ┘
//
// A route of another node's pods leads to that node, which is the next hop it announced, by the interface in whose subnet the
// next hop is; or through an IPIP device, if the next hop is the outer destination there:
//
//	10.42.1.0/24 via 192.168.205.3 dev eth0 proto bgp
//	10.42.1.0/24 via 192.168.205.3 dev tunl0 proto bird onlink
//
// Routes are told apart by their protocol number: those of another protocol are never touched, and none is replaced.
//
// A speaker that ends, in whatever way, leaves its routes where they are, and does not tell its peers either: they hold what
// it announced until it is back (graceful restart, RFC 4724). The next one in its place takes the routes that it finds for
// stale: it removes those that no peer has announced again by the time that all of them have said all they had to say.
//
// One speaker among fifty takes about 25 MB of memory, of which it shares three quarters, the program itself, with the others.
// Ten that are each other's peers have all routes two seconds after their start, fifty with a reflector after three and a half:
// GoBGP waits one to two seconds before it first calls a peer (its version 4 two to four, which is why this is 3). It needs CAP_NET_ADMIN and, for port 179,
// CAP_NET_BIND_SERVICE in the network namespace of its process, which it does not choose: whoever starts the process does.
//
// What it cannot do: route refresh by policy, confederations, authentication, and any family but IPv4 and IPv6 unicast.
package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"labnet/modes/bgp/speaker"
)

// What a speaker is told is what the mode plans.
type (
	Config       = speaker.Config
	Announcement = speaker.Announcement
	Peer         = speaker.Peer
	Install      = speaker.Install
)

// Status is what a speaker knows.
type Status struct {
	Summary  string    `json:"summary"`
	Settled  bool      `json:"settled"` // all sessions are up, and all that there is to learn is in the kernel
	Lines    []string  `json:"lines"`   // sessions and routes, for people
	Sessions []Session `json:"sessions"`
	Routes   []Route   `json:"routes"`
}

// judge says in a word how things are.
func (s *Status) judge(c Config) {
	up, prefixes := 0, map[netip.Prefix]bool{}
	for _, session := range s.Sessions {
		line := fmt.Sprintf("peer %s AS %d: %s", session.Peer, session.AS, session.State)
		if session.State == "established" {
			up++
			line += fmt.Sprintf(" for %v, %d received, %d advertised", time.Duration(session.UpSeconds)*time.Second, session.Received, session.Advertised)
		}
		s.Lines = append(s.Lines, line)
	}
	for _, r := range s.Routes {
		line := fmt.Sprintf("%s via %s, learnt from %s", r.Prefix, r.NextHop, r.From)
		if r.Installed {
			prefixes[r.Prefix] = true
		} else {
			line += ", not in the kernel"
		}
		s.Lines = append(s.Lines, line)
	}
	s.Settled = up == len(c.Peers) && len(prefixes) >= c.Learns
	s.Summary = fmt.Sprintf("%d of %d sessions established, %d prefixes learnt", up, len(c.Peers), len(prefixes))
	if !s.Settled && up == len(c.Peers) {
		s.Summary += fmt.Sprintf(" of %d", c.Learns)
	}
}

// Session is the state of the session with one peer.
type Session struct {
	Peer       netip.Addr `json:"peer"`
	AS         uint32     `json:"as"`
	State      string     `json:"state"` // idle, active, opensent, openconfirm, established
	UpSeconds  int64      `json:"up_seconds"`
	Received   uint64     `json:"received"` // prefixes
	Accepted   uint64     `json:"accepted"`
	Advertised uint64     `json:"advertised"`
}

// Route is a learnt prefix by one next hop.
type Route struct {
	Prefix    netip.Prefix `json:"prefix"`
	NextHop   netip.Addr   `json:"next_hop"`
	From      netip.Addr   `json:"from"` // the peer
	Installed bool         `json:"installed"`
}

const (
	defaultPort = 179
	mainTable   = 254
)

func port(c Config) uint16 {
	if c.Port != 0 {
		return c.Port
	}
	return defaultPort
}

func families(p Peer) []string {
	switch {
	case len(p.Families) > 0:
		return p.Families
	case p.Address.Is4():
		return []string{"ipv4"}
	}
	return []string{"ipv6"}
}

// Validate reports everything that is wrong with a configuration.
func validate(c Config) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.AS == 0 {
		wrong("as: an AS number from 1 on is needed")
	}
	if !c.RouterID.Is4() {
		wrong("router_id: %s is no IPv4 address", c.RouterID)
	}
	if len(c.Listen) == 0 {
		wrong("listen: at least one address is needed")
	}
	for _, a := range c.Listen {
		if !a.IsValid() {
			wrong("listen: an address is empty")
		}
	}
	for _, a := range c.Announce {
		if !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() {
			wrong("announce: %s is no prefix of a network", a.Prefix)
		} else if !a.NextHop.IsValid() || a.NextHop.Is4() != a.Prefix.Addr().Is4() {
			wrong("announce %s: the next hop %s is not of its family", a.Prefix, a.NextHop)
		}
	}
	seen := map[netip.Addr]bool{}
	for _, p := range c.Peers {
		switch {
		case !p.Address.IsValid():
			wrong("peer: an address is empty")
			continue
		case seen[p.Address]:
			wrong("peer %s: it is there twice", p.Address)
		case local(c, p).Compare(p.Address) == 0:
			wrong("peer %s: that is this speaker itself", p.Address)
		case !local(c, p).IsValid():
			wrong("peer %s: no listen address is of its family", p.Address)
		}
		seen[p.Address] = true
		if p.AS == 0 {
			wrong("peer %s: an AS number from 1 on is needed", p.Address)
		}
		if p.Client && p.AS != c.AS {
			wrong("peer %s: a client of a route reflector is of its AS %d, not %d", p.Address, c.AS, p.AS)
		}
		if p.ClusterID.IsValid() && !p.ClusterID.Is4() {
			wrong("peer %s: the cluster id %s is no IPv4 address", p.Address, p.ClusterID)
		}
		for _, f := range p.Families {
			if family(f) == nil {
				wrong("peer %s: the family %q is neither ipv4 nor ipv6", p.Address, f)
			}
		}
	}
	if i := c.Install; i != nil {
		if i.Protocol <= 4 || i.Protocol > 255 { // up to 4 they are the kernel's and the administrator's
			wrong("install: %d is no protocol number of a routing daemon: bgp is 186, bird is 12", i.Protocol)
		}
		if i.Direct && i.Tunnel == "" {
			wrong("install: direct leaves out a tunnel, and there is none")
		}
		for _, p := range i.Within {
			if !p.IsValid() {
				wrong("install: a prefix is empty")
			}
		}
	}
	return errors.Join(errs...)
}

// local is the own address that the session with a peer runs from.
func local(c Config, p Peer) netip.Addr {
	for _, a := range c.Listen {
		if a.Is4() == p.Address.Is4() {
			return a
		}
	}
	return netip.Addr{}
}
