package modes

import (
	"fmt"
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
				if p != nil || diags[0].Subject == nil || diags[0].Subject.Start.Line == 0 || !strings.Contains(diags.Error(), "ervices in mode "+mode) {
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
	} {
		p, said := build(tt.lab, tt.proxy, tt.without)
		if (p == nil) != (tt.says != "") || p != nil && p.Proxy != tt.is || !strings.Contains(strings.ToLower(said), strings.ToLower(tt.says)) {
			t.Errorf("lab %s, --proxy %q, without %q: %s", tt.lab, tt.proxy, tt.without, said)
		}
	}
}

// TestServiceFlows: every client can ask every address of every port, each once, and the place of a flow to a cluster IP is known.
func TestServiceFlows(t *testing.T) {
	for name, balancer := range map[string]bool{"services": false, "services with a balancer": true} {
		text, _ := labs.Read("services")
		if balancer {
			text = append(text, "service \"lb\" {\n  type = \"LoadBalancer\"\n  endpoints = [\"master/p1\"]\n  port \"a\" { port = 90 }\n  port \"b\" { port = 91 }\n}\n"...)
		}
		l, _, diags := lab.Load("services.hcl", text, lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		want := map[string]bool{}
		for _, from := range p.Cluster.Everyone() {
			for _, port := range p.Cluster.ServicePorts() {
				if from.Also || !from.Address.Is4() || !port.Address.Is4() {
					continue
				}
				want[fmt.Sprint(from.Title, port.Address, port.Port, port.Protocol)] = true
				if port.Balancer.IsValid() {
					want[fmt.Sprint(from.Title, port.Balancer, port.Port, port.Protocol)] = true
				}
				for _, n := range p.Cluster.Nodes {
					if port.NodePort != 0 {
						want[fmt.Sprint(from.Title, n.Uplink().Address(false).Addr(), port.NodePort, port.Protocol)] = true
					}
				}
			}
		}
		flows := p.ServiceFlows()
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
		}
		for port := range flows.Ports {
			for client, from := range flows.Clients {
				if f := flows.At(flows.ToClusterIP(port, client)); f.From != from || f.To.Addr() != flows.Ports[port].Address {
					t.Errorf("%s: from %s to port %d: %s %v", name, from.Title, port, f.From.Title, f.To)
				}
			}
		}
	}
}
