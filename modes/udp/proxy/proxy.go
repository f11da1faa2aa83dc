// Package proxy is the configuration of the udp agent, which the mode writes and the agent reads.
package proxy

import "net/netip"

// Config is what a proxy is told: a TUN device, and where its packets go over UDP.
type Config struct {
	Device string     `json:"device"`
	MTU    int        `json:"mtu"`
	Local  netip.Addr `json:"local"` // sent from and listened on
	Port   int        `json:"port"`
	Routes []Route    `json:"routes"`
}

// Route says to which node packets of a block go.
type Route struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}
