package suite

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
)

// twoSegments has routers with two interfaces: links come up in an order that is not that of their numbers, and in some of the
// pairs both ends have the same number, which the kernel notices of last.
const twoSegments = `
lab "late" {}
switch "floor" { subnet = "10.30.0.0/24" }
switch "hall" { subnet = "192.168.77.0/24" }
router "west" {
  on "floor" { address = "10.30.0.1" }
  on "hall" { address = "192.168.77.1" }
}
router "east" {
  on "floor" { address = "10.30.0.2" }
  on "hall" { address = "192.168.77.2" }
}
node "n" {
  count = 3
  on "hall" {}
  gateway = "192.168.77.1"
  pods    = 2
}
host "desk" {
  count = 2
  on "floor" {}
  gateway = "10.30.0.1"
}
network "pods" { cidr = "10.42.0.0/16" }
`

// TestFirstPacket: when an up returns, every link and address can be used, and no first packet has to be sent again, be it
// the packet itself or the question for a neighbour's address: to ask again takes the kernel a second. That is judged by
// what the kernel counts; how long an answer takes, which depends on what else a machine does, only with LAB_SOAK=1.
func TestFirstPacket(t *testing.T) {
	builds, soak := 5, os.Getenv("LAB_SOAK") != ""
	if soak {
		builds = 20
	}
	for _, tt := range []struct {
		name, mode string
		lab        *lab.Lab
	}{
		{"late", "host-gw", parse(t, "late.hcl", twoSegments)},
		{"dual-stack", "host-gw", load(t, "dual-stack")},
		{"dual-stack", "vxlan", load(t, "dual-stack")},
		{"office", "", load(t, "office")},
	} {
		t.Run(tt.name+"/"+tt.mode, func(t *testing.T) {
			for build := range builds {
				p := planned(t, tt.lab, "first", tt.mode)
				if err := testbed.Apply(t.Context(), pending(t, p), func(plan.Change) {}); err != nil {
					t.Fatal(err)
				}
				if err := testbed.Settle(t.Context(), p.State, func(int, int) {}); err != nil {
					t.Fatal(err)
				}
				usable(t, p)
				slowest := firstPackets(t, p)
				noneAskedTwice(t, p)
				if t.Failed() {
					t.Fatalf("in build %d", build+1)
				}
				if t.Logf("build %d: the slowest answer took %v", build+1, slowest); soak && slowest > 100*time.Millisecond {
					t.Errorf("in build %d a first packet was answered after %v", build+1, slowest)
				}
				if err := testbed.Down(t.Context(), p.Cluster.Name, func(string) {}); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func ipJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).Output()
	if err != nil {
		t.Fatalf("ip %s: %v", strings.Join(args, " "), err)
	}
	if err := json.Unmarshal(out, into); err != nil && len(strings.TrimSpace(string(out))) > 0 {
		t.Fatalf("ip %s: %v", strings.Join(args, " "), err)
	}
}

// usable asks the kernel of every link whether it has a carrier and forwards, and of every address whether it is tentative.
func usable(t *testing.T, p *plan.Plan) {
	t.Helper()
	for _, ns := range p.State.Namespaces() {
		var links []struct {
			Ifname, Operstate string
			Flags             []string
			Linkinfo          struct {
				Kind string                 `json:"info_kind"`
				Port struct{ State string } `json:"info_slave_data"`
			}
			AddrInfo []struct {
				Local                string
				Tentative, Dadfailed bool
			} `json:"addr_info"`
		}
		ipJSON(t, &links, "-n", ns, "-d", "-j", "address")
		for _, l := range links {
			if p.State.Get(plan.Key{Namespace: ns, Kind: plan.KindLink, Name: l.Ifname}) == nil {
				continue // the kernel's own: lo, and devices that come with a module
			}
			known := slices.Contains([]string{"veth", "bridge", "vlan", "macvlan"}, l.Linkinfo.Kind)
			if slices.Contains(l.Flags, "NO-CARRIER") || !slices.Contains([]string{"UP", "UNKNOWN"}, l.Operstate) || known && l.Operstate != "UP" {
				t.Errorf("%s: %s is %s %v", ns, l.Ifname, l.Operstate, l.Flags)
			}
			if s := l.Linkinfo.Port.State; s != "" && s != "forwarding" {
				t.Errorf("%s: port %s is %s", ns, l.Ifname, s)
			}
			for _, a := range l.AddrInfo {
				if a.Tentative || a.Dadfailed {
					t.Errorf("%s: %s of %s is tentative", ns, a.Local, l.Ifname)
				}
			}
		}
	}
}

// firstPackets sends one packet from each machine to each other on its segments, and from each pod to each other, over both
// families, and returns how long the slowest took.
func firstPackets(t *testing.T, p *plan.Plan) time.Duration {
	t.Helper()
	var slowest time.Duration
	send := func(from string, to netip.Addr) {
		out, err := exec.Command("ip", "netns", "exec", from, "ping", "-n", "-c1", "-W5", to.String()).CombinedOutput()
		if err != nil {
			t.Errorf("%s → %s: %v: %s", from, to, err, out)
			return
		}
		var ms float64
		if _, rest, ok := strings.Cut(string(out), " time="); ok {
			fmt.Sscanf(rest, "%f ms", &ms)
		}
		slowest = max(slowest, time.Duration(ms*float64(time.Millisecond)))
	}
	for _, from := range p.Cluster.Lab.Machines {
		for _, out := range from.Interfaces {
			for _, to := range p.Cluster.Lab.Machines {
				for _, in := range to.Interfaces {
					if from == to || in.Segment() != out.Segment() {
						continue
					}
					for _, a := range in.Addresses {
						send(p.Cluster.NamespaceOf(from.Name), a.Addr())
					}
				}
			}
		}
	}
	ends := p.Cluster.Endpoints()
	for _, from := range ends {
		for _, to := range ends {
			if from.Pod != nil && to.Pod != nil && from.Pod != to.Pod && from.Address.Is6() == to.Address.Is6() {
				send(from.Namespace, to.Address)
			}
		}
	}
	return slowest
}

// noneAskedTwice looks at how often the kernel has asked for each neighbour: it counts from three, the questions that it would
// put to a neighbour it had known.
func noneAskedTwice(t *testing.T, p *plan.Plan) {
	t.Helper()
	asked := 0
	for _, ns := range p.State.Namespaces() {
		var neighbours []struct {
			Dst, Dev string
			Probes   int
			State    []string
		}
		ipJSON(t, &neighbours, "-n", ns, "-s", "-j", "neigh")
		for _, n := range neighbours {
			if n.Probes > 3 {
				asked++
			}
			if n.Probes > 4 || slices.Contains(n.State, "INCOMPLETE") || slices.Contains(n.State, "FAILED") {
				t.Errorf("%s has asked %d times for %s on %s, which is %v", ns, n.Probes-3, n.Dst, n.Dev, n.State)
			}
		}
	}
	if asked == 0 {
		t.Error("nobody has asked for a neighbour")
	}
}
