package report

import (
	"fmt"
	"math"
	"strings"
)

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
