package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labnet/lab/nft"
)

// ports is a ruleset whose one chain accepts these ports, in this order.
func ports(list []int) *nft.Ruleset {
	r := nft.NewRuleset(nft.IPv4, "t")
	r.Base("c", "filter", nft.Forward, nft.PriorityFilter)
	for _, p := range list {
		r.Rule("c", nft.Is("tcp dport", p), nft.Then(nft.Accept))
	}
	for i := range r.Rules {
		r.Rules[i].Handle = uint64(100 + i)
	}
	return r
}

// replaced makes the changes of a chain as the kernel would: what goes is named by its handle, what changes keeps its place,
// and what comes is put at its place among those before it.
func replaced(t *testing.T, rules []nft.Rule, changes []Change) []nft.Rule {
	at := func(handle uint64) int {
		i := slices.IndexFunc(rules, func(r nft.Rule) bool { return r.Handle == handle })
		if i < 0 {
			t.Fatalf("no rule has the handle %d", handle)
		}
		return i
	}
	rules = slices.Clone(rules)
	for _, c := range changes {
		r := c.Object.(ChainRule)
		made := r.Rule()
		made.Handle = 0
		switch c.Op {
		case Delete:
			i := at(r.Handle)
			rules = slices.Delete(rules, i, i+1)
		case Update:
			rules[at(c.Before.(ChainRule).Handle)] = made
		case Create:
			if r.Place > len(rules) {
				t.Fatalf("rule %d comes where there are %d", r.Place, len(rules))
			}
			rules = slices.Insert(rules, r.Place, made)
		}
	}
	return rules
}

// TestRulesAreFoundAgain: whatever a chain has become, the changes lead to what is wanted, and what is wanted and there is
// left alone: no more rules are made than are missing.
func TestRulesAreFoundAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var want, is []int
		for range random.IntN(12) {
			want = append(want, random.IntN(20))
		}
		is = slices.Clone(want)
		for range random.IntN(5) {
			switch i := random.IntN(len(is) + 1); random.IntN(3) {
			case 0:
				is = slices.Insert(is, i, random.IntN(20))
			case 1:
				if i < len(is) {
					is = slices.Delete(is, i, i+1)
				}
			case 2:
				if i < len(is) {
					is[i] = random.IntN(20)
				}
			}
		}
		desired, actual := &State{}, &State{}
		desired.AddRuleset("n", ports(want))
		kernel := ports(is)
		actual.Add(Recognise("n", kernel, Firewall("n", ports(want)))...)
		changes := Diff(actual, desired)
		got := replaced(t, kernel.Rules, changes)
		kept, whole := 0, ports(want).Rules
		for i, r := range got {
			if i >= len(want) || r.Exprs != whole[i].Exprs {
				t.Fatalf("from %v to %v: %v", is, want, changes)
			}
			if r.Handle != 0 {
				kept++
			}
		}
		if len(got) != len(want) {
			t.Fatalf("from %v to %v come %d rules: %v", is, want, len(got), changes)
		}
		if least := longest(is, want); kept != least {
			t.Fatalf("from %v to %v %d rules are kept, and %d could be", is, want, kept, least)
		}
	}
}

// TestWordsWhereNeeded: rules that are put into words only where they are compared by them are paired as when all are beforehand,
// whichever way they were compiled.
func TestWordsWhereNeeded(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	// Of each pair of programs the second says what the first does, for those that nft(8) writes alike.
	program := func(n int) nft.Exprs {
		switch n {
		case 0, 1: // one with a target of iptables, of which words do not say all
			return nft.Build(nft.IPv4, nft.Mark(uint32(n), 1))
		case 2, 3:
			accept := nft.Build(nft.IPv4, nft.Then(nft.Accept))
			if n == 3 { // loads a register that nobody reads
				accept = nft.Pack(nft.Meta{Key: 3, Dreg: 1}) + accept
			}
			return accept
		}
		return nft.Build(nft.IPv4, nft.Is("tcp dport", n), nft.Then(nft.Accept))
	}
	chain := func() (rules []ChainRule) {
		for i := range random.IntN(8) {
			rules = append(rules, ChainRule{Family: nft.IPv4, Exprs: program(random.IntN(6)), Place: i, Handle: uint64(random.IntN(100))})
		}
		return rules
	}
	sets := setNamed{}
	if one, two := sets.say(ChainRule{Exprs: program(2)}), sets.say(ChainRule{Exprs: program(3)}); one.Exprs == two.Exprs || !one.says(two) {
		t.Fatal("no two programs say the same")
	}
	calls, rules := 0, 0
	for range 3000 {
		actual, want := chain(), chain()
		if random.IntN(2) == 0 {
			want = slices.Clone(actual)
			if i := random.IntN(len(want) + 1); i < len(want) {
				want[i].Exprs = program(random.IntN(6))
			}
		}
		for i := range want {
			want[i] = sets.say(want[i])
		}
		said := slices.Clone(actual)
		for i := range said {
			said[i] = sets.say(said[i])
		}
		before := align(said, want, func(r ChainRule) ChainRule { return r })
		rules += len(actual)
		if got := align(actual, want, func(r ChainRule) ChainRule { calls++; return sets.say(r) }); !slices.Equal(got, before) {
			t.Fatalf("%+v\ninstead of\n%+v\nfor %+v", got, before, want)
		}
	}
	if calls == 0 || calls >= rules {
		t.Errorf("of %d rules %d were put into words", rules, calls)
	}
}

// longest is the length of the longest common sequence, the slow way.
func longest(a, b []int) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	row := make([]int, len(b)+1)
	for _, x := range a {
		before := slices.Clone(row)
		for j, y := range b {
			if x == y {
				row[j+1] = before[j] + 1
			} else {
				row[j+1] = max(before[j+1], row[j])
			}
		}
	}
	return row[len(b)]
}

// TestLongChains: in a chain with very many rules what is left alone need not be the most there could be, but the result
// is what is wanted.
func TestLongChains(t *testing.T) {
	var want, is []int
	for i := range 2500 {
		want = append(want, i)
		is = append(is, i)
	}
	is[0], is[2499] = 5000, 5001
	is = slices.Delete(is, 1000, 1003)
	desired, actual := &State{}, &State{}
	desired.AddRuleset("n", ports(want))
	kernel := ports(is)
	actual.Add(Recognise("n", kernel, Firewall("n", ports(want)))...)
	changes := Diff(actual, desired)
	got, whole := replaced(t, kernel.Rules, changes), ports(want).Rules
	for i, r := range got {
		if r.Exprs != whole[i].Exprs {
			t.Fatalf("rule %d is another", i)
		}
	}
	if len(changes) != 5 || len(got) != len(want) {
		t.Errorf("%d changes lead to %d rules", len(changes), len(got))
	}
}

// TestOneChange: what is different is one line, and nothing else is touched.
func TestOneChange(t *testing.T) {
	table := func(change func(r *nft.Ruleset)) *nft.Ruleset {
		r := nft.NewRuleset(nft.IPv4, "t")
		r.Tables[0].Comment = "it's a table"
		key := []string{"ip daddr", "th dport"}
		m := nft.SetOf(nft.IPv4, "t", "m", 0, key...).ToVerdicts()
		m.Comment = "services"
		r.Sets = append(r.Sets, m)
		r.Base("in", "filter", nft.Input, nft.PriorityFilter)
		r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "t", Name: "web"})
		r.Rule("in", nft.Vmap(m, key...))
		r.Rule("in", nft.Is("iifname", "eth0"), nft.Then(nft.Drop))
		r.Rule("web", nft.Then(nft.Accept))
		for i := range 3 {
			r.Elements = append(r.Elements, nft.Element{Family: nft.IPv4, Table: "t", Set: "m", Verdict: "goto web", Key: nft.KeyOf(key, netip.MustParseAddr(fmt.Sprintf("10.43.0.%d", i)), 80)})
		}
		change(r)
		for i := range r.Rules {
			r.Rules[i].Handle = uint64(7 + i)
		}
		return r
	}
	was := table(func(*nft.Ruleset) {})
	for _, tt := range []struct {
		what   string
		change func(r *nft.Ruleset)
		want   string
	}{
		{"an element more", func(r *nft.Ruleset) {
			e := r.Elements[0]
			e.Key, e.Comment = nft.KeyOf([]string{"ip daddr", "th dport"}, netip.MustParseAddr("10.43.0.9"), 443), "new"
			r.Elements = append(r.Elements, e)
		}, `nft add element ip t m '{ 10.43.0.9 . 443 comment "new" : goto web }'`},
		{"an element less", func(r *nft.Ruleset) { r.Elements = r.Elements[1:] }, "nft delete element ip t m '{ 10.43.0.0 . 80 }'"},
		{"an element changed", func(r *nft.Ruleset) { r.Elements[1].Verdict = "drop" }, "nft delete element ip t m '{ 10.43.0.1 . 80 }'\nnft add element ip t m '{ 10.43.0.1 . 80 : drop }'"},
		{"a rule changed", func(r *nft.Ruleset) {
			r.Rules[1].Exprs = nft.Build(nft.IPv4, nft.Is("iifname", "eth1"), nft.Then(nft.Drop))
		}, `nft replace rule ip t in handle 8 'iifname "eth1" drop'`},
		{"a rule between", func(r *nft.Ruleset) {
			l := r.Rules[0]
			l.Exprs = nft.Build(nft.IPv4, nft.Is("ip saddr", netip.MustParseAddr("10.0.0.1")), nft.Then(nft.Accept))
			r.Rules = slices.Insert(r.Rules, 1, l)
		}, "nft add rule ip t in index 0 'ip saddr 10.0.0.1 accept'"},
		{"a rule before all", func(r *nft.Ruleset) {
			l := r.Rules[0]
			l.Exprs = nft.Build(nft.IPv4, nft.Then(nft.Continue))
			r.Rules = slices.Insert(r.Rules, 0, l)
		}, "nft insert rule ip t in 'continue'"},
		{"a rule less", func(r *nft.Ruleset) { r.Rules = slices.Delete(r.Rules, 1, 2) }, "nft delete rule ip t in handle 8"},
		{"a comment of a rule", func(r *nft.Ruleset) { r.Rules[1].Comment = "that's it" }, `nft replace rule ip t in handle 8 'iifname "eth0" drop comment "that'\''s it"'`},
		{"a chain's policy", func(r *nft.Ruleset) { r.Chains[0].Policy = nft.Drop }, "nft add chain ip t in '{ type filter hook input priority filter; policy drop; }'"},
		{"a chain more", func(r *nft.Ruleset) {
			r.Chains = append(r.Chains, nft.Chain{Family: nft.IPv4, Table: "t", Name: "new"})
			r.Rule("new", nft.Then(nft.Accept))
		}, "nft add chain ip t new\nnft insert rule ip t new 'accept'"},
		{"a set more", func(r *nft.Ruleset) {
			s := nft.SetOf(nft.IPv4, "t", "s", nft.Interval, "ip saddr")
			r.Sets = append(r.Sets, s)
			r.Elements = append(r.Elements, nft.Element{Family: nft.IPv4, Table: "t", Set: "s", Key: "\x0a\x00\x00\x00", KeyEnd: "\x0a\xff\xff\xff"})
		}, "nft add set ip t s '{ type ipv4_addr; flags interval; }'\nnft add element ip t s '{ 10.0.0.0/8 }'"},
		{"asleep", func(r *nft.Ruleset) { r.Tables[0].Flags = nft.Dormant }, "nft add table ip t '{ flags dormant; }'"},
	} {
		desired, actual := &State{}, &State{}
		is := table(tt.change)
		desired.AddRuleset("n", is)
		actual.Add(Recognise("n", was, Firewall("n", is))...)
		var lines []string
		for _, c := range Diff(actual, desired) {
			for _, line := range c.Lines() {
				lines = append(lines, strings.TrimPrefix(line, "ip netns exec n "))
			}
		}
		if got := strings.Join(lines, "\n"); got != tt.want {
			t.Errorf("%s: up would\n%s\ninstead of\n%s", tt.what, got, tt.want)
		}
	}
}

// TestPacketsElements: what packets add to a set is left alone, and what they have not added is drift.
func TestPacketsElements(t *testing.T) {
	for _, flags := range []uint32{0, nft.Dynamic} {
		want := nft.NewRuleset(nft.IPv4, "t")
		want.Sets = append(want.Sets, nft.SetOf(nft.IPv4, "t", "s", flags, "ip saddr"))
		is := *want
		is.Elements = []nft.Element{{Family: nft.IPv4, Table: "t", Set: "s", Key: "\x0a\x00\x00\x01"}}
		desired, actual := &State{}, &State{}
		desired.AddRuleset("n", want)
		actual.Add(Recognise("n", &is, Firewall("n", want))...)
		if n := len(Diff(actual, desired)); (n == 0) != (flags == nft.Dynamic) {
			t.Errorf("with flags %d up would make %d changes", flags, n)
		}
	}
}
