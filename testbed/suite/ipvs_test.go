package suite

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/check"
)

// policies is a lab whose services differ in who may answer, and as whose client.
const policies = `
lab "policies" {}
switch "lan" { subnet = "192.168.205.0/24" }
host "laptop" {
  on "lan" { address = "192.168.205.100" }
}
router "gw" {
  on "lan" { address = "192.168.205.101" }
}
node "node" {
  count = 3
  on "lan" {}
  gateway = "192.168.205.101"
  pods    = 2
}
network "pods" { cidr = "10.42.0.0/16" }
services { proxy = "ipvs" }
service "cluster" {
  type      = "LoadBalancer"
  endpoints = ["node1/p1", "node2/p1", "192.168.205.100"]
  port "http" { port = 80 }
}
service "local" {
  type             = "LoadBalancer"
  external_traffic = "Local"
  internal_traffic = "Local"
  endpoints        = ["node1/p1", "node2/p1"]
  port "http" { port = 80 }
}
service "kept" {
  type      = "NodePort"
  affinity  = "ClientIP"
  endpoints = ["node1/p1", "node2/p1"]
  port "http" { port = 80 }
}
service "nobody" {
  type = "NodePort"
  port "http" { port = 80 }
}
`

// TestIPVSPolicies: traffic that stays on its node, load balancers, refusals and turns are as promised, and another
// scheduler, on the running lab, changes how endpoints are chosen and nothing else.
func TestIPVSPolicies(t *testing.T) {
	l := parse(t, "policies.hcl", policies)
	p := planned(t, l, "ipvspolicies", "host-gw")
	up(t, p)
	turns := func(p *plan.Plan) int {
		r := checked(t, p)
		if !r.OK {
			var b strings.Builder
			r.Text(&b, 100, false)
			r.Failures(&b, 100, false)
			t.Errorf("%s:\n%s", l.Services.Scheduler, b.String())
		}
		n := 0
		for _, c := range r.Checks {
			if c.Name == check.Balance && strings.HasPrefix(c.Expected, "one after the other") {
				n++
			}
		}
		return n
	}
	if n := turns(p); n != 4 { // of the service whose endpoints all may answer, by a pod of each node; and where no own one is
		t.Errorf("%d clients saw endpoints take turns", n)
	}
	for _, l.Services.Scheduler = range []string{"lc", "sh"} {
		p = built(t, l, "ipvspolicies", "host-gw")
		for _, c := range pending(t, p) {
			if _, ok := c.Object.(plan.VirtualServer); !ok || c.Op != plan.Update {
				t.Errorf("with the scheduler %s up would %s %s", l.Services.Scheduler, c.Op, c.Object.Key())
			}
		}
		up(t, p)
		if n := turns(p); n != 0 {
			t.Errorf("with the scheduler %s endpoints take turns", l.Services.Scheduler)
		}
	}
}

// TestIPVSMistakesAnswers: where a client's port comes again on another way to the same endpoint, IPVS gives the answer to the first
// way. That is why [check.Run] overlooks some connections without an answer.
func TestIPVSMistakesAnswers(t *testing.T) {
	l := parse(t, "policies.hcl", strings.Replace(policies, `endpoints        = ["node1/p1", "node2/p1"]`, `endpoints = ["node2/p1"]`, 1))
	p := planned(t, l, "ipvsmistakes", "host-gw")
	up(t, p)
	in := func(machine string, f func() error) {
		place, err := testbed.Open(p.Cluster.Name + "." + machine)
		if err == nil {
			err = place.Do(f)
			place.Close()
		}
		if err != nil {
			t.Error(machine, err)
		}
	}
	in("node2.p1", func() error {
		server, err := net.Listen("tcp4", ":80")
		if err == nil {
			t.Cleanup(func() { server.Close() })
		}
		return err
	})
	const direct = "10.42.1.2:80"
	ask := func(port int, to string) (err error) {
		in("node1", func() error {
			var c net.Conn
			c, err = (&net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Timeout: 3 * time.Second}).Dial("tcp4", to)
			if err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
			return nil
		})
		return err
	}
	service := ""
	for _, port := range p.ServiceFlows().Ports {
		if port.Service == "default/local" {
			service = netip.AddrPortFrom(netip.MustParseAddr("192.168.205.3"), port.NodePort).String()
		}
	}
	for i, to := range []string{service, direct} {
		if err := ask(40000+i, to); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
	}
	if late, ok := errors.AsType[net.Error](ask(40000, direct)); !ok || !late.Timeout() {
		t.Errorf("the port that the service's connection had a moment before: %v", late)
	}
}

// TestIPVSIsRepaired: what somebody does to virtual and real servers is mended one by one.
func TestIPVSIsRepaired(t *testing.T) {
	l := load(t, "services")
	l.Services.Proxy = "ipvs"
	p := planned(t, l, "ipvsdrift", "vxlan")
	up(t, p)
	node := p.Cluster.Name + ".master"
	find := func(match func(plan.Object) bool) (found plan.Object) {
		p.State.In(node, func(o plan.Object) {
			if match(o) {
				found = o
			}
		})
		return found
	}
	web := find(func(o plan.Object) bool {
		s, ok := o.(plan.VirtualServer)
		return ok && s.Address.String() == "10.43.6.58:80"
	}).(plan.VirtualServer)
	real := find(func(o plan.Object) bool { r, ok := o.(plan.RealServer); return ok && r.Virtual == web.Address }).(plan.RealServer)
	other, foreign, heavy, kept, marked := web, real, real, web, web
	other.Address = netip.MustParseAddrPort("10.43.7.7:80")
	foreign.Address = netip.MustParseAddrPort("10.42.0.99:8080")
	heavy.Weight = 7
	kept.Persistent, kept.Scheduler = 300, "sh"
	marked.Address, marked.Protocol, marked.Mark = netip.AddrPortFrom(netip.IPv4Unspecified(), 0), "", 7
	for _, damage := range []struct {
		what string
		plan.Change
		ups int
	}{
		{"a virtual server too many", plan.Change{Object: other}, 1},
		{"one that is known by a mark", plan.Change{Object: marked}, 1},
		{"a virtual server gone", plan.Change{Op: plan.Delete, Object: web}, 3}, // and its two real ones
		{"another scheduler, and persistence", plan.Change{Op: plan.Update, Object: kept, Before: web}, 1},
		{"a real server too many", plan.Change{Object: foreign}, 1},
		{"a real server gone", plan.Change{Op: plan.Delete, Object: real}, 1},
		{"another weight", plan.Change{Op: plan.Update, Object: heavy, Before: real}, 1},
	} {
		if err := testbed.Apply(t.Context(), []plan.Change{damage.Change}, func(plan.Change) {}); err != nil {
			t.Fatalf("%s: %v", damage.what, err)
		}
		if changes := pending(t, p); len(changes) != damage.ups {
			t.Errorf("%s: up would make %d changes: %v", damage.what, len(changes), changes)
		}
		up(t, p)
	}
	removed(t, p)
	if left, err := testbed.Named(p.Cluster.Name + "."); err != nil || slices.Contains(left, node) {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestIPSets: ipsets and the rules that ask them are made, found, mended one by one and removed, wherever the kernel has ipsets.
func TestIPSets(t *testing.T) {
	if f := needRoot(t); !f[plan.FeatureIPTables] {
		t.Skip("the kernel has no iptables")
	}
	if _, err := os.Stat("/sys/module/ip_set"); err != nil {
		t.Skip("the kernel has no ipsets, or has not loaded them")
	}
	p := planned(t, load(t, "three-node"), "ipsets", "host-gw")
	node := p.Cluster.Nodes[0].Namespace
	made := kubeproxy.NewIPVS(kubeproxy.Node{
		Family: nft.IPv4, Local: func(netip.Addr) bool { return true }, Pods: netip.MustParsePrefix("10.42.0.0/16"), Addresses: []netip.Addr{netip.MustParseAddr("192.168.205.2")},
	}, []kubeproxy.Port{{
		Service: "default/web", Name: "http", Protocol: "tcp", Address: netip.MustParseAddr("10.43.0.10"), Port: 80, NodePort: 30080,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("10.42.0.2:8080")},
	}})
	for _, s := range made.Sets {
		p.State.Add(plan.IPSet{Namespace: node, Name: s.Name, Type: s.Type})
		for _, e := range s.Entries {
			p.State.Add(plan.IPSetEntry{Namespace: node, Of: s.Name, IPSetEntry: e})
		}
	}
	p.State.AddRuleset(node, made.Tables)
	up(t, p)
	in := "ip netns exec " + node + " "
	for _, damage := range []string{
		"ipset del KUBE-CLUSTER-IP 10.43.0.10,tcp:80",
		"ipset add KUBE-NODE-PORT-TCP 31000",
		"ipset del KUBE-LOOP-BACK 10.42.0.2,tcp:8080,10.42.0.2",
		"ipset create somebodys hash:net",
		"iptables -t nat -D KUBE-SERVICES 2",
		"iptables -t nat -I KUBE-SERVICES 2 -m set --match-set KUBE-CLUSTER-IP src,dst -j RETURN",
	} {
		sh(t, p, in+damage)
		if changes := pending(t, p); len(changes) != 1 || len(changes[0].Lines()) != 1 {
			t.Errorf("after %q up would make %d changes: %v", damage, len(changes), changes)
		}
		up(t, p)
	}
	without := built(t, load(t, "three-node"), "ipsets", "host-gw")
	up(t, without)
}
