package modes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestVariantCIDR: a variant with a CIDR of its own is planned as if the network had it, in every mode and family. What the
// definition says of pods in the network's own CIDR does not count there, and what it says of those in the variant's does.
func TestVariantCIDR(t *testing.T) {
	for _, e := range All {
		if asks[e.Name] {
			continue
		}
		for _, families := range []struct{ cidr, block, address string }{
			{`["10.9.0.0/16"]`, `"10.9.7.0/24"`, `"10.9.7.9"`},
			{`["10.9.0.0/16", "fd09::/48"]`, `["10.9.7.0/24", "fd09:0:0:7::/64"]`, `["10.9.7.9", "fd09:0:0:7::9"]`},
		} {
			segment := `subnet = ["172.16.0.0/16", "fd16::/48"]`
			if _, joins := e.Mode.(plan.Joiner); joins {
				segment = `subnet = ["10.9.0.0/16", "fd09::/48"]`
			}
			file := func(network, settings, asked string) *lab.Lab {
				l, _, diags := lab.Load("variant.hcl", fmt.Appendf(nil, `
lab "variant" {}
switch "lan" {
  subnet = ["192.168.205.0/24", "fd00:205::/64"]
  vlan "9" { %s }
}
router "gw" {
  on "lan" {}
  on "lan" { vlan = 9 }
}
node "n" {
  count = 2
  on "lan" { trunk = [9] }
  gateway = "192.168.205.1"
  pods    = 2
}
node "asked" {
  on "lan" { trunk = [9] }
  gateway = "192.168.205.1"
  %s
}
network "pods" {
  cidr = %s
  mode = "it"
}
mode "it" {
  use = %q
  %s
}
`, segment, asked, network, e.Name, settings), lab.Inputs{})
				if diags.HasErrors() {
					t.Fatal(diags)
				}
				return l
			}
			asked := fmt.Sprintf("pod_cidr = %s\n  pod \"a\" { address = %s }", families.block, families.address)
			other := "pod_cidr = \"10.42.7.0/24\"\n  pod \"a\" { address = \"10.42.7.9\" }"
			vlan := ""
			if e.Name == "macvlan" || e.Name == "ipvlan" {
				vlan = "vlan = 9"
			}
			for _, tt := range []struct{ name, own, theirs string }{
				{"nothing asked for", "pod \"a\" {}", "pod \"a\" {}"},
				{"asked for in the variant", asked, asked},
				{"asked for in the network", other, "pod \"a\" {}"},
			} {
				t.Run(fmt.Sprint(e.Name, families.cidr, tt.name), func(t *testing.T) {
					want := planned(file(families.cidr, vlan, tt.theirs), "", plan.AllFeatures())
					if strings.HasPrefix(want, "refused") && !strings.Contains(want, "IPv4 only") {
						t.Fatal(want)
					}
					got := planned(file(`["10.42.0.0/16"]`, vlan+"\n  cidr = "+families.cidr, tt.own), "", plan.AllFeatures())
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}
