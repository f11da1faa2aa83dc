package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Part is a part of a rule: something that is compared, or done.
type Part func(*builder)

// builder compiles a rule as nft(8) does.
type builder struct {
	family Family
	list   []Expr
	known  map[string]bool // headers that were asked for
	merge  int             // where the last comparison of bytes is that the next may be joined to; -1 is none
}

// Build compiles a rule for a table of the family.
func Build(family Family, parts ...Part) Exprs {
	b := &builder{family: family, known: map[string]bool{}, merge: -1}
	for _, p := range parts {
		p(b)
	}
	return Pack(b.list...)
}

func (b *builder) add(e ...Expr) {
	b.list = append(b.list, e...)
	b.merge = -1
}

// fieldNamed returns the field of that name. A name that is none is a mistake in the program.
func fieldNamed(name string) field {
	for _, f := range fields {
		if f.words == name {
			return f
		}
	}
	panic("nft: there is no field " + name)
}

// need asks for the header that a field is in, where that does not go without saying.
func (b *builder) need(f field) {
	if f.kind != inPayload || b.known[f.proto] {
		return
	}
	b.known[f.proto] = true
	if proto, ok := map[string]byte{"ip": 2, "ip6": 10}[f.proto]; ok {
		switch b.family {
		case INet:
			b.add(Meta{Dreg: 1, Key: metaNfproto}, Cmp{Sreg: 1, Data: Data{Value: []byte{proto}}})
		case NetDev, Bridge:
			ether := map[string]uint16{"ip": 0x800, "ip6": 0x86dd}[f.proto]
			b.add(Meta{Dreg: 1, Key: metaProto}, Cmp{Sreg: 1, Data: Data{Value: binary.BigEndian.AppendUint16(nil, ether)}})
		}
	}
	for number, name := range transports {
		if name == f.proto {
			b.add(Meta{Dreg: 1, Key: metaL4Proto}, Cmp{Sreg: 1, Data: Data{Value: []byte{number}}})
		}
	}
}

func (f field) load(r Reg, n int) Expr {
	switch f.kind {
	case inMeta:
		return Meta{Dreg: r, Key: f.key}
	case inCT:
		e := CT{Dreg: r, Key: f.key}
		if f.dir != noDir {
			dir := uint8(f.dir)
			e.Dir = &dir
		}
		return e
	}
	return Payload{Dreg: r, Base: f.base, Offset: f.offset, Len: uint32(n)}
}

// bytesOf writes a value as the field has it: an address, a prefix's first, a number, or a name.
func (f field) bytesOf(value any) []byte {
	number := func(n uint64) []byte {
		b := binary.BigEndian.AppendUint64(nil, n)[8-f.length:]
		if f.typ.host && nativeLittle {
			for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
				b[i], b[j] = b[j], b[i]
			}
		}
		return b
	}
	switch v := value.(type) {
	case netip.Addr:
		return v.AsSlice()
	case netip.Prefix:
		return v.Masked().Addr().AsSlice()
	case int:
		return number(uint64(v))
	case uint16:
		return number(uint64(v))
	case uint32:
		return number(uint64(v))
	case string:
		if f.typ.text != nil {
			return append([]byte(v), make([]byte, f.length-len(v))...)
		}
		var n uint64
		for name := range strings.SplitSeq(v, ",") {
			n |= f.typ.symbol(name)
		}
		return number(n)
	}
	panic(fmt.Sprintf("nft: %s cannot be compared with a %T", f.words, value))
}

func (t *datatype) symbol(name string) uint64 {
	for n, s := range t.symbols {
		if s == name {
			return n
		}
	}
	panic("nft: a " + t.name + " has no name " + name)
}

// Is compares a field with a value: an address or a prefix, a number, a device's name, which may end with an asterisk, or
// a name that the field's values have.
func Is(name string, value any) Part { return compare(name, cmpEq, value) }

// Not is the opposite of Is.
func Not(name string, value any) Part { return compare(name, cmpNeq, value) }

func compare(name string, op uint32, value any) Part {
	return func(b *builder) {
		f := fieldNamed(name)
		b.need(f)
		if f.typ.bitmask && op == cmpEq { // any of these
			b.add(f.load(1, f.length), masking(f.bytesOf(value), make([]byte, f.length)), Cmp{Sreg: 1, Op: cmpNeq, Data: Data{Value: make([]byte, f.length)}})
			return
		}
		if text, ok := value.(string); ok && f.typ == typeIfname {
			data := append([]byte(text), make([]byte, f.length-len(text))...)
			if begin, ok := strings.CutSuffix(text, "*"); ok {
				data = []byte(begin) // just as much is compared
			}
			b.add(f.load(1, f.length), Cmp{Sreg: 1, Op: op, Data: Data{Value: data}})
			return
		}
		data := f.bytesOf(value)
		if p, ok := value.(netip.Prefix); ok && p.Bits() < len(data)*8 {
			if p.Bits()%8 != 0 || p.Bits() == 0 {
				mask := maskOf(p.Bits(), len(data))
				b.add(f.load(1, f.length), masking(mask, make([]byte, len(mask))), Cmp{Sreg: 1, Op: op, Data: Data{Value: data}})
				return
			}
			data = data[:p.Bits()/8] // just the bytes that count are loaded
		}
		b.compare(f.load(1, len(data)), op, data)
	}
}

// compare joins comparisons of bytes that lie side by side into one, as nft(8) does.
func (b *builder) compare(load Expr, op uint32, data []byte) {
	p, isPayload := load.(Payload)
	if isPayload && op == cmpEq && b.merge >= 0 {
		last, was := b.list[b.merge].(Payload), b.list[b.merge+1].(Cmp)
		if last.Base == p.Base && last.Offset+last.Len == p.Offset && last.Len+p.Len <= 16 {
			last.Len += p.Len
			was.Data.Value = append(append([]byte{}, was.Data.Value...), data...)
			b.list[b.merge], b.list[b.merge+1] = last, was
			return
		}
	}
	b.add(load, Cmp{Sreg: 1, Op: op, Data: Data{Value: data}})
	if isPayload && op == cmpEq {
		b.merge = len(b.list) - 2
	}
}

func masking(mask, xor []byte) Bitwise {
	return Bitwise{Sreg: 1, Dreg: 1, Len: uint32(len(mask)), Mask: &Data{Value: mask}, Xor: &Data{Value: xor}}
}

// Between compares a field with all numbers from one to another.
func Between(name string, from, to int) Part {
	return func(b *builder) {
		f := fieldNamed(name)
		b.need(f)
		b.add(f.load(1, f.length))
		if f.typ.host {
			b.add(Byteorder{Sreg: 1, Dreg: 1, Op: 1, Len: uint32(f.length), Size: uint32(f.length)})
			f.typ = typeInteger
		}
		b.add(Cmp{Sreg: 1, Op: cmpGte, Data: Data{Value: f.bytesOf(from)}}, Cmp{Sreg: 1, Op: cmpLte, Data: Data{Value: f.bytesOf(to)}})
	}
}

// Has asks whether some bits of the packet's mark are set.
func Has(mark uint32) Part {
	return func(b *builder) {
		bits := binary.NativeEndian.AppendUint32(nil, mark)
		b.add(Meta{Dreg: 1, Key: metaMark}, masking(bits, make([]byte, 4)), Cmp{Sreg: 1, Op: cmpNeq, Data: Data{Value: make([]byte, 4)}})
	}
}

// SetMark sets bits of the packet's mark, and FlipMark turns them round.
func SetMark(bits uint32) Part  { return changeMark(^bits, bits) }
func FlipMark(bits uint32) Part { return changeMark(^uint32(0), bits) }

func changeMark(mask, xor uint32) Part {
	return func(b *builder) {
		b.add(Meta{Dreg: 1, Key: metaMark}, masking(binary.NativeEndian.AppendUint32(nil, mask), binary.NativeEndian.AppendUint32(nil, xor)), Meta{Key: metaMark, Sreg: 1})
	}
}

// Local asks whether an address is one of the machine's: "saddr" or "daddr".
func Local(address string) Part {
	return func(b *builder) {
		flags := map[string]uint32{"saddr": 1, "daddr": 2}[address]
		const local = 2
		b.add(Fib{Dreg: 1, Result: 3, Flags: flags}, Cmp{Sreg: 1, Data: Data{Value: binary.NativeEndian.AppendUint32(nil, local)}})
	}
}

// Do adds expressions as they are.
func Do(list ...Expr) Part { return func(b *builder) { b.add(list...) } }

// Then decides: Accept, Drop, Return, or Jump and Goto to a chain.
func Then(verdict int32, chain ...string) Part {
	return Do(Immediate{Data: Data{Verdict: &Verdict{verdict, strings.Join(chain, "")}}})
}

// Masquerade gives the packet the address of the device by which it leaves. FullyRandom chooses its port by lot.
func Masquerade(flags uint32) Part { return Do(Masq{Flags: flags}) }

const FullyRandom = natFullyRandom

// Untracked leaves the packet out of connection tracking.
func Untracked() Part { return Do(Notrack{}) }

// Refuse answers that the port is unreachable.
func Refuse() Part {
	return func(b *builder) {
		switch b.family {
		case IPv4:
			b.add(Reject{Code: 3})
		case IPv6:
			b.add(Reject{Code: 4})
		default:
			b.add(Reject{Type: 2, Code: 1})
		}
	}
}

// Base declares a chain that packets come into at a hook, and lets those pass that no rule decides about.
func Base(family Family, table, name, kind string, hook uint32, priority int32) Chain {
	return Chain{Family: family, Table: table, Name: name, Type: kind, Hook: hook, Priority: priority, Policy: Accept}
}

// Priorities that have a name.
const (
	PriorityRaw    = -300
	PriorityDNAT   = -100
	PriorityFilter = 0
	PrioritySNAT   = 100
)

// NewRuleset is one table with nothing in it.
func NewRuleset(family Family, table string) *Ruleset {
	return &Ruleset{Tables: []Table{{Family: family, Name: table}}}
}

// Rule adds a rule at the end of a chain.
func (r *Ruleset) Rule(chain string, parts ...Part) {
	t := r.Tables[0]
	r.Rules = append(r.Rules, Rule{Family: t.Family, Table: t.Name, Chain: chain, Exprs: Build(t.Family, parts...)})
}

// Base adds a chain that packets come into at a hook.
func (r *Ruleset) Base(name, kind string, hook uint32, priority int32) {
	r.Chains = append(r.Chains, Base(r.Tables[0].Family, r.Tables[0].Name, name, kind, hook, priority))
}

// Traced says that the kernel reports what becomes of the packet.
func Traced() Part {
	return Do(Immediate{Dreg: 1, Data: Data{Value: []byte{1}}}, Meta{Key: metaTrace, Sreg: 1})
}

// To sends the packet to another port of the machine itself.
func To(port int) Part {
	return Do(Immediate{Dreg: 1, Data: Data{Value: binary.BigEndian.AppendUint16(nil, uint16(port))}}, Redir{PortMin: 1, PortMax: 1, Flags: portsSpecified})
}

// portsSpecified is what the kernel notes of a NAT that chooses ports.
const portsSpecified = 2
