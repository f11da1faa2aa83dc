package suite

import (
	"path"
	"strings"
	"testing"
)

// TestCulpritIsNamed breaks labs as workshops do. The first culprit that a check names has to be the place that was broken, with
// the reason, and a command that shows it.
func TestCulpritIsNamed(t *testing.T) {
	const mac = "mac=$(ip -n %s.worker2 -br link show flannel.1 | awk '{print $3}'); "
	for _, tt := range []struct {
		name, mode, damage string
		machine, device    string // empty: whichever
		reason             string
		most               int // culprits; 0: one
	}{
		{"forwarding is off", "host-gw", "ip netns exec %s.worker1 sysctl -qw net.ipv4.ip_forward=0", "worker1", "", "ip_forward is 0", 0},
		{"a route is missing", "vxlan", "ip -n %s.worker1 route del 10.42.2.0/24", "worker1", "", "no route to 10.42.2.", 0},
		{"routes lead in circles", "host-gw", "ip -n %s.worker1 route replace 10.42.2.0/24 via 192.168.205.4; ip -n %s.master route replace 10.42.2.0/24 via 192.168.205.3", "", "", "causes a loop", 2},
		{"a next hop is absent", "host-gw", "ip -n %s.worker1 route replace 10.42.2.0/24 via 192.168.205.77", "worker1", "eth0", "10.42.2.0/24 via 192.168.205.77", 0},
		{"there is no way back", "host-gw", "ip -n %s.worker2 route del 10.42.1.0/24", "worker2", "", "no route to 10.42.1.", 0},
		{"rp_filter is strict", "host-gw", "ip netns exec %s.worker1 sysctl -qw net.ipv4.conf.eth0.rp_filter=1; ip netns exec %s.worker1 nft 'add table ip t; add chain ip t c { type filter hook prerouting priority -150; }; add rule ip t c iifname cni0 meta mark set 1'; ip -n %s.worker1 rule add fwmark 1 lookup main priority 10; ip -n %s.worker1 rule add to 10.42.2.0/24 lookup 7 priority 11; ip -n %s.worker1 route add 10.42.2.0/24 dev cni0 table 7", "worker1", "", "rp_filter", 2},
		{"a neighbour is wrong", "vxlan", "ip -n %s.worker1 neigh replace 10.42.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent", "worker1", "flannel.1", "takes 02:00:00:00:00:99 for 10.42.2.0", 0},
		{"a neighbour on the underlay is wrong", "host-gw", "ip -n %s.worker1 neigh replace 192.168.205.5 lladdr 02:00:00:00:00:99 dev eth0 nud permanent", "worker1", "eth0", "takes 02:00:00:00:00:99 for 192.168.205.5", 0},
		{"an FDB entry is missing", "vxlan", mac + "bridge -n %s.worker1 fdb del $mac dev flannel.1", "worker1", "flannel.1", "has no forwarding entry for", 0},
		{"an FDB entry leads to another node", "vxlan", mac + "bridge -n %s.worker1 fdb replace $mac dev flannel.1 dst 192.168.205.4 self permanent", "worker1", "flannel.1", "to 192.168.205.4, which is not", 0},
		{"a VNI is another", "vxlan", vxlanAnew("id 7 dstport 8472"), "worker1", "flannel.1", "VNI 7", 0},
		{"a port of VXLAN is another", "vxlan", vxlanAnew("id 1 dstport 4789"), "worker1", "flannel.1", "port 4789", 0},
		{"a tunnel's MTU is low", "vxlan", "ip -n %s.worker1 link set flannel.1 mtu 1400", "worker1", "flannel.1", "which carries 1400", 0},
		{"a pod's MTU is high", "vxlan", "for l in cni0 $(ip -n %s.worker1 -br link show master cni0 | cut -d@ -f1); do ip -n %s.worker1 link set $l mtu 1500; done; for p in p1 p2; do ip -n %s.worker1.$p link set eth0 mtu 1500; done", "worker1/p1", "eth0", "carries 1500 bytes, and is to carry 1450", 3},
		{"a switch's port has a low MTU", "vxlan", "ip -n %s.lan link set worker1 mtu 1400", "lan", "worker1", "its port worker1 carries 1400", 0},
		{"a firewall drops the tunnel", "vxlan", "ip netns exec %s.worker1 nft 'add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in udp dport 8472 drop'", "worker1", "", "udp dport 8472 drop", 0},
		{"a firewall drops what is forwarded", "host-gw", "ip netns exec %s.worker1 nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; policy drop; }'", "worker1", "", "ip t f: the policy", 0},
		{"an agent of BGP is dead", "bgp", "pkill -9 -f __agent.%s.worker1.bgp; ip -n %s.worker1 route flush proto bgp", "worker1", "", "the agent bgp of worker1 does not run", 4},
		{"an agent of udp is dead", "udp", "pkill -9 -f __agent.%s.worker1.udp; for i in $(seq 200); do pgrep -f __agent.%s.worker1.udp || break; sleep 0.05; done", "worker1", "", "", 3},
		{"proxy_arp is off", "flannel-vxlan/calico-vxlan", "v=$(ip -n %s.node1 -br link | awk -F'[@ ]' '/^cali/ {print $1; exit}'); ip netns exec %s.node1 sysctl -qw net.ipv4.conf.$v.proxy_arp=0; for p in p1 p2; do ip -n %s.node1.$p neigh flush all; done", "node1", "cali*", "proxy_arp is 0", 0},
		{"an address is a node's as well", "host-gw", "ip -n %s.worker1 address add $(ip -n %s.worker2.p1 -br -4 address show eth0 | awk '{print $3}' | cut -d/ -f1)/32 dev eth0", "worker1", "", "has 10.42.2.", 2},
		{"a switch's port is down", "vxlan", "ip -n %s.lan link set worker1 down", "lan", "worker1", "is down", 0},
		{"an uplink is down", "host-gw", "ip -n %s.worker1 link set eth0 down", "worker1", "eth0", "is down", 0},
		{"a port is in no bridge", "host-gw", "ip -n %s.lan link set worker1 nomaster", "lan", "worker1", "is in no bridge", 2},
		{"a pod's device is down", "host-gw", "ip -n %s.worker1.p1 link set eth0 down", "worker1/p1", "eth0", "is down", 0},
		{"a route leads past the tunnel", "vxlan", "ip -n %s.worker1 route replace 10.42.0.0/24 via 192.168.205.4", "worker1", "eth0", "encapsulation none, and vxlan", 0},
		{"packets are masqueraded", "host-gw", "ip netns exec %s.worker1 nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 90; }; add rule ip t c ip saddr 10.42.0.0/16 oifname eth0 masquerade'", "worker1", "", "translates the packet", 0},
		{"nobody answers for a pod", "hybridnet-vlan/vlan", "ip -n %s.node1 neigh del proxy 10.20.0.3 dev eth0.20", "node1", "eth0.20", "must answer for 10.20.0.3", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, load(t, labOf(tt.mode)), "culprit", path.Base(tt.mode))
			up(t, p)
			sh(t, p, tt.damage)
			r := checked(t, p)
			var b strings.Builder
			r.Text(&b, 100, false)
			if len(r.Culprits) == 0 {
				t.Fatalf("no culprit:\n%s", b.String())
			}
			c := r.Culprits[0]
			device, any := strings.CutSuffix(tt.device, "*")
			if tt.machine != "" && c.Machine != tt.machine || tt.device != "" && c.Device != device && !(any && strings.HasPrefix(c.Device, device)) || !strings.Contains(c.Reason, tt.reason) || c.Command == "" || c.Pairs == 0 {
				t.Errorf("want %s %s: %s\n%s", tt.machine, tt.device, tt.reason, b.String())
			}
			if len(r.Culprits) > max(tt.most, 1) {
				t.Errorf("%d culprits:\n%s", len(r.Culprits), b.String())
			}
			if n := strings.Count(b.String(), "\n"); n > 20+8*len(r.Culprits) {
				t.Errorf("%d lines:\n%s", n, b.String())
			}
			if testing.Verbose() {
				t.Logf("%+v", r.Culprits)
			}
		})
	}
}

// vxlanAnew makes worker1's tunnel again with other settings, and with all that was in it.
func vxlanAnew(settings string) string {
	return "mac=$(ip -n %s.worker1 -br link show flannel.1 | awk '{print $3}'); n=$(ip -n %s.worker1 neigh show dev flannel.1); f=$(bridge -n %s.worker1 fdb show dev flannel.1 | grep dst); r=$(ip -n %s.worker1 route show dev flannel.1); a=$(ip -n %s.worker1 -br -4 address show flannel.1 | awk '{print $3}');" +
		"ip -n %s.worker1 link del flannel.1; ip -n %s.worker1 link add flannel.1 address $mac mtu 1450 type vxlan local 192.168.205.3 dev eth0 nolearning " + settings + "; ip -n %s.worker1 address add $a dev flannel.1; ip -n %s.worker1 link set flannel.1 up;" +
		`echo "$n" | while read ip _ m _; do ip -n %s.worker1 neigh replace $ip lladdr $m dev flannel.1 nud permanent; done; echo "$f" | while read m _ dst _; do bridge -n %s.worker1 fdb append $m dev flannel.1 dst $dst self permanent; done; echo "$r" | while read net _ via _; do ip -n %s.worker1 route add $net via $via dev flannel.1 onlink; done`
}
