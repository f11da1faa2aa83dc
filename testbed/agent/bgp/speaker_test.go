package bgp_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/testbed/agent/bgp"
)

const soon = 15 * time.Second // longer than anything should take; what it does take is logged

// TestMesh: the nodes learn each other's blocks, in the form that the real daemons' routes have.
func TestMesh(t *testing.T) {
	const n = 10
	f := newFabric(t, n)
	var speakers []*process
	begin := time.Now()
	for i := 1; i <= n; i++ {
		speakers = append(speakers, f.launch(node(i), mesh(i, n)))
	}
	for i := 1; i <= n; i++ {
		f.learns(node(i), soon, viaAll(n, i)...)
	}
	t.Logf("%d nodes converged in %v", n, time.Since(begin).Round(10*time.Millisecond))
	all, own := speakers[0].ready().rss()
	t.Logf("a speaker takes %.1f MB, of which it shares all but %.1f MB with the others", all, own)

	status := speakers[0].status()
	for i, s := range status.Sessions {
		want := bgp.Session{Peer: addr(i + 2), AS: 64512, State: "established", UpSeconds: s.UpSeconds, Received: 1, Accepted: 1, Advertised: 1}
		if s != want {
			t.Errorf("session %+v, want %+v", s, want)
		}
	}
	for i, r := range status.Routes {
		if want := (bgp.Route{Prefix: block(i + 2), NextHop: addr(i + 2), From: addr(i + 2), Installed: true}); r != want {
			t.Errorf("route %+v, want %+v", r, want)
		}
	}
	if len(status.Sessions) != n-1 || len(status.Routes) != n-1 {
		t.Errorf("%d sessions and %d routes, want %d", len(status.Sessions), len(status.Routes), n-1)
	}
}

// TestKill: a speaker that is killed and comes back costs no route, neither on its own machine nor on another, be it one of
// many or the reflector of all.
func TestKill(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(i, n int) bgp.Config
		victim int
	}{
		{"in a mesh", mesh, 2}, // passive to one peer and not to the other
		{"reflector", reflected, 1},
		{"client of a reflector", reflected, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 4
			f := newFabric(t, n)
			speakers := map[int]*process{}
			for i := 1; i <= n; i++ {
				speakers[i] = f.launch(node(i), c.config(i, n))
			}
			for i := 1; i <= n; i++ {
				speakers[i].ready()
				f.learns(node(i), soon, viaAll(n, i)...)
			}
			var removed []func() []string
			for i := 1; i <= n; i++ {
				removed = append(removed, f.monitor(node(i)))
			}
			speakers[c.victim].kill()
			time.Sleep(500 * time.Millisecond)
			for i := 1; i <= n; i++ {
				f.learns(node(i), 0, viaAll(n, i)...)
			}
			begin := time.Now()
			victim := f.start(node(c.victim), c.config(c.victim, n))
			if !eventually(soon, func() bool { return established(victim.status()) }) {
				t.Fatalf("sessions after the restart: %+v", victim.status().Sessions)
			}
			t.Logf("sessions are back after %v", time.Since(begin).Round(10*time.Millisecond))
			if !eventually(soon, func() bool {
				s := victim.status()
				return !slices.ContainsFunc(s.Sessions, func(s bgp.Session) bool { return s.Received == 0 || s.Advertised == 0 })
			}) {
				t.Errorf("status after the restart: %+v", victim.status())
			}
			time.Sleep(7 * time.Second) // past the time for which peers wait for one another
			for i := 1; i <= n; i++ {
				if lost := removed[i-1](); len(lost) > 0 {
					t.Errorf("%s lost routes:\n%s", node(i), strings.Join(lost, "\n"))
				}
				f.learns(node(i), 0, viaAll(n, i)...)
			}
		})
	}
}

func established(s bgp.Status) bool {
	return len(s.Sessions) > 0 && !slices.ContainsFunc(s.Sessions, func(s bgp.Session) bool { return s.State != "established" })
}

// TestWithdrawn: what a speaker announces no longer goes, at the others and, when they have not said it again, at one that was
// away meanwhile.
func TestWithdrawn(t *testing.T) {
	f := newFabric(t, 3)
	speakers := map[int]*process{}
	for i := 1; i <= 3; i++ {
		cfg := mesh(i, 3)
		cfg.Announce = append(cfg.Announce, bgp.Announcement{Prefix: block(100 + i), NextHop: addr(i)})
		speakers[i] = f.start(node(i), cfg)
	}
	extra := func(i int) string { return fmt.Sprintf("%s via %s dev eth0 proto bgp", block(100+i), addr(i)) }
	for i := 1; i <= 3; i++ {
		want := viaAll(3, i)
		for j := 1; j <= 3; j++ {
			if j != i {
				want = append(want, extra(j))
			}
		}
		f.learns(node(i), soon, want...)
	}
	speakers[1].kill()
	speakers[2].kill()
	f.start(node(2), mesh(2, 3)) // it no longer has block 102
	f.learns(node(3), soon, append(viaAll(3, 3), extra(1))...)
	f.learns(node(1), 0, append(viaAll(3, 1), extra(2), extra(3))...)
	f.start(node(1), mesh(1, 3))
	f.learns(node(1), soon, append(viaAll(3, 1), extra(3))...)
	f.learns(node(2), soon, append(viaAll(3, 2), extra(3))...)
	f.learns(node(3), soon, viaAll(3, 3)...)
}

// TestRepair: a route that somebody removes or changes comes back, and so do those that go with a link; routes of others stay.
func TestRepair(t *testing.T) {
	f := newFabric(t, 3)
	f.batch(node(1), fmt.Sprintf("route add %s via %s proto 80\nroute add %s via %s proto boot metric 7\nroute add blackhole %s proto bgp\n"+
		"route add 10.99.0.0/24 via %s proto bgp\n", block(3), lan, block(2), lan, block(1), lan))
	for i := 1; i <= 3; i++ {
		f.launch(node(i), mesh(i, 3))
	}
	others := []string{
		"blackhole " + block(1).String() + " proto bgp",
		fmt.Sprintf("%s via %s dev eth0 proto 80", block(3), lan),
		fmt.Sprintf("%s via %s dev eth0 metric 7", block(2), lan),
	}
	whole := append([]string{via(2)}, others...)
	f.learns(node(1), soon, whole...)

	for _, damage := range []string{
		"route del " + via(2),
		"route replace " + block(2).String() + " via " + lan.String() + " proto bgp",
		"link set eth0 down\nlink set eth0 up\nroute add default via " + lan.String() +
			fmt.Sprintf("\nroute add %s via %s proto 80\nroute add %s via %s proto boot metric 7\nroute add 10.99.0.0/24 via %s proto bgp", block(3), lan, block(2), lan, lan),
	} {
		begin := time.Now()
		f.batch(node(1), damage+"\n")
		f.learns(node(1), soon, whole...)
		t.Logf("%q repaired in %v", strings.SplitN(damage, "\n", 2)[0], time.Since(begin).Round(10*time.Millisecond))
	}
	if out, err := exec.Command("ip", "-n", node(1), "route", "show", "10.99.0.0/24").CombinedOutput(); err != nil || len(out) == 0 {
		t.Errorf("the route outside the speaker's prefixes went: %v %s", err, out)
	}
	f.batch(node(1), fmt.Sprintf("route del %s via %s proto 80\n", block(3), lan)) // makes room
	f.learns(node(1), soon, via(2), via(3), others[0], others[2])
}

// TestForms: how learnt routes look, to a node of the same subnet and to one behind the router: plain, through an IPIP device, and
// through it off the subnet only.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		name    string
		install bgp.Install
		want    []string
	}{
		{"plain", bgp.Install{Protocol: 12}, []string{
			"10.42.1.0/24 via 192.168.205.4 dev eth0 proto bird", "10.42.2.0/24 via 192.168.205.1 dev eth0 proto bird"}},
		{"tunnel", bgp.Install{Protocol: 12, Tunnel: "tunl0"}, []string{
			"10.42.1.0/24 via 192.168.205.4 dev tunl0 proto bird onlink", "10.42.2.0/24 via 192.168.206.5 dev tunl0 proto bird onlink"}},
		{"tunnel off the subnet", bgp.Install{Protocol: 12, Tunnel: "tunl0", Direct: true, Metric: 1024}, []string{
			"10.42.1.0/24 via 192.168.205.4 dev eth0 proto bird metric 1024",
			"10.42.2.0/24 via 192.168.206.5 dev tunl0 proto bird metric 1024 onlink"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFabric(t, 3)
			f.batch(fabricSwitch, "addr add 192.168.206.1/24 dev br0\n")
			f.batch(node(3), "route flush table main\naddr flush dev eth0\naddr add 192.168.206.5/24 dev eth0\nroute add default via 192.168.206.1\n")
			if out, err := exec.Command("ip", "netns", "exec", fabricSwitch, "sysctl", "-qw", "net.ipv4.ip_forward=1").CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			f.batch(node(1), "link add tunl0 type veth peer name end\nlink set end up\nlink set tunl0 up\naddr add 10.42.0.0/32 dev tunl0\n") // stands for an IPIP device
			there := netip.MustParseAddr("192.168.206.5")
			one := plain(1, bgp.Peer{Address: addr(2), AS: 64512, Passive: true}, bgp.Peer{Address: there, AS: 64512, Passive: true})
			c.install.Within = one.Install.Within
			one.Install = &c.install
			three := plain(3, bgp.Peer{Address: addr(1), AS: 64512})
			three.Listen, three.Announce[0].NextHop = []netip.Addr{there}, there
			f.launch(node(1), one)
			f.launch(node(2), plain(2, bgp.Peer{Address: addr(1), AS: 64512}))
			f.launch(node(3), three)
			f.learns(node(1), soon, c.want...)
		})
	}
}

// TestRack: the nodes are each an AS of their own, and the switch of their rack is their only peer. What it passes on leads from
// node to node, not through it; what is not for export it keeps to itself.
func TestRack(t *testing.T) {
	f := newFabric(t, 3)
	tor := bgp.Config{
		AS: 65000, RouterID: lan, Listen: []netip.Addr{lan}, Restart: 60,
		Install: &bgp.Install{Within: []netip.Prefix{pods}, Protocol: 186, Metric: 20, Multipath: true},
	}
	shared := netip.MustParsePrefix("10.42.200.0/24") // of which each node has a part
	for i := 1; i <= 3; i++ {
		as := uint32(65000 + i)
		tor.Peers = append(tor.Peers, bgp.Peer{Address: addr(i), AS: as, Passive: true})
		cfg := plain(i, bgp.Peer{Address: lan, AS: 65000})
		cfg.AS = as
		pod := netip.PrefixFrom(block(i).Addr().Next(), 32)
		cfg.Announce = append(cfg.Announce, bgp.Announcement{Prefix: shared, NextHop: addr(i)}, bgp.Announcement{Prefix: pod, NextHop: addr(i), NoExport: true})
		f.launch(node(i), cfg)
	}
	f.launch(fabricSwitch, tor)
	f.learns(fabricSwitch, soon,
		"10.42.0.0/24 via 192.168.205.3 dev br0 proto bgp metric 20", "10.42.0.1 via 192.168.205.3 dev br0 proto bgp metric 20",
		"10.42.1.0/24 via 192.168.205.4 dev br0 proto bgp metric 20", "10.42.1.1 via 192.168.205.4 dev br0 proto bgp metric 20",
		"10.42.2.0/24 via 192.168.205.5 dev br0 proto bgp metric 20", "10.42.2.1 via 192.168.205.5 dev br0 proto bgp metric 20",
		"10.42.200.0/24 proto bgp metric 20 nexthop via 192.168.205.3 dev br0 weight 1 nexthop via 192.168.205.4 dev br0 weight 1 nexthop via 192.168.205.5 dev br0 weight 1")
	for i := 1; i <= 3; i++ {
		f.learns(node(i), soon, viaAll(3, i)...)
	}
}

// TestOneAS: the nodes are one AS, the switch of the rack another, and nothing that is learnt is installed on the nodes.
func TestOneAS(t *testing.T) {
	f := newFabric(t, 2)
	tor := bgp.Config{
		AS: 200, RouterID: lan, Listen: []netip.Addr{lan}, Restart: 60,
		Install: &bgp.Install{Within: []netip.Prefix{pods}, Protocol: 186, Metric: 20, Multipath: true},
	}
	for i := 1; i <= 2; i++ {
		tor.Peers = append(tor.Peers, bgp.Peer{Address: addr(i), AS: 100, Passive: true})
		f.launch(node(i), bgp.Config{
			AS: 100, RouterID: addr(i), Listen: []netip.Addr{addr(i)}, Restart: 60,
			Announce: []bgp.Announcement{{Prefix: pods, NextHop: addr(i)}, {Prefix: netip.PrefixFrom(block(i).Addr().Next(), 32), NextHop: addr(i), NoExport: true}},
			Peers:    []bgp.Peer{{Address: lan, AS: 200}},
		})
	}
	f.launch(fabricSwitch, tor)
	f.learns(fabricSwitch, soon,
		"10.42.0.0/16 proto bgp metric 20 nexthop via 192.168.205.3 dev br0 weight 1 nexthop via 192.168.205.4 dev br0 weight 1",
		"10.42.0.1 via 192.168.205.3 dev br0 proto bgp metric 20", "10.42.1.1 via 192.168.205.4 dev br0 proto bgp metric 20")
	time.Sleep(time.Second)
	f.learns(node(1), 0)
}
