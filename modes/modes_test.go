package modes

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// small keeps the golden files of labs that are made to be big readable.
var small = map[string]map[string]string{"scale": {"nodes": "3", "pods": "2"}, "services-scale": {"services": "2"}}

// asks are the modes that do not work without settings.
var asks = map[string]bool{"cni": true}

// general are the labs that are made for any mode.
var general = []string{"three-node", "dual-stack", "office", "scale"}

func TestEveryModeIsListed(t *testing.T) {
	folders, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range folders {
		if f.IsDir() && f.Name() != "internal" {
			want = append(want, f.Name())
		}
	}
	var got []string
	for _, name := range All.Names() {
		got = append(got, strings.ReplaceAll(name, "-", ""))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modes.All and the folders differ:\n%s", diff)
	}
}

// bare is a kernel that lacks what eBPF can do instead.
func bare() plan.Features {
	f := plan.AllFeatures()
	delete(f, plan.FeatureIPIP)
	delete(f, plan.FeatureVLAN)
	delete(f, plan.FeatureVLANFiltering)
	return f
}

// TestGoldenPlans holds the whole plan of every shipped lab against what was reviewed.
func TestGoldenPlans(t *testing.T) {
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{Vars: small[name]})
		if diags.HasErrors() {
			t.Fatalf("%s: %v", name, diags)
		}
		// The general labs in every mode; those of one system in theirs, also for a kernel that lacks its devices.
		names := []string{l.Network.Mode}
		if slices.Contains(general, name) {
			names = All.Names()
		} else if emulated := planned(l, "", bare()); emulated != planned(l, "", plan.AllFeatures()) {
			t.Run(name+"/emulated", func(t *testing.T) {
				golden(t, filepath.Join("..", "labs", "golden", name+".emulated.txt"), emulated)
			})
		}
		for _, b := range l.Modes {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
		for _, mode := range names {
			t.Run(name+"/"+mode, func(t *testing.T) {
				golden(t, filepath.Join("..", "labs", "golden", name+"."+mode+".txt"), planned(l, mode, plan.AllFeatures()))
			})
		}
		if name != "services" {
			continue
		}
		for _, proxy := range lab.Proxies {
			if proxy != l.Services.Proxy {
				t.Run(name+"/"+proxy, func(t *testing.T) {
					other, services := *l, *l.Services
					services.Proxy, other.Services = proxy, &services
					golden(t, filepath.Join("..", "labs", "golden", name+"."+proxy+".txt"), planned(&other, "", plan.AllFeatures()))
				})
			}
		}
	}
}

// planned is a lab's plan from nothing, or why there is none.
func planned(l *lab.Lab, mode string, f plan.Features) string {
	p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: f})
	var lines []string
	for _, d := range diags {
		lines = append(lines, "refused: "+d.Summary+": "+d.Detail)
	}
	if !diags.HasErrors() {
		for _, c := range plan.Diff(&plan.State{}, p.State) {
			lines = append(lines, c.Lines()...)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./modes -update writes it anew):\n%s", file, diff)
	}
}

// TestNetworkInsideASubnet: pods may have addresses of an underlay subnet only where the mode puts them on that segment.
func TestNetworkInsideASubnet(t *testing.T) {
	for _, name := range []string{"host-gw", "vxlan"} {
		l, files, diags := lab.Load("joined.hcl", []byte(`lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
  vlan "10" { subnet = "10.10.0.0/16" }
}
node "a" {
  on "lan" { trunk = 10 }
}
network "pods" { cidr = "10.10.0.0/24" }
`), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		_, diags = plan.Build(l, plan.Options{Mode: name, Modes: All, Features: plan.AllFeatures()})
		var text strings.Builder
		if err := files.Print(&text, diags, 0, false); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Overlapping networks", "joined.hcl line 9", "vlan \"10\"", "VLAN 10 of switch \"lan\"", "mode " + name, "joined.hcl:4"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, text.String())
			}
		}
	}
}

// TestOwnDeviceIsInTheWay: a node cannot emulate tunl0 where the kernel has one in every namespace; flannel's it can.
func TestOwnDeviceIsInTheWay(t *testing.T) {
	bare := plan.AllFeatures()
	delete(bare, plan.FeatureIPIP)
	for _, tt := range []struct {
		like     string
		features plan.Features
		want     string
	}{
		{"calico", plan.AllFeatures(), "The kernel's own device is in the way"},
		{"calico", bare, ""},
		{"flannel", plan.AllFeatures(), ""},
	} {
		l, _, diags := lab.Load("own.hcl", []byte(`lab "x" {}
switch "lan" { subnet = "192.168.1.0/24" }
node "a" {
  on "lan" {}
  datapath = "ebpf"
}
node "b" {
  on "lan" {}
}
network "pods" { cidr = "10.10.0.0/16" }
mode "ipip" { like = "`+tt.like+`" }
`), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Mode: "ipip", Modes: All, Features: tt.features})
		switch {
		case tt.want == "" && diags.HasErrors():
			t.Errorf("like %s: %v", tt.like, diags)
		case tt.want == "":
			if got := p.State.Datapaths()[p.Cluster.Nodes[0].Namespace]; got != plan.EBPF {
				t.Errorf("like %s: the datapath is %s", tt.like, got)
			}
		case len(diags) != 1 || diags[0].Summary != tt.want || diags[0].Subject.Start.Line != 5:
			t.Errorf("like %s: no %q at the line of datapath, but %v", tt.like, tt.want, diags)
		}
	}
}

// TestLongPacketsByEBPF: an eBPF program makes no packet longer than the kernel lets it, so a larger MTU is refused where an
// emulated device would have to fill it, and only there.
func TestLongPacketsByEBPF(t *testing.T) {
	for _, tt := range []struct {
		mtu      int
		datapath string // what node a says of it
		features plan.Features
		direct   bool
		refused  bool
	}{
		{16050, "", bare(), false, false},
		{16051, "", bare(), false, true},
		{65535, "", bare(), false, true},
		{65535, "", bare(), true, false}, // nothing goes through the tunnel
		{65535, "", plan.AllFeatures(), false, false},
		{16051, `datapath = "ebpf"`, plan.AllFeatures(), false, true},
	} {
		l, _, diags := lab.Load("long.hcl", fmt.Appendf(nil, `lab "x" {}
switch "lan" {
  subnet = "192.168.1.0/24"
  mtu    = %d
}
node "a" {
  on "lan" {}
  %s
}
node "b" {
  on "lan" {}
}
network "pods" { cidr = "10.10.0.0/16" }
mode "ipip" { direct = %t }
`, tt.mtu, tt.datapath, tt.direct), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		_, diags = plan.Build(l, plan.Options{Mode: "ipip", Modes: All, Features: tt.features})
		switch {
		case !tt.refused && diags.HasErrors():
			t.Errorf("MTU %d %s: %v", tt.mtu, tt.datapath, diags)
		case tt.refused && (len(diags) != 1 || diags[0].Summary != "The MTU is too large for ipip by eBPF" || diags[0].Subject.Start.Line != 4):
			t.Errorf("MTU %d %s: it should be refused once, at the line of mtu, and there is %v", tt.mtu, tt.datapath, diags)
		}
	}
}

// TestNeighbours counts what the kernel has to resolve: in a cluster of four nodes with two pods each every node asks for three
// others, every pod for its gateway, and the gateway for every pod.
func TestNeighbours(t *testing.T) {
	for _, tt := range []struct {
		mode   string
		v4, v6 int
	}{
		{"host-gw", 4*3 + 8 + 8, 4*3 + 8 + 8},
		{"vxlan", 4*3 + 8 + 8, 4*3 + 8 + 8}, // what goes into the tunnel needs no question
		{"macvlan", 0, 0},                   // no router, so no gateway
	} {
		l, _, diags := lab.Load("n.hcl", []byte(`lab "x" {}
switch "lan" { subnet = ["192.168.1.0/24", "fd00:1::/64"] }
node "n" {
  count = 4
  on "lan" {}
  pods = 2
}
network "pods" { cidr = ["10.10.0.0/16", "fd00:42::/48"] }
`), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Mode: tt.mode, Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if v4, v6 := p.State.Neighbours(); v4 != tt.v4 || v6 != tt.v6 {
			t.Errorf("%s: %d of IPv4 and %d of IPv6, not %d and %d", tt.mode, v4, v6, tt.v4, tt.v6)
		}
	}
}

// TestRulesCanBeTakenAway: every mode's plan without its rules is that plan, but for them.
func TestRulesCanBeTakenAway(t *testing.T) {
	text, _ := labs.Read("three-node")
	l, _, diags := lab.Load("three-node.hcl", text, lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	with := 0
	for _, mode := range l.Compare.Modes {
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		firewall := 0
		p.State.Each(func(o plan.Object) {
			switch o.(type) {
			case plan.Table, plan.Stateful, plan.Set, plan.Chain, plan.Element, plan.ChainRule:
				firewall++
			}
		})
		before := p.State.Len()
		if any := p.State.RemoveRulesets(); any != (firewall > 0) || p.State.Len() != before-firewall {
			t.Errorf("%s: %v; of %d objects, %d of them rules and what holds them, %d are left", mode, any, before, firewall, p.State.Len())
		}
		if firewall > 0 {
			with++
		}
	}
	if with == 0 || with == len(l.Compare.Modes) {
		t.Errorf("%d of %d modes have rules", with, len(l.Compare.Modes))
	}
}
