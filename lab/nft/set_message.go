package nft

import "encoding/binary"

type lengthAttrs struct {
	Len uint32 `nft:"1"`
}

type descAttrs struct {
	Size   uint32        `nft:"1,opt"`
	Fields []lengthAttrs `nft:"2,opt"`
}

type setAttrs struct {
	Table    string     `nft:"1"`
	Name     string     `nft:"2"`
	Flags    uint32     `nft:"3"`
	KeyType  uint32     `nft:"4,opt"`
	KeyLen   uint32     `nft:"5,opt"`
	DataType uint32     `nft:"6,opt"`
	DataLen  uint32     `nft:"7,opt"`
	Policy   uint32     `nft:"8,opt"`
	Desc     *descAttrs `nft:"9"`
	ID       uint32     `nft:"10,opt"`
	Timeout  uint64     `nft:"11,opt"`
	GC       uint32     `nft:"12,opt"`
	Userdata []byte     `nft:"13,opt"`
	ObjType  uint32     `nft:"15,opt"`
	Expr     One        `nft:"17,opt"`
	List     packed     `nft:"18,opt"`
}

// Elem is an element as the kernel has it.
type Elem struct {
	Key      *Data  `nft:"1"`
	Data     *Data  `nft:"2"`
	Flags    uint32 `nft:"3,opt"`
	Timeout  uint64 `nft:"4,opt"`
	Expires  uint64 `nft:"5,opt"`
	Userdata []byte `nft:"6,opt"`
	Expr     One    `nft:"7,opt"`
	Object   string `nft:"9,opt"`
	KeyEnd   *Data  `nft:"10"`
	List     packed `nft:"11,opt"`
}

const (
	intervalEnd = 1
	catchAll    = 2
)

type elementsAttrs struct {
	Table    string `nft:"1"`
	Set      string `nft:"2"`
	Elements []Elem `nft:"3"`
	ID       uint32 `nft:"4,opt"`
}

func (s Set) add(id uint32) Message {
	userdata := note([]byte(s.Userdata), noteSetComment, s.Comment)
	if s.Mark != "" {
		userdata = append(append(userdata, noteMark, byte(len(s.Mark))), s.Mark...)
	}
	a := setAttrs{
		Table: s.Table, Name: s.Name, Flags: s.Flags, KeyType: s.KeyType, KeyLen: s.KeyLen, DataType: s.DataType, DataLen: s.DataLen,
		Policy: s.Policy, ID: id, Timeout: s.Timeout, GC: s.GC, Userdata: userdata, ObjType: s.ObjType,
	}
	if s.Size != 0 || s.Fields != "" {
		a.Desc = &descAttrs{Size: s.Size}
		for i := range len(s.Fields) {
			a.Desc.Fields = append(a.Desc.Fields, lengthAttrs{uint32(s.Fields[i])})
		}
	}
	a.Expr, a.List = s.Exprs.oneOrList()
	return Message{NewSet, FlagCreate, s.Family, attributes(a)}
}

// Add makes the set; id names it in its transaction.
func (s Set) Add(id uint32) Message { return s.add(id) }

func (s Set) Del() Message {
	return Message{DelSet, 0, s.Family, attributes(setAttrs{Table: s.Table, Name: s.Name})}
}

// ParseSet reads the answer to GetSet.
func ParseSet(f Family, b []byte) (Set, error) {
	a, err := parse[setAttrs](b)
	text, rest := comment(a.Userdata, noteSetComment)
	mark, rest := noted(rest, noteMark)
	s := Set{
		Family: f, Table: a.Table, Name: a.Name, Flags: a.Flags, KeyType: a.KeyType, KeyLen: a.KeyLen, DataType: a.DataType, DataLen: a.DataLen,
		ObjType: a.ObjType, Policy: a.Policy, Timeout: a.Timeout, GC: a.GC, Exprs: a.Expr.list(a.List).Forget(), Comment: text, Userdata: string(rest), Mark: string(mark),
	}
	if s.DataType == VerdictType {
		s.DataLen = 0 // how large the kernel's own structure is
	}
	if a.Desc != nil {
		s.Size = a.Desc.Size
		for _, f := range a.Desc.Fields {
			s.Fields += string([]byte{byte(f.Len)})
		}
	}
	return s, err
}

// perMessage is how many bytes of elements a message takes: an attribute cannot be longer than 65,535.
const perMessage = 32 << 10

// AddElements puts elements into the set.
func (s Set) AddElements(elements []Element) []Message { return s.addElements(elements, 0) }

func (s Set) addElements(elements []Element, id uint32) []Message {
	return s.elements(NewElement, FlagCreate, elements, id)
}

// DelElements takes them out.
func (s Set) DelElements(elements []Element) []Message { return s.elements(DelElement, 0, elements, 0) }

func (s Set) elements(kind Kind, flags uint16, elements []Element, id uint32) []Message {
	var messages []Message
	a := elementsAttrs{Table: s.Table, Set: s.Name, ID: id}
	size := 0
	flush := func() {
		if len(a.Elements) > 0 {
			messages = append(messages, Message{kind, flags, s.Family, attributes(a)})
			a.Elements, size = nil, 0
		}
	}
	for _, e := range elements {
		for _, one := range s.split(e) {
			if kind == DelElement {
				one = Elem{Key: one.Key, KeyEnd: one.KeyEnd, Flags: one.Flags}
			}
			a.Elements = append(a.Elements, one)
			size += len(attributes(one))
		}
		if size > perMessage {
			flush()
		}
	}
	flush()
	return messages
}

// AllElements asks for the elements of the set.
func (s Set) AllElements() Message {
	return Message{GetElement, 0, s.Family, attributes(elementsAttrs{Table: s.Table, Set: s.Name})}
}

// Drawn asks for the elements of an anonymous set that a rule looks a drawn number up in, by the numbers that there can be; false
// where it is no such set. To go through all elements of a set the kernel looks for it again and again, among all that there are.
func (s Set) Drawn(by Rule) (Message, bool) {
	if s.Flags&Anonymous == 0 || s.KeyLen != 4 || s.Size == 0 || s.Size > 1024 || !by.Exprs.has("numgen") {
		return Message{}, false
	}
	list, _ := by.Exprs.List()
	for i, e := range list {
		l, ok := e.(Lookup)
		if !ok || l.Set != s.Name || i == 0 {
			continue
		}
		n, ok := list[i-1].(Numgen)
		if !ok || n.Dreg != l.Sreg || n.Modulus != s.Size {
			continue
		}
		a := elementsAttrs{Table: s.Table, Set: s.Name}
		for number := range n.Modulus {
			a.Elements = append(a.Elements, Elem{Key: &Data{Value: binary.NativeEndian.AppendUint32(nil, n.Offset+number)}})
		}
		return Message{GetElement, 0, s.Family, attributes(a)}, true
	}
	return Message{}, false
}

// ParseElements reads the answer to GetElement.
func ParseElements(b []byte) ([]Elem, error) {
	a, err := parse[elementsAttrs](b)
	return a.Elements, err
}

func (e Element) encode() Elem {
	one := Elem{Key: &Data{Value: []byte(e.Key)}, Timeout: e.Timeout, Userdata: note(nil, noteComment, e.Comment), Object: e.Object}
	one.Expr, one.List = e.Exprs.oneOrList()
	if e.CatchAll {
		one.Key, one.Flags = nil, catchAll
	}
	if e.KeyEnd != "" {
		one.KeyEnd = &Data{Value: []byte(e.KeyEnd)}
	}
	switch {
	case e.Data != "":
		one.Data = &Data{Value: []byte(e.Data)}
	case e.Verdict != "":
		v := parseVerdict(e.Verdict)
		one.Data = &Data{Verdict: &v}
	}
	return one
}

func (s Set) element(one Elem) Element {
	text, _ := comment(one.Userdata, noteComment)
	e := Element{
		Family: s.Family, Table: s.Table, Set: s.Name, Object: one.Object, Timeout: one.Timeout, Expires: one.Expires, CatchAll: one.Flags&catchAll != 0,
		Exprs: one.Expr.list(one.List), Comment: text,
	}
	if one.Key != nil {
		e.Key = string(one.Key.Value)
	}
	if one.KeyEnd != nil {
		e.KeyEnd = string(one.KeyEnd.Value)
	}
	if one.Data != nil {
		e.Data = string(one.Data.Value)
		if v := one.Data.Verdict; v != nil {
			e.Verdict = v.String()
		}
	}
	return e
}
