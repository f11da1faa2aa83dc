package lab

import (
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// fields reads the attributes of one block in one scope. The readers report what is wrong and return false then, as they
// do for an attribute that was left out. One that is null means that it is left out, so it has no place either.
type fields struct {
	l     *loader
	shape *shape
	body  *hclsyntax.Body
	ctx   *hcl.EvalContext
	at    Ranges
}

func (l *loader) fields(s *shape, body *hclsyntax.Body, ctx *hcl.EvalContext) *fields {
	f := &fields{l: l, shape: s, body: body, ctx: ctx, at: Ranges{}}
	if body != nil {
		l.report(l.budget.charge(1, missing(body))...)
		for name, a := range body.Attributes {
			f.at[name] = a.SrcRange
		}
	}
	return f
}

// value evaluates an attribute; false when that failed or when it depends on something that failed before.
func (f *fields) value(a *hclsyntax.Attribute) (cty.Value, bool) {
	if f.l.broken[a] {
		return cty.DynamicVal, false
	}
	v, diags := a.Expr.Value(f.ctx)
	f.l.report(diags...)
	return v, !diags.HasErrors() && v.IsWhollyKnown()
}

func (f *fields) get(name string) (cty.Value, hcl.Range, bool) {
	v, at, there, _ := f.find(name)
	return v, at, there
}

// find reads an attribute that may be left out; right is false only when it is wrong.
func (f *fields) find(name string) (v cty.Value, at hcl.Range, there, right bool) {
	a := f.body.Attributes[name]
	if a == nil {
		return cty.NilVal, hcl.Range{}, false, true
	}
	at = a.Expr.Range()
	if v, right = f.value(a); right && v.IsNull() {
		delete(f.at, name)
		if slices.Contains(f.shape.required, name) {
			f.l.errorf(at, "Missing attribute", "%s needs the attribute %q, and null means that it is left out.", upper(f.shape.a), name)
			right = false
		}
		return v, at, false, right
	}
	return v, at, right, right
}

// text reads a string; numbers are not taken for one, because what looks like a number is often one that was meant to
// have a unit.
func (f *fields) text(name string) (string, hcl.Range, bool) {
	v, at, ok := f.get(name)
	if !ok {
		return "", at, false
	}
	text, ok := f.asText(name, v, at)
	return text, at, ok
}

// asText takes a value for a string.
func (f *fields) asText(name string, v cty.Value, at hcl.Range) (string, bool) {
	if v.Type() != cty.String {
		f.l.errorf(at, "Wrong type", "%q must be a string in quotes, not %s.", name, kindOf(v))
		return "", false
	}
	return v.AsString(), true
}

func (f *fields) number(name string, low, high float64, unit string) (float64, hcl.Range, bool) {
	v, at, ok := f.get(name)
	if !ok {
		return 0, at, false
	}
	x, ok := f.asNumber(name, v, at, low, high, unit)
	return x, at, ok
}

// asNumber takes a value for a number in a range.
func (f *fields) asNumber(name string, v cty.Value, at hcl.Range, low, high float64, unit string) (float64, bool) {
	n, err := convert.Convert(v, cty.Number)
	if err != nil || n.IsNull() {
		if v.Type() == cty.String && !v.IsNull() {
			f.l.errorf(at, "Wrong type", "%q must be a number; %q is not one.", name, shorten(v.AsString()))
			return 0, false
		}
		f.l.errorf(at, "Wrong type", "%q must be a number, not %s.", name, kindOf(v))
		return 0, false
	}
	x, _ := n.AsBigFloat().Float64()
	if x < low || x > high {
		f.l.errorf(at, "Number out of range", "%q must be from %.0f to %.0f%s.", name, low, high, unit)
		return 0, false
	}
	return x, true
}

func (f *fields) integer(name string, low, high int, unit string) (int, hcl.Range, bool) {
	v, at, ok := f.get(name)
	if !ok {
		return 0, at, false
	}
	n, ok := f.asInteger(name, v, at, low, high, unit)
	return n, at, ok
}

// asInteger takes a value for a whole number in a range.
func (f *fields) asInteger(name string, v cty.Value, at hcl.Range, low, high int, unit string) (int, bool) {
	x, ok := f.asNumber(name, v, at, float64(low), float64(high), unit)
	if !ok {
		return 0, false
	}
	if x != float64(int(x)) {
		f.l.errorf(at, "Whole number expected", "%q must be a whole number, not %g.", name, x)
		return 0, false
	}
	return int(x), true
}

// optional reads a whole number that may be left out, as 0 then; false only when it is wrong.
func (f *fields) optional(name string, low, high int) (n int, at hcl.Range, right bool) {
	v, at, there, right := f.find(name)
	if !there {
		return 0, at, right
	}
	n, right = f.asInteger(name, v, at, low, high, "")
	return n, at, right
}

// kindOf says what a value is, for a message about what it should have been.
func kindOf(v cty.Value) string {
	switch ty := v.Type(); {
	case v.IsNull():
		return "null"
	case ty == cty.Number:
		return "a number"
	case ty == cty.String:
		return "a string"
	case ty == cty.Bool:
		return "true or false"
	case ty.IsTupleType(), ty.IsListType():
		return "a list"
	case ty.IsSetType():
		return "a set"
	}
	return "an object"
}

// element is a value of a list, with the place of that very value where the list is written out.
type element struct {
	value cty.Value
	at    hcl.Range
}

// elements reads a list, or a single value as a list of one. It returns false only when that is wrong; left out, there are
// none.
func (f *fields) elements(name string) (elements []element, right bool) {
	v, at, there, right := f.find(name)
	if !there {
		return nil, right
	}
	if ty := v.Type(); !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType() {
		return []element{{v, at}}, true
	}
	exprs, _ := hcl.ExprList(f.body.Attributes[name].Expr)
	if len(exprs) != v.LengthInt() {
		exprs = nil
	}
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		at := at
		if exprs != nil {
			at = exprs[len(elements)].Range()
		}
		elements = append(elements, element{e, at})
	}
	if len(elements) == 0 {
		f.l.errorf(at, "Empty list", "%q is empty. List at least one, or leave the attribute out.", name)
		return nil, false
	}
	return elements, true
}

// item is a string of a list, with the place of that very string where the list is written out.
type item struct {
	text string
	at   hcl.Range
}

// list reads a string or a list of strings.
func (f *fields) list(name string) ([]item, bool) {
	elements, _ := f.elements(name)
	var items []item
	for _, e := range elements {
		if e.value.Type() == cty.String && !e.value.IsNull() {
			items = append(items, item{e.value.AsString(), e.at})
			continue
		}
		if a := f.body.Attributes[name]; e.at == a.Expr.Range() {
			f.l.errorf(e.at, "Wrong type", "%q must be a string or a list of strings, not %s.", name, kindOf(e.value))
		} else {
			f.l.errorf(e.at, "Wrong type", "%q must be a list of strings; this element is %s.", name, kindOf(e.value))
		}
		return nil, false
	}
	return items, len(items) > 0
}

// prefixes reads CIDRs, at most one a family. ok is false as soon as one of them is wrong.
func (f *fields) prefixes(name string) (prefixes []netip.Prefix, places []hcl.Range, ok bool) {
	items, ok := f.list(name)
	for _, it := range items {
		p, valid := f.l.prefix(it)
		if valid && !f.oneOfFamily(name, p.Addr(), places, prefixes, it.at) {
			valid = false
		}
		if !valid {
			ok = false
			continue
		}
		prefixes, places = append(prefixes, p), append(places, it.at)
	}
	return prefixes, places, ok
}

// addresses reads IP addresses, at most one a family.
func (f *fields) addresses(name string) (addrs []netip.Addr, places []hcl.Range, ok bool) {
	items, ok := f.list(name)
	var seen []netip.Prefix
	for _, it := range items {
		a, valid := f.l.address(it)
		if valid && !f.oneOfFamily(name, a, places, seen, it.at) {
			valid = false
		}
		if !valid {
			ok = false
			continue
		}
		addrs, places, seen = append(addrs, a), append(places, it.at), append(seen, netip.PrefixFrom(a, a.BitLen()))
	}
	return addrs, places, ok
}

func (f *fields) oneOfFamily(name string, a netip.Addr, places []hcl.Range, seen []netip.Prefix, at hcl.Range) bool {
	for i, s := range seen {
		if s.Addr().Is6() == a.Is6() {
			f.l.clash(at, places[i], "Two of one address family", "%q takes at most one IPv4 and one IPv6 address; %s is the second of %s, after the one at %s.", name, a, family(a))
			return false
		}
	}
	return true
}
