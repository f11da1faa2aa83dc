package modes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
)

// TestServicesAreRefused: where what pods send passes no firewall of their node, and where it is bridged past it, a lab with
// services has no plan; everywhere else each node has the table.
func TestServicesAreRefused(t *testing.T) {
	text, _ := labs.Read("services")
	l, _, diags := lab.Load("services.hcl", text, lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	unbridged := plan.AllFeatures()
	delete(unbridged, plan.FeatureBridgeNetfilter)
	joined := map[string]bool{"macvlan": true, "ipvlan": true, "vlan": true}
	bridged := map[string]bool{"host-gw": true, "vxlan": true, "udp": true, "ipip": true, "bgp": false}
	for _, mode := range All.Names() {
		if asks[mode] {
			continue
		}
		_, joins := All.Get(mode).(plan.Joiner)
		if joins != joined[mode] {
			t.Errorf("mode %s puts its pods on a segment: %v", mode, joins)
		}
		for _, f := range []plan.Features{plan.AllFeatures(), unbridged} {
			p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: f})
			switch lacks := !f[plan.FeatureBridgeNetfilter]; {
			case mode == "vlan": // which also wants a VLAN that the lab does not have
				if p != nil {
					t.Error("mode vlan has services")
				}
			case joins || lacks && bridged[mode]:
				remedy := mode == "macvlan" && joins
				if p != nil || diags[0].Subject == nil || diags[0].Subject.Start.Line == 0 || !strings.Contains(diags.Error(), "ervices in mode "+mode) || strings.Contains(diags.Error(), "service_veth = true") != remedy {
					t.Errorf("%s, without br_netfilter %v: %v", mode, lacks, diags)
				}
			case p == nil:
				t.Errorf("%s, without br_netfilter %v: %v", mode, lacks, diags)
			default:
				for _, n := range p.Cluster.Nodes {
					if !strings.Contains(planned(l, mode, f), "ip netns exec "+n.Namespace+" nft -f - <<'EOF'\ntable ip kube-proxy {") {
						t.Errorf("%s: node %s has no table", mode, n.Name)
					}
				}
			}
		}
	}
}

// TestProxyIsChosen: the command line's proxy takes the place of the file's; one that is none, or for a lab without services,
// is refused, and so is iptables where the kernel lacks it.
func TestProxyIsChosen(t *testing.T) {
	build := func(name, proxy string, without plan.Feature) (*plan.Plan, string) {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		f := plan.AllFeatures()
		delete(f, without)
		p, diags := plan.Build(l, plan.Options{Proxy: proxy, Modes: All, Features: f})
		return p, diags.Error()
	}
	for _, tt := range []struct {
		lab, proxy string
		without    plan.Feature
		is, says   string
	}{
		{"services", "", "", "nftables", ""},
		{"services", "iptables", "", "iptables", ""},
		{"services", "iptable", "", "", `did you mean "iptables"`},
		{"three-node", "iptables", "", "", "has no services"},
		{"three-node", "", "", "", ""},
		{"services", "iptables", plan.FeatureIPTables, "", "modprobe -a nft_compat"},
		{"services", "nftables", plan.FeatureIPTables, "nftables", ""},
		{"services", "ipvs", "", "ipvs", ""},
		{"services", "ipvs", plan.FeatureIPVS, "", "modprobe -a ip_vs ip_vs_rr ip_set"},
		{"services", "ipvs", plan.SchedulerFeature("rr"), "", "modprobe ip_vs_rr"},
		{"services", "nftables", plan.FeatureIPVS, "nftables", ""},
	} {
		p, said := build(tt.lab, tt.proxy, tt.without)
		if (p == nil) != (tt.says != "") || p != nil && p.Proxy != tt.is || !strings.Contains(strings.ToLower(said), strings.ToLower(tt.says)) {
			t.Errorf("lab %s, --proxy %q, without %q: %s", tt.lab, tt.proxy, tt.without, said)
		}
	}
}

// TestServiceFlows: every client can ask every address of every port, each once, and the place of a flow to a cluster IP is known.
func TestServiceFlows(t *testing.T) {
	text, _ := labs.Read("services")
	one := string(text)
	balanced := one + "service \"lb\" {\n  type = \"LoadBalancer\"\n  endpoints = [\"master/p1\"]\n  port \"a\" { port = 90 }\n  port \"b\" { port = 91 }\n}\n"
	dual := strings.NewReplacer(
		`subnet = "192.168.205.0/24"`, `subnet = ["192.168.205.0/24", "fd00:205::/64"]`,
		`cidr = "10.42.0.0/16"`, `cidr = ["10.42.0.0/16", "fd00:42::/48"]`,
		`cidr = "10.43.0.0/16"`, `cidr = ["10.43.0.0/16", "fd00:43::/112"]`,
		`on "lan" { address = "192.168.205.4" }`, `on "lan" { address = ["192.168.205.4", "fd00:205::4"] }`,
		`on "lan" { address = "192.168.205.3" }`, `on "lan" { address = ["192.168.205.3", "fd00:205::3"] }`,
	).Replace(balanced)
	for name, text := range map[string]string{"services": one, "services with a balancer": balanced, "services of both families": dual} {
		l, _, diags := lab.Load("services.hcl", []byte(text), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		want := map[string]bool{}
		everyone := p.Cluster.Everyone()
		for _, s := range p.Cluster.Lab.Services.All {
			for _, port := range s.Ports {
				for _, a := range append(s.Addresses(), s.External) {
					for _, from := range everyone {
						if !from.Also && a.IsValid() && from.Address.Is6() == a.Is6() {
							want[fmt.Sprint(from.Title, a, port.Port, port.Protocol)] = true
						}
					}
				}
				for _, to := range everyone {
					for _, from := range everyone {
						node := to.Machine != nil && to.Machine.Kind == lab.Node
						if node && port.NodePort != 0 && !from.Also && from.Address.Is6() == to.Address.Is6() && len(s.Addresses()) > 0 {
							want[fmt.Sprint(from.Title, to.Address, port.NodePort, port.Protocol)] = true
						}
					}
				}
			}
		}
		flows, six := p.ServiceFlows(), false
		if flows.Len() != len(want) {
			t.Errorf("%s: there are %d flows, want %d", name, flows.Len(), len(want))
		}
		for i := range flows.Len() {
			f := flows.At(i)
			key := fmt.Sprint(f.From.Title, f.To.Addr(), f.To.Port(), f.Port.Protocol)
			if !want[key] {
				t.Errorf("%s: flow %d, %s, is another or there twice", name, i, key)
			}
			delete(want, key)
			six = six || f.Port.Address.Is6()
		}
		if six != (text == dual) {
			t.Errorf("%s: services are asked at addresses of IPv6: %v", name, six)
		}
		for port := range flows.Ports {
			for client, from := range flows.Clients(port) {
				if f := flows.At(flows.ToClusterIP(port, client)); f.From != from || f.To.Addr() != flows.Ports[port].Address {
					t.Errorf("%s: from %s to port %d: %s %v", name, from.Title, port, f.From.Title, f.To)
				}
			}
		}
	}
}

// TestServiceVeth: in macvlan services need a second device of each pod, what that leads to, and a node that reaches the pods of others.
func TestServiceVeth(t *testing.T) {
	const right = `
lab "veth" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
switch "back" { subnet = "192.168.9.0/24" }
node "node" {
  count = 2
  on "lan" {}
  on "back" {}
  pod "p1" {}
  pod "p-with-a-long-name" {}
}
network "pods" {
  cidr = ["192.168.205.128/26", "fd00:205::1:0/112"]
  mode = "macvlan"
}
mode "macvlan" { service_veth = true }
services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }
service "web" {
  type      = "LoadBalancer"
  endpoints = ["node2/p1"]
  external_address = "192.168.205.99"
  port "http" { port = 80 }
}
`
	for _, tt := range []struct {
		name, old, new, says string
	}{
		{"right", "", "", ""},
		{"left out", "service_veth = true", "", `mode "macvlan" { service_veth = true }`},
		{"false", "service_veth = true", "service_veth = false", `mode "macvlan" { service_veth = true }`},
		{"no bool", "service_veth = true", "service_veth = 7", "bool required"},
		{"a family that nodes lack", `["192.168.205.0/24", "fd00:205::/64"]`, `"192.168.205.0/24"`, "no subnet of that family, so that node"},
		{"pods that nodes have no way to", `"192.168.205.128/26", "fd00:205::1:0/112"`, `"10.42.0.0/16", "fd00:42::/112"`, `it does not reach node2/p1: node1 has no route to 10.42.`},
	} {
		l, _, diags := lab.Load("veth.hcl", []byte(strings.Replace(right, tt.old, tt.new, 1)), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if (p == nil) != (tt.says != "") || !strings.Contains(diags.Error(), tt.says) || p == nil && (diags[0].Subject == nil || diags[0].Subject.Start.Line == 0) {
			t.Errorf("%s: %v", tt.name, diags)
		}
	}
	kept := strings.Replace(right, "external_address", "external_traffic = \"Local\"\n  external_address", 1)
	for text, warned := range map[string]bool{right: false, kept: true} {
		l, _, _ := lab.Load("veth.hcl", []byte(text), lab.Inputs{})
		_, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() || strings.Contains(diags.Error(), "Service web does not answer those outside") != warned {
			t.Errorf("of traffic that stays on its node is warned: %v", diags)
		}
	}
	l, _, _ := lab.Load("veth.hcl", []byte(right), lab.Inputs{})
	through := map[string][]string{}
	hosts := map[string]int{}
	p, _ := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
	p.State.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Route:
			if o.Dev == "veth0" {
				through[o.Namespace] = append(through[o.Namespace], o.Dst.String())
			}
		case plan.Link:
			if o.Peer().Name == "veth0" {
				hosts[o.Name]++
			}
		}
	})
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			want := []string{"10.96.0.0/16", "192.168.205.99/32", "fd00:96::/112"}
			for _, nic := range n.Interfaces {
				for _, a := range nic.Addresses {
					want = append(want, plan.Single(a.Addr()).String())
				}
			}
			slices.Sort(want)
			if slices.Sort(through[pod.Namespace]); !slices.Equal(through[pod.Namespace], want) {
				t.Errorf("through veth0 %s sends to %v, want %v", pod.Title(), through[pod.Namespace], want)
			}
		}
	}
	if len(hosts) != 2 || hosts["svc-p1"] != 2 {
		t.Errorf("the nodes' ends are called %v", hosts)
	}
}
