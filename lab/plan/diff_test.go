package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a node with a bridge, a pod on it, and a route through its uplink.
func small() *State {
	s := &State{}
	s.Add(
		Namespace{Name: "l.n", Alias: Owner{"l", "n", "node"}.String()},
		Namespace{Name: "l.n.p", Alias: Owner{"l", "n/p", "pod"}.String()},
		Namespace{Name: "l.sw", Alias: Owner{"l", "sw", "switch"}.String()},
		Link{Namespace: "l.sw", Name: "br0", Device: Bridge{}, MTU: 1500, TxQueueLen: 1000},
		Link{Namespace: "l.n", Name: "eth0", Device: Veth{Peer: End{"l.sw", "n"}}, MTU: 1500, TxQueueLen: 1000},
		Link{Namespace: "l.sw", Name: "n", Device: Veth{Peer: End{"l.n", "eth0"}}, MTU: 1500, TxQueueLen: 1000, Port: Port{Bridge: "br0"}},
		NewAddress("l.n", "eth0", netip.MustParsePrefix("192.0.2.1/24")),
		Route{Namespace: "l.n", Table: TableMain, Dst: netip.MustParsePrefix("10.1.0.0/24"), Via: netip.MustParseAddr("192.0.2.2"), Dev: "eth0", Protocol: ProtocolBoot},
		Link{Namespace: "l.n", Name: "cni0", Device: Bridge{}, MTU: 1500, TxQueueLen: 1000},
		Link{Namespace: "l.n", Name: "veth1", Device: Veth{Peer: End{"l.n.p", "eth0"}}, MTU: 1500, Port: Port{Bridge: "cni0", Hairpin: true}},
		Link{Namespace: "l.n.p", Name: "eth0", Device: Veth{Peer: End{"l.n", "veth1"}}, MTU: 1500},
		NewAddress("l.n.p", "eth0", netip.MustParsePrefix("10.0.0.2/24")),
		Route{Namespace: "l.n.p", Table: TableMain, Dst: Everywhere(false), Via: netip.MustParseAddr("10.0.0.1"), Dev: "eth0", Protocol: ProtocolBoot},
		Sysctl{Namespace: "l.n.p", Path: "net/ipv4/conf/eth0/arp_notify", Value: "1", Link: "eth0"},
	)
	s.Resolve()
	return s
}

// onDevice has, besides, what stands on the uplink and needs no address of it.
func onDevice() *State {
	s := with(small(),
		Neighbour{Namespace: "l.n", Link: "eth0", Addr: netip.MustParseAddr("10.2.0.1"), MAC: "02:00:00:00:00:01"},
		Neighbour{Namespace: "l.n", Link: "eth0", Addr: netip.MustParseAddr("10.2.0.2"), Proxy: true},
		Neighbour{Namespace: "l.n", Link: "eth0", Addr: netip.MustParseAddr("fd00::2"), Proxy: true},
		Route{Namespace: "l.n", Table: 100, Dst: netip.MustParsePrefix("10.2.0.0/24"), Dev: "eth0", Scope: "link", Protocol: ProtocolBoot},
	)
	s.Resolve()
	return s
}

func lines(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.Lines()...)
	}
	return out
}

func without(s *State, keys ...Key) *State {
	for _, k := range keys {
		if s.Get(k) == nil {
			panic("no " + k.String())
		}
		s.Remove(k)
	}
	return s
}

func with(s *State, objects ...Object) *State {
	for _, o := range objects {
		s.Remove(o.Key())
		s.Add(o)
	}
	return s
}

func TestDiffBuildsParentsFirst(t *testing.T) {
	made := map[Key]bool{}
	for _, c := range Diff(&State{}, small()) {
		if c.Op != Create {
			t.Errorf("%s of %s on an empty machine", c.Op, c.Object.Key())
		}
		for _, p := range c.Object.Parents() {
			if small().Get(p) != nil && !made[p] {
				t.Errorf("%s is made before %s, which it stands on", c.Object.Key(), p)
			}
		}
		made[c.Object.Key()] = true
	}
	if len(made) != small().Len() {
		t.Errorf("%d of %d objects are made", len(made), small().Len())
	}
}

func TestDiff(t *testing.T) {
	uplink := small().Get(Key{"l.n", KindLink, "eth0"}).(Link)
	address := small().Get(Key{"l.n", KindAddress, "eth0 192.0.2.1/24"}).(Address)
	pod := small().Get(Key{"l.n.p", KindLink, "eth0"}).(Link)
	bridge := small().Get(Key{"l.n", KindLink, "cni0"}).(Link)
	route := small().Get(Key{"l.n", KindRoute, "254 10.1.0.0/24"}).(Route)
	wide, longer, down, moved, other, silent := uplink, address, bridge, route, bridge, address
	silent.Broadcast = netip.Addr{}
	second := NewAddress("l.n", "eth0", netip.MustParsePrefix("198.51.100.1/24"))
	wide.MTU = 9000
	longer.Prefix, longer.Broadcast = netip.MustParsePrefix("192.0.2.1/25"), netip.MustParseAddr("192.0.2.127")
	down.Down = true
	moved.Via = netip.MustParseAddr("192.0.2.3")
	other.Device = Other("dummy")
	for _, tt := range []struct {
		name            string
		actual, desired *State
		want            []string
	}{
		{"nothing", small(), small(), nil},
		{"an attribute is changed in place", with(small(), wide), small(), []string{
			"ip -n l.n link set dev eth0 mtu 1500",
		}},
		{"a link is set up", with(small(), down), small(), []string{
			"ip -n l.n link set dev cni0 up",
		}},
		{"settings that no plan speaks of are put back", with(small(),
			Sysctl{Namespace: "l.n", Path: "net/ipv4/conf/eth0/rp_filter", Value: "1", Link: "eth0"},
			Sysctl{Namespace: "l.n", Path: "net/ipv4/conf/all/arp_ignore", Value: "8"},
			Sysctl{Namespace: "l.n", Path: "net/bridge/bridge-nf-call-iptables", Value: "1"},
		), small(), []string{
			"ip netns exec l.n sysctl -qw net/ipv4/conf/all/arp_ignore=0",
			"ip netns exec l.n sysctl -qw net/ipv4/conf/eth0/rp_filter=0",
		}},
		{"settings go with their link", with(small(),
			Link{Namespace: "l.n", Name: "eth9", Device: Other("dummy")}, Sysctl{Namespace: "l.n", Path: "net/ipv4/conf/eth9/rp_filter", Value: "1", Link: "eth9"},
		), small(), []string{
			"ip -n l.n link del dev eth9",
		}},
		{"a route is replaced", with(small(), moved), small(), []string{
			"ip -n l.n route replace 10.1.0.0/24 via 192.0.2.2 dev eth0",
		}},
		{"an address takes the routes that need it along", with(without(small(), address.Key()), longer), small(), []string{
			"ip -n l.n route del 10.1.0.0/24 via 192.0.2.2 dev eth0",
			"ip -n l.n address del 192.0.2.1/25 dev eth0",
			"ip -n l.n address add 192.0.2.1/24 broadcast 192.0.2.255 dev eth0",
			"ip -n l.n route replace 10.1.0.0/24 via 192.0.2.2 dev eth0",
		}},
		{"the last address takes all of its family along", with(onDevice(), silent), onDevice(), []string{
			"ip -n l.n route del 10.1.0.0/24 via 192.0.2.2 dev eth0",
			"ip -n l.n address del 192.0.2.1/24 dev eth0",
			"ip -n l.n address add 192.0.2.1/24 broadcast 192.0.2.255 dev eth0",
			"ip -n l.n neighbour replace 10.2.0.1 dev eth0 lladdr 02:00:00:00:00:01 nud permanent",
			"ip -n l.n neighbour add proxy 10.2.0.2 dev eth0",
			"ip -n l.n route replace 10.2.0.0/24 dev eth0 table 100 scope link",
			"ip -n l.n route replace 10.1.0.0/24 via 192.0.2.2 dev eth0",
		}},
		{"another address keeps it", with(onDevice(), silent, second), with(onDevice(), second), []string{
			"ip -n l.n route del 10.1.0.0/24 via 192.0.2.2 dev eth0",
			"ip -n l.n address del 192.0.2.1/24 dev eth0",
			"ip -n l.n address add 192.0.2.1/24 broadcast 192.0.2.255 dev eth0",
			"ip -n l.n route replace 10.1.0.0/24 via 192.0.2.2 dev eth0",
		}},
		{"a foreign link goes with all that is on it", with(small(),
			Link{Namespace: "l.n", Name: "x", Device: Other("dummy"), MTU: 1500},
			NewAddress("l.n", "x", netip.MustParsePrefix("203.0.113.1/32"))), small(), []string{
			"ip -n l.n link del dev x",
		}},
		{"a pod goes", small(), without(small(), Key{"l.n.p", KindNamespace, ""}, pod.Key(), Key{"l.n", KindLink, "veth1"},
			Key{"l.n.p", KindAddress, "eth0 10.0.0.2/24"}, Key{"l.n.p", KindRoute, "254 0.0.0.0/0"}, Key{"l.n.p", KindSysctl, "net/ipv4/conf/eth0/arp_notify"}), []string{
			"ip -n l.n link del dev veth1",
			"ip netns del l.n.p",
		}},
		{"a bridge is made anew, and its ports", with(small(), other), small(), []string{
			"ip -n l.n link del dev veth1",
			"ip -n l.n link del dev cni0",
			"ip -n l.n link add name cni0 mtu 1500 txqueuelen 1000 type bridge",
			"ip -n l.n link set dev cni0 up",
			"ip -n l.n link add name veth1 mtu 1500 txqueuelen 0 type veth peer name eth0 netns l.n.p",
			"ip -n l.n link set dev veth1 master cni0 up",
			"bridge -n l.n link set dev veth1 hairpin on",
			"ip -n l.n.p link set dev eth0 mtu 1500 txqueuelen 0",
			"ip -n l.n.p link set dev eth0 up",
			"ip netns exec l.n.p sysctl -qw net/ipv4/conf/eth0/arp_notify=1",
			"ip -n l.n.p address add 10.0.0.2/24 broadcast 10.0.0.255 dev eth0",
			"ip -n l.n.p route replace default via 10.0.0.1 dev eth0",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.actual.Resolve()
			tt.desired.Resolve()
			got := lines(Diff(tt.actual, tt.desired))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDeviceOfProgramsIsYounger than the device that feeds it: when that is made anew, or is not there, it is made again, as
// the kernel's own would be.
func TestDeviceOfProgramsIsYounger(t *testing.T) {
	state := func(uplink string) *State {
		s := &State{}
		s.Add(Namespace{"l.n", "x"}, Link{Namespace: "l.n", Name: "tunl0", Device: IFB{}, MTU: 1480})
		if uplink != "" {
			s.Add(
				Link{Namespace: "l.n", Name: uplink, Device: Other("dummy"), MTU: 1500},
				Qdisc{Namespace: "l.n", Link: uplink, Type: "clsact"},
				Program{Namespace: "l.n", Link: uplink, Priority: 1, Does: "ipip-decap", To: "tunl0"},
			)
		}
		return s
	}
	for _, before := range []string{"", "ens192"} {
		got := lines(Diff(state(before), state("eth0")))
		gone, made := slices.Index(got, "ip -n l.n link del dev tunl0"), slices.Index(got, "ip -n l.n link add name tunl0 mtu 1480 txqueuelen 0 type ifb")
		if uplink := slices.Index(got, "ip -n l.n link add name eth0 mtu 1500 txqueuelen 0 type dummy"); gone < 0 || made < gone || uplink < gone {
			t.Errorf("before it was %q: %q", before, got)
		}
	}
	if got := lines(Diff(state("eth0"), state("eth0"))); len(got) > 0 {
		t.Errorf("nothing has changed, and yet: %q", got)
	}
}

// TestPairGoesWhole: a bridge is made anew, and takes along its ports; a port that came with its other end is made with that.
func TestPairGoesWhole(t *testing.T) {
	pair := func(sub string) *State {
		s := &State{}
		s.Add(
			Namespace{"l.a", "x"}, Namespace{"l.b", "x"},
			Link{Namespace: "l.b", Name: "br0", Device: Bridge{Odd: sub}, MTU: 1500},
			Link{Namespace: "l.a", Name: "eth0", Device: Veth{Peer: End{"l.b", "port"}}, MTU: 1500},
			Link{Namespace: "l.b", Name: "port", Device: Veth{Peer: End{"l.a", "eth0"}}, MTU: 1500, Port: Port{Bridge: "br0"}},
		)
		return s
	}
	want := []string{
		"ip -n l.b link del dev br0",
		"ip -n l.a link del dev eth0",
		"ip -n l.a link add name eth0 mtu 1500 txqueuelen 0 type veth peer name port netns l.b",
		"ip -n l.a link set dev eth0 up",
		"ip -n l.b link add name br0 mtu 1500 txqueuelen 0 type bridge",
		"ip -n l.b link set dev br0 up",
		"ip -n l.b link set dev port mtu 1500 txqueuelen 0",
		"ip -n l.b link set dev port master br0 up",
	}
	if diff := cmp.Diff(want, lines(Diff(pair("other"), pair("")))); diff != "" {
		t.Error(diff)
	}
}

// TestDiffIsStable: the same states give the same text, whatever the order of maps.
func TestDiffIsStable(t *testing.T) {
	want := lines(Diff(&State{}, small()))
	for range 20 {
		if got := lines(Diff(&State{}, small())); !slices.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	names := []string{"worker10", "worker2", "lan", "worker2.p10", "worker2.p9", "worker02"}
	slices.SortFunc(names, Natural)
	if got, want := strings.Join(names, " "), "lan worker02 worker2 worker2.p9 worker2.p10 worker10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNth(t *testing.T) {
	for _, tt := range []struct {
		block string
		n     int
		want  string
	}{
		{"10.42.0.0/24", 1, "10.42.0.1"},
		{"10.42.0.0/16", 256, "10.42.1.0"},
		{"10.42.0.0/16", 511, "10.42.1.255"},
		{"fd00:1::/64", 65536, "fd00:1::1:0"},
	} {
		if got := Nth(netip.MustParsePrefix(tt.block), tt.n).String(); got != tt.want {
			t.Errorf("Nth(%s, %d) = %s, want %s", tt.block, tt.n, got, tt.want)
		}
	}
}
