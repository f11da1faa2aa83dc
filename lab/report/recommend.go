package report

import (
	"fmt"
	"slices"
)

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
	Rules   bool     `json:"rules"`    // its nodes have netfilter rules, which packets of the nodes themselves pass as well
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
