package modes

import (
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestPublishing: what pods publish is planned in every mode whose pods are behind their node, and refused with the reason elsewhere.
func TestPublishing(t *testing.T) {
	const text = `
lab "publishing" {}
switch "lan" { subnet = ["192.168.205.0/24", "fd00:205::/64"] }
node "n" {
  count = 2
  on "lan" {}
  pod "web" { publish = count.index == 0 ? ["30080:80"] : null }
}
network "pods" { cidr = "10.42.0.0/16" }
`
	service := text + "service \"s\" {\n  type = \"NodePort\"\n  endpoints = [\"n1/web\"]\n  port \"http\" {\n    port = 80\n    node_port = 30080\n  }\n}\n"
	for _, tt := range []struct{ mode, text, refused string }{
		{"host-gw", text, ""}, {"vxlan", text, ""}, {"ipip", text, ""}, {"udp", text, ""}, {"bgp", text, ""},
		{"macvlan", text, "Published ports in mode macvlan"}, {"ipvlan", text, "Published ports in mode ipvlan"},
		{"host-gw", service, "Port taken"}, {"host-gw", strings.Replace(text, "10.42.0.0/16", "fd00:42::/48", 1), "Published ports lead to IPv4"},
	} {
		l, _, diags := lab.Load("test.hcl", []byte(tt.text), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		p, diags := plan.Build(l, plan.Options{Mode: tt.mode, Modes: All, Features: plan.AllFeatures()})
		if tt.refused != "" {
			if p != nil || len(diags) != 1 || diags[0].Summary != tt.refused || diags[0].Subject == nil {
				t.Errorf("%s: want %q: %v", tt.mode, tt.refused, diags)
			}
			continue
		}
		if p == nil {
			t.Errorf("%s: %v", tt.mode, diags)
			continue
		}
		for namespace, want := range map[string]bool{"publishing.n1": true, "publishing.n2": false} {
			rules, local := 0, 0
			p.State.In(namespace, func(o plan.Object) {
				switch o := o.(type) {
				case plan.ChainRule:
					if strings.HasPrefix(o.Chain, "CNI-") {
						rules++
					}
				case plan.Sysctl:
					if strings.HasSuffix(o.Path, "/route_localnet") && o.Link != "" {
						local++
					}
				}
			})
			if want != (rules == 6) || want != (local > 0) && tt.mode != "bgp" {
				t.Errorf("%s: %s has %d rules and %d devices with route_localnet", tt.mode, namespace, rules, local)
			}
		}
	}
}
