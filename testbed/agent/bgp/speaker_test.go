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

const soon = time.Minute // longer than anything should take; what it does take is logged

// A speaker that comes back tells its peers late that it has said all, one that passes on what it hears the latest. Only then do
// they remove what it has not said again.
const saidAll, passedAll = 3 * time.Second, 6 * time.Second

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
		over   time.Duration
	}{
		{"in a mesh", mesh, 2, saidAll}, // passive to one peer and not to the other
		{"reflector", reflected, 1, passedAll},
		{"client of a reflector", reflected, 3, saidAll},
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
			time.Sleep(c.over)
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

// TestForms: how learnt routes look, to a node of the same subnet and to one of another AS behind
// the router: plain, through an IPIP device, and
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
			one := plain(1, bgp.Peer{Address: addr(2), AS: 64512, Passive: true}, bgp.Peer{Address: there, AS: 65003, Passive: true, Hops: 2})
			c.install.Within = one.Install.Within
			one.Install = &c.install
			three := plain(3, bgp.Peer{Address: addr(1), AS: 64512, Hops: 2})
			three.AS, three.Listen, three.Announce[0].NextHop = 65003, []netip.Addr{there}, there
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

// TestAllAtOnce: when all speakers are killed and started anew, as with a new configuration, no route goes for a moment.
func TestAllAtOnce(t *testing.T) {
	for name, config := range map[string]func(i, n int) bgp.Config{"mesh": mesh, "reflector": reflected} {
		t.Run(name, func(t *testing.T) {
			const n = 5
			f := newFabric(t, n)
			speakers := map[int]*process{}
			for i := 1; i <= n; i++ {
				speakers[i] = f.launch(node(i), config(i, n))
			}
			var removed []func() []string
			for i := 1; i <= n; i++ {
				speakers[i].ready()
				f.learns(node(i), soon, viaAll(n, i)...)
				removed = append(removed, f.monitor(node(i)))
			}
			for i := 1; i <= n; i++ {
				speakers[i].kill()
			}
			for i := 1; i <= n; i++ {
				speakers[i] = f.launch(node(i), config(i, n))
			}
			for i := 1; i <= n; i++ {
				if p := speakers[i].ready(); !eventually(soon, func() bool { s := p.status(); return established(s) && len(s.Routes) == n-1 }) {
					t.Errorf("%s: %+v", p.ns, p.status())
				}
			}
			time.Sleep(passedAll)
			for i := 1; i <= n; i++ {
				if lost := removed[i-1](); len(lost) > 0 {
					t.Errorf("%s lost routes:\n%s", node(i), strings.Join(lost, "\n"))
				}
				f.learns(node(i), 0, viaAll(n, i)...)
			}
		})
	}
}

// TestReflectorAside: a reflector that installs nothing, on a machine that is no node, comes back as gracefully.
func TestReflectorAside(t *testing.T) {
	f := newFabric(t, 2)
	aside := bgp.Config{AS: 64512, RouterID: lan, Listen: []netip.Addr{lan}, Restart: 60}
	for i := 1; i <= 2; i++ {
		aside.Peers = append(aside.Peers, bgp.Peer{Address: addr(i), AS: 64512, Passive: true, Client: true})
		f.start(node(i), plain(i, bgp.Peer{Address: lan, AS: 64512}))
	}
	p := f.start(fabricSwitch, aside)
	f.learns(node(1), soon, via(2))
	f.learns(node(2), soon, via(1))
	removed := []func() []string{f.monitor(node(1)), f.monitor(node(2))}
	p.kill()
	p = f.start(fabricSwitch, aside)
	if !eventually(soon, func() bool { return len(p.status().Routes) == 2 }) {
		t.Errorf("%+v", p.status())
	}
	time.Sleep(passedAll)
	for i, r := range removed {
		if lost := r(); len(lost) > 0 {
			t.Errorf("%s lost routes:\n%s", node(i+1), strings.Join(lost, "\n"))
		}
		f.learns(node(i+1), 0, via(2-i))
	}
}

// TestIPv6: both families over one session, each with a next hop of its own, and on another port.
func TestIPv6(t *testing.T) {
	f := newFabric(t, 2)
	six := func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:205::%d", i)) }
	for i := 1; i <= 2; i++ {
		f.batch(node(i), fmt.Sprintf("addr add %s/64 dev eth0 nodad\n", six(i)))
		cfg := plain(i, bgp.Peer{Address: addr(3 - i), AS: 64512, Passive: i == 1, Families: []string{"ipv4", "ipv6"}})
		cfg.Announce = append(cfg.Announce, bgp.Announcement{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd00:42:%d::/64", i)), NextHop: six(i)})
		cfg.Port = 1179
		cfg.Install.Within = append(cfg.Install.Within, netip.MustParsePrefix("fd00:42::/32"))
		f.launch(node(i), cfg)
	}
	f.learns(node(1), soon, via(2))
	want := "fd00:42:2::/64 via fd00:205::2 dev eth0 proto bgp metric 1024 pref medium"
	show := func() string {
		out, _ := exec.Command("ip", "-n", node(1), "-6", "route", "show", "root", "fd00:42::/32").Output()
		return strings.Join(strings.Fields(string(out)), " ")
	}
	if !eventually(soon, func() bool { return show() == want }) {
		t.Fatalf("%q, want %q", show(), want)
	}
	f.batch(node(1), "route del fd00:42:2::/64\n")
	if !eventually(soon, func() bool { return show() == want }) {
		t.Fatalf("after it was removed: %q, want %q", show(), want)
	}
}

// BenchmarkConvergence measures from the speakers' start until the last of them has the last route, and the memory they take.
func BenchmarkConvergence(b *testing.B) {
	for _, c := range []struct {
		name   string
		n      int
		config func(i, n int) bgp.Config
	}{{"mesh of 10", 10, mesh}, {"50 with a reflector", 50, reflected}} {
		b.Run(c.name, func(b *testing.B) {
			var took time.Duration
			var all, own, reflector float64
			for range b.N {
				b.StopTimer()
				f := newFabric(b, c.n)
				speakers := make([]*process, c.n)
				b.StartTimer()
				begin := time.Now()
				for i := range speakers {
					speakers[i] = f.launch(node(i+1), c.config(i+1, c.n))
				}
				for i := 1; i <= c.n; i++ {
					if !eventually(time.Minute, func() bool { return len(f.routes(node(i))) == c.n-1 }) {
						b.Fatalf("%s has %d routes", node(i), len(f.routes(node(i))))
					}
				}
				took += time.Since(begin)
				b.StopTimer()
				for i, p := range speakers {
					a, o := p.rss()
					all, own = all+a/float64(c.n), own+o/float64(c.n)
					if i == 0 {
						reflector += a
					}
				}
				for _, p := range speakers {
					p.kill()
				}
				f.remove()
				b.StartTimer()
			}
			n := float64(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took.Seconds()/n, "s/convergence")
			b.ReportMetric(all/n, "MB-rss/speaker")
			b.ReportMetric(own/n, "MB-own/speaker")
			b.ReportMetric(reflector/n, "MB-rss/first")
		})
	}
}
