package bgp_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labnet/testbed/agent/bgp"
)

// router is one of Debian's, at work in a namespace.
type router struct {
	f    *fabric
	name string
	dir  string
	ask  func(question string) *exec.Cmd
}

// need skips a test when a program is missing.
func need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: apt-get install %s (and stop what that starts)", program, pkg)
	}
}

// newRouter makes a directory that a daemon with a user of its own may write.
func newRouter(f *fabric, name, owner string) *router {
	f.Helper()
	dir, err := os.MkdirTemp("", "lab-bgp-")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	u, err := user.Lookup(owner)
	if err != nil {
		f.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		f.Fatal(err)
	}
	return &router{f: f, name: name, dir: dir}
}

// run runs a daemon, in the foreground, until the test is over.
func (r *router) run(ns, program string, args ...string) {
	r.f.Helper()
	log, err := os.Create(filepath.Join(r.dir, filepath.Base(program)+".log"))
	if err != nil {
		r.f.Fatal(err)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns, program}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		r.f.Fatal(err)
	}
	r.f.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if r.f.Failed() {
			text, _ := os.ReadFile(log.Name())
			r.f.Logf("log of %s in %s:\n%s", program, ns, text)
		}
	})
}

// tells asks a router until its answer has all the words.
func (r *router) tells(question string, words ...string) {
	r.f.Helper()
	var out []byte
	if !eventually(soon, func() bool {
		out, _ = r.ask(question).CombinedOutput()
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(string(out), w) })
	}) {
		r.f.Errorf("%s, %q: want %q in\n%s", r.name, question, words, out)
	}
}

// frr runs FRR in a namespace.
func (f *fabric) frr(ns, conf string) *router {
	f.Helper()
	r := newRouter(f, "FRR", "frr")
	path := func(name string) string { return filepath.Join(r.dir, name) }
	for file, text := range map[string]string{"zebra.conf": "", "bgpd.conf": conf} {
		if err := os.WriteFile(path(file), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for _, daemon := range []string{"zebra", "bgpd"} {
		r.run(ns, "/usr/lib/frr/"+daemon, "-z", path("zserv"), "--vty_socket", r.dir, "-i", path(daemon+".pid"), "-f", path(daemon+".conf"), "--log", "stdout")
		if !eventually(soon, func() bool { _, err := os.Stat(path(daemon + ".vty")); return err == nil }) {
			f.Fatalf("%s in %s does not start", daemon, ns)
		}
	}
	r.ask = func(question string) *exec.Cmd { return exec.Command("vtysh", "--vty_socket", r.dir, "-c", question) }
	return r
}

// bird runs BIRD in a namespace.
func (f *fabric) bird(ns, conf string) *router {
	f.Helper()
	r := newRouter(f, "BIRD", "root")
	path := func(name string) string { return filepath.Join(r.dir, name) }
	if err := os.WriteFile(path("bird.conf"), []byte(conf), 0o644); err != nil {
		f.Fatal(err)
	}
	r.run(ns, "bird", "-f", "-c", path("bird.conf"), "-s", path("bird.ctl"), "-P", path("bird.pid"))
	r.ask = func(question string) *exec.Cmd {
		return exec.Command("birdc", append([]string{"-s", path("bird.ctl")}, strings.Fields(question)...)...)
	}
	return r
}

// frrConf is node i as FRR, an iBGP peer of others; reflecting makes them its clients.
func frrConf(i int, reflecting bool, others ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "router bgp 64512\n bgp router-id %s\n no bgp network import-check\n", addr(i))
	for _, j := range others {
		fmt.Fprintf(&b, " neighbor %s remote-as 64512\n neighbor %[1]s timers connect 1\n neighbor %[1]s advertisement-interval 0\n", addr(j))
	}
	if reflecting {
		fmt.Fprintf(&b, " bgp cluster-id %s\n", addr(i))
	}
	fmt.Fprintf(&b, " address-family ipv4 unicast\n  network %s\n", block(i))
	for _, j := range others {
		if reflecting {
			fmt.Fprintf(&b, "  neighbor %s route-reflector-client\n", addr(j))
		}
	}
	b.WriteString(" exit-address-family\n")
	return b.String()
}

// birdConf is the same for BIRD. Next hops are found by way of eth0's own subnet, which "direct" has to know for that.
func birdConf(i int, reflecting bool, others ...int) string {
	var b strings.Builder
	export := "net = " + block(i).String()
	client := ""
	if reflecting {
		export += " || source = RTS_BGP"
		client = "rr client; rr cluster id " + addr(i).String() + ";"
	}
	fmt.Fprintf(&b, `router id %s;
protocol device { scan time 2; }
protocol direct { ipv4; interface "eth0"; }
protocol static { ipv4; route %s blackhole; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; scan time 2; }
`, addr(i), block(i))
	for _, j := range others {
		fmt.Fprintf(&b, `protocol bgp n%d {
	local %s as 64512; neighbor %s as 64512; %s
	connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on;
	ipv4 { import all; export where %s; };
}
`, j, addr(i), addr(j), client, export)
	}
	return b.String()
}

// nexthopID is how the kernel calls a next hop of FRR's.
var nexthopID = regexp.MustCompile(` nhid \d+`)

// TestRouters: the speaker with Debian's FRR and BIRD, all three as peers, and each as the reflector of the other two. All learn
// all blocks, and packets arrive by what was learnt. When the speaker is killed and comes back nobody loses a route.
func TestRouters(t *testing.T) {
	need(t, "/usr/lib/frr/bgpd", "frr")
	need(t, "bird", "bird2")
	client := func(i int) bgp.Peer { return bgp.Peer{Address: addr(i), AS: 64512, Passive: true, Client: true} }
	peer := func(i int) bgp.Peer { return bgp.Peer{Address: addr(i), AS: 64512} }
	for _, c := range []struct {
		name  string
		ours  bgp.Config
		frr   string
		bird  string
		asFRR []string // what FRR says of BIRD's block
		asOwn netip.Addr
	}{
		{"mesh", plain(1, peer(2), peer(3)), frrConf(2, false, 1, 3), birdConf(3, false, 1, 2),
			[]string{"192.168.205.5 from 192.168.205.5 (192.168.205.5)"}, addr(3)},
		{"reflector is the speaker", plain(1, client(2), client(3)), frrConf(2, false, 1), birdConf(3, false, 1),
			[]string{"192.168.205.5 from 192.168.205.3 (192.168.205.5)", "Originator: 192.168.205.5, Cluster list: 192.168.205.3"}, addr(3)},
		{"reflector is FRR", plain(1, peer(2)), frrConf(2, true, 1, 3), birdConf(3, false, 2),
			[]string{"Received from a RR-client"}, addr(2)},
		{"reflector is BIRD", plain(1, peer(3)), frrConf(2, false, 3), birdConf(3, true, 1, 2),
			[]string{"192.168.205.5 from 192.168.205.5 (192.168.205.5)"}, addr(3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFabric(t, 3)
			for i := 1; i <= 3; i++ { // what stands for a pod
				f.batch(node(i), fmt.Sprintf("addr add %s/32 dev lo\n", block(i).Addr().Next()))
			}
			speaker := f.start(node(1), c.ours)
			frr := f.frr(node(2), c.frr)
			f.bird(node(3), c.bird)

			begin := time.Now()
			want := map[int][]string{
				1: viaAll(3, 1),
				2: {"10.42.0.0/24 via 192.168.205.3 dev eth0 proto bgp metric 20", "10.42.2.0/24 via 192.168.205.5 dev eth0 proto bgp metric 20"},
				3: {"10.42.0.0/24 via 192.168.205.3 dev eth0 proto bird metric 32", "10.42.1.0/24 via 192.168.205.4 dev eth0 proto bird metric 32"},
			}
			f.learns(node(1), soon, want[1]...)
			others := func() []string {
				return slices.Concat(f.routes(node(2)), f.routes(node(3)))
			}
			stand := func() bool {
				got := others()
				for i := range got {
					got[i] = nexthopID.ReplaceAllString(got[i], "")
				}
				return slices.Equal(got, slices.Concat(want[2], want[3]))
			}
			if !eventually(soon, stand) {
				t.Fatalf("FRR and BIRD have\n%s", strings.Join(others(), "\n"))
			}
			t.Logf("all have learnt all %v after the last was started", time.Since(begin).Round(10*time.Millisecond))
			frr.tells("show bgp ipv4 unicast "+block(3).String(), append(c.asFRR, "Origin IGP")...)
			frr.tells("show bgp ipv4 unicast "+block(1).String(), "Origin IGP")
			for _, r := range speaker.status().Routes {
				if r.Prefix == block(3) && (r.NextHop != addr(3) || r.From != c.asOwn) {
					t.Errorf("BIRD's block came as %+v, want it from %s", r, c.asOwn)
				}
			}
			for from := 1; from <= 3; from++ {
				for to := 1; to <= 3; to++ {
					f.reaches(node(from), block(from).Addr().Next(), block(to).Addr().Next())
				}
			}

			removed := []func() []string{f.monitor(node(1)), f.monitor(node(2)), f.monitor(node(3))}
			speaker.kill()
			time.Sleep(2 * time.Second) // in which they call, and find nobody
			speaker = f.start(node(1), c.ours)
			begin = time.Now()
			if !eventually(2*soon, func() bool {
				s := speaker.status()
				return established(s) && !slices.ContainsFunc(s.Sessions, func(s bgp.Session) bool { return s.Received == 0 || s.Advertised == 0 })
			}) {
				t.Fatalf("after the restart: %+v", speaker.status())
			}
			t.Logf("sessions are back after %v", time.Since(begin).Round(10*time.Millisecond))
			time.Sleep(passedAll)
			f.learns(node(1), 0, want[1]...)
			if !stand() {
				t.Errorf("after the restart FRR and BIRD have\n%s", strings.Join(others(), "\n"))
			}
			for i, r := range removed {
				if lost := r(); len(lost) > 0 {
					t.Errorf("%s lost routes:\n%s", node(i+1), strings.Join(lost, "\n"))
				}
			}
		})
	}
}

// reaches sends a packet from one address to another, and waits for its echo.
func (f *fabric) reaches(ns string, from, to netip.Addr) {
	f.Helper()
	if out, err := exec.Command("ip", "netns", "exec", ns, "ping", "-c", "1", "-W", "3", "-I", from.String(), to.String()).CombinedOutput(); err != nil {
		f.Errorf("%s does not reach %s from %s: %v\n%s", ns, to, from, err, out)
	}
}

// TestRackFRR: two speakers, each an AS of its own, with FRR as the switch of the rack.
func TestRackFRR(t *testing.T) {
	need(t, "/usr/lib/frr/bgpd", "frr")
	f := newFabric(t, 2)
	conf := "router bgp 65000\n bgp router-id 192.168.205.1\n no bgp ebgp-requires-policy\n"
	for i := 1; i <= 2; i++ {
		conf += fmt.Sprintf(" neighbor %s remote-as %d\n neighbor %[1]s timers connect 1\n neighbor %[1]s advertisement-interval 0\n", addr(i), 65000+i)
		cfg := plain(i, bgp.Peer{Address: lan, AS: 65000})
		cfg.AS = uint32(65000 + i)
		cfg.Announce = append(cfg.Announce, bgp.Announcement{Prefix: netip.PrefixFrom(block(i).Addr().Next(), 32), NextHop: addr(i), NoExport: true})
		f.start(node(i), cfg)
	}
	frr := f.frr(fabricSwitch, conf)
	f.learns(node(1), soon, via(2))
	f.learns(node(2), soon, via(1))
	frr.tells("show bgp ipv4 unicast 10.42.0.1/32", "not advertised to EBGP peer", "Community: no-export", "Origin IGP")
	f.learns(node(1), 0, via(2))
}
