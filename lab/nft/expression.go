package nft

import (
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
		List    packed `nft:"10,opt"`
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
