package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"
)

// Kind is the type of a message, as the kernel numbers it.
type Kind uint16

const (
	NewTable Kind = iota
	GetTable
	DelTable
	NewChain
	GetChain
	DelChain
	NewRule
	GetRule
	DelRule
	NewSet
	GetSet
	DelSet
	NewElement
	GetElement
	DelElement
	NewGeneration
	GetGeneration
	TraceEvent
	NewObject
	GetObject
	DelObject
	ResetObject
	NewFlowtable
	GetFlowtable
	DelFlowtable
)

// Message is one of a transaction.
type Message struct {
	Kind   Kind
	Flags  uint16 // Create, Append, Replace
	Family Family
	Data   []byte
}

// Flags of messages that make something.
const (
	FlagReplace = 0x100
	FlagCreate  = 0x400
	FlagAppend  = 0x800
)

type tableAttrs struct {
	Name     string `nft:"1"`
	Flags    uint32 `nft:"2"`
	Userdata []byte `nft:"6,opt"`
}

type hookAttrs struct {
	Num      uint32   `nft:"1"`
	Priority int32    `nft:"2"`
	Device   string   `nft:"3,opt"`
	Devices  []string `nft:"4,opt"`
}

type chainAttrs struct {
	Table    string     `nft:"1"`
	Name     string     `nft:"3"`
	Hook     *hookAttrs `nft:"4"`
	Policy   *uint32    `nft:"5"`
	Type     string     `nft:"7,opt"`
	Flags    uint32     `nft:"10,opt"`
	Userdata []byte     `nft:"12,opt"`
}

type compatAttrs struct {
	Protocol uint32 `nft:"1"`
	Flags    uint32 `nft:"2"`
}

// Attributes of a rule that are looked at before it is read.
const (
	ruleTable    = 1
	ruleChain    = 2
	ruleHandle   = 3
	ruleExprs    = 4
	ruleUserdata = 7
)

type ruleAttrs struct {
	Table    string       `nft:"1"`
	Chain    string       `nft:"2,opt"`
	Handle   uint64       `nft:"3,opt"`
	Exprs    packed       `nft:"4,opt"`
	Compat   *compatAttrs `nft:"5"`
	Position uint64       `nft:"6,opt"`
	Userdata []byte       `nft:"7,opt"`
}

type objectAttrs struct {
	Table    string `nft:"1"`
	Name     string `nft:"2"`
	Type     uint32 `nft:"3"`
	Data     []byte `nft:"4,opt"`
	Userdata []byte `nft:"8,opt"`
}

func attributes(v any) []byte { return encode(nil, reflect.ValueOf(v)) }

func parse[T any](b []byte) (T, error) {
	var v T
	err := decode(b, reflect.ValueOf(&v).Elem())
	return v, err
}

// Notes that nft(8) leaves with an object: a number, a length, and so many bytes.
const (
	noteComment    = 0 // of a table, a chain, a rule, an element or an object
	noteSetComment = 7
	noteKeyOrder   = 0
	noteAutoMerge  = 2
	noteMark       = 0x6c // not nft(8)'s, which takes no notice of it
)

// machineOrder is the note that a set's keys are numbers in the machine's order.
var machineOrder = string(binary.NativeEndian.AppendUint32([]byte{noteKeyOrder, 4}, 1))

func note(b []byte, kind byte, text string) []byte {
	if text == "" || len(text) > 254 {
		return b
	}
	return append(append(b, kind, byte(len(text)+1)), text+"\x00"...)
}

// noted takes the first note of a kind out of notes; rest are the others.
func noted(b []byte, kind byte) (value, rest []byte) {
	for len(b) >= 2 && 2+int(b[1]) <= len(b) {
		n := 2 + int(b[1])
		if b[0] == kind && value == nil {
			value = b[2:n]
		} else {
			rest = append(rest, b[:n]...)
		}
		b = b[n:]
	}
	return value, rest
}

// comment takes the comment out of notes.
func comment(b []byte, kind byte) (text string, rest []byte) {
	value, rest := noted(b, kind)
	value, _, _ = bytes.Cut(value, []byte{0})
	return string(value), rest
}

// Add makes the table; where it exists that changes nothing but its flags.
func (t Table) Add() Message {
	return Message{NewTable, FlagCreate, t.Family, attributes(tableAttrs{t.Name, t.Flags, note(nil, noteComment, t.Comment)})}
}

func (t Table) Del() Message {
	return Message{DelTable, 0, t.Family, attributes(tableAttrs{Name: t.Name})}
}

// ParseTable reads the answer to GetTable.
func ParseTable(f Family, b []byte) (Table, error) {
	a, err := parse[tableAttrs](b)
	text, _ := comment(a.Userdata, noteComment)
	return Table{f, a.Name, a.Flags, text}, err
}

// Add makes the chain, or changes the policy of one that exists.
func (c Chain) Add() Message {
	a := chainAttrs{Table: c.Table, Name: c.Name, Type: c.Type, Flags: c.Flags, Userdata: note(nil, noteComment, c.Comment)}
	if c.Type != "" {
		hook := &hookAttrs{Num: c.Hook, Priority: c.Priority}
		switch devices := strings.Fields(c.Devices); len(devices) {
		case 0:
		case 1:
			hook.Device = devices[0]
		default:
			hook.Devices = devices
		}
		a.Hook, a.Policy = hook, &c.Policy
	}
	return Message{NewChain, FlagCreate, c.Family, attributes(a)}
}

func (c Chain) Del() Message {
	return Message{DelChain, 0, c.Family, attributes(chainAttrs{Table: c.Table, Name: c.Name})}
}

const baseChain = 1 // a flag that the kernel sets by itself

// ParseChain reads the answer to GetChain.
func ParseChain(f Family, b []byte) (Chain, error) {
	a, err := parse[chainAttrs](b)
	text, _ := comment(a.Userdata, noteComment)
	c := Chain{Family: f, Table: a.Table, Name: a.Name, Type: a.Type, Flags: a.Flags &^ baseChain, Comment: text}
	if a.Type == "" {
		return c, err
	}
	if a.Hook != nil {
		c.Hook, c.Priority = a.Hook.Num, a.Hook.Priority
		devices := strings.Join(a.Hook.Devices, " ") // of one the kernel tells twice
		if devices == "" {
			devices = a.Hook.Device
		}
		c.Devices = strings.Join(strings.Fields(devices), " ")
	}
	if a.Policy != nil {
		c.Policy = *a.Policy
	}
	return c, err
}

// Where says at what place of its chain a rule is put: in that of another, or before it; at the end where it is neither.
type Where struct {
	Replace, Before uint64
	// Fresh says that the table is new. Inline sets then get names by their numbers; for a name of the kernel's it would look
	// through all that there are.
	Fresh bool
}

// Add makes the rule, and before it the sets that its lookups have inline. Their numbers begin with id, and the next that
// is free is returned.
func (r Rule) Add(where Where, id uint32) ([]Message, uint32) {
	var messages []Message
	a := ruleAttrs{Table: r.Table, Chain: r.Chain, Exprs: r.Exprs.packed(), Compat: r.Exprs.compat(), Userdata: note(nil, noteComment, r.Comment)}
	if r.Exprs.inline() {
		list, err := r.Exprs.List()
		if err != nil {
			panic(fmt.Sprintf("nft: a rule of %s %s: %v", r.Table, r.Chain, err))
		}
		for i, e := range list {
			l, ok := e.(Lookup)
			if !ok || l.Inline == nil {
				continue
			}
			s := l.Inline.set(r)
			s.Mark = l.Inline.Contents().mark()
			s.Name = "__set"
			if s.Flags&Map != 0 {
				s.Name = "__map"
			}
			if where.Fresh {
				s.Name += fmt.Sprintf(".%d", id)
			} else {
				s.Name += "%d"
			}
			messages = append(messages, s.add(id))
			messages = append(messages, s.addElements(l.Inline.elements(s), id)...)
			l.Set, l.ID, l.Inline = s.Name, id, nil
			list[i] = l
			id++
		}
		a.Exprs = packedOf(list)
	}
	flags := uint16(FlagCreate | FlagAppend)
	switch {
	case where.Replace != 0:
		a.Handle, flags = where.Replace, FlagReplace
	case where.Before != 0:
		a.Position, flags = where.Before, FlagCreate
	}
	return append(messages, Message{NewRule, flags, r.Family, attributes(a)}), id
}

// compat says what iptables' own matches and targets ask of the rule that they are in.
func (x Exprs) compat() *compatAttrs {
	if !x.has("match", "target") {
		return nil
	}
	var c compatAttrs
	before := ""
	for kind, data := range x.records {
		if kind == recordExpr && before != "" && exprName(data) == "cmp" {
			loads, _ := parseExpr([]byte(before))
			compares, _ := parseExpr([]byte(data))
			e, _ := compares.(Cmp)
			m, isMeta := loads.(Meta)
			p, isPayload := loads.(Payload)
			if len(e.Data.Value) == 1 && (isMeta && m.Key == metaL4Proto || isPayload && p == (Payload{Dreg: 1, Base: networkHeader, Offset: 9, Len: 1})) {
				c.Protocol = uint32(e.Data.Value[0])
				if e.Op == cmpNeq {
					c.Flags = 2 // NFT_RULE_COMPAT_F_INV
				}
			}
		}
		if before = ""; kind == recordExpr && (exprName(data) == "meta" || exprName(data) == "payload") {
			before = data
		}
	}
	return &c
}

// Del removes the rule of that handle.
func (r Rule) Del() Message {
	return Message{DelRule, 0, r.Family, attributes(ruleAttrs{Table: r.Table, Chain: r.Chain, Handle: r.Handle})}
}

// AllOf asks for the rules of a chain, or of a table where the chain has no name.
func (r Rule) AllOf() Message {
	return Message{GetRule, 0, r.Family, attributes(ruleAttrs{Table: r.Table, Chain: r.Chain})}
}

// ParseRule reads the answer to GetRule. Lookups in anonymous sets still have these by name: see Adopt.
func ParseRule(f Family, b []byte) (Rule, error) {
	a, err := parse[ruleAttrs](b)
	text, _ := comment(a.Userdata, noteComment)
	return Rule{Family: f, Table: a.Table, Chain: a.Chain, Exprs: a.Exprs.exprs(), Comment: text, Handle: a.Handle}, err
}

func (o Object) Add() Message {
	return Message{NewObject, FlagCreate, o.Family, attributes(objectAttrs{o.Table, o.Name, o.Type, []byte(o.Data), note(nil, noteComment, o.Comment)})}
}

func (o Object) Del() Message {
	if o.Type == FlowtableObject {
		return Message{DelFlowtable, 0, o.Family, attributes(flowtableAttrs{o.Table, o.Name})}
	}
	return Message{DelObject, 0, o.Family, attributes(objectAttrs{Table: o.Table, Name: o.Name, Type: o.Type})}
}

type flowtableAttrs struct {
	Table string `nft:"1"`
	Name  string `nft:"2"`
}

// ParseFlowtable reads the answer to GetFlowtable.
func ParseFlowtable(f Family, b []byte) (Object, error) {
	a, err := parse[flowtableAttrs](b)
	return Object{Family: f, Table: a.Table, Name: a.Name, Type: FlowtableObject}, err
}

// ParseObject reads the answer to GetObject.
func ParseObject(f Family, b []byte) (Object, error) {
	a, err := parse[objectAttrs](b)
	text, _ := comment(a.Userdata, noteComment)
	return Object{f, a.Table, a.Name, a.Type, string(a.Data), text}, err
}

// ParseGeneration reads the answer to GetGeneration: the number of the last transaction.
func ParseGeneration(b []byte) (uint32, error) {
	a, err := parse[struct {
		ID uint32 `nft:"1"`
	}](b)
	return a.ID, err
}
