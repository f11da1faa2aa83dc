package modes

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"labnet/lab/plan"
	"labnet/lab/traits"
)

// TestTraits: what a comparison says of a mode besides its cost.
func TestTraits(t *testing.T) {
	var got []string
	for _, s := range systems {
		p := build(cluster(t, s.name, s.settings, 3, 2, s.vlan, false, false), plan.AllFeatures())
		if p == nil {
			t.Fatalf("%s { %s } cannot be planned", s.name, s.settings)
		}
		tr := traits.Of(p)
		mark := func(is bool, word string) string {
			if is {
				return " " + word
			}
			return ""
		}
		got = append(got, fmt.Sprintf("%s: %d +%d%s%s%s%s%s; needs %s; cannot %s", strings.TrimSpace(s.name+" "+s.settings), tr.MTU, tr.Bytes,
			mark(tr.Routed, "routed"), mark(tr.IPv6, "ipv6"), mark(tr.LAN, "lan"), mark(tr.BGP, "bgp"), mark(tr.OwnPods, "own"),
			cmp.Or(strings.Join(tr.Needs, ", "), "-"), cmp.Or(strings.Join(tr.Cannot, ", "), "-")))
	}
	want := strings.Split(strings.TrimSpace(`
host-gw: 1500 +0 ipv6 own; needs nodes on one segment; cannot -
vxlan: 1450 +50 routed ipv6 own; needs UDP port 8472 between nodes; cannot -
vxlan direct = true: 1450 +0 routed ipv6 own; needs -; cannot -
vxlan like = "calico": 1450 +50 routed ipv6 own; needs UDP port 4789 between nodes; cannot -
vxlan like = "hybridnet": 1450 +50 routed own; needs UDP port 8472 between nodes; cannot IPv6
ipip: 1480 +20 routed own; needs IP protocol 4 between nodes; cannot IPv6
ipip direct = true: 1480 +0 routed own; needs -; cannot IPv6
ipip like = "calico": 1480 +20 routed own; needs IP protocol 4 between nodes; cannot IPv6
udp: 1472 +28 routed own; needs UDP port 8285 between nodes; cannot IPv6
bgp: 1500 +0 ipv6 bgp own; needs nodes on one segment; cannot -
bgp like = "bridge": 1500 +0 ipv6 bgp own; needs nodes on one segment; cannot -
bgp like = "hybridnet": 1500 +0 bgp own; needs nodes on one segment; cannot IPv6
macvlan: 1500 +0 ipv6 lan; needs addresses of the nodes' segment; cannot nodes and their own pods talk
macvlan vlan = 20: 1500 +4 ipv6 lan own; needs VLAN 20 on every node's port, addresses of the nodes' segment; cannot -
macvlan service_veth = true: 1500 +0 ipv6 lan own; needs addresses of the nodes' segment; cannot -
vlan: 1500 +4 lan own; needs VLAN 20 on every node's port, addresses of the nodes' segment; cannot IPv6
ipvlan: 1500 +0 ipv6 lan; needs addresses of the nodes' segment; cannot nodes and their own pods talk
ipvlan like = "l3": 1500 +0 ipv6 lan; needs addresses of the nodes' segment; cannot nodes and their own pods talk
`), "\n")
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
