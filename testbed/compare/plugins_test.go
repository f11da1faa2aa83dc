package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"labnet/lab"
	"labnet/testbed/suite"
)

const slowPlugin = `
network "pods" {
  cidr = "10.42.0.0/16"
  mode = "cni"
}
mode "cni" {
  path = [%q, %q]
  conflist = {
    name       = "pods"
    cniVersion = "1.0.0"
    plugins = [{
      type      = "slow"
      bridge    = "cni0"
      isGateway = true
      ipam      = { type = "host-local", ranges = [[{ subnet = node.pod_cidr }]], routes = [{ dst = "0.0.0.0/0" }] }
    }]
  }
}
`

// TestPluginsAreTimed: how long plugins work for a pod are numbers of a mode's life, and those of a mode without plugins are not.
func TestPluginsAreTimed(t *testing.T) {
	plain := up(t, "host-gw")
	folder, real := t.TempDir(), suite.PluginFolder()
	script := fmt.Sprintf("#!/bin/sh\nif [ $CNI_COMMAND = ADD ]; then sleep 0.2; fi\nexec %s/bridge\n", real)
	if err := os.WriteFile(filepath.Join(folder, "slow"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("lab \"two\" {}\nswitch \"lan\" { subnet = \"192.168.205.0/24\" }\nnode \"node\" {\n  count = 2\n  on \"lan\" {}\n  pods = 2\n}\n"+slowPlugin, folder, real)
	l, _, diags := lab.Load("two.hcl", []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	slow := Variant{Mode: "cni", Datapath: "kernel"}
	slow.Plans, slow.Life = append(slow.Plans, build(t, l, "cni", Wires[0])), build(t, l, "cni", Wires[0])
	plain.Life = build(t, l, "host-gw", Wires[0])
	cfg := tiny(plain, slow)
	cfg.Measures, cfg.Rounds = []string{lifecycle}, 1
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range r.Samples {
		if s.Measure == "cni-add" || s.Measure == "cni-del" {
			got[s.Mode+" "+s.Measure+" "+s.Metric+" "+s.Params] = s.Value
			if s.Unit != "ms" {
				t.Errorf("%+v", s)
			}
		}
	}
	for _, atOnce := range []int{1, 4} {
		for _, what := range []string{"p50", "p99"} {
			kind := fmt.Sprintf("%s of the pods at-once=%d", what, atOnce)
			if v := got["cni cni-add "+kind]; v < 200 {
				t.Errorf("ADD, %s: %g ms, of which it sleeps 200", kind, v)
			}
			if v := got["cni cni-del "+kind]; v <= 0 {
				t.Errorf("DEL, %s: %g ms", kind, v)
			}
		}
	}
	if len(got) != 8 {
		t.Errorf("%v", got)
	}
}
