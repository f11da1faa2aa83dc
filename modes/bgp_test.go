package modes

import (
	"encoding/json"
	"testing"

	"labnet/lab/plan"
	"labnet/modes/bgp/speaker"
)

// TestNobodyToLearnFrom: a speaker without a peer waits for nothing.
func TestNobodyToLearnFrom(t *testing.T) {
	speakers := 0
	for _, s := range systems {
		for nodes := range 3 {
			p := build(cluster(t, s.name, s.settings, nodes, 2, s.vlan, false, false), plan.AllFeatures())
			if p == nil {
				continue
			}
			p.State.Each(func(o plan.Object) {
				a, ok := o.(plan.Agent)
				if !ok || a.Name != "bgp" {
					return
				}
				speakers++
				var c speaker.Config
				if err := json.Unmarshal([]byte(a.Config), &c); err != nil {
					t.Fatal(err)
				}
				if len(c.Peers) == 0 && c.Learns != 0 {
					t.Errorf("%s, %s, %d nodes: %s waits for %d prefixes, and has no peers", s.name, s.settings, nodes, a.Namespace, c.Learns)
				}
			})
		}
	}
	if speakers < 5 {
		t.Errorf("%d speakers", speakers)
	}
}
