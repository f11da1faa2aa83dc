package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// sizeCurve is what a round trip takes by the size of its request: over one protocol, of every mode.
type sizeCurve struct {
	protocol string
	modes    []sizes
}

// sizes are the points of one mode, ascending, and what they come to.
type sizes struct {
	mode   string
	points []point
	fit    *fit
	why    string // there is no fit
}

type point struct {
	size int
	time estimate // ns
	wide estimate // its interval when all points of a mode are to be right together
	of   map[int]float64
}

// fit is a round trip in three terms: so much a message, a packet on the wire, and a KB. The intervals are over generations.
type fit struct {
	message, packet, kb estimate
	worst               float64 // the largest residual, as a share of its point
}

// sizeCurves are made of the points of the curve and of the cells that rank, between pods of two nodes.
func (r *Results) sizeCurves() []sizeCurve {
	var of []Sample
	for _, s := range r.Samples {
		if isCost(s) && s.Metric == costMetric && s.Path == "cross-node" && !requested(s.Params).connect {
			of = append(of, s)
		}
	}
	var all []sizeCurve
	for _, protocol := range []string{"tcp", "udp"} {
		c := sizeCurve{protocol: protocol}
		for _, mode := range r.Modes {
			m := sizes{mode: mode}
			for _, s := range collect(of) {
				if q := requested(s.params); q.protocol == protocol && len(s.values[mode]) > 0 {
					m.points = append(m.points, point{size: q.size, time: centre(s.of(mode)), of: s.values[mode]})
				}
			}
			if len(m.points) < 2 {
				continue
			}
			slices.SortFunc(m.points, func(a, b point) int { return a.size - b.size })
			for i := range m.points {
				p := &m.points[i]
				p.wide = centreAt(values(p.of), alpha/float64(len(m.points)))
			}
			m.fit, m.why = m.fitted(r.perPacket(mode, protocol))
			c.modes = append(c.modes, m)
		}
		if len(c.modes) > 0 {
			all = append(all, c)
		}
	}
	return all
}

func values(of map[int]float64) []float64 {
	var all []float64
	for _, round := range rounds(of) {
		all = append(all, of[round])
	}
	return all
}

// perPacket returns how many packets a message of some size is on the wire. A TCP segment's MSS is known; a UDP datagram is
// cut into fragments of the MTU that leaves room for that segment and its headers, of 8 bytes or a multiple each.
func (r *Results) perPacket(mode, protocol string) func(size int) float64 {
	mss := r.PathCost.mss(mode)
	if mss <= 0 {
		return nil
	}
	if protocol == "tcp" {
		return func(size int) float64 { return math.Ceil(float64(max(1, size)) / float64(mss)) }
	}
	room := mss + 32 // TCP's header with its time stamps
	for _, e := range r.Endpoints {
		if e.Mode == mode && strings.Contains(e.FromAddress, ":") {
			room -= 8 // the fragment header
		}
	}
	return func(size int) float64 {
		if size+8 <= room {
			return 1
		}
		return math.Ceil(float64(size+8) / float64(room/8*8))
	}
}

// fitted fits the three terms, each point weighing as its share. Where a residual exceeds the interval of its point the model
// is not what happens, and there is no fit.
func (m sizes) fitted(packets func(int) float64) (*fit, string) {
	if packets == nil || len(m.points) < 4 {
		return nil, "too few sizes"
	}
	terms, ok := m.terms(packets, func(p point) (float64, bool) { return p.time.value, true })
	if !ok {
		return nil, "too few sizes"
	}
	f := &fit{}
	var outside float64 // the largest residual that exceeds its interval
	var why string
	for _, p := range m.points {
		is := terms[0] + terms[1]*packets(p.size) + terms[2]*float64(p.size)/1024
		if p.wide.low == nil {
			return nil, "too few generations for intervals"
		}
		residual := is/p.time.value - 1
		f.worst = max(f.worst, math.Abs(residual))
		if (is < *p.wide.low || is > *p.wide.high) && math.Abs(residual) > math.Abs(outside) {
			outside, why = residual, fmt.Sprintf("at %s it is off by %s, more than the interval", bytesOf(p.size), percent(residual))
		}
	}
	if why != "" {
		return nil, why
	}
	var of [3][]float64
	for _, generation := range rounds(m.points[0].of) {
		t, ok := m.terms(packets, func(p point) (float64, bool) { v, ok := p.of[generation]; return v, ok })
		if ok {
			for i := range t {
				of[i] = append(of[i], t[i])
			}
		}
	}
	if len(of[0]) < MinRounds {
		return nil, "too few generations for intervals"
	}
	f.message, f.packet, f.kb = centre(of[0]), centre(of[1]), centre(of[2])
	return f, ""
}

// terms solves the normal equations of weighted least squares.
func (m sizes) terms(packets func(int) float64, at func(point) (float64, bool)) (t [3]float64, ok bool) {
	var a [3][4]float64
	for _, p := range m.points {
		y, known := at(p)
		if !known || y <= 0 {
			return t, false
		}
		x := [4]float64{1 / y, packets(p.size) / y, float64(p.size) / 1024 / y, 1}
		for i := range 3 {
			for j := range 4 {
				a[i][j] += x[i] * x[j]
			}
		}
	}
	for i := range 3 {
		pivot := i
		for j := i; j < 3; j++ {
			if math.Abs(a[j][i]) > math.Abs(a[pivot][i]) {
				pivot = j
			}
		}
		a[i], a[pivot] = a[pivot], a[i]
		if math.Abs(a[i][i]) < 1e-18 {
			return t, false
		}
		for j := range 3 {
			if j != i {
				by := a[j][i] / a[i][i]
				for k := range 4 {
					a[j][k] -= by * a[i][k]
				}
			}
		}
	}
	for i := range t {
		t[i] = a[i][3] / a[i][i]
	}
	return t, true
}

// fitGrid says what a message, a packet and a KB cost, or why in no mode they do.
func (c sizeCurve) fitGrid() grid {
	if !slices.ContainsFunc(c.modes, func(m sizes) bool { return m.fit != nil }) {
		g := grid{Caption: strings.ToUpper(c.protocol) + ": no fit in three terms, for a message, a packet and a KB", Header: []string{"mode", "why not"}}
		for _, m := range c.modes {
			g.add(m.mode, m.why)
		}
		return g
	}
	g := grid{Caption: strings.ToUpper(c.protocol) + ": a round trip in three terms, ns", Header: []string{"mode", "a message", "95 %", "a packet", "95 %", "a KB", "95 %", "largest residual"}}
	for _, m := range c.modes {
		if m.fit == nil {
			g.add(m.mode, "no fit", "–", "–", "–", "–", "–", m.why)
			continue
		}
		g.add(m.mode, nanoseconds(m.fit.message.value), m.fit.message.spread(nanoseconds), nanoseconds(m.fit.packet.value), m.fit.packet.spread(nanoseconds),
			nanoseconds(m.fit.kb.value), m.fit.kb.spread(nanoseconds), percent(m.fit.worst))
	}
	return g
}

// sizeGrid has the time of every size.
func (c sizeCurve) sizeGrid() grid {
	g := grid{Caption: strings.ToUpper(c.protocol) + ": a round trip by the size of its request, µs", Header: []string{"request"}}
	var all []int
	for _, m := range c.modes {
		g.Header = append(g.Header, m.mode)
		for _, p := range m.points {
			if !slices.Contains(all, p.size) {
				all = append(all, p.size)
			}
		}
	}
	slices.Sort(all)
	for _, size := range all {
		row := []string{bytesOf(size)}
		for _, m := range c.modes {
			at := slices.IndexFunc(m.points, func(p point) bool { return p.size == size })
			if at < 0 {
				row = append(row, "–")
				continue
			}
			t := m.points[at].time
			text := significant(t.value / 1000)
			if t.low != nil {
				text += fmt.Sprintf(" (%s – %s)", significant(*t.low/1000), significant(*t.high/1000))
			}
			row = append(row, text)
		}
		g.add(row...)
	}
	return g
}

// costPlot draws a round trip against the size of its request, both axes logarithmic. Around the size of a full segment, where
// the steps are, the axis is stretched.
type costPlot struct {
	curves
	Fit      grid
	Steps    []step
	From, To float64 // of what is stretched
}

// step is the size of a full segment.
type step struct {
	tick
	Y int // of its words
}

// What is stretched, and by how much.
const stretchFrom, stretchTo, stretchBy = 1300, 1500, 60

// Middle is where what is stretched has its middle, and Stretch how wide it is.
func (p costPlot) Middle() float64  { return (p.From + p.To) / 2 }
func (p costPlot) Stretch() float64 { return p.To - p.From }

// Depth is how high the plot is.
func (p costPlot) Depth() int { return p.Bottom - 8 }

func (r *Results) costPlot(c sizeCurve) costPlot {
	p := costPlot{curves: curves{
		ID: "cost-" + c.protocol, Title: "Round trip by size of the request, " + strings.ToUpper(c.protocol) + " [µs]",
		Width: curveWidth, Height: costHeight, Left: curveLeft, Right: curveRight, Bottom: costBottom, Table: c.sizeGrid(),
	}, Fit: c.fitGrid()}
	low, high, most := math.Inf(1), 0.0, 1
	var words []string
	for _, m := range c.modes {
		for _, at := range m.points {
			low, high, most = min(low, at.time.value/1000), max(high, at.time.value/1000), max(most, at.size)
		}
		first, last := m.points[0], m.points[len(m.points)-1]
		words = append(words, fmt.Sprintf("%s from %s µs at %s to %s µs at %s", m.mode, significant(first.time.value/1000), bytesOf(first.size), significant(last.time.value/1000), bytesOf(last.size)))
	}
	p.Desc = strings.Join(words, "; ")
	p.X = axis{low: 0, high: sizeScale(most), from: curveLeft, to: curveRight}
	for _, size := range []int{1, 8, 64, 512, stretchFrom, stretchTo, 16384, 65536} {
		if size <= most && !(size == 1 && c.protocol == "udp") {
			p.X.Ticks = append(p.X.Ticks, tick{p.X.x(sizeScale(size)), shortBytes(size)})
		}
	}
	p.Y = logarithmic(low/1.1, high*1.1, costBottom, 52)
	p.From, p.To = p.X.x(sizeScale(stretchFrom)), p.X.x(sizeScale(stretchTo))
	for _, m := range c.modes {
		line := curve{Name: m.mode, Number: slices.Index(r.rows(), m.mode)}
		var points, band []string
		for _, at := range m.points {
			x := p.X.x(sizeScale(at.size))
			points = append(points, fmt.Sprintf("%g,%g", x, p.y(at.time.value)))
			if at.time.low != nil {
				band = append(band, fmt.Sprintf("M%g %gV%g", x, p.y(*at.time.low), p.y(*at.time.high)))
			}
		}
		line.Points, line.Bars = strings.Join(points, " "), strings.Join(band, "")
		p.Lines = append(p.Lines, line)
		if mss := r.PathCost.mss(m.mode); mss > 0 && c.protocol == "tcp" {
			x := p.X.x(sizeScale(mss))
			if !slices.ContainsFunc(p.Steps, func(t step) bool { return t.At == x }) {
				p.Steps = append(p.Steps, step{tick: tick{x, strconv.Itoa(mss)}})
			}
		}
	}
	slices.SortFunc(p.Steps, func(a, b step) int { return cmp.Compare(a.At, b.At) })
	for i := range p.Steps { // in two rows, so that neighbours can be read
		p.Steps[i].Y = 34 + 12*(i%2)
	}
	p.name()
	return p
}

// y places a time; what lies beyond the plot is put at its edge.
func (p costPlot) y(ns float64) float64 {
	return p.Y.x(min(max(math.Log10(ns/1000), p.Y.low), p.Y.high))
}

// sizeScale places sizes.
func sizeScale(size int) float64 {
	s := float64(max(1, size))
	return math.Log2(s) + (stretchBy-1)*(math.Log2(min(max(s, stretchFrom), stretchTo))-math.Log2(stretchFrom))
}

func shortBytes(n int) string {
	if n >= 4096 {
		return fmt.Sprintf("%d KB", n/1024)
	}
	return thousands(strconv.Itoa(n))
}

// costSections are the cells of path cost that are ranked, each with every generation.
func (r *Results) costSections() []section {
	var of []Sample
	for _, s := range r.Samples {
		if isCost(s) && s.Metric == costMetric && s.Path == "cross-node" && !requested(s.Params).curve {
			of = append(of, s)
		}
	}
	var all []section
	for _, s := range collect(of) {
		sec := section{kind: s.kind, measured: s}
		for _, m := range r.Summary {
			if m.kind() == s.kind {
				sec.Modes = append(sec.Modes, m)
			}
		}
		sec.fill(r.Baseline)
		sec.Title = fmt.Sprintf("%s, a round trip [%s]", upperFirst(requested(s.params).String()), s.unit)
		all = append(all, sec)
	}
	return all
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
