package nft

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Kind is "map" where elements have data.
func (s Set) Kind() string {
	if s.Flags&(Map|ObjectMap) != 0 {
		return "map"
	}
	return "set"
}

// Declaration are the lines of a set before its elements.
func (s Set) Declaration() []string {
	line := "type " + typeNames(s.keyTypes())
	switch {
	case s.Flags&ObjectMap != 0:
		line += " : " + objectNames[s.ObjType]
	case s.Flags&Map != 0:
		line += " : " + typeNames(fieldTypes(s.DataType))
	}
	lines := []string{line}
	if s.Flags&Constant == 0 {
		if s.Policy == 1 {
			lines = append(lines, "policy memory")
		}
		if s.Size > 0 {
			lines = append(lines, "size "+strconv.Itoa(int(s.Size)))
		}
	}
	flags := s.Flags
	if s.Timeout > 0 {
		flags &^= TimeoutSet
	}
	if flags&(Constant|Interval|TimeoutSet|Dynamic) != 0 {
		var names []string
		for _, f := range []struct {
			bit  uint32
			name string
		}{{Constant, "constant"}, {Dynamic, "dynamic"}, {Interval, "interval"}, {TimeoutSet, "timeout"}} {
			if s.Flags&f.bit != 0 {
				names = append(names, f.name)
			}
		}
		lines = append(lines, "flags "+strings.Join(names, ","))
	}
	if s.Exprs != "" {
		lines = append(lines, stateless(s.Family, s.Exprs))
	}
	if autoMerge, _ := comment([]byte(s.Userdata), noteAutoMerge); autoMerge != "" {
		lines = append(lines, "auto-merge")
	}
	if s.Timeout > 0 {
		lines = append(lines, "timeout "+duration(s.Timeout))
	}
	if s.GC > 0 {
		lines = append(lines, "gc-interval "+duration(uint64(s.GC)))
	}
	if s.Comment != "" {
		lines = append(lines, fmt.Sprintf("comment \"%s\"", s.Comment))
	}
	return lines
}

// Text is the set as nft(8) lists it.
func (s Set) Text(elements []Element) string {
	text := fmt.Sprintf("\t%s %s {\n", s.Kind(), s.Name)
	for _, line := range s.Declaration() {
		text += "\t\t" + line + "\n"
	}
	if len(elements) > 0 {
		text += "\t\telements = " + s.elementsText(elements, s.keyTypes()) + "\n"
	}
	return text + "\t}\n"
}

// keyTypes are the types of the key's fields. Numbers of intervals are in network order, whatever they are.
func (s Set) keyTypes() []*datatype { return s.stored(fieldTypes(s.KeyType)) }

// stored are types as the set stores them: the order of a plain number stands in what nft(8) notes, and a tree of
// intervals needs the network's.
func (s Set) stored(types []*datatype) []*datatype {
	out := slices.Clone(types)
	for i, t := range out {
		turned := *t
		switch {
		case s.Flags&Interval != 0 && t.host:
			turned.host = false
			out[i] = &turned
		case t == typeInteger && len(types) == 1 && strings.HasPrefix(s.Userdata, machineOrder):
			out[i] = typeHost
		}
	}
	return out
}

func (s Set) inlineText(elements []Element, types []*datatype) string {
	return s.elementsText(elements, s.stored(types))
}

func (s Set) elementsText(elements []Element, types []*datatype) string {
	elements = slices.Clone(elements)
	key := func(e Element) *big.Int {
		if e.CatchAll {
			return new(big.Int).Lsh(big.NewInt(1), 8*64)
		}
		if len(types) == 1 {
			return types[0].number([]byte(e.Key))
		}
		var packed []byte // without what fills the registers, and in the machine's order as a whole
		rest := []byte(e.Key)
		for _, t := range types {
			n := min(max(t.size, 1), len(rest))
			packed = append(packed, rest[:n]...)
			rest = rest[min((n+3)&^3, len(rest)):]
		}
		return typeHost.number(packed)
	}
	if s.Flags&Concat == 0 || s.Flags&Interval == 0 {
		slices.SortStableFunc(elements, func(a, b Element) int { return key(a).Cmp(key(b)) })
	}
	perLine := 1
	switch {
	case s.Flags&Anonymous != 0:
		perLine = 0
	case len(types) == 1 && s.Flags&Map == 0 || len(types) == 1:
		perLine = types[0].perLine()
	}
	var b strings.Builder
	b.WriteString("{ ")
	count := 0
	for i, e := range elements {
		if i > 0 {
			if perLine == 0 || count < perLine {
				b.WriteString(", ")
			} else {
				b.WriteString(",\n\t\t\t     ")
				count = 0
			}
		}
		b.WriteString(s.elementText(e, types))
		count++
	}
	b.WriteString(" }")
	return b.String()
}

// perLine is how many values nft(8) writes on a line.
func (t *datatype) perLine() int {
	switch t.id {
	case 2, 4, 11, 12, 13, 15, 16, 19, 20, 23, 24, 25, 27:
		return 5
	case 7, 26, 28, 31:
		return 2
	}
	return 1
}

// ElementText is an element as nft(8) lists it, without how long it will still be there.
func (s Set) ElementText(e Element) string {
	e.Expires = 0
	return s.elementText(e, s.keyTypes())
}

func (s Set) elementText(e Element, types []*datatype) string {
	text := "*"
	if !e.CatchAll {
		text = s.keyText(e, types)
	}
	if e.Exprs != "" {
		text += " " + Text(s.Family, e.Exprs, func(string) (Set, bool) { return Set{}, false })
	}
	if e.Timeout != 0 {
		text += " timeout " + duration(e.Timeout)
	}
	if e.Expires != 0 {
		text += " expires " + duration(e.Expires)
	}
	if e.Comment != "" {
		text += fmt.Sprintf(" comment \"%s\"", e.Comment)
	}
	switch {
	case e.Verdict != "":
		text += " : " + e.Verdict
	case e.Object != "":
		text += ` : "` + e.Object + `"`
	case e.Data != "":
		text += " : " + concatText(fieldTypes(s.DataType), e.Data, "")
	}
	return text
}

func (s Set) keyText(e Element, types []*datatype) string { return concatText(types, e.Key, e.KeyEnd) }

// concatText writes the fields of a concatenation, each as an interval where there is an end.
func concatText(types []*datatype, from, to string) string {
	var parts []string
	for i, t := range types {
		size := t.size
		if size == 0 || i == len(types)-1 && len(types) == 1 {
			size = len(from)
		}
		n := min(cmp.Or(size, 4), len(from))
		end := ""
		if to != "" {
			end = to[:min(n, len(to))]
			to = to[min((n+3)&^3, len(to)):]
		}
		if end != "" {
			parts = append(parts, t.interval([]byte(from[:n]), []byte(end)))
		} else {
			parts = append(parts, t.value([]byte(from[:n])))
		}
		from = from[min((n+3)&^3, len(from)):]
	}
	return strings.Join(parts, " . ")
}
