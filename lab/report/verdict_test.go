package report

import (
	"slices"
	"strings"
	"testing"
)

func said(v Verdict) string {
	all := slices.Clone(v.Sentences)
	for _, s := range v.Recommendations {
		all = append(all, s.Situation+": "+s.Sentence)
	}
	return strings.Join(all, "\n")
}

// A comparison with path cost is decided, and says what it comes to.
func TestVerdict(t *testing.T) {
	v := withCost(full(), 14).Verdict
	text := said(v)
	t.Log("\n" + text)
	if !v.Decided {
		t.Fatal("nothing is decided")
	}
	var order []string
	for _, k := range v.Ranks {
		order = append(order, k.Mode)
	}
	if got := strings.Join(order, " "); got != "macvlan bgp host-gw ipip vxlan udp" {
		t.Errorf("the order is %s", got)
	}
	if n := len(v.Sentences); n < 3 || n > 6 {
		t.Errorf("%d sentences", n)
	}
	for _, want := range []string{
		"from least to most: macvlan; bgp; host-gw; ipip; vxlan; udp",
		"its path alone is no practical difference from bgp",
		"the message is two packets in vxlan",
		"14 generations",
		"nodes on one segment: bgp:",
		"nodes behind routers: vxlan:",
		"ipip cannot be judged here, where eBPF stands in",
		"pods as machines of the LAN: macvlan, the only one compared that suits",
		"routers that speak BGP: bgp",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the verdict does not say %q", want)
		}
	}
	if strings.Contains(text, "faster") {
		t.Error("path cost is no speed")
	}
	for _, m := range v.Recommendations {
		if slices.Contains(m.Modes, "ipip") {
			t.Errorf("a stand-in is recommended: %+v", m)
		}
	}
}

// What is ranked is what can be decided.
func TestUndecided(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(*Results)
	}{
		{"an older recording", "this recording has no path cost", func(r *Results) {
			r.PathCost, r.RuleFree = nil, nil
			r.Samples = r.measured()
		}},
		{"too few generations", "path cost has 9 generations, and it takes 10", func(r *Results) {
			r.Samples = slices.DeleteFunc(r.Samples, func(s Sample) bool { return isCost(s) && s.Round > 9 })
		}},
		{"no generation", "no generation of path cost was finished", func(r *Results) { r.Samples = r.measured() }},
		{"a proof that failed", "vxlan was not on the underlay what it says it is", func(r *Results) {
			for i := range r.Proof {
				r.Proof[i].OK = r.Proof[i].OK && r.Proof[i].Mode != "vxlan"
			}
		}},
		{"a wire that delays", "packets are limited, delayed or lost at lan", func(r *Results) { r.PathCost.Impaired = "lan" }},
		{"one mode", "no other to be held against", func(r *Results) {
			r.Modes, r.Twin, r.RuleFree = []string{"host-gw"}, nil, nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := withCost(full(), 14)
			tt.change(r)
			r.Derive()
			if v := r.Verdict; v.Decided || len(v.Ranks) > 0 || len(v.Recommendations) > 0 || !strings.Contains(said(v), tt.want) {
				t.Errorf("%v, %d ranks:\n%s", v.Decided, len(v.Ranks), said(v))
			}
			for _, s := range r.Summary {
				if s.Measure == costMeasure && s.Tier != nil && slices.Contains([]string{"too few generations", "a wire that delays"}, tt.name) {
					t.Errorf("%s has a rank", s.Mode)
				}
			}
		})
	}
}

// A mode whose work leaves the CPU is shown, and not ranked.
func TestLeftIsNotRanked(t *testing.T) {
	r := withCost(full(), 14)
	r.PathCost.Left = []Left{{Mode: "udp", Elsewhere: 1.2}}
	r.Derive()
	if slices.ContainsFunc(r.Verdict.Ranks, func(k Rank) bool { return k.Mode == "udp" }) || !strings.Contains(said(r.Verdict), "udp is not ranked") {
		t.Error(said(r.Verdict))
	}
	if text := render(t, r, "text", false); !strings.Contains(text, "latency only") {
		t.Error("the table does not show it")
	}
}

// The fit finds the terms that the points were made of, over both protocols; and where a message costs something that the
// terms do not know, there is none.
func TestFit(t *testing.T) {
	r := withCost(full(), 14)
	for _, c := range r.sizeCurves() {
		for _, m := range c.modes {
			want := map[string][3]float64{"host-gw": {14600, 6900, 1640}, "vxlan": {14800, 10900, 1720}}[m.mode]
			if want[0] == 0 {
				continue
			}
			if c.protocol == "udp" {
				want[0] -= 2500
			}
			if m.fit == nil {
				t.Errorf("%s, %s: no fit: %s", c.protocol, m.mode, m.why)
				continue
			}
			for i, e := range []estimate{m.fit.message, m.fit.packet, m.fit.kb} {
				if e.value < 0.93*want[i] || e.value > 1.07*want[i] {
					t.Errorf("%s, %s: term %d is %.0f, not %.0f", c.protocol, m.mode, i, e.value, want[i])
				}
			}
		}
	}
	for i := range r.Samples {
		if s := &r.Samples[i]; isCost(*s) && s.Metric == costMetric && requested(s.Params).size == 16384 {
			s.Value *= 1.3
		}
	}
	for _, c := range r.sizeCurves() {
		for _, m := range c.modes {
			if m.fit != nil || !strings.Contains(m.why, "more than the interval") {
				t.Errorf("%s, %s: a fit of what is none: %s", c.protocol, m.mode, m.why)
			}
		}
	}
}
