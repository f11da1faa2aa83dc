package suite

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
	kernel "labnet/testbed/trace"
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
  pod "p2" { serve = ["tcp/8080"] }
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
		if os.Getenv("LAB_VM") != "" && proxy != "ipvs" {
			continue // they need nothing of that kernel
		}
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

// behindRouters has pods in a VLAN that nodes reach by a router alone, and a laptop whose router sends what is for the pods and
// for services by way of a node. Each node has a second interface, and a service an endpoint that is no pod.
const behindRouters = `
lab "behind" {}
switch "lan" {
  subnet = ["192.168.205.0/24", "fd00:205::/64"]
  vlan "10" { subnet = ["10.10.0.0/24", "fd00:10::/64"] }
}
switch "far" { subnet = ["172.16.0.0/24", "fd00:16::/64"] }
switch "back" { subnet = "192.168.9.0/24" }
router "gw" {
  on "lan" { address = ["192.168.205.1", "fd00:205::1"] }
  on "lan" {
    vlan = 10
    address = ["10.10.0.1", "fd00:10::1"]
  }
  route {
    to = "172.16.0.0/24"
    via = "192.168.205.9"
  }
  route {
    to = "fd00:16::/64"
    via = "fd00:205::9"
  }
}
router "gw2" {
  on "lan" { address = ["192.168.205.9", "fd00:205::9"] }
  on "far" { address = ["172.16.0.1", "fd00:16::1"] }
  route {
    to = "10.10.0.0/24"
    via = "192.168.205.2"
  }
  route {
    to = "fd00:10::/64"
    via = "fd00:205::2"
  }
  route {
    to = "10.96.0.0/16"
    via = "192.168.205.3"
  }
}
host "laptop" {
  on "far" {}
  gateway = ["172.16.0.1", "fd00:16::1"]
}
node "node" {
  count = 2
  on "lan" {
    trunk = [10]
    address = ["192.168.205.${count.index + 2}", "fd00:205::${count.index + 2}"]
  }
  on "back" {}
  gateway = ["192.168.205.1", "fd00:205::1"]
  pods = 2
}
network "pods" {
  cidr = ["10.10.0.0/24", "fd00:10::/64"]
  mode = "macvlan"
}
mode "macvlan" {
  vlan = 10
  service_veth = true
}
services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }
service "web" {
  type = "NodePort"
  endpoints = ["node1/p1", "node2/p1", "172.16.0.2"]
  port "http" { port = 80 }
}
service "bal" {
  type = "LoadBalancer"
  endpoints = ["node1/p1", "node2/p1"]
  external_address = "192.168.205.77"
  port "http" { port = 80 }
}
`

// TestServiceVethBehindRouters: also what other machines route by way of a node is as promised, to its own pods and to services.
func TestServiceVethBehindRouters(t *testing.T) {
	p := planned(t, parse(t, "behind.hcl", behindRouters), "behind", "")
	up(t, p)
	healthy(t, p)
	everyone := p.Cluster.Everyone()
	called := func(title string) plan.Endpoint {
		return everyone[slices.IndexFunc(everyone, func(e plan.Endpoint) bool { return e.Title == title })]
	}
	tr := traced(t, p, called("laptop"), called("node1/p1"), func(*kernel.Options) {})
	if !tr.OK() || tr.Back == nil {
		t.Fatal(shown(tr))
	}
	last := tr.There.Hops[len(tr.There.Hops)-1]
	if first := tr.Back.Hops[0]; last.Device != "veth0" || first.Device != "eth0" {
		t.Errorf("it comes in by %s, and the answer leaves by %s:\n%s", last.Device, first.Device, shown(tr))
	}
}

// TestServiceVethChangesInPlace: service_veth is given to a running lab, with services and without, and taken away again, and the
// lab changes to a mode whose pods are behind their nodes and back. Namespaces stay, and so does the connection between two pods.
// An up that is cut short after any change is completed by the next.
func TestServiceVethChangesInPlace(t *testing.T) {
	const few = 2 // interrupted changes from one turn to the next
	one, _, _ := strings.Cut(detourServices, "service \"balanced\"")
	with, without, plain := detoured(t, "true", one, "nftables"), detoured(t, "true", "", ""), detoured(t, "false", "", "")
	at := func(l *lab.Lab, mode string) *plan.Plan { return built(t, l, "detours", mode) }
	turns := []*plan.Plan{at(plain, ""), at(without, ""), at(with, ""), at(with, "vxlan"), at(with, ""), at(plain, "")}
	t.Cleanup(func() { removed(t, turns[0]) })
	up(t, turns[0])
	was := namespaces(t, turns[0])
	here, there := turns[0].Cluster.Nodes[0].Pods[0], turns[0].Cluster.Nodes[1].Pods[1]
	inside := func() (net.Conn, answer) {
		c, err := dial(t, place(t, here.Namespace), "tcp4", there.Address(false).String()+":8080", patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, said(t, c)
	}
	c, before := inside()
	for i, next := range turns[1:] {
		for cut, step := 1, 0; ; cut += step {
			changes := pending(t, next)
			if step = 1 + len(changes)/few; Soaked {
				step = 1
			}
			if cut >= len(changes) {
				break
			}
			ctx, interrupt := context.WithCancel(t.Context())
			made := 0
			err := testbed.Apply(ctx, changes, func(plan.Change) {
				if made++; made == cut {
					interrupt()
				}
			})
			if interrupt(); !errors.Is(err, context.Canceled) {
				t.Fatalf("an up that was to be cut short after %d changes of %d: %v", cut, len(changes), err)
			}
			up(t, next)
			settled(t, next)
			up(t, turns[i])
		}
		up(t, next)
		healthy(t, next)
		settled(t, next)
		if now := namespaces(t, next); !maps.Equal(was, now) {
			t.Errorf("turn %d: namespaces were made anew", i+1)
		}
		if next.ModeName == "vxlan" || turns[i].ModeName == "vxlan" { // where pods have other addresses
			continue
		}
		if after := said(t, c); after != before {
			t.Errorf("turn %d: a connection of pods went to %v, and goes to %v", i+1, before, after)
		}
	}
	for _, ns := range []string{here.Namespace, here.Node.Namespace} {
		if left := devices(t, ns); len(left) > 2 { // lo and eth0
			t.Errorf("without service_veth %s has %v", ns, left)
		}
	}
}
