package suite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/wire"
)

const vlanLab = `
lab "vlans" {}
switch "sw" {
  subnet = "192.168.7.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
  vlan "20" { subnet = "10.20.0.0/24" }
}
host "own" {
  on "sw" {}
}
host "ten" {
  count = 2
  on "sw" { vlan = 10 }
}
host "twenty" {
  on "sw" { vlan = 20 }
}
host "trunk" {
  on "sw" { trunk = [10, 20] }
}
host "some" {
  on "sw" { trunk = 10 }
}
`

// TestVLANsAreKeptApart sends frames into the ports of a switch and listens at all of them. Whether the bridge or programs
// keep the VLANs apart is the kernel's matter.
func TestVLANsAreKeptApart(t *testing.T) {
	p := planned(t, parse(t, "vlans.hcl", vlanLab), "vlans", "")
	up(t, p)
	n := listenAll(t, p)
	const everybody = "ff:ff:ff:ff:ff:ff"
	for _, tt := range []struct {
		name     string
		from     string
		tag      int
		to       string         // everybody, or a machine
		heard    map[string]int // by whom, with which tag
		notHeard []string       // where only that is said: a frame to one machine may still be flooded in its segment
	}{
		{name: "from the switch's own segment", from: "own", to: everybody, heard: map[string]int{"trunk": 0, "some": 0}},
		{name: "from an access port", from: "ten1", to: everybody, heard: map[string]int{"ten2": 0, "trunk": 10, "some": 10}},
		{name: "from the other access port", from: "ten2", to: everybody, heard: map[string]int{"ten1": 0, "trunk": 10, "some": 10}},
		{name: "from a VLAN with one access port", from: "twenty", to: everybody, heard: map[string]int{"trunk": 20}},
		{name: "from a trunk, without a tag", from: "trunk", to: everybody, heard: map[string]int{"own": 0, "some": 0}},
		{name: "from a trunk, with a tag", from: "trunk", tag: 10, to: everybody, heard: map[string]int{"ten1": 0, "ten2": 0, "some": 10}},
		{name: "from a trunk, with another tag", from: "trunk", tag: 20, to: everybody, heard: map[string]int{"twenty": 0}},
		{name: "from a trunk, with a tag that the switch does not know", from: "trunk", tag: 30, to: everybody, heard: map[string]int{}},
		{name: "from a trunk that does not carry the VLAN", from: "some", tag: 20, to: everybody, heard: map[string]int{}},
		{name: "from an access port, with the tag of another VLAN", from: "ten1", tag: 20, to: everybody, heard: map[string]int{}},
		{name: "from the switch's own segment, with a tag", from: "own", tag: 10, to: everybody, heard: map[string]int{}},
		{name: "to a machine of the VLAN", from: "ten1", to: "ten2", heard: map[string]int{"ten2": 0}},
		{name: "to a machine of another VLAN", from: "ten1", to: "twenty", notHeard: []string{"twenty", "own"}},
		{name: "to a machine without a VLAN", from: "ten1", to: "own", notHeard: []string{"twenty", "own"}},
		{name: "from without a VLAN to a machine of one", from: "own", to: "ten1", notHeard: []string{"ten1", "ten2", "twenty"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := tt.to
			if to != everybody {
				to = n.mac(tt.to)
			}
			heard := map[string]int{}
			// A port lets frames pass once the kernel has noticed that its link is up.
			for deadline := time.Now().Add(20 * time.Second); ; {
				n.send(t, tt.from, to, tt.tag, heard)
				if len(heard) >= len(tt.heard) || time.Now().After(deadline) {
					break
				}
			}
			if tt.heard != nil {
				if diff := cmp.Diff(tt.heard, heard); diff != "" {
					t.Errorf("heard by:\n%s", diff)
				}
			}
			for _, m := range tt.notHeard {
				if tag, ok := heard[m]; ok {
					t.Errorf("%s heard it, with tag %d", m, tag)
				}
			}
		})
	}
}

// ears listen at the first interface of every machine.
type ears struct {
	plan     *plan.Plan
	places   map[string]*testbed.Place
	captures map[string]*wire.Capture
	sent     uint32
}

func listenAll(t *testing.T, p *plan.Plan) *ears {
	t.Helper()
	e := &ears{plan: p, places: map[string]*testbed.Place{}, captures: map[string]*wire.Capture{}}
	for _, m := range p.Cluster.Lab.Machines {
		place, err := testbed.Open(p.Cluster.NamespaceOf(m.Name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { place.Close() })
		capture, err := wire.Listen(place, "eth0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { capture.Close() })
		e.places[m.Name], e.captures[m.Name] = place, capture
	}
	return e
}

func (e *ears) mac(machine string) string {
	return e.plan.State.Get(plan.Key{Namespace: e.plan.Cluster.NamespaceOf(machine), Kind: plan.KindLink, Name: "eth0"}).(plan.Link).MAC
}

// send lets a machine send a frame, and notes who heard it, with which tag.
func (e *ears) send(t *testing.T, from, to string, tag int, heard map[string]int) {
	t.Helper()
	dst, err := net.ParseMAC(to)
	if err != nil {
		t.Fatal(err)
	}
	src, err := net.ParseMAC(e.mac(from))
	if err != nil {
		t.Fatal(err)
	}
	const experimental = 0x88b5 // IEEE 802: for local use
	frame := slices.Concat(dst, src)
	if tag != 0 {
		frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_8021Q)
		frame = binary.BigEndian.AppendUint16(frame, uint16(tag))
	}
	frame = binary.BigEndian.AppendUint16(frame, experimental)
	e.sent++
	payload := fmt.Appendf(nil, "a frame of a test, number %8d, long enough not to be padded", e.sent)
	frame = append(frame, payload...)
	if err := e.places[from].Do(func() error { return inject("eth0", frame) }); err != nil {
		t.Fatal(err)
	}
	quiet := time.Now().Add(100 * time.Millisecond)
	for m, capture := range e.captures {
		for {
			raw, err := capture.Receive(quiet)
			if err != nil {
				break
			}
			if raw.Out || !bytes.Contains(raw.Data, payload) {
				continue
			}
			heard[m] = 0
			if binary.BigEndian.Uint16(raw.Data[12:]) == unix.ETH_P_8021Q {
				heard[m] = int(binary.BigEndian.Uint16(raw.Data[14:]) & 0xfff)
			}
		}
	}
}

func inject(device string, frame []byte) error {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index, Halen: 6})
}

// damage is what a user does to a lab; the kernel's own way to keep VLANs apart is damaged otherwise than ours.
type damage struct {
	name, lab string
	feature   plan.Feature // what the kernel has to have; or without, and it is taken to have no VLANs
	do, want  string
}

// planned plans the lab in mode macvlan for the kernel that the damage is about.
func (d damage) planned(t *testing.T, instance string) *plan.Plan {
	t.Helper()
	l := load(t, d.lab)
	if d.feature == without {
		return emulated(t, l, instance, "macvlan", plan.FeatureVLAN, plan.FeatureVLANFiltering)
	}
	if d.feature != "" && !needRoot(t)[d.feature] {
		t.Skipf("The kernel has no %s.", d.feature)
	}
	return planned(t, l, instance, "macvlan")
}

const without plan.Feature = "no VLANs"

func TestVLANDriftIsRepaired(t *testing.T) {
	for _, tt := range []damage{
		{"a port's program is removed", "bifrost-macvlan", without, "tc -n %s.lan filter del dev node1 egress", "port-egress trunk 10"},
		{"a port is in another VLAN", "bifrost-macvlan", without, "tc -n %s.lan filter del dev laptop ingress; lab program add --namespace %s.lan dev laptop ingress pref 1 port-ingress vlan 10", "port-ingress vlan 20"},
		{"a trunk carries another VLAN", "bifrost-macvlan", without, "tc -n %s.lan filter del dev node1 egress; lab program add --namespace %s.lan dev node1 egress pref 1 port-egress trunk 10,20", "port-egress trunk 10"},
		{"a tag is not put on", "bifrost-macvlan", without, "tc -n %s.node1 filter del dev eth0.10 egress", "vlan-push"},
		{"a port leaves a VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan del dev node1 vid 10", "vlan add dev node1 vid 10"},
		{"a port joins a VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan add dev node1 vid 20", "vlan del dev node1 vid 20"},
		{"a port is in another VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan del dev laptop vid 20; bridge -n %s.lan vlan add dev laptop vid 10 pvid untagged", "vlan add dev laptop vid 20 pvid untagged"},
		{"a VLAN keeps its tag", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan add dev laptop vid 20 pvid", "vlan add dev laptop vid 20 pvid untagged"},
		{"the switch is in a VLAN itself", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan add dev br0 vid 10 self", "vlan del dev br0 vid 10 self"},
		{"VLANs are no longer kept apart", "bifrost-macvlan", plan.FeatureVLANFiltering, "ip -n %s.lan link set br0 type bridge vlan_filtering 0", "vlan_filtering 1"},
		{"new ports would be in a VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "ip -n %s.lan link set br0 type bridge vlan_default_pvid 5", "vlan_default_pvid 0"},
		{"the switch knows another tag", "bifrost-macvlan", plan.FeatureVLANFiltering, "ip -n %s.lan link set br0 type bridge vlan_protocol 802.1ad", "link add name br0"},
		{"a VLAN's device is deleted", "bifrost-macvlan", "", "ip -n %s.node1 link del eth0.10", "eth0.10"},
		{"a pod's device is deleted", "bifrost-macvlan", "", "ip -n %s.node1.p1 link del eth0", "macvlan mode bridge"},
		{"a pod's device hears nobody on its node", "three-node", "", "ip -n %s.worker1.p1 link set eth0 type macvlan mode private", "macvlan mode bridge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.planned(t, "vlandrift")
			up(t, p)
			sh(t, p, tt.do)
			var lines []string
			for _, c := range pending(t, p) {
				lines = append(lines, c.Lines()...)
			}
			if all := strings.Join(lines, "\n"); !strings.Contains(all, tt.want) {
				t.Errorf("no %q among the changes:\n%s", tt.want, all)
			}
			up(t, p)
			healthy(t, p)
		})
	}
}

func TestVLANSabotageIsSeen(t *testing.T) {
	// untagged puts all pods on the switch's own segment, where they reach one another as well.
	const untagged = `i=2; for n in 1 2 3; do for p in 1 2; do
ip -n %s.node$n.p$p link del eth0
ip -n %s.node$n link add link eth0 name new0 netns %s.node$n.p$p type macvlan mode bridge
ip -n %s.node$n.p$p link set new0 name eth0
ip -n %s.node$n.p$p address add 10.10.0.$i/24 dev eth0
ip -n %s.node$n.p$p link set eth0 up
i=$((i+1)); done; done`
	for _, tt := range []damage{
		{"tags are missing", "bifrost-macvlan", "", untagged, "wire"},
		{"a node's pods are in another VLAN", "bifrost-macvlan", without, "tc -n %s.node1 filter del dev eth0.10 egress; lab program add --namespace %s.node1 dev eth0.10 egress pref 1 vlan-push to eth0 vlan 20;" +
			"tc -n %s.lan filter del dev node1 ingress; lab program add --namespace %s.lan dev node1 ingress pref 1 port-ingress trunk 10,20", "reach"},
		{"the router is in another VLAN", "bifrost-macvlan", without, "tc -n %s.lan filter del dev gw.eth1 ingress; lab program add --namespace %s.lan dev gw.eth1 ingress pref 1 port-ingress vlan 20", "reach"},
		{"the router is in another VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan del dev gw.eth1 vid 10; bridge -n %s.lan vlan add dev gw.eth1 vid 20 pvid untagged", "reach"},
		{"a port does not carry the VLAN", "bifrost-macvlan", plan.FeatureVLANFiltering, "bridge -n %s.lan vlan del dev node1 vid 10", "reach"},
		{"a node has a way to its own pods", "three-node", "", "ip -n %s.worker1 link add link eth0 name shim type macvlan mode bridge; ip -n %s.worker1 address add 10.42.99.1/16 dev shim; ip -n %s.worker1 link set shim up", "reach"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.planned(t, "vlansabotage")
			up(t, p)
			sh(t, p, tt.do)
			r := checked(t, p)
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

// TestOnlyTheRouterConnectsVLANs: the laptop is in another VLAN than the pods.
func TestOnlyTheRouterConnectsVLANs(t *testing.T) {
	p := planned(t, load(t, "bifrost-macvlan"), "router", "macvlan")
	up(t, p)
	healthy(t, p)
	sh(t, p, "ip netns exec %s.laptop ping -c 3 -i 0.2 -W 2 10.10.0.2; ip netns exec %s.node3.p2 ping -c 3 -i 0.2 -W 2 10.20.0.2")
	sh(t, p, "ip -n %s.gw link set eth1 down; ! ip netns exec %s.laptop ping -c 3 -i 0.2 -W 1 10.10.0.2")
	// Without the router's help neither of the two finds the other, though each thinks it is near.
	sh(t, p, "ip -n %s.laptop route add 10.10.0.0/24 dev eth0; ip -n %s.node1.p1 route add 10.20.0.0/24 dev eth0; ! ip netns exec %s.laptop ping -c 3 -i 0.2 -W 1 10.10.0.2")
}
