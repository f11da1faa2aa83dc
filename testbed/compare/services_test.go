package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
)

// TestServices: a connection is made to each target, whichever pod answers, and only to services that pods answer.
func TestServices(t *testing.T) {
	text := fmt.Sprintf(twoNodes, 2) + `
service "nobody" {
  port "http" { port = 80 }
}
service "s" {
  count     = 3
  endpoints = ["node2/p1", "node2/p2"]
  port "http" {
    port   = 80
    target = 8080
  }
}
service "elsewhere" {
  endpoints = ["192.0.2.1"]
  port "http" { port = 80 }
}
`
	for _, cidrs := range []string{`"10.42.0.0/16"`, `["10.42.0.0/16", "fd42::/56"]`, `["fd42::/56", "10.42.0.0/16"]`} {
		t.Run(cidrs, func(t *testing.T) {
			of := strings.Replace(text, `"10.42.0.0/16"`, cidrs, 1)
			if strings.Contains(cidrs, ":") {
				of = strings.Replace(of, `subnet = "192.168.77.0/24"`, `subnet = ["192.168.77.0/24", "fd77::/64"]`, 1)
				of += "services {\n  cidr = [\"10.43.0.0/16\", \"fd43::/112\"]\n}\n"
			}
			servicesAreMeasured(t, of)
		})
	}
}

func servicesAreMeasured(t *testing.T, text string) {
	l, files, diags := lab.Load("two.hcl", []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		var said strings.Builder
		files.Print(&said, diags, 0, false)
		t.Fatal(said.String())
	}
	if costly(t, "host-gw"); Served(planned(t, "host-gw", 2, Wires[0])) == nil {
		t.Error("a lab without services has services to be measured")
	}
	v := Variant{Mode: "host-gw", Datapath: "kernel", Plans: []*plan.Plan{build(t, l, "host-gw", Wires[0])}}
	var names []string
	for _, s := range served(v.Plans[0]) {
		names = append(names, fmt.Sprintf("%s %d", s.Service, len(s.pods)))
	}
	if want := []string{"default/s1 2", "default/s2 2", "default/s3 2"}; !slices.Equal(names, want) {
		t.Errorf("measured are %q, not %q", names, want)
	}
	cfg := tiny(v)
	cfg.Paths, cfg.Measures, cfg.Rounds = nil, []string{serviceSetup, serviceRR, Programming}, 1
	cfg.Variants[0].Services = Program(l, func(other *lab.Lab) *plan.Plan {
		p, diags := plan.Build(other, plan.Options{Instance: v.Plans[0].Cluster.Name, Mode: "host-gw", Modes: modes.All, Features: plan.AllFeatures(), Wire: Wires[0].Model})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		return p
	})
	if err := buildUp(t.Context(), v.Plans[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = down(context.WithoutCancel(t.Context()), v.Plans[0].Cluster.Name) })
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, s := range r.Samples {
		if OfServices(s.Measure) && s.Metric != "drops" && s.Value > 0 && s.Unit == "ns" {
			got[s.Measure+" "+s.Params] = true
		}
	}
	for _, c := range serviceChoices() {
		if !got[c.name+" "+c.params] {
			t.Errorf("there is no %s %s", c.name, c.params)
		}
	}
	programmed := map[string]float64{}
	for _, s := range r.Samples {
		if s.Measure == Programming {
			programmed[s.Params+" "+s.Metric] = s.Value
		}
	}
	if all, more, less := programmed["what=all sent"], programmed["what=one-more sent"], programmed["what=an-endpoint-less sent"]; !(all > more && more > 0) {
		t.Errorf("%v bytes are sent for all services, %v for one more, %v for an endpoint less", all, more, less)
	}
	for _, what := range []string{"what=all time", "what=one-more time", "what=objects rules", "what=objects elements"} {
		if programmed[what] <= 0 {
			t.Errorf("%s is %v", what, programmed[what])
		}
	}
	found, err := testbed.Read(t.Context(), v.Plans[0].Cluster.Name, v.Plans[0].State)
	if err != nil {
		t.Fatal(err)
	}
	if left := plan.Diff(found, v.Plans[0].State); len(left) > 0 {
		t.Errorf("it is no longer as it was planned: %v", left)
	}
	if len(r.Retries) > 0 {
		t.Errorf("measured again: %+v", r.Retries)
	}
}
