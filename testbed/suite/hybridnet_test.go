package suite

import (
	"regexp"
	"slices"
	"testing"

	"labnet/lab/plan"
)

// overlayLab and underlayLab are the clusters from which Hybridnet's dumps were taken.
const (
	overlayLab = `
lab "reference" {}
switch "sw" { subnet = "192.168.205.0/24" }
network "pods" { cidr = "10.42.0.0/16" }
mode "vxlan" { like = "hybridnet" }
mode "four" {
  use  = "vxlan"
  like = "hybridnet"
  vni  = 4
}
node "n" {
  count = 3
  on "sw" { address = cidrhost("192.168.205.0/24", count.index + 3) }
  gateway = "192.168.205.1"
  pods    = 1
}
`
	underlayLab = `
lab "reference" {}
switch "sw" {
  subnet = "192.168.205.0/24"
  vlan "20" { subnet = "10.20.0.0/24" }
}
network "pods" { cidr = "10.20.0.0/24" }
router "gw" {
  on "sw" { address = "192.168.205.1" }
  on "sw" { vlan = 20 }
}
node "n" {
  count = 3
  on "sw" {
    address = cidrhost("192.168.205.0/24", count.index + 3)
    trunk   = [20]
  }
  gateway = "192.168.205.1"
  pods    = 1
}
`
)

// rackLab is the one of its BGP mode, where the nodes' peer is a router.
const rackLab = `
lab "reference" {}
switch "sw" { subnet = "192.168.205.0/24" }
network "pods" { cidr = "10.30.0.0/24" }
mode "bgp" { like = "hybridnet" }
router "tor" {
  on "sw" { address = "192.168.205.1" }
}
node "n" {
  count = 3
  on "sw" { address = cidrhost("192.168.205.0/24", count.index + 3) }
  gateway = "192.168.205.1"
  pods    = 1
}
`

// TestStateIsHybridnets holds what the three modes make against what Hybridnet's packages were seen to make. What is left out
// on either side are the differences that the modes' package comments name, and what the dumps' clusters had besides.
func TestStateIsHybridnets(t *testing.T) {
	var (
		daemon     = regexp.MustCompile(`^neigh dev=eth0\.vxlan`)                                // its neighbours are permanent here
		unlimited  = regexp.MustCompile(`type=throw`)                                            // that subnet had no limits
		vlanBeside = regexp.MustCompile(`10\.20\.0\.|eth0[./]20|hybr.* mtu=1500|table=1000[01]`) // pods and a subnet in a VLAN
		emulated   = regexp.MustCompile(`^link .* ifname=eth0\.20 `)
	)
	for _, tt := range []struct {
		dump, lab, mode string
		pod             string
		but             []*regexp.Regexp
	}{
		{dump: "hybridnet-vxlan", lab: overlayLab, mode: "vxlan", pod: "hybridnet-vxlan.pod", but: []*regexp.Regexp{daemon, unlimited}},
		{dump: "hybridnet-hybrid", lab: overlayLab, mode: "four", but: []*regexp.Regexp{daemon, vlanBeside}},
		{dump: "hybridnet-vlan", lab: underlayLab, mode: "vlan", pod: "hybridnet-vlan.pod"},
		{dump: "hybridnet-bgp", lab: rackLab, mode: "bgp", pod: "hybridnet-bgp.pod"},
	} {
		t.Run(tt.dump, func(t *testing.T) {
			p := planned(t, parse(t, "reference.hcl", tt.lab), "reference", tt.mode)
			if p.State.Datapaths()[p.Cluster.Name+".n1"] == plan.EBPF {
				t.Log("this kernel has no 8021q: all is compared but the device itself")
				tt.but = append(tt.but, emulated)
			}
			up(t, p)
			for name, ns := range map[string]string{tt.dump: p.Cluster.Name + ".n1", tt.pod: p.Cluster.Name + ".n1.p1"} {
				if name == "" {
					continue
				}
				want, got := reference(t, name), dump(t, ns)
				for _, l := range want.Link {
					if l["qdisc"] == "prio" { // rewrites broadcasts, of which there are none here
						l["qdisc"] = "noqueue"
					}
				}
				same(t, ns, lessDeviations(ipv4Only(canonical(t, want)), tt.but), lessDeviations(underlayAsThere(canonical(t, got)), tt.but))
				same(t, "sysctls of "+ns, lessDeviations(sysctls(t, ns, want), tt.but), lessDeviations(values(want), tt.but))
			}
		})
	}
}

// without takes out the lines of the deviations, and sorts the rest.
func lessDeviations(lines []string, deviations []*regexp.Regexp) []string {
	lines = slices.DeleteFunc(lines, func(l string) bool {
		return slices.ContainsFunc(deviations, func(d *regexp.Regexp) bool { return d.MatchString(l) })
	})
	slices.Sort(lines)
	return lines
}

// The enhanced address: a node's VLAN device shows a pod's address, and the node does not take packets for it.
func TestEnhancedAddressIsNotTheNodes(t *testing.T) {
	p := planned(t, load(t, "hybridnet-vlan"), "enhanced", "vlan")
	up(t, p)
	sh(t, p, "ip -n %s.node1 address show dev eth0.20 | grep -q 'inet 10.20.0.2/24 .*scope link noprefixroute'")
	sh(t, p, "! ip -n %s.node1 route show table local | grep 10.20.0")
	sh(t, p, "ip -n %s.node1 route get 10.20.0.2 | grep -q 'dev hybr.* table 39999'")
	// Somebody brings the local route back, as taking the link down and up does: the pod can no longer be reached.
	sh(t, p, "ip -n %s.node1 route add local 10.20.0.2 dev eth0.20 table local proto kernel scope host src 10.20.0.2")
	if len(pending(t, p)) == 0 {
		t.Error("nobody noticed the local route")
	}
	up(t, p)
	sh(t, p, "! ip -n %s.node1 route show table local | grep 10.20.0")
	healthy(t, p)
}
