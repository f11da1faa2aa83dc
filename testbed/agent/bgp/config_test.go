package bgp_test

import (
	"net/netip"
	"strings"
	"testing"

	"labnet/testbed/agent/bgp"
)

func TestNew(t *testing.T) {
	other := bgp.Peer{Address: addr(2), AS: 64512}
	for _, c := range []struct {
		name   string
		change func(*bgp.Config)
		want   string // nothing where it is right
	}{
		{"right", func(c *bgp.Config) {}, ""},
		{"no AS", func(c *bgp.Config) { c.AS = 0 }, "as: an AS number"},
		{"router id", func(c *bgp.Config) { c.RouterID = netip.MustParseAddr("fd00::1") }, "router_id: fd00::1"},
		{"deaf", func(c *bgp.Config) { c.Listen = nil }, "listen: at least one"},
		{"host bits", func(c *bgp.Config) { c.Announce[0].Prefix = netip.MustParsePrefix("10.42.0.1/24") }, "announce: 10.42.0.1/24"},
		{"next hop's family", func(c *bgp.Config) { c.Announce[0].NextHop = netip.MustParseAddr("fd00::1") }, "announce 10.42.0.0/24"},
		{"no peer address", func(c *bgp.Config) { c.Peers[0].Address = netip.Addr{} }, "peer: an address"},
		{"twice", func(c *bgp.Config) { c.Peers = append(c.Peers, other) }, "peer 192.168.205.4: it is there twice"},
		{"itself", func(c *bgp.Config) { c.Peers[0].Address = addr(1) }, "peer 192.168.205.3: that is this speaker"},
		{"no address of the family", func(c *bgp.Config) { c.Peers[0].Address = netip.MustParseAddr("fd00::2") }, "peer fd00::2: no listen"},
		{"peer without AS", func(c *bgp.Config) { c.Peers[0].AS = 0 }, "peer 192.168.205.4: an AS"},
		{"foreign client", func(c *bgp.Config) { c.Peers[0].AS, c.Peers[0].Client = 65000, true }, "peer 192.168.205.4: a client"},
		{"cluster id", func(c *bgp.Config) { c.Peers[0].ClusterID = netip.IPv6Loopback() }, "the cluster id ::1"},
		{"family", func(c *bgp.Config) { c.Peers[0].Families = []string{"vpnv4"} }, `the family "vpnv4"`},
		{"the kernel's protocol", func(c *bgp.Config) { c.Install.Protocol = 2 }, "install: 2 is no protocol"},
		{"direct without a tunnel", func(c *bgp.Config) { c.Install.Direct = true }, "install: direct"},
		{"empty prefix", func(c *bgp.Config) { c.Install.Within = []netip.Prefix{{}} }, "install: a prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := plain(1, other)
			c.change(&cfg)
			_, err := bgp.New(cfg, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
