package plan

import (
	"encoding/json"
	"net/netip"
)

// Proxy is the configuration of the udp agent: a TUN device, and where its packets go over UDP.
type Proxy struct {
	Device string       `json:"device"`
	MTU    int          `json:"mtu"`
	Local  netip.Addr   `json:"local"` // sent from and listened on
	Port   int          `json:"port"`
	Routes []ProxyRoute `json:"routes"`
}

// ProxyRoute says to which node packets of a block go.
type ProxyRoute struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

// Text is the configuration as an agent reads it.
func (p Proxy) Text() string { return text(p) }

func text(config any) string {
	b, err := json.Marshal(config)
	if err != nil {
		panic("plan: " + err.Error()) // a configuration is plain data
	}
	return string(b)
}
