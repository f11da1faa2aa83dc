package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"labnet/lab/nft"
)

// The firewall of a namespace is objects as everything else is: a table, its sets and their elements, its chains and their
// rules. A change of one changes that one, and leaves its neighbours, their counters and the connections alone.

// Table is an nftables table.
type Table struct {
	Namespace string
	nft.Table
}

// Stateful is a counter, a quota or a limit that rules name.
type Stateful struct {
	Namespace string
	nft.Object
}

// Set is a set or a map of a table.
type Set struct {
	Namespace string
	Def       nft.Set
	Place     int // among the sets of its table, as they are listed
}

// Chain is a chain of a table.
type Chain struct {
	Namespace string
	nft.Chain
	Place int // among the chains of its table, as they are listed
}

// Element is an element of a set.
type Element struct {
	Namespace string
	nft.Element
	Kept  uint32 // how its set keeps elements: flags of it
	Words string // as nft(8) writes it
}

// ChainRule is a rule of a chain. What the plan calls it is its place; one that is not wanted has the kernel's handle for
// a name.
type ChainRule struct {
	Namespace string
	Family    nft.Family
	Table     string
	Chain     string
	Place     int // Unplaced where it is not wanted
	Exprs     nft.Exprs
	Comment   string
	Words     string // as nft(8) writes it; empty where it has no words for all of it
	Refs      string // what it names: chains, sets and objects, each by kind and name
	Handle    uint64 // what the kernel calls it; no difference
}

// Unplaced is the place of a rule that is not wanted.
const Unplaced = -1

func inTable(namespace string, f nft.Family, table string) Key {
	return Key{namespace, KindTable, f.String() + " " + table}
}

func within(namespace string, kind Kind, f nft.Family, table, name string) Key {
	return Key{namespace, kind, f.String() + " " + table + " " + name}
}

func (t Table) Key() Key { return inTable(t.Namespace, t.Family, t.Name) }
func (o Stateful) Key() Key {
	return within(o.Namespace, KindStateful, o.Family, o.Table, o.KindName()+" "+o.Name)
}
func (s Set) Key() Key   { return within(s.Namespace, KindSet, s.Def.Family, s.Def.Table, s.Def.Name) }
func (c Chain) Key() Key { return within(c.Namespace, KindChain, c.Family, c.Table, c.Name) }
func (e Element) Key() Key {
	return within(e.Namespace, KindElement, e.Family, e.Table, e.Element.Set+" "+e.key())
}

// key is the part of an element that distinguishes it.
func (e Element) key() string {
	words, _, _ := strings.Cut(e.Words, " : ")
	for _, word := range []string{" timeout ", " comment ", " counter", " limit "} {
		words, _, _ = strings.Cut(words, word)
	}
	return words
}

func (r ChainRule) Key() Key {
	name := strconv.Itoa(r.Place)
	if r.Place == Unplaced {
		name = "handle " + strconv.FormatUint(r.Handle, 10)
	}
	return within(r.Namespace, KindChainRule, r.Family, r.Table, r.Chain+" "+name)
}

func (t Table) Parents() []Key { return []Key{{t.Namespace, KindNamespace, ""}} }
func (o Stateful) Parents() []Key {
	return []Key{inTable(o.Namespace, o.Family, o.Table)}
}
func (s Set) Parents() []Key { return []Key{inTable(s.Namespace, s.Def.Family, s.Def.Table)} }
func (c Chain) Parents() []Key {
	parents := []Key{inTable(c.Namespace, c.Family, c.Table)}
	for device := range strings.FieldsSeq(c.Devices) {
		parents = append(parents, Key{c.Namespace, KindLink, device})
	}
	return parents
}
func (e Element) Parents() []Key {
	parents := []Key{inTable(e.Namespace, e.Family, e.Table), within(e.Namespace, KindSet, e.Family, e.Table, e.Element.Set)}
	if _, chain, ok := strings.Cut(e.Verdict, " "); ok {
		parents = append(parents, within(e.Namespace, KindChain, e.Family, e.Table, chain))
	}
	return parents
}
func (r ChainRule) Parents() []Key {
	kinds := map[string]Kind{"chain": KindChain, "set": KindSet, "object": KindStateful}
	parents := []Key{inTable(r.Namespace, r.Family, r.Table), within(r.Namespace, KindChain, r.Family, r.Table, r.Chain)}
	for ref := range strings.Lines(r.Refs) {
		kind, name, _ := strings.Cut(strings.TrimSuffix(ref, "\n"), " ")
		if kind == "ipset" {
			parents = append(parents, inIPSet(r.Namespace, name))
			continue
		}
		parents = append(parents, within(r.Namespace, kinds[kind], r.Family, r.Table, name))
	}
	return parents
}

// tableOf returns the table that an object is in.
func tableOf(o Object) (Key, bool) {
	switch o := o.(type) {
	case Stateful:
		return inTable(o.Namespace, o.Family, o.Object.Table), true
	case Set:
		return inTable(o.Namespace, o.Def.Family, o.Def.Table), true
	case Chain:
		return inTable(o.Namespace, o.Family, o.Table), true
	case Element:
		return inTable(o.Namespace, o.Family, o.Table), true
	case ChainRule:
		return inTable(o.Namespace, o.Family, o.Table), true
	}
	return Key{}, false
}

// command is an nft(8) line.
func command(namespace, format string, args ...any) string {
	return "ip netns exec " + namespace + " nft " + fmt.Sprintf(format, args...)
}

// quote hides from the shell what nft(8) is to read.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// add lists a whole table, as "nft list" does, or as iptables-save where it has matches and targets of iptables.
func (t Table) add(parts []Object) []string {
	if text, ok := saved(ruleset(t, parts)); ok {
		return []string{fmt.Sprintf("ip netns exec %s %s-restore --noflush <<'EOF'\n%sEOF", t.Namespace, iptables(t.Family), text)}
	}
	return []string{command(t.Namespace, "-f - <<'EOF'\n%sEOF", ruleset(t, parts).Text())}
}

// ruleset is a table with what is in it.
func ruleset(t Table, parts []Object) *nft.Ruleset {
	r := &nft.Ruleset{Tables: []nft.Table{t.Table}}
	var sets []Set
	var chains []Chain
	var rules []ChainRule
	for _, o := range parts {
		switch o := o.(type) {
		case Stateful:
			r.Objects = append(r.Objects, o.Object)
		case Set:
			sets = append(sets, o)
		case Chain:
			chains = append(chains, o)
		case Element:
			r.Elements = append(r.Elements, o.Element)
		case ChainRule:
			rules = append(rules, o)
		}
	}
	slices.SortStableFunc(sets, func(a, b Set) int { return cmp.Compare(a.Place, b.Place) })
	slices.SortStableFunc(chains, func(a, b Chain) int { return cmp.Compare(a.Place, b.Place) })
	slices.SortStableFunc(rules, func(a, b ChainRule) int { return cmp.Compare(a.Place, b.Place) })
	for _, s := range sets {
		r.Sets = append(r.Sets, s.Def)
	}
	for _, c := range chains {
		r.Chains = append(r.Chains, c.Chain)
	}
	for _, l := range rules {
		r.Rules = append(r.Rules, l.Rule())
	}
	return r
}

func (t Table) Add() []string { return t.add(nil) }
func (t Table) Set(before Object) ([]string, bool) {
	was, ok := before.(Table)
	inPlace := ok && was.Flags^t.Flags == nft.Dormant // it can be put to sleep and woken
	was.Flags = t.Flags
	line := command(t.Namespace, "add table %s %s", t.Family, t.Name)
	if t.Flags != 0 {
		line += " " + quote("{ flags "+t.FlagNames()+"; }")
	}
	return []string{line}, inPlace && was == t
}
func (t Table) Del() []string {
	return []string{command(t.Namespace, "delete table %s %s", t.Family, t.Name)}
}

func (o Stateful) Add() []string {
	return []string{command(o.Namespace, "add %s %s %s %s %s", o.KindName(), o.Family, o.Table, o.Name, quote("{ "+o.Body()+"; }"))}
}
func (o Stateful) Set(Object) ([]string, bool) { return nil, false }
func (o Stateful) Del() []string {
	return []string{command(o.Namespace, "delete %s %s %s %s", o.KindName(), o.Family, o.Table, o.Name)}
}

func (s Set) Add() []string {
	return []string{command(s.Namespace, "add %s %s %s %s %s", s.Def.Kind(), s.Def.Family, s.Def.Table, s.Def.Name, quote("{ "+strings.Join(s.Def.Declaration(), "; ")+"; }"))}
}
func (s Set) Set(Object) ([]string, bool) { return nil, false }
func (s Set) Del() []string {
	return []string{command(s.Namespace, "delete %s %s %s %s", s.Def.Kind(), s.Def.Family, s.Def.Table, s.Def.Name)}
}

func (c Chain) Add() []string {
	line := []any{c.Family, c.Table, c.Name}
	if declaration := c.Declaration(); len(declaration) > 0 {
		return []string{command(c.Namespace, "add chain %s %s %s %s", append(line, quote("{ "+strings.Join(declaration, " ")+" }"))...)}
	}
	return []string{command(c.Namespace, "add chain %s %s %s", line...)}
}
func (c Chain) Set(before Object) ([]string, bool) {
	was, ok := before.(Chain)
	was.Policy = c.Policy
	return c.Add(), ok && was == c // of a chain the policy alone can be changed
}
func (c Chain) Del() []string {
	return []string{command(c.Namespace, "delete chain %s %s %s", c.Family, c.Table, c.Name)}
}

func (e Element) line(verb, words string) string {
	return command(e.Namespace, "%s element %s %s %s %s", verb, e.Family, e.Table, e.Element.Set, quote("{ "+words+" }"))
}
func (e Element) Add() []string { return []string{e.line("add", e.Words)} }
func (e Element) Set(before Object) ([]string, bool) {
	_, ok := before.(Element)
	return append(e.Del(), e.Add()...), ok
}
func (e Element) Del() []string { return []string{e.line("delete", e.key())} }

func (r ChainRule) chain() string { return fmt.Sprintf("%s %s %s", r.Family, r.Table, r.Chain) }

func (r ChainRule) words() string {
	words := r.Words
	if words == "" {
		words = nft.Text(r.Family, r.Exprs, func(string) (nft.Set, bool) { return nft.Set{}, false })
	}
	if r.Comment == "" {
		return quote(words)
	}
	return quote(fmt.Sprintf("%s comment \"%s\"", words, r.Comment))
}

// iptables is the program for a family.
func iptables(f nft.Family) string {
	if f == nft.IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// saved is a table as iptables-save prints it. nft(8) has no words for all that is in it.
func saved(r *nft.Ruleset) (string, bool) {
	if !slices.ContainsFunc(r.Rules, func(l nft.Rule) bool { return !l.Exprs.Plain() }) || len(r.Sets)+len(r.Objects) > 0 {
		return "", false
	}
	text := "*" + r.Tables[0].Name + "\n"
	for _, c := range r.Chains {
		policy := "-"
		if c.Type != "" {
			policy = map[uint32]string{nft.Accept: "ACCEPT", nft.Drop: "DROP"}[c.Policy]
		}
		text += fmt.Sprintf(":%s %s [0:0]\n", c.Name, policy)
	}
	rules := map[string]string{} // by chain
	for _, l := range r.Rules {
		words, ok := l.IPTables()
		if !ok {
			return "", false
		}
		rules[l.Chain] += fmt.Sprintf("-A %s %s\n", l.Chain, words)
	}
	for _, c := range r.Chains {
		text += rules[c.Name]
	}
	return text + "COMMIT\n", true
}

// iptables is what the rule says where nft(8) has no words for it.
func (r ChainRule) iptables(verb string, number ...any) (string, bool) {
	words, ok := r.Rule().IPTables()
	if !ok || r.Exprs.Plain() {
		return "", false
	}
	return fmt.Sprintf("ip netns exec %s %s -t %s %s %s%s %s", r.Namespace, iptables(r.Family), r.Table, verb, r.Chain, fmt.Sprint(number...), words), true
}

// Add puts the rule at its place, where those before it stand already.
func (r ChainRule) Add() []string {
	if line, ok := r.iptables("-I", " ", r.Place+1); ok {
		return []string{line}
	}
	if r.Place <= 0 {
		return []string{command(r.Namespace, "insert rule %s %s", r.chain(), r.words())}
	}
	return []string{command(r.Namespace, "add rule %s index %d %s", r.chain(), r.Place-1, r.words())}
}
func (r ChainRule) Set(before Object) ([]string, bool) {
	was, ok := before.(ChainRule)
	if line, iptables := r.iptables("-R", " ", r.Place+1); iptables {
		return []string{line}, ok
	}
	return []string{command(r.Namespace, "replace rule %s handle %d %s", r.chain(), was.Handle, r.words())}, ok
}
func (r ChainRule) Del() []string {
	return []string{command(r.Namespace, "delete rule %s handle %d", r.chain(), r.Handle)}
}

// AddRuleset adds what is in a ruleset.
func (s *State) AddRuleset(namespace string, r *nft.Ruleset) {
	s.Add(firewall(namespace, r, s.said)...)
}

// said are rules that have been put into words. Very many are the same on all nodes.
type said map[saidOf]ChainRule

type saidOf struct {
	family nft.Family
	exprs  nft.Exprs
}

// say puts a rule into words, unless one of the same has been. What sets and objects are called in a table is the table's own affair.
func (s said) say(r ChainRule, sets setNamed) ChainRule {
	if s == nil {
		return sets.say(r)
	}
	k := saidOf{r.Family, r.Exprs}
	if one, ok := s[k]; ok {
		r.Exprs, r.Words, r.Refs = one.Exprs, one.Words, one.Refs
		return r
	}
	r = sets.say(r)
	if !strings.Contains(r.Refs, "set ") && !strings.Contains(r.Refs, "object ") {
		s[k] = r
	}
	return r
}

// Firewall makes objects of a ruleset. Its rules have the places in which they stand there.
func Firewall(namespace string, r *nft.Ruleset) []Object { return firewall(namespace, r, nil) }

func firewall(namespace string, r *nft.Ruleset, before said) []Object {
	objects, sets := withoutRules(namespace, r)
	places := map[tableName]int{} // of the next rule of a chain
	for _, l := range r.Rules {
		rule := unsaid(namespace, l)
		k := tableName{l.Family, l.Table, l.Chain}
		rule.Place = places[k]
		places[k]++
		objects = append(objects, before.say(rule, sets))
	}
	return objects
}

// setNamed are the sets of a ruleset by table and name.
type setNamed map[tableName]nft.Set

// tableName is what something is called in a table.
type tableName struct {
	family      nft.Family
	table, name string
}

// withoutRules makes objects of all but the rules.
func withoutRules(namespace string, r *nft.Ruleset) ([]Object, setNamed) {
	objects := make([]Object, 0, len(r.Tables)+len(r.Objects)+len(r.Sets)+len(r.Chains)+len(r.Elements)+len(r.Rules))
	for _, t := range r.Tables {
		objects = append(objects, Table{namespace, t})
	}
	for _, o := range r.Objects {
		objects = append(objects, Stateful{namespace, o.Forget()})
	}
	sets := setNamed{}
	for i, s := range r.Sets {
		sets[tableName{s.Family, s.Table, s.Name}] = s
		objects = append(objects, Set{namespace, s, i})
	}
	for i, c := range r.Chains {
		objects = append(objects, Chain{namespace, c, i})
	}
	for _, e := range r.Elements {
		e.Expires, e.Exprs = 0, e.Exprs.Forget()
		s := sets[tableName{e.Family, e.Table, e.Set}]
		kept := s.Flags & (nft.Interval | nft.Concat)
		objects = append(objects, Element{namespace, e, kept, s.ElementText(e)})
	}
	return objects, sets
}

// unsaid is a rule before it is put into words.
func unsaid(namespace string, l nft.Rule) ChainRule {
	return ChainRule{Namespace: namespace, Family: l.Family, Table: l.Table, Chain: l.Chain, Exprs: l.Exprs.Forget(), Comment: l.Comment, Handle: l.Handle}
}

// say puts a rule into words. One that only iptables has words for is compared by what it is, and said when it is asked for.
func (sets setNamed) say(r ChainRule) ChainRule {
	if r.Refs = strings.Join(r.Exprs.Refs(), ""); !r.Exprs.Plain() && !r.Exprs.Named() {
		return r
	}
	find := func(set string) (nft.Set, bool) { s, ok := sets[tableName{r.Family, r.Table, set}]; return s, ok }
	r.Words = nft.Text(r.Family, r.Exprs, find)
	return r
}

// same reports whether two objects of one key are the same. What the kernel calls a rule is no difference.
func same(a, b Object) bool {
	if r, ok := a.(ChainRule); ok {
		if s, ok := b.(ChainRule); ok {
			r.Handle = s.Handle
			return r == s
		}
	}
	return a == b
}

// RemoveRulesets takes all of the firewall out of the state, and says whether there was any.
func (s *State) RemoveRulesets() bool {
	var gone []Key
	s.Each(func(o Object) {
		_, table := o.(Table)
		if _, within := tableOf(o); table || within {
			gone = append(gone, o.Key())
		}
	})
	for _, k := range gone {
		s.Remove(k)
	}
	return len(gone) > 0
}
