package suite

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// detour has pods on the nodes' own segment, where a pod and its node do not reach each other without the second device, and
// services of every kind.
const detour = `
lab "detour" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
switch "office" { subnet = ["172.16.0.0/24", "fd00:16::/64"] }
router "gw" {
  on "lan" { address = ["192.168.205.1", "fd00:205::1"] }
  on "office" {}
  route {
    to  = "10.96.0.0/16"
    via = "192.168.205.3"
  }
}
host "laptop" {
  on "office" {}
  gateway = ["172.16.0.1", "fd00:16::1"]
}
node "node" {
  count = 2
  on "lan" { address = ["192.168.205.${count.index + 2}", "fd00:205::${count.index + 2}"] }
  gateway = ["192.168.205.1", "fd00:205::1"]
  pod "p1" {}
  pod "p2" {}
}
network "pods" {
  cidr = ["192.168.205.128/26", "fd00:205::1:0/112"]
  mode = "macvlan"
}
mode "macvlan" { service_veth = VETH }
mode "vxlan" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
`

const detourServices = `
services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }
service "web" {
  type      = "NodePort"
  address   = ["10.96.0.10", "fd00:96::10"]
  endpoints = ["node1/p1", "node2/p1"]
  port "http" { port = 80 }
  port "udp" {
    port     = 53
    protocol = "udp"
  }
}
service "balanced" {
  type      = "LoadBalancer"
  endpoints = ["node1/p1", "node2/p2"]
  port "http" { port = 81 }
}
service "near" {
  internal_traffic = "Local"
  affinity         = "ClientIP"
  endpoints        = ["node1/p1", "node1/p2"]
  port "http" { port = 82 }
}
service "kept" {
  type             = "NodePort"
  external_traffic = "Local"
  endpoints        = ["node1/p1", "node2/p1"]
  port "http" { port = 83 }
}
service "nobody" {
  type = "NodePort"
  port "http" { port = 84 }
}
`

func detoured(t *testing.T, veth, services, proxy string) *lab.Lab {
	t.Helper()
	l := parse(t, "detour.hcl", strings.Replace(detour, "VETH", veth, 1)+services)
	if l.Services != nil {
		l.Services.Proxy = proxy
	}
	return l
}

// TestServiceVeth: with service_veth all that is promised of services holds in macvlan, whoever asks for what: the cluster IP, a
// load balancer and node ports, over both families. Endpoints see nodes and no pod; what would have to keep the client's address
// is lost.
func TestServiceVeth(t *testing.T) {
	for _, proxy := range lab.Proxies {
		t.Run(proxy, func(t *testing.T) {
			p := planned(t, detoured(t, "true", detourServices, proxy), "detour", "")
			up(t, p)
			healthy(t, p)
			settled(t, p)
			nodes := map[netip.Addr]bool{}
			p.State.Each(func(o plan.Object) {
				if a, ok := o.(plan.Address); ok && slices.ContainsFunc(p.Cluster.Nodes, func(n *plan.Node) bool { return n.Namespace == a.Namespace }) {
					nodes[a.Prefix.Addr()] = true
				}
			})
			kinds := map[string]int{}
			flows := p.ServiceFlows()
			for i := range flows.Len() {
				f := flows.At(i)
				e := p.ExpectService(f)
				switch {
				case e.Lost != "":
					kinds["lost"]++
				case e.Refused:
					kinds["refused"]++
				case e.Unknown != "":
					kinds["unknown"]++
				}
				for _, b := range e.Backends {
					if len(b.Sources) == 0 || slices.ContainsFunc(b.Sources, func(a netip.Addr) bool { return !nodes[a] }) {
						t.Errorf("%s asks %s, and %s sees %v", f.From.Title, f.To, b.Title, b.Sources)
					}
					switch {
					case f.From.Namespace == b.Namespace:
						kinds["itself"]++
					case f.From.Pod == nil && f.From.Machine.Kind == lab.Node:
						kinds["node"]++
					case f.From.Pod == nil:
						kinds["outside"]++
					case f.From.Node == b.Node:
						kinds["the same node"]++
					default:
						kinds["another node"]++
					}
				}
			}
			for _, kind := range []string{"lost", "refused", "itself", "node", "outside", "the same node", "another node"} {
				if kinds[kind] == 0 {
					t.Errorf("nothing is promised of the kind %q: %v", kind, kinds)
				}
			}
		})
	}
}
