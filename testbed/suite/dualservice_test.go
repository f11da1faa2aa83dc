package suite

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab"
)

const dualServices = `
lab "dual" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
host "outside" {
  on "lan" { address = ["192.168.205.9", "fd00:205::9"] }
}
node "master" {
  on "lan" { address = ["192.168.205.4", "fd00:205::4"] }
  gateway = ["192.168.205.9", "fd00:205::9"]
  pod "p1" { serve = ["tcp/8080"] }
  pod "p2" {}
}
node "worker" {
  on "lan" { address = ["192.168.205.3", "fd00:205::3"] }
  gateway = ["192.168.205.9", "fd00:205::9"]
  pod "p1" { serve = ["tcp/8080"] }
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }
service "web" {
  type      = "NodePort"
  address   = ["10.96.0.10", "fd00:96::10"]
  endpoints = ["master/p1", "worker/p1"]
  port "http" {
    port      = 80
    target    = 8080
    node_port = 32080
  }
}
service "nobody" {
  port "http" { port = 80 }
}
`

// TestDualStackServices: a service has an address of each family, and is reached at both alike: from pods, whose source the
// endpoints see, by an endpoint itself, from nodes, and from outside at the node ports.
func TestDualStackServices(t *testing.T) {
	for _, mode := range []string{"vxlan", "bgp"} {
		for _, proxy := range lab.Proxies {
			t.Run(mode+" "+proxy, func(t *testing.T) {
				l := parse(t, "dual.hcl", dualServices)
				l.Services.Proxy = proxy
				p := planned(t, l, "dualsvc", mode)
				up(t, p)
				for _, from := range p.Cluster.Everyone() {
					if from.Also {
						continue
					}
					client, network := place(t, from.Namespace), "tcp4"
					web, nobody, node := "10.96.0.10:80", p.Cluster.Names()["nobody"][0].String()+":80", "192.168.205.3:32080"
					if from.Address.Is6() {
						network, web, nobody, node = "tcp6", "[fd00:96::10]:80", "["+p.Cluster.Names()["nobody"][1].String()+"]:80", "[fd00:205::3]:32080"
					}
					targets := []string{node}
					if from.Title != "outside" { // which has no route for services
						targets = append(targets, web)
						if _, err := dial(t, client, network, nobody, patience); !errors.Is(err, unix.ECONNREFUSED) {
							t.Errorf("%s: %s is not refused: %v", from.Title, nobody, err)
						}
					}
					for _, to := range targets {
						var who []string
						for range 48 {
							a := ask(t, client, network, to)
							if !slices.Contains(who, a.pod) {
								who = append(who, a.pod)
							}
							if kept := from.Pod != nil && a.pod != from.Title && to == web; kept != (a.source == from.Address) && from.Pod != nil {
								t.Fatalf("%s asks %s, and %s sees %s", from.Title, to, a.pod, a.source)
							}
						}
						if slices.Sort(who); strings.Join(who, " ") != "master/p1 worker/p1" {
							t.Errorf("%s asks %s, and of the endpoints there answer %v", from.Title, to, who)
						}
					}
				}
			})
		}
	}
}
