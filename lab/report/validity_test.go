package report

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// compared imagines a comparison of four modes in ten rounds, of which one number is measured.
func compared(seed uint64, value func(mode string, rng *rand.Rand) float64) *Results {
	rng := rand.New(rand.NewPCG(51, seed))
	r := &Results{Modes: []string{"host-gw", "vxlan", "bgp", "macvlan"}, Baseline: "host-gw", Rounds: 10, Asked: 10, Wires: []Wire{{Name: "nic"}}}
	for round := 1; round <= r.Rounds; round++ {
		pace := math.Exp(0.1 * rng.NormFloat64())
		for _, mode := range r.Modes {
			r.Samples = append(r.Samples, Sample{Mode: mode, Wire: "nic", Path: "host-host", Measure: "tcp-stream", Metric: "goodput", Params: "streams=1", Round: round, Value: pace * value(mode, rng), Unit: "Gbit/s"})
		}
	}
	return r
}

func judged(t *testing.T, r *Results, name string) Check {
	t.Helper()
	r.Derive()
	for _, c := range r.Validity {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %q", name)
	return Check{}
}

// TestHostsAgreeAmongLike: nodes with netfilter rules are no control of nodes without; each are held against their like.
func TestHostsAgreeAmongLike(t *testing.T) {
	tracked := []Trait{{Mode: "host-gw", Rules: true}, {Mode: "vxlan", Rules: true}, {Mode: "bgp"}, {Mode: "macvlan"}}
	faster := func(which ...string) func(string, *rand.Rand) float64 {
		return func(mode string, rng *rand.Rand) float64 {
			v := 5 * math.Exp(0.005*rng.NormFloat64())
			for _, w := range which {
				if w == mode {
					v *= 1.1
				}
			}
			return v
		}
	}
	for _, tt := range []struct {
		name   string
		faster []string
		traits []Trait
		ok     bool
		says   string
	}{
		{"those without rules", []string{"bgp", "macvlan"}, tracked, true, "vxlan against host-gw; macvlan against bgp"},
		{"one of those with", []string{"vxlan"}, tracked, false, "differs in vxlan from host-gw"},
		{"one of those without", []string{"macvlan"}, tracked, false, "differs in macvlan from bgp"},
		{"those of no like", []string{"bgp"}, []Trait{{Mode: "host-gw", Rules: true}}, false, "no two modes"},
		{"nobody knows which have rules", []string{"bgp", "macvlan"}, nil, false, "differs in bgp from host-gw"},
	} {
		const runs = 60
		as := 0
		for seed := range uint64(runs) {
			r := compared(seed, faster(tt.faster...))
			if r.Traits = tt.traits; tt.says == "no two modes" {
				r.Modes = []string{"host-gw", "bgp"}
			}
			if c := judged(t, r, "hosts agree"); c.OK == tt.ok && strings.Contains(c.Detail, tt.says) {
				as++
			}
		}
		if as < runs*9/10 { // of equals one run in twenty may show a difference
			t.Errorf("%s are faster: in %d of %d runs that is %v with %q", tt.name, as, runs, tt.ok, tt.says)
		}
	}
}

// TestGeneratorsLimitRanksNothing: what comes near to the generator's ceiling in any mode has medians, and neither ratios nor tiers.
func TestGeneratorsLimitRanksNothing(t *testing.T) {
	for _, tt := range []struct {
		ceiling float64
		ranks   bool
	}{{5.2, false}, {8, true}} {
		r := compared(1, func(mode string, rng *rand.Rand) float64 {
			return map[bool]float64{true: 2.5, false: 5}[mode == "vxlan"] * math.Exp(0.005*rng.NormFloat64())
		})
		r.Ceiling = []Sample{{Path: "loopback", Measure: "tcp-stream", Metric: "goodput", Params: "streams=1", Value: tt.ceiling, Unit: "Gbit/s"}}
		if c := judged(t, r, "the generator is not the limit"); !c.OK || strings.Contains(c.Detail, "ranks nothing") == tt.ranks {
			t.Errorf("a ceiling of %v: %s", tt.ceiling, c.Detail)
		}
		for _, s := range r.Summary {
			if s.Median == 0 || (s.Tier != nil) != tt.ranks || s.Mode != r.Baseline && (s.Ratio != nil) != tt.ranks {
				t.Errorf("a ceiling of %v: %+v", tt.ceiling, s)
			}
		}
	}
}

// TestSteady: a drift is one that the rounds agree on, not what the middle of noisy halves happens to be.
func TestSteady(t *testing.T) {
	halves := func(spread, drift float64) *Results {
		rng := rand.New(rand.NewPCG(53, 54))
		r := compared(1, func(string, *rand.Rand) float64 { return 5 })
		for _, s := range r.Samples {
			first, second := math.Exp(spread*rng.NormFloat64()), (1+drift)*math.Exp(spread*rng.NormFloat64())
			r.Series = append(r.Series, Series{Mode: s.Mode, Wire: s.Wire, Path: s.Path, Measure: s.Measure, Metric: s.Metric, Params: s.Params, Round: s.Round, Values: []float64{first, second}})
		}
		return r
	}
	for _, tt := range []struct {
		spread, drift float64
		ok            bool
	}{{0.01, 0, true}, {0.01, 0.05, true}, {0.01, 0.2, false}, {0.5, 0, true}} {
		if c := judged(t, halves(tt.spread, tt.drift), "measurements are steady"); c.OK != tt.ok {
			t.Errorf("halves that spread by %v and drift by %v: %s", tt.spread, tt.drift, c.Detail)
		}
	}
}

// TestArithmeticByTheStep: a mode whose process is kept from its CPU for a while fills the rate in its other steps, and is held
// against the arithmetic there; one that sends too many headers is off in all of them.
func TestArithmeticByTheStep(t *testing.T) {
	for _, tt := range []struct {
		fills, kept float64 // what vxlan carries of the rate, and of that in every fourth step
		ok          bool
	}{{0.9655, 1, true}, {0.9655, 0.5, true}, {0.93, 1, false}, {0.93, 0.5, false}} {
		r := compared(1, func(mode string, _ *rand.Rand) float64 {
			return map[bool]float64{true: tt.fills * (3 + tt.kept) / 4, false: 1}[mode == "vxlan"]
		})
		r.Wires[0].Rate = 0.2
		for _, s := range r.Samples {
			one := Series{Mode: s.Mode, Wire: s.Wire, Path: s.Path, Measure: s.Measure, Metric: s.Metric, Params: s.Params, Round: s.Round, Values: []float64{1, 1, 1, 1}}
			if s.Mode == "vxlan" {
				one.Values = []float64{tt.fills, tt.fills, tt.fills, tt.fills * tt.kept}
			}
			r.Series = append(r.Series, one)
		}
		r.Expected = []Expected{{Mode: "vxlan", Wire: "nic", Path: "host-host", Measure: "tcp-stream", Metric: "goodput", Params: "streams=1", Ratio: 0.9655, Tolerance: 0.01}}
		if c := judged(t, r, "equals the arithmetic"); c.OK != tt.ok {
			t.Errorf("%+v: %s, %s", tt, c.State, c.Detail)
		}
	}
}
