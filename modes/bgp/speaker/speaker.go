// Package speaker is the configuration of the bgp agent, which the mode writes and the agent reads.
package speaker

import "net/netip"

// Config is what a speaker is told: what it announces, with whom it speaks, and how it writes what it learns
// into the kernel.
type Config struct {
	AS       uint32         `json:"as"`
	RouterID netip.Addr     `json:"router_id"`
	Listen   []netip.Addr   `json:"listen"`         // own addresses; sessions run from them too
	Port     uint16         `json:"port,omitempty"` // 179 where left out, here and at the peers
	Announce []Announcement `json:"announce,omitempty"`
	Peers    []Peer         `json:"peers,omitempty"`
	Install  *Install       `json:"install,omitempty"` // nothing learnt goes into the kernel where left out
	// Learns is how many prefixes are installed once everybody has spoken; the speaker says when it has come to that.
	Learns int `json:"learns,omitempty"`
	// Restart is for how many seconds peers are asked to hold the routes of a speaker that has gone away; 0 is for none.
	Restart uint16 `json:"restart,omitempty"`
}

// Announcement is a prefix that this machine can be reached by.
type Announcement struct {
	Prefix   netip.Prefix `json:"prefix"`
	NextHop  netip.Addr   `json:"next_hop"`            // an address of this machine
	NoExport bool         `json:"no_export,omitempty"` // for the neighbouring AS, and not for those behind it
}

// Peer is the other end of a session.
type Peer struct {
	Address netip.Addr `json:"address"`
	AS      uint32     `json:"as"`
	// Passive waits for the peer to connect. Of two speakers one should, or else they may connect crosswise and start again.
	Passive bool `json:"passive,omitempty"`
	// Client makes this speaker a route reflector, and the peer its client.
	Client    bool       `json:"client,omitempty"`
	ClusterID netip.Addr `json:"cluster_id,omitzero"` // of the reflector; its router id where left out
	// Hops is how many routers away a peer of another AS may be, and 1 where left out.
	Hops     uint8    `json:"hops,omitempty"`
	Families []string `json:"families,omitempty"` // "ipv4", "ipv6"; the address's own where left out
}

// Install says how learnt routes are written into the kernel.
type Install struct {
	Within   []netip.Prefix `json:"within"`   // only prefixes inside these; they are the speaker's own ground
	Protocol int            `json:"protocol"` // 186 is bgp, 12 is bird
	Table    int            `json:"table,omitempty"`
	Metric   int            `json:"metric,omitempty"`
	// Tunnel is a device that takes the next hop for the outer destination (tunl0): routes lead through it, "onlink".
	Tunnel string `json:"tunnel,omitempty"`
	// Direct leaves the tunnel out where the next hop is in a subnet of this machine (Calico's CrossSubnet).
	Direct bool `json:"direct,omitempty"`
	// Multipath spreads over all next hops that are equally good, as the switch of a rack does.
	Multipath bool `json:"multipath,omitempty"`
}
