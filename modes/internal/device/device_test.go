package device_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/device"
	"labnet/testbed"
	"labnet/testbed/suite"
)

// prefix begins the names of all labs that these tests make.
const prefix = "device-"

func TestMain(m *testing.M) { os.Exit(suite.Main(m, prefix)) }

// none is a mode that leaves everything to the test.
type none struct{}

func (none) About() string                                                  { return "" }
func (none) Decode(hcl.Body, *hcl.EvalContext) (plan.Mode, hcl.Diagnostics) { return none{}, nil }
func (none) Needs(*plan.Net) []plan.Need                                    { return nil }
func (none) Allocate(*plan.Net) hcl.Diagnostics                             { return nil }
func (none) Plan(*plan.Net, *plan.State) hcl.Diagnostics                    { return nil }
func (none) Expect(*plan.Net, plan.Flow) (promised plan.Expectation)        { return promised }

// underlay plans two nodes with two pods each, which nothing connects yet.
func underlay(t *testing.T, name string, f plan.Features) *plan.Plan {
	t.Helper()
	l, _, diags := lab.Load("device.hcl", []byte(`
lab "device" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 2
  on "lan" {}
  pods = 2
}
network "pods" {
  cidr = "10.0.0.0/24"
  mode = "none"
}
`), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Instance: prefix + name, Modes: plan.Modes{{Name: "none", Mode: none{}}}, Features: f})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

// TestEmulation: the kernel's device where there is one, and otherwise what stands in for it.
func TestEmulation(t *testing.T) {
	bare := plan.AllFeatures()
	delete(bare, plan.FeatureIPIP)
	delete(bare, plan.FeatureVLAN)
	tunnel := plan.Link{Name: "tun", MTU: 1480, Device: plan.IPIP{Local: netip.MustParseAddr("192.0.2.7")}}
	anywhere := plan.Link{Name: "tun", Device: plan.IPIP{}, MTU: 1480}
	vlan := plan.Link{Name: "eth0.10", MTU: 1500, TxQueueLen: 1000, Device: plan.VLAN{Lower: plan.End{Name: "eth0"}, ID: 10}}
	for _, tt := range []struct {
		name     string
		features plan.Features
		datapath string
		add      func(*plan.Net, *plan.State, *plan.Member, plan.Link)
		link     plan.Link
		want     string
	}{
		{"ipip", plan.AllFeatures(), "", device.IPIP, tunnel, `
			ip -n NODE link add name tun mtu 1480 txqueuelen 0 type ipip local 192.0.2.7 nopmtudisc
			ip -n NODE link set dev tun up`},
		{"ipip without ipip", bare, "", device.IPIP, tunnel, `
			ip -n NODE link add name tun mtu 1480 txqueuelen 0 address 02:00:c0:00:02:02 type ifb
			ip -n NODE link set dev tun up
			tc -n NODE qdisc add dev eth0 clsact
			tc -n NODE qdisc add dev tun clsact
			lab program add --namespace NODE dev eth0 ingress pref 1 ipip-decap to tun local 192.0.2.7
			lab program add --namespace NODE dev tun egress pref 1 ipip-encap local 192.0.2.7`},
		{"ipip with any local address", bare, "", device.IPIP, anywhere, `
			ip -n NODE link add name tun mtu 1480 txqueuelen 0 address 02:00:c0:00:02:02 type ifb
			ip -n NODE link set dev tun up
			tc -n NODE qdisc add dev eth0 clsact
			tc -n NODE qdisc add dev tun clsact
			lab program add --namespace NODE dev eth0 ingress pref 1 ipip-decap to tun local 192.0.2.2
			lab program add --namespace NODE dev tun egress pref 1 ipip-encap local 192.0.2.2`},
		{"a VLAN", plan.AllFeatures(), "", device.VLAN, vlan, `
			ip -n NODE link add link eth0 name eth0.10 mtu 1500 txqueuelen 1000 type vlan id 10
			ip -n NODE link set dev eth0.10 up`},
		{"a VLAN on a node that asks for eBPF", plan.AllFeatures(), "ebpf", device.VLAN, vlan, `
			ip -n NODE link add name eth0.10 mtu 1500 txqueuelen 1000 address 02:00:c0:00:02:02 type ifb
			ip -n NODE link set dev eth0.10 arp on up
			tc -n NODE qdisc add dev eth0 clsact
			tc -n NODE qdisc add dev eth0.10 clsact
			lab program add --namespace NODE dev eth0 ingress pref 1010 vlan-pop to eth0.10 vlan 10
			lab program add --namespace NODE dev eth0.10 egress pref 1 vlan-push to eth0 vlan 10`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := underlay(t, "plan", tt.features)
			n := p.Cluster.Networks[0].Nodes[0]
			n.Datapath = tt.datapath
			before := &plan.State{}
			p.State.Each(func(o plan.Object) { before.Add(o) })
			tt.link.Namespace = n.Namespace
			tt.add(p.Cluster.Networks[0], p.State, n, tt.link)
			var got []string
			for _, c := range plan.Diff(before, p.State) {
				got = append(got, c.Lines()...)
			}
			want := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(tt.want), "\t", ""), "NODE", n.Namespace)
			if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestVLAN connects pods by macvlan on sub-interfaces, as Bifrost does, and looks at what eBPF makes of them: of one VLAN on
// two nodes, of another beside it, and of addresses of the nodes in the VLAN.
func TestVLAN(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	f, err := testbed.Probe(false)
	if err != nil {
		t.Fatal(err)
	}
	if !f[plan.FeatureEBPF] || !f[plan.FeatureMACVLAN] {
		t.Skip("the kernel lacks what eBPF needs, or macvlan")
	}
	delete(f, plan.FeatureVLAN)
	p := underlay(t, "vlan", f)
	t.Cleanup(func() {
		if err := testbed.Down(context.Background(), p.Cluster.Name, func(string) {}); err != nil {
			t.Error(err)
		}
	})
	// Pod p1 of either node is in VLAN 10 and pod p2 in VLAN 20; node n has 10.VLAN.0.n in VLAN 10.
	for i, n := range p.Cluster.Networks[0].Nodes {
		for j, pod := range n.NICs {
			id := 10 * (j + 1)
			sub := plan.Link{Namespace: n.Namespace, Name: fmt.Sprintf("eth0.%d", id), Device: plan.VLAN{Lower: plan.End{Namespace: n.Namespace, Name: "eth0"}, ID: id}, MTU: 1500, TxQueueLen: 1000}
			device.VLAN(p.Cluster.Networks[0], p.State, n, sub)
			p.State.Add(
				plan.Link{Namespace: pod.Namespace, Name: "eth0", Device: plan.MACVLAN{Lower: plan.End{Namespace: n.Namespace, Name: sub.Name}, Mode: "bridge"}, MTU: 1500, TxQueueLen: 1000},
				plan.NewAddress(pod.Namespace, "eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(10 + i)}), 24)),
			)
			if id == 10 {
				p.State.Add(plan.NewAddress(n.Namespace, sub.Name, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 24)))
			}
		}
	}
	for range 2 {
		actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
		if err != nil {
			t.Fatal(err)
		}
		if err := testbed.Apply(t.Context(), plan.Diff(actual, p.State), func(plan.Change) {}); err != nil {
			t.Fatal(err)
		}
	}
	actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range plan.Diff(actual, p.State) {
		t.Errorf("a second up would %s", strings.Join(c.Lines(), "; "))
	}
	run := func(line string) (string, error) {
		line = strings.NewReplacer("LAB.", p.Cluster.Name+".", "IN ", "ip netns exec "+p.Cluster.Name+".").Replace(line)
		out, err := exec.Command("sh", "-euc", line).CombinedOutput()
		return string(out), err
	}
	for _, tt := range []struct {
		name, line string
		want       string // in what it says; empty: it only has to succeed
		fails      bool
	}{
		{name: "pods of one VLAN", line: "IN n1.p1 ping -c 1 -W 2 10.0.0.11"},
		{name: "pods of the other VLAN, with the same addresses", line: "IN n1.p2 ping -c 1 -W 2 10.0.0.11"},
		{name: "the neighbour is the pod of the own VLAN", line: "mac=$(IN n1.p2 ip neigh show 10.0.0.11 | sed 's/.*lladdr \\([^ ]*\\).*/\\1/'); IN n2.p2 ip link show eth0 | grep $mac"},
		{name: "whole frames", line: "IN n1.p1 ping -c 1 -W 2 -M do -s 1472 10.0.0.11"},
		{name: "nodes in the VLAN", line: "IN n1 ping -c 1 -W 2 10.0.0.2"},
		{name: "a node and a pod of the other node", line: "IN n1 ping -c 1 -W 2 10.0.0.11"},
		{name: "a node and its own pod, which macvlan keeps apart", line: "IN n1 ping -c 1 -W 1 10.0.0.10", fails: true},
		{name: "broadcast", line: "IN n2.p1 sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0; IN n1.p1 ping -b -c 1 -W 2 10.0.0.255", want: "from 10.0.0.11"},
		{name: "multicast", line: "IN n1.p1 ip route add 224.0.0.0/4 dev eth0; IN n1.p1 ping -c 1 -W 2 224.0.0.1", want: "from 10.0.0.11"},
		{name: "no untagged way", line: "IN n1 ip route add 10.0.0.11 dev eth0; IN n1 ping -c 1 -W 1 10.0.0.11; r=$?; IN n1 ip route del 10.0.0.11 dev eth0; exit $r", fails: true},
		{name: "frames have the tag", line: "IN lan timeout 5 tcpdump -lnec 1 -i n1 icmp 2>/dev/null & sleep 0.5; IN n1.p2 ping -qc 2 -i 0.2 10.0.0.11; wait", want: "vlan 20,"},
		{name: "proxy ARP", line: "IN n2 ip route add 10.0.0.99 dev lo; IN n2 ip neigh add proxy 10.0.0.99 dev eth0.10; IN n2 sysctl -qw net.ipv4.neigh.eth0/10.proxy_delay=0;" +
			"IN n1.p1 ping -c 1 -W 1 10.0.0.99 || IN n1.p1 ip neigh show 10.0.0.99", want: "lladdr 02:00:c0:00:02:03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if out, err := run(tt.line); (err != nil) != tt.fails || !strings.Contains(strings.ToLower(out), tt.want) {
				t.Errorf("%s: %v, or no %q:\n%s", tt.line, err, tt.want, out)
			}
		})
	}
}
