package nft

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Outcome is what rules make of a packet at one hook. NAT has been done to the packet itself.
type Outcome struct {
	Dropped  bool
	Rejected bool     // somebody is told of it
	Rule     string   // that dropped the packet: "ip filter input: tcp dport 80 drop"
	NAT      string   // the rule that changed addresses or ports
	By       string   // masquerade: the source has to be that of the device
	May      []string // rules of which it cannot be told whether they match; they are taken not to
}

// Masquerades is what Outcome.By says.
const Masquerades = "masquerade"

// Evaluate takes a packet through all chains of a hook, in the order of their priorities.
func (r *Ruleset) Evaluate(hook uint32, p *Packet) Outcome {
	m := &machine{rules: r, packet: p}
	var bases []Chain
	for _, c := range r.Chains {
		dormant := slices.ContainsFunc(r.Tables, func(t Table) bool { return t.Family == c.Family && t.Name == c.Table && t.Flags&Dormant != 0 })
		if c.Type != "" && c.Hook == hook && (c.Family == INet || c.Family == p.family()) && !dormant {
			bases = append(bases, c)
		}
	}
	slices.SortStableFunc(bases, func(a, b Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, c := range bases {
		if c.Type == "nat" && (m.translated || p.Established || p.Untracked) {
			continue // a connection is translated once, and then as it was
		}
		v, rule := m.chain(c.Family, c.Table, c.Name, 0)
		if v.Code == Continue {
			v, rule = Verdict{Code: int32(c.Policy)}, "the policy"
		}
		if v.Code == Drop {
			m.out.Dropped, m.out.Rule = true, c.Family.String()+" "+c.Table+" "+c.Name+": "+rule
			break
		}
	}
	return m.out
}

// machine runs rules over a packet.
type machine struct {
	rules      *Ruleset
	packet     *Packet
	out        Outcome
	translated bool

	registers [80]byte
	unknown   bool // a register holds what nobody can tell
}

// deepest is how far chains may jump; the kernel allows no more.
const deepest = 16

// chain returns the verdict and the rule that gave it; Continue where none did.
func (m *machine) chain(family Family, table, name string, depth int) (Verdict, string) {
	for _, l := range m.rules.Rules {
		if l.Family != family || l.Table != table || l.Chain != name || depth > deepest {
			continue
		}
		list, err := l.Exprs.List()
		if err != nil {
			continue
		}
		m.unknown = false
		v, matched := m.rule(l, list)
		if m.unknown && (matched || v.Code != Continue) {
			m.out.May = append(m.out.May, m.text(l))
			continue
		}
		switch v.Code {
		case Continue, Break:
		case Jump, Goto:
			inner, rule := m.chain(family, table, v.Chain, depth+1)
			if inner.Code != Continue {
				return inner, rule
			}
			if v.Code == Goto {
				return Verdict{Code: Continue}, ""
			}
		case Return:
			return Verdict{Code: Continue}, ""
		default:
			return v, m.text(l)
		}
	}
	return Verdict{Code: Continue}, ""
}

func (m *machine) text(l Rule) string {
	return l.Text(func(name string) (Set, bool) {
		for _, s := range m.rules.Sets {
			if s.Family == l.Family && s.Table == l.Table && s.Name == name {
				return s, true
			}
		}
		return Set{}, false
	})
}

// rule returns what a rule decides; matched tells that nothing in it has said no.
func (m *machine) rule(l Rule, list []Expr) (v Verdict, matched bool) {
	no := Verdict{Code: Continue}
	for _, e := range list {
		switch e := e.(type) {
		case Immediate:
			if e.Data.Verdict != nil {
				return *e.Data.Verdict, true
			}
			m.load(e.Dreg, e.Data.Value)
		case Payload:
			if e.Sreg != 0 {
				m.unknown = true
				continue
			}
			header := m.packet.header(e.Base)
			if e.Base == linkHeader {
				m.unknown = true
			} else if int(e.Offset+e.Len) > len(header) {
				return no, false
			} else {
				m.load(e.Dreg, header[e.Offset:e.Offset+e.Len])
			}
		case Meta:
			m.meta(e)
		case CT:
			m.know(e.Dreg, e.Sreg != 0, func() ([]byte, bool) { return m.packet.conntrack(e) })
		case Fib:
			m.fib(e)
		case Cmp:
			if !m.unknown && !holds(bytes.Compare(m.read(e.Sreg, len(e.Data.Value)), e.Data.Value), e.Op) {
				return no, false
			}
		case Range:
			b := m.read(e.Sreg, len(e.From.Value))
			if in := bytes.Compare(b, e.From.Value) >= 0 && bytes.Compare(b, e.To.Value) <= 0; !m.unknown && in != (e.Op == 0) {
				return no, false
			}
		case Bitwise:
			m.bitwise(e)
		case Byteorder:
			m.byteorder(e)
		case Lookup:
			found, verdict := m.lookup(l, e)
			if m.unknown {
				continue
			}
			if !found {
				return no, false
			}
			if verdict != nil {
				return *verdict, true
			}
		case NAT:
			if !m.unknown {
				m.nat(l, e)
			}
			return Verdict{Code: Accept}, true
		case Masq:
			if !m.unknown {
				m.translated, m.out.NAT, m.out.By = true, m.text(l), Masquerades
			}
			return Verdict{Code: Accept}, true
		case Reject:
			if !m.unknown {
				m.out.Rejected = true
			}
			return Verdict{Code: Drop}, true
		case Match:
			switch holds, known := m.match(e); {
			case !known:
				m.unknown = true
			case !holds:
				return no, false
			}
		case Target:
			if m.unknown {
				return no, true
			}
			v, known := m.target(l, e)
			m.unknown = !known
			return v, true
		case Notrack:
			m.packet.Untracked = m.packet.Untracked || !m.unknown
		case Counter, Log, Limit, Quota, Objref, Dynset: // they let a first packet pass
		default:
			m.unknown = true
		}
	}
	return no, true
}

func (m *machine) at(r Reg, n int) []byte {
	from := min(r.word()*4, len(m.registers))
	return m.registers[from:min(from+n, len(m.registers))]
}

func (m *machine) read(r Reg, n int) []byte { return m.at(r, n) }

// load fills a register; what does not fill its last four bytes is followed by zeros.
func (m *machine) load(r Reg, b []byte) {
	room := m.at(r, (len(b)+3)&^3)
	clear(room)
	copy(room, b)
}

func (m *machine) know(r Reg, write bool, what func() ([]byte, bool)) {
	b, known := what()
	if write || !known {
		m.unknown = true
		return
	}
	m.load(r, b)
}

func (m *machine) meta(e Meta) {
	if e.Sreg != 0 && e.Key == metaMark {
		if !m.unknown {
			m.packet.Mark = binary.NativeEndian.Uint32(m.read(e.Sreg, 4))
		}
		return
	}
	if e.Sreg != 0 && e.Key == metaTrace {
		return
	}
	m.know(e.Dreg, e.Sreg != 0, func() ([]byte, bool) { return m.packet.meta(e.Key) })
}

// fib knows whether an address is the machine's own; no rule here asks for more.
func (m *machine) fib(e Fib) {
	const addressType, source, destination = 3, 1, 2
	const unicast, local = 1, 2
	if e.Result != addressType || e.Flags&^(source|destination) != 0 || m.packet.Local == nil {
		m.unknown = true
		return
	}
	a, kind := m.packet.Destination, uint32(unicast)
	if e.Flags == source {
		a = m.packet.Source
	}
	if m.packet.Local(a) {
		kind = local
	}
	m.load(e.Dreg, binary.NativeEndian.AppendUint32(nil, kind))
}

func holds(order int, op uint32) bool {
	switch op {
	case cmpEq:
		return order == 0
	case cmpNeq:
		return order != 0
	case cmpLt:
		return order < 0
	case cmpLte:
		return order <= 0
	case cmpGte:
		return order >= 0
	}
	return order > 0
}

func (m *machine) bitwise(e Bitwise) {
	if e.Op != 0 || e.Mask == nil || e.Xor == nil {
		m.unknown = true
		return
	}
	b := bytes.Clone(m.read(e.Sreg, int(e.Len)))
	for i := range b {
		if i < len(e.Mask.Value) && i < len(e.Xor.Value) {
			b[i] = b[i]&e.Mask.Value[i] ^ e.Xor.Value[i]
		}
	}
	m.load(e.Dreg, b)
}

func (m *machine) byteorder(e Byteorder) {
	b := bytes.Clone(m.read(e.Sreg, int(e.Len)))
	if nativeLittle && e.Size > 1 {
		for chunk := range slices.Chunk(b, int(e.Size)) {
			slices.Reverse(chunk)
		}
	}
	m.load(e.Dreg, b)
}

func (m *machine) lookup(l Rule, e Lookup) (found bool, v *Verdict) {
	set, elements, ok := m.set(l, e)
	if !ok {
		m.unknown = true
		return false, nil
	}
	const inverted = 1
	key := m.read(e.Sreg, int(set.KeyLen))
	for _, one := range elements {
		if !one.CatchAll && !set.has(one, key) {
			continue
		}
		if e.Flags&inverted != 0 {
			return false, nil
		}
		if one.Verdict != "" {
			verdict := parseVerdict(one.Verdict)
			return true, &verdict
		}
		if e.Dreg != nil {
			m.load(*e.Dreg, []byte(one.Data))
		}
		return true, nil
	}
	return e.Flags&inverted != 0, nil
}

// set returns a set with its elements, what takes all that is left at the end.
func (m *machine) set(l Rule, e Lookup) (set Set, elements []Element, ok bool) {
	if e.Inline != nil {
		set = e.Inline.set(l)
		elements, ok = e.Inline.elements(set), true
	}
	for _, s := range m.rules.Sets {
		if e.Inline == nil && s.Family == l.Family && s.Table == l.Table && s.Name == e.Set {
			set, ok = s, true
		}
	}
	for _, one := range m.rules.Elements {
		if e.Inline == nil && one.Family == l.Family && one.Table == l.Table && one.Set == e.Set {
			elements = append(elements, one)
		}
	}
	slices.SortStableFunc(elements, func(a, b Element) int {
		switch {
		case a.CatchAll == b.CatchAll:
			return 0
		case a.CatchAll:
			return 1
		}
		return -1
	})
	return set, elements, ok
}

// has reports whether an element has a key in it: each field of a concatenation for itself.
func (s Set) has(e Element, key []byte) bool {
	if e.KeyEnd == "" {
		return string(key) == e.Key
	}
	fields := []byte(s.Fields)
	if len(fields) == 0 {
		fields = []byte{byte(len(key))}
	}
	at := 0
	for _, n := range fields {
		end := at + int(n)
		if end > len(key) || end > len(e.Key) || end > len(e.KeyEnd) || string(key[at:end]) < e.Key[at:end] || string(key[at:end]) > e.KeyEnd[at:end] {
			return false
		}
		at = (end + 3) &^ 3
	}
	return true
}

func (m *machine) nat(l Rule, e NAT) {
	m.translated, m.out.NAT = true, m.text(l)
	const source = 0
	p := m.packet
	address, port := &p.Destination, &p.Dport
	if e.Type == source {
		address, port = &p.Source, &p.Sport
	}
	if e.AddrMin != 0 {
		if a, ok := netip.AddrFromSlice(m.read(e.AddrMin, len(address.AsSlice()))); ok {
			*address = a
		}
	}
	if e.PortMin != 0 {
		*port = binary.BigEndian.Uint16(m.read(e.PortMin, 2))
	}
}
