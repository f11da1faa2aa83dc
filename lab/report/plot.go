package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of plots, in pixels.
const (
	plotLeft   = 170 // where names end and the axis begins
	plotRight  = 700
	plotWidth  = 720
	plotLane   = 28 // a mode's height
	plotBottom = 26 // for the axis

	curveHeight = 260
	curveLeft   = 60
	curveRight  = 560 // the names of the curves follow

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

// dots shows every round of every mode as a dot, a value of note as a line and an interval as a bar. Unless it is asked
// for, the axis does not begin at zero: dots are compared by place, not by length.
type dots struct {
	ID, Title, Desc string
	Width, Height   int
	Bottom          int // where the axis lies
	Lanes           []lane
	Axis            axis
}

type lane struct {
	Name string
	Y    int
	Line float64
	Low  float64
	Span float64 // of the bar; 0 is none
	Dots []dot
}

type dot struct {
	X     float64
	Y     int
	Title string
}

// reading is what a lane shows, before it has an axis.
type reading struct {
	name      string
	line      float64
	low, high *float64
	values    []value
}

type value struct {
	round int // 0 is none
	v     float64
}

func newDots(id, title, desc string, zero bool, readings []reading, number func(float64) string) dots {
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
	if zero {
		low = min(low, 0)
	}
	bottom := len(readings) * plotLane
	d := dots{ID: id, Title: title, Desc: desc, Width: plotWidth, Height: bottom + plotBottom, Bottom: bottom, Axis: linear(low, high, plotLeft, plotRight)}
	for i, r := range readings {
		l := lane{Name: r.name, Y: i*plotLane + plotLane/2, Line: d.Axis.x(r.line)}
		if r.low != nil {
			l.Low = d.Axis.x(*r.low)
			l.Span = math.Round(10*(d.Axis.x(*r.high)-l.Low)) / 10
		}
		for _, v := range r.values {
			at := dot{X: d.Axis.x(v.v), Y: l.Y, Title: number(v.v)}
			if v.round > 0 {
				at.Y += (v.round%5 - 2) * 3 // spread, so that equal values are seen to be several
				at.Title = fmt.Sprintf("round %d: %s", v.round, at.Title)
			}
			l.Dots = append(l.Dots, at)
		}
		d.Lanes = append(d.Lanes, l)
	}
	return d
}

// plot shows a section's rounds.
func (r *Results) plot(id string, s section) dots {
	var readings []reading
	var words []string
	for _, m := range s.Modes {
		of := reading{name: m.Mode, line: m.Median, low: m.Low, high: m.High}
		for _, sample := range r.Samples {
			if sample.Mode == m.Mode && sample.kind() == s.kind {
				of.values = append(of.values, value{sample.Round, sample.Value})
			}
		}
		readings = append(readings, of)
		words = append(words, fmt.Sprintf("%s: median %s, from %s to %s", m.Mode, s.number(m.Median), s.number(m.Min), s.number(m.Max)))
	}
	return newDots(id, s.label(), strings.Join(words, "; "), s.metric == "cpu", readings, func(v float64) string { return s.number(v) + " " + s.Modes[0].Unit })
}

// expectation shows what was measured beside what arithmetic says.
func (r *Results) expectation() dots {
	var readings []reading
	var words []string
	for _, e := range r.Expected {
		of := reading{name: e.Mode, line: e.Ratio}
		for _, s := range r.Summary {
			if s.Mode == e.Mode && s.kind() == (kind{e.Wire, e.Path, e.Measure, e.Metric, e.Params}) && s.Ratio != nil {
				of.low, of.high = s.RatioLow, s.RatioHigh
				of.values = []value{{0, *s.Ratio}}
				words = append(words, fmt.Sprintf("%s: expected %.4f, measured %.4f", e.Mode, e.Ratio, *s.Ratio))
			}
		}
		readings = append(readings, of)
	}
	return newDots("expected", "expected ratio as a line, measured as a dot with its interval", strings.Join(words, "; "), false, readings,
		func(v float64) string { return fmt.Sprintf("%.4f", v) })
}

// distribution is the latencies of a mode over all rounds: histograms are merged, percentiles never averaged.
type distribution struct {
	mode   string
	unit   string
	counts [][2]float64 // ascending
	total  float64
}

// behind is how many values have to lie beyond a percentile before it is shown: with fewer it is one of the largest few.
const behind = 10

// percentiles are those that are shown.
var percentiles = []float64{50, 90, 99, 99.9, 99.99}

func (d distribution) percentile(p float64) (v float64, ok bool) {
	if d.total*(1-p/100) < behind {
		return 0, false
	}
	below := 0.0
	for _, c := range d.counts {
		if below += c[1]; below >= d.total*p/100 {
			return c[0], true
		}
	}
	return 0, false
}

// latency is the distributions of one measurement, by mode.
type latency struct {
	kind
	modes []distribution
}

func (r *Results) latencies() []latency {
	var all []latency
	merged := map[string]map[float64]float64{}
	for _, h := range r.Histograms {
		k := kind{h.Wire, h.Path, h.Measure, "", h.Params}
		i := slices.IndexFunc(all, func(l latency) bool { return l.kind == k })
		if i < 0 {
			i = len(all)
			all = append(all, latency{kind: k})
		}
		key := fmt.Sprint(k, h.Mode)
		if merged[key] == nil {
			merged[key] = map[float64]float64{}
			all[i].modes = append(all[i].modes, distribution{mode: h.Mode, unit: h.Unit})
		}
		for _, c := range h.Counts {
			merged[key][c[0]] += c[1]
		}
	}
	for _, l := range all {
		for i := range l.modes {
			d := &l.modes[i]
			for v, n := range merged[fmt.Sprint(l.kind, d.mode)] {
				if n > 0 {
					d.counts = append(d.counts, [2]float64{v, n})
					d.total += n
				}
			}
			slices.SortFunc(d.counts, func(a, b [2]float64) int { return cmp.Compare(a[0], b[0]) })
		}
	}
	return all
}

// curves shows latency percentiles, the tail stretched: every nine is as wide as the one before it.
type curves struct {
	ID, Title, Desc string
	Width, Height   int
	Left, Right     int
	Bottom          int
	X, Y            axis
	Lines           []curve
	Table           htmlTable
}

type curve struct {
	Name   string
	Number int // of the mode, for its colour and dashes
	Points string
	EndY   float64 // where its name stands
}

func (r *Results) curves(id string, l latency) curves {
	c := curves{ID: id, Title: l.String() + " latency", Width: plotWidth, Height: curveHeight, Left: curveLeft, Right: curveRight, Bottom: curveHeight - plotBottom}
	unit := ""
	low, high, nines := math.Inf(1), 0.0, 1.0
	c.Table = htmlTable{Caption: "Latency percentiles over all rounds, " + l.String(), Header: []string{"mode"}}
	for _, p := range percentiles {
		c.Table.Header = append(c.Table.Header, "p"+strconv.FormatFloat(p, 'f', -1, 64))
	}
	c.Table.Header = append(c.Table.Header, "transactions")
	var words []string
	for _, d := range l.modes {
		unit = d.unit
		row := []string{d.mode}
		for _, p := range percentiles {
			v, ok := d.percentile(p)
			if !ok {
				row = append(row, "")
				continue
			}
			row = append(row, significant(v))
			nines = max(nines, -math.Log10(1-p/100))
			low, high = min(low, v), max(high, v)
			if p == 50 || p == 99 {
				words = append(words, fmt.Sprintf("%s p%g %s", d.mode, p, significant(v)))
			}
		}
		c.Table.add(append(row, thousands(strconv.FormatFloat(d.total, 'f', 0, 64))))
		if len(d.counts) > 0 {
			low, high = min(low, d.counts[0][0]), max(high, d.counts[0][0])
		}
	}
	c.Desc = strings.Join(words, "; ")
	c.Title += " [" + unit + "]"
	if low = max(low, 1e-6); high <= low {
		high = 2 * low
	}
	c.X = axis{low: 0, high: nines, from: curveLeft, to: curveRight}
	for _, p := range append([]float64{0}, percentiles...) {
		if at := -math.Log10(1 - p/100); at <= nines+1e-9 {
			c.X.Ticks = append(c.X.Ticks, tick{c.X.x(at), strconv.FormatFloat(p, 'f', -1, 64) + " %"})
		}
	}
	c.Y = logarithmic(low, high, float64(c.Bottom), 12)
	for _, d := range l.modes {
		c.Lines = append(c.Lines, curve{Name: d.mode, Number: slices.Index(r.rows(), d.mode), Points: c.points(d, nines)})
	}
	c.name()
	return c
}

// points walks up the distribution, as far as there are values enough beyond.
func (c *curves) points(d distribution, nines float64) string {
	var b strings.Builder
	below, last := 0.0, ""
	for _, count := range d.counts {
		share := below / d.total
		below += count[1]
		if d.total-below < behind {
			break
		}
		for _, s := range []float64{share, below / d.total} {
			if at := -math.Log10(1 - s); at <= nines {
				if point := fmt.Sprintf("%g,%g", c.X.x(at), c.Y.x(math.Log10(count[0]))); point != last {
					b.WriteString(point + " ")
					last = point
				}
			}
		}
	}
	return strings.TrimSpace(b.String())
}

// name puts the names at the ends of their curves, from top to bottom, none upon another.
func (c *curves) name() {
	order := make([]*curve, 0, len(c.Lines))
	for i := range c.Lines {
		l := &c.Lines[i]
		l.EndY = float64(c.Bottom)
		if at := strings.LastIndexByte(l.Points, ','); at >= 0 {
			l.EndY, _ = strconv.ParseFloat(l.Points[at+1:], 64)
		}
		order = append(order, l)
	}
	slices.SortStableFunc(order, func(a, b *curve) int { return cmp.Compare(a.EndY, b.EndY) })
	const line = 14
	for i := 1; i < len(order); i++ {
		order[i].EndY = max(order[i].EndY, order[i-1].EndY+line)
	}
	for i := len(order) - 1; i >= 0; i-- { // up again where that went below the bottom
		lowest := float64(c.Bottom)
		if i < len(order)-1 {
			lowest = order[i+1].EndY - line
		}
		order[i].EndY = min(order[i].EndY, lowest)
	}
}

// logarithmic makes an axis of decimal logarithms with ticks at 1, 2 and 5.
func logarithmic(low, high, from, to float64) axis {
	a := axis{low: math.Log10(low) - 0.02, high: math.Log10(high) + 0.02, from: from, to: to}
	for e := math.Floor(a.low); e <= a.high; e++ {
		for _, f := range []float64{1, 2, 5} {
			if v := e + math.Log10(f); v >= a.low && v <= a.high {
				a.Ticks = append(a.Ticks, tick{a.x(v), significant(math.Pow(10, v))})
			}
		}
	}
	return a
}

// significant writes three digits of a number.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(math.Abs(v))+1e-9)))
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return thousands(s)
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
		p := panels{Title: fmt.Sprintf("%s [%s], from 0 to %s, over %s s", k, unit, significant(most), significant(longest))}
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
