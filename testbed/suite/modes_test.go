package suite

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/traffic"
	"labnet/testbed/wire"
)

func TestModeKeepsItsPromises(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.lab+"/"+v.mode, func(t *testing.T) {
			p := planned(t, load(t, v.lab), "keeps", v.mode)
			up(t, p)
			healthy(t, p)
		})
	}
}

// TestModeChangesInPlace walks one lab through every ordered pair of modes; its namespaces stay. When soaked it takes each
// pair from a new lab, also of modes that no lab is made for.
func TestModeChangesInPlace(t *testing.T) {
	labs := map[string]bool{}
	for _, v := range variants(t) {
		labs[v.lab] = true
	}
	for name := range labs {
		l := load(t, name)
		var pairs [][2]string
		all := modesOf(t, name)
		for _, v := range all {
			for _, w := range all {
				// No general lab has Hybridnet's overlay, so that one's lab changes from and to all others.
				if v.mode != w.mode && (Soaked || v.own && w.own || v.own != w.own && name == "hybridnet-vxlan") {
					pairs = append(pairs, [2]string{v.mode, w.mode})
				}
			}
		}
		at := "" // the mode that the lab is in
		for _, pair := range walk(pairs, func(mode string) bool { return buildable(t, l, mode) }) {
			from, to := pair[0], pair[1]
			t.Run(name+"/"+from+"→"+to, func(t *testing.T) {
				before, after := built(t, l, "changes", from), built(t, l, "changes", to)
				if at != from || Soaked {
					removed(t, before)
					up(t, before)
				}
				at = ""
				was := namespaces(t, before)
				up(t, after)
				healthy(t, after)
				for ns, inode := range namespaces(t, after) {
					if was[ns] != inode {
						t.Errorf("namespace %s was made anew", ns)
					}
				}
				if !t.Failed() {
					at = to
				}
			})
		}
		if err := testbed.Down(t.Context(), "suite-changes", func(string) {}); err != nil {
			t.Error(err)
		}
	}
}

// walk orders pairs so that one begins where the one before ended, where that can be. Those that cannot be taken come last.
func walk(pairs [][2]string, usable func(string) bool) (ordered [][2]string) {
	rest := slices.Clone(pairs)
	take := func(fits func(pair [2]string) bool) bool {
		i := slices.IndexFunc(rest, fits)
		if i >= 0 {
			ordered, rest = append(ordered, rest[i]), slices.Delete(rest, i, i+1)
		}
		return i >= 0
	}
	possible := func(pair [2]string) bool { return usable(pair[0]) && usable(pair[1]) }
	at := ""
	for len(rest) > 0 {
		ok := take(func(pair [2]string) bool { return pair[0] == at && possible(pair) }) || take(possible) ||
			take(func([2]string) bool { return true })
		if ok {
			at = ordered[len(ordered)-1][1]
		}
	}
	return ordered
}

// namespaces tells the lab's namespaces apart from others of the same name.
func namespaces(t *testing.T, p *plan.Plan) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, ns := range p.State.Namespaces() {
		info, err := os.Stat(filepath.Join(testbed.NetnsDir, ns))
		if err != nil {
			t.Fatal(err)
		}
		ids[ns] = inode(info)
	}
	return ids
}

var damagedMachine = regexp.MustCompile(`%s\.(\w+)`)

// labOf returns the lab of lab/mode; a mode alone is that of three-node.
func labOf(mode string) string {
	if lab := path.Dir(mode); lab != "." {
		return lab
	}
	return "three-node"
}

// TestDriftIsRepaired lets a user damage a lab in every way the field knows; up mends it, and only it.
func TestDriftIsRepaired(t *testing.T) {
	for _, tt := range []struct {
		name, mode, damage, want string
	}{
		{"a route is deleted", "host-gw", "ip -n %s.worker1 route del 10.42.2.0/24", "10.42.2.0/24"},
		{"a route is added", "host-gw", "ip -n %s.worker1 route add 203.0.113.0/24 via 192.168.205.4", "203.0.113.0/24"},
		{"a neighbour is deleted", "vxlan", "ip -n %s.worker1 neigh del 10.42.0.0 dev flannel.1", "neighbour"},
		{"a FDB entry is deleted", "vxlan", "ip netns exec %s.worker1 sh -c 'bridge fdb show dev flannel.1 | grep dst | head -1 | cut -d\" \" -f1 | xargs -I{} bridge fdb del {} dev flannel.1'", "fdb"},
		{"an address is deleted", "vxlan", "ip -n %s.worker1.p1 address flush dev eth0", "address add"},
		{"an address is added", "host-gw", "ip -n %s.worker1 address add 203.0.113.1/32 dev cni0", "203.0.113.1"},
		{"a sysctl is changed", "host-gw", "ip netns exec %s.worker1 sysctl -qw net.ipv4.ip_forward=0", "ip_forward=1"},
		{"an MTU is lowered", "host-gw", "ip -n %s.worker1.p1 link set eth0 mtu 1400", "mtu 1500"},
		{"a link is down", "host-gw", "ip -n %s.worker1 link set cni0 down", "up"},
		{"an uplink is down", "vxlan", "ip -n %s.worker1 link set eth0 down", "up"},
		{"a link is deleted", "vxlan", "ip -n %s.worker1 link del flannel.1", "link add name flannel.1"},
		{"a bridge is deleted", "host-gw", "ip -n %s.worker1 link del cni0", "link add name cni0"},
		{"an uplink is deleted", "vxlan", "ip -n %s.worker1 link del eth0", "netns"},
		{"an uplink is deleted below Calico's tunnel", "calico-ipip/ipip", "ip -n %s.node1 link del eth0", "tunl0"},
		{"a pod's namespace is deleted", "vxlan", "ip netns del %s.worker1.p1; sleep 0.5", "netns add"},
		{"a port is taken off", "host-gw", "ip -n %s.lan link set worker1 nomaster", "master br0"},
		{"a firewall table is added", "host-gw", "ip netns exec %s.worker1 nft add table inet mine", "nft delete table inet mine"},
		{"a firewall rule is deleted", "vxlan", "ip netns exec %s.worker1 nft flush chain ip flannel-ipv4 postrtg", "flannel-ipv4"},
		{"a rule is added", "vxlan", "ip -n %s.worker1 rule add from 10.42.1.0/24 lookup 100", "rule del"},
		{"an agent is killed", "udp", "kill -9 $(pgrep -f __agent.%s.worker1.udp); for i in $(seq 200); do pgrep -f __agent.%s.worker1.udp || break; sleep 0.05; done", "lab agent start"},
		{"an agent's device is deleted", "udp", "ip -n %s.worker1 link del flannel0; for i in $(seq 200); do pgrep -f __agent.%s.worker1.udp || break; sleep 0.05; done", "lab agent start"},
		{"a tunnel's address is deleted", "udp", "ip -n %s.worker1 address flush dev flannel0", "address add"},
		{"a qdisc is added", "vxlan", "tc -n %s.worker1 qdisc add dev eth0 root tbf rate 1mbit burst 15000 latency 50ms", "qdisc del"},
		{"a rule is deleted", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 rule del priority 4", "rule add priority 4 from 10.42.0.0/16 fwmark 0x0/0x4040"},
		{"a throw route is deleted", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 route del throw 10.42.255.255 table 40000", "throw 10.42.255.255"},
		{"a route is added in a table", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 route add 10.42.0.9 dev eth0 table 39999", "10.42.0.9"},
		{"a proxied address is deleted", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 neigh del proxy 10.42.0.2 dev eth0.vxlan20", "neighbour add proxy"},
		{"a VLAN device is deleted", "hybridnet-vlan/vlan", "ip -n %s.node1 link del eth0.20", "link add"},
		{"a gateway is deleted", "hybridnet-vlan/vlan", "ip -n %s.node1 route del default table 10000", "default via 10.20.0.1"},
		{"a pod's way to services is deleted", "bifrost-services/macvlan", "ip -n %s.node1.p1 link del veth0", "link add name svc-p1"},
		{"a route to services is deleted", "bifrost-services/macvlan", "ip -n %s.node1.p1 route del 10.96.0.0/16", "10.96.0.0/16 via 192.168.205.2 dev veth0"},
		{"a node's route to its pod is deleted", "bifrost-services/macvlan", "ip -n %s.node1 route del 10.10.0.2", "10.10.0.2 dev svc-p1"},
		{"a node's address is deleted where it leads to a pod", "bifrost-services/macvlan", "ip -n %s.node1 address del 192.168.205.2/32 dev svc-p1", "address add 192.168.205.2/32 dev svc-p1"},
		{"a pod does not know its node's MAC address", "bifrost-services/macvlan", "ip -n %s.node1.p1 neigh del 192.168.205.2 dev veth0", "neighbour replace 192.168.205.2 dev veth0"},
		{"learning is off", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 link set eth0.vxlan20 type vxlan nolearning", "link add name eth0.vxlan20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, load(t, labOf(tt.mode)), "drift", path.Base(tt.mode))
			up(t, p)
			sh(t, p, tt.damage)
			changes := pending(t, p)
			if len(changes) == 0 {
				t.Fatal("nobody noticed")
			}
			var text []string
			for _, c := range changes {
				text = append(text, c.Lines()...)
				damaged := damagedMachine.FindStringSubmatch(tt.damage)[1]
				if ns := c.Object.Key().Namespace; !strings.HasPrefix(ns, p.Cluster.Name+"."+damaged) && ns != p.Cluster.Name+".lan" {
					t.Errorf("%s is damaged, and %s would be changed", damaged, c.Object.Key())
				}
			}
			if all := strings.Join(text, "\n"); !strings.Contains(all, tt.want) {
				t.Errorf("no %q among the changes:\n%s", tt.want, all)
			}
			up(t, p)
			healthy(t, p)
		})
	}
}

// TestSabotageIsSeen: what a check must not let pass.
func TestSabotageIsSeen(t *testing.T) {
	for _, tt := range []struct {
		name, mode, damage, want string
	}{
		{"a FDB entry is missing", "vxlan", "ip netns exec %s.worker1 sh -c 'bridge fdb show dev flannel.1 | grep dst | cut -d\" \" -f1 | xargs -n1 -I{} bridge fdb del {} dev flannel.1'", "reach"},
		{"a pod's MTU is lower", "vxlan", "ip -n %s.worker1.p1 link set eth0 mtu 1400", "mtu"},
		{"the wire's MTU is lower", "vxlan", "ip -n %s.lan link set worker1 mtu 1400", "mtu"},
		{"the tunnel's MTU is lower", "vxlan", "ip -n %s.worker1 link set flannel.1 mtu 1400", "mtu"},
		{"a host-gw route is under vxlan", "vxlan", "ip -n %s.worker1 route replace 10.42.0.0/24 via 192.168.205.4", "wire"},
		{"a host-gw route is under ipip", "ipip", "ip -n %s.worker1 route replace 10.42.0.0/24 via 192.168.205.4", "wire"},
		{"a tunnel's route is missing", "ipip", "ip -n %s.worker1 route del 10.42.0.0/24", "reach"},
		{"packets are masqueraded", "host-gw", "ip netns exec %s.worker1 nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 90; }; add rule ip t c ip saddr 10.42.0.0/16 oifname eth0 masquerade'", "source"},
		{"forwarding is off", "host-gw", "ip netns exec %s.worker1 sysctl -qw net.ipv4.ip_forward=0", "reach"},
		{"a tunnel leads where none is needed", "flannel-vxlan/vxlan-direct", "mac=$(ip -n %s.node2 -br link show flannel.1 | awk '{print $3}'); ip -n %s.node1 neigh add 10.42.1.0 lladdr $mac dev flannel.1; bridge -n %s.node1 fdb add $mac dev flannel.1 dst 192.168.205.3; ip -n %s.node1 route replace 10.42.1.0/24 via 10.42.1.0 dev flannel.1 onlink", "wire"},
		{"the rule of local pods is gone", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 rule del priority 1", "reach"},
		{"the rule of the overlay is gone", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 rule del priority 2", "reach"},
		{"no ARP is answered for a pod", "hybridnet-vlan/vlan", "ip -n %s.node1 neigh del proxy 10.20.0.3 dev eth0.20", "reach"},
		{"a VLAN's pods go without a tag", "hybridnet-vlan/vlan", "ip -n %s.node1 route add 10.20.0.4 via 192.168.205.4 dev eth0 table 10000", "wire"},
		{"a pod has no way to services", "bifrost-services/macvlan", "ip -n %s.node1.p2 route del 10.96.0.0/16", "service"},
		{"a pod answers its node by the segment", "bifrost-services/macvlan", "ip -n %s.node2.p1 route del 192.168.205.3", "wire"},
		{"a neighbour is on another node", "hybridnet-vxlan/hybridnet-vxlan", "ip -n %s.node1 neigh replace 10.42.0.4 dev eth0.vxlan20 lladdr 02:00:c0:a8:cd:05", "wire"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planned(t, load(t, labOf(tt.mode)), "sabotage", path.Base(tt.mode))
			up(t, p)
			sh(t, p, tt.damage)
			r := checked(t, p)
			if r.OK {
				t.Fatal("the check passed")
			}
			for _, c := range r.Checks {
				if !c.OK && c.Name == tt.want {
					return
				}
			}
			var b strings.Builder
			r.Text(&b, 100, false)
			t.Errorf("no %s check failed:\n%s", tt.want, b.String())
		})
	}
}

func TestInstancesDoNotDisturbEachOther(t *testing.T) {
	l := load(t, "three-node")
	one, two := planned(t, l, "one", "host-gw"), planned(t, l, "two", "vxlan")
	up(t, one)
	up(t, two)
	healthy(t, one)
	healthy(t, two)
	settled(t, one)
	if err := testbed.Down(t.Context(), two.Cluster.Name, func(string) {}); err != nil {
		t.Fatal(err)
	}
	settled(t, one)
	healthy(t, one)
}

// TestShellPlanBuildsTheSame runs the script that plan --shell prints; what it makes is what up makes.
func TestShellPlanBuildsTheSame(t *testing.T) {
	for _, v := range variants(t) {
		t.Run(v.lab+"/"+v.mode, func(t *testing.T) {
			p := planned(t, load(t, v.lab), "shell", v.mode)
			byScript(t, p)
			if v.mode == "cni" { // its plugins draw names and MAC addresses by lot
				return
			}
			byShell := map[string][]string{}
			for _, ns := range p.State.Namespaces() {
				byShell[ns] = canonical(t, dump(t, ns))
			}
			if err := testbed.Down(t.Context(), p.Cluster.Name, func(string) {}); err != nil {
				t.Fatal(err)
			}
			up(t, p)
			for _, ns := range p.State.Namespaces() {
				same(t, ns, byShell[ns], canonical(t, dump(t, ns)))
			}
		})
	}
}

// TestSpeakerRestartsWithoutLoss kills a BGP speaker in the middle of traffic: packets flow while it is away, while it comes
// back, and when it is told something new.
func TestSpeakerRestartsWithoutLoss(t *testing.T) {
	const text = `
lab "restart" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 3
  on "lan" {}
  pods = 1
}
network "pods" { cidr = "10.9.0.0/16" }
mode "bgp-rr" {
  use        = "bgp"
  reflectors = ["n1"]
}
`
	l := parse(t, "restart.hcl", text)
	for _, mode := range []string{"bgp", "bgp-rr"} {
		t.Run(mode, func(t *testing.T) {
			p := planned(t, l, "restart", mode)
			up(t, p)
			ping := exec.Command("ip", "netns", "exec", p.Cluster.Name+".n2.p1", "ping", "-q", "-i", "0.01", "-c", "800", "-W", "5", p.Cluster.Nodes[2].Pods[0].Address(false).String())
			var out strings.Builder
			ping.Stdout = &out
			if err := ping.Start(); err != nil {
				t.Fatal(err)
			}
			sh(t, p, "pkill -9 -f __agent.%s.n1.bgp; pkill -9 -f __agent.%s.n2.bgp; sleep 2")
			up(t, p)
			if err := ping.Wait(); err != nil || !strings.Contains(out.String(), " 0% packet loss") {
				t.Errorf("%v\n%s", err, out.String())
			}
			healthy(t, p)
		})
	}
}

// TestWireModels counts the sizes of frames on an uplink while pods stream: where the wire cuts, none is larger than its MTU
// allows, whatever the mode; where it does not, some are.
func TestWireModels(t *testing.T) {
	needRoot(t)
	const text = `
lab "wires" {}
switch "lan" {
  subnet = "192.0.2.0/24"
  wire   = "%s"
}
node "n" {
  count = 2
  on "lan" {}
  pods = 1
}
network "pods" { cidr = "10.9.0.0/16" }
`
	for _, wire := range []string{"super", "nic", "bare"} {
		l := parse(t, "wires.hcl", strings.Replace(text, "%s", wire, 1))
		for _, mode := range []string{"host-gw", "vxlan", "ipip", "macvlan"} {
			t.Run(wire+"/"+mode, func(t *testing.T) {
				p := planned(t, l, "wires", mode)
				up(t, p)
				healthy(t, p)
				from, to := p.Cluster.Nodes[0], p.Cluster.Nodes[1]
				largest := longest(t, from.Namespace, from.Uplink().Name, func() {
					stream(t, from.Pods[0], to.Pods[0])
				})
				if cut := largest <= 1514; cut != (wire != "super") {
					t.Errorf("the largest of the frames has %d bytes", largest)
				}
			})
		}
	}
}

// longest returns the length of the longest frame that leaves a device meanwhile.
func longest(t *testing.T, ns, device string, meanwhile func()) int {
	t.Helper()
	place, err := testbed.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	capture, err := wire.Listen(place, device)
	if err != nil {
		t.Fatal(err)
	}
	defer capture.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		meanwhile()
	}()
	const few, enough = 100, 2000
	most, frames := 0, 0
	for over := false; frames < enough && !over; {
		raw, err := capture.Receive(time.Now().Add(100 * time.Millisecond))
		switch {
		case err == nil && raw.Out:
			most = max(most, raw.Length)
			fallthrough
		case err == nil:
			frames++
		default:
			select {
			case <-done:
				over = true
			default:
			}
		}
	}
	<-done
	if frames < few {
		t.Fatalf("only %d frames were seen", frames)
	}
	return most
}

// stream sends over TCP from one pod to another, as much as it can.
func stream(t *testing.T, from, to *plan.Pod) {
	t.Helper()
	ends := map[string]*testbed.Place{}
	for _, pod := range []*plan.Pod{from, to} {
		place, err := testbed.Open(pod.Namespace)
		if err != nil {
			t.Error(err)
			return
		}
		defer place.Close()
		ends[pod.Namespace] = place
	}
	cfg := traffic.Config{
		Client: traffic.Side{Open: ends[from.Namespace].Do, Addr: from.Address(false), CPU: traffic.Unpinned},
		Server: traffic.Side{Open: ends[to.Namespace].Do, Addr: to.Address(false), CPU: traffic.Unpinned},
		Window: 300 * time.Millisecond, Congestion: "cubic",
	}
	if _, err := traffic.RunStream(t.Context(), cfg, traffic.Streams{}); err != nil {
		t.Error(err)
	}
}
