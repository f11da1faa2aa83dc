package suite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
)

// emulated plans a lab for a kernel that lacks some features, whatever this one has.
func emulated(t testing.TB, l *lab.Lab, instance, mode string, lacks ...plan.Feature) *plan.Plan {
	t.Helper()
	f := needRoot(t)
	if !f[plan.FeatureEBPF] {
		t.Skip("the kernel lacks what eBPF needs")
	}
	has := f[plan.FeatureIPIP]
	for _, feature := range lacks {
		delete(f, feature)
	}
	p, diags := plan.Build(l, plan.Options{Instance: "suite-" + instance, Mode: mode, Modes: modes.All, Features: f})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	tunl0 := plan.Key{Namespace: p.Cluster.Nodes[0].Namespace, Kind: plan.KindLink, Name: "tunl0"}
	if has && p.State.Get(tunl0) != nil {
		t.Skip("the kernel has a tunl0 in every namespace, so that none can be emulated")
	}
	t.Cleanup(func() {
		if err := testbed.Down(context.Background(), p.Cluster.Name, func(string) {}); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestEmulationIsRepaired damages what stands in for a device. The check sees what breaks packets, and up mends all.
func TestEmulationIsRepaired(t *testing.T) {
	p := emulated(t, load(t, "three-node"), "emulated", "ipip", plan.FeatureIPIP)
	up(t, p)
	healthy(t, p)
	for _, tt := range []struct {
		name, damage string
		want         string // among the changes of the next up
		seen         string // the check that fails; none where packets still flow
	}{
		{"the program of the way out is deleted", "tc -n %s.worker1 filter del dev flannel.ipip egress pref 1", "ipip-encap", "reach"},
		{"the program of the way in is deleted", "tc -n %s.worker1 filter del dev eth0 ingress pref 1", "ipip-decap", "reach"},
		{"the hook is deleted", "tc -n %s.worker1 qdisc del dev eth0 clsact", "ipip-decap", "reach"},
		{"the device is deleted", "ip -n %s.worker1 link del flannel.ipip", "link add name flannel.ipip", "reach"},
		{"the device is made anew, with another number", "ip -n %s.worker1 link del flannel.ipip; ip -n %s.worker1 link add flannel.ipip type ifb", "ipip-decap", "reach"},
		{"the bridge's way in is deleted", "ip -n %s.worker1 link del cni0-in", "bridge-enter", ""},
		{"another filter is before it", "tc -n %s.worker1 filter add dev eth0 egress pref 9 bpf bytecode '1,6 0 0 0'", "filter del dev eth0 egress pref 9", ""},
		{"another program is in its place", "tc -n %s.worker1 filter del dev flannel.ipip egress pref 1;" +
			"lab program add --namespace %s.worker1 dev flannel.ipip egress pref 1 ipip-encap local 192.0.2.1", "ipip-encap local 192.168.205.3", "wire"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sh(t, p, tt.damage)
			if tt.seen != "" {
				found := false
				for _, c := range checked(t, p).Checks {
					found = found || !c.OK && c.Name == tt.seen
				}
				if !found {
					t.Errorf("no %s check failed", tt.seen)
				}
			}
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

// TestOuterHeader: what the tunnel makes of the fields of the inner header, as the kernel's does (RFC 2003, RFC 6040).
func TestOuterHeader(t *testing.T) {
	p := emulated(t, load(t, "three-node"), "outer", "ipip", plan.FeatureIPIP)
	up(t, p)
	for _, tt := range []struct{ name, ping, outer, inner string }{
		{"ttl is inherited", "-t 33", "ttl 32, ", "ttl 32, "},
		{"DF is inherited", "-M do", "flags [DF], proto IPIP (4), length 104", "flags [DF], proto ICMP"},
		{"no DF is inherited", "-M dont", "flags [none], proto IPIP (4), length 104", "flags [none], proto ICMP"},
		{"the class of service stays inside", "-Q 0xb8", "(tos 0x0, ", "(tos 0xb8, "},
		{"ECT(0) is outside too", "-Q 0x2", "(tos 0x2,ECT(0), ", "(tos 0x2,ECT(0), "},
		{"congestion stays inside", "-Q 0x3", "(tos 0x2,ECT(0), ", "(tos 0x3,CE, "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := sniffed(t, p, "worker1", "ip proto 4 and src 192.168.205.3", tt.ping)
			outer, inner, _ := strings.Cut(out, "\n")
			if !strings.Contains(outer, tt.outer) || !strings.Contains(inner, tt.inner) || strings.Contains(out, "bad cksum") {
				t.Errorf("no %q outside, or no %q inside, or a bad checksum:\n%s", tt.outer, tt.inner, out)
			}
		})
	}
	// Congestion on the way is told to the inner packet, and a packet that cannot be told is dropped.
	sh(t, p, "ip netns exec %s.lan nft 'add table bridge t; add chain bridge t c { type filter hook forward priority 0; }; add rule bridge t c ip protocol 4 ip ecn set ce'")
	t.Run("congestion outside goes inside", func(t *testing.T) {
		out := sniffed(t, p, "master.p1", "icmp", "-Q 0x2")
		if !strings.Contains(out, "(tos 0x3,CE, ") {
			t.Errorf("the inner packet does not say so:\n%s", out)
		}
	})
	t.Run("congestion that cannot be told drops", func(t *testing.T) {
		if out, err := ping(p, "worker1.p1", "-Q 0"); err == nil {
			t.Errorf("the packet arrived:\n%s", out)
		}
	})
}

func ping(p *plan.Plan, from, options string) (string, error) {
	out, err := exec.Command("sh", "-c", fmt.Sprintf("ip netns exec %s.%s ping -c 1 -W 2 %s 10.42.0.65", p.Cluster.Name, from, options)).CombinedOutput()
	return string(out), err
}

// sniffed returns what tcpdump says of the first packet of a ping from worker1's pod to master's, seen in a namespace.
func sniffed(t *testing.T, p *plan.Plan, where, filter, options string) string {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", p.Cluster.Name+"."+where, "timeout", "20", "tcpdump", "-lnvv", "-c", "1", "-i", "eth0", filter)
	var out, notes bytes.Buffer
	cmd.Stdout = &out
	r, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1); !strings.Contains(notes.String(), "listening on"); { // it is ready
		if _, err := r.Read(b); err != nil {
			t.Fatal(notes.String())
		}
		notes.Write(b)
	}
	if out, err := ping(p, "worker1.p1", options); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, _ = io.Copy(&notes, r)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("tcpdump: %v\n%s", err, &notes)
	}
	return out.String()
}

// TestPathMTU: a packet too long for the tunnel is answered by the node that would have to send it.
func TestPathMTU(t *testing.T) {
	p := emulated(t, load(t, "three-node"), "pmtu", "ipip", plan.FeatureIPIP)
	up(t, p)
	// A pod that does not know the tunnel's MTU.
	sh(t, p, "ip -n %s.worker1 link set cni0-in mtu 1500; for l in $(ip -n %s.worker1 -o link show master cni0 | sed 's/.*: \\(veth[^@]*\\)@.*/\\1/;t;d'); do"+
		" ip -n %s.worker1 link set $l mtu 1500; done; ip -n %s.worker1 link set cni0 mtu 1500; ip -n %s.worker1.p1 link set eth0 mtu 1500")
	for _, tt := range []struct{ from, options, want string }{
		{"worker1.p1", "-M do -s 1453", "Frag needed and DF set (mtu = 1480)"},
		{"worker1", "-M do -s 1453", "message too long, mtu=1480"},
	} {
		out, err := ping(p, tt.from, tt.options)
		if err == nil || !strings.Contains(strings.ToLower(out), strings.ToLower(tt.want)) {
			t.Errorf("from %s: no %q:\n%s", tt.from, tt.want, out)
		}
	}
	for _, from := range []string{"worker1.p2", "worker1"} {
		if out, err := ping(p, from, "-M do -s 1452"); err != nil {
			t.Errorf("from %s, what fits does not arrive:\n%s", from, out)
		}
	}
}

// TestBigTransfer sends through the tunnel what the kernel makes large packets of. They arrive whole and as large; where
// the wire cuts them, the pieces are right.
func TestBigTransfer(t *testing.T) {
	for _, wire := range []string{"", `rate = "200mbit"`} {
		for _, like := range []string{"flannel", "calico"} {
			t.Run(strings.TrimSpace(like+" "+wire), func(t *testing.T) {
				l := parse(t, "big.hcl", fmt.Sprintf(`
lab "big" {}
switch "lan" {
  subnet = "192.0.2.0/24"
  %s
}
node "n" {
  count = 2
  on "lan" {}
  pods = 1
}
network "pods" { cidr = "10.9.0.0/16" }
mode "ipip" { like = %q }
`, wire, like))
				p := emulated(t, l, "big", "ipip", plan.FeatureIPIP)
				up(t, p)
				from, to := p.Cluster.Nodes[0].Pods[0], p.Cluster.Nodes[1].Pods[0]
				if wire == "" {
					bigTransfer(t, from, to)
				} else {
					transfer(t, from, to, 8<<20)
				}
			})
		}
	}
}

// bigTransfer sends from one pod to another, and makes sure that packets arrive as large as they were sent.
func bigTransfer(t *testing.T, from, to *plan.Pod) {
	t.Helper()
	const bytes = 8 << 20
	before := received(t, to.Namespace)
	transfer(t, from, to, bytes)
	packets := received(t, to.Namespace) - before
	if cut := bytes / 1460; packets > cut/2 {
		t.Errorf("%d packets arrived at %s; had they been cut, it would have been %d", packets, to.Namespace, cut)
	}
}

// transfer sends n bytes from one pod to another over TCP, and makes sure that they are the same there.
func transfer(t *testing.T, from, to *plan.Pod, n int) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n]
	server, client := place(t, to.Namespace), place(t, from.Namespace)
	var listener net.Listener
	at := net.JoinHostPort(to.Address(false).String(), "5001")
	if err := server.Do(func() (err error) { listener, err = net.Listen("tcp", at); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sum := make(chan [32]byte, 1)
	go func() {
		var got []byte
		if c, err := listener.Accept(); err == nil {
			got, _ = io.ReadAll(c)
			c.Close()
		}
		sum <- sha256.Sum256(got)
	}()
	if err := client.Do(func() error {
		c, err := net.DialTimeout("tcp", at, 10*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, err = c.Write(data)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-sum:
		if got != sha256.Sum256(data) {
			t.Error("what arrived is not what was sent")
		}
	case <-time.After(time.Minute):
		t.Error("it does not all arrive")
	}
}

func place(t *testing.T, ns string) *testbed.Place {
	t.Helper()
	p, err := testbed.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// received counts the packets that a pod's interface has received.
func received(t *testing.T, ns string) (packets int) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "sh", "-c", "sed -n 's/ *eth0: *[0-9]* *\\([0-9]*\\) .*/\\1/p' /proc/net/dev").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &packets); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return packets
}

// mixedVLAN is a cluster whose pods are in a VLAN of the switch; %s is the mode.
const mixedVLAN = `
lab "mixed" {}
switch "sw" {
  subnet = "192.168.205.0/24"
  vlan "20" { subnet = "10.20.0.0/24" }
}
router "gw" {
  on "sw" { address = "192.168.205.1" }
  on "sw" {
    vlan    = 20
    address = "10.20.0.1"
  }
}
node "n1" {
  on "sw" { trunk = [20] }
  gateway = "192.168.205.1"
  pods    = 1
}
node "n2" {
  on "sw" { trunk = [20] }
  gateway = "192.168.205.1"
  pods    = 1
}
node "n3" {
  on "sw" { trunk = [20] }
  gateway = "192.168.205.1"
  pods    = 1
}
network "pods" { cidr = "10.20.0.0/24" }
mode "macvlan" { vlan = 20 }
mode "ipvlan" { vlan = 20 }
`

// TestEmulatedAmongReal: a node whose tunnel or VLAN is eBPF understands nodes that have the kernel's, and they understand it,
// also where the kernel makes large packets of what is sent. The switch keeps its VLANs apart with the kernel's bridge.
func TestEmulatedAmongReal(t *testing.T) {
	f := needRoot(t)
	for _, tt := range []struct {
		mode, lab string
		needs     []plan.Feature
	}{
		{"ipip", flannelLab, []plan.Feature{plan.FeatureIPIP}},
		{"direct", flannelLab, []plan.Feature{plan.FeatureIPIP}},
		{"vlan", mixedVLAN, []plan.Feature{plan.FeatureVLAN, plan.FeatureVLANFiltering}},
		{"macvlan", mixedVLAN, []plan.Feature{plan.FeatureVLAN, plan.FeatureVLANFiltering}},
		{"ipvlan", mixedVLAN, []plan.Feature{plan.FeatureVLAN, plan.FeatureVLANFiltering, plan.FeatureIPVLAN}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			for _, need := range append(tt.needs, plan.FeatureEBPF) {
				if !f[need] {
					t.Skipf("the kernel lacks %s: there are no two kinds to bring together", need)
				}
			}
			text := strings.Replace(tt.lab, `node "n2" {`, "node \"n2\" {\n  datapath = \"ebpf\"", 1)
			if tt.lab == flannelLab {
				text = strings.Replace(text, `datapath = "ebpf"`, "datapath = \"ebpf\"\n  pods = 1", 1) +
					"router \"gw\" {\n  on \"sw\" { address = \"192.168.205.1\" }\n}\n" // the gateway that all nodes name
			}
			unmixed := planned(t, parse(t, "mixed.hcl", strings.Replace(text, `datapath = "ebpf"`, "", 1)), "mixed", tt.mode)
			up(t, unmixed)
			p := planned(t, parse(t, "mixed.hcl", text), "mixed", tt.mode)
			up(t, p)
			of := p.State.Datapaths()
			for name, want := range map[string]plan.Datapath{"n1": plan.Kernel, "n2": plan.EBPF, "n3": plan.Kernel, "sw": plan.Kernel} {
				if got := of[p.Cluster.Name+"."+name]; got != want {
					t.Errorf("the datapath of %s is said to be %s, not %s", name, got, want)
				}
			}
			healthy(t, p)
			n1, n2 := p.Cluster.Nodes[0].Pods[0], p.Cluster.Nodes[1].Pods[0]
			bigTransfer(t, n1, n2)
			bigTransfer(t, n2, n1)
			up(t, unmixed)
			healthy(t, unmixed)
		})
	}
}
