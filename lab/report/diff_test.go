package report

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// recorded imagines a recording in some noise.
func recorded(n noise, rng *rand.Rand, factors ...float64) *Results {
	r := &Results{Lab: "lab", Modes: []string{"m0", "m1"}, Baseline: "m0", Rounds: 10, Asked: 10, Samples: n.measure(rng, 10, factors...)}
	r.Derive()
	return r
}

// Two recordings of the same differ in at most five of a hundred pairs, however fast the machine was on either day; a
// mode that became twice as dear is found, and found in that mode alone.
func TestDiff(t *testing.T) {
	all := noises(t)
	for _, tt := range []struct {
		name        string
		pace, after float64
		low, high   float64 // share of the pairs in which m1 differs
	}{
		{"the same", 1, 1, 0, allowed},
		{"the same on a slower day", 0.5, 1, 0, allowed},
		{"a fifth of it", 1, 0.2, 0.9, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(13, 14))
			found := 0
			for trial := range trials {
				n := all[trial%len(all)]
				d := Compare(recorded(n, rng, 1, 1), recorded(n, rng, tt.pace, tt.pace*tt.after))
				if len(d.Changes) != 2 || len(d.Disagreements) > 0 {
					t.Fatalf("%+v", d)
				}
				if i := slices.IndexFunc(d.Changes, func(c Change) bool { return c.Mode == "m1" }); d.Changes[i].Differs {
					found++
					if c := d.Changes[i]; c.Slower == nil || len(d.Sentences) != 2 || !strings.HasPrefix(d.Sentences[0], "Against m0, "+c.String()) {
						t.Fatalf("%v: %q", c.Slower, d.Sentences)
					}
					if tt.after < 1 && len(d.Slower(0)) != 1 {
						t.Fatalf("not slower: %q", d.Sentences)
					}
				}
			}
			share := float64(found) / trials
			t.Logf("%.1f %% of the pairs differ", 100*share)
			if share < tt.low || share > tt.high {
				t.Errorf("that is not from %.0f %% to %.1f %%", 100*tt.low, 100*tt.high)
			}
		})
	}
}

// Recordings of different things say what is not the same.
func TestDisagreements(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(*Results)
	}{
		{"", func(*Results) {}},
		{"", func(r *Results) { r.Seed, r.Machine.Load, r.Tool = 7, 3, "lab 2.0" }},
		{"CPU: Example CPU @ 2.50GHz and Other", func(r *Results) { r.Machine.CPU = "Other" }},
		{"number of CPUs: 2 and 4", func(r *Results) { r.Machine.CPUs = 4 }},
		{"kernel: 6.18.44 and 6.19", func(r *Results) { r.Machine.Kernel = "6.19" }},
		{"hypervisor: KVM and none", func(r *Results) { r.Machine.Hypervisor, r.Machine.Virtual = "", false }},
		{"mitigations: spectre_v2", func(r *Results) { r.Machine.Mitigations = nil }},
		{"pinned to: [0 1] and []", func(r *Results) { r.Machine.Pinned = nil }},
		{"wire models: nic, bare, shaped and nic, bare", func(r *Results) {
			r.Samples = slices.DeleteFunc(r.Samples, func(s Sample) bool { return s.Wire == "shaped" })
		}},
		{"wire model nic: gso_max_segs 1", func(r *Results) { r.Wires[0].Settings = []string{"gro off"} }},
		{"lab: three-node and other", func(r *Results) { r.Lab = "other" }},
		{"baseline: host-gw and bgp", func(r *Results) { r.Baseline = "bgp" }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			b := full()
			tt.change(b)
			b.Derive()
			d := Compare(full(), b)
			if got := strings.Join(d.Disagreements, "\n"); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q", got)
			}
			for _, format := range DiffFormats {
				var out strings.Builder
				if err := d.Write(&out, format, 80, false); err != nil {
					t.Error(err)
				}
				for _, s := range d.Disagreements {
					if format == "text" && !strings.Contains(out.String(), s[:8]) {
						t.Errorf("the %s does not say %s", format, s)
					}
				}
			}
		})
	}
}
