package attach

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Word is a string of a setting, and where it stands.
type Word struct {
	Text string
	At   hcl.Range
}

// Words reads a setting that is a string or a list of strings; what says what they are, for messages.
func Words(e hcl.Expression, ctx *hcl.EvalContext, what string) ([]Word, hcl.Diagnostics) {
	v, diags := e.Value(ctx)
	if diags.HasErrors() || v.IsNull() {
		return nil, diags
	}
	wrong := func(at hcl.Range, summary, detail string) hcl.Diagnostics {
		return append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, what), Subject: &at})
	}
	if v.IsKnown() && v.Type() == cty.String {
		return []Word{{v.AsString(), e.Range()}}, diags
	}
	if ty := v.Type(); !v.IsWhollyKnown() || !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType() {
		return nil, wrong(e.Range(), "Wrong type", "This must be %s in quotes, or a list of them.")
	}
	places, _ := hcl.ExprList(e)
	if len(places) != v.LengthInt() {
		places = nil
	}
	var words []Word
	for it := v.ElementIterator(); it.Next(); {
		_, element := it.Element()
		at := e.Range()
		if places != nil {
			at = places[len(words)].Range()
		}
		if element.IsNull() || element.Type() != cty.String {
			return nil, wrong(at, "Wrong type", "An element of the list must be %s in quotes.")
		}
		words = append(words, Word{element.AsString(), at})
	}
	return words, diags
}
