package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/gohcl"

	"labnet/lab"
)

// load loads a file that has no mistakes; a lab block is put before it.
func load(t *testing.T, src string, in lab.Inputs) *lab.Lab {
	t.Helper()
	l, sources, diags := lab.Load("test.hcl", []byte("lab \"test\" {}\n"+src), in)
	if len(diags) > 0 {
		t.Fatal(print(t, sources, diags))
	}
	return l
}

// describe writes a lab as one line a thing, for comparing.
func describe(l *lab.Lab) string {
	var b strings.Builder
	for _, s := range l.Switches {
		fmt.Fprintf(&b, "switch %s %v mtu %d\n", s.Name, s.Subnets, s.MTU)
		for _, v := range s.VLANs {
			fmt.Fprintf(&b, "vlan %d %v\n", v.ID, v.Subnets)
		}
	}
	for _, m := range l.Machines {
		fmt.Fprintf(&b, "%s %s", m.Kind, m.Name)
		for _, i := range m.Interfaces {
			fmt.Fprintf(&b, " %s@%s", i.Name, i.Switch.Name)
			if i.VLAN != 0 {
				fmt.Fprintf(&b, ".%d", i.VLAN)
			}
			fmt.Fprint(&b, i.Addresses)
			if len(i.Trunk) > 0 {
				fmt.Fprintf(&b, "+%v", i.Trunk)
			}
		}
		if len(m.Gateways) > 0 {
			fmt.Fprintf(&b, " gateway%v", m.Gateways)
		}
		for _, r := range m.Routes {
			fmt.Fprintf(&b, " route %s via %s", r.To, r.Via)
			if len(r.Hops) > 1 {
				fmt.Fprint(&b, r.Hops)
			}
		}
		if len(m.PodCIDRs) > 0 {
			fmt.Fprintf(&b, " pod_cidr%v", m.PodCIDRs)
		}
		for _, p := range m.Pods {
			fmt.Fprintf(&b, " %s", p.Name)
			if len(p.Addresses) > 0 {
				fmt.Fprintf(&b, "%v", p.Addresses)
			}
		}
		b.WriteByte('\n')
	}
	if n := l.Network; n != nil {
		fmt.Fprintf(&b, "network %s %v mode %s", n.Name, n.CIDRs, n.Mode)
		if n.MTU > 0 {
			fmt.Fprintf(&b, " mtu %d", n.MTU)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// on is a machine on the switch lan.
func on(kind, name, address string) string {
	if address != "" {
		address = fmt.Sprintf(" address = %q ", address)
	}
	return fmt.Sprintf("%s %q {\n  on \"lan\" {%s}\n}\n", kind, name, address)
}

func TestLoad(t *testing.T) {
	const (
		lan     = "switch \"lan\" { subnet = \"192.168.1.0/24\" }\n"
		network = "network \"pods\" { cidr = \"10.42.0.0/16\" }\n"
		built   = "switch lan [192.168.1.0/24] mtu 1500\n"
	)
	tests := []struct {
		name, src, want string
		in              lab.Inputs
	}{
		{
			name: "nothing but a name",
		},
		{
			name: "addresses skip the first, which is a router's",
			src:  lan + on("node", "a", "") + on("router", "r", "") + on("host", "b", "") + on("router", "s", ""),
			want: built + "node a eth0@lan[192.168.1.2/24]\nrouter r eth0@lan[192.168.1.1/24]\nhost b eth0@lan[192.168.1.3/24]\nrouter s eth0@lan[192.168.1.4/24]\n",
		},
		{
			name: "written addresses are taken first, wherever they stand",
			src:  lan + "node \"a\" {\n  count = 3\n  on \"lan\" {}\n}\n" + on("node", "b", "192.168.1.3"),
			want: built + "node a1 eth0@lan[192.168.1.2/24]\nnode a2 eth0@lan[192.168.1.4/24]\nnode a3 eth0@lan[192.168.1.5/24]\nnode b eth0@lan[192.168.1.3/24]\n",
		},
		{
			name: "a node may have the first address when it is written",
			src:  lan + on("node", "a", "192.168.1.1") + on("router", "r", ""),
			want: built + "node a eth0@lan[192.168.1.1/24]\nrouter r eth0@lan[192.168.1.2/24]\n",
		},
		{
			name: "a point-to-point subnet has two addresses",
			src:  `switch "p" { subnet = ["10.0.0.0/31", "fd00::/127"] }` + "\n" + "node \"a\" {\n  count = 2\n  on \"p\" {}\n}\n",
			want: "switch p [10.0.0.0/31 fd00::/127] mtu 1500\nnode a1 eth0@p[10.0.0.0/31 fd00::/127]\nnode a2 eth0@p[10.0.0.1/31 fd00::1/127]\n",
		},
		{
			name: "dual stack, one of the addresses written",
			src:  "switch \"lan\" { subnet = [\"192.168.1.0/24\", \"fd00::/64\"] }\n" + on("node", "a", "fd00::2") + on("node", "b", ""),
			want: "switch lan [192.168.1.0/24 fd00::/64] mtu 1500\nnode a eth0@lan[192.168.1.2/24 fd00::2/64]\nnode b eth0@lan[192.168.1.3/24 fd00::3/64]\n",
		},
		{
			name: "count of one still numbers; of none makes none",
			src:  lan + "node \"a\" {\n  count = 1\n  on \"lan\" {}\n}\nnode \"b\" {\n  count = 0\n  on \"lan\" {}\n}",
			want: built + "node a1 eth0@lan[192.168.1.2/24]\n",
		},
		{
			name: "for_each over a map",
			src:  lan + network + "node \"w\" {\n  for_each = { b = 20, a = 10 }\n  on \"lan\" { address = cidrhost(\"192.168.1.0/24\", each.value) }\n  pod \"x\" {}\n}",
			want: built + "node w-a eth0@lan[192.168.1.10/24] x\nnode w-b eth0@lan[192.168.1.20/24] x\nnetwork pods [10.42.0.0/16] mode host-gw\n",
		},
		{
			name: "for_each over a set",
			src:  lan + "host \"h\" {\n  for_each = toset([for i in range(3) : format(\"%02d\", i)])\n  on \"lan\" { address = \"192.168.1.${each.value + 7}\" }\n}",
			want: built + "host h-00 eth0@lan[192.168.1.7/24]\nhost h-01 eth0@lan[192.168.1.8/24]\nhost h-02 eth0@lan[192.168.1.9/24]\n",
		},
		{
			name: "interfaces, gateways and routes",
			src: lan + "switch \"out\" {\n  subnet = \"172.16.0.0/24\"\n  mtu    = 9000\n}\n" +
				"router \"r\" {\n  on \"out\" {}\n  on \"lan\" {}\n  route {\n    to  = \"10.0.0.0/8\"\n    via = \"192.168.1.2\"\n  }\n}\n" +
				"node \"n\" {\n  on \"lan\" {}\n  gateway = \"192.168.1.1\"\n}",
			want: built + "switch out [172.16.0.0/24] mtu 9000\nrouter r eth0@out[172.16.0.1/24] eth1@lan[192.168.1.1/24] route 10.0.0.0/8 via 192.168.1.2\n" +
				"node n eth0@lan[192.168.1.2/24] gateway[192.168.1.1]\n",
		},
		{
			name: "VLANs have addresses of their own, and a machine one of each",
			src: "switch \"lan\" {\n  subnet = \"192.168.1.0/24\"\n  vlan \"10\" { subnet = [\"10.10.0.0/24\", \"fd10::/64\"] }\n  vlan \"20\" { subnet = \"10.20.0.0/24\" }\n  vlan \"30\" {}\n}\n" +
				"node \"n\" {\n  count = 2\n  on \"lan\" { trunk = [30, 10 + count.index * 10] }\n}\nhost \"h\" {\n  on \"lan\" { vlan = 20 }\n  gateway = \"10.20.0.1\"\n}\n" +
				"router \"r\" {\n  on \"lan\" {\n    vlan    = 10\n    address = \"10.10.0.9\"\n  }\n  on \"lan\" {}\n  on \"lan\" { vlan = 20 }\n}",
			want: "switch lan [192.168.1.0/24] mtu 1500\nvlan 10 [10.10.0.0/24 fd10::/64]\nvlan 20 [10.20.0.0/24]\nvlan 30 []\n" +
				"node n1 eth0@lan[192.168.1.2/24]+[10 30]\nnode n2 eth0@lan[192.168.1.3/24]+[20 30]\nhost h eth0@lan.20[10.20.0.2/24] gateway[10.20.0.1]\n" +
				"router r eth0@lan.10[10.10.0.9/24 fd10::1/64] eth1@lan[192.168.1.1/24] eth2@lan.20[10.20.0.1/24]\n",
		},
		{
			name: "a trunk of one VLAN, and of null",
			src:  "switch \"lan\" {\n  subnet = \"192.168.1.0/24\"\n  vlan \"10\" {}\n}\nhost \"a\" {\n  on \"lan\" { trunk = 10 }\n}\nhost \"b\" {\n  on \"lan\" {\n    trunk = null\n    vlan  = null\n  }\n}",
			want: "switch lan [192.168.1.0/24] mtu 1500\nvlan 10 []\nhost a eth0@lan[192.168.1.2/24]+[10]\nhost b eth0@lan[192.168.1.3/24]\n",
		},
		{
			name: "pods",
			src: lan + "network \"pods\" {\n  cidr = [\"10.42.0.0/16\", \"fd00:42::/48\"]\n  mode = \"vxlan\"\n}\n" +
				"node \"n\" {\n  on \"lan\" {}\n  pod_cidr = \"10.42.7.0/24\"\n  pods = 2\n  pod \"web\" { address = [\"10.42.7.9\", \"fd00:42::9\"] }\n  pod \"db\" {}\n}",
			want: built + "node n eth0@lan[192.168.1.2/24] pod_cidr[10.42.7.0/24] p1 p2 web[10.42.7.9 fd00:42::9] db\nnetwork pods [10.42.0.0/16 fd00:42::/48] mode vxlan\n",
		},
		{
			name: "locals in any order",
			src:  "locals {\n  c = \"${local.b}/24\"\n}\nlocals {\n  a = 168\n  b = join(\".\", [192, local.a, 1, 0])\n}\nswitch \"lan\" { subnet = local.c }",
			want: built,
		},
		{
			name: "null is as good as left out",
			src:  "variable \"mtu\" {\n  type    = number\n  default = null\n}\nswitch \"lan\" {\n  subnet = \"192.168.1.0/24\"\n  mtu    = var.mtu\n}",
			want: built,
		},
		{
			name: "a variable from the command line has the type of its default",
			src:  "variable \"n\" { default = 1 }\nvariable \"ip\" { default = \"x\" }\nvariable \"l\" { default = [] }\n" + lan + "host \"h\" {\n  count = var.n == 2 ? length(var.l) : 0\n  on \"lan\" { address = var.ip }\n}",
			in:   lab.Inputs{Vars: map[string]string{"n": "2", "ip": "192.168.1.9", "l": `["one"]`}},
			want: built + "host h1 eth0@lan[192.168.1.9/24]\n",
		},
		{
			name: "names of interfaces; those without one are still numbered",
			src:  lan + "switch \"wan\" { subnet = \"192.168.2.0/24\" }\nrouter \"r\" {\n  on \"lan\" { name = \"ens192\" }\n  on \"wan\" {}\n}\nhost \"h\" {\n  on \"lan\" { name = null }\n  on \"wan\" { name = \"eth0.7_a-b\" }\n}\n",
			want: built + "switch wan [192.168.2.0/24] mtu 1500\nrouter r ens192@lan[192.168.1.1/24] eth1@wan[192.168.2.1/24]\nhost h eth0@lan[192.168.1.2/24] eth0.7_a-b@wan[192.168.2.2/24]\n",
		},
		{
			name: "a block says more of a numbered pod, or makes one of its own",
			src:  lan + "network \"pods\" {\n  cidr = \"10.42.0.0/16\"\n  mtu  = 1440\n}\nnode \"n\" {\n  on \"lan\" {}\n  pods = 2\n  pod \"web\" {}\n  pod \"p2\" { address = \"10.42.0.65\" }\n  pod \"p3\" { address = \"10.42.0.9\" }\n}\n",
			want: built + "node n eth0@lan[192.168.1.2/24] p1 p2[10.42.0.65] web p3[10.42.0.9]\nnetwork pods [10.42.0.0/16] mode host-gw mtu 1440\n",
		},
		{
			name: "switches by count and for_each, and a node on each by a dynamic block",
			src: "switch \"row\" {\n  count  = 2\n  subnet = cidrsubnet(\"10.1.0.0/16\", 8, count.index)\n}\n" +
				"switch \"rack\" {\n  for_each = { b = 7, a = 9 }\n  subnet   = \"10.2.${each.value}.0/24\"\n  dynamic \"vlan\" {\n    for_each = [each.value, 5]\n    labels   = [vlan.value]\n    content { subnet = \"10.3.${each.value}${vlan.key}.0/24\" }\n  }\n}\n" +
				"router \"r\" {\n  dynamic \"on\" {\n    for_each = toset([\"rack-a\", \"row2\"])\n    iterator = nic\n    labels   = [nic.value]\n    content { address = nic.key == \"row2\" ? \"10.1.1.9\" : null }\n  }\n  on \"row1\" {}\n}\n",
			want: "switch row1 [10.1.0.0/24] mtu 1500\nswitch row2 [10.1.1.0/24] mtu 1500\nswitch rack-a [10.2.9.0/24] mtu 1500\nvlan 9 [10.3.90.0/24]\nvlan 5 [10.3.91.0/24]\n" +
				"switch rack-b [10.2.7.0/24] mtu 1500\nvlan 7 [10.3.70.0/24]\nvlan 5 [10.3.71.0/24]\nrouter r eth0@rack-a[10.2.9.1/24] eth1@row2[10.1.1.9/24] eth2@row1[10.1.0.1/24]\n",
		},
		{
			name: "pods by count inside nodes by for_each",
			src:  lan + network + "node \"n\" {\n  for_each = { a = 3, b = 4 }\n  on \"lan\" {}\n  pods = 1\n  pod \"p\" {\n    count   = 2\n    address = \"10.42.${each.value}.${count.index + 9}\"\n  }\n  pod \"db\" { for_each = toset([each.key]) }\n}\n",
			want: built + "node n-a eth0@lan[192.168.1.2/24] p1[10.42.3.9] p2[10.42.3.10] db-a\nnode n-b eth0@lan[192.168.1.3/24] p1[10.42.4.9] p2[10.42.4.10] db-b\nnetwork pods [10.42.0.0/16] mode host-gw\n",
		},
		{
			name: "routes by a dynamic block, the default route, and several next hops",
			src: lan + "router \"r\" {\n  count = 3\n  on \"lan\" {}\n}\n" + "host \"h\" {\n  on \"lan\" {}\n  route {\n    to      = \"default\"\n    via     = [\"192.168.1.1\", \"192.168.1.2\"]\n    weights = [3, 1]\n  }\n" +
				"  dynamic \"route\" {\n    for_each = { a = 1, b = 2 }\n    content {\n      to  = \"10.${route.value}.0.0/16\"\n      via = [for n in range(1, 4) : \"192.168.1.${n}\"]\n    }\n  }\n}\n",
			want: built + "router r1 eth0@lan[192.168.1.1/24]\nrouter r2 eth0@lan[192.168.1.2/24]\nrouter r3 eth0@lan[192.168.1.3/24]\n" +
				"host h eth0@lan[192.168.1.4/24] route 0.0.0.0/0 via 192.168.1.1[{192.168.1.1 3} {192.168.1.2 1}] route 10.1.0.0/16 via 192.168.1.1[{192.168.1.1 1} {192.168.1.2 1} {192.168.1.3 1}]" +
				" route 10.2.0.0/16 via 192.168.1.1[{192.168.1.1 1} {192.168.1.2 1} {192.168.1.3 1}]\n",
		},
		{
			name: "attributes of an object that are left out",
			src: "variable \"nets\" {\n  type = map(object({\n    cidr = string\n    mtu  = optional(number, 1400)\n    vlans = optional(list(object({ id = number, cidr = optional(string, \"10.9.0.0/24\") })), [{ id = 3 }])\n    loss = optional(string)\n  }))\n}\n" +
				"switch \"s\" {\n  for_each = var.nets\n  subnet   = each.value.cidr\n  mtu      = each.value.mtu\n  loss     = each.value.loss\n  dynamic \"vlan\" {\n    for_each = each.value.vlans\n    labels   = [vlan.value.id]\n    content { subnet = vlan.value.cidr }\n  }\n}\n",
			in:   lab.Inputs{Vars: map[string]string{"nets": `{ a = { cidr = "10.0.0.0/24" }, b = { cidr = "10.0.1.0/24", mtu = 9000, vlans = [] } }`}},
			want: "switch s-a [10.0.0.0/24] mtu 1400\nvlan 3 [10.9.0.0/24]\nswitch s-b [10.0.1.0/24] mtu 9000\n",
		},
		{
			name: "a variable with a type and no default",
			src:  "variable \"m\" { type = map(number) }\n" + lan + "host \"h\" {\n  for_each = var.m\n  on \"lan\" { address = cidrhost(\"192.168.1.0/24\", each.value) }\n}",
			in:   lab.Inputs{Vars: map[string]string{"m": `{ a = "5" }`}},
			want: built + "host h-a eth0@lan[192.168.1.5/24]\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, describe(load(t, tt.src, tt.in))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	file := func(name, src string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := file("one.hcl", "mtu = 3000\n"), file("two.hcl", "mtu = 2000 * 2\n")
	environ := []string{"LAB_VAR_mtu=2000", "LAB_VAR_of_somebody_else=1", "PATH=/bin"}
	tests := []struct {
		name string
		in   lab.Inputs
		want int
	}{
		{"default", lab.Inputs{}, 1000},
		{"environment", lab.Inputs{Environ: environ}, 2000},
		{"file", lab.Inputs{Environ: environ, VarFiles: []string{one}}, 3000},
		{"last file", lab.Inputs{Environ: environ, VarFiles: []string{one, two}}, 4000},
		{"command line", lab.Inputs{Environ: environ, VarFiles: []string{one}, Vars: map[string]string{"mtu": "5000"}}, 5000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := load(t, "variable \"mtu\" { default = 1000 }\nswitch \"lan\" {\n  subnet = \"10.0.0.0/24\"\n  mtu    = var.mtu\n}\n", tt.in)
			if got := l.Switches[0].MTU; got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestInputMistakes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("vars.hcl", []byte("nods = 3\npods = undefined\nx {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	src := "lab \"x\" {}\nvariable \"nodes\" { default = 2 }\nvariable \"pods\" { default = 2 }\nvariable \"names\" { type = list(string) }\n"
	_, sources, diags := lab.Load("test.hcl", []byte(src), lab.Inputs{
		Vars:     map[string]string{"nodes": "many", "nodse": "3"},
		VarFiles: []string{"vars.hcl", "missing.hcl"},
		Environ:  []string{"LAB_VAR_names=[oops"},
	})
	got := print(t, sources, diags)
	for _, want := range []string{
		"on --var nodes line 1:\n   1: nodes=many",
		"on --var nodse line 1:\n   1: nodse=3\n\nThe definition declares no variable \"nodse\". Did you mean \"nodes\"?",
		"on vars.hcl line 1:\n   1: nods = 3",
		"on vars.hcl line 2:\n   2: pods = undefined",
		"on vars.hcl line 3",
		"open missing.hcl: no such file or directory",
		"on LAB_VAR_names line 1:\n   1: LAB_VAR_names=[oops",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing of\n%s\n\nin\n\n%s", want, got)
		}
	}
}

func TestImpairment(t *testing.T) {
	l := load(t, "switch \"lan\" {\n  subnet = \"10.0.0.0/24\"\n  rate   = \"1.5mbit\"\n  delay  = \"10ms\"\n  jitter = \"500us\"\n  loss   = \"0.5%\"\n}\n", lab.Inputs{})
	want := lab.Impairment{Rate: 1_500_000, Delay: 10 * time.Millisecond, Jitter: 500 * time.Microsecond, Loss: 0.5}
	if diff := cmp.Diff(want, l.Switches[0].Impair); diff != "" {
		t.Error(diff)
	}
}

// A mode decodes its own block, with everything the file may refer to, and finds there what it does not know.
func TestModes(t *testing.T) {
	l := load(t, "variable \"vni\" { default = 7 }\nmode \"vxlan\" {\n  vni = var.vni + max(1, 2)\n}\nmode \"mine\" {\n  use = \"vxlan\"\n  vni = 1\n  x   = 2\n}\n", lab.Inputs{})
	if l.Mode("vxlan").Use != "vxlan" || l.Mode("mine").Use != "vxlan" || l.Mode("other") != nil {
		t.Errorf("modes %v", l.Modes)
	}
	var settings struct {
		VNI int `hcl:"vni,optional"`
	}
	m := l.Mode("vxlan")
	if diags := gohcl.DecodeBody(m.Body, m.Eval, &settings); diags.HasErrors() || settings.VNI != 9 {
		t.Errorf("vni %d, %v", settings.VNI, diags)
	}
	m = l.Mode("mine")
	diags := gohcl.DecodeBody(m.Body, m.Eval, &settings)
	if len(diags) != 1 || diags[0].Subject.Start.Line != 9 {
		t.Errorf("unknown setting: %v", diags)
	}
}

func TestCompare(t *testing.T) {
	l := load(t, "compare {\n  modes    = [\"host-gw\", \"vxlan\"]\n  paths    = [\"same-node\"]\n  measures = [\"tcp-rr\"]\n  rounds   = 6\n}\n", lab.Inputs{})
	got := l.Compare
	if diff := cmp.Diff([]any{[]string{"host-gw", "vxlan"}, []string{"same-node"}, []string{"tcp-rr"}, 6}, []any{got.Modes, got.Paths, got.Measures, got.Rounds}); diff != "" {
		t.Error(diff)
	}
}

// Sweeps that a dynamic block generates count as those that are written out.
func TestGeneratedSweeps(t *testing.T) {
	l := load(t, `compare {
  modes = ["host-gw"]
  dynamic "sweep" {
    for_each = { mtu = [1500, 9000], firewall = ["on", "off"] }
    labels   = [sweep.key]
    content { values = sweep.value }
  }
}
`, lab.Inputs{})
	want := []lab.Sweep{{Name: "firewall", Values: []string{"on", "off"}}, {Name: "mtu", Values: []string{"1500", "9000"}}}
	if diff := cmp.Diff(want, l.Compare.Sweeps); diff != "" {
		t.Error(diff)
	}
}

// Whoever finds a problem later underlines the attribute it comes from.
func TestRanges(t *testing.T) {
	l := load(t, "switch \"lan\" {\n  subnet = \"10.0.0.0/24\"\n  mtu    = 1400\n}\n", lab.Inputs{})
	s := l.Switches[0]
	if at := s.At.Of("mtu", s.Range); at.Start.Line != 4 || at.Start.Column != 3 {
		t.Errorf("mtu is at %s", at)
	}
	if at := s.At.Of("delay", s.Range); at != s.Range || at.Start.Line != 2 {
		t.Errorf("delay, which is left out, is at %s", at)
	}
}

func TestFunctions(t *testing.T) {
	tests := []struct{ expr, want string }{
		{`cidrsubnet("10.42.0.0/16", 8, 255)`, "10.42.255.0/24"},
		{`cidrsubnet("fd00:42::/48", 16, 258)`, "fd00:42:0:102::/64"},
		{`cidrsubnet("10.42.7.1/16", 0, 0)`, "10.42.0.0/16"},
		{`cidrhost("10.42.0.0/16", 256)`, "10.42.1.0"},
		{`cidrhost("10.42.0.0/16", -2)`, "10.42.255.254"},
		{`cidrhost("fd00::/64", 18446744073709551615)`, "fd00::ffff:ffff:ffff:ffff"},
		{`cidrnetmask("10.0.0.0/12")`, "255.240.0.0"},
		{`cidrnetmask("0.0.0.0/0")`, "0.0.0.0"},
		{`format("%s-%03d%%", "a", 7)`, "a-007%"},
		{`join(",", range(3))`, "0,1,2"},
		{`join(",", range(2, 5))`, "2,3,4"},
		{`join(",", range(5, 0, -2))`, "5,3,1"},
		{`join(",", range(0))`, ""},
		{`"n${length(concat([1], [2, 3]))}"`, "n3"},
		{`"${max(1, 5, 3)}${min(4, 2)}"`, "52"},
		{`merge({ a = "x" }, { a = "y" }).a`, "y"},
		{`join(",", toset(["b", "a", "b"]))`, "a,b"},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			l, sources, diags := lab.Load("test.hcl", []byte("lab \"x\" { about = "+tt.expr+" }"), lab.Inputs{})
			if len(diags) > 0 {
				t.Fatal(print(t, sources, diags))
			}
			if l.About != tt.want {
				t.Errorf("got %q, want %q", l.About, tt.want)
			}
		})
	}
}

func TestFormat(t *testing.T) {
	got, diags := lab.Format("x.hcl", []byte("lab \"x\" {\nabout=\"y\"\n}\n"))
	if want := "lab \"x\" {\n  about = \"y\"\n}\n"; string(got) != want || len(diags) > 0 {
		t.Errorf("got %q, %v", got, diags)
	}
	broken := "lab \"x\" {\nabout=\n"
	if got, diags := lab.Format("x.hcl", []byte(broken)); string(got) != broken || !diags.HasErrors() {
		t.Errorf("a broken file: got %q, %v", got, diags)
	}
}
