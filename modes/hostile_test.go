package modes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/hostile"
	"labnet/lab/plan"
	"labnet/labs"
)

// everything has what no shipped lab has.
const everything = `
lab "everything" { about = "x" }
variable "n" {
  type        = map(number)
  default     = { a = 10, b = 11 }
  description = "x"
}
variable "sites" {
  type    = map(object({ cidr = string, mtu = optional(number, 1400), vlans = optional(list(number), [7]) }))
  default = { x = { cidr = "10.3.0.0/24" }, y = { cidr = "10.4.0.0/24", vlans = [] } }
  validation {
    condition     = length(var.sites) == length(var.n)
    error_message = "There are ${length(var.n)} sites."
  }
}
locals {
  lan = cidrsubnet("192.168.0.0/16", 8, length(var.n))
}
output "lan" {
  value       = { lan = local.lan, sites = keys(var.sites) }
  description = "x"
}
output "machines" { value = [node.n["a"].addresses[0], router.edge[*].name, host.remote.interfaces[1].switch, switch.site["x"].subnets] }
switch "site" {
  for_each = var.sites
  subnet   = each.value.cidr
  mtu      = each.value.mtu
  dynamic "vlan" {
    for_each = each.value.vlans
    labels   = [vlan.value]
    content { subnet = "10.5.${vlan.value}.0/24" }
  }
}
switch "point" {
  count  = 2
  subnet = cidrsubnet("10.6.0.0/16", 14, count.index)
}
router "edge" {
  count = 2
  dynamic "on" {
    for_each = var.sites
    iterator = site
    labels   = ["site-${site.key}"]
    content { address = cidrhost(site.value.cidr, count.index + 1) }
  }
  dynamic "route" {
    for_each = toset(["10.7.0.0/16", "10.8.0.0/16"])
    content {
      to  = route.value
      via = cidrhost(var.sites.x.cidr, 2 - count.index)
    }
  }
}
host "remote" {
  on "site-x" {}
  on "point1" {}
  route {
    to      = "default"
    via     = [cidrhost(var.sites.x.cidr, 1), "10.3.0.2"]
    weights = [length(var.n), 1]
  }
}
switch "lan" {
  subnet = [local.lan, "fd00:205::/64"]
  mtu    = 1500
  rate   = "100mbit"
  delay  = "20ms"
  jitter = "2ms"
  loss   = "0.1%"
  wire   = "nic"
  vlan "20" { subnet = ["10.20.0.0/24", "fd00:20::/64"] }
}
switch "wan" { subnet = "172.16.0.0/30" }
router "gw" {
  on "lan" {}
  on "lan" { vlan = 20 }
  on "wan" { address = "172.16.0.1" }
  route {
    to  = "10.99.0.0/16"
    via = "172.16.0.2"
  }
}
node "n" {
  for_each = var.n
  on "lan" {
    address = cidrhost(local.lan, each.value)
    name    = "ens192"
    trunk   = [20]
  }
  gateway  = [cidrhost(local.lan, 1), "fd00:205::1"]
  pods     = 1
  pod_cidr = [cidrsubnet("10.42.0.0/16", 8, each.value), "fd00:42:0:${each.value}::/64"]
  pod "web" { address = format("10.42.%d.80", each.value) }
}
node "e" {
  count    = 2
  datapath = "ebpf"
  on "lan" {}
  pods = count.index + 1
  pod "more" { count = 2 }
  dynamic "pod" {
    for_each = { q = ["10.42.0.9"] }
    labels   = ["${pod.key}${count.index}"]
    content { address = count.index == 0 ? pod.value : null }
  }
}
host "h" {
  count = 1
  on "lan" { vlan = 20 }
  gateway = "10.20.0.1"
}
network "pods" {
  cidr = ["10.42.0.0/16", "fd00:42::/48"]
  mode = "calico"
  mtu  = 1380
}
mode "calico" {
  use    = "vxlan"
  like   = "calico"
  vni    = 77
  port   = 4000
  direct = true
}
mode "ipip" {
  like   = "calico"
  direct = true
}
mode "udp" { port = 9000 }
mode "bgp" {
  as         = 64600
  reflectors = ["e1", "n-a"]
}
mode "rack" {
  use     = "bgp"
  like    = "hybridnet"
  peer    = "gw"
  peer_as = 65000
}
mode "macvlan" {
  vlan         = 20
  gateway      = ["10.42.0.1", "fd00:42::1"]
  service_veth = true
}
mode "vlan" {
  vlan    = 20
  gateway = "10.42.0.1"
}
mode "ipvlan" { like = "l3s" }
compare {
  modes    = ["calico", "host-gw"]
  paths    = ["cross-node"]
  measures = ["tcp-rr"]
  rounds   = 6
}
`

// TestHostileLabs puts wrong values into every expression of every shipped lab, and of one that has everything, and plans what
// is still a lab in every mode. LAB_SOAK=1 tries all of them, which takes minutes.
func TestHostileLabs(t *testing.T) {
	tried, right := 0, 0
	for _, name := range append(labs.Names(), "everything") {
		src, shipped := labs.Read(name)
		if !shipped {
			src = []byte(everything)
		}
		if bear(t, name, src, small[name]) == 0 {
			t.Errorf("%s: no mode can be planned", name)
		}
		for m := range hostile.Mutants(name, src) {
			if !m.Sampled(29) {
				continue
			}
			tried++
			right += bear(t, m.Name, m.Text, small[name])
		}
	}
	t.Logf("%d definitions, %d plans", tried, right)
	if tried < 500 || right < 500 {
		t.Error("too few to mean anything")
	}
}

// TestHostileTogether puts several wrong values into a lab at once: what is wrong in one place must not hide behind another.
func TestHostileTogether(t *testing.T) {
	tries := 300
	if os.Getenv("LAB_SOAK") == "1" {
		tries = 20_000
	}
	random := rand.New(rand.NewPCG(8, 8))
	names := slices.DeleteFunc(append(labs.Names(), "everything", "everything"), func(n string) bool { return n == "scale" })
	for range tries {
		name := names[random.IntN(len(names))]
		src, shipped := labs.Read(name)
		if !shipped {
			src = []byte(everything)
		}
		m := hostile.Several(random, name, src)
		bear(t, m.Name, m.Text, nil)
	}
}

// bear loads a text, and plans it in every mode; it returns the number of plans that there are.
func bear(t *testing.T, name string, text []byte, vars map[string]string) (plans int) {
	t.Helper()
	start := hostile.Worked()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v\n%s\n%s", name, r, debug.Stack(), text)
		}
		if d := hostile.Worked() - start; d > 20*time.Second {
			t.Errorf("%s: took %s of the processors' time\n%s", name, d, text)
		}
	}()
	l, files, diags := lab.Load("hostile.hcl", text, lab.Inputs{Vars: vars})
	if (l == nil) != diags.HasErrors() {
		t.Errorf("%s: a lab and errors, or neither\n%s", name, text)
	}
	sensible(t, name, files, diags)
	if l == nil || len(l.Machines) > 50 {
		return 0 // plans grow with the square of the nodes
	}
	names := append([]string{""}, All.Names()...)
	for _, b := range l.Modes {
		names = append(names, b.Name)
	}
	for i, mode := range names {
		if l.Network == nil && mode != "" {
			continue
		}
		features := plan.AllFeatures()
		if i%2 == 1 {
			features = bare()
		}
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: features})
		if (p == nil) != diags.HasErrors() {
			t.Errorf("%s in mode %s: a plan and errors, or neither\n%s", name, mode, text)
		}
		sensible(t, name+" in mode "+mode, files, diags)
		if p == nil {
			continue
		}
		plans++
		consistent(t, fmt.Sprintf("%s in mode %s", name, mode), p)
		ends := p.Cluster.Endpoints()
		for _, from := range ends[:min(len(ends), 10)] {
			for _, to := range ends[:min(len(ends), 10)] {
				if from.Namespace != to.Namespace && from.Address.Is6() == to.Address.Is6() {
					p.Expect(plan.Flow{From: from, To: to})
				}
			}
		}
	}
	return plans
}

// sensible: every mistake has a place and says what it is, and there are not more than anybody reads.
func sensible(t *testing.T, name string, files lab.Files, diags hcl.Diagnostics) {
	t.Helper()
	if len(diags) > 100 {
		t.Errorf("%s: %d diagnostics", name, len(diags))
	}
	for _, d := range diags {
		if d.Summary == "" || d.Detail == "" || d.Subject == nil && !strings.HasPrefix(d.Summary, "Too many") || d.Subject != nil && d.Subject.Filename == "" {
			t.Errorf("%s: no place, or it says nothing: %v", name, d)
		}
	}
	var b strings.Builder
	if err := files.Print(&b, diags, 100, false); err != nil || b.Len() > 300_000 {
		t.Errorf("%s: %v, or too much: %d bytes", name, err, b.Len())
	}
}

// consistent: a plan can be ordered and printed, its objects stand on objects of it, and IPv6 is on where it is spoken.
func consistent(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	off := map[string]bool{}
	p.State.Each(func(o plan.Object) {
		if s, ok := o.(plan.Sysctl); ok && s.Path == "net/ipv6/conf/default/disable_ipv6" {
			off[s.Namespace] = s.Value == "1"
		}
	})
	for _, o := range p.State.Objects() {
		if len(o.Add()) == 0 {
			t.Errorf("%s: no command makes %s", name, o.Key())
		}
		for _, parent := range o.Parents() {
			if p.State.Get(parent) == nil && parent.Name != "lo" {
				t.Errorf("%s: %s stands on %s, which is not there", name, o.Key(), parent)
			}
		}
		switch o := o.(type) {
		case plan.Address:
			if !o.Prefix.IsValid() || o.Prefix.Addr().Is6() && off[o.Namespace] {
				t.Errorf("%s: %s has the address %s, and IPv6 is off: %v", name, o.Namespace, o.Prefix, off[o.Namespace])
			}
		case plan.Route:
			if !o.Dst.IsValid() || o.Dst.Addr().Is6() && off[o.Namespace] {
				t.Errorf("%s: %s has the route %s, and IPv6 is off: %v", name, o.Namespace, o.Dst, off[o.Namespace])
			}
		}
	}
	if changes := plan.Diff(p.State, p.State); len(changes) > 0 {
		t.Errorf("%s: a plan differs from itself: %v", name, changes[0])
	}
}
