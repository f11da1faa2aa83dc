package lab

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variableType is the type of a variable, and what its optional attributes are where they are left out.
type variableType struct {
	cty.Type
	defaults *typeexpr.Defaults
	text     string // as it is written; empty: too long for a message
}

func (t variableType) String() string {
	if t.text != "" && !t.IsPrimitiveType() {
		return t.text
	}
	return typeName(t.Type)
}

const allTypes = "A type is string, number, bool, any, or one made of others: list(string), set(string), map(number), object({ … }), tuple([ … ]). " +
	"An attribute of an object may be optional(string), or with a default: optional(number, 1500)."

func (l *loader) variableType(a *hclsyntax.Attribute) (variableType, bool) {
	ty, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
	for _, d := range diags {
		at := a.Expr.Range()
		if d.Subject != nil {
			at = *d.Subject
		}
		detail := sentence(d.Detail)
		if !strings.Contains(detail, "default value") {
			detail += " " + allTypes
		}
		l.errorf(at, "Invalid type", "%s", detail)
	}
	text := string(a.Expr.Range().SliceBytes(l.files[a.Expr.Range().Filename].Bytes))
	if len(text) > 100 || strings.Contains(text, "\n") {
		text = ""
	}
	return variableType{ty, defaults, text}, !diags.HasErrors()
}

// convert makes a value of the type that is wanted.
func (l *loader) convert(v cty.Value, t variableType, at hcl.Range, what string) (cty.Value, bool) {
	const costly = 8 // values that are made in the time of one step
	w := &weight{}
	w.add(v, 0)
	work := min(w.sum*t.growth()/costly, maxWork)
	if t.defaults != nil {
		work = min(work+unifying(v), maxWork)
	}
	if l.report(l.budget.charge(work, at)...); l.budget.spent != nil {
		return cty.DynamicVal, false
	}
	if t.defaults != nil && !v.IsNull() {
		v = t.defaults.Apply(v)
	}
	got, err := convert.Convert(v, t.Type)
	if err != nil {
		l.errorf(at, "Wrong type", "%s must be %s%s: %s.", what, t, inside(err), err)
		return cty.DynamicVal, false
	}
	w = &weight{}
	if w.add(got, 0); w.why != "" {
		l.errorf(at, "Value too large", "%s cannot be taken: %s.", what, w.why)
		return cty.DynamicVal, false
	}
	return got, true
}

// unifying is what it costs to give every collection in a value one type again, as is done where defaults are put in: it grows
// with the square of their length.
func unifying(v cty.Value) int {
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		return 0
	}
	n := v.LengthInt()
	work := min(n*n/256, maxWork)
	for it := v.ElementIterator(); it.Next() && work < maxWork; {
		_, e := it.Element()
		work += unifying(e)
	}
	return work
}

// growth is how many values at most may come of one by optional attributes.
func (t variableType) growth() int {
	if t.defaults == nil {
		return 1
	}
	return min(attributesOf(t.Type)*defaultsOf(t.defaults), maxWork)
}

// attributesOf counts the attributes of the objects of a type.
func attributesOf(ty cty.Type) int {
	n := 1
	switch {
	case ty.IsObjectType():
		for _, a := range ty.AttributeTypes() {
			n += attributesOf(a)
		}
	case ty.IsCollectionType():
		n += attributesOf(ty.ElementType())
	case ty.IsTupleType():
		for _, e := range ty.TupleElementTypes() {
			n += attributesOf(e)
		}
	}
	return n
}

// defaultsOf is how large a default can be with the defaults of its own attributes in place.
func defaultsOf(d *typeexpr.Defaults) int {
	own, below := 1, 1
	for _, v := range d.DefaultValues {
		w := &weight{}
		w.add(v, 0)
		own += w.sum - 1
	}
	for _, child := range d.Children {
		below += defaultsOf(child) - 1
	}
	return min(own*below, maxWork)
}

// inside says where in a value a conversion failed.
func inside(err error) string {
	var at cty.PathError
	if !errors.As(err, &at) || len(at.Path) == 0 {
		return ""
	}
	var path strings.Builder
	for _, step := range at.Path {
		switch step := step.(type) {
		case cty.GetAttrStep:
			path.WriteString("." + step.Name)
		case cty.IndexStep:
			if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
				fmt.Fprintf(&path, "[%q]", step.Key.AsString())
			} else if step.Key.Type() == cty.Number && step.Key.IsKnown() && !step.Key.IsNull() {
				fmt.Fprintf(&path, "[%s]", step.Key.AsBigFloat().Text('f', 0))
			}
		}
	}
	return ", and is not at " + strings.TrimPrefix(path.String(), ".")
}

func typeName(ty cty.Type) string {
	switch ty {
	case cty.String:
		return "a string"
	case cty.Number:
		return "a number"
	case cty.Bool:
		return "true or false"
	}
	return typeexpr.TypeString(ty)
}
