package testbed_test

import (
	"strings"
	"testing"

	"labnet/lab/plan"
)

// TestEveryKind builds an object of every kind; what is read back is what was wanted.
func TestEveryKind(t *testing.T) {
	lab := prefix + "every"
	s := everything(lab)
	probe(t)
	t.Cleanup(func() { down(t, lab) })
	up(t, lab, s)
	for _, table := range []string{"ip masq", "ip6 empty", "inet mixed"} {
		got := run(t, "", "ip", "netns", "exec", lab+".n1", "nft", "list", "table", table[:strings.Index(table, " ")], table[strings.Index(table, " ")+1:])
		want := listing(s, lab+".n1", table)
		if got != want {
			t.Errorf("nft prints\n%s\nand the plan is\n%s", got, want)
		}
	}
}

// listing is a table of the plan as nft(8) lists it.
func listing(s *plan.State, ns, table string) string {
	for _, c := range plan.Diff(&plan.State{}, s) {
		if k := c.Object.Key(); k.Namespace == ns && k.Kind == plan.KindTable && k.Name == table {
			return c.Ruleset().Text()
		}
	}
	return ""
}

// TestDrift changes one thing with the ordinary tools; up sees just that, and mends it.
func TestDrift(t *testing.T) {
	probe(t)
	lab := prefix + "drift"
	t.Cleanup(func() { down(t, lab) })
	s := everything(lab)
	up(t, lab, s)
	for _, tt := range []struct {
		damage string // %n: node n1; %p: its pod; %l: the switch
		want   string // what up then does, by operation and object, without those that follow from it
	}{
		{"ip -n %n route del 10.42.2.0/24", "create n1 route 254 10.42.2.0/24"},
		{"ip -n %n route replace 10.42.2.0/24 via 192.168.205.2", "update n1 route 254 10.42.2.0/24"},
		{"ip -n %n route del 10.50.0.0/16 metric 20", "create n1 route 254 10.50.0.0/16 metric 20"},
		{"ip -n %n route del throw 10.52.0.0/16 table 100", "create n1 route 100 10.52.0.0/16"},
		{"ip -n %n route replace blackhole 10.51.0.0/16 table 1000", "update n1 route 1000 10.51.0.0/16"},
		{"ip -n %n -6 route del fd00:0:0:2::/64", "create n1 route 254 fd00:0:0:2::/64"},
		{"ip -n %n -6 route del default", "create n1 route 254 ::/0"},
		{"ip -n %p route del default", "create n1.p1 route 254 0.0.0.0/0"},
		{"ip -n %n route add 203.0.113.0/24 via 192.168.205.2", "delete n1 route 254 203.0.113.0/24"},
		{"ip -n %n route add 203.0.113.0/24 via 192.168.205.2; ip -n %n route append 203.0.113.0/24 via 192.168.205.3", "delete n1 route 254 203.0.113.0/24"},
		{"ip -n %n route append 10.42.2.0/24 via 192.168.205.3", "delete n1 route 254 10.42.2.0/24"},
		{"ip -n %n route add 203.0.113.0/24 tos 0x10 via 192.168.205.2; ip -n %n route add 203.0.113.0/24 via 192.168.205.2", "delete n1 route 254 203.0.113.0/24"},
		{"ip -n %n route add 203.0.113.0/24 nexthop via 192.168.205.2 nexthop via 192.168.205.3", "delete n1 route 254 203.0.113.0/24"},
		{"ip -n %n route replace 10.42.2.0/24 nexthop via 192.168.205.2 nexthop via 192.168.205.3", "update n1 route 254 10.42.2.0/24"},
		{"ip -n %n route replace 10.55.0.0/16 metric 7 mtu 1400 nexthop via 192.168.205.2 weight 255 nexthop via 10.42.1.7 weight 2", "update n1 route 254 10.55.0.0/16 metric 7"},
		{"ip -n %n route replace 10.55.0.0/16 metric 7 mtu 1400 nexthop via 192.168.205.2 weight 255", "update n1 route 254 10.55.0.0/16 metric 7"},
		{"ip -n %n route replace 10.55.0.0/16 metric 7 mtu 1400 nexthop via 192.168.205.2 weight 255 nexthop via 10.42.1.7 dev cni0 onlink", "create n1 route 254 10.55.0.0/16 metric 7"},
		{"ip -n %n route del 10.55.0.0/16 metric 7", "create n1 route 254 10.55.0.0/16 metric 7"},
		{"ip -n %n route append 10.55.0.0/16 metric 7 via 192.168.205.3", "delete n1 route 254 10.55.0.0/16 metric 7"},
		{"ip -n %n -6 route replace fd00:0:0:55::/64 nexthop via fd00::2 weight 3 nexthop via fd00::7 weight 9", "create n1 route 254 fd00:0:0:55::/64"},
		{"ip -n %n -6 route del fd00:0:0:55::/64 via fd00::7", "create n1 route 254 fd00:0:0:55::/64"},
		{"ip -n %n -6 route append fd00:0:0:55::/64 via fd00::9", "create n1 route 254 fd00:0:0:55::/64"},
		{"ip -n %n -6 route del fd00:0:0:55::/64", "create n1 route 254 fd00:0:0:55::/64"},
		{"ip -n %n -6 route add 2001:db8::/64 via fd00::2; ip -n %n -6 route append 2001:db8::/64 via fd00::3", "delete n1 route 254 2001:db8::/64"},
		{"ip -n %n -6 route append fd00:0:0:2::/64 via fd00::3", "create n1 route 254 fd00:0:0:2::/64"},
		{"ip -n %n nexthop add id 5 via 192.168.205.2 dev eth0; ip -n %n route add 203.0.113.0/24 nhid 5", "delete n1 route 254 203.0.113.0/24"},
		{"ip -n %n route add local 203.0.113.0/24 dev lo table 100", "delete n1 route 100 203.0.113.0/24"},
		{"ip -n %n route add prohibit 203.0.113.0/24 table 7", "delete n1 route 7 203.0.113.0/24"},
		{"ip -n %n rule del prio 100", "create n1 rule inet 100: from 10.42.1.0/24 lookup 1000"},
		{"ip -n %n rule add prio 5 from 203.0.113.0/24 lookup 7", "delete n1 rule inet 5: from 203.0.113.0/24 lookup 7"},
		{"ip -n %n rule add prio 5 iif cni0 lookup 7; ip -n %n rule add prio 5 iif eth0 lookup 7", "delete n1 rule inet 5: from all lookup 7"},
		{"ip -n %n rule add prio 100 from 10.42.1.0/24 iif cni0 lookup 1000", "delete n1 rule inet 100: from 10.42.1.0/24 lookup 1000"},
		{"ip -n %n -6 rule add prio 5 to 2001:db8::/64 lookup 7", "delete n1 rule inet6 5: from all to 2001:db8::/64 lookup 7"},
		{"ip -n %n rule add prio 5 not from 203.0.113.0/24 prohibit", "delete n1 rule inet 5"},
		{"ip -n %n rule add prio 5 from 203.0.113.0/24 goto 100", "delete n1 rule inet 5"},
		{"ip -n %n address del 192.168.205.1/24 dev eth0", "create n1 address eth0 192.168.205.1/24"},
		{"ip -n %n address add 203.0.113.1/24 dev cni0", "delete n1 address cni0 203.0.113.1/24"},
		{"ip -n %n address add 203.0.113.1 peer 203.0.113.2/32 dev cni0; ip -n %n address add 203.0.113.1 peer 203.0.113.3/32 dev cni0", "delete n1 address cni0 203.0.113.1"},
		{"ip -n %n -6 address add 2001:db8::1/64 dev cni0", "delete n1 address cni0 2001:db8::1/64"},
		{"ip -n %p -6 address del fd00:0:0:1::2/64 dev eth0", "create n1.p1 address eth0 fd00:0:0:1::2/64"},
		{"ip -n %n route del 10.42.1.0/24 dev cni0 proto kernel", "create n1 address cni0 10.42.1.1/24"},
		{"ip -n %n neigh del 10.42.2.0 dev vx0", "create n1 neighbour vx0 10.42.2.0"},
		{"ip -n %n neigh replace 10.42.2.0 dev vx0 lladdr 02:00:00:00:00:99 nud permanent", "update n1 neighbour vx0 10.42.2.0"},
		{"ip -n %n neigh add 203.0.113.9 dev eth0 lladdr 02:00:00:00:00:99 nud permanent", "delete n1 neighbour eth0 203.0.113.9"},
		{"ip -n %n neigh del proxy 10.77.0.1 dev eth0", "create n1 neighbour eth0 proxy 10.77.0.1"},
		{"ip -n %n neigh add proxy 10.77.0.2 dev cni0", "delete n1 neighbour cni0 proxy 10.77.0.2"},
		{"ip -n %n neigh add proxy fd00::77 dev cni0", "delete n1 neighbour cni0 proxy fd00::77"},
		{"bridge -n %n fdb del 02:11:00:00:00:02 dev vx0", "create n1 FDB entry vx0 02:11:00:00:00:02 192.168.205.2"},
		{"bridge -n %n fdb add 02:11:00:00:00:77 dev vx0 dst 192.168.205.7", "delete n1 FDB entry vx0 02:11:00:00:00:77 192.168.205.7"},
		{"ip -n %n link set eth0 mtu 1400", "update n1 link eth0"},
		{"ip -n %n link set eth0 txqueuelen 77", "update n1 link eth0"},
		{"ip -n %n link set eth0 address 02:00:00:00:00:77", "update n1 link eth0"},
		{"ip -n %n link set vx0 gso_max_segs 9", "update n1 link vx0"},
		{"ip -n %n link set cni0 gso_max_segs 9; ip -n %n link set eth0 gso_max_segs 9", "update n1 link eth0"},
		{"ip -n %l link set n1 nomaster", "update lan link n1"},
		{"bridge -n %n link set dev veth0 hairpin off", "update n1 link veth0"},
		{"ip -n %l link set n1 down", "update lan link n1"},
		{"ip -n %n link set lo down", "update n1 namespace"},
		{"ip -n %n link del vx0", "create n1 link vx0"},
		{"ip -n %n link del vx0; ip -n %n link add vx0 type vxlan id 8 dstport 8472 local 192.168.205.1 dev eth0 nolearning", "create n1 link vx0"},
		{"ip -n %n link del vx0; ip -n %n link add vx0 type bridge", "create n1 link vx0"},
		{"ip -n %p link del eth0", "create n1 link veth0"},
		{"ip -n %p link del eth0; ip -n %p link add eth0 type veth peer name veth9", "create n1 link veth0"},
		{"ip -n %p link set eth0 down; ip -n %p link set eth0 name eth7; ip -n %p link set eth7 up", "create n1 link veth0"},
		{"ip -n %n link add foreign type bridge", "delete n1 link foreign"},
		{"ip -n %n link add foreign type veth peer name foreign2", "delete n1 link foreign"},
		{"ip -n %n link add foreign type veth peer name foreign2 netns %p; ip -n %n link set foreign master cni0", "delete n1 link foreign"},
		{"ip -n %n link add link eth0 foreign type macvlan", "delete n1 link foreign"},
		{"ip -n %n tuntap add foreign mode tun", "delete n1 link foreign"},
		{"tc -n %n qdisc del dev eth0 root", "create n1 qdisc eth0"},
		{"tc -n %n qdisc replace dev eth0 root tbf rate 1mbit burst 15000 limit 150000", "update n1 qdisc eth0"},
		{"tc -n %n qdisc replace dev eth0 root handle 7: htb", "create n1 qdisc eth0"},
		{"tc -n %n qdisc add dev eth0 parent 1:1 handle 10: pfifo limit 3", "create n1 qdisc eth0"},
		{"tc -n %n qdisc add dev cni0 root handle 7: htb", "delete n1 qdisc cni0"},
		{"tc -n %n qdisc add dev cni0 root pfifo limit 3", "delete n1 qdisc cni0"},
		{"tc -n %l qdisc add dev n1 clsact", "delete lan qdisc n1 clsact"},
		{"tc -n %l qdisc add dev n1 ingress", "delete lan qdisc n1 ingress"},
		{"tc -n %n qdisc del dev eth0 clsact", "create n1 qdisc eth0 clsact"},
		{"tc -n %n qdisc del dev eth0 clsact; tc -n %n qdisc add dev eth0 ingress", "delete n1 qdisc eth0 ingress"},
		{"tc -n %n filter del dev eth0 ingress pref 1010", "create n1 eBPF program eth0 ingress 1010"},
		{"tc -n %n filter del dev tunnel egress", "create n1 eBPF program tunnel egress 1"},
		{"tc -n %n filter add dev eth0 ingress pref 7 u32 match u32 0 0", "delete n1 eBPF program eth0 ingress 7"},
		{"tc -n %n filter add dev eth0 egress pref 1 protocol ip u32 match ip dst 203.0.113.1", "delete n1 eBPF program eth0 egress 1"},
		{"tc -n %n filter add dev eth0 ingress chain 5 pref 1 u32 match u32 0 0", "delete n1 eBPF program eth0 ingress 1 chain 5"},
		{"tc -n %n filter add dev eth0 ingress pref 1 handle 9 bpf bytecode '1,6 0 0 0'", "delete n1 eBPF program eth0 ingress 1"},
		{"tc -n %n filter replace dev eth0 ingress pref 1 handle 1 bpf bytecode '1,6 0 0 0'", "delete n1 eBPF program eth0 ingress 1"},
		{"ip -n %n link del eth0.10", "create n1 link eth0.10"},
		{"ip -n %n link del tunnel; ip -n %n link add tunnel type bridge", "create n1 link tunnel"},
		{"ip -n %n link set eth0.10 arp off", "update n1 link eth0.10"},
		{"bridge -n %n link set dev cni0-in learning on", "update n1 link cni0-in"},
		{"ip netns exec %n sysctl -qw net.ipv4.ip_forward=0", "update n1 sysctl net/ipv4/ip_forward"},
		{"ip netns exec %n sysctl -qw net.ipv4.conf.eth0.proxy_arp=0", "update n1 sysctl net/ipv4/conf/eth0/proxy_arp"},
		{"ip netns exec %n sysctl -qw net.ipv4.neigh.eth0.gc_stale_time=60", "update n1 sysctl net/ipv4/neigh/eth0/gc_stale_time"},
		{"ip netns exec %n nft delete table ip masq", "create n1 nft table ip masq"},
		{"ip netns exec %n nft flush chain ip masq forward", "create n1 nft rule ip masq forward 0"},
		{"ip netns exec %n nft insert rule ip masq forward ct state established accept", "delete n1 nft rule ip masq forward handle"},
		{"ip netns exec %n nft add rule ip masq forward rt mtu 1000 accept", "delete n1 nft rule ip masq forward handle"},
		{"ip netns exec %n nft add rule ip masq postrtg index 1 counter", "delete n1 nft rule ip masq postrtg handle"},
		{"ip netns exec %n nft add chain ip6 empty c", "delete n1 nft chain ip6 empty c"},
		{"ip netns exec %n nft add set ip6 empty c '{ type ipv6_addr; }'", "delete n1 nft set ip6 empty c"},
		{"ip netns exec %n nft add counter ip6 empty c", "delete n1 nft object ip6 empty counter c"},
		{"ip netns exec %n nft add element inet mixed nets '{ 192.0.2.0/24 }'", "delete n1 nft element inet mixed nets 192.0.2.0/24"},
		{"ip netns exec %n nft delete element inet mixed nets '{ 10.7.0.1-10.7.0.9 }'", "create n1 nft element inet mixed nets 10.7.0.1-10.7.0.9"},
		{"ip netns exec %n nft delete element inet mixed dispatch '{ 10.43.0.1 . tcp . 80 }'", "create n1 nft element inet mixed dispatch 10.43.0.1 . tcp . 80"},
		{"ip netns exec %n nft 'delete element inet mixed dispatch { 10.43.0.3 . tcp . 80 }; add element inet mixed dispatch { 10.43.0.3 . tcp . 80 : accept }'", "update n1 nft element inet mixed dispatch 10.43.0.3 . tcp . 80"},
		{"ip netns exec %n nft 'chain inet mixed forward { policy drop; }'", "update n1 nft chain inet mixed forward"},
		{"ip netns exec %n nft 'delete element inet mixed dispatch { 10.43.0.1 . tcp . 80, 10.43.0.2 . tcp . 80 }; flush chain inet mixed web; delete chain inet mixed web; add chain inet mixed web'", "create n1 nft chain inet mixed web"},
		{"ip netns exec %n nft 'add table ip masq { flags dormant; }'", "update n1 nft table ip masq"},
		{"ip netns exec %n nft add table inet mine", "delete n1 nft table inet mine"},
		{"ip netns exec %n nft add table netdev mine; ip netns exec %n nft add chain netdev mine c '{ type filter hook ingress device eth0 priority 0; }'", "delete n1 nft table netdev mine"},
		{"ip netns del %p; sleep 0.3", "create n1.p1 namespace"},
	} {
		t.Run(tt.damage, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					down(t, lab)
					apply(t, lab, s)
				}
			})
			line := strings.NewReplacer("%n", lab+".n1", "%p", lab+".n1.p1", "%l", lab+".lan").Replace(tt.damage)
			run(t, "", "sh", "-euc", line)
			changes := pending(t, lab, s)
			if len(changes) == 0 {
				t.Error("nobody noticed")
			}
			found := false
			for _, c := range changes {
				what := summary(lab, c)
				found = found || strings.HasPrefix(what, tt.want)
				// A bridge without ports forgets its MTU; and a route is written again when nothing reached its next hop.
				if c.Op == plan.Update && what != tt.want && what != "update n1 link cni0" && !(strings.Contains(tt.want, "address cni0") && what == "update n1 route 254 10.55.0.0/16 metric 7") {
					t.Errorf("up would also %s: %s", what, strings.Join(c.Lines(), "; "))
				}
			}
			if !found {
				t.Errorf("up would not %s, but\n%s", tt.want, lines(changes))
			}
			up(t, lab, s)
		})
	}
}

// summary names a change as the tests do: update n1 link eth0.
func summary(lab string, c plan.Change) string {
	k := c.Object.Key()
	return strings.TrimSpace(c.Op.String() + " " + strings.TrimPrefix(k.Namespace, lab+".") + " " + k.Kind.String() + " " + k.Name)
}
