package suite

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed/check"
)

// publishing is a lab with a pod that publishes ports, beside services in front of it.
const publishing = `
lab "publishing" {}
switch "lan" { subnet = "192.168.205.0/24" }
host "outside" {
  on "lan" { address = "192.168.205.100" }
}
node "n" {
  on "lan" { address = "192.168.205.10" }
  pod "web" {
    serve   = ["tcp/80", "tcp/81", "udp/53"]
    publish = ["8080:80", "8081:81/tcp", "5353:53/udp"]
  }
  pod "client" {}
}
node "m" {
  on "lan" { address = "192.168.205.11" }
  pods = 1
}
network "pods" { cidr = "10.42.0.0/16" }
%s
mode "calico" {
  use  = "vxlan"
  like = "calico"
}
`

// published is the nat table of a node as iptables-save prints it: the rules of the plugin.
func published(t *testing.T, p *plan.Plan) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(sh(t, p, "ip netns exec %s.n iptables-save -t nat")) {
		if strings.HasPrefix(line, "-A ") && strings.Contains(line, "CNI-") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestPublished: a published port leads to its pod, from another machine, another node's pod, the node itself, also at 127.0.0.1, a
// pod beside it and the pod itself; the pod sees who asks, or its node where the answer would else go past it. iptables prints the
// plugin's own rules, each of which up puts back.
func TestPublished(t *testing.T) {
	const service = `
service "web" {
  type      = "NodePort"
  endpoints = ["n/web"]
  port "http" {
    port      = 80
    node_port = 30080
  }
}
services { proxy = "iptables" }
`
	for _, tt := range []struct{ mode, services string }{{"host-gw", ""}, {"calico", service}} {
		t.Run(tt.mode, func(t *testing.T) {
			if !buildable(t, parse(t, "publishing.hcl", fmt.Sprintf(publishing, tt.services)), tt.mode) {
				t.Skip("the kernel lacks something")
			}
			p := planned(t, parse(t, "publishing.hcl", fmt.Sprintf(publishing, tt.services)), "publishing", tt.mode)
			up(t, p)
			settled(t, p)
			healthy(t, p)
			node := place(t, p.Cluster.NamespaceOf("n"))
			own := map[netip.Addr]bool{}
			p.State.In(node.Name, func(o plan.Object) {
				if a, ok := o.(plan.Address); ok {
					own[a.Prefix.Addr()] = true
				}
			})
			beside := "" // on a bridge the node has to be seen, so that the answer comes back by it
			if tt.mode == "calico" {
				beside = p.Cluster.Nodes[0].Pods[1].Address(false).String()
			}
			for _, who := range []struct {
				from   string
				source string // empty: an address of the node
			}{{"outside", "192.168.205.100"}, {"m", "192.168.205.11"}, {"m.p1", "192.168.205.11"}, {"n", ""}, {"n.client", beside}, {"n.web", ""}} {
				for _, to := range []string{"tcp4 8080", "tcp4 8081", "udp4 5353"} {
					network, port, _ := strings.Cut(to, " ")
					got := ask(t, place(t, p.Cluster.NamespaceOf(who.from)), network, "192.168.205.10:"+port)
					if got.pod != "n/web" || who.source != "" && got.source.String() != who.source || who.source == "" && !own[got.source] {
						t.Errorf("%s asks for %s: %s answers %s", who.from, to, got.pod, got.source)
					}
				}
			}
			if got := ask(t, node, "tcp4", "127.0.0.1:8080"); got.pod != "n/web" || !own[got.source] {
				t.Errorf("at 127.0.0.1 %s answers %s", got.pod, got.source)
			}
			if c, err := dial(t, place(t, p.Cluster.NamespaceOf("outside")), "tcp4", "192.168.205.11:8080", patience); err == nil {
				c.Close()
				t.Error("another node has the port too")
			}
			want := published(t, p)
			if len(want) != 16 {
				t.Errorf("%d rules:\n%s", len(want), strings.Join(want, "\n"))
			}
			for _, rule := range []string{
				`-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"pods\" id: \"n/web\"" -m multiport --dports 8080,8081 -j CNI-DN-`,
				`-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ`, `-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE`,
			} {
				if !slices.ContainsFunc(want, func(line string) bool { return strings.HasPrefix(line, rule) }) {
					t.Errorf("no rule %s:\n%s", rule, strings.Join(want, "\n"))
				}
			}
			asked := 0
			for _, c := range checked(t, p).Checks {
				if c.Name == check.Publish {
					asked++
				}
			}
			if asked != 9 {
				t.Errorf("check asks %d times for 3 ports from 3 places", asked)
			}
			damages := []string{"-D CNI-HOSTPORT-DNAT 1", "-F CNI-HOSTPORT-SETMARK", "-I CNI-HOSTPORT-MASQ -s 10.42.7.7 -j RETURN", "-D OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"}
			for _, damage := range damages {
				sh(t, p, "ip netns exec %s.n iptables -t nat "+damage)
				if damage == damages[0] {
					r := checked(t, p)
					if red := red(r); !slices.Equal(red, []string{check.Publish}) || len(r.Culprits) != 1 || !strings.HasPrefix(r.Culprits[0].Reason, "the firewall of n is not as planned: `lab up` would run ") {
						t.Errorf("without a rule red are %q: %+v", red, r.Culprits)
					}
				}
				if changes := pending(t, p); len(changes) != 1 {
					t.Errorf("after %s up would make %v", damage, changes)
				}
				up(t, p)
			}
			if got := published(t, p); !slices.Equal(got, want) {
				t.Errorf("up made\n%s\nof\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			sh(t, p, "ip netns exec %s.n sysctl -qw net.ipv4.conf.$(ip netns exec %s.n sysctl -a 2>/dev/null | sed -n 's/^net.ipv4.conf.\\(c[^.]*\\).route_localnet = 1/\\1/p' | head -1).route_localnet=0")
			if changes := pending(t, p); len(changes) != 1 {
				t.Errorf("without route_localnet up would make %v", changes)
			}
			without := built(t, parse(t, "publishing.hcl", strings.ReplaceAll(fmt.Sprintf(publishing, tt.services), `publish = ["8080:80", "8081:81/tcp", "5353:53/udp"]`, "")), "publishing", tt.mode)
			apply(t, pending(t, without))
			settled(t, without)
			if left := published(t, without); len(left) > 0 {
				t.Errorf("what nobody publishes any more is left:\n%s", strings.Join(left, "\n"))
			}
			if _, err := dial(t, place(t, p.Cluster.NamespaceOf("outside")), "tcp4", "192.168.205.10:8080", patience); err == nil {
				t.Error("the port is still open")
			}
		})
	}
}
