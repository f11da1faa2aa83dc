package modes

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// plugged is a lab of two nodes with these settings of mode cni.
func plugged(settings string) string {
	return fmt.Sprintf(`
lab "plugged" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
node "n" {
  count = 2
  on "lan" {}
  pod "a" { address = ["10.42.${count.index}.9", "fd00:42:0:${count.index}::9"] }
}
network "pods" {
  cidr = ["10.42.0.0/16", "fd00:42::/48"]
  mode = "cni"
}
mode "cni" {
%s
}
`, settings)
}

const list = `conflist = { name = "x", cniVersion = "1.0.0", plugins = [{ type = "%s" }] }`

func attachments(p *plan.Plan) (all []plan.CNI) {
	for _, o := range p.State.Objects() {
		if a, ok := o.(plan.Attachment); ok {
			c, err := a.Wanted()
			if err != nil {
				panic(err)
			}
			all = append(all, c)
		}
	}
	return all
}

// TestConflistPerNode: a conflist is evaluated for each node, be it an object, a file or a template.
func TestConflistPerNode(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.conflist": `{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "static"}]}`,
		"a.tpl":      `{"cniVersion": "1.0.0", "name": "x", "type": "${node.name}", "subnets": ${jsonencode(node.pod_cidrs)}, "mtu": ${node.mtu}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for settings, want := range map[string]string{
		`conflist = file("a.conflist")`:                          `{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"static"}]}`,
		`conflist = templatefile("a.tpl", { node = node })`:      `{"cniVersion":"1.0.0","name":"x","plugins":[{"cniVersion":"1.0.0","name":"x","type":"n2","subnets":["10.42.1.0/24","fd00:42:0:1::/64"],"mtu":1500}]}`,
		fmt.Sprintf(list, "p${node.index}-${node.address}"):      `{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"p1-192.168.205.3"}]}`,
		fmt.Sprintf(list, "p-${split(\"/\", node.pod_cidr)[0]}"): `{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"p-10.42.1.0"}]}`,
	} {
		l, _, diags := lab.Load("x.hcl", []byte(plugged(settings)), lab.Inputs{Dir: dir})
		if diags.HasErrors() {
			t.Errorf("%s: %v", settings, diags)
			continue
		}
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Errorf("%s: %v", settings, diags)
			continue
		}
		second := attachments(p)[1]
		if got := string(second.Conflist); got != want {
			t.Errorf("%s:\n%s\nwanted\n%s", settings, got, want)
		}
		if second.Args["IP"] != "10.42.1.9,fd00:42:0:1::9" || fmt.Sprint(second.Capabilities["ips"]) != "[10.42.1.9/24 fd00:42:0:1::9/64]" {
			t.Errorf("the address that the pod asks for is not handed over: %v %v", second.Args, second.Capabilities)
		}
		// The running lab is planned again from what was read.
		again, _, diags := lab.Load("x.hcl", []byte(plugged(settings)), lab.Inputs{Texts: l.Texts})
		if q, more := plan.Build(again, plan.Options{Modes: All, Features: plan.AllFeatures()}); diags.HasErrors() || more.HasErrors() || string(attachments(q)[1].Conflist) != want {
			t.Errorf("%s from its record: %v %v", settings, diags, more)
		}
	}
}

// TestWrongPlugins: each mistake of the settings is said, at its place.
func TestWrongPlugins(t *testing.T) {
	good := fmt.Sprintf(list, "bridge")
	for settings, want := range map[string]string{
		"":                      "No conflist",
		`conflist = "nonsense"`: "not JSON",
		`conflist = 5`:          "must be JSON in a string",
		`conflist = null`:       "No conflist",
		`conflist = { name = "x", cniVersion = "1.0.0" }`:                `no "plugins"`,
		`conflist = { name = "x", plugins = [{ type = "a" }] }`:          `no "cniVersion"`,
		`conflist = { cniVersion = "1.0.0", plugins = [{ type = "" }] }`: `cannot be its "name"`,
		fmt.Sprintf(list, "a/b"):                                         `no "type"`,
		good + "\ncapabilities = { x = pod.address }":                    "A pod has no \"address\" here",
		good + "\nargs = { X = pod.name }":                               "pod",
		`conflist = node.nme`:                                            "Did you mean \"name\"?",
		good + "\npath = [\"bin\"]":                                      "not the whole path",
		good + "\npath = [node.name]":                                    "Only outputs can refer to a node",
		good + "\nroutes = \"hostgw\"":                                   "Did you mean \"host-gw\"?",
		good + "\nargs = { \"A B\" = \"1\" }":                            "cannot be an argument",
		good + "\ncapabilities = 5":                                      "must be an object",
		good + "\nfiles = 5":                                             "must be an object of texts",
		good + "\nfiles = { \"/a/b\" = 5 }":                              "must be a text",
		good + "\nfiles = { \"/a/b\" = node.nme }":                       "Did you mean \"name\"?",
		good + "\nfiles = { \"a/b\" = \"\" }":                            "cannot be a file of a node",
		good + "\nfiles = { \"/proc/version\" = \"\" }":                  "cannot be a file of a node",
		good + "\nfiles = { \"/var/lib/cni/x\" = \"\" }":                 "cannot be a file of a node",
		good + "\nfiles = { \"/a/b\" = \"\", \"/a/b/c\" = \"\" }":        "cannot be the folder of /a/b/c",
		good + "\nfiles = { for i in range(17) : \"/a/${i}\" => \"\" }":  "at most 16",
		good + "\ntimeout = \"soon\"":                                    "not a time from",
		good + "\nexpect {\n  encap = \"vxlann\"\n}":                     "Did you mean \"vxlan\"?",
		good + "\nexpect {\n  encap = \"vxlan\"\n}":                      "has a \"vni\"",
		good + "\nexpect {\n  encap = \"vlan\"\n}":                       "has a \"vlan\"",
		good + "\nexpect {\n  vni = 1\n}":                                "belongs to encap = \"vxlan\"",
		good + "\nexpect {\n  encap = \"vxlan\"\n  vni = 16777216\n}":    "not from 0 to 16777215",
		good + "\nexpect {\n  encap = \"vlan\"\n  vlan = 4095\n}":        "not from 1 to 4094",
	} {
		l, _, diags := lab.Load("x.hcl", []byte(plugged(settings)), lab.Inputs{})
		if !diags.HasErrors() {
			_, diags = plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		}
		if !diags.HasErrors() || !strings.Contains(diags.Error(), want) || diags[0].Subject == nil {
			t.Errorf("%s: %v, and not %q", settings, diags, want)
		}
	}
}

// TestPluginsAnswers: what plugins return takes the place of what was to be expected, in all that depends on it.
func TestPluginsAnswers(t *testing.T) {
	l, _, diags := lab.Load("x.hcl", []byte(plugged(fmt.Sprintf(list, "bridge")+"\nexpect {\n  encap = \"vxlan\"\n  vni = 7\n  masquerade = true\n  own_node = false\n}")), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	answer := plan.Attached{Addresses: []netip.Prefix{netip.MustParsePrefix("10.42.0.77/32"), netip.MustParsePrefix("fd00:42::77/128")}, Gateways: make([]netip.Addr, 2), MTU: 1400}
	known := map[plan.Key]plan.Attached{{Namespace: "plugged.n1", Kind: plan.KindAttachment, Name: "a"}: answer}
	if changed, diags := p.Learn(known); !changed || diags.HasErrors() {
		t.Fatal(changed, diags)
	}
	if changed, _ := p.Learn(known); changed {
		t.Error("what is known is new again")
	}
	if got := fmt.Sprint(p.Cluster.Names()["a.n1"]); got != "[10.42.0.77 fd00:42::77]" {
		t.Errorf("the pod is called by %s", got)
	}
	e := p.Expect(plan.Flow{From: endpoint(p, "n1/a"), To: endpoint(p, "n2/a")})
	if e.Source.String() != "192.168.205.2" || e.MTU != 1400 || e.Encap != (plan.Encap{Type: "vxlan", Overhead: 50, VNI: 7, Port: 4789, Src: e.Source, Dst: netip.MustParseAddr("192.168.205.3")}) {
		t.Errorf("expected is %+v", e)
	}
	if e := p.Expect(plan.Flow{From: endpoint(p, "n1"), To: endpoint(p, "n1/a")}); e.Reachable {
		t.Errorf("expected of its own node is %+v", e)
	}
}
