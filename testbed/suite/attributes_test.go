package suite

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/testbed"
)

// systems are the modes and their variants; those that need a VLAN have one.
var systems = []struct {
	name, mode, settings string
	vlan                 bool
}{
	{"host-gw", "host-gw", "", false},
	{"vxlan", "vxlan", "", false},
	{"vxlan-direct", "vxlan", "direct = true", false},
	{"vxlan-calico", "vxlan", `like = "calico"`, false},
	{"vxlan-hybridnet", "vxlan", `like = "hybridnet"`, false},
	{"ipip", "ipip", "", false},
	{"ipip-calico", "ipip", `like = "calico"`, false},
	{"udp", "udp", "", false},
	{"bgp", "bgp", "", false},
	{"bgp-bridge", "bgp", `like = "bridge"`, false},
	{"bgp-hybridnet", "bgp", `like = "hybridnet"`, false},
	{"macvlan", "macvlan", "", false},
	{"macvlan-vlan", "macvlan", "vlan = 20", true},
	{"macvlan-veth", "macvlan", "service_veth = true", false},
	{"vlan", "vlan", "", true},
	{"ipvlan", "ipvlan", "", false},
	{"ipvlan-l3", "ipvlan", `like = "l3"`, false},
}

// plain is a lab of two nodes and a router in one of the systems, with what must be said of the uplinks and the pod network.
func plain(t *testing.T, mode, settings string, vlan bool, uplink, network string) *lab.Lab {
	on, port, cidr, segment := "", "", "10.42.0.0/16", ""
	if vlan {
		on, cidr, segment = "trunk = [20]", "10.20.0.0/24", "\n  vlan \"20\" { subnet = \"10.20.0.0/24\" }"
		port = "\n  on \"lan\" {\n    vlan    = 20\n    address = \"10.20.0.1\"\n  }"
	}
	return parse(t, "plain.hcl", fmt.Sprintf(`lab "plain" {}
switch "lan" {
  subnet = "192.168.205.0/24"%s
}
router "gw" {
  on "lan" { address = "192.168.205.1" }%s
}
node "n" {
  count = 2
  on "lan" {
    %s
    %s
  }
  gateway = "192.168.205.1"
  pods    = 2
}
network "pods" {
  cidr = %q
  mode = %q
  %s
}
mode %q {
  %s
}
`, segment, port, on, uplink, cidr, mode, network, mode, settings))
}

// device is what ip(8) says of one.
type device struct {
	Name string `json:"ifname"`
	MTU  int    `json:"mtu"`
}

func devices(t *testing.T, ns string) map[string]int {
	t.Helper()
	out, err := exec.Command("ip", "-n", ns, "-j", "link", "show", "up").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []device
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	mtu := map[string]int{}
	for _, d := range all {
		mtu[d.Name] = d.MTU
	}
	return mtu
}

// TestPodsMTU sets the pods' MTU while the lab is up, and measures it: packets of just that size pass, and no larger ones.
func TestPodsMTU(t *testing.T) {
	needRoot(t)
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			before := planned(t, plain(t, s.mode, s.settings, s.vlan, "", ""), "mtu", "")
			after := planned(t, plain(t, s.mode, s.settings, s.vlan, "", "mtu = 1340"), "mtu", "")
			up(t, before)
			up(t, after)
			healthy(t, after)
			for _, n := range after.Cluster.Nodes {
				if is := devices(t, n.Namespace); is["eth0"] != 1500 {
					t.Errorf("the uplink of %s has an MTU of %d", n.Name, is["eth0"])
				}
				for _, p := range n.Pods {
					if is := devices(t, p.Namespace); is["eth0"] != 1340 {
						t.Errorf("%s has an MTU of %d", p.Title(), is["eth0"])
					}
				}
			}
			for _, tunnel := range map[string][]string{"vxlan": {"flannel.1"}, "vxlan-calico": {"vxlan.calico"}, "ipip-calico": {"tunl0"}}[s.name] {
				if is := devices(t, after.Cluster.Nodes[0].Namespace); is[tunnel] != 1340 {
					t.Errorf("%s has an MTU of %d", tunnel, is[tunnel])
				}
			}
			for _, c := range checked(t, after).Checks {
				if c.Name == "mtu" && strings.Contains(c.From, "/") && !strings.Contains(c.Expected, "1340 bytes pass whole") {
					t.Errorf("%s to %s: %s", c.From, c.To, c.Expected)
				}
			}
		})
	}
}

// TestInterfacesHaveNames gives the interfaces of a lab that is up other names: it goes on to do what its mode promises, and
// the script that plan --shell prints builds it as well.
func TestInterfacesHaveNames(t *testing.T) {
	needRoot(t)
	for _, s := range systems {
		t.Run(s.name, func(t *testing.T) {
			before := planned(t, plain(t, s.mode, s.settings, s.vlan, "", ""), "names", "")
			after := planned(t, plain(t, s.mode, s.settings, s.vlan, `name = "up"`, ""), "names", "")
			up(t, before)
			up(t, after)
			healthy(t, after)
			for _, n := range after.Cluster.Nodes {
				is := devices(t, n.Namespace)
				if _, there := is["up"]; !there {
					t.Errorf("%s has no interface of that name: %v", n.Name, is)
				}
				for name := range is {
					if strings.HasPrefix(name, "eth0") {
						t.Errorf("%s still has %s", n.Name, name)
					}
				}
			}
			if err := testbed.Down(t.Context(), after.Cluster.Name, func(string) {}); err != nil {
				t.Fatal(err)
			}
			byScript(t, after)
		})
	}
}
