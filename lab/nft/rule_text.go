package nft

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// writer turns a rule's program back into words, as nft(8) does: it follows what the registers hold, and leaves out the
// matches that another one implies.
type writer struct {
	family  Family
	sets    func(name string) (Set, bool)
	regs    [16]*operand
	header  [3]string // which header is known to be at each base
	said    []string
	hidden  map[int]bool   // of those: what goes without saying
	implied [3]*dependency // what said which header it is
}

type dependency struct {
	statement int
	payload   bool
	base      uint32
}

// Text writes the rule as nft(8) lists it. Sets are found by name.
func (r Rule) Text(sets func(name string) (Set, bool)) string {
	text := Text(r.Family, r.Exprs, sets)
	if r.Comment != "" {
		text += fmt.Sprintf(" comment \"%s\"", r.Comment)
	}
	return text
}

// Text writes a list of expressions as nft(8) lists a rule.
func Text(family Family, exprs Exprs, sets func(name string) (Set, bool)) string {
	w := &writer{family: family, sets: sets, hidden: map[int]bool{}}
	switch family {
	case IPv4:
		w.header[networkHeader] = "ip"
	case IPv6:
		w.header[networkHeader] = "ip6"
	case ARP:
		w.header[networkHeader] = "arp"
	case Bridge, NetDev:
		w.header[linkHeader] = "ether"
	}
	list, err := exprs.List()
	if err != nil {
		return "?" + err.Error()
	}
	for i := 0; i < len(list); i++ {
		if c, ok := list[i].(Cmp); ok && c.Op == cmpGte && i+1 < len(list) {
			if d, ok := list[i+1].(Cmp); ok && d.Op == cmpLte && d.Sreg == c.Sreg {
				w.between(c.Sreg, cmpEq, c.Data.Value, d.Data.Value)
				i++
				continue
			}
		}
		w.step(list[i])
	}
	var words []string
	for i, s := range w.said {
		if !w.hidden[i] {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

func (w *writer) say(statement string) { w.said = append(w.said, statement) }

// used says that a header was looked at, so that what said which it is goes without saying.
func (w *writer) used(base uint32) { w.usedBy(base, false) }

func (w *writer) usedBy(base uint32, protocol bool) {
	if base >= uint32(len(w.implied)) || w.implied[base] == nil {
		return
	}
	d := w.implied[base]
	if w.family == INet || w.family == Bridge || w.family == NetDev {
		if d.payload && d.base == networkHeader && base == transportHeader {
			return // it says which of IPv4 and IPv6 it is, too
		}
		if d.payload && protocol && d.base == base {
			return
		}
	}
	w.hidden[d.statement] = true
	w.implied[base] = nil
}

// remember that the last statement says which header follows.
func (w *writer) remember(base uint32, header string, payload bool, of uint32) {
	if header != "" {
		w.header[base] = header
	}
	w.implied[base] = &dependency{len(w.said), payload, of}
}

// depend is called before a comparison of what the kernel knows of the packet is said.
func (w *writer) depend(key uint32, value []byte) {
	switch {
	case key == metaIiftype && len(value) == 2 && binary.NativeEndian.Uint16(value) == 1:
		w.remember(linkHeader, "ether", false, linkHeader)
	case key == metaL4Proto && len(value) == 1:
		// ICMP says which of IPv4 and IPv6 it is, too.
		if d := w.implied[networkHeader]; d != nil && (value[0] == 1 && w.header[networkHeader] == "ip" || value[0] == 58 && w.header[networkHeader] == "ip6") {
			w.hidden[d.statement], w.implied[networkHeader] = true, nil
		}
		w.remember(transportHeader, transports[value[0]], false, networkHeader)
	case key == metaNfproto && len(value) == 1:
		w.remember(networkHeader, map[byte]string{2: "ip", 10: "ip6"}[value[0]], false, linkHeader)
	case key == metaProto && len(value) == 2:
		w.remember(networkHeader, networks[binary.BigEndian.Uint16(value)], false, linkHeader)
	}
}

// enter is called after a comparison of a field that says which header follows.
func (w *writer) enter(f field, value []byte) {
	at := len(w.said)
	switch {
	case f.typ == typeProto && len(value) == 1:
		w.remember(transportHeader, transports[value[0]], true, networkHeader)
		w.implied[transportHeader].statement = at - 1
	case f.typ == typeEther && f.base == linkHeader && len(value) == 2:
		w.remember(networkHeader, networks[binary.BigEndian.Uint16(value)], true, linkHeader)
		w.implied[networkHeader].statement = at - 1
	}
}

func (w *writer) load(r Reg, o operand) {
	if word := r.word(); word >= 0 && word < len(w.regs) {
		w.regs[word] = &o
	}
}

func (w *writer) reg(r Reg) operand {
	if word := r.word(); word >= 0 && word < len(w.regs) && w.regs[word] != nil {
		return *w.regs[word]
	}
	return operand{text: "?register", typ: typeInteger}
}

func (w *writer) text(r Reg) string {
	text, _ := w.words(w.reg(r))
	return text
}

// as writes a register's value as one of a type.
func (w *writer) as(r Reg, t *datatype) string {
	o := w.reg(r)
	if o.value != nil {
		o.typ = t
	}
	text, _ := w.words(o)
	return text
}

func (w *writer) between(r Reg, op uint32, from, to []byte) {
	o := w.reg(r)
	text, t := w.words(o)
	if o.swapped && t.host {
		swapped := *t
		swapped.host = false
		t = &swapped
	}
	plain := *t
	if plain.text == nil && plain.format == "" {
		plain.symbols = nil
	}
	plain.prefix = false
	w.relation(text, op, plain.value(from)+"-"+plain.value(to), false)
}

func (w *writer) step(e Expr) {
	switch e := e.(type) {
	case Immediate:
		switch {
		case e.Dreg == 0 && e.Data.Verdict != nil:
			w.act(e.Data.Verdict.String())
		default:
			w.load(e.Dreg, operand{value: append([]byte{}, e.Data.Value...), length: len(e.Data.Value)})
		}
	case Payload:
		if e.Sreg != 0 {
			f, ok := w.find(e, int(e.Len), 0)
			if !ok {
				w.act(rawPayload(e) + " set " + w.as(e.Sreg, typeInteger))
				return
			}
			w.used(e.Base)
			w.act(f.words + " set " + w.as(e.Sreg, f.typ))
			return
		}
		w.load(e.Dreg, operand{payload: &e, length: int(e.Len)})
	case Meta:
		f, ok := fieldOf(inMeta, e.Key, noDir)
		if !ok {
			f = field{words: fmt.Sprintf("?meta%d", e.Key), typ: typeHost, length: 4}
		}
		if e.Sreg != 0 {
			w.act("meta " + strings.TrimPrefix(f.words, "meta ") + " set " + w.as(e.Sreg, f.typ))
			return
		}
		w.load(e.Dreg, operand{text: f.words, typ: f.typ, length: f.length, meta: &e})
	case CT:
		dir := noDir
		if e.Dir != nil {
			dir = int(*e.Dir)
		}
		f, ok := fieldOf(inCT, e.Key, dir)
		if !ok {
			f = field{words: fmt.Sprintf("?ct%d", e.Key), typ: typeHost, length: 4}
		}
		if e.Sreg != 0 {
			w.act(f.words + " set " + w.as(e.Sreg, f.typ))
			return
		}
		w.load(e.Dreg, operand{text: f.words, typ: f.typ, length: f.length, ct: &e})
	case RT:
		f, ok := map[uint32]field{0: {words: "rt classid", typ: typeRealm, length: 4}, 1: {words: "rt ip nexthop", typ: typeIPv4, length: 4},
			2: {words: "rt ip6 nexthop", typ: typeIPv6, length: 16}, 3: {words: "rt mtu", typ: typeHost, length: 2}}[e.Key]
		if !ok {
			f = field{words: fmt.Sprintf("?rt%d", e.Key), typ: typeHost, length: 4}
		}
		w.load(e.Dreg, operand{text: f.words, typ: f.typ, length: f.length})
	case Fib:
		w.load(e.Dreg, fibOperand(e))
	case Numgen:
		text := map[uint32]string{0: "numgen inc", 1: "numgen random"}[e.Type] + " mod " + strconv.Itoa(int(e.Modulus))
		w.load(e.Dreg, operand{text: text + offset(e.Offset), typ: typeHost, length: 4})
	case Hash:
		w.load(e.Dreg, w.hash(e))
	case Bitwise:
		w.bitwise(e)
	case Byteorder:
		o := w.reg(e.Sreg)
		o.swapped = !o.swapped
		w.load(e.Dreg, o)
	case Cmp:
		w.match(w.reg(e.Sreg), e.Op, e.Data.Value)
	case Range:
		w.between(e.Sreg, e.Op, e.From.Value, e.To.Value)
	case Lookup:
		w.lookup(e)
	default:
		w.act(w.statement(e))
	}
}

// act says what is done. What follows implies nothing of what was before.
func (w *writer) act(statement string) {
	w.say(statement)
	w.implied = [3]*dependency{}
}

func offset(n uint32) string {
	if n == 0 {
		return ""
	}
	return " offset " + strconv.Itoa(int(n))
}

func fieldOf(kind byte, key uint32, dir int) (field, bool) {
	for _, f := range fields {
		if f.kind == kind && f.key == key && f.dir == dir {
			return f, true
		}
	}
	return field{}, false
}

func fibOperand(e Fib) operand {
	const present = 1 << 5
	var from []string
	flags := e.Flags &^ present
	for i, name := range []string{"saddr", "daddr", "mark", "iif", "oif"} {
		if flags&(1<<i) != 0 {
			from = append(from, name)
			flags &^= 1 << i
		}
	}
	if flags != 0 {
		from = append(from, fmt.Sprintf("0x%x", flags))
	}
	o := operand{text: "fib " + strings.Join(from, " . "), length: 4}
	switch {
	case e.Result == 1:
		o.text, o.typ = o.text+" oif", typeIfindex
	case e.Result == 2:
		o.text, o.typ, o.length = o.text+" oifname", typeIfname, 16
	case e.Result == 3:
		o.text, o.typ = o.text+" type", typeAddrtype
	default:
		o.text, o.typ = fmt.Sprintf("%s ?%d", o.text, e.Result), typeHost
	}
	if e.Flags&present != 0 {
		o.typ, o.length = typeBoolean, 1
	}
	return o
}

func (w *writer) hash(e Hash) operand {
	text := "symhash"
	if e.Type == 0 {
		left, _ := w.left(e.Sreg, int(e.Len))
		text = "jhash " + left
	}
	text += " mod " + strconv.Itoa(int(e.Modulus))
	if e.Seed != nil {
		text += fmt.Sprintf(" seed 0x%x", *e.Seed)
	}
	return operand{text: text + offset(e.Offset), typ: typeHost, length: 4}
}

func (w *writer) bitwise(e Bitwise) {
	o := w.reg(e.Sreg)
	switch {
	case e.Op == 0 && e.Mask != nil && e.Xor != nil && len(e.Mask.Value) == len(e.Xor.Value) && !o.masked:
		o.masked, o.mask, o.xor = true, e.Mask.Value, e.Xor.Value
		if o.value != nil {
			o.text, o.value = w.constant(typeMark, o.value), nil
		}
		if o.typ == nil {
			o.typ = typeMark
		}
	case e.Data != nil && (e.Op == 1 || e.Op == 2):
		o.shift += map[uint32]string{1: " << ", 2: " >> "}[e.Op] + typeHost.value(e.Data.Value)
	default:
		text, t := w.words(o)
		o = operand{text: text + " ?bitwise", typ: t, length: o.length}
	}
	w.load(e.Dreg, o)
}

func (w *writer) lookup(e Lookup) {
	var right string
	var set Set
	if e.Inline != nil {
		set = e.Inline.set(Rule{Family: w.family})
	} else {
		var ok bool
		if set, ok = w.sets(e.Set); !ok {
			w.say("?lookup in " + e.Set)
			return
		}
		right = "@" + e.Set
	}
	left, types := w.left(e.Sreg, int(set.KeyLen))
	if e.Inline != nil {
		right = set.inlineText(e.Inline.elements(set), types)
	}
	data := fieldTypes(set.DataType)
	switch {
	case e.Dreg == nil && e.Flags&1 != 0:
		w.say(left + " != " + right)
	case e.Dreg == nil:
		w.say(left + " " + right)
	case *e.Dreg == 0 || set.DataType == VerdictType:
		w.say(left + " vmap " + right)
	default:
		o := operand{text: left + " map " + right, length: int(set.DataLen), data: data, typ: typeInteger}
		if len(data) == 1 {
			o.typ = data[0]
		}
		w.load(*e.Dreg, o)
	}
}
