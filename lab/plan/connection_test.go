package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"labnet/lab"
	"labnet/lab/kubeproxy"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
)

// TestStale: of the services of every shipped lab, every other of them over UDP, by each proxy and on each node, an entry is stale just where
// it leads to none of the endpoints.
func TestStale(t *testing.T) {
	elsewhere := netip.MustParseAddr("192.0.2.1")
	asked := 0
	for _, name := range labs.Names() {
		text, _ := labs.Read(name)
		l, _, diags := lab.Load(name+".hcl", text, lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if l.Services == nil || len(l.Services.All) > 100 {
			continue
		}
		for _, s := range l.Services.All { // half of the ports are of UDP
			if s.Type == lab.ClusterIP {
				s.Type = lab.NodePort
			}
			for i, p := range s.Ports {
				if p.NodePort == 0 && s.Outside() {
					p.NodePort = 31000 + 10*len(s.Name) + i
				}
				if i == 0 && len(s.Name)%2 == 1 {
					p.Protocol = "udp"
				}
			}
		}
		for _, proxy := range lab.Proxies {
			p, diags := plan.Build(l, plan.Options{Proxy: proxy, Modes: modes.All, Features: plan.AllFeatures()})
			if p == nil {
				t.Fatal(diags)
			}
			for _, port := range p.Cluster.ServicePorts() {
				for _, at := range p.Cluster.Nodes {
					for _, node := range p.Cluster.Nodes {
						own := node.Uplink().Address(false).Addr()
						for _, to := range []netip.AddrPort{
							netip.AddrPortFrom(port.Address, port.Port), netip.AddrPortFrom(port.Balancer, port.Port), netip.AddrPortFrom(own, port.NodePort),
							netip.AddrPortFrom(port.Address, port.Port+1), netip.AddrPortFrom(elsewhere, port.Port),
						} {
							if !to.Addr().IsValid() || to.Port() == 0 {
								continue
							}
							c := plan.Connection{Namespace: at.Namespace, From: netip.AddrPortFrom(own, 40000), To: to}
							known := slices.ContainsFunc(p.Cluster.ServicePorts(), func(o kubeproxy.Port) bool {
								socket := to == netip.AddrPortFrom(o.Address, o.Port) || to == netip.AddrPortFrom(o.Balancer, o.Port) || node == at && to == netip.AddrPortFrom(own, o.NodePort)
								return socket && o.Protocol == "udp" && len(o.Endpoints) > 0
							})
							for _, e := range port.Endpoints {
								if c.By = e; to.Port() != port.Port+1 && p.State.Stale(c) {
									t.Errorf("%s %s on %s: an entry from %s to its endpoint %s is stale", name, proxy, at.Name, to, e)
								}
							}
							for _, by := range []netip.AddrPort{to, netip.AddrPortFrom(elsewhere, port.Port)} {
								if c.By = by; p.State.Stale(c) != known {
									t.Errorf("%s %s on %s: stale is %t of an entry from %s to %s", name, proxy, at.Name, !known, to, by)
								}
								asked++
							}
						}
					}
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d entries were looked at", asked)
	}
}

// TestConnectionsAreForgottenLast: while a rule still sends datagrams where they are not to go any more, an entry would come back.
func TestConnectionsAreForgottenLast(t *testing.T) {
	text, _ := labs.Read("services")
	l, _, diags := lab.Load("services.hcl", text, lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	build := func() *plan.Plan {
		p, diags := plan.Build(l, plan.Options{Modes: modes.All, Features: plan.AllFeatures()})
		if p == nil {
			t.Fatal(diags)
		}
		return p
	}
	actual := build().State
	dns := l.Services.All[slices.IndexFunc(l.Services.All, func(s *lab.Service) bool { return s.Name == "dns" })]
	dns.Endpoints = []lab.Backend{{Node: "master", Pod: "p2"}}
	entry := plan.Connection{
		Namespace: "services.master", From: netip.MustParseAddrPort("10.42.0.65:40000"), To: netip.MustParseAddrPort("10.43.0.10:53"),
		By: netip.MustParseAddrPort("10.42.1.2:53"), Back: netip.MustParseAddrPort("10.42.0.65:40000"),
	}
	actual.Add(entry)
	changes := plan.Diff(actual, build().State)
	if n := len(changes); n < 3 || changes[n-1].Object != plan.Object(entry) || changes[n-1].Op != plan.Delete {
		t.Errorf("the changes are %v", changes)
	}
}

// TestStalePublished: so is an entry of a published port that leads to another than its pod.
func TestStalePublished(t *testing.T) {
	text, _ := labs.Read("docker-networks")
	l, _, diags := lab.Load("docker-networks.hcl", text, lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for _, m := range l.Machines {
		for _, p := range m.Pods {
			for i := range p.Publishes {
				p.Publishes[i].Protocol = "udp"
			}
		}
	}
	p, diags := plan.Build(l, plan.Options{Modes: modes.All, Features: plan.AllFeatures()})
	if p == nil {
		t.Fatal(diags)
	}
	published := 0
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			for _, port := range pod.Publishes {
				published++
				c := plan.Connection{Namespace: n.Namespace, To: netip.AddrPortFrom(n.Uplink().Address(false).Addr(), uint16(port.Port))}
				for by, stale := range map[netip.Addr]bool{pod.Address(false): false, pod.Address(false).Next(): true} {
					if c.By = netip.AddrPortFrom(by, uint16(port.To)); p.State.Stale(c) != stale {
						t.Errorf("stale is %t of an entry of %s's port %d that leads to %s", !stale, n.Name, port.Port, by)
					}
				}
			}
		}
	}
	if published == 0 {
		t.Error("no pod publishes anything")
	}
}
