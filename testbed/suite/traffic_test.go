package suite

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/testbed"
)

const trafficLab = `
lab "traffic" {}
switch "lan" { subnet = "192.168.205.0/24" }
host "outside" {
  on "lan" { address = "192.168.205.9" }
}
node "master" {
  on "lan" { address = "192.168.205.4" }
  gateway = "192.168.205.9"
  pod "p1" { serve = ["tcp/8080"] }
  pod "p2" { serve = ["tcp/8080"] }
}
node "worker" {
  on "lan" { address = "192.168.205.3" }
  gateway = "192.168.205.9"
  pod "p1" { serve = ["tcp/8080"] }
  pod "p2" { serve = ["tcp/8080"] }
}
network "pods" { cidr = "10.42.0.0/16" }
services { node_ports = "32000-32100" }
service "sticky" {
  address   = "10.96.0.10"
  affinity  = "ClientIP"
  endpoints = ["master/p1", "worker/p1"]
  port "http" {
    port   = 80
    target = 8080
  }
}
service "here" {
  address          = "10.96.0.11"
  internal_traffic = "Local"
  endpoints        = ["master/p1", "worker/p1"]
  port "http" {
    port   = 80
    target = 8080
  }
}
service "there" {
  address          = "10.96.0.12"
  internal_traffic = "Local"
  endpoints        = ["worker/p1"]
  port "http" {
    port   = 80
    target = 8080
  }
}
service "edge" {
  type             = "LoadBalancer"
  address          = "10.96.0.13"
  external_traffic = "Local"
  endpoints        = ["worker/p1", "worker/p2"]
  port "http" {
    port      = 80
    target    = 8080
    node_port = 32080
  }
}
service "both" {
  type             = "LoadBalancer"
  external_address = "192.168.205.50"
  endpoints        = ["master/p1", "worker/p1"]
  port "http" {
    port   = 80
    target = 8080
  }
}
service "bare" {
  type      = "Headless"
  endpoints = ["master/p1", "worker/p1"]
  port "http" { port = 8080 }
}
`

// lost asserts that nothing comes back, not even a refusal.
func lost(t *testing.T, from *testbed.Place, to string) {
	t.Helper()
	var timeout net.Error
	if c, err := dial(t, from, "tcp4", to, time.Second/4); err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		if c != nil {
			c.Close()
		}
		t.Errorf("what %s sends to %s is not lost: %v", from.Name, to, err)
	}
}

// TestServiceTraffic: affinity, traffic that stays on its node, load balancers, headless services and masquerading of everything,
// by each proxy, for bridged and for routed pods.
func TestServiceTraffic(t *testing.T) {
	for _, mode := range []string{"vxlan", "bgp"} {
		for _, proxy := range []string{"nftables", "iptables"} { // to ipvs a policy means something else: see TestIPVSPolicies
			t.Run(mode+" "+proxy, func(t *testing.T) {
				l := parse(t, "traffic.hcl", trafficLab)
				l.Services.Proxy = proxy
				p := planned(t, l, "traffic", mode)
				up(t, p)
				places, addresses := map[string]*testbed.Place{}, map[string]netip.Addr{}
				for _, e := range p.Cluster.Everyone() {
					if !e.Also {
						places[e.Title], addresses[e.Title] = place(t, e.Namespace), e.Address
					}
				}
				// answers are who answers, and what source they see.
				answers := func(from, to string) (who []string, sources []netip.Addr) {
					t.Helper()
					for range 48 {
						a := ask(t, places[from], "tcp4", to)
						if !slices.Contains(who, a.pod) {
							who = append(who, a.pod)
						}
						if !slices.Contains(sources, a.source) {
							sources = append(sources, a.source)
						}
					}
					slices.Sort(who)
					return who, sources
				}
				want := func(from, to string, pods ...string) []netip.Addr {
					t.Helper()
					who, sources := answers(from, to)
					if !slices.Equal(who, pods) {
						t.Errorf("%s asks %s: %s answer, want %s", from, to, strings.Join(who, " and "), strings.Join(pods, " and "))
					}
					return sources
				}
				for _, from := range []string{"master/p2", "worker/p2", "master"} {
					if who, _ := answers(from, "10.96.0.10:80"); len(who) != 1 {
						t.Errorf("%s does not keep its endpoint: %s answer", from, strings.Join(who, " and "))
					}
				}
				for _, from := range []string{"master/p2", "master"} {
					want(from, "10.96.0.11:80", "master/p1")
					lost(t, places[from], "10.96.0.12:80")
				}
				want("worker/p2", "10.96.0.11:80", "worker/p1")
				want("worker/p2", "10.96.0.12:80", "worker/p1")

				edge := service(l, "edge").External.String() + ":80"
				for _, to := range []string{edge, "192.168.205.3:32080"} {
					if sources := want("outside", to, "worker/p1", "worker/p2"); !slices.Equal(sources, []netip.Addr{addresses["outside"]}) {
						t.Errorf("asked from outside at %s the endpoints see %v", to, sources)
					}
				}
				lost(t, places["outside"], "192.168.205.4:32080")
				for _, from := range []string{"master/p2", "master", "worker"} {
					want(from, edge, "worker/p1", "worker/p2")
				}
				if sources := want("outside", "192.168.205.50:80", "master/p1", "worker/p1"); slices.Contains(sources, addresses["outside"]) {
					t.Errorf("a load balancer that forwards to other nodes has to masquerade, and the endpoints see %v", sources)
				}
				if at, _ := p.Cluster.Announcer(service(l, "edge")); at.Name != "worker" {
					t.Errorf("%s answers for the address of a load balancer whose endpoints are on the worker", at.Name)
				}
				if got, want := p.Cluster.Names()["bare.svc"], []netip.Addr{addresses["master/p1"], addresses["worker/p1"]}; !slices.Equal(got, want) {
					t.Errorf("the name of a headless service stands for %v, want %v", got, want)
				}
				if sources := want("master/p2", "10.96.0.13:80", "worker/p1", "worker/p2"); !slices.Equal(sources, []netip.Addr{addresses["master/p2"]}) {
					t.Errorf("of a pod the endpoints see %v", sources)
				}
				l.Services.MasqueradeAll = true
				all := built(t, l, "traffic", mode)
				if n := len(pending(t, all)); n == 0 {
					t.Error("to masquerade everything changes nothing")
				}
				up(t, all)
				if sources := want("master/p2", "10.96.0.13:80", "worker/p1", "worker/p2"); slices.Contains(sources, addresses["master/p2"]) {
					t.Errorf("everything is masqueraded, and of a pod the endpoints see %v", sources)
				}
			})
		}
	}
}

func service(l *lab.Lab, name string) *lab.Service {
	at := slices.IndexFunc(l.Services.All, func(s *lab.Service) bool { return s.Name == name })
	return l.Services.All[at]
}
