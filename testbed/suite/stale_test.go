package suite

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/check"
)

const datagramServices = `
lab "datagrams" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
router "outside" {
  on "lan" { address = ["192.168.205.9", "fd00:205::9"] }
}
node "master" {
  on "lan" { address = ["192.168.205.4", "fd00:205::4"] }
  gateway = ["192.168.205.9", "fd00:205::9"]
  pod "p1" { serve = ["tcp/80", "udp/53", "udp/153"] }
  pod "p2" {}
}
node "worker" {
  on "lan" { address = ["192.168.205.3", "fd00:205::3"] }
  gateway = ["192.168.205.9", "fd00:205::9"]
  pod "p1" { serve = ["tcp/80", "udp/53", "udp/153"] }
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
services { cidr = ["10.96.0.0/16", "fd00:96::/112"] }
service "dns" {
  type      = "LoadBalancer"
  address   = ["10.96.0.10", "fd00:96::10"]
  external_address = "192.168.205.77"
  endpoints = ["worker/p1"]
  port "dns" {
    port      = 53
    protocol  = "udp"
    node_port = 30053
  }
}
service "other" {
  address   = ["10.96.0.11", "fd00:96::11"]
  endpoints = ["worker/p1"]
  port "dns" {
    port     = 153
    protocol = "udp"
  }
}
service "web" {
  address   = ["10.96.0.12", "fd00:96::12"]
  endpoints = ["worker/p1"]
  port "http" { port = 80 }
}
`

// datagrams runs a test for each proxy: with(…) plans the lab with one endpoint behind "dns" and "web", or with none.
func datagrams(t *testing.T, test func(t *testing.T, with func(endpoint string) *plan.Plan)) {
	for _, proxy := range lab.Proxies {
		t.Run(proxy, func(t *testing.T) {
			with := func(endpoint string) *plan.Plan {
				text := datagramServices
				for _, name := range []string{"dns", "web"} {
					before, service, _ := strings.Cut(text, "service \""+name+"\"")
					endpoints := `endpoints = ["` + endpoint + `"]`
					if endpoint == "" {
						endpoints = ""
					}
					text = before + "service \"" + name + "\"" + strings.Replace(service, `endpoints = ["worker/p1"]`, endpoints, 1)
				}
				l := parse(t, "datagrams.hcl", text)
				l.Services.Proxy = proxy
				return built(t, l, "stale", "vxlan")
			}
			p := with("worker/p1")
			t.Cleanup(func() { removed(t, p) })
			test(t, with)
		})
	}
}

// asking is a client that asks again and again from one socket.
func asking(t *testing.T, p *plan.Plan, from, network, to string) net.Conn {
	t.Helper()
	c, err := dial(t, place(t, p.Cluster.NamespaceOf(from)), network, to, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// entries are those of the master's connection tracking, as conntrack(8) lists them.
func entries(t *testing.T, p *plan.Plan, of ...string) []string {
	t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", p.Cluster.NamespaceOf("master"), "conntrack", "-L", "-p", "udp"}, of...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// number is the kernel's of an entry.
func number(entry string) string {
	_, id, _ := strings.Cut(entry, "id=")
	return id
}

// TestStaleDatagrams: when an endpoint goes, a client that keeps asking over UDP is given another, whichever of the service's addresses
// it asks, and from whichever family. What had begun over TCP goes on, as with kube-proxy, and so do datagrams of other services.
func TestStaleDatagrams(t *testing.T) {
	datagrams(t, func(t *testing.T, with func(string) *plan.Plan) {
		p := with("worker/p1")
		up(t, p)
		var clients []net.Conn
		for _, c := range [][3]string{
			{"master.p2", "udp4", "10.96.0.10:53"}, {"master.p2", "udp6", "[fd00:96::10]:53"}, {"master", "udp4", "10.96.0.10:53"},
			{"outside", "udp4", "192.168.205.77:53"}, {"outside", "udp4", "192.168.205.4:30053"}, {"outside", "udp6", "[fd00:205::4]:30053"},
			{"master.p2", "udp4", "192.168.205.3:30053"}, {"master", "udp4", "192.168.205.4:30053"},
		} {
			clients = append(clients, asking(t, p, c[0], c[1], c[2]))
		}
		web, other := asking(t, p, "master.p2", "tcp4", "10.96.0.12:80"), asking(t, p, "master.p2", "udp4", "10.96.0.11:153")
		for _, c := range append(clients, web, other) {
			if a := said(t, c); a.pod != "worker/p1" {
				t.Fatalf("%s asks %s, and %s answers", c.LocalAddr(), c.RemoteAddr(), a.pod)
			}
		}
		before := entries(t, p, "--dport", "153", "-o", "id")
		next := with("master/p1")
		changes := pending(t, next)
		late := asking(t, p, "master.p2", "udp4", "10.96.0.10:53") // who begins to ask while the lab is changed
		if a := said(t, late); a.pod != "worker/p1" {
			t.Fatalf("before anything has changed %s answers", a.pod)
		}
		apply(t, changes)
		if err := testbed.Forget(t.Context(), next.State, changes); err != nil {
			t.Fatal(err)
		}
		settled(t, next)
		for _, c := range append(clients, late) {
			if a := said(t, c); a.pod != "master/p1" {
				t.Errorf("%s asks %s, and %s answers, which is no endpoint any more", c.LocalAddr(), c.RemoteAddr(), a.pod)
			}
		}
		if after := entries(t, p, "--dport", "153", "-o", "id"); len(before) != 1 || len(after) != 1 || number(before[0]) != number(after[0]) {
			t.Errorf("an entry of another service was %s and is %s", before, after)
		}
		if p.Proxy == "ipvs" { // which ends connections to who has gone: net.ipv4.vs.expire_nodest_conn
			return
		}
		if a := said(t, web); a.pod != "worker/p1" {
			t.Errorf("a connection over TCP had an answer of worker/p1, and then of %s", a.pod)
		}
	})
}

// TestCheckFindsWhoIsLedAstray: a client that began to ask before is nobody else's trouble, and so no other question shows it. The check
// asks from the client's own socket, where nobody has it any more, and names the entry.
func TestCheckFindsWhoIsLedAstray(t *testing.T) {
	datagrams(t, func(t *testing.T, with func(string) *plan.Plan) {
		p, next := with("worker/p1"), with("master/p1")
		if p.Proxy == "ipvs" {
			t.Skip("IPVS ends what it knows of an endpoint that goes, in connection tracking too")
		}
		up(t, p)
		changes := pending(t, next)
		c := asking(t, p, "master.p2", "udp4", "10.96.0.10:53")
		said(t, c)
		apply(t, changes)
		for _, seen := range []string{" is to answer, as at first", "worker/p1 answered"} {
			r := checked(t, next)
			var failed []check.Check
			for _, one := range r.Checks {
				if !one.OK {
					failed = append(failed, one)
				}
			}
			if len(failed) != 1 || failed[0].Name != check.Service || !strings.HasPrefix(failed[0].From, "master/p2 port ") || failed[0].To != "dns:dns 10.96.0.10:53" ||
				!strings.Contains(failed[0].Seen, seen) || !strings.Contains(failed[0].Detail, "conntrack -D -p udp -s 10.42.") {
				t.Errorf("what fails is %+v", failed)
			}
			if len(r.Culprits) != 1 || r.Culprits[0].Machine != "master" || r.Culprits[0].Pairs != 1 {
				t.Errorf("the culprits are %+v", r.Culprits)
			}
			c.Close()
		}
		up(t, next)
		healthy(t, next)
	})
}

// TestUntranslatedDatagrams: what was sent to a service's address while nobody translated it, or nobody was behind it, is translated
// once there is somebody.
func TestUntranslatedDatagrams(t *testing.T) {
	datagrams(t, func(t *testing.T, with func(string) *plan.Plan) {
		p, none := with("worker/p1"), with("")
		up(t, p)
		sh(t, p, `for f in ip ip6; do for t in kube-proxy nat filter; do ip netns exec %s.master nft delete table $f $t || true; done; done`)
		clients := []net.Conn{asking(t, p, "master.p2", "udp4", "10.96.0.10:53"), asking(t, p, "master.p2", "udp6", "[fd00:96::10]:53")}
		for _, c := range clients {
			if _, err := c.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			untranslated := fmt.Sprintf("conntrack -D -p udp -s %s", c.LocalAddr().(*net.UDPAddr).IP)
			found := func(p *plan.Plan) (n int) {
				for _, change := range pending(t, p) {
					for _, line := range change.Lines() {
						if strings.Contains(line, untranslated) {
							n++
						}
					}
				}
				return n
			}
			if found(p) != 1 {
				t.Errorf("%s is not found", untranslated)
			}
			if found(none) != 0 {
				t.Errorf("%s is found where nobody is behind the service: kube-proxy lets it be", untranslated)
			}
		}
		up(t, p)
		for _, c := range clients {
			if a := said(t, c); a.pod != "worker/p1" {
				t.Errorf("%s asks %s, and %s answers", c.LocalAddr(), c.RemoteAddr(), a.pod)
			}
		}
	})
}

// TestStaleConnectionsAreDrift: an entry that leads where no endpoint is shows as drift, with the command that removes it, which works;
// "up" removes any number of them, and only these.
func TestStaleConnectionsAreDrift(t *testing.T) {
	datagrams(t, func(t *testing.T, with func(string) *plan.Plan) {
		p := with("worker/p1")
		up(t, p)
		master := p.Cluster.NamespaceOf("master")
		entry := func(port uint16, to, by string) plan.Connection {
			from := netip.MustParseAddr("10.42.0.9")
			target := netip.MustParseAddrPort(to)
			if target.Addr().Is6() {
				from = netip.MustParseAddr("fd00:42::9")
			}
			c := plan.Connection{Namespace: master, From: netip.AddrPortFrom(from, port), To: target, By: netip.MustParseAddrPort(by)}
			c.Back = c.From
			return c
		}
		worker := ""
		for _, n := range p.Cluster.Nodes {
			if n.Name == "worker" {
				worker = n.Pods[0].Address(false).String() + ":53"
			}
		}
		made := func(c plan.Connection) {
			t.Helper()
			apply(t, []plan.Change{{Object: c}})
		}
		// Of others, and of this one: nobody's are stale.
		for i, c := range []plan.Connection{
			entry(1, "10.96.0.10:53", worker), entry(2, "10.96.0.10:54", "10.42.0.200:53"), entry(3, "192.168.205.3:30053", "192.168.205.200:30053"),
			entry(4, "10.96.0.12:80", "10.42.0.200:80"), entry(5, "10.99.0.1:53", "10.42.0.200:53"),
		} {
			if made(c); len(pending(t, p)) != 0 {
				t.Fatalf("entry %d is drift: %v", i+1, pending(t, p))
			}
		}
		for _, c := range []plan.Connection{entry(10, "10.96.0.10:53", "10.42.0.200:53"), entry(11, "[fd00:96::10]:53", "[fd00:42::200]:53")} {
			made(c)
			drift := pending(t, p)
			if len(drift) != 1 || drift[0].Op != plan.Delete || drift[0].Object.Key() != c.Key() {
				t.Fatalf("drift is %v", drift)
			}
			sh(t, p, drift[0].Lines()[0])
			settled(t, p)
			sh(t, p, c.Add()[0]) // it can be made by that command as well
			if drift := pending(t, p); len(drift) != 1 || drift[0].Object.Key() != c.Key() {
				t.Fatalf("%s, and drift is %v", c.Add()[0], drift)
			}
			apply(t, drift)
		}
		const many = 300
		for i := range uint16(many) {
			made(entry(1000+i, "10.96.0.10:53", "10.42.0.200:53"))
		}
		changes := pending(t, p)
		if len(changes) == 0 || len(changes) >= many {
			t.Errorf("%d of %d entries are shown", len(changes), many)
		}
		if err := testbed.Apply(t.Context(), changes, func(plan.Change) {}); err != nil {
			t.Fatal(err)
		}
		if err := testbed.Forget(t.Context(), p.State, changes); err != nil {
			t.Fatal(err)
		}
		settled(t, p)
		if left := entries(t, p, "-s", "10.42.0.9"); len(left) != 5 {
			t.Errorf("of 5 entries of others there are left %s", left)
		}
	})
}
