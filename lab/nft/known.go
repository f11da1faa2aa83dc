package nft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strings"
)

// Known is what a firewall is expected to be. Where a rule is as it is known, to the last byte that says anything, it need not be put
// together anew from what the kernel tells, attribute by attribute; and the sets that rules have inline need not be asked for.
//
// The kernel shows what is in such a set only when it is asked for this one by its name, which it looks for among all sets of the table: of
// 10,000 rules that takes it seconds. It lets nobody change the set, though, once the rule is there. So each is made with a mark of its
// contents, which comes with the list of all sets, and what is known by its mark is not asked for.
type Known struct {
	contents map[string]Contents // by their marks
	rules    map[chainName][]Rule
}

type chainName struct {
	family       Family
	table, chain string
}

// Know takes a rule for the one at a place of its chain.
func (k *Known) Know(r Rule, place int) {
	if k.rules == nil {
		k.contents, k.rules = map[string]Contents{}, map[chainName][]Rule{}
	}
	in := chainName{r.Family, r.Table, r.Chain}
	for len(k.rules[in]) <= place {
		k.rules[in] = append(k.rules[in], Rule{})
	}
	k.rules[in][place] = r
	for c := range r.Exprs.contents {
		k.contents[c.mark()] = c
	}
}

// Of is what is in a set, where that is known.
func (k *Known) Of(s Set) (Contents, bool) {
	c, ok := k.contents[s.Mark]
	return c, ok && s.Flags&(Anonymous|Constant) == Anonymous|Constant
}

// Reader returns what reads rules from answers to GetRule, those of each chain in their order.
func (k *Known) Reader() func(Family, []byte) (Rule, error) {
	var in chainName // that was last
	var known []Rule
	places := map[chainName]int{}
	return func(f Family, b []byte) (Rule, error) {
		table, chain := chainOf(b)
		if f != in.family || string(table) != in.table || string(chain) != in.chain {
			in = chainName{f, string(table), string(chain)}
			known = k.rules[in]
		}
		place := places[in]
		places[in]++
		if place < len(known) {
			if r := known[place]; r.is(b) {
				return r, nil
			}
		}
		return ParseRule(f, b)
	}
}

// chainOf is in which table and chain a rule is.
func chainOf(b []byte) (table, chain []byte) {
	for len(b) > 0 {
		data, rest, ok := firstAttribute(b)
		if !ok {
			break
		}
		switch binary.NativeEndian.Uint16(b[2:]) & 0x3fff {
		case ruleTable:
			table, _, _ = bytes.Cut(data, []byte{0})
		case ruleChain:
			chain, _, _ = bytes.Cut(data, []byte{0})
		}
		b = rest
	}
	return table, chain
}

// is reports whether it is the rule that the kernel tells, and then takes its handle.
func (r *Rule) is(b []byte) bool {
	handled, said, noted := false, false, r.Comment == ""
	for len(b) > 0 {
		data, rest, ok := firstAttribute(b)
		if !ok {
			return false
		}
		switch binary.NativeEndian.Uint16(b[2:]) & 0x3fff {
		case ruleHandle:
			if handled = len(data) == 8; handled {
				r.Handle = binary.BigEndian.Uint64(data)
			}
		case ruleExprs:
			said = r.Exprs.are(data)
		case ruleUserdata:
			n := len(r.Comment)
			noted = n > 0 && len(data) == n+3 && data[0] == noteComment && int(data[1]) == n+1 && string(data[2:n+2]) == r.Comment && data[n+2] == 0
		}
		b = rest
	}
	return handled && said && noted
}

// are reports whether they are what the kernel tells, whatever it has counted.
func (x Exprs) are(told []byte) bool {
	for kind, data := range x.records {
		one, rest, ok := firstAttribute(told)
		if kind != recordExpr || !ok {
			return false
		}
		counter := strings.HasPrefix(data, counterName) && len(one) >= len(counterName) && string(one[:len(counterName)]) == counterName
		if !counter && !sameAttributes(one, data) {
			return false
		}
		told = rest
	}
	return len(told) == 0 && x != ""
}

// counterName is what the expression of a counter begins with.
var counterName = string(encodeField(nil, 1, reflect.ValueOf(Counter{}.name())))

// firstAttribute is what is in the first of some attributes, and what comes behind it.
func firstAttribute(b []byte) (data, rest []byte, ok bool) {
	if len(b) < header {
		return nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < header || n > len(b) {
		return nil, nil, false
	}
	return b[header:n], b[min((n+3)&^3, len(b)):], true
}

// sameAttributes reports whether the kernel tells just the attributes of ours, each once, in whatever order. It does not say which of
// them nest.
func sameAttributes(told []byte, ours string) bool {
	const most = 64
	var met uint64 // which of ours, by their order: as long as they are, none is left when all that is told was met
	if n := attributesIn(ours); len(told) != len(ours) || n == 0 || n > most {
		return string(told) == ours
	}
	for len(told) > 0 {
		data, rest, ok := firstAttribute(told)
		if !ok {
			return false
		}
		kind := binary.NativeEndian.Uint16(told[2:]) & 0x3fff
		found := false
		for at, one := 0, ours; len(one) >= header && !found; at++ {
			n, of := int(uint16At(one, 0)), uint16At(one, 2)
			if found = of&0x3fff == kind && met&(1<<at) == 0; found {
				if own := one[header:n]; of&nested != 0 && !sameAttributes(data, own) || of&nested == 0 && string(data) != own {
					return false
				}
				met |= 1 << at
			}
			one = one[min((n+3)&^3, len(one)):]
		}
		if !found {
			return false
		}
		told = rest
	}
	return true
}

// attributesIn is how many attributes there are in a list of ours; none where it is no list.
func attributesIn(ours string) (n int) {
	for len(ours) > 0 {
		if len(ours) < header || int(uint16At(ours, 0)) < header || int(uint16At(ours, 0)) > len(ours) {
			return 0
		}
		ours = ours[min((int(uint16At(ours, 0))+3)&^3, len(ours)):]
		n++
	}
	return n
}

func uint16At(s string, at int) uint16 {
	return binary.NativeEndian.Uint16([]byte{s[at], s[at+1]})
}

// Contents are a set that is written where it is used, as rules are packed.
type Contents string

// Contents packs the set.
func (i *Inline) Contents() Contents {
	b := record(nil, recordInline, attributes(*i))
	for _, one := range i.Elements {
		b = record(b, recordElement, attributes(one))
	}
	return Contents(b)
}

// mark stands for the contents, in what is noted with the set.
func (c Contents) mark() string {
	sum := sha256.Sum256([]byte(c))
	return string(sum[:16])
}

// contents are those of the sets that a rule has inline.
func (x Exprs) contents(yield func(Contents) bool) {
	from, at := -1, 0
	for kind, data := range x.records {
		switch {
		case kind == recordInline:
			from = at
		case kind == recordExpr && from >= 0:
			if !yield(Contents(x[from:at])) {
				return
			}
			from = -1
		}
		at += 8 + len(data)
	}
	if from >= 0 {
		yield(Contents(x[from:at]))
	}
}
