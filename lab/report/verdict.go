package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Verdict is what a comparison comes to.
type Verdict struct {
	Decided         bool             `json:"decided"`         // whether the modes are ranked
	Ranks           []Rank           `json:"ranks"`           // cheapest first; empty where nothing is decided
	Sentences       []string         `json:"sentences"`       // three to six, for people
	Recommendations []Recommendation `json:"recommendations"` // on this machine and kernel
}

// Rank is a mode's place by added kernel work per message.
type Rank struct {
	Mode      string   `json:"mode"`
	Tier      int      `json:"tier"`  // 1 costs least; modes of one tier are not told apart from its first
	Added     *float64 `json:"added"` // ns for a round trip, above one between the nodes themselves
	AddedLow  *float64 `json:"added_low"`
	AddedHigh *float64 `json:"added_high"`
	Ratio     *float64 `json:"ratio"` // to the baseline
	RatioLow  *float64 `json:"ratio_low"`
	RatioHigh *float64 `json:"ratio_high"`
	Ties      []string `json:"ties"` // modes that it was not told apart from
	Sentence  string   `json:"sentence"`
}

// verdict derives the verdict from path cost, traits and what is known of capacity.
func (r *Results) verdict() Verdict {
	v := Verdict{Ranks: []Rank{}, Sentences: []string{}, Recommendations: []Recommendation{}}
	c := r.costs(ranking)
	if why := r.undecided(c); why != "" {
		v.Sentences = append(append([]string{why}, r.otherSentences()...), r.growthSentences()...)
		return v
	}
	v.Decided = true
	for _, mode := range c.ranked {
		v.Ranks = append(v.Ranks, r.rank(c, mode))
	}
	v.Sentences = append(v.Sentences, r.orderSentence(c))
	for _, s := range []string{r.rulesSentence(c), r.besideSentence(c), r.capacitySentence(c), r.sureSentence(c)} {
		if s != "" {
			v.Sentences = append(v.Sentences, s)
		}
	}
	v.Sentences = append(v.Sentences, r.growthSentences()...)
	v.Recommendations = append(v.Recommendations, r.recommend(c)...)
	return v
}

// undecided says why nothing is ranked; it is empty where something is.
func (r *Results) undecided(c *costs) string {
	failed := slices.IndexFunc(r.Proof, func(p Proof) bool { return !p.OK })
	switch {
	case failed >= 0:
		return fmt.Sprintf("Nothing is ranked: %s was not on the underlay what it says it is.", r.Proof[failed].Mode)
	case c == nil && r.PathCost == nil:
		return "Nothing is ranked: this recording has no path cost, the measure that ranks. Its numbers are of capacity, and stand below."
	case c == nil || len(c.ranked) == 0:
		return "Nothing is ranked: no generation of path cost was finished."
	case c.impaired:
		return fmt.Sprintf("Nothing is ranked: packets are limited, delayed or lost at %s, so that a round trip is not the kernel's work alone. Path cost is shown; for ranks, compare without rate, delay, jitter and loss.", r.PathCost.Impaired)
	case len(c.ranked) == 1:
		return fmt.Sprintf("Nothing is ranked: the path cost of %s has no other to be held against.", c.ranked[0])
	case !c.decides():
		return fmt.Sprintf("Nothing is ranked: path cost has %s, and it takes %d to tell any two of these %d modes apart.", plural(c.generations, "generation"), c.needed, len(c.ranked))
	}
	return ""
}

func (r *Results) rank(c *costs, mode string) Rank {
	k := Rank{Mode: mode, Tier: c.tiers[mode], Ties: []string{}}
	words := []string{}
	if e, ok := c.above(mode); ok {
		k.Added, k.AddedLow, k.AddedHigh = &e.value, e.low, e.high
		words = append(words, fmt.Sprintf("%s ns above a round trip between nodes (%s)", nanoseconds(e.value), e.spread(nanoseconds)))
	}
	one := 1.0
	if k.Ratio = &one; mode != r.Baseline {
		e := c.pairs[[2]string{mode, r.Baseline}].ratio
		k.Ratio, k.RatioLow, k.RatioHigh = &e.value, e.low, e.high
		words = append(words, fmt.Sprintf("%s of %s (%s)", hundredths(e.value), r.Baseline, e.spread(hundredths)))
	}
	for _, other := range c.ranked {
		if other != mode && c.pairs[[2]string{mode, other}].relation != differ {
			k.Ties = append(k.Ties, other)
		}
	}
	k.Sentence = mode + ": " + strings.Join(words, ", ")
	if len(k.Ties) > 0 {
		k.Sentence += ", not told apart from " + list(k.Ties)
	}
	return k
}

// verdictGrid is the one table of the verdict.
func (r *Results) verdictGrid() grid {
	g := grid{Caption: "Added kernel work per message: 512 bytes of TCP there, a byte back, between pods of two nodes, both ends on one CPU"}
	traits := len(r.Traits) > 0
	g.Header = []string{"mode", "rank", "ns added", "95 %", "to " + r.Baseline, "95 %"}
	if traits {
		g.Header = append(g.Header, "MTU", "bytes", "needs; cannot")
	}
	row := func(mode string, cells ...string) {
		cells = append([]string{mode}, cells...)
		if t, ok := r.trait(mode); ok {
			about := strings.Join(t.Needs, ", ")
			if len(t.Cannot) > 0 {
				about += "; cannot: " + strings.Join(t.Cannot, ", ")
			}
			if r.standsIn(mode) {
				about += " (eBPF stands in for the kernel's own here)"
			}
			cells = append(cells, strconv.Itoa(t.MTU), "+"+strconv.Itoa(t.Bytes), about)
		} else if traits {
			cells = append(cells, "–", "–", "–")
		}
		g.add(cells...)
	}
	for _, k := range r.Verdict.Ranks {
		added, spread := "not measured", "–"
		if k.Added != nil {
			added, spread = nanoseconds(*k.Added), estimate{0, k.AddedLow, k.AddedHigh}.spread(nanoseconds)
		}
		ratio, bounds := "1", "–"
		if k.Mode != r.Baseline {
			ratio, bounds = hundredths(*k.Ratio), estimate{0, k.RatioLow, k.RatioHigh}.spread(hundredths)
		}
		row(k.Mode, strconv.Itoa(k.Tier), added, spread, ratio, bounds)
	}
	if r.PathCost != nil && r.Verdict.Decided {
		for _, l := range r.PathCost.Left {
			row(l.Mode, "latency only", "–", "–", "–", "–")
		}
	}
	return g
}

// spread writes an interval.
func (e estimate) spread(number func(float64) string) string {
	if e.low == nil {
		return "–"
	}
	return number(*e.low) + " – " + number(*e.high)
}

func nanoseconds(v float64) string {
	text := thousands(strconv.FormatFloat(math.Abs(math.Round(v)), 'f', 0, 64))
	if math.Round(v) < 0 {
		return "−" + text
	}
	return text
}

func hundredths(v float64) string {
	if v >= 10 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
