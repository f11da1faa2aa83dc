package check

import (
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
)

// office is two networks behind two routers, and no pod.
const office = `
lab "office" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
switch "core" { subnet = ["10.0.0.0/24", "fd00:10::/64"] }
switch "office" { subnet = ["172.16.0.0/24", "fd00:16::/64"] }
switch "den" { subnet = ["10.20.0.0/24", "fd00:20::/64"] }
host "server" {
  on "lan" {}
  gateway = ["192.168.205.1", "fd00:205::1"]
}
router "r1" {
  on "lan" { address = ["192.168.205.1", "fd00:205::1"] }
  on "core" { address = ["10.0.0.1", "fd00:10::1"] }
  route {
    to  = "172.16.0.0/24"
    via = "10.0.0.2"
  }
  route {
    to  = "fd00:16::/64"
    via = "fd00:10::2"
  }
}
router "r2" {
  on "core" { address = ["10.0.0.2", "fd00:10::2"] }
  on "office" { address = ["172.16.0.1", "fd00:16::1"] }
  on "den" { address = ["10.20.0.1", "fd00:20::1"] }
  route {
    to  = "192.168.205.0/24"
    via = "10.0.0.1"
  }
  route {
    to  = "fd00:205::/64"
    via = "fd00:10::1"
  }
}
host "laptop" {
  on "office" {}
  gateway = ["172.16.0.1", "fd00:16::1"]
}
host "printer" {
  on "den" {}
}
`

// TestOffice: a lab without pods is checked, every address from every machine, and what is not connected is apart.
func TestOffice(t *testing.T) {
	p := build(t, office, "office", "")
	r := checked(t, p)
	if !r.OK || r.Untried != 0 || r.Pairs != r.TotalPairs || len(r.Model) > 0 || strings.Contains(text(r), "nothing to check") {
		t.Error(text(r))
	}
	passed := func(from, to, family string) bool {
		return slices.ContainsFunc(r.Checks, func(c Check) bool {
			return c.From == from && c.To == to && c.Family == family && c.Name == MTU && c.OK
		})
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, way := range [][2]string{{"server", "laptop"}, {"laptop", "server"}, {"server", "r2:eth1"}, {"laptop", "r1"}, {"r2", "printer"}} {
			if !passed(way[0], way[1], family) {
				t.Errorf("%s → %s over %s was not tried", way[0], way[1], family)
			}
		}
		if !slices.ContainsFunc(r.NotConnected, func(a Apart) bool {
			return a.From == "laptop" && a.To == "printer" && a.Family == family && a.Tried && strings.HasPrefix(a.Reason, "no way back: printer has no route")
		}) {
			t.Errorf("%v", r.NotConnected)
		}
	}
}

// TestOfficeSabotaged: where the kernel differs from the definition, the pair fails, with the machines on the way.
func TestOfficeSabotaged(t *testing.T) {
	for _, tt := range []struct{ name, damage, from, to, family, detail string }{
		{"wrong-route", "ip -n LAB.r1 route replace 172.16.0.0/24 via 10.0.0.9", "server", "laptop", "ipv4", "r1 answers for 10.0.0.9, to which route 172.16.0.0/24 via 10.0.0.9"},
		{"wrong-route6", "ip -6 -n LAB.r1 route replace fd00:16::/64 via fd00:10::9", "server", "laptop", "ipv6", "r1 answers for fd00:10::9, to which route fd00:16::/64"},
		{"no-gateway", "ip -n LAB.laptop route del default", "laptop", "server", "ipv4", "`ip -n LAB.laptop route get"},
		{"no-forwarding", "ip netns exec LAB.r2 sysctl -qw net.ipv4.ip_forward=0", "server", "laptop", "ipv4", "`ip netns exec LAB.r2 sysctl net.ipv4.ip_forward`"},
		{"connected", "ip -n LAB.printer route add default via 10.20.0.1", "laptop", "printer", "ipv4", "connects what must be apart"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := build(t, office, tt.name, "")
			sh(t, strings.ReplaceAll(tt.damage, "LAB", p.Cluster.Name))
			r := checked(t, p)
			detail := strings.ReplaceAll(tt.detail, "LAB", p.Cluster.Name)
			if r.OK || !slices.ContainsFunc(r.Checks, func(c Check) bool {
				return !c.OK && c.Name == Reach && c.From == tt.from && c.To == tt.to && c.Family == tt.family && strings.Contains(c.Detail, detail)
			}) {
				t.Errorf("%s → %s does not fail with %q:\n%s", tt.from, tt.to, detail, text(r))
			}
		})
	}
}

// TestBadRoutes: what is wrong in the definition itself fails, with the machine and its route.
func TestBadRoutes(t *testing.T) {
	for _, tt := range []struct{ name, was, is, machine, route, problem string }{
		{"nobody", `via = "10.0.0.2"`, `via = "10.0.0.9"`, "r1", "172.16.0.0/24 via 10.0.0.9", `nobody has 10.0.0.9 on switch "core"`},
		{"host", `via = "fd00:10::2"`, `via = "fd00:205::2"`, "r1", "fd00:16::/64 via fd00:205::2", "server, a host, which does not forward"},
		{"no-way-back", `to  = "192.168.205.0/24"`, `to  = "192.168.200.0/24"`, "r1", "172.16.0.0/24 via 10.0.0.2", "and there is no way back: r2 has no route to 192.168.205.2"},
		{"printer", `via = "fd00:10::1"`, `via = "fd00:20::2"`, "r2", "fd00:205::/64 via fd00:20::2", "printer, a host, which does not forward"},
		{"loop", `via = "10.0.0.1"
  }`, `via = "10.0.0.1"
  }
  route {
    to  = "10.99.0.0/24"
    via = "10.0.0.1"
  }`, "r1", "10.99.0.0/24 via 10.0.0.2", "it goes in circles: r2 → r1 → r2"},
		{"gateway", `gateway = ["172.16.0.1", "fd00:16::1"]`, `gateway = ["172.16.0.7", "fd00:16::1"]`, "laptop", "default via 172.16.0.7", "nobody has 172.16.0.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			definition := strings.Replace(office, tt.was, tt.is, 1)
			if tt.name == "loop" { // of a network that r1 leads to r2, r2 to r1, and a third router has
				definition = strings.Replace(definition, "  route {\n", "  route {\n    to  = \"10.99.0.0/24\"\n    via = \"10.0.0.2\"\n  }\n  route {\n", 1) +
					"switch \"far\" { subnet = \"10.99.0.0/24\" }\nhost \"far\" {\n  on \"far\" {}\n}\n"
				definition = strings.Replace(definition, "host \"far\"", "host \"distant\"", 1)
			}
			r := checked(t, build(t, definition, "bad-"+tt.name, ""))
			if r.OK || !slices.ContainsFunc(r.Routes, func(b plan.BadRoute) bool {
				return b.Machine == tt.machine && b.Route == tt.route && strings.Contains(b.Problem, tt.problem)
			}) {
				t.Errorf("no route of %s is bad for %q: %v\n%s", tt.machine, tt.problem, r.Routes, text(r))
			}
			for _, c := range r.Checks {
				if !c.OK {
					t.Errorf("the kernel does as defined, and %s of %s → %s fails: %s", c.Name, c.From, c.To, c.Seen)
				}
			}
		})
	}
}

// TestModelViolated: what the mode promises of the Kubernetes network model, and the kernel does not keep.
func TestModelViolated(t *testing.T) {
	p := build(t, twoNodes, "model", "host-gw")
	state := func(r *Report) (states []string) {
		for _, m := range r.Model {
			states = append(states, m.State)
		}
		return states
	}
	if r := checked(t, p); !r.OK || !slices.Equal(state(r), []string{plan.Kept, plan.Kept, plan.Broken, plan.Kept}) {
		t.Errorf("%v\n%s", r.Model, text(r))
	}
	sh(t, strings.ReplaceAll("ip netns exec LAB.node1 nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 90; }; add rule ip t c ip saddr 10.42.0.0/16 oifname eth0 masquerade'", "LAB", p.Cluster.Name))
	if r := checked(t, p); r.OK || !slices.Equal(state(r), []string{plan.Violated, plan.Kept, plan.Broken, plan.Violated}) {
		t.Errorf("%v\n%s", r.Model, text(r))
	}
}
