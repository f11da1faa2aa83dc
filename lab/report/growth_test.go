package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// sweeping imagines path cost of modes over the number of nodes, in some noise: each mode takes what it is a function of.
func sweeping(n noise, rng *rand.Rand, rounds int, values []float64, modes ...func(at float64) float64) *Results {
	r := &Results{PathCost: &PathCost{Asked: rounds}}
	var factors []float64
	for m, f := range modes {
		for _, v := range values {
			name := fmt.Sprintf("m%d nodes=%g", m, v)
			r.Modes, factors = append(r.Modes, name), append(factors, f(v))
			r.Swept = append(r.Swept, Swept{Mode: name, Of: fmt.Sprintf("m%d", m), Values: fmt.Sprintf("nodes=%g", v)})
		}
	}
	r.Baseline = r.Modes[0]
	for _, s := range n.measure(rng, rounds, factors...) {
		var at int
		fmt.Sscanf(s.Mode, "m%d", &at)
		s.Mode, s.Wire, s.Path, s.Measure, s.Metric, s.Params, s.Unit = r.Modes[at], costWire, "cross-node", costMeasure, costMetric, ranking, "ns"
		r.Samples = append(r.Samples, s)
	}
	r.Growth = nil
	for _, s := range collect(r.Samples) {
		r.Growth = r.growth("nodes", s)
	}
	return r
}

var nodes = []float64{3, 10, 30, 100}

// TestSlopeIsFound: a slope is found, its interval holds the true one in 95 of 100 runs, and a line is said to be none in at
// most five.
func TestSlopeIsFound(t *testing.T) {
	all := noises(t)
	rng := rand.New(rand.NewPCG(41, 42))
	const runs, slope = 1000, 43.0
	line := func(at float64) float64 { return 20000 + slope*at }
	found, held, bent := 0, 0, 0
	for run := range runs {
		g := sweeping(all[run%len(all)].scaled(0.02), rng, 14, nodes, line).Growth[0]
		switch {
		case g.Shape == shapeBent:
			bent++
		case g.Shape == shapeSlope:
			found++
		}
		if g.Slope != nil && *g.SlopeLow <= slope && slope <= *g.SlopeHigh {
			held++
		}
	}
	t.Logf("of %d runs %d find the slope, in %d the interval holds it, %d find a bend that is none", runs, found, held, bent)
	if found < runs*95/100 || held < runs*93/100 || float64(bent) > allowed*runs {
		t.Error("that is not what 95 % means")
	}
}

// TestFlatHasNoSlope: among three modes that do not change with what is swept, a slope is found in at most five of a hundred runs
// and a bend in five, however noisy; and where little noise is most runs say that they are flat.
func TestFlatHasNoSlope(t *testing.T) {
	all := noises(t)
	level := func(float64) float64 { return 20000 }
	for _, spread := range []float64{0.01, 0.1} {
		rng := rand.New(rand.NewPCG(43, 44))
		const runs = 1000
		alarms, bends, flat := 0, 0, 0
		for run := range runs {
			is := sweeping(all[run%len(all)].scaled(spread), rng, 14, nodes, level, level, level).Growth
			found := func(shape string) bool {
				return slices.ContainsFunc(is, func(g Growth) bool { return g.Shape == shape })
			}
			if found(shapeSlope) {
				alarms++
			}
			if found(shapeBent) {
				bends++
			}
			if is[0].Shape == shapeFlat {
				flat++
			}
		}
		t.Logf("noise of %s: of %d runs %d find a slope that is none, %d a bend, and %d say that the first is flat", percent(spread), runs, alarms, bends, flat)
		if float64(max(alarms, bends)) > 0.07*runs || // five in a hundred, and what chance adds in 1,000
			spread < margin && flat < runs*9/10 {
			t.Error("that is too often, or too seldom")
		}
	}
}

// TestBendHasNoSlope: what is no straight line is said to be none, and has no slope.
func TestBendHasNoSlope(t *testing.T) {
	all := noises(t)
	for name, f := range map[string]func(at float64) float64{
		"a step":          func(at float64) float64 { return 20000 + 8000*math.Min(1, math.Floor(at/20)) },
		"a square":        func(at float64) float64 { return 20000 + at*at },
		"a falling curve": func(at float64) float64 { return 20000 + 60000/at },
	} {
		rng := rand.New(rand.NewPCG(45, 46))
		const runs = 200
		bent := 0
		for run := range runs {
			g := sweeping(all[run%len(all)].scaled(0.02), rng, 14, nodes, f).Growth[0]
			if g.Shape == shapeBent {
				bent++
				if g.Slope != nil || !strings.Contains(g.Sentence, "not a straight line") {
					t.Fatalf("%s: slope %v; %s", name, g.Slope, g.Sentence)
				}
			}
		}
		if t.Logf("%s is found in %d of %d runs", name, bent, runs); bent < runs*9/10 {
			t.Errorf("%s: that is too seldom", name)
		}
	}
}

// exact is a noise of nothing but a pace that all share.
func exact(rounds int, of map[string]float64, swept ...Swept) *Results {
	r := &Results{Swept: swept, PathCost: &PathCost{Asked: rounds}}
	for round := 1; round <= rounds; round++ {
		for _, w := range swept {
			r.Modes = append(r.Modes, w.Mode)
			r.Samples = append(r.Samples, Sample{Mode: w.Mode, Wire: costWire, Path: "cross-node", Measure: costMeasure, Metric: costMetric, Params: ranking, Unit: "ns",
				Round: round, Value: of[w.Mode] + float64(round)/100})
		}
	}
	r.Modes = r.Modes[:len(swept)]
	r.Baseline = r.Modes[0]
	r.Derive()
	return r
}

// TestGrowthSentences: what a curve means is said in words that hold for it.
func TestGrowthSentences(t *testing.T) {
	at := func(mode, values string) Swept { return Swept{Mode: mode + " " + values, Of: mode, Values: values} }
	for _, tt := range []struct {
		rounds int
		values map[string]float64
		swept  []Swept
		want   []string
	}{
		{14, map[string]float64{"a mtu=1500": 20000, "a mtu=9000": 20000}, []Swept{at("a", "mtu=9000"), at("a", "mtu=1500")},
			[]string{"a: flat within ± 0 ns, 0 %, from mtu 1500 to 9000"}},
		{14, map[string]float64{"a mtu=1500": 20000, "a mtu=9000": 35000}, []Swept{at("a", "mtu=1500"), at("a", "mtu=9000")},
			[]string{"a: grows by 2.00 ns (2.00 – 2.00) per unit of mtu, from mtu 1500 to 9000; whether evenly, 2 values in 14 rounds do not show"}},
		{14, map[string]float64{"a n=1": 9000, "a n=2": 8000, "a n=3": 7000}, []Swept{at("a", "n=1"), at("a", "n=2"), at("a", "n=3")},
			[]string{"a: falls by 1,000 ns (1,000 – 1,000) per unit of n, from n 1 to 3"}},
		{14, map[string]float64{"a n=1": 9000, "a n=2": 9000, "a n=3": 18000}, []Swept{at("a", "n=1"), at("a", "n=2"), at("a", "n=3")},
			[]string{"a: not a straight line from n 1 to 3, so it has no slope: at 2 it is 3,000 ns, 33 %, below the line that fits best"}},
		{5, map[string]float64{"a n=1": 1, "a n=2": 2}, []Swept{at("a", "n=1"), at("a", "n=2")},
			[]string{"a: no slope: 5 rounds with every value, and it takes 6"}},
		{14, map[string]float64{"a firewall=on": 20000, "a firewall=off": 18000}, []Swept{at("a", "firewall=on"), at("a", "firewall=off")},
			[]string{"a, firewall: off is 2,000 ns less than on (2,000 – 2,000)"}},
		{14, map[string]float64{"a mtu=1500 firewall=on": 20000, "a mtu=1500 firewall=off": 18000, "a mtu=9000 firewall=on": 20000, "a mtu=9000 firewall=off": 18000},
			[]Swept{at("a", "mtu=1500 firewall=on"), at("a", "mtu=1500 firewall=off"), at("a", "mtu=9000 firewall=on"), at("a", "mtu=9000 firewall=off")},
			[]string{"a firewall=on: flat within ± 0 ns, 0 %, from mtu 1500 to 9000", "a firewall=off: flat within ± 0 ns, 0 %, from mtu 1500 to 9000",
				"a mtu=1500, firewall: off is 2,000 ns less than on (2,000 – 2,000)", "a mtu=9000, firewall: off is 2,000 ns less than on (2,000 – 2,000)"}},
	} {
		r := exact(tt.rounds, tt.values, tt.swept...)
		var got []string
		for _, g := range r.Growth {
			got = append(got, g.Sentence)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v:\n%s\nwant\n%s", tt.values, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
		for _, format := range []string{"text", "md", "html", "json"} {
			shown := strings.Join(strings.Fields(render(t, r, format, false)), " ")
			for _, s := range tt.want {
				if !strings.Contains(shown, s) {
					t.Errorf("%s does not say: %s", format, s)
				}
			}
		}
	}
}

// TestSweepInCSV: rows of one curve have the mode without what is swept, and the values of that.
func TestSweepInCSV(t *testing.T) {
	r := exact(1, map[string]float64{"a mtu=1500": 1, "a mtu=9000": 2}, Swept{"a mtu=1500", "a", "mtu=1500"}, Swept{"a mtu=9000", "a", "mtu=9000"})
	if text := render(t, r, "csv", false); !strings.Contains(text, ",of,swept\n") || !strings.Contains(text, ",a,mtu=1500\n") || !strings.Contains(text, ",a,mtu=9000\n") {
		t.Error(text)
	}
}

// swept imagines that the modes of a comparison are two at three MTUs.
func swept(r *Results) *Results {
	for i, mode := range []string{"host-gw", "bgp", "macvlan", "ipip", "vxlan", "udp"} {
		r.Swept = append(r.Swept, Swept{Mode: mode, Of: []string{"plain", "tunnel"}[i/3], Values: fmt.Sprintf("mtu=%d", []int{1500, 4000, 9000}[i%3])})
	}
	r.Derive()
	return r
}

// TestCountsAreWhole: what is counted has no digits behind the point that say nothing.
func TestCountsAreWhole(t *testing.T) {
	for unit, want := range map[string]string{"": "60 8.5 1,050 0 −200", "bytes": "60 8.5 1,050 0 −200", "ns": "60.0 8.50 1,050 0 −200"} {
		g := Growth{Unit: unit}
		var got []string
		for _, v := range []float64{60, 8.5, 1050, 0, -200} {
			got = append(got, g.number(v))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("in %q: %s, not %s", unit, text, want)
		}
	}
}
