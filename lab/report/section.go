package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// section is a table of one kind of numbers, as all formats show it.
type section struct {
	kind
	Title    string
	Header   []string
	Rows     [][]string
	Modes    []Summary
	contrast string // ratio or difference
	ranked   bool
	decimal  int // digits behind the point, the same down a column
	measured *series
}

// group is what one measurement gave: the number that it was made for, and those that came with it.
type group struct {
	section
	Beside []section
}

func groups(sections []section) []group {
	var all []group
	for _, s := range sections {
		same := func(g group) bool { return g.path == s.path && g.measure == s.measure && g.params == s.params }
		i := slices.IndexFunc(all, same)
		if i < 0 {
			all = append(all, group{section: s})
			continue
		}
		g := &all[i]
		if leadsOver(s.metric, g.metric) {
			g.section, s = s, g.section
			g.Beside = slices.Insert(g.Beside, 0, s)
		} else {
			g.Beside = append(g.Beside, s)
		}
	}
	return all
}

func (s *section) fill(baseline string) {
	least, most := math.Inf(1), 0.0
	for _, m := range s.Modes {
		least, most = min(least, m.Min), max(most, m.Max)
		s.ranked = s.ranked || m.Tier != nil
	}
	if least <= 0 {
		least = most
	}
	s.decimal = max(0, min(6, 2-int(math.Floor(math.Log10(max(least, 1e-9)))))) // three digits of the least
	if least == 0 {
		s.decimal = 0
	}
	if counts, halves := s.counts(); counts {
		s.decimal = min(s.decimal, halves)
	}
	s.contrast = "ratio"
	if slices.ContainsFunc(s.Modes, func(m Summary) bool { return m.Difference != nil }) {
		s.contrast = "difference"
	}
	s.Title = fmt.Sprintf("%s: %s, %s to %s", cmp.Or(strings.Trim(s.path, "-"), "the whole lab"), s.label(), s.contrast, baseline)
	if s.ranked {
		s.Header = []string{"mode", "median", "95 % interval", s.contrast, "95 % interval", "p", "tier", "would have found"}
	} else {
		s.Header = []string{"mode", "median", "least – most"}
	}
	for _, m := range s.Modes {
		row := []string{m.Mode, s.value(m.Median)}
		if s.ranked {
			row = append(row, s.spread(m.Low, m.High), s.verdict(m), s.bounds(m), chance(m.P), tier(m), s.found(m))
		} else {
			row = append(row, s.spread(&m.Min, &m.Max))
		}
		for i := range row {
			row[i] = cmp.Or(row[i], "–")
		}
		s.Rows = append(s.Rows, row)
	}
}

// counts reports whether the numbers are whole, and how many digits their medians have behind the point.
func (s *section) counts() (yes bool, digits int) {
	whole := func(v float64) bool { return v == math.Trunc(v) }
	for _, m := range s.Modes {
		if !whole(m.Min) || !whole(m.Max) || !whole(2*m.Median) {
			return false, 0
		}
		if !whole(m.Median) {
			digits = 1
		}
	}
	return true, digits
}

// label says what the numbers are and which are better.
func (s *section) label() string {
	better := "more"
	if !MoreIsBetter(s.metric) {
		better = "less"
	}
	unit := ""
	if u := s.Modes[0].Unit; u != "" {
		unit = " [" + u + "]"
	}
	return strings.Join(strings.Fields(s.measure+" "+s.params+" "+of(s.metric).called()), " ") + unit + ", " + better + " is better"
}

// arrow shows which numbers are better.
func (s *section) arrow() string {
	if MoreIsBetter(s.metric) {
		return "↑"
	}
	return "↓"
}

// verdict is how a mode stands to its baseline, or "~" where it was not told apart. Of the twin it is the number either way.
func (s *section) verdict(m Summary) string {
	twin := m.Tier == nil && m.P != nil
	switch {
	case m.Mode == m.Baseline || m.Ratio == nil && m.Difference == nil:
		return "–"
	case m.P != nil && !m.Differs() && !twin:
		return "~"
	case m.Ratio == nil:
		return s.signed(*m.Difference)
	}
	return fmt.Sprintf("%.3f", *m.Ratio)
}

// side reports whether a mode was told apart from its baseline, and on which side.
func (s *section) side(m Summary) (better, worse bool) {
	if !m.Differs() || m.Tier == nil || m.effect() == 0 { // the twin has no tier
		return false, false
	}
	better = m.effect() > 0 == MoreIsBetter(s.metric)
	return better, !better
}

func (s *section) bounds(m Summary) string {
	switch {
	case m.RatioLow != nil:
		return fmt.Sprintf("%.3f – %.3f", *m.RatioLow, *m.RatioHigh)
	case m.DifferenceLow != nil:
		return s.signed(*m.DifferenceLow) + " – " + s.signed(*m.DifferenceHigh)
	}
	return ""
}

// found is the smallest difference that would have been found.
func (s *section) found(m Summary) string {
	switch {
	case m.Detectable == nil:
		return ""
	case m.Ratio == nil:
		return s.number(*m.Detectable)
	}
	return percent(*m.Detectable)
}

// value writes a number as it was measured. CPU time is what is left of the machine's when an idle one's is taken away.
func (s *section) value(v float64) string {
	if of(s.metric).processor && v <= 0 {
		return "below idle"
	}
	return s.number(v)
}

func (s *section) number(v float64) string {
	text := thousands(strconv.FormatFloat(math.Abs(v), 'f', s.decimal, 64))
	if v < 0 && strings.ContainsAny(text, "123456789") {
		return "−" + text
	}
	return text
}

func (s *section) signed(v float64) string {
	switch text := s.number(v); {
	case !strings.ContainsAny(text, "123456789"):
		return "none"
	case v > 0:
		return "+" + text
	default:
		return text
	}
}

func (s *section) spread(low, high *float64) string {
	if low == nil {
		return ""
	}
	return s.value(*low) + " – " + s.value(*high)
}

func chance(p *float64) string {
	if p == nil {
		return ""
	}
	if *p < 0.0005 {
		return "<0.001"
	}
	return fmt.Sprintf("%.3f", *p)
}

func tier(m Summary) string {
	if m.Tier == nil {
		return ""
	}
	return strconv.Itoa(*m.Tier)
}

// times is the ratio as part of a sentence, where there is one.
func (s Summary) times() string {
	if s.Ratio == nil {
		return ""
	}
	return fmt.Sprintf(", ratio %.3f", *s.Ratio)
}

// thousands puts commas into a number: 31,200.
func thousands(s string) string {
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return whole
}
