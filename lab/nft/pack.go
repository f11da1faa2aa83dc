package nft

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

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
		set := l.Inline
		l.Inline = nil
		b = append(record(b, recordExpr, appendContent(nil, l)), set.Contents()...)
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

// records are those of a list, each by its kind; where it is none, as far as it is one.
func (x Exprs) records(yield func(kind uint32, data string) bool) {
	for len(x) >= 8 {
		kind, n := binary.NativeEndian.Uint32([]byte(x[:4])), binary.NativeEndian.Uint32([]byte(x[4:8]))
		if uint64(n) > uint64(len(x)-8) || !yield(kind, string(x[8:8+n])) {
			return
		}
		x = x[8+n:]
	}
}

// exprName is the name of an expression, which comes first in its record.
func exprName(data string) string {
	if len(data) < header {
		return ""
	}
	name, _, _ := strings.Cut(data[header:], "\x00")
	return name
}

// has reports whether an expression of one of these names is in the list.
func (x Exprs) has(names ...string) bool {
	for kind, data := range x.records {
		if kind == recordExpr && slices.Contains(names, exprName(data)) {
			return true
		}
	}
	return false
}

// inline reports whether a lookup has its set inline.
func (x Exprs) inline() bool {
	for kind := range x.records {
		if kind == recordInline {
			return true
		}
	}
	return false
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

// packed is a list of expressions as the kernel has it.
type packed string

// packed is the list without what its lookups have inline.
func (x Exprs) packed() packed {
	b := make([]byte, 0, len(x))
	for kind, data := range x.records {
		if kind == recordExpr {
			var at int
			b, at = begin(b, listElem|nested)
			b = end(append(b, data...), at)
		}
	}
	return packed(b)
}

func packedOf(list []Expr) packed {
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
	return packed(b)
}

func (w packed) list() ([]Expr, error) {
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

// exprs packs a list that was parsed: what is in it is as it is packed.
func (w packed) exprs() Exprs {
	var b []byte
	_ = each([]byte(w), func(_ uint16, data []byte) error {
		b = record(b, recordExpr, data)
		return nil
	})
	return Exprs(b)
}

func (w packed) appendTo(b []byte) []byte { return append(b, w...) }

func (w *packed) parse(data []byte) error {
	list, err := packed(data).list()
	if err == nil {
		*w = packedOf(list)
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
func (x One) list(several packed) Exprs {
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
func (x Exprs) oneOrList() (One, packed) {
	if list, err := x.List(); err == nil && len(list) == 1 {
		return One(appendContent(nil, list[0])), ""
	}
	return "", x.packed()
}

// Forget returns the list without what the kernel counts.
func (x Exprs) Forget() Exprs {
	counted := false
	for kind, data := range x.records {
		if kind == recordExpr {
			name := exprName(data)
			counted = counted || name == "quota" || name == "counter" && data != string(uncounted[8:])
		}
	}
	if !counted {
		return x
	}
	var b []byte
	at := 0
	for kind, data := range x.records {
		next := at + 8 + len(data)
		switch name := exprName(data); {
		case kind == recordExpr && name == "counter":
			b = append(b, uncounted...)
		case kind == recordExpr && name == "quota":
			e, err := parseExpr([]byte(data))
			if err != nil {
				return x
			}
			b = append(b, Pack(forget(e))...)
		default:
			b = append(b, x[at:next]...)
		}
		at = next
	}
	if at != len(x) {
		return x
	}
	return Exprs(b)
}

// uncounted is a counter of nothing.
var uncounted = Pack(Counter{})

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
