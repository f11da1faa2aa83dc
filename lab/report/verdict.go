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

// Recommendation says which of the modes compared suits a situation, and costs least.
type Recommendation struct {
	Situation string   `json:"situation"`
	Modes     []string `json:"modes"` // more than one were not told apart
	Sentence  string   `json:"sentence"`
}

// Trait is what a mode needs and is good for besides its cost, as it was planned.
type Trait struct {
	Mode    string   `json:"mode"`
	Bytes   int      `json:"bytes"`    // that it adds to a packet on the wire
	MTU     int      `json:"mtu"`      // of the pods
	Routed  bool     `json:"routed"`   // nodes may be behind routers
	IPv6    bool     `json:"ipv6"`     // pods may have IPv6 addresses
	LAN     bool     `json:"lan"`      // pods are machines of the underlay's segment
	BGP     bool     `json:"bgp"`      // routers may learn from it where pods are
	OwnPods bool     `json:"own_pods"` // a node reaches its own pods
	Needs   []string `json:"needs"`    // of the underlay
	Cannot  []string `json:"cannot"`
}

func (r *Results) trait(mode string) (Trait, bool) {
	i := slices.IndexFunc(r.Traits, func(t Trait) bool { return t.Mode == mode })
	if i < 0 {
		return Trait{}, false
	}
	return r.Traits[i], true
}

// standsIn reports whether eBPF programs stand in for what this kernel lacks: their cost says nothing of the kernel's own.
func (r *Results) standsIn(mode string) bool {
	return slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Mode == mode && s.Datapath == "ebpf" })
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

// otherSentences are what can be said where nothing is ranked.
func (r *Results) otherSentences() []string {
	var all []string
	if r.Rounds >= MinRounds {
		told, judged := 0, 0
		for _, m := range r.Summary {
			if m.Measure != costMeasure && m.Path == "cross-node" && m.Tier != nil && m.Mode != m.Baseline && of(m.Metric).leads {
				judged++
				if m.Differs() {
					told++
				}
			}
		}
		if judged > 0 {
			all = append(all, fmt.Sprintf("Capacity between pods of two nodes tells a mode from %s in %d of %s.", r.Baseline, told, plural(judged, "number")))
		}
	} else if r.Rounds > 0 {
		all = append(all, fmt.Sprintf("Capacity has %s, a first look: it takes %d to compare by it.", plural(r.Rounds, "round"), MinRounds))
	}
	return all
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

// orderSentence is the ranking in words.
func (r *Results) orderSentence(c *costs) string {
	var tiers []string
	for from := 0; from < len(c.ranked); {
		to := from
		for to < len(c.ranked) && c.tiers[c.ranked[to]] == c.tiers[c.ranked[from]] {
			to++
		}
		tiers = append(tiers, c.together(c.ranked[from:to]))
		from = to
	}
	s := "Added kernel work per message, from least to most: " + strings.Join(tiers, "; ")
	cheapest, dearest := c.ranked[0], c.ranked[len(c.ranked)-1]
	low, ok := c.above(cheapest)
	high, ok2 := c.above(dearest)
	switch {
	case !ok || !ok2:
	case low.low != nil && *low.low <= 0:
		s += fmt.Sprintf(". %s adds nothing that could be told from zero to a round trip between the nodes themselves, and %s %s ns", cheapest, dearest, nanoseconds(high.value))
	default:
		s += fmt.Sprintf(". To a round trip between the nodes themselves %s adds %s ns, and %s %s", cheapest, nanoseconds(low.value), dearest, nanoseconds(high.value))
	}
	if r.PathCost != nil {
		for _, l := range r.PathCost.Left {
			s += fmt.Sprintf(". %s is not ranked: its work leaves the CPU that is measured", l.Mode)
		}
	}
	return s + "."
}

// together names modes of one tier, and says why they share it.
func (c *costs) together(modes []string) string {
	if len(modes) == 1 {
		return modes[0]
	}
	why := "no practical difference"
	for i, a := range modes {
		for _, b := range modes[:i] {
			if c.pairs[[2]string{a, b}].relation == open {
				why = "not told apart"
			}
		}
	}
	return list(modes) + " (" + why + ")"
}

// rulesSentence splits what a mode costs into its path and its firewall's rules.
func (r *Results) rulesSentence(c *costs) string {
	if r.RuleFree == nil || c.values[r.RuleFree.Mode] == nil {
		return ""
	}
	of, free := r.RuleFree.Of, r.RuleFree.Mode
	rules, ok := c.over(of, free)
	at, tested := c.pairs[[2]string{of, free}]
	if !ok || !tested {
		return ""
	}
	if at.relation != differ {
		how := "was not told apart from it"
		if at.relation == alike {
			how = "is no practical difference from it"
		}
		return fmt.Sprintf("%s without its firewall rules %s: %s (%s).", of, how, hundredths(1/at.ratio.value), turned(logs(at.ratio)).exp().spread(hundredths))
	}
	s := fmt.Sprintf("%s's firewall rules are %s ns of it (%s)", of, nanoseconds(rules.value), rules.spread(nanoseconds))
	if above, ok := c.above(of); ok {
		s = fmt.Sprintf("Of %s's %s ns, its firewall rules are %s (%s)", of, nanoseconds(above.value), nanoseconds(rules.value), rules.spread(nanoseconds))
	}
	var like []string
	for _, mode := range c.ranked {
		if mode != of && c.pairs[[2]string{free, mode}].relation == alike {
			like = append(like, mode)
		}
	}
	if len(like) > 0 {
		s += fmt.Sprintf("; its path alone is no practical difference from %s", list(like))
	}
	return s + "."
}

func (of relation) String() string {
	return [...]string{open: "not told apart", alike: "no practical difference", differ: "told apart"}[of]
}

// besideSentence says where the cells beside the one that ranks order the modes otherwise.
func (r *Results) besideSentence(c *costs) string {
	var same, other []string
	for _, params := range besideRanking {
		with := r.costs(params)
		if with == nil || !with.decides() {
			continue
		}
		var turned []string
		for i, cheap := range c.ranked {
			for _, dear := range c.ranked[i+1:] {
				here, there := c.pairs[[2]string{cheap, dear}], with.pairs[[2]string{cheap, dear}]
				if here.relation == differ && there.relation == differ && there.ratio.value > 1 {
					turned = append(turned, fmt.Sprintf("%s costs less than %s", dear, cheap))
				}
			}
		}
		what := requested(params)
		var cut, factors []string
		for _, mode := range with.ranked {
			if mss := r.PathCost.mss(mode); what.protocol == "tcp" && mss > 0 && mss < what.size && mode != r.Baseline {
				cut = append(cut, mode)
				factors = append(factors, hundredths(with.pairs[[2]string{mode, r.Baseline}].ratio.value))
			}
		}
		if len(cut) > 0 {
			turned = append(turned, fmt.Sprintf("the message is two packets in %s: %s times %s's cost", list(cut), list(factors), r.Baseline))
		}
		if len(turned) > 0 {
			other = append(other, fmt.Sprintf("With %s %s", what, few(turned)))
		} else {
			same = append(same, what.String())
		}
	}
	if len(same) > 0 {
		other = append(other, fmt.Sprintf("%s rank no two modes the other way round", list(same)))
	}
	return ended(other)
}

func (p *PathCost) mss(mode string) int {
	if p == nil {
		return 0
	}
	return p.MSS[mode]
}

// capacitySentence says where the modes' capacity orders them otherwise than their cost.
func (r *Results) capacitySentence(c *costs) string {
	var against, kinds []string
	pairs, told := 0, 0
	var lead []section
	for _, g := range groups(r.sections()) {
		if g.path == "cross-node" && g.ranked && !r.limited(g.wire) {
			lead = append(lead, g.section)
		}
	}
	for _, s := range lead {
		tiers := map[string]int{}
		for _, m := range s.Modes {
			if m.Tier != nil {
				tiers[m.Mode] = *m.Tier
			}
		}
		before := len(against)
		for i, cheap := range c.ranked {
			for _, dear := range c.ranked[i+1:] {
				if c.pairs[[2]string{cheap, dear}].relation != differ || tiers[cheap] == 0 || tiers[dear] == 0 {
					continue
				}
				pairs++
				if tiers[cheap] != tiers[dear] {
					told++
				}
				if tiers[cheap] > tiers[dear] {
					against = append(against, fmt.Sprintf("%s is ahead of %s in %s", dear, cheap, s.kind.short()))
				}
			}
		}
		if len(against) > before {
			kinds = append(kinds, s.kind.short())
		}
	}
	switch {
	case len(lead) == 0:
		return ""
	case len(against) == 0:
		return fmt.Sprintf("Capacity on two CPUs (%s) contradicts no pair of this order: it tells %d of %s apart.", plural(len(lead), "measure"), told, plural(pairs, "pair"))
	case len(against) <= 3:
		return "Capacity orders otherwise than cost: " + list(against) + "."
	}
	return fmt.Sprintf("Capacity orders otherwise than cost in %s: %s, and %d pairs more.", list(kinds), against[0], len(against)-1)
}

// short names a kind of numbers in a sentence.
func (k kind) short() string {
	return strings.Join(strings.Fields(k.measure+" "+k.params), " ") + " (" + k.wire + ")"
}

// sureSentence says how sure all this is.
func (r *Results) sureSentence(c *costs) string {
	var words []string
	if r.Twin != nil {
		if at, ok := c.pairs[[2]string{r.Twin.Mode, r.Twin.Of}]; ok {
			words = append(words, fmt.Sprintf("%s differs from %s by %s", r.Twin.Mode, r.Twin.Of, percent(math.Abs(at.ratio.value-1))))
		}
	}
	if share, ok := c.smallest(); ok {
		words = append(words, fmt.Sprintf("between neighbours in this order this run would have found %s in four of five cases", percent(share)))
	}
	words = append(words, fmt.Sprintf("less than %s is called no practical difference", percent(c.margin)))
	return fmt.Sprintf("How sure: %s; %s.", plural(c.generations, "generation"), strings.Join(words, "; "))
}

// situations are what people have, and which modes suit it.
var situations = []struct {
	name  string
	suits func(Trait) bool
}{
	{"nodes on one segment", func(t Trait) bool { return !t.LAN && t.OwnPods }},
	{"nodes behind routers", func(t Trait) bool { return t.Routed }},
	{"IPv6", func(t Trait) bool { return t.IPv6 && !t.LAN && t.OwnPods }},
	{"pods as machines of the LAN", func(t Trait) bool { return t.LAN }},
	{"routers that speak BGP", func(t Trait) bool { return t.BGP }},
}

// recommend names the modes that suit a situation and cost least. Stand-ins are left out: they are not what a cluster has.
func (r *Results) recommend(c *costs) []Recommendation {
	if len(r.Traits) == 0 {
		return nil
	}
	var all []Recommendation
	for _, s := range situations {
		var suit, stand []string
		for _, mode := range c.ranked {
			t, known := r.trait(mode)
			switch {
			case !known || !s.suits(t):
			case r.standsIn(mode):
				stand = append(stand, mode)
			default:
				suit = append(suit, mode)
			}
		}
		m := Recommendation{Situation: s.name, Modes: []string{}}
		aside := ""
		if len(stand) > 0 {
			aside = fmt.Sprintf("; %s cannot be judged here, where eBPF stands in for the kernel's own", list(stand))
		}
		if len(suit) == 0 {
			m.Sentence = "none of the modes compared" + aside
			all = append(all, m)
			continue
		}
		best := suit[0]
		for _, mode := range suit {
			if mode == best || c.pairs[[2]string{mode, best}].relation != differ {
				m.Modes = append(m.Modes, mode)
			}
		}
		m.Sentence = c.together(m.Modes)
		if next := len(m.Modes); next < len(suit) {
			at := slices.IndexFunc(suit, func(mode string) bool { return !slices.Contains(m.Modes, mode) })
			m.Sentence += fmt.Sprintf(": the next, %s, costs %s times as much", suit[at], hundredths(c.pairs[[2]string{suit[at], best}].ratio.value))
		} else if len(suit) == 1 {
			m.Sentence += ", the only one compared that suits"
		}
		m.Sentence += aside
		all = append(all, m)
	}
	return all
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

// list joins names as a sentence does.
func list(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}

// few joins clauses, of many the first two.
func few(clauses []string) string {
	if len(clauses) > 3 {
		return fmt.Sprintf("%s, and in %d cases more", strings.Join(clauses[:2], ", "), len(clauses)-2)
	}
	return list(clauses)
}

func ended(sentences []string) string {
	if len(sentences) == 0 {
		return ""
	}
	return strings.Join(sentences, ". ") + "."
}
