package plan

import (
	"cmp"
	"slices"

	"labnet/lab/nft"
)

// Recognise makes objects of what a namespace's firewall is, by the names that the plan has for them. Where nft(8) writes
// both alike they are the same, however they were compiled. The rules of a chain are found again by what they say: what
// stands between two that are as they should be takes the places of what is missing there. Elements that packets add to a
// set are not anybody's.
func Recognise(namespace string, actual *nft.Ruleset, want []Object) []Object {
	wanted := make(map[Key]Object, len(want))
	rules := map[Key][]ChainRule{} // by chain
	for _, o := range want {
		wanted[o.Key()] = o
		if r, ok := o.(ChainRule); ok {
			rules[r.InChain()] = append(rules[r.InChain()], r)
		}
	}
	dynamic := map[Key]bool{}
	for _, s := range actual.Sets {
		if s.Flags&nft.Dynamic != 0 {
			dynamic[within(namespace, KindSet, s.Family, s.Table, s.Name)] = true
		}
	}
	var out []Object
	found := map[Key][]ChainRule{}
	var chains []Key
	objects, sets := withoutRules(namespace, actual)
	for _, o := range objects {
		switch o := o.(type) {
		case Set:
			if w, ok := wanted[o.Key()].(Set); ok {
				o.Place = w.Place
				if slices.Equal(o.Def.Declaration(), w.Def.Declaration()) && o.Def.KeyLen == w.Def.KeyLen && o.Def.DataLen == w.Def.DataLen {
					o = w
				}
			}
			out = append(out, o)
		case Chain:
			if w, ok := wanted[o.Key()].(Chain); ok {
				o.Place = w.Place
			}
			out = append(out, o)
		case Element:
			w, ok := wanted[o.Key()].(Element)
			if !ok && dynamic[within(namespace, KindSet, o.Family, o.Table, o.Element.Set)] {
				continue
			}
			if ok && o.Words == w.Words {
				o = w
			}
			out = append(out, o)
		default:
			out = append(out, o)
		}
	}
	for _, l := range actual.Rules {
		r := unsaid(namespace, l)
		k := r.InChain()
		r.Place = len(found[k])
		if found[k] == nil {
			chains = append(chains, k)
		}
		found[k] = append(found[k], r)
	}
	for _, k := range chains {
		slices.SortFunc(rules[k], func(a, b ChainRule) int { return a.Place - b.Place })
		for _, r := range align(found[k], rules[k], sets.say) {
			out = append(out, r)
		}
	}
	return out
}

// InChain is the chain that the rule is in.
func (r ChainRule) InChain() Key {
	return within(r.Namespace, KindChain, r.Family, r.Table, r.Chain)
}

// says reports whether two rules say the same.
func (r ChainRule) says(other ChainRule) bool {
	return r.Comment == other.Comment && (r.Exprs == other.Exprs || r.Words == other.Words && r.Exprs.Plain())
}

// saying is the same for rules that say the same.
func (r ChainRule) saying() string { return cmp.Or(r.Words, string(r.Exprs)) + "\x00" + r.Comment }

// align gives the rules of a chain the places of the wanted ones. Those that are there are put into words by say, where they are
// not what is wanted to the last byte: of very many rules few are not.
func align(actual, want []ChainRule, say func(ChainRule) ChainRule) []ChainRule {
	out := slices.Clone(actual)
	same := func(i, j int) {
		w := want[j]
		w.Handle = actual[i].Handle
		out[i] = w
	}
	// instead pairs what is there with what is missing at the same place; what is left over is not wanted.
	instead := func(i, toI, j, toJ int) {
		for ; i < toI; i, j = i+1, j+1 {
			out[i].Place = Unplaced
			if j < toJ {
				out[i].Place = want[j].Place
			}
		}
	}
	said := map[int]bool{}
	word := func(i int) {
		if !said[i] {
			said[i], out[i] = true, say(out[i])
		}
	}
	alike := func(i, j int) bool {
		if out[i].Comment == want[j].Comment && out[i].Exprs == want[j].Exprs {
			return true
		}
		word(i)
		return out[i].says(want[j])
	}
	begin, endA, endW := 0, len(actual), len(want)
	for begin < min(endA, endW) && alike(begin, begin) {
		same(begin, begin)
		begin++
	}
	for endA > begin && endW > begin && alike(endA-1, endW-1) {
		endA, endW = endA-1, endW-1
		same(endA, endW)
	}
	for i := begin; i < endA; i++ {
		word(i)
	}
	i, j := begin, begin
	for _, pair := range common(out[begin:endA], want[begin:endW]) {
		instead(i, begin+pair[0], j, begin+pair[1])
		i, j = begin+pair[0], begin+pair[1]
		same(i, j)
		i, j = i+1, j+1
	}
	instead(i, endA, j, endW)
	return out
}

// common finds rules that both have, in the same order: as many as there are, or in very long chains at least many.
func common(actual, want []ChainRule) [][2]int {
	n, m := len(actual), len(want)
	if n == 0 || m == 0 {
		return nil
	}
	var pairs [][2]int
	const bound = 4 << 20
	if n*m > bound {
		at := map[string][]int{}
		for i, r := range actual {
			at[r.saying()] = append(at[r.saying()], i)
		}
		next := 0
		for j, w := range want {
			for _, i := range at[w.saying()] {
				if i >= next && actual[i].says(w) {
					pairs, next = append(pairs, [2]int{i, j}), i+1
					break
				}
			}
		}
		return pairs
	}
	length := make([][]int32, n+1) // of the longest common sequence from there on
	for i := range length {
		length[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if actual[i].says(want[j]) {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case actual[i].says(want[j]):
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// InFirewall reports whether an object is a part of a namespace's firewall.
func InFirewall(o Object) bool {
	if _, ok := o.(Table); ok {
		return true
	}
	_, ok := tableOf(o)
	return ok
}

// Ruleset is a table that is made, with what is in it.
func (c Change) Ruleset() *nft.Ruleset {
	t, ok := c.Object.(Table)
	if !ok {
		return &nft.Ruleset{}
	}
	return ruleset(t, c.Parts)
}

// Rule is the rule as it is in the kernel.
func (r ChainRule) Rule() nft.Rule {
	return nft.Rule{Family: r.Family, Table: r.Table, Chain: r.Chain, Exprs: r.Exprs, Comment: r.Comment, Handle: r.Handle}
}

// OfSet is the set of an element, as far as it says how elements are kept.
func (e Element) OfSet() nft.Set {
	return nft.Set{Family: e.Family, Table: e.Table, Name: e.Element.Set, Flags: e.Kept}
}
