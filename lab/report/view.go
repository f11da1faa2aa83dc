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
	Title   string
	Header  []string
	Rows    [][]string
	Modes   []Summary
	decimal int // digits behind the point, the same down a column
}

func (r *Results) sections() []section {
	var all []section
	for _, s := range r.Summary {
		k := kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params}
		if len(all) == 0 || all[len(all)-1].kind != k {
			all = append(all, section{kind: k})
		}
		last := &all[len(all)-1]
		last.Modes = append(last.Modes, s)
	}
	for i := range all {
		all[i].fill(r.Baseline)
	}
	return all
}

func (s *section) fill(baseline string) {
	first := s.Modes[0]
	better := "more"
	if !MoreIsBetter(s.metric) {
		better = "less"
	}
	s.Title = strings.Join(strings.Fields(fmt.Sprintf("%s: %s %s %s", s.path, s.measure, s.params, name(s.metric))), " ") +
		fmt.Sprintf(" [%s], %s is better, ratio to %s", first.Unit, better, baseline)
	least := math.Inf(1)
	ranked := false
	for _, m := range s.Modes {
		least = min(least, m.Min)
		ranked = ranked || m.Tier != nil
	}
	s.decimal = max(0, min(6, 2-int(math.Floor(math.Log10(max(least, 1e-9)))))) // three digits of the least
	if ranked {
		s.Header = []string{"mode", "median", "95 % interval", "ratio", "95 % interval", "p", "tier"}
	} else {
		s.Header = []string{"mode", "median", "least – most", "ratio"}
	}
	for _, m := range s.Modes {
		row := []string{m.Mode, s.number(m.Median)}
		if ranked {
			row = append(row, s.spread(m.Low, m.High), m.verdict(), ratios(m.RatioLow, m.RatioHigh), chance(m.P), "")
			if m.Tier != nil {
				row[len(row)-1] = strconv.Itoa(*m.Tier)
			}
		} else {
			row = append(row, s.spread(&m.Min, &m.Max), m.verdict())
		}
		s.Rows = append(s.Rows, row)
	}
}

// name is what people call a metric.
func name(metric string) string {
	if metric == "rate" {
		return "transactions"
	}
	return metric
}

// verdict is the ratio, or "~" for a mode that was not told apart from the baseline.
func (m Summary) verdict() string {
	switch {
	case m.Mode == m.Baseline || m.Ratio == nil:
		return "–"
	case m.P != nil && !m.Differs():
		return "~"
	}
	return fmt.Sprintf("%.3f", *m.Ratio)
}

func (s *section) number(v float64) string {
	return thousands(strconv.FormatFloat(v, 'f', s.decimal, 64))
}

func (s *section) spread(low, high *float64) string {
	if low == nil {
		return ""
	}
	return s.number(*low) + " – " + s.number(*high)
}

func ratios(low, high *float64) string {
	if low == nil {
		return ""
	}
	return fmt.Sprintf("%.3f – %.3f", *low, *high)
}

func chance(p *float64) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%.3f", *p)
}

// thousands puts commas into a number: 31,200.
func thousands(s string) string {
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return whole
}

// heading says what was compared, and on what.
func (r *Results) heading() []string {
	how := "no round finished"
	if r.Rounds > 0 {
		how = fmt.Sprintf("%s, %g s a number, seed %d", plural(r.Rounds, "round"), r.Window, r.Seed)
	}
	var wires []string
	for _, s := range r.Samples {
		if !slices.Contains(wires, s.Wire) {
			wires = append(wires, s.Wire)
			how += ", wire model " + s.Wire
		}
	}
	m := r.Machine
	on := fmt.Sprintf("Linux %s, %s, %s", cmp.Or(m.Kernel, "?"), cmp.Or(m.CPU, "unknown CPU"), plural(m.CPUs, "CPU"))
	if m.Virtual {
		on += ", in a virtual machine"
	}
	return []string{r.Lab + ": " + strings.Join(r.Modes, ", "), how + ". " + on}
}

// notes are what follows from the samples and a reader must know.
func (r *Results) notes() []string {
	var notes []string
	if r.Rounds < r.Asked {
		notes = append(notes, fmt.Sprintf("interrupted: %d of %s finished", r.Rounds, plural(r.Asked, "round")))
	}
	if r.Rounds < MinRounds {
		notes = append(notes, fmt.Sprintf("%s: not enough to rank (needs %d)", plural(r.Rounds, "round"), MinRounds))
	} else if need := roundsToTell(len(r.Modes) - 1); len(r.Modes) > 1 && r.Rounds < need {
		notes = append(notes, fmt.Sprintf("%d rounds cannot tell %d modes apart, however much they differ (needs %d)", r.Rounds, len(r.Modes), need))
	}
	for _, s := range r.Summary {
		if s.Path == "host-host" && s.Differs() {
			notes = append(notes, fmt.Sprintf("control: %s %s differs between hosts in %s and in %s, where nothing differs: do not believe differences of that size (%.3f)",
				s.Measure, name(s.Metric), s.Mode, s.Baseline, *s.Ratio))
		}
	}
	return notes
}

// limits says what the numbers are not.
func (r *Results) limits() string {
	return fmt.Sprintf("A software path on one machine with %s, no network card: values are no network speeds, and only ratios within one wire model mean anything. "+
		"Intervals cover the median with at least 95 %%; p is Wilcoxon's signed-rank test over rounds, corrected after Holm; \"~\" and one tier: not told apart.", plural(r.Machine.CPUs, "CPU"))
}

// proved says in a line what the proof of a mode was.
func (p Proof) proved() string {
	s := fmt.Sprintf("%s: encapsulation %s", p.Mode, p.Encapsulation)
	if p.OK {
		return s + ", seen on " + plural(p.Frames, "frame")
	}
	return s + " promised, but " + p.Detail
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}
