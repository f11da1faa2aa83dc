package nft

import (
	"encoding/binary"
	"net/netip"
)

// In looks fields up in a set, and Vmap in a map that says what becomes of the packet.
func In(s Set, names ...string) Part { return lookup(Lookup{Set: s.Name}, names) }

func NotIn(s Set, names ...string) Part { return lookup(Lookup{Set: s.Name, Flags: 1}, names) }

func Vmap(s Set, names ...string) Part {
	verdict := Reg(0)
	return lookup(Lookup{Set: s.Name, Dreg: &verdict}, names)
}

func lookup(l Lookup, names []string) Part {
	return func(b *builder) {
		b.loads(names)
		l.Sreg = 1
		b.add(l)
	}
}

// loads puts fields side by side into registers, as a concatenation has them.
func (b *builder) loads(names []string) {
	for _, name := range names {
		b.need(fieldNamed(name))
	}
	word := 0
	for _, name := range names {
		f := fieldNamed(name)
		b.add(f.load(wordReg(word), f.length))
		word += (f.length + 3) / 4
	}
}

// OneOf compares a field with several values, which are numbers, addresses or names.
func OneOf(name string, values ...any) Part {
	return func(b *builder) {
		f := fieldNamed(name)
		b.need(f)
		s := Set{Family: b.family, KeyType: f.typ.id, KeyLen: uint32(f.length)}
		var elements []Element
		for _, v := range values {
			elements = append(elements, Element{Key: string(f.bytesOf(v))})
		}
		b.add(f.load(1, f.length), Lookup{Sreg: 1, Inline: NewInline(s, elements)})
	}
}

// DNAT sends each new connection to one of several addresses and ports, by lot.
func DNAT(to ...netip.AddrPort) Part {
	return func(b *builder) {
		s, address := mapTo(to[0].Addr(), typeInteger.id, 4)
		s.Userdata = machineOrder
		var elements []Element
		for i, ap := range to {
			elements = append(elements, Element{Key: string(binary.NativeEndian.AppendUint32(nil, uint32(i))), Data: string(portAfter(ap))})
		}
		family := IPv4
		if to[0].Addr().Is6() {
			family = IPv6
		}
		result, port := Reg(1), wordReg(int(address/4))
		b.add(
			Numgen{Dreg: 1, Modulus: uint32(len(to)), Type: 1}, Lookup{Sreg: 1, Dreg: &result, Inline: NewInline(s, elements)},
			NAT{Type: 1, Family: uint32(family), AddrMin: 1, AddrMax: 1, PortMin: port, PortMax: port},
		)
	}
}

// SendTo translates the destination to one address and port.
func SendTo(to netip.AddrPort) Part {
	family := IPv4
	if to.Addr().Is6() {
		family = IPv6
	}
	return Do(
		Immediate{Dreg: 1, Data: Data{Value: to.Addr().AsSlice()}}, Immediate{Dreg: 2, Data: Data{Value: binary.BigEndian.AppendUint16(nil, to.Port())}},
		NAT{Type: 1, Family: uint32(family), AddrMin: 1, AddrMax: 1, PortMin: 2, PortMax: 2, Flags: rangeAddress | rangePort},
	)
}

// ByLot goes on in one of several chains.
func ByLot(chains ...string) Part {
	return func(b *builder) {
		s := Set{Family: b.family, KeyType: typeInteger.id, KeyLen: 4, Userdata: machineOrder}.ToVerdicts()
		var elements []Element
		for i, c := range chains {
			elements = append(elements, Element{Key: string(binary.NativeEndian.AppendUint32(nil, uint32(i))), Verdict: "goto " + c})
		}
		verdict := Reg(0)
		b.add(Numgen{Dreg: 1, Modulus: uint32(len(chains)), Type: 1}, Lookup{Sreg: 1, Dreg: &verdict, Inline: NewInline(s, elements)})
	}
}

// Refresh adds the packet's fields to a set whose elements go after some time, or lets that time begin anew.
func Refresh(s Set, names ...string) Part {
	return func(b *builder) {
		b.loads(names)
		b.add(Dynset{Set: s.Name, Op: 1, SregKey: 1})
	}
}

// mapTo is a map to addresses and ports; length is that of an address.
func mapTo(a netip.Addr, key, keyLen uint32) (s Set, length uint32) {
	t := typeIPv4
	if a.Is6() {
		t = typeIPv6
	}
	length = uint32(t.size)
	return Set{Flags: Map, KeyType: key, KeyLen: keyLen, DataType: t.id<<6 | typePort.id, DataLen: length + 4}, length
}

// portAfter is an address and a port as a concatenation has them.
func portAfter(ap netip.AddrPort) []byte {
	return append(binary.BigEndian.AppendUint16(ap.Addr().AsSlice(), ap.Port()), 0, 0)
}

// KeyOf writes the key of an element whose fields have these names: addresses, numbers, or names of theirs.
func KeyOf(names []string, values ...any) string {
	var key []byte
	for i, v := range values {
		key = append(key, fieldNamed(names[i]).bytesOf(v)...)
		if len(values) > 1 {
			key = pad(key)
		}
	}
	return string(key)
}

// SetOf declares a set whose keys are these fields.
func SetOf(family Family, table, name string, flags uint32, names ...string) Set {
	s := Set{Family: family, Table: table, Name: name, Flags: flags}
	for _, n := range names {
		f := fieldNamed(n)
		s.KeyType = s.KeyType<<6 | f.typ.id
		length := uint32(f.length)
		if len(names) > 1 {
			length = (length + 3) &^ 3
		}
		s.KeyLen += length
		s.Fields += string([]byte{byte(f.length)})
	}
	fields := s.Fields
	s.Fields = ""
	if len(names) > 1 && flags&Interval != 0 {
		s.Flags |= Concat
		s.Fields = fields
	}
	return s
}

// ToVerdicts makes a map of verdicts of a set.
func (s Set) ToVerdicts() Set {
	s.Flags |= Map
	s.DataType = VerdictType
	return s
}
