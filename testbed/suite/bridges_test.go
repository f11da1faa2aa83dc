package suite

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed/check"
)

// bridged is a lab with two nodes, and bridges of theirs in both families.
const bridged = `
lab "bridged" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
host "outside" {
  on "lan" {}
  serve = ["tcp/80"]
}
node "n" {
  count = 2
  on "lan" {}
  pods = 1
  pod "db" {
    networks = ["backend"]
    serve    = ["tcp/5432"]
  }
  pod "api" {
    networks = ["backend"]
    serve    = ["tcp/80"]
    publish  = ["9000:80"]
  }
  pod "side" {
    networks = ["pod:db"]
    serve    = ["tcp/81"]
  }
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
network "backend" {
  driver = "bridge"
  cidr   = ["172.18.0.0/16", "fd00:18::/64"]
  mtu    = 1400
}
`

// TestBridges: on bridges of nodes all is as promised in both families, what is damaged is drift that check explains, and a pod
// changes its network, and a network goes, while the lab runs.
func TestBridges(t *testing.T) {
	for _, mode := range []string{"host-gw", "calico"} {
		t.Run(mode, func(t *testing.T) {
			variant := "\nmode \"calico\" {\n  use  = \"bgp\"\n}\n"
			read := func(text string) *plan.Plan {
				return built(t, parse(t, "bridged.hcl", text+variant), "bridged", mode)
			}
			p := planned(t, parse(t, "bridged.hcl", bridged+variant), "bridged", mode)
			up(t, p)
			settled(t, p)
			healthy(t, p)
			outside := place(t, p.Cluster.NamespaceOf("outside"))
			db, api := p.Cluster.Nodes[0].Bridges[0].NICs[0], p.Cluster.Nodes[1].Bridges[0].NICs[1]
			if a := api.Addresses; a[0].String() != "172.18.0.5/16" || a[1].String() != "fd00:18::5/64" {
				t.Errorf("the last of four pods has %v", a)
			}
			for _, v6 := range []bool{false, true} {
				from, host := p.Cluster.Nodes[0].Uplink().Address(v6).Addr(), p.Cluster.Lab.Machines[0].Interfaces[0].Address(v6).Addr()
				if got := ask(t, place(t, db.Namespace), "tcp", netip.AddrPortFrom(host, 80).String()); got.pod != "outside" || got.source != from {
					t.Errorf("%s answers %s, and is to see %s", got.pod, got.source, from)
				}
			}
			if got := ask(t, outside, "tcp4", netip.AddrPortFrom(p.Cluster.Nodes[1].Uplink().Address(false).Addr(), 9000).String()); got.pod != "n2/api" {
				t.Errorf("at the published port %s answers", got.pod)
			}
			names := p.Cluster.Nearby()
			if near := names[db.Namespace]; len(names) != 4 || len(near) != 2 || near["api"][0] != netip.MustParseAddr("172.18.0.3") {
				t.Errorf("names nearby are %v", names)
			}
			for _, damage := range []struct {
				command string
				changes int
				red     []string
			}{
				{"iptables -D DOCKER 2", 1, nil},
				{"iptables -I DOCKER-USER -j ACCEPT", 1, []string{check.Reach}},
				{"ip6tables -F DOCKER-FORWARD", 4, []string{check.Reach}},
				{"iptables -t nat -D POSTROUTING -s 172.18.0.0/16 ! -o br-backend -j MASQUERADE", 1, []string{check.Reach}},
				{"ip address del 172.18.0.1/16 dev br-backend", 1, []string{check.Reach, check.Serve}},
				{"ip link set br-backend mtu 1300", 1, []string{check.MTU}},
			} {
				sh(t, p, "ip netns exec %s.n1 "+damage.command)
				if changes := pending(t, p); len(changes) != damage.changes {
					t.Errorf("after %s up would make %v", damage.command, changes)
				}
				if damage.red != nil {
					r := checked(t, p)
					if !slices.Contains(red(r), damage.red[0]) || len(r.Culprits) == 0 {
						t.Errorf("after %s red are %q: %+v", damage.command, red(r), r.Culprits)
					}
				}
				up(t, p)
			}
			sh(t, p, "ip -n %s.n1 link del br-backend")
			up(t, p)
			healthy(t, p)

			moved := read(strings.Replace(bridged, "networks = [\"backend\"]\n    serve    = [\"tcp/5432\"]", "networks = count.index == 0 ? [\"backend\"] : null\n    serve    = [\"tcp/5432\"]", 1))
			up(t, moved)
			settled(t, moved)
			healthy(t, moved)
			up(t, p)
			healthy(t, p)

			// The kernel may take the address of any device for a source, and takes that of the oldest.
			renamed := read(strings.Replace(bridged, "  on \"lan\" {}\n  pods = 1", "  on \"lan\" {\n    name = \"ens192\"\n  }\n  pods = 1", 1))
			up(t, renamed)
			settled(t, renamed)
			healthy(t, renamed)
			up(t, p)

			without := read(strings.NewReplacer("networks = [\"backend\"]", "networks = [\"none\"]", "publish  = [\"9000:80\"]", "").Replace(bridged[:strings.Index(bridged, "network \"backend\"")]))
			up(t, without)
			settled(t, without)
			healthy(t, without)
			if left := sh(t, p, "ip netns exec %s.n1 nft list ruleset; ip -n %s.n1 link"); strings.Contains(left, "DOCKER") || strings.Contains(left, "br-backend") {
				t.Errorf("what is no longer wanted is left:\n%s", left)
			}
		})
	}
}

// TestServicesBesideBridges: pods in their node's namespace stand behind services, and pods on bridges ask: who answers whom under
// which address is as promised, whatever translates.
func TestServicesBesideBridges(t *testing.T) {
	const text = `
lab "beside" {}
switch "lan" { subnet = "192.168.205.0/24" }
router "gw" {
  on "lan" {}
}
host "outside" {
  on "lan" {}
  serve = ["tcp/80"]
}
node "n" {
  count = 2
  on "lan" {}
  pods       = 1
  pod_labels = { app = "web" }
  pod "db" { networks = ["backend"] }
  pod "agent" {
    networks = ["host"]
    labels   = { app = "agent" }
    serve    = ["tcp/9100"]
  }
}
network "pods" { cidr = "10.42.0.0/16" }
network "backend" {
  driver = "bridge"
  cidr   = "172.18.0.0/16"
}
services { proxy = "%s" }
service "web" {
  type     = "NodePort"
  selector = { app = "web" }
  port "http" { port = 80 }
}
service "agent" {
  type             = "NodePort"
  selector         = { app = "agent" }
  internal_traffic = "%[2]s"
  external_traffic = "%[2]s"
  port "http" { port = 9100 }
}
service "elsewhere" {
  endpoints = ["192.168.205.2"]
  port "http" { port = 80 }
}
mode "calico" { use = "bgp" }
mode "bifrost" {
  use          = "macvlan"
  cidr         = "192.168.205.128/25"
  service_veth = true
}
`
	for _, tt := range []struct{ mode, proxy, policy string }{
		{"host-gw", "nftables", "Cluster"}, {"host-gw", "iptables", "Local"}, {"calico", "iptables", "Cluster"}, {"calico", "nftables", "Local"}, {"bifrost", "nftables", "Cluster"},
	} {
		t.Run(tt.mode+" "+tt.proxy+" "+tt.policy, func(t *testing.T) {
			l := parse(t, "beside.hcl", fmt.Sprintf(text, tt.proxy, tt.policy))
			if !buildable(t, l, tt.mode) {
				t.Skip("the kernel lacks something")
			}
			p := planned(t, l, "beside", tt.mode)
			up(t, p)
			settled(t, p)
			healthy(t, p)
		})
	}
}
