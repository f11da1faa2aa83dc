package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What ranks is fixed beforehand: the cell ranking. Those beside it are read with it, and may order otherwise.
const (
	costMeasure = "path-cost"
	costMetric  = "round trip"
	costWire    = "bare"
	ranking     = "protocol=tcp request=512"
)

var besideRanking = []string{"protocol=tcp request=1400", "protocol=udp request=64"}

// margin is the least difference that matters to anybody, as a share. Where the twin differs by more it is that.
const margin = 0.02

// estimate is a value and the interval that holds it with 95 %, where there are generations enough for one.
type estimate struct {
	value     float64
	low, high *float64
}

// centre estimates the middle of values as the signed-rank test sees it: the median of the means of all pairs (Hodges and
// Lehmann), and the interval of all middles that the test does not refuse. So test and interval agree.
func centre(values []float64) estimate { return centreAt(values, alpha) }

func centreAt(values []float64, level float64) estimate {
	var means []float64
	for i, a := range values {
		for _, b := range values[:i+1] {
			means = append(means, (a+b)/2)
		}
	}
	slices.Sort(means)
	e := estimate{value: median(means)}
	if below := mostBelow(len(values), level); below >= 0 || len(values) >= MinRounds { // or else the widest there is
		below = max(0, below)
		e.low, e.high = &means[below], &means[len(means)-1-below]
	}
	return e
}

// exp turns an estimate of a logarithm into one of a ratio.
func (e estimate) exp() estimate {
	of := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		x := math.Exp(*v)
		return &x
	}
	return estimate{math.Exp(e.value), of(e.low), of(e.high)}
}

// A relation is what may be said of two variants.
type relation int

const (
	open   relation = iota // not told apart, and a difference that matters is not ruled out
	alike                  // no practical difference
	differ                 // told apart, by more than the margin
)

// pair is how the first of two variants stands to the second.
type pair struct {
	ratio    estimate
	p        float64 // corrected over the family
	relation relation
}

// costs is what may be said of path cost in one cell. A generation is a replicate: each has an instance of its own of every
// variant, so that what is compared is free of the luck of one instance. Contrasts are taken within a generation.
//
// All pairs of modes, of the control without rules and every mode, and of the twin and its original are one family of
// signed-rank tests, corrected after Holm: among equals there is at most one chance in twenty that any two are told apart. Below the number of generations
// with which this correction can tell anything at all, nothing is ranked.
type costs struct {
	*series
	ranked      []string // the modes, cheapest first
	tiers       map[string]int
	generations int // that all of the ranked have
	needed      int
	tests       int  // in the family
	impaired    bool // a switch limits, delays or loses packets
	margin      float64
	pairs       map[[2]string]pair
	host        map[int]float64
}

// isCost tells path cost from what is measured in rounds.
func isCost(s Sample) bool { return s.Measure == costMeasure }

// measured are the samples in rounds: everything but path cost.
func (r *Results) measured() []Sample {
	return slices.DeleteFunc(slices.Clone(r.Samples), isCost)
}

// cell returns what was measured of a cell of path cost; it is nil where nothing was.
func (r *Results) cell(path, params string) *series {
	var of []Sample
	for _, s := range r.Samples {
		if isCost(s) && s.Metric == costMetric && s.Path == path && s.Params == params {
			of = append(of, s)
		}
	}
	for _, s := range collect(of) {
		return s
	}
	return nil
}

// left reports whether a mode's work leaves the CPU, so that its numbers are latencies.
func (r *Results) left(mode string) bool {
	return r.PathCost != nil && slices.ContainsFunc(r.PathCost.Left, func(l Left) bool { return l.Mode == mode })
}

// costs judges one cell of path cost.
func (r *Results) costs(params string) *costs {
	s := r.cell("cross-node", params)
	if s == nil {
		return nil
	}
	c := &costs{series: s, tiers: map[string]int{}, margin: margin, pairs: map[[2]string]pair{}, host: map[int]float64{}, impaired: r.PathCost.Impaired != ""}
	if host := r.cell("host-host", params); host != nil {
		for _, of := range host.values {
			c.host = of
		}
	}
	var variants []string
	for _, mode := range r.Modes {
		if s.values[mode] != nil && !r.left(mode) {
			c.ranked = append(c.ranked, mode)
		}
	}
	variants = slices.Clone(c.ranked)
	for _, extra := range []*Twin{r.Twin, r.RuleFree} {
		if extra != nil && s.values[extra.Mode] != nil && slices.Contains(c.ranked, extra.Of) {
			variants = append(variants, extra.Mode)
		}
	}
	c.generations = math.MaxInt
	for _, v := range variants {
		c.generations = min(c.generations, len(s.values[v]))
	}
	if len(variants) == 0 {
		c.generations = 0
	}
	c.compare(variants, r.Twin)
	slices.SortStableFunc(c.ranked, func(a, b string) int { return cmp.Compare(c.middle(a).value, c.middle(b).value) })
	if c.decides() {
		c.rank()
	}
	return c
}

// decides reports whether the numbers are the kernel's work alone, of generations enough for anything to be told apart.
func (c *costs) decides() bool {
	return !c.impaired && len(c.ranked) > 1 && c.generations >= c.needed
}

// compare tests all pairs as one family.
func (c *costs) compare(variants []string, twin *Twin) {
	type test struct {
		of        [2]string
		contrasts []float64
	}
	var tests []test
	var p []float64
	for i, a := range variants {
		for _, b := range variants[:i] {
			if twin != nil && a == twin.Mode && b != twin.Of || twin != nil && b == twin.Mode {
				continue // it is there for its original
			}
			if d := c.contrast(a, b); len(d) > 0 {
				tests, p = append(tests, test{[2]string{a, b}, d}), append(p, wilcoxon(d))
			}
		}
	}
	c.tests, c.needed = len(tests), roundsToTell(max(1, len(tests)))
	if twin != nil {
		if d := c.contrast(twin.Mode, twin.Of); len(d) > 0 {
			c.margin = max(margin, math.Expm1(math.Abs(centre(d).value)))
		}
	}
	for i, adjusted := range holm(p) {
		t := tests[i]
		e := centre(t.contrasts)
		of := pair{ratio: e.exp(), p: adjusted}
		widest := math.Log1p(c.margin)
		switch small := math.Abs(e.value) < widest; {
		case adjusted < alpha && !small:
			of.relation = differ
		case small && (adjusted < alpha || e.low != nil && *e.low > -widest && *e.high < widest):
			of.relation = alike
		}
		c.pairs[t.of] = of
		back := of
		back.ratio = turned(e).exp()
		c.pairs[[2]string{t.of[1], t.of[0]}] = back
	}
}

// logs is the opposite of exp.
func logs(e estimate) estimate {
	of := estimate{value: math.Log(e.value)}
	if e.low != nil {
		low, high := math.Log(*e.low), math.Log(*e.high)
		of.low, of.high = &low, &high
	}
	return of
}

// turned is the estimate of what the other way round is.
func turned(e estimate) estimate {
	of := estimate{value: -e.value}
	if e.low != nil {
		low, high := -*e.high, -*e.low
		of.low, of.high = &low, &high
	}
	return of
}

// rank sets the tiers: the next one begins with the first mode that is told from the best of the tier so far.
func (c *costs) rank() {
	tier, head := 1, ""
	for _, mode := range c.ranked {
		if head == "" {
			head = mode
		} else if c.pairs[[2]string{mode, head}].relation == differ {
			tier, head = tier+1, mode
		}
		c.tiers[mode] = tier
	}
}

// middle is a variant's time for a round trip.
func (c *costs) middle(variant string) estimate {
	if values := c.of(variant); len(values) > 0 {
		return centre(values)
	}
	return estimate{}
}

// above is what a variant takes longer for a round trip than the nodes themselves.
func (c *costs) above(variant string) (e estimate, ok bool) {
	var d []float64
	for _, generation := range rounds(c.values[variant]) {
		if host, ok := c.host[generation]; ok {
			d = append(d, c.values[variant][generation]-host)
		}
	}
	if len(d) == 0 {
		return e, false
	}
	return centre(d), true
}

// over is what one variant takes longer than another for a round trip.
func (c *costs) over(variant, other string) (e estimate, ok bool) {
	var d []float64
	for _, generation := range rounds(c.values[variant]) {
		if v, ok := c.values[other][generation]; ok {
			d = append(d, c.values[variant][generation]-v)
		}
	}
	if len(d) == 0 {
		return e, false
	}
	return centre(d), true
}

// found is the smallest difference between two variants that this run would have told apart in four of five cases.
func (c *costs) found(a, b string) *float64 {
	shift, ok := detectable(c.contrast(a, b), alpha/float64(max(1, c.tests)))
	if !ok {
		return nil
	}
	share := math.Expm1(shift)
	return &share
}

// smallest is the same between neighbours in the ranking, the median of all.
func (c *costs) smallest() (share float64, ok bool) {
	var all []float64
	for i, mode := range c.ranked {
		if i > 0 {
			if s := c.found(mode, c.ranked[i-1]); s != nil {
				all = append(all, *s)
			}
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return median(all), true
}

// costSummaries are the summaries of path cost. Cells of the curve have intervals and no ranks; nor has the twin a tier.
func (r *Results) costSummaries() []Summary {
	var all []Summary
	var of []Sample
	for _, s := range r.Samples {
		if isCost(s) {
			of = append(of, s)
		}
	}
	for _, s := range collect(of) {
		ranked := s.metric == costMetric && s.path == "cross-node" && !strings.Contains(s.params, "curve")
		var c *costs
		if ranked {
			c = r.costs(s.params)
		}
		for _, mode := range s.modes {
			values := s.of(mode)
			e := centre(values)
			m := Summary{
				Mode: mode, Wire: s.wire, Path: s.path, Measure: s.measure, Metric: s.metric, Params: s.params, Unit: s.unit,
				N: len(values), Median: e.value, Low: e.low, High: e.high, Min: slices.Min(values), Max: slices.Max(values), Baseline: r.Baseline,
			}
			if r.Twin != nil && mode == r.Twin.Mode {
				m.Baseline = r.Twin.Of
			}
			if d := s.contrast(mode, m.Baseline); len(d) > 0 && s.ratios && s.metric == costMetric {
				e := centre(d).exp()
				m.Ratio = &e.value
				if mode != m.Baseline {
					m.RatioLow, m.RatioHigh = e.low, e.high
				}
			}
			if c != nil && c.decides() {
				if of, ok := c.pairs[[2]string{mode, m.Baseline}]; ok {
					m.P, m.Detectable = &of.p, c.found(mode, m.Baseline)
				}
				if tier, ok := c.tiers[mode]; ok {
					m.Tier = &tier
				}
			}
			all = append(all, m)
		}
	}
	return all
}

// request is what a cell of path cost says of itself.
type request struct {
	protocol string
	size     int
	connect  bool
	curve    bool
}

func requested(params string) (q request) {
	for _, word := range strings.Fields(params) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "protocol":
			q.protocol = value
		case "request":
			q.size, _ = strconv.Atoi(value)
		case "connect":
			q.connect = true
		case "curve":
			q.curve = true
		}
	}
	return q
}

// String is how a sentence names a cell: 512 bytes of TCP.
func (q request) String() string {
	what := fmt.Sprintf("%s of %s", bytesOf(q.size), strings.ToUpper(q.protocol))
	if q.connect {
		return "a new connection for " + what
	}
	return what
}

func bytesOf(n int) string {
	switch {
	case n >= 4096 && n%1024 == 0:
		return fmt.Sprintf("%d KB", n/1024)
	case n == 1:
		return "1 byte"
	}
	return thousands(strconv.Itoa(n)) + " bytes"
}
