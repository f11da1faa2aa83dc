package suite

import (
	"strings"
	"testing"

	"labnet/lab/plan"
)

// kinds is a lab whose pods can be connected by each of the kernel's tunnels, and on their uplinks.
const kinds = `
lab "kinds" {}
switch "sw" { subnet = "192.168.205.0/24" }
node "n" {
  count = 3
  on "sw" {}
  pods = 2
}
network "pods" { cidr = "10.42.0.0/16" }
mode "ipip-calico" {
  use  = "ipip"
  like = "calico"
}
mode "vxlan-calico" {
  use  = "vxlan"
  like = "calico"
}
mode "l2" { use = "ipvlan" }
mode "l3" {
  use  = "ipvlan"
  like = "l3"
}
mode "l3s" {
  use  = "ipvlan"
  like = "l3s"
}
`

// TestDeviceChangesInPlace walks from mode to mode where each step replaces devices of the kernel by others, some of which
// have the same name or stand on the same uplink. The pods' namespaces stay.
func TestDeviceChangesInPlace(t *testing.T) {
	for _, tt := range []struct{ name, lab, walk string }{
		{"tunnels", kinds, "ipip vxlan ipip host-gw ipip ipip-calico vxlan-calico ipip-calico host-gw ipip-calico ipip"},
		{"ipvlan", kinds, "l2 l3 l3s l2 ipip l3 ipip-calico l2 macvlan l2"},
		{"VLANs", mixedVLAN, "vlan macvlan ipvlan vlan ipvlan macvlan vlan"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := parse(t, "walk.hcl", tt.lab)
			var was map[string]string
			from := "nothing"
			for mode := range strings.FieldsSeq(tt.walk) {
				p := planned(t, l, "walk", mode)
				up(t, p)
				healthy(t, p)
				now := namespaces(t, p)
				for ns, inode := range now {
					if was != nil && was[ns] != inode {
						t.Errorf("from %s to %s, namespace %s was made anew", from, mode, ns)
					}
				}
				was, from = now, mode
			}
		})
	}
}

// TestDeviceIsRepaired damages devices of the kernel, as a user can with ip(8). Up mends all, and a second up finds nothing;
// what the plan prints mends it as well.
func TestDeviceIsRepaired(t *testing.T) {
	for _, tt := range []struct {
		lab, mode string
		needs     plan.Feature
		damages   [][3]string // what it is, how it is done, and what is among the changes
	}{
		{kinds, "ipip", plan.FeatureIPIP, [][3]string{
			{"the tunnel is deleted", "ip -n %s.n1 link del flannel.ipip", "link add name flannel.ipip"},
			{"the tunnel has one far end", "ip -n %s.n1 link del flannel.ipip; ip -n %s.n1 link add flannel.ipip type ipip local 192.168.205.1 remote 192.168.205.2 nopmtudisc", "link add name flannel.ipip"},
			{"the tunnel has another near end", "ip -n %s.n1 link set flannel.ipip type ipip local 192.168.205.9", "link add name flannel.ipip"},
			{"the tunnel sets the TTL", "ip -n %s.n1 link set flannel.ipip type ipip local 192.168.205.1 pmtudisc ttl 5", "link add name flannel.ipip"},
			{"the tunnel is down", "ip -n %s.n1 link set flannel.ipip down", "link set dev flannel.ipip up"},
			{"a bridge has the tunnel's name", "ip -n %s.n1 link del flannel.ipip; ip -n %s.n1 link add flannel.ipip type bridge", "type ipip"},
			{"the kernel's own tunnel is in use", "ip -n %s.n1 address add 203.0.113.1/32 dev tunl0; ip -n %s.n1 link set tunl0 up", "link set dev tunl0 down"},
			{"the kernel's own tunnel has an address", "ip -n %s.n1 address add 203.0.113.1/32 dev tunl0", "203.0.113.1/32"},
			{"another tunnel is added", "ip -n %s.n1 link add foreign type ipip local 192.168.205.1 remote 203.0.113.1", "link del dev foreign"},
		}},
		{kinds, "ipip-calico", plan.FeatureIPIP, [][3]string{
			{"the kernel's own tunnel is down", "ip -n %s.n1 link set tunl0 down", "link set dev tunl0 up"},
			{"the kernel's own tunnel has another MTU", "ip -n %s.n1 link set tunl0 mtu 1400", "mtu 1480"},
			{"the kernel's own tunnel sets the TTL", "ip -n %s.n1 tunnel change tunl0 mode ipip ttl 5 tos 16 pmtudisc", "tunnel change tunl0 mode ipip ttl 0 tos 0 nopmtudisc"},
			{"the kernel's own tunnel has no address", "ip -n %s.n1 address flush dev tunl0", "address add"},
		}},
		{mixedVLAN, "vlan", plan.FeatureVLAN, [][3]string{
			{"the VLAN device is deleted", "ip -n %s.n1 link del eth0.20", "link add link eth0 name eth0.20"},
			{"the VLAN device has another number", "ip -n %s.n1 link del eth0.20; ip -n %s.n1 link add link eth0 name eth0.20 type vlan id 21", "id 20"},
			{"the VLAN device has another protocol", "ip -n %s.n1 link del eth0.20; ip -n %s.n1 link add link eth0 name eth0.20 type vlan proto 802.1ad id 20", "id 20"},
			{"the VLAN device has other flags", "ip -n %s.n1 link set eth0.20 type vlan reorder_hdr off gvrp on", "id 20"},
			{"the VLAN device sets priorities", "ip -n %s.n1 link set eth0.20 type vlan egress-qos-map 0:5", "id 20"},
		}},
		{kinds, "l2", plan.FeatureIPVLAN, [][3]string{
			{"a pod's device is deleted", "ip -n %s.n1.p1 link del eth0", "type ipvlan mode l2"},
			{"the pods' devices are of another mode", "ip -n %s.n1.p1 link set eth0 type ipvlan mode l3", "type ipvlan mode l2"},
			{"the pods' devices hear nobody on their node", "ip -n %s.n1.p1 link set eth0 type ipvlan private", "type ipvlan mode l2"},
			{"the pods' devices hear nobody directly", "ip -n %s.n1.p2 link set eth0 type ipvlan vepa", "type ipvlan mode l2"},
		}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			if !needRoot(t)[tt.needs] {
				t.Skipf("the kernel has no %s; make test-vm runs this on one that has", tt.needs)
			}
			p := planned(t, parse(t, "damaged.hcl", tt.lab), "damaged", tt.mode)
			up(t, p)
			for _, damage := range tt.damages {
				t.Run(damage[0], func(t *testing.T) {
					sh(t, p, damage[1])
					var lines []string
					for _, c := range pending(t, p) {
						lines = append(lines, c.Lines()...)
						if ns := c.Object.Key().Namespace; !strings.HasPrefix(ns, p.Cluster.Name+".n1") {
							t.Errorf("n1 is damaged, and %s would be changed", c.Object.Key())
						}
					}
					all := strings.Join(lines, "\n")
					if !strings.Contains(all, damage[2]) {
						t.Errorf("no %q among the changes:\n%s", damage[2], all)
					}
					up(t, p)
					sh(t, p, damage[1]+"\n"+all)
					settled(t, p)
				})
			}
			healthy(t, p)
		})
	}
}
