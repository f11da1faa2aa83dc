package modes

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestNarrowWayIsWarnedOf: the reference's example of two sites is right; without its MTU, or with a byte more, both places
// are named, and what the warning says to write is right.
func TestNarrowWayIsWarnedOf(t *testing.T) {
	text, err := os.ReadFile("../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```hcl\n(lab \"sites\".*?)```").FindSubmatch(text)
	if example == nil {
		t.Fatal("the reference has no example of two sites")
	}
	src := string(example[1])
	warnings := func(src string) hcl.Diagnostics {
		l, _, diags := lab.Load("sites.hcl", []byte(src), lab.Inputs{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		_, more := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if more.HasErrors() {
			t.Fatal(more)
		}
		return append(diags, more...)
	}
	if diags := warnings(src); len(diags) > 0 {
		t.Errorf("the example: %v", diags)
	}
	for mode, right := range map[string]string{"vxlan": "1350", "ipip": "1380", "udp": "1372"} {
		other := strings.Replace(src, `"vxlan"`, `"`+mode+`"`, 1)
		for _, mtu := range []string{"", "  mtu  = 1381\n"} {
			diags := warnings(strings.Replace(other, "  mtu  = 1350\n", mtu, 1))
			if len(diags) != 1 || diags[0].Severity != hcl.DiagWarning || !strings.Contains(diags[0].Detail, "Add mtu = "+right+" ") ||
				!strings.Contains(diags[0].Detail, `switch "wan"`) || !strings.Contains(diags[0].Detail, "sites.hcl:") || diags[0].Subject == nil {
				t.Errorf("%s, %q: %v", mode, mtu, diags)
			}
		}
		if diags := warnings(strings.Replace(other, "1350", right, 1)); len(diags) > 0 {
			t.Errorf("%s with what is said to be right: %v", mode, diags)
		}
	}
}
