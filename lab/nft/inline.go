package nft

import "slices"

// Inline is a set that is written where it is used: { 80, 443 }.
type Inline struct {
	Flags    uint32        `nft:"1"`
	KeyType  uint32        `nft:"2"`
	KeyLen   uint32        `nft:"3"`
	DataType uint32        `nft:"4,opt"`
	DataLen  uint32        `nft:"5,opt"`
	Fields   []lengthAttrs `nft:"6,opt"`
	Userdata []byte        `nft:"8,opt"`
	Elements []Elem
}

func (i *Inline) set(r Rule) Set {
	s := Set{
		Family: r.Family, Table: r.Table, Flags: i.Flags | Anonymous | Constant, KeyType: i.KeyType, KeyLen: i.KeyLen, DataType: i.DataType, DataLen: i.DataLen,
		Size: uint32(len(i.Elements)), Userdata: string(i.Userdata),
	}
	for _, f := range i.Fields {
		s.Fields += string([]byte{byte(f.Len)})
	}
	return s
}

// elements are those of the set, with its name.
func (i *Inline) elements(s Set) []Element {
	var list []Element
	for _, e := range i.Elements {
		list = append(list, s.element(e))
	}
	return list
}

// NewInline writes a set where it is used. The order of its elements is of no consequence.
func NewInline(s Set, elements []Element) *Inline {
	i := &Inline{Flags: s.Flags &^ (Anonymous | Constant), KeyType: s.KeyType, KeyLen: s.KeyLen, DataType: s.DataType, DataLen: s.DataLen}
	if s.Userdata != "" {
		i.Userdata = []byte(s.Userdata)
	}
	for n := range len(s.Fields) {
		i.Fields = append(i.Fields, lengthAttrs{uint32(s.Fields[n])})
	}
	for _, e := range elements {
		e.Exprs = e.Exprs.Forget()
		i.Elements = append(i.Elements, e.encode())
	}
	slices.SortFunc(i.Elements, func(a, b Elem) int { return slices.Compare(attributes(a), attributes(b)) })
	return i
}

// Adopt makes the anonymous sets of a rule part of it, as rules are written. Sets are found by name.
func (r Rule) Adopt(find func(name string) (Contents, bool)) (Rule, error) {
	if !r.Exprs.has("lookup") {
		return r, nil
	}
	var b []byte
	adopted := false
	for kind, data := range r.Exprs.records {
		if kind == recordExpr && exprName(data) == "lookup" {
			e, err := parseExpr([]byte(data))
			if err != nil {
				return r, err
			}
			l, _ := e.(Lookup)
			if c, ok := find(l.Set); ok {
				l.Set, adopted = "", true
				b = append(record(b, recordExpr, appendContent(nil, l)), c...)
				continue
			}
		}
		b = record(b, kind, []byte(data))
	}
	if adopted {
		r.Exprs = Exprs(b)
	}
	return r, nil
}

// Refs are the chains, sets and objects of its table that a rule names, one a line: chain services.
func (x Exprs) Refs() []string {
	var refs []string
	ref := func(kind, name string) {
		if line := kind + " " + name + "\n"; name != "" && !slices.Contains(refs, line) {
			refs = append(refs, line)
		}
	}
	for kind, data := range x.records {
		switch {
		case kind == recordElement:
			if one, err := parse[Elem]([]byte(data)); err == nil && one.Data != nil && one.Data.Verdict != nil {
				ref("chain", one.Data.Verdict.Chain)
			}
		case kind == recordExpr && naming[exprName(data)]:
			e, err := parseExpr([]byte(data))
			if err != nil {
				return nil
			}
			switch e := e.(type) {
			case Immediate:
				if e.Data.Verdict != nil {
					ref("chain", e.Data.Verdict.Chain)
				}
			case Lookup:
				ref("set", e.Set)
			case Dynset:
				ref("set", e.Set)
			case Objref:
				ref("set", e.SetName)
				if e.Name != "" {
					ref("object", Object{Type: e.Type}.KindName()+" "+e.Name)
				}
			}
		case kind == recordExpr && asksIPSet(data):
			e, _ := parseExpr([]byte(data))
			if m, ok := e.(Match); ok {
				name, _, _ := m.ipset()
				ref("ipset", name)
			}
		}
	}
	return refs
}

// naming are the expressions that may name something of their table.
var naming = map[string]bool{"immediate": true, "lookup": true, "dynset": true, "objref": true}

// Named reports whether the list may name sets or objects of its table, whose types its words depend on.
func (x Exprs) Named() bool { return x.has("lookup", "dynset", "objref") }

// Plain reports whether nft(8)'s words say all there is: of iptables' own matches and targets, and of what has no form
// here, they do not.
func (x Exprs) Plain() bool {
	for kind, data := range x.records {
		if kind != recordExpr {
			continue
		}
		name := exprName(data)
		if _, known := expressions[name]; !known || name == "match" || name == "target" {
			return false
		}
	}
	return true
}
