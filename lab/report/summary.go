package report

import (
	"cmp"
	"math"
	"slices"
	"strings"
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

	// Where a number can be zero there are no ratios: what is said instead is the median of the rounds' differences.
	Difference     *float64 `json:"difference"`
	DifferenceLow  *float64 `json:"difference_low"`
	DifferenceHigh *float64 `json:"difference_high"`

	// Detectable is the smallest difference from the baseline that this noise and these rounds would have shown: as a
	// share where there are ratios, else in the unit.
	Detectable *float64 `json:"detectable"`
}

// Differs reports whether the mode was told apart from the baseline.
func (s Summary) Differs() bool { return s.P != nil && *s.P < alpha }

// kind is what makes numbers comparable.
type kind struct{ wire, path, measure, metric, params string }

func (s Sample) kind() kind  { return kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params} }
func (s Summary) kind() kind { return kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params} }
func (c Control) kind() kind { return kind{c.Wire, c.Path, c.Measure, c.Metric, c.Params} }

// String leaves the wire model out: it is said once.
func (k kind) String() string {
	return strings.Join(strings.Fields(k.path+" "+k.measure+" "+k.params+" "+of(k.metric).called()), " ")
}

// series holds the numbers of one kind: by mode, then by round.
type series struct {
	kind
	unit   string
	modes  []string
	values map[string]map[int]float64
	ratios bool // every value is above zero
}

// Summarise computes what the samples say, in their order: kinds, and modes within a kind, as they come first.
//
// Of each mode: the median over the rounds, with the exact interval from order statistics. Against the baseline: the
// median of the ratios within each round, with the same interval; and Wilcoxon's signed-rank test on the logarithms of
// those ratios, exact, corrected after Holm over all modes of one kind. A mode that is not told apart from the baseline
// that way is in the baseline's tier. Those that are better or worse are in tiers of their own side, best first; a side's
// next tier begins with the first mode that the same test, corrected over all pairs of both sides, tells from the best of
// the tier so far. So among equals there is at most one chance in twenty that a kind shows any difference from the
// baseline, and another that it splits a tier.
//
// What ten rounds can find depends on the noise: a difference of 5 % between two modes is found in 100 of 100 comparisons
// where a number is off by 2 % from one round to the next, in 90 where it is off by 3 %, in 50 where it is off by 5 %. Of
// seven modes that are corrected together it is 90, 53 and 15. The report says of each number what it could have seen.
//
// The interval and the test are different statistics: close to the border an interval may include 1 and the test still
// tell the modes apart, or the other way round. It is the test that decides.
//
// The twin is held against its original in the same way, but takes no part in correction and ranking: it would cost the
// modes power, and it is no mode.
func Summarise(samples []Sample, baseline string, twin *Twin) []Summary {
	var summaries []Summary
	for _, s := range collect(samples) {
		summaries = append(summaries, s.summarise(baseline, twin)...)
	}
	return summaries
}

func collect(samples []Sample) []*series {
	var all []*series
	byKind := map[kind]*series{}
	for _, s := range samples {
		in := byKind[s.kind()]
		if in == nil {
			in = &series{kind: s.kind(), unit: s.Unit, values: map[string]map[int]float64{}, ratios: true}
			byKind[s.kind()] = in
			all = append(all, in)
		}
		if in.values[s.Mode] == nil {
			in.values[s.Mode] = map[int]float64{}
			in.modes = append(in.modes, s.Mode)
		}
		in.values[s.Mode][s.Round] = s.Value
		in.ratios = in.ratios && s.Value > 0
	}
	return all
}

func (s *series) summarise(baseline string, twin *Twin) []Summary {
	summaries := make([]Summary, len(s.modes))
	contrasts := make([][]float64, len(s.modes))
	var tested []int
	var p []float64
	for i, mode := range s.modes {
		m := &summaries[i]
		values := s.of(mode)
		*m = Summary{
			Mode: mode, Wire: s.wire, Path: s.path, Measure: s.measure, Metric: s.metric, Params: s.params, Unit: s.unit, Baseline: baseline,
			N: len(values), Median: median(values), Min: slices.Min(values), Max: slices.Max(values),
		}
		m.Low, m.High = interval(values)
		isTwin := twin != nil && mode == twin.Mode
		if isTwin {
			m.Baseline = twin.Of
		}
		contrasts[i] = s.contrast(mode, m.Baseline)
		if len(contrasts[i]) == 0 {
			continue
		}
		s.compare(m, contrasts[i])
		if mode == m.Baseline || len(contrasts[i]) < MinRounds {
			continue
		}
		chance := wilcoxon(contrasts[i])
		if isTwin {
			m.P = &chance
			continue
		}
		tested = append(tested, i)
		p = append(p, chance)
	}
	for i, adjusted := range holm(p) {
		m := &summaries[tested[i]]
		m.P = &adjusted
		if d, ok := detectable(contrasts[tested[i]], alpha/float64(len(p))); ok {
			if s.ratios {
				d = math.Expm1(d)
			}
			m.Detectable = &d
		}
	}
	s.rank(summaries, baseline, twin)
	return summaries
}

// compare says how a mode stands to its baseline.
func (s *series) compare(m *Summary, contrasts []float64) {
	middle := median(contrasts)
	low, high := interval(contrasts)
	if !s.ratios {
		m.Difference = &middle
		if m.Mode != m.Baseline {
			m.DifferenceLow, m.DifferenceHigh = low, high
		}
		return
	}
	exp := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		e := math.Exp(*v)
		return &e
	}
	m.Ratio = exp(&middle)
	if m.Mode != m.Baseline {
		m.RatioLow, m.RatioHigh = exp(low), exp(high)
	}
}

// of returns a mode's values in the order of the rounds.
func (s *series) of(mode string) []float64 {
	var values []float64
	for _, round := range rounds(s.values[mode]) {
		values = append(values, s.values[mode][round])
	}
	return values
}

// contrast returns how one mode's values stand to the other's in each of the rounds that have both: the logarithms of
// their ratios, or where there are no ratios their differences. Zero is no difference, above it is more.
func (s *series) contrast(mode, over string) []float64 {
	var all []float64
	for _, round := range rounds(s.values[mode]) {
		if other, ok := s.values[over][round]; ok {
			all = append(all, s.scale(s.values[mode][round])-s.scale(other))
		}
	}
	return all
}

// scale makes of values what is compared by subtracting.
func (s *series) scale(v float64) float64 {
	if s.ratios {
		return math.Log(v)
	}
	return v
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

// rank sets the tiers of modes that were tested against the baseline, and of the baseline. The twin has none.
func (s *series) rank(summaries []Summary, baseline string, twin *Twin) {
	var better, same, worse []*Summary
	for i := range summaries {
		m := &summaries[i]
		effect := m.effect()
		switch {
		case twin != nil && m.Mode == twin.Mode:
		case m.Mode == baseline && m.N >= MinRounds, m.P != nil && (!m.Differs() || effect == 0):
			same = append(same, m)
		case m.P == nil: // too few rounds
		case effect > 0 == MoreIsBetter(s.metric):
			better = append(better, m)
		default:
			worse = append(worse, m)
		}
	}
	tier := 0
	above, below := s.tiers(better, worse)
	for _, group := range slices.Concat(above, [][]*Summary{same}, below) {
		if len(group) > 0 {
			tier++
		}
		for _, m := range group {
			m.Tier = &[]int{tier}[0]
		}
	}
}

// effect is above zero where the mode has more than its baseline.
func (s Summary) effect() float64 {
	switch {
	case s.Ratio != nil:
		return math.Log(*s.Ratio)
	case s.Difference != nil:
		return *s.Difference
	}
	return 0
}

// tiers splits the modes on the two sides of the baseline, best first.
func (s *series) tiers(better, worse []*Summary) (above, below [][]*Summary) {
	var p []float64
	sides := [][]*Summary{better, worse}
	for _, side := range sides {
		slices.SortStableFunc(side, func(a, b *Summary) int {
			if MoreIsBetter(s.metric) {
				a, b = b, a
			}
			return cmp.Compare(a.effect(), b.effect())
		})
		for i := range side {
			for j := range i {
				p = append(p, wilcoxon(s.contrast(side[i].Mode, side[j].Mode)))
			}
		}
	}
	p = holm(p)
	split := func(side []*Summary) (tiers [][]*Summary) {
		head := 0
		for i, m := range side {
			if i == 0 || p[i*(i-1)/2+head] < alpha {
				head = i
				tiers = append(tiers, nil)
			}
			tiers[len(tiers)-1] = append(tiers[len(tiers)-1], m)
		}
		p = p[len(side)*(len(side)-1)/2:]
		return tiers
	}
	above = split(better)
	return above, split(worse)
}
