package nft

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Expr is one step of a rule's program: it loads a register, compares one, changes the packet or decides what becomes of it.
// Except for Raw, its fields are the kernel's attributes.
type Expr interface{ name() string }

// Reg is a register: 0 takes a verdict, 1 to 4 hold 16 bytes each, 8 to 23 are these in pieces of four.
type Reg uint32

// word is the place of a register among those of four bytes, and the name that the kernel gives that place.
func (r Reg) word() int {
	if r >= 8 {
		return int(r) - 8
	}
	return (int(r) - 1) * 4
}

func wordReg(word int) Reg {
	if word%4 == 0 {
		return Reg(word/4 + 1)
	}
	return Reg(word + 8)
}

// Data is bytes, or a verdict.
type Data struct {
	Value   []byte   `nft:"1,opt"`
	Verdict *Verdict `nft:"2,opt"`
}

// Verdict says what becomes of a packet, or which chain it goes to.
type Verdict struct {
	Code  int32  `nft:"1"`
	Chain string `nft:"2,opt"`
}

const (
	Drop     = 0
	Accept   = 1
	Queue    = 3
	Continue = -1
	Break    = -2
	Jump     = -3
	Goto     = -4
	Return   = -5
)

var verdictNames = map[int32]string{Drop: "drop", Accept: "accept", Queue: "queue", Continue: "continue", Break: "break", Jump: "jump", Goto: "goto", Return: "return"}

func (v Verdict) String() string {
	name, ok := verdictNames[v.Code]
	if !ok {
		name = fmt.Sprintf("?verdict%d", v.Code)
	}
	if v.Chain != "" {
		name += " " + v.Chain
	}
	return name
}

// parseVerdict reads what String writes.
func parseVerdict(text string) Verdict {
	name, chain, _ := strings.Cut(text, " ")
	for code, n := range verdictNames {
		if n == name {
			return Verdict{code, chain}
		}
	}
	code, _ := strconv.Atoi(strings.TrimPrefix(name, "?verdict"))
	return Verdict{int32(code), chain}
}

type (
	Immediate struct {
		Dreg Reg  `nft:"1"`
		Data Data `nft:"2"`
	}
	Payload struct {
		Dreg      Reg    `nft:"1,opt"`
		Base      uint32 `nft:"2"`
		Offset    uint32 `nft:"3"`
		Len       uint32 `nft:"4"`
		Sreg      Reg    `nft:"5,opt"` // where it is written instead of read
		CsumType  uint32 `nft:"6,opt"`
		CsumOff   uint32 `nft:"7,opt"`
		CsumFlags uint32 `nft:"8,opt"`
	}
	Exthdr struct {
		Dreg   Reg    `nft:"1,opt"`
		Type   uint8  `nft:"2"`
		Offset uint32 `nft:"3"`
		Len    uint32 `nft:"4"`
		Flags  uint32 `nft:"5,opt"`
		Op     uint32 `nft:"6,opt"`
		Sreg   Reg    `nft:"7,opt"`
	}
	Meta struct {
		Dreg Reg    `nft:"1,opt"`
		Key  uint32 `nft:"2"`
		Sreg Reg    `nft:"3,opt"`
	}
	CT struct {
		Dreg Reg    `nft:"1,opt"`
		Key  uint32 `nft:"2"`
		Dir  *uint8 `nft:"3"`
		Sreg Reg    `nft:"4,opt"`
	}
	RT struct {
		Dreg Reg    `nft:"1"`
		Key  uint32 `nft:"2"`
	}
	Socket struct {
		Key   uint32  `nft:"1"`
		Dreg  Reg     `nft:"2"`
		Level *uint32 `nft:"3"`
	}
	Fib struct {
		Dreg   Reg    `nft:"1"`
		Result uint32 `nft:"2"`
		Flags  uint32 `nft:"3"`
	}
	Numgen struct {
		Dreg    Reg    `nft:"1"`
		Modulus uint32 `nft:"2"`
		Type    uint32 `nft:"3"`
		Offset  uint32 `nft:"4,opt"`
	}
	Hash struct {
		Sreg    Reg     `nft:"1,opt"`
		Dreg    Reg     `nft:"2"`
		Len     uint32  `nft:"3,opt"`
		Modulus uint32  `nft:"4"`
		Seed    *uint32 `nft:"5"`
		Offset  uint32  `nft:"6,opt"`
		Type    uint32  `nft:"7,opt"`
	}
	Cmp struct {
		Sreg Reg    `nft:"1"`
		Op   uint32 `nft:"2"`
		Data Data   `nft:"3"`
	}
	Range struct {
		Sreg Reg    `nft:"1"`
		Op   uint32 `nft:"2"`
		From Data   `nft:"3"`
		To   Data   `nft:"4"`
	}
	Bitwise struct {
		Sreg Reg    `nft:"1"`
		Dreg Reg    `nft:"2"`
		Len  uint32 `nft:"3"`
		Mask *Data  `nft:"4"`
		Xor  *Data  `nft:"5"`
		Op   uint32 `nft:"6,opt"`
		Data *Data  `nft:"7"`
	}
	Byteorder struct {
		Sreg Reg    `nft:"1"`
		Dreg Reg    `nft:"2"`
		Op   uint32 `nft:"3"`
		Len  uint32 `nft:"4"`
		Size uint32 `nft:"5"`
	}
	// Lookup looks a register up in a set. A set without a name is written where it is used, and is the rule's own.
	Lookup struct {
		Set    string  `nft:"1,opt"`
		Sreg   Reg     `nft:"2"`
		Dreg   *Reg    `nft:"3"`
		ID     uint32  `nft:"4,opt"` // of a set made by the same transaction
		Flags  uint32  `nft:"5,opt"`
		Inline *Inline // not the kernel's: there the elements are a set of their own
	}
	Dynset struct {
		Set     string `nft:"1"`
		ID      uint32 `nft:"2,opt"`
		Op      uint32 `nft:"3"`
		SregKey Reg    `nft:"4"`
		SregVal Reg    `nft:"5,opt"`
		Timeout uint64 `nft:"6,opt"` // milliseconds
		Expr    One    `nft:"7,opt"`
		Flags   uint32 `nft:"9,opt"`
		List    wire   `nft:"10,opt"`
	}
	Objref struct {
		Type    uint32 `nft:"1,opt"`
		Name    string `nft:"2,opt"`
		Sreg    Reg    `nft:"3,opt"`
		SetName string `nft:"4,opt"`
		ID      uint32 `nft:"5,opt"`
	}
	NAT struct {
		Type    uint32 `nft:"1"`
		Family  uint32 `nft:"2"`
		AddrMin Reg    `nft:"3,opt"`
		AddrMax Reg    `nft:"4,opt"`
		PortMin Reg    `nft:"5,opt"`
		PortMax Reg    `nft:"6,opt"`
		Flags   uint32 `nft:"7,opt"`
	}
	Masq struct {
		Flags   uint32 `nft:"1,opt"`
		PortMin Reg    `nft:"2,opt"`
		PortMax Reg    `nft:"3,opt"`
	}
	Redir struct {
		PortMin Reg    `nft:"1,opt"`
		PortMax Reg    `nft:"2,opt"`
		Flags   uint32 `nft:"3,opt"`
	}
	TProxy struct {
		Family uint32 `nft:"1"`
		Addr   Reg    `nft:"2,opt"`
		Port   Reg    `nft:"3,opt"`
	}
	Dup struct {
		Addr Reg `nft:"1,opt"`
		Dev  Reg `nft:"2,opt"`
	}
	Fwd struct {
		Dev    Reg    `nft:"1"`
		Addr   Reg    `nft:"2,opt"`
		Family uint32 `nft:"3,opt"`
	}
	Reject struct {
		Type uint32 `nft:"1"`
		Code uint8  `nft:"2,opt"`
	}
	Log struct {
		Group      *uint16 `nft:"1"`
		Prefix     string  `nft:"2,opt"`
		Snaplen    uint32  `nft:"3,opt"`
		QThreshold uint16  `nft:"4,opt"`
		Level      *uint32 `nft:"5"`
		Flags      uint32  `nft:"6,opt"`
	}
	Limit struct {
		Rate  uint64 `nft:"1"`
		Unit  uint64 `nft:"2"` // seconds
		Burst uint32 `nft:"3,opt"`
		Type  uint32 `nft:"4,opt"`
		Flags uint32 `nft:"5,opt"`
	}
	ConnLimit struct {
		Count uint32 `nft:"1"`
		Flags uint32 `nft:"2,opt"`
	}
	Quota struct {
		Bytes    uint64 `nft:"1"`
		Flags    uint32 `nft:"2,opt"`
		Consumed uint64 `nft:"4,opt"`
	}
	Counter struct {
		Bytes   uint64 `nft:"1"`
		Packets uint64 `nft:"2"`
	}
	NFQueue struct {
		Num   uint16 `nft:"1,opt"`
		Total uint16 `nft:"2,opt"`
		Flags uint16 `nft:"3,opt"`
		Sreg  Reg    `nft:"4,opt"`
	}
	Notrack struct{}
	Match   struct { // of iptables
		Name string `nft:"1"`
		Rev  uint32 `nft:"2"`
		Info []byte `nft:"3"`
	}
	Target struct { // of iptables
		Name string `nft:"1"`
		Rev  uint32 `nft:"2"`
		Info []byte `nft:"3"`
	}
	// Raw is an expression that has no form here. Data are its attributes.
	Raw struct {
		Name string
		Data []byte
	}
)

func (Immediate) name() string { return "immediate" }
func (Payload) name() string   { return "payload" }
func (Exthdr) name() string    { return "exthdr" }
func (Meta) name() string      { return "meta" }
func (CT) name() string        { return "ct" }
func (RT) name() string        { return "rt" }
func (Socket) name() string    { return "socket" }
func (Fib) name() string       { return "fib" }
func (Numgen) name() string    { return "numgen" }
func (Hash) name() string      { return "hash" }
func (Cmp) name() string       { return "cmp" }
func (Range) name() string     { return "range" }
func (Bitwise) name() string   { return "bitwise" }
func (Byteorder) name() string { return "byteorder" }
func (Lookup) name() string    { return "lookup" }
func (Dynset) name() string    { return "dynset" }
func (Objref) name() string    { return "objref" }
func (NAT) name() string       { return "nat" }
func (Masq) name() string      { return "masq" }
func (Redir) name() string     { return "redir" }
func (TProxy) name() string    { return "tproxy" }
func (Dup) name() string       { return "dup" }
func (Fwd) name() string       { return "fwd" }
func (Reject) name() string    { return "reject" }
func (Log) name() string       { return "log" }
func (Limit) name() string     { return "limit" }
func (ConnLimit) name() string { return "connlimit" }
func (Quota) name() string     { return "quota" }
func (Counter) name() string   { return "counter" }
func (NFQueue) name() string   { return "queue" }
func (Notrack) name() string   { return "notrack" }
func (Match) name() string     { return "match" }
func (Target) name() string    { return "target" }
func (r Raw) name() string     { return r.Name }

var expressions = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, e := range []Expr{
		Immediate{}, Payload{}, Exthdr{}, Meta{}, CT{}, RT{}, Socket{}, Fib{}, Numgen{}, Hash{}, Cmp{}, Range{}, Bitwise{}, Byteorder{}, Lookup{}, Dynset{},
		Objref{}, NAT{}, Masq{}, Redir{}, TProxy{}, Dup{}, Fwd{}, Reject{}, Log{}, Limit{}, ConnLimit{}, Quota{}, Counter{}, NFQueue{}, Notrack{}, Match{},
		Target{},
	} {
		types[e.name()] = reflect.TypeOf(e)
	}
	return types
}()

// Exprs is a list of expressions, packed, so that rules and elements are comparable: they are the same when these are. It
// is records of a kind, a length and so many bytes. (The kernel's own lists are no longer than 65,535 bytes, and the sets
// that lookups have inline may be.)
type Exprs string

const (
	recordExpr    = iota // as the kernel has it
	recordInline         // of the lookup before: the set that it has inline
	recordElement        // … and an element of it
)

func record(b []byte, kind uint32, data []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// Pack makes a list.
func Pack(list ...Expr) Exprs {
	var b []byte
	for _, e := range list {
		l, _ := e.(Lookup)
		if l.Inline == nil {
			b = record(b, recordExpr, appendContent(nil, e))
			continue
		}
		set := *l.Inline
		l.Inline = nil
		b = record(b, recordExpr, appendContent(nil, l))
		b = record(b, recordInline, attributes(set))
		for _, one := range set.Elements {
			b = record(b, recordElement, attributes(one))
		}
	}
	return Exprs(b)
}

// List returns the expressions of a list, or an error where it is none.
func (x Exprs) List() ([]Expr, error) {
	var list []Expr
	var inline *Inline
	for len(x) > 0 {
		if len(x) < 8 {
			return list, fmt.Errorf("%d bytes are left that are no expression", len(x))
		}
		kind, n := binary.NativeEndian.Uint32([]byte(x[:4])), binary.NativeEndian.Uint32([]byte(x[4:8]))
		if uint64(n) > uint64(len(x)-8) {
			return list, fmt.Errorf("an expression of %d bytes where %d are left", n, len(x)-8)
		}
		data := []byte(x[8 : 8+n])
		x = x[8+n:]
		switch {
		case kind == recordExpr:
			e, err := parseExpr(data)
			if err != nil {
				return list, err
			}
			list, inline = append(list, e), nil
		case kind == recordInline && len(list) > 0 && inline == nil:
			l, ok := list[len(list)-1].(Lookup)
			set, err := parse[Inline](data)
			if err != nil || !ok {
				return list, fmt.Errorf("an inline set: %w", err)
			}
			inline = &set
			l.Inline = inline
			list[len(list)-1] = l
		case kind == recordElement && inline != nil:
			one, err := parse[Elem](data)
			if err != nil {
				return list, err
			}
			inline.Elements = append(inline.Elements, one)
		default:
			return list, fmt.Errorf("there is no record of kind %d here", kind)
		}
	}
	return list, nil
}

func appendContent(b []byte, e Expr) []byte {
	b = encodeField(b, 1, reflect.ValueOf(e.name()))
	switch e := e.(type) {
	case Raw:
		b, at := begin(b, 2|nested)
		return end(append(b, e.Data...), at)
	case Notrack:
		return b
	}
	b, at := begin(b, 2|nested)
	return end(encode(b, reflect.ValueOf(e)), at)
}

func parseExpr(data []byte) (Expr, error) {
	var named struct {
		Name string `nft:"1"`
		Data []byte `nft:"2"`
	}
	if err := decode(data, reflect.ValueOf(&named).Elem()); err != nil {
		return nil, err
	}
	t, ok := expressions[named.Name]
	if !ok {
		if err := each(named.Data, func(uint16, []byte) error { return nil }); err != nil {
			return nil, fmt.Errorf("expression %q: %w", named.Name, err)
		}
		return Raw{named.Name, pad(named.Data)}, nil
	}
	e := reflect.New(t).Elem()
	if err := decode(named.Data, e); err != nil {
		return nil, fmt.Errorf("expression %q: %w", named.Name, err)
	}
	return e.Interface().(Expr), nil
}

// wire is a list of expressions as the kernel has it.
type wire string

// wire is the list without what its lookups have inline.
func (x Exprs) wire() wire {
	list, _ := x.List()
	return wireOf(list)
}

func wireOf(list []Expr) wire {
	var b []byte
	for _, e := range list {
		if l, ok := e.(Lookup); ok {
			l.Inline = nil
			e = l
		}
		var at int
		b, at = begin(b, listElem|nested)
		b = end(appendContent(b, e), at)
	}
	return wire(b)
}

func (w wire) list() ([]Expr, error) {
	var list []Expr
	err := each([]byte(w), func(_ uint16, data []byte) error {
		e, err := parseExpr(data)
		if err == nil {
			list = append(list, e)
		}
		return err
	})
	return list, err
}

// exprs packs a list that was parsed.
func (w wire) exprs() Exprs {
	list, _ := w.list()
	return Pack(list...)
}

func (w wire) appendTo(b []byte) []byte { return append(b, w...) }

func (w *wire) parse(data []byte) error {
	list, err := wire(data).list()
	if err == nil {
		*w = wireOf(list)
	}
	return err
}

// One is an expression that stands by itself as an attribute of something else.
type One string

func (x One) appendTo(b []byte) []byte { return append(b, x...) }

func (x *One) parse(data []byte) error {
	e, err := parseExpr(data)
	if err == nil {
		*x = One(appendContent(nil, e))
	}
	return err
}

// list is what is asked for where there may be one expression or several.
func (x One) list(several wire) Exprs {
	if x == "" {
		return several.exprs()
	}
	e, err := parseExpr([]byte(x))
	if err != nil {
		return ""
	}
	return Pack(e)
}

// oneOrList is how the kernel has several expressions: a single one stands by itself.
func (x Exprs) oneOrList() (One, wire) {
	if list, err := x.List(); err == nil && len(list) == 1 {
		return One(appendContent(nil, list[0])), ""
	}
	return "", x.wire()
}

// Forget returns the list without what the kernel counts.
func (x Exprs) Forget() Exprs {
	list, err := x.List()
	if err != nil {
		return x
	}
	for i := range list {
		list[i] = forget(list[i])
	}
	return Pack(list...)
}

// forget takes out what the kernel counts.
func forget(e Expr) Expr {
	switch e := e.(type) {
	case Counter:
		return Counter{}
	case Quota:
		e.Consumed = 0
		return e
	}
	return e
}
