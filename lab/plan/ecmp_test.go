package plan_test

import (
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestSeveralNextHops: what is expected of a pair is what holds on every way that its packets may take.
func TestSeveralNextHops(t *testing.T) {
	const src = `
lab "x" {}
switch "lan" { subnet = "10.1.0.0/24" }
switch "far" { subnet = "10.2.0.0/24" }
switch "mid" {
  subnet = "10.3.0.0/24"
  mtu    = MTU
}
router "a" {
  on "lan" { address = "10.1.0.1" }
  on "far" { address = "10.2.0.1" }
  route {
    to  = "10.3.0.0/24"
    via = "10.1.0.2"
  }
}
router "b" {
  on "lan" { address = "10.1.0.2" }
  on "mid" { address = "10.3.0.1" }
  route {
    to  = "10.2.0.0/24"
    via = "10.3.0.2"
  }
}
router "c" {
  on "mid" { address = "10.3.0.2" }
  on "far" { address = "10.2.0.2" }
  BACK
}
host "client" {
  on "lan" { address = "10.1.0.9" }
  route {
    to  = "default"
    via = ["10.1.0.1", "10.1.0.2"]
  }
}
host "server" {
  on "far" { address = "10.2.0.9" }
  route {
    to  = "default"
    via = ["10.2.0.1", "10.2.0.2"]
  }
}
`
	const back = "route {\n    to  = \"10.1.0.0/24\"\n    via = \"10.3.0.1\"\n  }"
	for _, tt := range []struct {
		name, mtu, back string
		spread          bool
		size            int
		problems        string
	}{
		{"alike", "1500", back, false, 1500, ""},
		{"one is narrower", "1400", back, true, 1400, ""},
		{"one has no way back", "1500", "", false, 1500, "default via 10.2.0.2: server does not reach"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.NewReplacer("MTU", tt.mtu, "BACK", tt.back).Replace(src)
			l, _, diags := lab.Load("x.hcl", []byte(text), lab.Inputs{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			p, diags := plan.Build(l, plan.Options{Features: plan.AllFeatures()})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			ends := map[string]plan.Endpoint{}
			for _, e := range p.Cluster.Everyone() {
				ends[e.Title] = e
			}
			e := p.Expect(plan.Flow{From: ends["client"], To: ends["server"]})
			if !e.Reachable || e.Spread != tt.spread || e.MTU != tt.size {
				t.Errorf("expected is %+v", e)
			}
			got := ""
			for _, r := range p.BadRoutes() {
				got += r.Route + ": " + r.Problem + "\n"
			}
			if !strings.Contains(got, tt.problems) || tt.problems == "" && got != "" {
				t.Errorf("problems %q, want %q", got, tt.problems)
			}
		})
	}
}
