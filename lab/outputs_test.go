package lab_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"labnet/lab"
)

// TestOutputs: a definition shows values, as it would write them and as JSON.
func TestOutputs(t *testing.T) {
	l := load(t, "variable \"n\" {\n  default = 2\n  validation {\n    condition     = var.n > 1 && var.n < var.most\n    error_message = \"from 2\"\n  }\n}\nvariable \"most\" { default = 9 }\n"+
		"output \"list\" { value = [for i in range(var.n) : \"n${i}\"] }\noutput \"map\" {\n  value       = { a = 1 }\n  description = \"one of each\"\n}\noutput \"text\" { value = \"x\" }\n"+
		"switch \"lan\" {\n  for_each = { a = 1 }\n  subnet   = \"10.0.0.0/24\"\n}\nnetwork \"pods\" { cidr = \"10.9.0.0/16\" }\nnode \"n\" {\n  count = 2\n  on \"lan-a\" {}\n  pods = 1\n}\nrouter \"gw\" {\n  on \"lan-a\" {}\n}\nhost \"none\" { count = 0 }\n"+
		"output \"machines\" { value = concat(node.n[*].addresses, [router.gw.interfaces[0].addresses, node.n[1].pods, host.none[*].name, switch.lan[\"a\"].subnets]) }\n", lab.Inputs{})
	got := ""
	for _, o := range l.Outputs {
		j, err := o.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("%s %q %s %s\n", o.Name, o.About, o.Text(), j)
	}
	want := "list \"\" [\"n0\", \"n1\"] [\"n0\",\"n1\"]\nmap \"one of each\" {\n  a = 1\n} {\"a\":1}\ntext \"\" \"x\" \"x\"\n" +
		"machines \"\" [[\"10.0.0.2\"], [\"10.0.0.3\"], [\"10.0.0.1\"], [\"p1\"], [], [\"10.0.0.0/24\"]] [[\"10.0.0.2\"],[\"10.0.0.3\"],[\"10.0.0.1\"],[\"p1\"],[],[\"10.0.0.0/24\"]]\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
