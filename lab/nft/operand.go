package nft

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// operand is what a register holds, as it is written.
type operand struct {
	payload *Payload // a part of the packet: which field it is can depend on what the rule says before it is used
	value   []byte   // a constant
	text    string   // anything else
	typ     *datatype
	data    []*datatype // of a map's values
	length  int

	masked  bool
	mask    []byte
	xor     []byte
	shift   string // << 8
	swapped bool   // it was turned from the machine's order to the network's
	meta    *Meta
	ct      *CT
}

// find returns the field of the packet at a place; n is how many bytes of it there are.
func (w *writer) find(p Payload, n int, mask byte) (field, bool) {
	if p.Base >= uint32(len(w.header)) {
		return field{}, false
	}
	proto := w.header[p.Base]
	var best field
	found := false
	for _, f := range fields {
		if f.kind != inPayload || f.base != p.Base || f.offset != p.Offset || f.mask != mask || f.length > n && !f.typ.prefix {
			continue
		}
		switch {
		case f.proto == proto:
			return f, true
		case p.Base == transportHeader && proto == "" && f.proto == "th" && p.Len == 2:
			best, found = f, true
		}
	}
	return best, found
}

// words write what an operand is.
func (w *writer) words(o operand) (string, *datatype) {
	switch {
	case o.payload != nil:
		p := *o.payload
		if f, ok := w.find(p, o.length, 0); ok && f.length == o.length {
			w.used(p.Base)
			return w.masking(f.words, f.typ, o), f.typ
		}
		return w.masking(rawPayload(p), typeInteger, o), typeInteger
	case o.value != nil:
		return w.constant(o.typ, o.value), o.typ
	}
	return w.masking(o.text, o.typ, o), o.typ
}

func rawPayload(p Payload) string {
	base, ok := map[uint32]string{linkHeader: "ll", networkHeader: "nh", transportHeader: "th"}[p.Base]
	if !ok {
		base = fmt.Sprintf("?%d", p.Base)
	}
	return fmt.Sprintf("@%s,%d,%d", base, p.Offset*8, p.Len*8)
}

// masking writes the arithmetic that was done with a register: mask and xor stand for and, xor and or.
func (w *writer) masking(words string, t *datatype, o operand) string {
	if o.masked {
		m, x := new(big.Int), new(big.Int)
		m, x = t.number(o.mask), t.number(o.xor)
		all := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(8*len(o.mask))), big.NewInt(1))
		or := new(big.Int)
		if m.Cmp(all) != 0 || x.Sign() != 0 {
			or.And(m, x)
			or.Xor(or, x)
			x.And(x, m)
			m.Or(m, or)
		}
		for _, step := range []struct {
			op   string
			n    *big.Int
			show bool
		}{{"&", m, m.Cmp(all) != 0}, {"^", x, x.Sign() != 0}, {"|", or, or.Sign() != 0}} {
			if step.show {
				words += " " + step.op + " " + w.constant(t, t.bytes(step.n, len(o.mask)))
			}
		}
	}
	return words + o.shift
}

// bytes writes a number as the type has it.
func (t *datatype) bytes(n *big.Int, length int) []byte {
	b := make([]byte, length)
	n.FillBytes(b)
	if t.host && nativeLittle {
		slices.Reverse(b)
	}
	return b
}

func (w *writer) constant(t *datatype, value []byte) string {
	if t == nil {
		return fmt.Sprintf("0x%x", value)
	}
	return t.value(value)
}

// take returns the operands of so many bytes from a register on, as a lookup takes them.
func (w *writer) take(r Reg, length int) []operand {
	var list []operand
	for word := r.word(); length > 0; {
		if word < 0 || word >= len(w.regs) || w.regs[word] == nil {
			return append(list, operand{text: "?register", typ: typeInteger})
		}
		o := *w.regs[word]
		list = append(list, o)
		n := max(1, (o.length+3)/4)
		word += n
		length -= 4 * n
	}
	return list
}

// left writes what is looked up, and says of what types it is.
func (w *writer) left(r Reg, length int) (string, []*datatype) {
	var words []string
	var types []*datatype
	for _, o := range w.take(r, length) {
		text, t := w.words(o)
		words = append(words, text)
		if o.data != nil {
			types = append(types, o.data...)
			continue
		}
		types = append(types, t)
	}
	return strings.Join(words, " . "), types
}

// match writes a comparison with one value.
func (w *writer) match(o operand, op uint32, value []byte) {
	if o.payload != nil && !o.masked && (op == cmpEq || op == cmpNeq) {
		w.expand(*o.payload, op, value)
		return
	}
	if o.payload != nil && o.masked && len(o.mask) == 1 && zero(o.xor) {
		for _, mask := range []byte{0xf0, 0x0f, 0xfc, 0x03} {
			if f, ok := w.find(*o.payload, 1, mask); ok && o.mask[0] == mask && len(value) == 1 {
				w.used(o.payload.Base)
				shift := 0
				for mask>>shift&1 == 0 {
					shift++
				}
				w.relation(f.words, op, f.typ.value([]byte{value[0] >> shift}), false)
				return
			}
		}
	}
	if o.masked && zero(o.xor) && (op == cmpEq || op == cmpNeq) {
		bare := o
		bare.masked = false
		text, t := w.words(bare)
		n, isPrefix := maskLength(o.mask)
		mask, want := t.number(o.mask), t.number(value)
		switch {
		case t.bitmask && want.Sign() == 0:
			sign := ""
			if op == cmpEq {
				sign = "! "
			}
			w.say(text + " " + sign + t.bits(mask.Uint64(), ","))
			return
		case t.bitmask && want.Cmp(mask) == 0:
			sign := "=="
			if op == cmpNeq {
				sign = "!="
			}
			w.say(text + " & " + bitsOf(t, mask) + " " + sign + " " + bitsOf(t, want))
			return
		case t.bitmask:
			sign := ""
			if op == cmpNeq {
				sign = "!= "
			}
			w.say(text + " " + sign + t.bits(want.Uint64(), ",") + " / " + t.bits(mask.Uint64(), ","))
			return
		case t.prefix && isPrefix:
			w.relation(text, op, t.value(value)+"/"+strconv.Itoa(n), false)
			return
		}
	}
	text, t := w.words(o)
	if o.swapped && t.host {
		swapped := *t
		swapped.host = false
		t = &swapped
	}
	if t == typeIfname && len(value) < t.size || t == typeString {
		name := string(bytes.TrimRight(value, "\x00"))
		if len(value) < t.size && !bytes.HasSuffix(value, []byte{0}) {
			name += "*"
		}
		w.relation(text, op, strconv.Quote(name), false)
		return
	}
	if o.meta != nil && (op == cmpEq) {
		w.depend(o.meta.Key, value)
	}
	w.relation(text, op, w.constant(t, value), o.masked || o.shift != "" || t.bitmask)
}

// bitsOf writes flags one above the other: in braces where there are several.
func bitsOf(t *datatype, n *big.Int) string {
	text := t.bits(n.Uint64(), " | ")
	if strings.Contains(text, " | ") {
		return "(" + text + ")"
	}
	return text
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

const (
	cmpEq  = 0
	cmpNeq = 1
	cmpLt  = 2
	cmpLte = 3
	cmpGt  = 4
	cmpGte = 5
)

var comparisons = map[uint32]string{cmpNeq: "!= ", cmpLt: "< ", cmpLte: "<= ", cmpGt: "> ", cmpGte: ">= "}

func (w *writer) relation(left string, op uint32, right string, equals bool) {
	sign := comparisons[op]
	if op == cmpEq && equals {
		sign = "== "
	}
	w.say(left + " " + sign + right)
}

// expand writes a comparison of several fields that lie side by side, which nft(8) makes into one.
func (w *writer) expand(p Payload, op uint32, value []byte) {
	for len(value) > 0 {
		rest := p
		rest.Len = uint32(len(value))
		f, ok := w.find(rest, len(value), 0)
		if !ok {
			w.say(rawPayload(rest) + " " + comparisons[op] + "0x" + new(big.Int).SetBytes(value).Text(16))
			return
		}
		n := min(f.length, len(value))
		protocol := f.typ == typeProto || f.typ == typeEther
		w.usedBy(p.Base, protocol)
		text := f.typ.value(value[:n])
		if n < f.length { // nft(8) loads just the bytes that count
			full := append(slices.Clone(value[:n]), make([]byte, f.length-n)...)
			text = f.typ.value(full) + "/" + strconv.Itoa(n*8)
		}
		w.relation(f.words, op, text, f.typ.bitmask)
		if op == cmpEq && protocol {
			w.enter(f, value[:n])
		}
		value = value[n:]
		p.Offset += uint32(n)
	}
}
