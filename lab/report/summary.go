package report

import (
	"cmp"
	"math"
	"slices"
)

// MinRounds is how many rounds a median's interval takes. Below it nothing is ranked.
const MinRounds = 6

// Summary is what may be said about one mode's numbers of one kind. A null is what the rounds are too few to say.
type Summary struct {
	Mode      string   `json:"mode"`
	Wire      string   `json:"wire"`
	Path      string   `json:"path"`
	Measure   string   `json:"measure"`
	Metric    string   `json:"metric"`
	Params    string   `json:"params"`
	N         int      `json:"n"`
	Median    float64  `json:"median"`
	Low       *float64 `json:"low"` // of the median's interval
	High      *float64 `json:"high"`
	Min       float64  `json:"min"`
	Max       float64  `json:"max"`
	Unit      string   `json:"unit"`
	Baseline  string   `json:"baseline"`
	Ratio     *float64 `json:"ratio"` // median of the rounds' ratios to the baseline
	RatioLow  *float64 `json:"ratio_low"`
	RatioHigh *float64 `json:"ratio_high"`
	P         *float64 `json:"p"`    // of the difference from the baseline, corrected for the number of modes
	Tier      *int     `json:"tier"` // 1 is best; modes of one tier cannot be told apart
}

// Differs reports whether the mode was told apart from the baseline.
func (s Summary) Differs() bool { return s.P != nil && *s.P < alpha }

// MoreIsBetter reports whether the better of two values of the metric is the larger one.
func MoreIsBetter(metric string) bool { return metric != "p50" && metric != "p99" }

// kind is what makes numbers comparable.
type kind struct{ wire, path, measure, metric, params string }

func (s Sample) kind() kind { return kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params} }

// series holds the numbers of one kind: by mode, then by round.
type series struct {
	kind
	unit   string
	modes  []string
	values map[string]map[int]float64
}

// Summarise computes what the samples say, in their order: kinds, and modes within a kind, as they come first.
//
// Of each mode: the median over the rounds, with the exact interval from order statistics. Against the baseline: the
// median of the ratios within each round, with the same interval; and Wilcoxon's signed-rank test on the logarithms of
// those ratios, exact, corrected after Holm over all modes of one kind. A mode that is not told apart from the baseline
// that way is in the baseline's tier. Those that are better or worse are in tiers of their own side, best first; a side's
// next tier begins with the first mode that the same test, corrected over all pairs of that side, tells from the best of
// the tier so far.
//
// The interval and the test are different statistics: close to the border an interval may include 1 and the test still
// tell the modes apart, or the other way round. It is the test that decides.
func Summarise(samples []Sample, baseline string) []Summary {
	var summaries []Summary
	for _, s := range collect(samples) {
		summaries = append(summaries, s.summarise(baseline)...)
	}
	return summaries
}

func collect(samples []Sample) []*series {
	var all []*series
	byKind := map[kind]*series{}
	for _, s := range samples {
		in := byKind[s.kind()]
		if in == nil {
			in = &series{kind: s.kind(), unit: s.Unit, values: map[string]map[int]float64{}}
			byKind[s.kind()] = in
			all = append(all, in)
		}
		if in.values[s.Mode] == nil {
			in.values[s.Mode] = map[int]float64{}
			in.modes = append(in.modes, s.Mode)
		}
		in.values[s.Mode][s.Round] = s.Value
	}
	return all
}

func (s *series) summarise(baseline string) []Summary {
	summaries := make([]Summary, len(s.modes))
	var tested []int
	var p []float64
	for i, mode := range s.modes {
		values := s.of(mode)
		summaries[i] = Summary{
			Mode: mode, Wire: s.wire, Path: s.path, Measure: s.measure, Metric: s.metric, Params: s.params, Unit: s.unit, Baseline: baseline,
			N: len(values), Median: median(values), Min: slices.Min(values), Max: slices.Max(values),
		}
		summaries[i].Low, summaries[i].High = interval(values)
		logs := s.logRatios(mode, baseline)
		if len(logs) == 0 {
			continue
		}
		ratios := make([]float64, len(logs))
		for j, l := range logs {
			ratios[j] = math.Exp(l)
		}
		ratio := median(ratios)
		summaries[i].Ratio = &ratio
		if mode == baseline {
			continue
		}
		summaries[i].RatioLow, summaries[i].RatioHigh = interval(ratios)
		if len(logs) >= MinRounds {
			tested = append(tested, i)
			p = append(p, wilcoxon(logs))
		}
	}
	for i, adjusted := range holm(p) {
		summaries[tested[i]].P = &adjusted
	}
	s.rank(summaries, baseline)
	return summaries
}

// of returns a mode's values in the order of the rounds.
func (s *series) of(mode string) []float64 {
	var values []float64
	for _, round := range rounds(s.values[mode]) {
		values = append(values, s.values[mode][round])
	}
	return values
}

// logRatios returns the logarithms of one mode's values over the other's, for the rounds that have both.
func (s *series) logRatios(mode, over string) []float64 {
	var logs []float64
	for _, round := range rounds(s.values[mode]) {
		a, b := s.values[mode][round], s.values[over][round]
		if a > 0 && b > 0 {
			logs = append(logs, math.Log(a/b))
		}
	}
	return logs
}

func rounds(values map[int]float64) []int {
	var all []int
	for round := range values {
		all = append(all, round)
	}
	slices.Sort(all)
	return all
}

func interval(values []float64) (low, high *float64) {
	l, h, ok := medianInterval(values)
	if !ok {
		return nil, nil
	}
	return &l, &h
}

// rank sets the tiers of modes that were tested against the baseline, and of the baseline.
func (s *series) rank(summaries []Summary, baseline string) {
	var better, same, worse []*Summary
	for i := range summaries {
		m := &summaries[i]
		switch {
		case m.Mode == baseline && m.N >= MinRounds, m.P != nil && (!m.Differs() || *m.Ratio == 1):
			same = append(same, m)
		case m.P == nil: // too few rounds
		case *m.Ratio > 1 == MoreIsBetter(s.metric):
			better = append(better, m)
		default:
			worse = append(worse, m)
		}
	}
	tier := 0
	for _, group := range slices.Concat(s.tiers(better), [][]*Summary{same}, s.tiers(worse)) {
		if len(group) > 0 {
			tier++
		}
		for _, m := range group {
			m.Tier = &[]int{tier}[0]
		}
	}
}

// tiers splits the modes of one side of the baseline, best first.
func (s *series) tiers(side []*Summary) [][]*Summary {
	slices.SortStableFunc(side, func(a, b *Summary) int {
		c := cmp.Compare(*a.Ratio, *b.Ratio)
		if MoreIsBetter(s.metric) {
			return -c
		}
		return c
	})
	var p []float64
	for i := range side {
		for j := range i {
			p = append(p, wilcoxon(s.logRatios(side[i].Mode, side[j].Mode)))
		}
	}
	p = holm(p)
	var tiers [][]*Summary
	head := 0
	for i, m := range side {
		if i == 0 || p[i*(i-1)/2+head] < alpha {
			head = i
			tiers = append(tiers, nil)
		}
		tiers[len(tiers)-1] = append(tiers[len(tiers)-1], m)
	}
	return tiers
}
