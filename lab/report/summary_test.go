package report

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// numbers makes samples of modes whose rounds are a common pace times a factor and a little noise of their own.
func numbers(metric string, rounds int, factors ...float64) []Sample {
	var samples []Sample
	rng := rand.New(rand.NewPCG(1, 1))
	for round := 1; round <= rounds; round++ {
		for i, f := range factors {
			noise := 1 + 0.02*rng.NormFloat64()
			samples = append(samples, Sample{Mode: fmt.Sprintf("m%d", i), Metric: metric, Round: round, Value: 10 * float64(1+round%3) * f * noise})
		}
	}
	return samples
}

func TestTiers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		metric string
		rounds int
		values []float64
		want   string
	}{
		{"equals", "goodput", 10, []float64{1, 1, 1}, "m0:1 m1:1~ m2:1~"},
		{"one is worse", "goodput", 10, []float64{1, 1, 0.8}, "m0:1 m1:1~ m2:2"},
		{"one is better", "goodput", 10, []float64{1, 1.3, 1}, "m0:2 m1:1 m2:2~"},
		{"less is better", "p50", 10, []float64{1, 1.3, 0.8}, "m0:2 m1:3 m2:1"},
		{"two that are worse are not told apart", "goodput", 10, []float64{1, 0.8, 0.8}, "m0:1 m1:2 m2:2"},
		{"two that are worse are", "goodput", 10, []float64{1, 0.6, 0.8}, "m0:1 m1:3 m2:2"},
		{"too few rounds to rank", "goodput", 5, []float64{1, 0.5}, "m0:- m1:-"},
		{"the fewest rounds that rank", "goodput", 6, []float64{1, 0.5}, "m0:1 m1:2"},
		{"six rounds cannot tell three modes apart", "goodput", 6, []float64{1, 0.5, 0.4}, "m0:1 m1:1~ m2:1~"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, s := range Summarise(numbers(tt.metric, tt.rounds, tt.values...), "m0", nil) {
				tier := "-"
				if s.Tier != nil {
					tier = fmt.Sprint(*s.Tier)
				}
				if s.P != nil && !s.Differs() {
					tier += "~"
				}
				got += " " + s.Mode + ":" + tier
			}
			if got = got[1:]; got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// A ratio is made within a round: what slows a whole round down does not show.
func TestRatiosArePaired(t *testing.T) {
	var samples []Sample
	for round, pace := range []float64{1, 5, 2, 9, 3, 7, 4} {
		samples = append(samples,
			Sample{Mode: "a", Metric: "goodput", Round: round + 1, Value: pace},
			Sample{Mode: "b", Metric: "goodput", Round: round + 1, Value: pace * (0.9 + 0.001*float64(round))})
	}
	s := Summarise(samples, "a", nil)[1]
	if !near(*s.Ratio, 0.903) || !near(*s.RatioLow, 0.9) || !near(*s.RatioHigh, 0.906) || !near(*s.P, 2./128) {
		t.Errorf("ratio %v, from %v to %v, p %v", *s.Ratio, *s.RatioLow, *s.RatioHigh, *s.P)
	}
}

func TestRoundsThatLackTheBaselineMakeNoRatio(t *testing.T) {
	samples := []Sample{
		{Mode: "a", Metric: "goodput", Round: 1, Value: 2},
		{Mode: "b", Metric: "goodput", Round: 1, Value: 1},
		{Mode: "b", Metric: "goodput", Round: 2, Value: 99},
	}
	s := Summarise(samples, "a", nil)
	if s[1].N != 2 || *s[1].Ratio != 0.5 {
		t.Errorf("n %d, ratio %v", s[1].N, *s[1].Ratio)
	}
	if s := Summarise(samples, "c", nil); s[0].Ratio != nil || s[0].Tier != nil {
		t.Errorf("without a baseline: %+v", s[0])
	}
}

// Wire models, paths and metrics are kept apart.
func TestKindsAreNotMixed(t *testing.T) {
	samples := []Sample{
		{Mode: "a", Wire: "super", Metric: "goodput", Round: 1, Value: 1},
		{Mode: "a", Wire: "nic", Metric: "goodput", Round: 1, Value: 2},
		{Mode: "a", Wire: "super", Metric: "rate", Round: 1, Value: 3},
		{Mode: "a", Wire: "super", Metric: "goodput", Params: "streams=2", Round: 1, Value: 4},
	}
	for i, s := range Summarise(samples, "a", nil) {
		if s.N != 1 || s.Median != float64(i+1) {
			t.Errorf("%+v", s)
		}
	}
}
