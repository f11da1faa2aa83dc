package modes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
)

// everyMode has a lab for each system of the table, with what must be said of the pod network beside its CIDR, and of the
// nodes' uplinks.
func everyMode(t *testing.T, network, uplink string, test func(t *testing.T, l *lab.Lab, files lab.Files)) {
	t.Helper()
	for _, s := range systems {
		t.Run(s.name+" "+s.settings, func(t *testing.T) {
			on, port, cidr, vlan := "", "", "10.42.0.0/16", ""
			if s.vlan {
				on, cidr, vlan = "trunk = [20]", "10.20.0.0/24", "\n  vlan \"20\" { subnet = \"10.20.0.0/24\" }"
				port = "\n  on \"lan\" {\n    vlan    = 20\n    address = \"10.20.0.1\"\n  }"
			}
			text := fmt.Sprintf(`lab "x" {}
switch "lan" {
  subnet = "192.168.205.0/24"
  mtu    = 1600%s
}
router "gw" {
  on "lan" { address = "192.168.205.1" }%s
}
node "node" {
  count = 2
  on "lan" {
    %s
    %s
  }
  gateway = "192.168.205.1"
  pods    = 2
}
network "pods" {
  cidr = %q
  mode = %q
  %s
}
mode %q {
  %s
}
`, vlan, port, on, uplink, cidr, s.name, network, s.name, s.settings)
			l, files, diags := lab.Load("x.hcl", []byte(text), lab.Inputs{})
			if diags.HasErrors() {
				t.Fatalf("%v\n%s", diags, text)
			}
			test(t, l, files)
		})
	}
}

// called gives every node's uplink a name.
func called(l *lab.Lab, name string) *lab.Lab {
	for _, n := range l.Of(lab.Node) {
		n.Interfaces[0].Name = name
	}
	return l
}

// beside lists the devices of the first node that a mode made, the nodes' ends of the pods' veths left out.
func beside(p *plan.Plan) []string {
	var made []string
	node := p.Cluster.Nodes[0]
	p.State.Each(func(o plan.Object) {
		if l, ok := o.(plan.Link); ok && l.Namespace == node.Namespace && l.Name != node.Uplink().Name && l.Type() != "veth" {
			made = append(made, l.Name)
		}
	})
	return made
}

func told(t *testing.T, files lab.Files, diags hcl.Diagnostics) string {
	t.Helper()
	var text strings.Builder
	if err := files.Print(&text, diags, 0, false); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// podEnd is how a node's end of a pod's veth pair names the other.
var podEnd = regexp.MustCompile(`peer name v?eth0 netns`)

// TestUplinkByName: nothing that is planned for a node speaks of an eth0 when its uplink has another name.
func TestUplinkByName(t *testing.T) {
	everyMode(t, "", `name = "ens192"`, func(t *testing.T, l *lab.Lab, _ lab.Files) {
		for _, f := range []plan.Features{plan.AllFeatures(), bare()} {
			p, diags := plan.Build(l, plan.Options{Modes: All, Features: f})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			named := 0
			p.State.Each(func(o plan.Object) {
				if k := o.Key(); k.Namespace != p.Cluster.Nodes[0].Namespace {
					return
				}
				for _, line := range o.Add() {
					if strings.Contains(podEnd.ReplaceAllString(line, ""), "eth0") {
						t.Error(line)
					}
					if strings.Contains(line, "ens192") {
						named++
					}
				}
			})
			if named < 3 {
				t.Errorf("ens192 is spoken of only %d times", named)
			}
		}
	})
}

// TestUplinkNamedLikeADevice: whatever device a mode makes on a node, an uplink of that name is refused at its place.
func TestUplinkNamedLikeADevice(t *testing.T) {
	refused := map[string]bool{}
	everyMode(t, "", `name = "ens192"`, func(t *testing.T, l *lab.Lab, files lab.Files) {
		for _, f := range []plan.Features{plan.AllFeatures(), bare()} {
			p, diags := plan.Build(called(l, "ens192"), plan.Options{Modes: All, Features: f})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			for _, name := range beside(p) {
				if strings.HasPrefix(name, "ens192") {
					continue // it is called after the uplink
				}
				_, diags := plan.Build(called(l, name), plan.Options{Modes: All, Features: f})
				text := told(t, files, diags)
				for _, want := range []string{"has a device of that name", "name = \"ens192\"", "a device named " + name, "mode " + l.Network.Mode} {
					if !strings.Contains(text, want) {
						t.Errorf("%s: no %q in\n%s", name, want, text)
					}
				}
				refused[name] = true
			}
		}
	})
	for _, name := range []string{"cni0", "cni0-in", "flannel.1", "flannel.ipip", "flannel0", "tunl0", "vxlan.calico"} {
		if !refused[name] {
			t.Errorf("%s was not tried", name)
		}
	}
}

// TestDerivedNameIsTooLong: where a mode calls a device after the uplink, an uplink whose name leaves no room is refused.
func TestDerivedNameIsTooLong(t *testing.T) {
	tried := 0
	everyMode(t, "", `name = "enx001122334455"`, func(t *testing.T, l *lab.Lab, files lab.Files) {
		short, diags := plan.Build(called(l, "en1"), plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		derives := slices.ContainsFunc(beside(short), func(name string) bool { return strings.HasPrefix(name, "en1.") })
		long, diags := plan.Build(called(l, "enx001122334455"), plan.Options{Modes: All, Features: plan.AllFeatures()})
		switch text := told(t, files, diags); {
		case !derives && long == nil:
			t.Errorf("nothing is called after the uplink, and it is refused:\n%s", text)
		case derives && !strings.Contains(text, "The device's name would be too long"), derives && !strings.Contains(text, "name = \"enx001122334455\""):
			t.Errorf("a device is called after the uplink, and:\n%s", text)
		case derives:
			tried++
		}
	})
	if tried < 3 {
		t.Errorf("only %d modes call a device after the uplink", tried)
	}
}
