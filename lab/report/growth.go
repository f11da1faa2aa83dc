package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Growth is how a number of one mode goes with what is swept. The slope is that of the straight line by least squares within
// each round, the middle of the rounds and its interval; so what a round has in common for all values is no slope.
type Growth struct {
	Sweep   string        `json:"sweep"` // what is swept: mtu
	Mode    string        `json:"mode"`  // vxlan; "vxlan firewall=on" where something else is swept as well
	Wire    string        `json:"wire"`
	Path    string        `json:"path"`
	Measure string        `json:"measure"`
	Metric  string        `json:"metric"`
	Params  string        `json:"params"`
	Unit    string        `json:"unit"`
	N       int           `json:"n"` // rounds that have every value
	Points  []GrowthPoint `json:"points"`
	Shape   string        `json:"shape"` // flat, slope, undecided, not a line, steps, too few rounds

	// Per unit of the swept value. Null where there are too few rounds, or no line.
	Slope     *float64 `json:"slope"`
	SlopeLow  *float64 `json:"slope_low"`
	SlopeHigh *float64 `json:"slope_high"`
	P         *float64 `json:"p"` // of the slope, corrected for the number of curves

	Sentence string `json:"sentence"`

	curves int         // that are judged together
	rounds [][]float64 // by round: the number at every point
	off    int         // the point that lies beside the line
	beside float64     // by how much, in the unit
}

// GrowthPoint is the number at one of the values.
type GrowthPoint struct {
	Value  string   `json:"value"`
	At     *float64 `json:"at"`   // the value as a number; null where it is none
	Mode   string   `json:"mode"` // as the samples call it: "vxlan mtu=9000"
	Middle float64  `json:"middle"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	Change estimate `json:"-"` // from the first of the points
}

// The shapes that a curve can have.
const (
	shapeFlat      = "flat"           // whatever it changes by is within the margin
	shapeSlope     = "slope"          // told from flat
	shapeUndecided = "undecided"      // neither
	shapeBent      = "not a line"     // beside the line by more than the margin, and beyond the noise
	shapeSteps     = "steps"          // the values are no numbers
	shapeFew       = "too few rounds" // points alone
)

func (g Growth) kind() kind { return kind{g.Wire, g.Path, g.Measure, g.Metric, g.Params} }

// of splits "mtu=9000 firewall=on" into the value of what is swept, and the rest.
func (s Swept) of(name string) (value, rest string, ok bool) {
	var others []string
	for _, word := range strings.Fields(s.Values) {
		if v, is := strings.CutPrefix(word, name+"="); is {
			value, ok = v, true
			continue
		}
		others = append(others, word)
	}
	return value, strings.TrimSpace(s.Of + " " + strings.Join(others, " ")), ok
}

// sweeps are the names of what is swept at several values.
func (r *Results) sweeps() (names []string) {
	for _, s := range r.Swept {
		for _, word := range strings.Fields(s.Values) {
			if name, _, ok := strings.Cut(word, "="); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// growths are the curves: of what is ranked by path cost, and of what the other measurements were made for. Those of path
// cost are first, and values that are no numbers last.
func (r *Results) growths() []Growth {
	if len(r.Swept) == 0 {
		return nil
	}
	var all []*series
	for _, s := range r.costSections() {
		all = append(all, s.measured)
	}
	for _, g := range groups(r.sections()) {
		if g.path != "host-host" && !r.limited(g.wire) { // the control, and arithmetic
			all = append(all, g.measured)
		}
		if g.path == "-" { // where nothing was made for the sake of one number
			for _, s := range g.Beside {
				all = append(all, s.measured)
			}
		}
	}
	var curves, steps []Growth
	for _, name := range r.sweeps() {
		for _, s := range all {
			of := r.growth(name, s)
			if len(of) > 0 && of[0].Points[0].At == nil {
				steps = append(steps, of...)
			} else {
				curves = append(curves, of...)
			}
		}
	}
	return append(curves, steps...)
}

// growth are the curves of one kind of numbers, judged as one family.
func (r *Results) growth(name string, s *series) []Growth {
	var all []Growth
	for _, w := range r.Swept {
		value, mode, ok := w.of(name)
		if !ok || s.values[w.Mode] == nil {
			continue
		}
		at := slices.IndexFunc(all, func(g Growth) bool { return g.Mode == mode })
		if at < 0 {
			at = len(all)
			all = append(all, Growth{Sweep: name, Mode: mode, Wire: s.wire, Path: s.path, Measure: s.measure, Metric: s.metric, Params: s.params, Unit: s.unit})
		}
		p := GrowthPoint{Value: value, Mode: w.Mode}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			p.At = &v
		}
		e := centre(s.of(w.Mode))
		p.Middle, p.Low, p.High = e.value, e.low, e.high
		all[at].Points = append(all[at].Points, p)
	}
	all = slices.DeleteFunc(all, func(g Growth) bool { return len(g.Points) < 2 })
	var chances []float64
	for i := range all {
		chances = append(chances, all[i].fit(s))
	}
	for i, p := range holm(chances) {
		all[i].judge(p, len(all))
	}
	return all
}

// fit finds slope and steps, and returns the chance that there is none.
func (g *Growth) fit(s *series) (p float64) {
	numbers := !slices.ContainsFunc(g.Points, func(p GrowthPoint) bool { return p.At == nil })
	if numbers {
		slices.SortFunc(g.Points, func(a, b GrowthPoint) int { return cmp.Compare(*a.At, *b.At) })
	}
	for _, round := range rounds(s.values[g.Points[0].Mode]) {
		var row []float64
		for _, p := range g.Points {
			if v, ok := s.values[p.Mode][round]; ok {
				row = append(row, v)
			}
		}
		if len(row) == len(g.Points) {
			g.rounds = append(g.rounds, row)
		}
	}
	if g.N = len(g.rounds); g.N == 0 {
		return 1
	}
	for i := range g.Points {
		g.Points[i].Change = centre(g.each(func(row []float64) float64 { return row[i] - row[0] }))
	}
	if !numbers {
		g.Shape = shapeSteps
		return 1
	}
	slopes := g.each(g.slope)
	e := centre(slopes)
	g.Slope, g.SlopeLow, g.SlopeHigh = &e.value, e.low, e.high
	return wilcoxon(slopes)
}

func (g *Growth) each(f func(row []float64) float64) (all []float64) {
	for _, row := range g.rounds {
		all = append(all, f(row))
	}
	return all
}

// means are those of a round: of the swept values, and of the numbers.
func (g *Growth) means(row []float64) (x, y float64) {
	for i, p := range g.Points {
		x, y = x+*p.At, y+row[i]
	}
	return x / float64(len(row)), y / float64(len(row))
}

// slope is that of the line through a round.
func (g *Growth) slope(row []float64) float64 {
	x, y := g.means(row)
	var with, of float64
	for i, p := range g.Points {
		d := *p.At - x
		with, of = with+d*(row[i]-y), of+d*d
	}
	return with / of
}

// judge says what shape the curve has, of so many that are judged together.
func (g *Growth) judge(p float64, curves int) {
	switch {
	case g.N < roundsToTell(curves):
		g.curves, g.Shape, g.Slope, g.SlopeLow, g.SlopeHigh = curves, shapeFew, nil, nil, nil
	case g.Shape == shapeSteps:
	case g.bent(alpha / float64(curves)):
		g.Shape, g.Slope, g.SlopeLow, g.SlopeHigh = shapeBent, nil, nil, nil
	default:
		g.P = &p
		switch within := g.within(); {
		case within <= margin*g.size():
			g.Shape = shapeFlat
		case p < alpha:
			g.Shape = shapeSlope
		default:
			g.Shape = shapeUndecided
		}
	}
	g.Sentence = g.sentence()
}

// bent reports whether a point lies beside the line: by more than the margin, in the median of the rounds, and so often on
// the same side that the signed-rank test tells it from noise, corrected for the number of points.
func (g *Growth) bent(level float64) bool {
	var chances []float64
	var by []float64
	for i, p := range g.Points {
		residuals := g.each(func(row []float64) float64 {
			x, y := g.means(row)
			return row[i] - y - g.slope(row)*(*p.At-x)
		})
		chances, by = append(chances, wilcoxon(residuals)), append(by, centre(residuals).value)
	}
	for i, p := range holm(chances) {
		if p < level && math.Abs(by[i]) > margin*g.size() && math.Abs(by[i]) > math.Abs(g.beside) {
			g.off, g.beside = i, by[i]
		}
	}
	return g.beside != 0
}

// canBend reports whether enough rounds and points are there for a bend to be seen.
func (g *Growth) canBend() bool {
	return len(g.Points) > 2 && g.N >= roundsToTell(len(g.Points))
}

// size is what the margin is a share of.
func (g *Growth) size() float64 {
	var all []float64
	for _, p := range g.Points {
		all = append(all, math.Abs(p.Middle))
	}
	return median(all)
}

// span is how far the swept values reach.
func (g *Growth) span() float64 { return *g.Points[len(g.Points)-1].At - *g.Points[0].At }

// within is the most that the number changes by over the whole sweep, as far as this run can tell.
func (g *Growth) within() float64 {
	return max(math.Abs(*g.SlopeLow), math.Abs(*g.SlopeHigh)) * g.span()
}

// share is a part of the number, in words.
func (g *Growth) share(v float64) string {
	if size := g.size(); size > 0 {
		return ", " + percent(v/size)
	}
	return ""
}

// amount writes a number with its unit.
func (g *Growth) amount(v float64) string { return strings.TrimSpace(g.number(v) + " " + g.Unit) }

// number writes three digits, of what is counted as many as there are.
func (g *Growth) number(v float64) string {
	if g.Unit == "" || g.Unit == "bytes" {
		if text := grown(v); strings.Contains(text, ".") {
			return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
		}
	}
	return grown(v)
}

// grown writes three digits, or the digits of a whole number.
func grown(v float64) string {
	text := significant(math.Abs(v))
	if v < 0 && strings.ContainsAny(text, "123456789") {
		return "−" + text
	}
	return text
}

// sentence says what the curve means.
func (g *Growth) sentence() string {
	first, last := g.Points[0], g.Points[len(g.Points)-1]
	over := fmt.Sprintf("from %s %s to %s", g.Sweep, first.Value, last.Value)
	even := ""
	if g.Shape == shapeSlope && !g.canBend() {
		even = "; whether evenly, " + plural(len(g.Points), "value") + " in " + plural(g.N, "round") + " do not show"
	}
	switch g.Shape {
	case shapeFew:
		return fmt.Sprintf("%s: no slope: %s with every value, and it takes %d", g.Mode, plural(g.N, "round"), roundsToTell(g.curves))
	case shapeSteps:
		var steps []string
		for _, p := range g.Points[1:] {
			e := p.Change
			switch {
			case e.low == nil || *e.low <= 0 && *e.high >= 0:
				steps = append(steps, fmt.Sprintf("%s not told from %s: %s (%s)", p.Value, first.Value, g.amount(e.value), e.spread(g.number)))
			case e.value < 0:
				steps = append(steps, fmt.Sprintf("%s is %s less than %s (%s)", p.Value, g.amount(-e.value), first.Value, turned(e).spread(g.number)))
			default:
				steps = append(steps, fmt.Sprintf("%s is %s more than %s (%s)", p.Value, g.amount(e.value), first.Value, e.spread(g.number)))
			}
		}
		return fmt.Sprintf("%s, %s: %s", g.Mode, g.Sweep, strings.Join(steps, "; "))
	case shapeBent:
		side := "above"
		if g.beside < 0 {
			side = "below"
		}
		return fmt.Sprintf("%s: not a straight line %s, so it has no slope: at %s it is %s%s, %s the line that fits best", g.Mode, over, g.Points[g.off].Value,
			g.amount(math.Abs(g.beside)), g.share(math.Abs(g.beside)), side)
	case shapeFlat:
		return fmt.Sprintf("%s: flat within ± %s%s, %s", g.Mode, g.amount(g.within()), g.share(g.within()), over)
	case shapeUndecided:
		return fmt.Sprintf("%s: not told from flat, nor from a change of %s%s, %s", g.Mode, g.amount(g.within()), g.share(g.within()), over)
	}
	how, e := "grows", estimate{*g.Slope, g.SlopeLow, g.SlopeHigh}
	if e.value < 0 {
		how, e = "falls", turned(e)
	}
	return fmt.Sprintf("%s: %s by %s (%s) per unit of %s, %s%s", g.Mode, how, g.amount(e.value), e.spread(g.number), g.Sweep, over, even)
}
