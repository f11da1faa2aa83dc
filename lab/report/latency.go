package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

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
	type of struct {
		kind
		mode string
	}
	var all []latency
	merged := map[of]map[float64]float64{}
	for _, h := range r.Histograms {
		k := kind{h.Wire, h.Path, h.Measure, "", h.Params}
		i := slices.IndexFunc(all, func(l latency) bool { return l.kind == k })
		if i < 0 {
			i = len(all)
			all = append(all, latency{kind: k})
		}
		at := of{k, h.Mode}
		if merged[at] == nil {
			merged[at] = map[float64]float64{}
			all[i].modes = append(all[i].modes, distribution{mode: h.Mode, unit: h.Unit})
		}
		for _, c := range h.Counts {
			merged[at][c[0]] += c[1]
		}
	}
	for _, l := range all {
		for i := range l.modes {
			d := &l.modes[i]
			counts := merged[of{l.kind, d.mode}]
			for _, v := range slices.Sorted(maps.Keys(counts)) {
				if n := counts[v]; n > 0 {
					d.counts = append(d.counts, [2]float64{v, n})
					d.total += n
				}
			}
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
	Table           grid
}

type curve struct {
	Name   string
	Number int // of the mode, for its colour and dashes
	Points string
	Bars   string  // a path of intervals
	EndY   float64 // where its name stands
}

func (r *Results) curves(id string, l latency) curves {
	c := curves{ID: id, Title: l.String() + " latency", Width: curveWidth, Height: curveHeight, Left: curveLeft, Right: curveRight, Bottom: curveBottom}
	unit := ""
	low, high, nines := math.Inf(1), 0.0, 1.0
	c.Table = grid{Caption: "Percentiles of " + l.String() + ", wire model " + l.wire, Header: []string{"mode"}}
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
		c.Table.add(append(row, thousands(strconv.FormatFloat(d.total, 'f', 0, 64)))...)
		if len(d.counts) > 0 {
			low, high = min(low, d.counts[0][0]), max(high, d.counts[0][0])
		}
	}
	c.Desc = strings.Join(words, "; ")
	c.Title += " [" + unit + "]"
	if low = max(low, 1e-6); math.IsInf(low, 1) { // no distribution has values enough
		low = 1
	}
	if high <= low {
		high = 2 * low
	}
	c.X = axis{low: 0, high: nines, from: curveLeft, to: curveRight}
	for _, p := range append([]float64{0}, percentiles...) {
		if at := -math.Log10(1 - p/100); at <= nines+1e-9 {
			c.X.Ticks = append(c.X.Ticks, tick{c.X.x(at), "p" + strconv.FormatFloat(p, 'f', -1, 64)})
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
		middle := (below + count[1]/2) / d.total // a value stands for those rounded to it
		below += count[1]
		if d.total-below < behind {
			break
		}
		if at := -math.Log10(1 - middle); at <= nines {
			if point := fmt.Sprintf("%g,%g", c.X.x(at), c.Y.x(math.Log10(max(count[0], 1e-6)))); point != last {
				b.WriteString(point + " ")
				last = point
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
	const line = 16
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
				a.Ticks = append(a.Ticks, tick{a.x(v), trimmed(math.Pow(10, v))})
			}
		}
	}
	return a
}
