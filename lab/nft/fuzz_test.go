package nft

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// corpus are messages that make what real programs made, and one rule of each shape: testbed/netfilter writes them, from
// what it reads. A line is a message: its kind, its family, and its attributes.
func corpus(tb testing.TB) []Message {
	files, err := filepath.Glob("testdata/*.messages")
	if err != nil || len(files) == 0 {
		tb.Fatalf("there are no messages: %v", err)
	}
	var list []Message
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			words := strings.Fields(lines.Text())
			kind, _ := strconv.Atoi(words[0])
			family, _ := strconv.Atoi(words[1])
			data, err := hex.DecodeString(words[2])
			if err != nil {
				tb.Fatal(err)
			}
			list = append(list, Message{Kind: Kind(kind), Family: Family(family), Data: data})
		}
	}
	return list
}

// again parses a message and encodes what it says.
func again(m Message) (value any, back []byte, err error) {
	switch m.Kind {
	case NewTable:
		v, err := ParseTable(m.Family, m.Data)
		return v, made(err, func() []byte { return v.Add().Data }), err
	case NewChain:
		v, err := ParseChain(m.Family, m.Data)
		return v, made(err, func() []byte { return v.Add().Data }), err
	case NewSet:
		v, err := ParseSet(m.Family, m.Data)
		return v, made(err, func() []byte { return v.Add(0).Data }), err
	case NewObject:
		v, err := ParseObject(m.Family, m.Data)
		return v, made(err, func() []byte { return v.Add().Data }), err
	case NewElement:
		v, err := parse[elementsAttrs](m.Data)
		return v, made(err, func() []byte { return attributes(v) }), err
	case NewRule:
		v, err := ParseRule(m.Family, m.Data)
		v.Handle = 0
		return v, made(err, func() []byte {
			messages, _ := v.Add(Where{}, 0)
			return messages[len(messages)-1].Data
		}), err
	case TraceEvent:
		v, err := ParseTrace(m.Family, m.Data)
		return v, m.Data, err
	}
	return nil, m.Data, nil
}

// made encodes what could be read.
func made(err error, encode func() []byte) []byte {
	if err != nil {
		return nil
	}
	return encode()
}

func check(t *testing.T, m Message) error {
	v, back, err := again(m)
	if err != nil {
		return err
	}
	m.Data = back
	w, once, err := again(m)
	if err != nil {
		t.Fatalf("%+v cannot be read again: %v", v, err)
	}
	if !cmp.Equal(v, w, cmpopts.EquateEmpty()) {
		t.Fatalf("%+v comes back as\n%+v", v, w)
	}
	if !bytes.Equal(back, once) {
		t.Fatalf("%+v is encoded as %x, and then as %x", v, back, once)
	}
	r := Ruleset{Tables: []Table{{Family: m.Family, Name: "t"}}}
	switch v := v.(type) {
	case Rule:
		unread(t, v.Exprs)
		r.Tables[0].Name, r.Chains, r.Rules = v.Table, []Chain{{Family: v.Family, Table: v.Table, Name: v.Chain}}, []Rule{v}
	case Set:
		r.Tables[0].Name, r.Sets = v.Table, []Set{v}
	case Chain:
		r.Tables[0].Name, r.Chains = v.Table, []Chain{v}
	case Object:
		r.Tables[0].Name, r.Objects = v.Table, []Object{v}
		v.Forget()
	case elementsAttrs:
		for _, flags := range []uint32{0, Interval, Interval | Concat, Map} {
			s := Set{Family: m.Family, Table: "t", Name: "s", Flags: flags, KeyType: 7<<6 | 13, DataType: 7}
			r.Sets, r.Elements = []Set{s}, s.Join(v.Elements)
			for _, e := range r.Elements {
				s.AddElements([]Element{e})
			}
			_ = r.Text()
		}
	}
	if r.Text() == "" {
		t.Fatalf("%+v has no text", v)
	}
	return nil
}

// unread holds what is told of a list by the names in it against what its expressions say.
func unread(t *testing.T, x Exprs) {
	list, err := x.List()
	if err != nil {
		t.Fatal(err)
	}
	plain, bare := true, make([]Expr, len(list))
	for i, e := range list {
		list[i], bare[i] = forget(e), e
		switch e := e.(type) {
		case Match, Target, Raw:
			plain = false
		case Lookup:
			e.Inline = nil
			bare[i] = e
		}
		if !x.has(e.name()) {
			t.Fatalf("%+v has no %s", list, e.name())
		}
	}
	if x.has("nothing") || x.Plain() != plain {
		t.Fatalf("%+v: plain is %v", list, x.Plain())
	}
	if x.Forget() != Pack(list...) {
		t.Fatalf("%+v is forgotten as %x", list, x.Forget())
	}
	if x.packed() != packedOf(bare) {
		t.Fatalf("%+v is sent as %x", list, x.packed())
	}
	if read := packedOf(bare); read.exprs() != Pack(bare...) {
		t.Fatalf("%+v is read as %x", bare, read.exprs())
	}
	if r, err := (Rule{Exprs: x}).Adopt(func(string) (Contents, bool) { return "", false }); err != nil || r.Exprs != x {
		t.Fatalf("%+v is adopted as %x: %v", list, r.Exprs, err)
	}
}

// TestMessages: whatever real programs made is understood to the last attribute.
func TestMessages(t *testing.T) {
	kinds := map[Kind]int{}
	for _, m := range corpus(t) {
		kinds[m.Kind]++
		if err := check(t, m); err != nil {
			t.Errorf("%d %x: %v", m.Kind, m.Data, err)
		}
		if m.Kind != NewSet { // which has a number in its transaction
			if v, back, _ := again(m); !bytes.Equal(back, m.Data) {
				t.Errorf("%+v was\n%x and is\n%x", v, m.Data, back)
			}
		}
	}
	for _, k := range []Kind{NewTable, NewChain, NewRule, NewSet, NewElement, NewObject} {
		if kinds[k] == 0 {
			t.Errorf("there is no message of kind %d", k)
		}
	}
}

// FuzzMessages: a message that can be read is encoded as one that says the same, and none is a panic.
func FuzzMessages(f *testing.F) {
	for _, m := range corpus(f) {
		f.Add(uint16(m.Kind), byte(m.Family), m.Data)
	}
	f.Fuzz(func(t *testing.T, kind uint16, family byte, data []byte) {
		if len(data) > 16<<10 {
			return // no attribute is longer than 65,535 bytes, and what is encoded may be longer than what was read
		}
		_ = check(t, Message{Kind: Kind(kind), Family: Family(family), Data: data})
	})
}

// FuzzExprs: any packed list is either none, or packs again to itself.
func FuzzExprs(f *testing.F) {
	for _, m := range corpus(f) {
		if m.Kind == NewRule {
			r, _ := ParseRule(m.Family, m.Data)
			f.Add(string(r.Exprs))
		}
	}
	f.Add(string(Build(INet, OneOf("tcp dport", 80, 443), Then(Accept))))
	f.Fuzz(func(t *testing.T, packed string) {
		if len(packed) > 16<<10 {
			return
		}
		list, err := Exprs(packed).List()
		if err != nil {
			return
		}
		x := Pack(list...)
		back, err := x.List()
		if err != nil || len(back) != len(list) {
			t.Fatalf("%+v comes back as %+v: %v", list, back, err)
		}
		if Pack(back...) != x || x.Forget().Forget() != x.Forget() {
			t.Fatalf("%+v does not pack to itself", list)
		}
		unread(t, x)
		x.Refs()
		_ = Text(INet, x, func(string) (Set, bool) { return Set{KeyType: 7<<6 | 13, KeyLen: 8, DataType: 7, DataLen: 4}, true })
	})
}
