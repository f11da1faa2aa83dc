package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of plots, in pixels.
const (
	stripWidth  = 330 // of a mode's rounds beside its numbers
	stripHeight = 28
	stripMargin = 18 // for the ends of the axis' words

	markWidth  = 92 // of a ratio in the overview
	markHeight = 10

	curveWidth  = 960
	curveHeight = 330
	curveLeft   = 56
	curveRight  = 780 // the names of the curves follow
	curveBottom = 304

	costHeight = 460
	costBottom = 424

	colours = 8 // that tell curves apart

	panelWidth  = 220
	panelHeight = 90
)

// axis maps values to pixels.
type axis struct {
	low, high, from, to float64
	Ticks               []tick
}

type tick struct {
	At   float64
	Text string
}

// linear makes an axis with round ends and ticks.
func linear(low, high, from, to float64) axis {
	step := tickStep(high - low)
	low, high = math.Floor(low/step)*step, math.Ceil(high/step)*step
	if high == low {
		high += step
	}
	a := axis{low: low, high: high, from: from, to: to}
	decimals := max(0, -int(math.Floor(math.Log10(step))))
	for i := 0; i <= int(math.Round((high-low)/step)); i++ {
		v := low + float64(i)*step
		a.Ticks = append(a.Ticks, tick{a.x(v), thousands(strconv.FormatFloat(v, 'f', decimals, 64))})
	}
	return a
}

func (a axis) x(v float64) float64 {
	return math.Round(10*(a.from+(v-a.low)/(a.high-a.low)*(a.to-a.from))) / 10
}

// tickStep returns a round distance of which about five make the span.
func tickStep(span float64) float64 {
	if span <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, factor := range []float64{1, 2, 5} {
		if span/(unit*factor) <= 6 {
			return unit * factor
		}
	}
	return unit * 10
}

// strip shows what a row of a table says: every round as a dot, a value of note as a line and an interval as a bar. The
// strips of a table share an axis, which does not begin at zero unless it is asked for: dots are compared by place, not by
// length.
type strip struct {
	Title, Desc   string
	Width, Height int
	Grid          string  // a path along the axis' ticks
	Base          float64 // where the baseline is; 0 is nowhere
	Line          float64
	Low, Span     float64 // of the bar; no span is no bar
	Beyond        string  // a path where the line lies beyond the axis
	Dots          []dot
}

type dot struct {
	X, Y  float64
	Title string
}

// stripRow is what a strip shows, before it has an axis.
type stripRow struct {
	name      string
	line      float64
	low, high *float64
	values    []value
}

type value struct {
	round int // 0 is none
	v     float64
}

// strips draws readings upon a common axis.
func strips(readings []stripRow, base *float64, zero bool, number func(float64) string) ([]strip, *axis) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range readings {
		for _, v := range r.values {
			low, high = min(low, v.v), max(high, v.v)
		}
		low, high = min(low, r.line), max(high, r.line)
		if r.low != nil {
			low, high = min(low, *r.low), max(high, *r.high)
		}
	}
	if len(readings) == 0 {
		return nil, nil
	}
	if zero {
		low = min(low, 0)
	}
	a := linear(low, high, stripMargin, stripWidth-stripMargin)
	grid := ""
	for _, t := range a.Ticks {
		grid += fmt.Sprintf("M%g 0v%d", t.At, stripHeight)
	}
	var all []strip
	for _, r := range readings {
		s := strip{Title: r.name, Width: stripWidth, Height: stripHeight, Grid: grid, Line: a.x(r.line)}
		if base != nil {
			s.Base = a.x(*base)
		}
		if r.low != nil {
			s.Low = a.x(*r.low)
			s.Span = math.Round(10*(a.x(*r.high)-s.Low)) / 10
		}
		var words []string
		for _, v := range r.values {
			at := dot{X: a.x(v.v), Y: stripHeight / 2, Title: number(v.v)}
			words = append(words, at.Title)
			if v.round > 0 {
				at.Y += float64(v.round%5-2) * 3.5 // spread, so that equal values are seen to be several
				at.Title = fmt.Sprintf("round %d: %s", v.round, at.Title)
			}
			s.Dots = append(s.Dots, at)
		}
		s.Desc = strings.Join(words, ", ")
		all = append(all, s)
	}
	return all, &a
}

// rounds draws every round of a section's modes.
func (s section) rounds() ([]strip, *axis) {
	var readings []stripRow
	var base *float64
	for _, m := range s.Modes {
		of := stripRow{name: m.Mode + ", every round", line: m.Median, low: m.Low, high: m.High}
		for _, round := range rounds(s.measured.values[m.Mode]) {
			of.values = append(of.values, value{round, s.measured.values[m.Mode][round]})
		}
		if m.Mode == m.Baseline {
			base = &m.Median
		}
		readings = append(readings, of)
	}
	return strips(readings, base, of(s.metric).processor, s.number)
}

// expectation draws what was measured beside what arithmetic says.
func (r *Results) expectation() ([]strip, *axis) {
	var readings []stripRow
	for _, e := range r.Expected {
		of := stripRow{name: e.Mode + ", measured", line: e.Ratio}
		for _, s := range r.Summary {
			if s.Mode == e.Mode && s.kind() == (kind{e.Wire, e.Path, e.Measure, e.Metric, e.Params}) && s.Ratio != nil {
				of.low, of.high = s.RatioLow, s.RatioHigh
				of.values = []value{{0, *s.Ratio}}
			}
		}
		readings = append(readings, of)
	}
	return strips(readings, nil, false, func(v float64) string { return fmt.Sprintf("%.4f", v) })
}

// marks draws the ratios of a column of the overview, on a logarithmic axis from half the baseline to twice of it. A mode
// without a ratio has none.
func (c column) marks(modes []string) []*strip {
	a := axis{low: -math.Ln2, high: math.Ln2, from: 6, to: markWidth - 6}
	at := func(ratio float64) float64 { return a.x(min(max(math.Log(ratio), a.low), a.high)) }
	marks := make([]*strip, len(modes))
	for _, m := range c.Modes {
		i := slices.Index(modes, m.Mode)
		if i < 0 || m.Ratio == nil || m.Mode == m.Baseline || !c.ranked {
			continue
		}
		s := &strip{Width: markWidth, Height: markHeight, Base: at(1), Line: at(*m.Ratio)}
		if m.RatioLow != nil {
			s.Low = at(*m.RatioLow)
			s.Span = math.Round(10*(at(*m.RatioHigh)-s.Low)) / 10
		}
		switch l := math.Log(*m.Ratio); {
		case l < a.low:
			s.Beyond = fmt.Sprintf("M5 0L0 %dL5 %d", markHeight/2, markHeight)
		case l > a.high:
			s.Beyond = fmt.Sprintf("M%d 0l5 %dl-5 %d", markWidth-5, markHeight/2, markHeight/2)
		}
		marks[i] = s
	}
	return marks
}

// significant writes three digits of a number.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	return thousands(strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(math.Abs(v))+1e-9))), 64))
}

// trimmed writes no zeros at the end.
func trimmed(v float64) string {
	s := significant(v)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// panels shows how a number went during each measurement: one panel a mode, one line a round, one scale for all.
type panels struct {
	Title  string
	Panels []panel
}

type panel struct {
	ID, Title, Desc string
	Name            string
	Width, Height   int
	Most            string
	Lines           []string
}

func (r *Results) panels(prefix string, wire string) []panels {
	type key struct {
		kind
		mode string
	}
	var order []kind
	byMode := map[key][]Series{}
	for _, s := range r.Series {
		k := kind{s.Wire, s.Path, s.Measure, s.Metric, s.Params}
		if s.Wire != wire || len(s.Values) < 2 {
			continue
		}
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
		byMode[key{k, s.Mode}] = append(byMode[key{k, s.Mode}], s)
	}
	var all []panels
	for _, k := range order {
		most, longest, unit := 0.0, 0.0, ""
		for _, mode := range r.rows() {
			for _, s := range byMode[key{k, mode}] {
				most, longest, unit = max(most, slices.Max(s.Values)), max(longest, s.Step*float64(len(s.Values)-1)), s.Unit
			}
		}
		if most <= 0 || longest <= 0 {
			continue
		}
		p := panels{Title: fmt.Sprintf("%s: from 0 to %s %s, over %s s", k, trimmed(most), unit, trimmed(longest))}
		for i, mode := range r.rows() {
			runs := byMode[key{k, mode}]
			if len(runs) == 0 {
				continue
			}
			of := panel{ID: fmt.Sprintf("%s-%d-%d", prefix, len(all), i), Name: mode, Width: panelWidth, Height: panelHeight, Title: k.String() + " over time, " + mode}
			least, top := math.Inf(1), 0.0
			for _, s := range runs {
				var points []string
				for j, v := range s.Values {
					least, top = min(least, v), max(top, v)
					x := float64(j) * s.Step / longest * panelWidth
					y := panelHeight - 2 - max(0, v)/most*(panelHeight-4)
					points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
				}
				of.Lines = append(of.Lines, strings.Join(points, " "))
			}
			of.Desc = fmt.Sprintf("%s, values between %s and %s %s", plural(len(runs), "run"), significant(least), significant(top), unit)
			p.Panels = append(p.Panels, of)
		}
		all = append(all, p)
	}
	return all
}
