package check

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
)

const twoNodes = `
lab "two" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "node" {
  count = 2
  on "lan" {}
  pods = 2
}
network "pods" { cidr = "10.42.0.0/16" }
mode "vxlan-calico" {
  use  = "vxlan"
  like = "calico"
}
`

// dual is the same lab with both families.
var dual = strings.NewReplacer(
	`subnet = "192.168.205.0/24"`, `subnet = ["192.168.205.0/24", "fd00:205::/64"]`,
	`cidr = "10.42.0.0/16"`, `cidr = ["10.42.0.0/16", "fd00:42::/48"]`,
).Replace(twoNodes)

// build makes a lab by the commands that "lab plan --shell" prints, and removes it when the test ends.
func build(t *testing.T, text, instance, mode string) *plan.Plan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	l, _, diags := lab.Load("test.hcl", []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Instance: "ck-" + instance, Mode: mode, Modes: modes.All, Features: features()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	remove := func() {
		for _, ns := range p.State.Namespaces() {
			_ = exec.Command("ip", "netns", "del", ns).Run() // one that is not there is what is wanted
		}
	}
	remove()
	t.Cleanup(remove)
	var script []string
	for _, c := range plan.Diff(&plan.State{}, p.State) {
		script = append(script, c.Lines()...)
	}
	sh(t, strings.Join(script, "\n"))
	// What "ip netns add" has taken from the machine's own settings.
	actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	taken := slices.DeleteFunc(plan.Diff(actual, p.State), func(c plan.Change) bool { return c.Object.Key().Kind != plan.KindSysctl })
	if err := testbed.Apply(t.Context(), taken, func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
	return p
}

// features are those that the labs need, and what the kernel has of the rest.
func features() plan.Features {
	all := plan.AllFeatures()
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	all[plan.FeatureBridgeNetfilter] = err == nil
	return all
}

func sh(t *testing.T, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-eu")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\nof %s", err, out, script)
	}
}

func checked(t *testing.T, p *plan.Plan) *Report {
	t.Helper()
	r, err := Run(t.Context(), p, Options{}, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHealthy(t *testing.T) {
	for _, tt := range []struct{ name, lab, mode string }{
		{"hostgw", twoNodes, "host-gw"},
		{"vxlan", twoNodes, "vxlan"},
		{"calico", twoNodes, "vxlan-calico"},
		{"hostgw-dual", dual, "host-gw"},
		{"vxlan-dual", dual, "vxlan"},
		{"calico-dual", dual, "vxlan-calico"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, tt.lab, tt.name, tt.mode)
			r := checked(t, p)
			if !r.OK {
				t.Error(text(r))
			}
			pairs := 30 // of 6 endpoints
			if tt.lab == dual {
				pairs *= 2
			}
			if r.Pairs != pairs || r.TotalPairs != pairs || r.Sampled || len(r.Checks) != pairs*4 {
				t.Errorf("%d of %d pairs, %d checks", r.Pairs, r.TotalPairs, len(r.Checks))
			}
			if r.Seconds > 20 { // did it wait for each pair in turn, it would take longer
				t.Errorf("it took %.1f s", r.Seconds)
			}
		})
	}
}

func text(r *Report) string {
	var b strings.Builder
	r.Text(&b, columns, false)
	return b.String()
}

// TestSabotage damages a healthy lab; LAB stands for its name. The check has to fail, by the right name.
func TestSabotage(t *testing.T) {
	for _, tt := range []struct {
		name, mode, damage, want, detail string
	}{
		{"fdb", "vxlan", "bridge -n LAB.node1 fdb show dev flannel.1 | awk '/dst/ {print $1}' | xargs -n1 -I{} bridge -n LAB.node1 fdb del {} dev flannel.1",
			Reach, "`bridge -n LAB.node1 fdb show dev flannel.1`"},
		{"route", "host-gw", "ip -n LAB.node1 route del 10.42.1.0/24", Reach, "node1 has no route to 10.42.1."},
		{"forwarding", "host-gw", "ip netns exec LAB.node1 sysctl -qw net.ipv4.ip_forward=0", Reach, "sysctl net.ipv4.ip_forward"},
		{"firewall", "host-gw", "ip netns exec LAB.node2 nft 'add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c ip protocol udp drop'",
			Reach, "a rule of the firewall of node2 drops it: ip t c: ip protocol udp drop"},
		{"port", "host-gw", "ip -n LAB.lan link set node2 nomaster", Reach, "node2 of lan is in no bridge"},
		{"address", "host-gw", "ip -n LAB.node1.p1 address flush dev eth0", Reach, "`lab up`"},
		{"namespace", "host-gw", "ip netns del LAB.node1.p1", Reach, "`lab up`"},
		{"pod-mtu", "vxlan", "ip -n LAB.node1.p1 link set eth0 mtu 1400", MTU, "`ip -n LAB.node1.p1 link show dev eth0`"},
		{"tunnel-mtu", "vxlan", "ip -n LAB.node1 link set flannel.1 mtu 1400", MTU, "`ip -n LAB.node1 link show dev flannel.1`"},
		{"port-mtu", "vxlan", "ip -n LAB.lan link set node1 mtu 1400", MTU, "`ip -n LAB.lan link show dev node1`"},
		{"uplink-mtu", "vxlan", "ip -n LAB.node1 link set eth0 mtu 1400", MTU, "`ip -n LAB.node1 link show dev eth0`"},
		{"mtu-up", "vxlan", "for n in 1 2; do for l in cni0 $(ip -n LAB.node$n -br link show master cni0 | cut -d@ -f1); do ip -n LAB.node$n link set $l mtu 1500; done; for p in 1 2; do ip -n LAB.node$n.p$p link set eth0 mtu 1500; done; done",
			MTU, "carries 1500 bytes, and is to carry 1450"},
		{"pod-mtu-up", "vxlan", "ip -n LAB.node1.p1 link set eth0 mtu 1500; ip -n LAB.node1 link set cni0 mtu 1500; for v in $(ip -n LAB.node1 -br link show master cni0 | cut -d@ -f1); do ip -n LAB.node1 link set $v mtu 1500; done",
			MTU, ""},
		{"under", "vxlan", "ip -n LAB.node1 route replace 10.42.1.0/24 via 192.168.205.3", Wire, "encapsulation none, and vxlan"},
		{"masquerade", "host-gw", "ip netns exec LAB.node1 nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 90; }; add rule ip t c ip saddr 10.42.0.0/16 oifname eth0 masquerade'",
			Source, "nft list ruleset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, twoNodes, tt.name, tt.mode)
			sh(t, strings.ReplaceAll(tt.damage, "LAB", p.Cluster.Name))
			r := checked(t, p)
			if r.OK {
				t.Fatal("the check passed")
			}
			detail := strings.ReplaceAll(tt.detail, "LAB", p.Cluster.Name)
			if !slices.ContainsFunc(r.Checks, func(c Check) bool { return !c.OK && c.Name == tt.want && strings.Contains(c.Detail, detail) }) {
				t.Errorf("no %s check fails with %q:\n%s", tt.want, detail, text(r))
			}
		})
	}
}
