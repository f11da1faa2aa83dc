package report

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A noise is what was left of a recording's numbers of one kind when each mode's median was taken away: logarithms, in the
// order in which they were measured. So it has the tails of real noise, its likeness between neighbours, and the good and
// bad minutes that all modes share.
type noise struct {
	recording, numbers string
	residuals          []float64
}

func noises(t *testing.T) []noise {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "noise.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []noise
	for _, row := range rows[1:] {
		n := noise{recording: row[0], numbers: row[1]}
		for _, field := range strings.Fields(row[2]) {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			n.residuals = append(n.residuals, v)
		}
		all = append(all, n)
	}
	return all
}

// measure imagines a comparison in this noise: it begins anywhere in the recording and goes through it, measuring the modes
// in an order drawn anew for every round. The factors are what the modes really do to the number.
func (n noise) measure(rng *rand.Rand, rounds int, factors ...float64) []Sample {
	at := rng.IntN(len(n.residuals))
	var samples []Sample
	for round := 1; round <= rounds; round++ {
		for _, mode := range rng.Perm(len(factors)) {
			value := factors[mode] * math.Exp(n.residuals[at%len(n.residuals)])
			samples = append(samples, Sample{Mode: fmt.Sprintf("m%d", mode), Metric: "goodput", Round: round, Value: value})
			at++
		}
	}
	return samples
}

const (
	trials  = 2000
	allowed = 0.062 // five in a hundred, and what chance adds to the share found in 2,000 trials
)

// When nothing differs, a mode may be said to differ, or be ranked otherwise, in at most five of a hundred comparisons of
// one kind of numbers. And where some do differ, the rest still hold: what is said of the baseline, and what of the others.
func TestFalseAlarms(t *testing.T) {
	all := noises(t)
	for _, tt := range []struct {
		name    string
		factors []float64
	}{
		{"six equals", []float64{1, 1, 1, 1, 1, 1}},
		{"two equals", []float64{1, 1}},
		{"two like the baseline, two far below, two far above", []float64{1, 1, 1, 1e-9, 1e-9, 1e9, 1e9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			differ, split := 0, 0
			for trial := range trials {
				said := Summarise(all[trial%len(all)].measure(rng, 10, tt.factors...), "m0", nil)
				tiers := map[float64]map[int]bool{}
				wrong := false
				for _, s := range said {
					f := tt.factors[s.Mode[1]-'0']
					if wrong = wrong || f == 1 && s.Differs(); tiers[f] == nil {
						tiers[f] = map[int]bool{}
					}
					tiers[f][*s.Tier] = true
				}
				if wrong {
					differ++
				}
				if !wrong && (len(tiers[1]) > 1 || len(tiers[1e-9]) > 1 || len(tiers[1e9]) > 1) {
					split++
				}
			}
			t.Logf("of %d comparisons %.1f %% find a difference from the baseline that is none, %.1f %% split a tier that is one",
				trials, 100*float64(differ)/trials, 100*float64(split)/trials)
			for _, alarms := range []int{differ, split} {
				if share := float64(alarms) / trials; share > allowed {
					t.Errorf("%.1f %% is more than %.1f %%", 100*share, 100*allowed)
				}
			}
		})
	}
}

// The pair of twins may fail its check in at most five of a hundred comparisons, however many kinds of numbers there are and
// however alike they are.
func TestControlFalseAlarms(t *testing.T) {
	all := noises(t)
	rng := rand.New(rand.NewPCG(5, 6))
	const trials = 300
	alarms := 0
	for trial := range trials {
		r := Results{Baseline: "m0", Twin: &Twin{Mode: "m1", Of: "m0"}, Rounds: 10, Asked: 10}
		for i, n := range all {
			for _, s := range n.measure(rng, 10, 1, 1) {
				s.Measure = n.numbers
				r.Samples = append(r.Samples, s)
				if i == trial%len(all) { // once more, under another name
					s.Metric, s.Value = "rate", s.Value*3
					r.Samples = append(r.Samples, s)
				}
			}
		}
		r.Derive()
		if !r.twins("").OK {
			alarms++
		}
	}
	t.Logf("%d of %d comparisons find a difference between twins", alarms, trials)
	if float64(alarms)/trials > alpha+2*math.Sqrt(alpha*(1-alpha)/trials) {
		t.Errorf("that is too often")
	}
}

// A twin that is five per cent off in everything, or in one thing beyond doubt, does fail.
func TestControlFinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kinds int
		off   func(kind int) float64
	}{
		{"one number of forty", 40, func(kind int) float64 { return map[bool]float64{true: 0.7, false: 1}[kind == 7] }},
		{"all numbers", 40, func(int) float64 { return 0.93 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Results{Baseline: "m0", Twin: &Twin{Mode: "m1", Of: "m0"}, Rounds: 10, Asked: 10}
			rng := rand.New(rand.NewPCG(7, 8))
			for kind := range tt.kinds {
				for round := 1; round <= 10; round++ {
					for mode, f := range []float64{1, tt.off(kind)} {
						r.Samples = append(r.Samples, Sample{Mode: fmt.Sprintf("m%d", mode), Measure: fmt.Sprint(kind), Metric: "goodput", Round: round, Value: f * math.Exp(0.03*rng.NormFloat64())})
					}
				}
			}
			r.Derive()
			if c := r.twins(""); c.OK || !strings.Contains(c.Detail, "ratio 0.") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// How often a real difference of five per cent is found depends on the noise alone; what the report calls the smallest
// difference it would have seen must be found in about four of five comparisons.
func TestPower(t *testing.T) {
	for _, n := range noises(t) {
		rng := rand.New(rand.NewPCG(9, 10))
		found := func(effect float64) float64 {
			count := 0
			for range trials / 4 {
				for _, s := range Summarise(n.measure(rng, 10, 1, effect), "m0", nil) {
					if s.Differs() {
						count++
					}
				}
			}
			return float64(count) / (trials / 4)
		}
		var sees []float64
		for range 40 {
			for _, s := range Summarise(n.measure(rng, 10, 1, 1), "m0", nil) {
				if s.Mode == "m1" {
					sees = append(sees, *s.Detectable)
				}
			}
		}
		smallest := median(sees)
		five, its := found(1.05), found(1+smallest)
		t.Logf("%s, %s: a difference of 5 %% is found in %.0f %% of comparisons; the smallest that is said to be seen, %s, in %.0f %%", n.recording, n.numbers, 100*five, percent(smallest), 100*its)
		if its < 0.7 || its > 0.9 {
			t.Errorf("%s, %s: %s is found in %.0f %%", n.recording, n.numbers, percent(smallest), 100*its)
		}
	}
}

// How much noise a difference of five per cent bears: ten rounds find it in this share of comparisons, when every number is
// off by so much. The documentation of [Summarise] says so.
func TestPowerByNoise(t *testing.T) {
	for _, tt := range []struct {
		noise float64
		modes int
		found float64
	}{
		{0.01, 2, 1.00}, {0.01, 7, 1.00},
		{0.02, 2, 1.00}, {0.02, 7, 0.90},
		{0.03, 2, 0.90}, {0.03, 7, 0.53},
		{0.05, 2, 0.50}, {0.05, 7, 0.15},
	} {
		rng := rand.New(rand.NewPCG(11, 12))
		found := 0
		const trials = 500
		for range trials {
			var samples []Sample
			for round := 1; round <= 10; round++ {
				for mode := range tt.modes {
					value := math.Exp(tt.noise * rng.NormFloat64())
					if mode == 1 {
						value *= 1.05
					}
					samples = append(samples, Sample{Mode: fmt.Sprintf("m%d", mode), Metric: "goodput", Round: round, Value: value})
				}
			}
			if Summarise(samples, "m0", nil)[1].Differs() {
				found++
			}
		}
		share := float64(found) / trials
		t.Logf("noise %s, %d modes: 5 %% is found in %.0f %% of comparisons", percent(tt.noise), tt.modes, 100*share)
		if math.Abs(share-tt.found) > 0.04 {
			t.Errorf("noise %s, %d modes: found in %.2f of comparisons, not in %.2f", percent(tt.noise), tt.modes, share, tt.found)
		}
	}
}
