package check

import (
	"errors"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
)

// servicesLab is the lab of that name which ships with the program.
func servicesLab(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../labs/services.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return serves.ReplaceAllString(string(text), "") // by agents, which a lab that a script makes does not have
}

var serves = regexp.MustCompile(`serve +=[^}\n]*`)

// TestServicesHealthy: every client asks every address of every service, and all is as promised, whichever way pods hang on their
// nodes.
func TestServicesHealthy(t *testing.T) {
	for _, mode := range []string{"vxlan", "vxlan-calico"} {
		t.Run(mode, func(t *testing.T) {
			calico := "mode \"vxlan-calico\" {\n  use = \"vxlan\"\n  like = \"calico\"\n}\n"
			r := checked(t, build(t, servicesLab(t)+calico, "svc-"+mode, mode))
			if !r.OK {
				t.Error(full(r))
			}
			count := map[string]int{}
			for _, c := range r.Checks {
				count[c.Name]++
			}
			// 8 clients, and web at its address and two node ports, dns and nobody at theirs.
			if r.Services != 40 || r.TotalServices != 40 || count[Service] != 40 || count[Client] != 32 || count[Balance] != 2 {
				t.Errorf("%d of %d, %v", r.Services, r.TotalServices, count)
			}
		})
	}
}

// TestVeryManyServices: of millions of flows a bounded number is looked at, each once, among them what shows the balance.
func TestVeryManyServices(t *testing.T) {
	text, err := os.ReadFile("../../labs/services-scale.hcl")
	if err != nil {
		t.Fatal(err)
	}
	l, _, diags := lab.Load("test.hcl", text, lab.Inputs{Vars: map[string]string{"services": "300", "endpoints": "250"}})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Modes: modes.All, Features: plan.AllFeatures()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	const limit = 500
	r := &run{plan: p}
	rows, total := r.serviceRows(limit)
	balances, seen := 0, map[string]bool{}
	for _, row := range rows {
		if row.count > 0 {
			balances++
		}
		seen[row.From.Title+row.To.String()] = true
	}
	if total != 300*253 || len(rows) != limit || len(seen) != limit || balances != mostBalances {
		t.Errorf("%d rows of %d, %d of them different, %d of the balance", len(rows), total, len(seen), balances)
	}
	if n := len(candidates(p.ServiceFlows(), limit)); n > 3*limit {
		t.Errorf("%d flows are looked at", n)
	}
}

func full(r *Report) string {
	var b strings.Builder
	r.Text(&b, columns, false)
	r.Failures(&b, columns, false)
	return b.String()
}

// TestServicesSabotaged damages what services need; LAB stands for the lab's name. The right rows fail, with the place that is to
// be mended.
func TestServicesSabotaged(t *testing.T) {
	for _, tt := range []struct{ name, damage, check, from, to, detail string }{
		{"bridge-nf", "ip netns exec LAB.master sysctl -qw net.bridge.bridge-nf-call-iptables=0",
			Service, "master/p2", "web:http 10.43.6.58:80", "`ip netns exec LAB.master sysctl net.bridge.bridge-nf-call-iptables`"},
		{"hairpin", "bridge -n LAB.master link set dev $(ip -n LAB.master -br link show master cni0 | head -1 | cut -d@ -f1) hairpin off; bridge -n LAB.master link set dev $(ip -n LAB.master -br link show master cni0 | tail -1 | cut -d@ -f1) hairpin off",
			Service, "master/p1", "web:http 10.43.6.58:80", "of master has hairpin off"},
		{"element", "ip netns exec LAB.master nft 'delete element ip kube-proxy service-ips { 10.43.6.58 . tcp . 80 }'",
			Service, "laptop", "web:http 10.43.6.58:80", "service-ips '{ 10.43.6.58 . tcp ."},
		{"refusal", "ip netns exec LAB.worker nft 'flush chain ip kube-proxy reject-chain; flush chain ip kube-proxy cluster-ips-check'",
			Service, "worker", "nobody:http 10.43.0.1:80", "the firewall of worker is not as planned"},
		{"node-port", "ip netns exec LAB.worker nft 'delete element ip kube-proxy nodeport-ips { 192.168.205.3 }'",
			Service, "laptop", "web:http 192.168.205.3:32506", "nodeport-ips '{ 192.168.205.3 }"},
		{"masquerade", "ip netns exec LAB.worker nft 'insert rule ip kube-proxy services meta mark set 0x4000'",
			Client, "worker/p1", "dns:dns 10.43.0.10:53", "the firewall of worker is not as planned"},
		{"source", "ip netns exec LAB.worker nft 'flush chain ip kube-proxy masquerading'",
			Service, "laptop", "web:http 192.168.205.3:32506", "the firewall of worker is not as planned"},
		{"uneven", "ip netns exec LAB.worker nft replace rule ip kube-proxy $(ip netns exec LAB.worker nft -a list table ip kube-proxy | awk '/chain service-.*web/ {c=$2} /numgen/ && c {print c, \"handle\", $NF; exit}') meta l4proto tcp dnat to numgen random mod 4 map '{ 0 : 10.42.0.65 . 8080, 1 : 10.42.0.65 . 8080, 2 : 10.42.0.65 . 8080, 3 : 10.42.1.9 . 8080 }'",
			Balance, "worker/p1", "web:http 10.43.6.58:80", "the firewall of worker is not as planned"},
		{"route", "ip -n LAB.gw route del 10.43.0.0/16",
			Service, "laptop", "web:http 10.43.6.58:80", "gw is not as planned"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, servicesLab(t), "svc-"+tt.name, "vxlan")
			sh(t, strings.ReplaceAll(tt.damage, "LAB", p.Cluster.Name))
			r := checked(t, p)
			detail := strings.ReplaceAll(tt.detail, "LAB", p.Cluster.Name)
			if r.OK || !slices.ContainsFunc(r.Checks, func(c Check) bool {
				return !c.OK && c.Name == tt.check && c.From == tt.from && c.To == tt.to && strings.Contains(c.Detail, detail)
			}) {
				t.Errorf("%s: %s → %s does not fail with %q:\n%s", tt.check, tt.from, tt.to, detail, full(r))
			}
		})
	}
}

// TestServiceFromOutside: without a route for the services nobody outside reaches their addresses, and the check says so where
// somebody does.
func TestServiceFromOutside(t *testing.T) {
	before, rest, _ := strings.Cut(servicesLab(t), "  route {")
	_, after, _ := strings.Cut(rest, "  }\n")
	p := build(t, before+after, "svc-outside", "vxlan")
	from := func(r *Report, to string) (c Check) {
		at := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == Service && c.From == "laptop" && c.To == to })
		if at < 0 {
			t.Fatal(full(r))
		}
		return r.Checks[at]
	}
	r := checked(t, p)
	if c := from(r, "web:http 10.43.6.58:80"); !r.OK || !c.OK || c.Expected != "no answer: gw has no route to 10.43.6.58" {
		t.Errorf("%+v\n%s", c, full(r))
	}
	if c := from(r, "web:http 192.168.205.4:32506"); !c.OK || !strings.Contains(c.Expected, "answers") {
		t.Errorf("%+v", c)
	}
	sh(t, "ip -n "+p.Cluster.Name+".gw route add 10.43.0.0/16 via 192.168.205.3")
	if c := from(checked(t, p), "web:http 10.43.6.58:80"); c.OK || !strings.HasSuffix(c.Seen, "answered") {
		t.Errorf("%+v", c)
	}
}

// TestChiSquare: chances from tables of the distribution.
func TestChiSquare(t *testing.T) {
	for _, tt := range []struct {
		x float64
		k int
		p float64
	}{{3.841, 1, 0.05}, {5.991, 2, 0.05}, {7.815, 3, 0.05}, {16.919, 9, 0.05}, {18.307, 10, 0.05}, {23.928, 1, 1e-6}, {27.631, 2, 1e-6}} {
		if got := beyond(tt.x, tt.k); math.Abs(got/tt.p-1) > 1e-3 {
			t.Errorf("χ² %.3f of %d degrees: %g, not %g", tt.x, tt.k, got, tt.p)
		}
	}
	for n := 1; n <= mostMet; n++ {
		if missed := float64(n) * math.Pow(1-1/float64(n), float64(tries(n))); missed > unlucky {
			t.Errorf("of %d endpoints one is missed with a chance of %g after %d connections", n, missed, tries(n))
		}
	}
}

// policies is a lab whose services differ in all that decides who answers, and as whose client.
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
services { MASQUERADE }
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
service "sticky" {
  type      = "NodePort"
  affinity  = "ClientIP"
  endpoints = ["node1/p1", "node2/p2"]
  port "udp" {
    port     = 53
    protocol = "udp"
  }
  port "http" { port = 80 }
}
service "nobody" {
  type = "NodePort"
  port "http" { port = 80 }
}
service "headless" {
  type      = "Headless"
  endpoints = ["node1/p1"]
  port "http" { port = 80 }
}
`

// TestServicePolicies: affinity, traffic that stays on its node, load balancers and masquerading are as promised, with each proxy.
func TestServicePolicies(t *testing.T) {
	for _, proxy := range []string{"nftables", "iptables"} { // a script builds it, and ipvsadm(8) is rare
		for _, masquerade := range []string{"", "masquerade_all = true"} {
			t.Run(proxy+masquerade, func(t *testing.T) {
				settings := "proxy = \"" + proxy + "\"\n" + masquerade
				p := build(t, strings.Replace(policies, "{ MASQUERADE }", "{\n"+settings+"\n}", 1), "policies", "host-gw")
				r := checked(t, p)
				if !r.OK {
					t.Error(full(r))
				}
			})
		}
	}
}

// bothFamilies is a small lab whose services have addresses of both.
const bothFamilies = `
lab "six" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
router "gw" {
  on "lan" { address = ["192.168.205.100", "fd00:205::100"] }
}
node "node" {
  count = 2
  on "lan" {}
  gateway = ["192.168.205.100", "fd00:205::100"]
  pods    = 2
}
network "pods" { cidr = ["10.42.0.0/16", "fd00:42::/48"] }
services {
  cidr  = ["10.96.0.0/16", "fd00:96::/112"]
  proxy = "PROXY"
}
service "web" {
  type      = "NodePort"
  endpoints = ["node1/p1", "node2/p1"]
  port "http" { port = 80 }
}
service "dns" {
  affinity         = "ClientIP"
  internal_traffic = "Local"
  endpoints        = ["node1/p1", "node1/p2"]
  port "dns" {
    port     = 53
    protocol = "udp"
  }
}
service "near" {
  type             = "NodePort"
  external_traffic = "Local"
  endpoints        = ["node2/p2"]
  port "http" { port = 81 }
}
service "nobody" {
  port "http" { port = 80 }
}
`

// TestServicesIPv6: in a lab of both families services are asked at their addresses of IPv6 as they are at those of IPv4, with each
// proxy. What is damaged for IPv6 alone is found there alone, with the place. LAB stands for the lab's name.
func TestServicesIPv6(t *testing.T) {
	for _, tt := range []struct{ proxy, damage, detail string }{
		{"nftables", "ip netns exec LAB.node1 sysctl -qw net.bridge.bridge-nf-call-ip6tables=0", "sysctl net.bridge.bridge-nf-call-ip6tables"},
		{"iptables", "ip netns exec LAB.node2 ip6tables -t nat -F KUBE-POSTROUTING", "the firewall of node2 is not as planned"},
	} {
		t.Run(tt.proxy, func(t *testing.T) {
			p := build(t, strings.Replace(bothFamilies, "PROXY", tt.proxy, 1), "six-"+tt.proxy, "host-gw")
			r := checked(t, p)
			if !r.OK {
				t.Error(full(r))
			}
			count := map[string]map[string]int{"ipv4": {}, "ipv6": {}}
			for _, c := range r.Checks {
				count[c.Family][c.Name]++
			}
			if four, six := count["ipv4"], count["ipv6"]; !maps.Equal(four, six) || six[Service] == 0 || six[Client] == 0 || six[Balance] == 0 {
				t.Errorf("over IPv4 %v, over IPv6 %v", four, six)
			}
			sh(t, strings.ReplaceAll(tt.damage, "LAB", p.Cluster.Name))
			r = checked(t, p)
			found := false
			for _, c := range r.Checks {
				if !c.OK && c.Family != "ipv6" {
					t.Errorf("%s of %s → %s fails over %s: %s", c.Name, c.From, c.To, c.Family, c.Seen)
				}
				found = found || !c.OK && strings.Contains(c.Detail, tt.detail)
			}
			if !found {
				t.Errorf("nothing fails with %q:\n%s", tt.detail, full(r))
			}
		})
	}
}

// TestOutOfTurn: who answers in turn is told from who does not.
func TestOutOfTurn(t *testing.T) {
	for _, tt := range []struct {
		order string
		n     int
		jumps int
	}{{"abababab", 2, 0}, {"bcabcabca", 3, 0}, {"aab", 2, 2}, {"ababbaba", 2, 2}, {"abcabd", 3, 1}, {"a", 2, 0}, {"ab?bab", 2, 0}, {"?bab", 2, 0}, {"a?bab", 2, 1}, {"b?abcabc", 3, 0}, {"?aab", 2, 2}} {
		order := strings.Split(tt.order, "")
		for i, who := range order {
			order[i] = strings.Trim(who, "?")
		}
		if jumps := outOfTurn(order, tt.n); jumps != tt.jumps {
			t.Errorf("%s: %d, not %d", tt.order, jumps, tt.jumps)
		}
	}
}

// TestSpare: connections that go unanswered are overlooked as often as may be, and no more often.
func TestSpare(t *testing.T) {
	for _, tt := range []struct {
		mute  int // how many clients are not answered
		order []string
		err   error
	}{
		{0, []string{"web", "web", "web"}, nil},
		{1, []string{"", "web", "web", "web"}, nil},
		{2, []string{""}, errSilence},
	} {
		server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		go func() {
			b, mute := make([]byte, 10), map[netip.AddrPort]bool{}
			for {
				_, client, err := server.ReadFromUDPAddrPort(b)
				if err != nil {
					return
				}
				if len(mute) < tt.mute {
					mute[client] = true
				}
				if !mute[client] {
					_, _ = server.WriteToUDPAddrPort([]byte("web 127.0.0.1\n"), client)
				}
			}
		}()
		q := &questions{protocol: "udp", to: server.LocalAddr().(*net.UDPAddr).AddrPort(), patience: time.Second, again: 100 * time.Millisecond, spare: 1}
		q.ask(t.Context(), func() bool { return q.failed != nil || q.asked == 3 })
		if !errors.Is(q.failed, tt.err) || !slices.Equal(q.order, tt.order) {
			t.Errorf("%d connections without an answer: %q, %v", tt.mute, q.order, q.failed)
		}
	}
}
