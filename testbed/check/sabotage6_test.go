package check

import (
	"strings"
	"testing"
)

// TestSabotageIPv6 damages what carries IPv6 in a lab of both families. The check has to fail by the right name there, and
// to find nothing wrong with IPv4. LAB stands for the lab's name.
func TestSabotageIPv6(t *testing.T) {
	for _, tt := range []struct{ name, mode, damage, want, seen string }{
		{"fdb6", "vxlan", "bridge -n LAB.node1 fdb show dev flannel-v6.1 | awk '/dst/ {print $1}' | xargs -n1 -I{} bridge -n LAB.node1 fdb del {} dev flannel-v6.1",
			Reach, "nothing within"},
		{"mtu6", "vxlan", "ip -n LAB.node1 link set flannel-v6.1 mtu 1400", MTU, "1430 bytes do not arrive"},
		{"under6", "vxlan", "ip -6 -n LAB.node1 route replace fd00:42:0:1::/64 via fd00:205::3", Wire, "is not encapsulated"},
		{"masquerade6", "host-gw", "ip netns exec LAB.node1 nft 'add table ip6 t; add chain ip6 t c { type nat hook postrouting priority 90; }; add rule ip6 t c ip6 saddr fd00:42::/48 oifname eth0 masquerade'",
			Source, "fd00:205::2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, dual, tt.name, tt.mode)
			sh(t, strings.ReplaceAll(tt.damage, "LAB", p.Cluster.Name))
			r := checked(t, p)
			found := false
			for _, c := range r.Checks {
				if !c.OK && c.Family != "ipv6" {
					t.Errorf("%s of %s → %s fails over %s: %s", c.Name, c.From, c.To, c.Family, c.Seen)
				}
				found = found || !c.OK && c.Name == tt.want && strings.Contains(c.Seen, tt.seen)
			}
			if !found {
				t.Errorf("no %s check saw %q:\n%s", tt.want, tt.seen, text(r))
			}
		})
	}
}
