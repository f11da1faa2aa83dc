package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
)

// flannelLab and calicoLab are the clusters from which the dumps were taken.
const (
	flannelLab = `
lab "reference" {}
switch "sw" { subnet = "192.168.205.0/24" }
network "pods" { cidr = "10.42.0.0/16" }
mode "direct" {
  use    = "ipip"
  direct = true
}
mode "vxlan-direct" {
  use    = "vxlan"
  direct = true
}
node "n1" {
  on "sw" { address = "192.168.205.3" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.0.0/24"
  pods     = 1
}
node "n2" {
  on "sw" { address = "192.168.205.4" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.1.0/24"
}
node "n3" {
  on "sw" { address = "192.168.205.5" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.2.0/24"
}
`
	calicoLab = `
lab "reference" {}
switch "sw" { subnet = "192.168.205.0/24" }
network "pods" { cidr = "10.42.0.0/16" }
mode "vxlan" { like = "calico" }
mode "ipip" { like = "calico" }
mode "cross-subnet" {
  use    = "ipip"
  like   = "calico"
  direct = true
}
mode "vxlan-cross-subnet" {
  use    = "vxlan"
  like   = "calico"
  direct = true
}
node "n1" {
  on "sw" { address = "192.168.205.3" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.40.128/26"
  pods     = 2
}
node "n2" {
  on "sw" { address = "192.168.205.4" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.217.0/26"
  pods     = 1
}
node "n3" {
  on "sw" { address = "192.168.205.5" }
  gateway  = "192.168.205.1"
  pod_cidr = "10.42.98.0/26"
  pods     = 1
}
`
	// pluginLab is one node with a router, for the CNI plugins that put pods on the uplink: %s are the attributes of the node's
	// interface, the pod network, its pods, and the mode.
	pluginLab = `
lab "reference" {}
switch "sw" {
  subnet = "192.168.205.0/24"
  vlan "10" { subnet = "10.10.0.0/24" }
}
router "gw" {
  on "sw" {}
  on "sw" { vlan = 10 }
}
node "n1" {
  on "sw" {
    address = "192.168.205.3"
    trunk   = 10
  }
  gateway = "192.168.205.1"
  %s
}
network "pods" { cidr = "%s" }
mode "plugin" {
  %s
}
`
)

var (
	onSegment = []any{"pod \"p1\" { address = \"192.168.205.100\" }\npod \"p2\" {}", "192.168.205.96/27"}
	inVLAN    = []any{"pod \"p1\" { address = \"10.10.0.10\" }\npod \"p2\" { address = \"10.10.0.11\" }", "10.10.0.0/24"}
	routed    = []any{"pods = 2", "10.42.0.0/16"}
)

func pluginLabOf(of []any, mode string) string {
	return fmt.Sprintf(pluginLab, append(of[:2:2], mode)...)
}

// TestStateIsTheRealPrograms holds what a mode makes against what flannel and Calico were seen to make.
func TestStateIsTheRealPrograms(t *testing.T) {
	for _, tt := range []struct {
		dump, lab, mode string
		pod             string // the dump of a pod
		nft             bool   // whether the firewall has to be the same: the other dumps show the iptables form
		only            string // of a pod: the part that has to be the same
		needs           plan.Feature
	}{
		{dump: "macvlan", lab: pluginLabOf(onSegment, `use = "macvlan"`), mode: "plugin", pod: "macvlan.pod"},
		{dump: "macvlan-over-vlan", lab: pluginLabOf(inVLAN, "use  = \"macvlan\"\n  vlan = 10"), mode: "plugin", pod: "macvlan-over-vlan.pod", needs: plan.FeatureVLAN},
		{dump: "ipvlan-l2", lab: pluginLabOf(onSegment, "use  = \"ipvlan\"\n  like = \"l2\""), mode: "plugin", pod: "ipvlan-l2.pod"},
		{dump: "ipvlan-l3", lab: pluginLabOf(routed, "use  = \"ipvlan\"\n  like = \"l3\""), mode: "plugin", pod: "ipvlan-l3.pod", only: "link "},
		{dump: "flannel-host-gw", lab: flannelLab, mode: "host-gw", pod: "flannel-host-gw.pod"},
		{dump: "flannel-vxlan", lab: flannelLab, mode: "vxlan", pod: "flannel-vxlan.pod"},
		{dump: "flannel-vxlan-directrouting", lab: flannelLab, mode: "vxlan-direct", pod: "flannel-vxlan-directrouting.pod"},
		{dump: "flannel-vxlan-nft", lab: flannelLab, mode: "vxlan", nft: true},
		{dump: "flannel-udp", lab: flannelLab, mode: "udp"},
		{dump: "calico-bgp", lab: calicoLab, mode: "bgp"},
		{dump: "calico-vxlan", lab: calicoLab, mode: "vxlan"},
		{dump: "flannel-ipip", lab: flannelLab, mode: "ipip", pod: "flannel-ipip.pod"},
		{dump: "flannel-ipip-directrouting", lab: flannelLab, mode: "direct"},
		{dump: "calico-ipip", lab: calicoLab, mode: "ipip"},
		{dump: "calico-ipip-crosssubnet", lab: calicoLab, mode: "cross-subnet"},
		{dump: "calico-vxlan-crosssubnet", lab: calicoLab, mode: "vxlan-cross-subnet"},
	} {
		t.Run(tt.dump, func(t *testing.T) {
			if tt.needs != "" && !needRoot(t)[tt.needs] {
				t.Skipf("The kernel has no %s, and what stands in for it looks different.", tt.needs)
			}
			p := planned(t, parse(t, "reference.hcl", tt.lab), "reference", tt.mode)
			up(t, p)
			for name, ns := range map[string]string{tt.dump: p.Cluster.Name + ".n1", tt.pod: p.Cluster.Name + ".n1.p1"} {
				if name == "" {
					continue
				}
				want, got := reference(t, name), dump(t, ns)
				state, found := ipv4Only(canonical(t, want)), underlayAsThere(gobgp(canonical(t, got)))
				settings := values(want)
				if p.State.Datapaths()[p.Cluster.Name+".n1"] == plan.EBPF {
					t.Log("this kernel has no ipip: all is compared but the device itself")
					state, found, settings = withoutDevice(state), withoutDevice(found), withoutTunl0(settings, found)
				}
				state, found = alikeOfVLANs(state, found)
				same(t, ns, part(tt.only, name == tt.pod, state), part(tt.only, name == tt.pod, found))
				same(t, "sysctls of "+ns, sysctls(t, ns, want), settings)
				if tt.nft {
					same(t, "firewall of "+ns, firewall(want), firewall(got))
				}
			}
		})
	}
}

// part is what a comparison is about.
func part(only string, ofPod bool, lines []string) []string {
	if only == "" || !ofPod {
		return lines
	}
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, only) })
}

func reference(t *testing.T, name string) *state {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "reference", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	s := &state{}
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func firewall(s *state) []string {
	var lines []string
	for _, l := range s.NFT {
		if strings.TrimSpace(l) != "" && !strings.HasPrefix(strings.TrimSpace(l), "comment ") {
			lines = append(lines, l)
		}
	}
	return lines
}

// ipv4Only takes out what a device shows only where IPv6 is on: see onlyIPv6.
func ipv4Only(lines []string) []string {
	for i, l := range lines {
		lines[i] = strings.Replace(l, "inet6_addr_gen_mode=random", "inet6_addr_gen_mode=eui64", 1)
	}
	return lines
}

// gobgp names the deviation of mode bgp: GoBGP's routes are not BIRD's.
func gobgp(lines []string) []string {
	for i, l := range lines {
		lines[i] = strings.Replace(l, "protocol=bgp", "protocol=bird", 1)
	}
	slices.Sort(lines)
	return lines
}

var (
	emulation = regexp.MustCompile(`^(link|port) .*\bifname=(flannel\.ipip|tunl0|cni0-in)( |$)`)
	portOf    = regexp.MustCompile(` (id|no|designated_port)=[^ }]+`)
	vlansOf   = regexp.MustCompile(` vlan_(default_pvid|stats_enabled|stats_per_port|protocol)=[^ }]+`)
)

// alikeOfVLANs takes out what a kernel whose bridges know VLANs says of one that has none, where only one of the two does.
func alikeOfVLANs(want, got []string) (alike, found []string) {
	if vlansOf.MatchString(strings.Join(want, "\n")) != vlansOf.MatchString(strings.Join(got, "\n")) {
		for _, lines := range [][]string{want, got} {
			for i, l := range lines {
				lines[i] = vlansOf.ReplaceAllString(l, "")
			}
			slices.Sort(lines)
		}
	}
	return want, got
}

// withoutDevice takes out what an emulation cannot share with the kernel's own device: that, the device kept in reserve
// beside it, what stands in for both, and the numbers of a bridge's ports.
func withoutDevice(lines []string) []string {
	var kept []string
	for _, l := range lines {
		if !emulation.MatchString(l) {
			kept = append(kept, portOf.ReplaceAllString(l, ""))
		}
	}
	slices.Sort(kept)
	return kept
}

// withoutTunl0 takes out the settings of tunl0 where nothing uses it.
func withoutTunl0(settings, found []string) []string {
	if slices.ContainsFunc(found, func(l string) bool { return strings.Contains(l, "dev=tunl0") }) {
		return settings
	}
	return slices.DeleteFunc(settings, func(l string) bool { return strings.Contains(l, "/tunl0/") })
}

// underlayAsThere takes out what is not the program's but the underlay's: there its addresses had no broadcast address.
func underlayAsThere(lines []string) []string {
	for i, l := range lines {
		if strings.Contains(l, "dev=eth0 ") && strings.Contains(l, "local=192.168.205.3 ") {
			lines[i] = strings.Replace(l, "broadcast=192.168.205.255 ", "", 1)
		}
	}
	return lines
}

// onlyIPv6 names the one deviation: these clusters have no IPv6, and then lab turns it off.
func onlyIPv6(path string) bool {
	return strings.HasPrefix(path, "net/ipv6/conf/")
}

func values(s *state) []string {
	var lines []string
	for path, value := range s.Sysctl {
		if onlyIPv6(path) {
			continue
		}
		lines = append(lines, rename(path)+"="+value)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// sysctls reads, in a namespace, the settings that the dump has. Device names that are random are looked up.
func sysctls(t *testing.T, ns string, want *state) []string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "sysctl", "-a", "--pattern", "^net[./]").Output()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok {
			continue
		}
		path := plan.Dotted(name) // and back
		have[rename(path)] = append(have[rename(path)], rename(path)+"="+value)
	}
	var lines []string
	for path := range want.Sysctl {
		if onlyIPv6(path) {
			continue
		}
		lines = append(lines, have[rename(path)]...)
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
