package suite

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/lab/trace"
	kernel "labnet/testbed/trace"
)

var updateWalks = flag.Bool("update", false, "write the walks, and docs/walks.md, anew")

const (
	walksDir  = "testdata/walks"
	walksPage = "../../docs/walks.md"
	standIn   = "ebpf" // what a walk's file says where programs take a device's place
)

// walks are those that docs/walks.md shows, with what is to be seen in them.
var walks = []struct{ name, title, lab, mode, about string }{
	{"host-gw", "host-gw", "three-node", "host-gw", `Flannel's host-gw. The node's route to the other node's block names that node as the next hop, so the frame on the
wire is addressed to it, and carries the pods' own packet. Nothing is put around it: compare the packet at the two nodes' ` + "`eth0`" + `.`},
	{"vxlan", "vxlan, flannel's", "flannel-vxlan", "vxlan", `The route's next hop is the other node's VTEP, an address of ` + "`flannel.1`" + ` there. Its MAC address is a permanent neighbour
entry, so that no ARP crosses the overlay, and the FDB of ` + "`flannel.1`" + ` says behind which node that MAC address is. Texts often show
the pod's MAC address as the source of the inner frame. It is that of ` + "`flannel.1`" + `: the packet was routed, and the pod's frame ended
at ` + "`cni0`" + `.`},
	{"vxlan-calico", `vxlan, like = "calico"`, "three-node", "vxlan-calico", `Calico has no bridge. A pod's default gateway is 169.254.1.1, for which its node answers by proxy ARP at the pod's veth, and
each pod has a route of its own. Between nodes it is the same as flannel's, with VNI 4096 and UDP port 4789.`},
	{"vxlan-hybridnet", `vxlan, like = "hybridnet"`, "hybridnet-vxlan", "hybridnet-vxlan", `Hybridnet's nodes have no blocks: any pod may be on any node. Policy rules choose the table (39999 holds the pods of this
node, 40000 the overlay), and the neighbour entry of the other pod says behind which node it is.`},
	{"ipip", "ipip, flannel's", "flannel-ipip", "ipip", `IP in IP, protocol 4. The tunnel device has no far end of its own: it takes the route's next hop for it. There is no inner
frame, so no neighbour and no FDB entry is needed.`},
	{"ipip-calico", `ipip, like = "calico"`, "calico-ipip", "ipip", `The device is the kernel's ` + "`tunl0`" + `, and pods are routed as in Calico's VXLAN.`},
	{"udp", "udp", "flannel-udp", "udp", `Flannel's first backend. The kernel routes all of the pod network to a TUN device, where a process reads the packet, looks
for the node in a table of its own, and sends it by UDP to port 8285. At the other node a process writes it into the TUN device
there. The packet leaves the kernel twice, and its TTL goes down in the processes too.`},
	{"bgp", "bgp, Calico's", "calico-bgp", "bgp", `As host-gw on the wire. What differs is who wrote the route: nodes learn it from one another by BGP.`},
	{"bgp-bridge", `bgp, like = "bridge"`, "three-node", "bgp-bridge", `Any CNI bridge beside a BGP speaker.`},
	{"bgp-hybridnet", `bgp, like = "hybridnet"`, "hybridnet-bgp", "bgp", `Nodes announce their pods to the router of the rack, and need no route to one another: packets go by that router. The
per-subnet tables begin at 10000.`},
	{"macvlan", "macvlan", "three-node", "macvlan", `A pod is a machine of the segment: its frames pass the node's ` + "`eth0`" + `, and neither its routes nor its firewall. Between pods of one
node they do not reach the switch. A node and its own pods do not hear each other.`},
	{"macvlan-vlan", "macvlan in a VLAN, Bifrost's", "bifrost-macvlan", "macvlan", `The same on a VLAN's device of the node: frames have a tag on the wire.`},
	{"vlan", "vlan, Hybridnet's underlay", "hybridnet-vlan", "vlan", `Pods have addresses of a VLAN of the underlay and stay behind their node, which answers ARP for them there. A text gives 10000
as the table of the first overlay network; it is the first table of any subnet, here the VLAN's.`},
	{"ipvlan-l2", "ipvlan, l2", "terway-ipvlan", "ipvlan-l2", `As macvlan, but all pods have their node's MAC address: the node tells them apart by their IP addresses.`},
	{"ipvlan-l3", "ipvlan, l3", "terway-ipvlan", "ipvlan", `There is no ARP between pods: what a pod sends is routed by its node, and what arrives at the uplink for a pod goes to it.`},
	{"ipvlan-l3s", "ipvlan, l3s", "terway-ipvlan", "ipvlan-l3s", `As l3, and packets pass the node's firewall.`},
}

const walksIntro = `# How packets travel

One packet between two pods of one node and one between pods of two nodes, there and back, in each mode. Nothing here is drawn
by hand: a test sends these packets, follows them through the kernel, and fails when a walk is another one. ` + "`lab walk`" + ` shows the
same of a running lab, with times, and ` + "`lab trace`" + ` follows [any other packet](trace.md).

How to read it: a row is a device. ` + "`in`" + ` is what came in by it, ` + "`out`" + ` what left by it; ` + "`lan`" + ` is the switch, whose ports have the
names of what is plugged in. *The packet* says what it is where it sets out, and then only what changes: MAC addresses, TTL, what is
put around it (+) or taken off (−). *Decided* is what the kernel says about the packet there. The neighbours are known: the packet is
the second of its kind. A bridge does not ask for an IP address: ` + "`cni0`" + ` is a port of the bridge as well as the node's device, and what
asks for the MAC address of a next hop is the node's routing, or the pod's.

Where the kernel has no device for a mode, ` + "`lab`" + ` puts eBPF programs in its place. The frames on the wire are the same, the devices are
not; where that is so both walks are shown.
`

// TestWalks: the walks of docs/walks.md are those that packets take on this kernel, times aside.
func TestWalks(t *testing.T) {
	for _, w := range walks {
		t.Run(w.name, func(t *testing.T) {
			p := planned(t, load(t, w.lab), "walks", w.mode)
			up(t, p)
			var b strings.Builder
			for _, pair := range kernel.Typical(p.Cluster) {
				opt := kernel.Options{From: pair.From, To: pair.To, Protocol: "icmp", Size: 60, Wait: 10e9}
				var tr *trace.Trace
				for range 2 { // then whoever had to be asked for is known
					var err error
					if tr, err = kernel.Run(t.Context(), p, opt); err != nil {
						t.Fatal(err)
					}
				}
				if !tr.OK() || tr.Back == nil || tr.Verdict() != "As predicted" {
					t.Fatal(shown(tr))
				}
				fmt.Fprintf(&b, "### %s: %s to %s\n\n%s\n", pair.Title, tr.From, tr.To, tr.There.Table())
				fmt.Fprintf(&b, "<details><summary>The answer</summary>\n\n%s\n</details>\n\n", tr.Back.Table())
			}
			// The page shows the commands as they are for a lab under its own name.
			seen := strings.ReplaceAll(b.String(), p.Cluster.Name+".", w.lab+".")
			file := filepath.Join(walksDir, w.name+".md")
			if programs(p.State) {
				file = filepath.Join(walksDir, w.name+"."+standIn+".md")
			}
			if *updateWalks {
				if err := os.WriteFile(file, []byte(seen), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want, err := os.ReadFile(file); err != nil || string(want) != seen {
				t.Errorf("%s is not what was seen (%v):\n%s", file, err, seen)
			}
		})
	}
}

// programs reports whether eBPF programs take the place of a device.
func programs(s *plan.State) bool {
	found := false
	s.Each(func(o plan.Object) {
		if o.Key().Kind == plan.KindProgram {
			found = true
		}
	})
	return found
}

// TestWalksPage: docs/walks.md is made of the walks that were seen.
func TestWalksPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(walksIntro)
	for _, w := range walks {
		seen, err := os.ReadFile(filepath.Join(walksDir, w.name+".md"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\n## %[1]s\n\n%[2]s\n\n`lab up %[3]s --mode %[4]s && lab walk %[3]s`\n\n%[5]s", w.title, w.about, w.lab, w.mode, seen)
		if text, err := os.ReadFile(filepath.Join(walksDir, w.name+"."+standIn+".md")); err == nil && string(text) != string(seen) {
			fmt.Fprintf(&b, "With eBPF programs in place of the device:\n\n%s", strings.ReplaceAll(string(text), "### ", "#### "))
		}
	}
	text := strings.TrimRight(b.String(), "\n") + "\n"
	if *updateWalks {
		if err := os.WriteFile(walksPage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page, err := os.ReadFile(walksPage); err != nil || string(page) != text {
		t.Errorf("%s is not made of the walks that were seen: go test ./testbed/suite -run TestWalksPage -update writes it anew (%v)", walksPage, err)
	}
}
