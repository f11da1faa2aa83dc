package modes

import (
	"fmt"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestFamilies: wherever in a lab IPv6 is, in a switch, a VLAN of it, the pod network or several of these, it is on in every
// namespace that has an address of it, in every mode that can be planned.
func TestFamilies(t *testing.T) {
	families := func(v4, v6 string) []string {
		return []string{"", fmt.Sprintf("%q", v4), fmt.Sprintf("%q", v6), fmt.Sprintf("[%q, %q]", v4, v6), fmt.Sprintf("[%q, %q]", v6, v4)}
	}
	plans, with6 := 0, 0
	for _, subnet := range families("192.168.0.0/24", "fd00:1::/64")[1:] {
		for _, vlan := range families("192.168.20.0/24", "fd00:20::/64") {
			for _, pods := range families("10.42.0.0/16", "fd00:42::/32") {
				src := "lab \"x\" {}\nswitch \"lan\" {\n  subnet = " + subnet + "\n"
				if vlan != "" {
					src += "  vlan \"20\" { subnet = " + vlan + " }\n"
				}
				src += "}\nnode \"n\" {\n  count = 2\n  on \"lan\" {}\n  pods = 1\n}\n"
				if vlan != "" {
					src += "host \"h\" {\n  on \"lan\" { vlan = 20 }\n}\n"
				}
				if pods != "" {
					src += "network \"pods\" { cidr = " + pods + " }\n"
				} else {
					src = strings.Replace(src, "  pods = 1\n", "", 1)
				}
				l, _, diags := lab.Load("x.hcl", []byte(src), lab.Inputs{})
				if diags.HasErrors() {
					t.Fatalf("%v\n%s", diags, src)
				}
				for _, mode := range append([]string{""}, All.Names()...) {
					p, _ := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: plan.AllFeatures()})
					if p == nil {
						continue
					}
					plans++
					if strings.Contains(src, "fd00") {
						with6++
					}
					consistent(t, fmt.Sprintf("subnet %s, VLAN %s, pods %s, mode %s", subnet, vlan, pods, mode), p)
				}
			}
		}
	}
	if plans < 200 || with6 < 150 || plans == with6 {
		t.Errorf("%d plans, %d with IPv6: too few to mean anything", plans, with6)
	}
}
