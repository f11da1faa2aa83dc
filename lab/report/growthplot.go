package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// growthPlot draws the curves of one kind of numbers over what is swept, from zero, so that what is flat looks flat. Values
// that are no numbers are not drawn, but stand in the table.
type growthPlot struct {
	curves
	Drawn     bool
	Sentences []string
}

// growthPlots are one for each kind of numbers and each sweep.
func (r *Results) growthPlots() (all []growthPlot) {
	for from := 0; from < len(r.Growth); {
		to := from
		for to < len(r.Growth) && r.Growth[to].kind() == r.Growth[from].kind() && r.Growth[to].Sweep == r.Growth[from].Sweep {
			to++
		}
		all = append(all, plotGrowth(fmt.Sprintf("growth-%d", len(all)), r.Growth[from:to]))
		from = to
	}
	return all
}

func plotGrowth(id string, of []Growth) growthPlot {
	p := growthPlot{curves: curves{
		ID: id, Title: growthTitle(of[0]), Width: curveWidth, Height: curveHeight, Left: curveLeft, Right: curveRight, Bottom: curveBottom, Table: growthGrid(of),
	}, Drawn: true}
	left, right, low, high := math.Inf(1), math.Inf(-1), 0.0, 0.0
	var words []string
	for _, g := range of {
		p.Sentences = append(p.Sentences, g.Sentence)
		for _, at := range g.Points {
			if at.At == nil {
				p.Drawn = false
				continue
			}
			left, right = min(left, *at.At), max(right, *at.At)
			low, high = min(low, at.Middle), max(high, at.Middle)
			if at.High != nil {
				low, high = min(low, *at.Low), max(high, *at.High)
			}
		}
		first, last := g.Points[0], g.Points[len(g.Points)-1]
		words = append(words, fmt.Sprintf("%s from %s at %s to %s at %s", g.Mode, g.number(first.Middle), first.Value, g.number(last.Middle), last.Value))
	}
	if p.Desc = strings.Join(words, "; "); !p.Drawn {
		return p
	}
	p.X, p.Y = axis{low: left, high: right, from: curveLeft + 24, to: curveRight - 24}, linear(low, high, curveBottom, 12)
	for i, g := range of {
		line := curve{Name: g.Mode, Number: i % colours}
		var points []string
		for _, at := range g.Points {
			x := p.X.x(*at.At)
			points = append(points, fmt.Sprintf("%g,%g", x, p.Y.x(at.Middle)))
			if at.Low != nil {
				line.Bars += fmt.Sprintf("M%g %gV%g", x, p.Y.x(*at.Low), p.Y.x(*at.High))
			}
			p.mark(tick{x, at.Value})
		}
		line.Points = strings.Join(points, " ")
		p.Lines = append(p.Lines, line)
	}
	p.name()
	return p
}

// mark puts a value at the axis, unless it would stand upon another.
func (p *growthPlot) mark(t tick) {
	const apart = 44
	if !slices.ContainsFunc(p.X.Ticks, func(o tick) bool { return math.Abs(o.At-t.At) < apart }) {
		p.X.Ticks = append(p.X.Ticks, t)
	}
}

// growthTitle names what grows with what.
func growthTitle(g Growth) string {
	what := g.kind().String()
	if g.Measure == costMeasure {
		what = "path cost, " + requested(g.Params).String() + ", a round trip"
	}
	if g.Wire != "" && g.Measure != costMeasure {
		what += ", wire model " + g.Wire
	}
	if g.Unit != "" {
		what += " [" + g.Unit + "]"
	}
	return fmt.Sprintf("%s, by %s", upperFirst(strings.TrimSpace(strings.TrimPrefix(what, "- "))), g.Sweep)
}

// growthGrid has a row for every mode: the number at each value, and the slope.
func growthGrid(of []Growth) grid {
	g := grid{Caption: growthTitle(of[0]), Header: []string{"mode"}}
	var values []string
	for _, c := range of {
		for _, p := range c.Points {
			if !slices.Contains(values, p.Value) {
				values = append(values, p.Value)
			}
		}
	}
	numbers := !slices.ContainsFunc(of, func(c Growth) bool { return c.Points[0].At == nil })
	if numbers {
		number := func(v string) float64 { f, _ := strconv.ParseFloat(v, 64); return f }
		slices.SortFunc(values, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	}
	for _, v := range values {
		g.Header = append(g.Header, of[0].Sweep+" "+v)
	}
	if numbers {
		g.Header = append(g.Header, "per unit", "95 %", "shape")
	}
	for _, c := range of {
		row := []string{c.Mode}
		for _, v := range values {
			text := "–"
			if at := slices.IndexFunc(c.Points, func(p GrowthPoint) bool { return p.Value == v }); at >= 0 {
				p := c.Points[at]
				if text = c.number(p.Middle); p.Low != nil {
					text += fmt.Sprintf(" (%s – %s)", c.number(*p.Low), c.number(*p.High))
				}
			}
			row = append(row, text)
		}
		switch {
		case !numbers:
		case c.Slope == nil:
			row = append(row, "–", "–", c.Shape)
		default:
			row = append(row, c.number(*c.Slope), estimate{0, c.SlopeLow, c.SlopeHigh}.spread(c.number), c.Shape)
		}
		g.add(row...)
	}
	return g
}

// growthSentences are what the number that ranks does over a sweep, for the verdict.
func (r *Results) growthSentences() (all []string) {
	for _, name := range r.sweeps() {
		var of []string
		for _, g := range r.Growth {
			if g.Sweep == name && g.Measure == costMeasure && g.Params == ranking {
				of = append(of, g.Sentence)
			}
		}
		if len(of) > 0 {
			all = append(all, fmt.Sprintf("How path cost goes with %s: %s.", name, strings.Join(of, "; ")))
		}
	}
	return all
}
