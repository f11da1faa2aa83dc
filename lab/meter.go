package lab

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A few lines of HCL can describe values of any size: locals that double one another, for expressions inside for
// expressions. The meter makes such a file fail soon and with a place. Every step of an evaluation is charged for the
// value it yields, as if nothing were shared, and the budget is of the whole file.
const (
	maxWork   = 500_000  // steps and values of the whole file
	maxValue  = 100_000  // of one value
	maxString = 64 << 10 // bytes
	maxExp    = 1024     // binary exponent of a number: to print 1e99999999 takes minutes
	maxLevels = 100      // of a value
	maxMixed  = 4096     // elements of a value that are of different types
	uniform   = 64       // elements from which on a uniform tuple or object is made a list or a map
)

type budget struct {
	left  int
	spent hcl.Diagnostics // set once nothing is left: that is one mistake, however much is still to be evaluated
}

func newBudget() *budget { return &budget{left: maxWork} }

func (b *budget) charge(n int, at hcl.Range) hcl.Diagnostics {
	if b.left -= n; b.left <= 0 && b.spent == nil {
		b.spent = hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "Too much work",
			Detail:   "Up to here the values of the file are too many or too large. Use shorter lists and fewer nested for expressions.",
			Subject:  &at,
		}}
	}
	return b.spent
}

// meter makes every expression of the body a metered one. Modes decode their bodies themselves; those are metered too.
func meter(body *hclsyntax.Body, b *budget) {
	for _, a := range body.Attributes {
		a.Expr = b.wrap(a.Expr)
	}
	for _, block := range body.Blocks {
		meter(block.Body, b)
	}
}

// metered charges for the value of an expression. It stands on ParenthesesExpr because that passes everything else on to
// the expression inside.
type metered struct {
	*hclsyntax.ParenthesesExpr
	budget *budget
}

func (m *metered) UnwrapExpression() hcl.Expression { return m.Expression }

func (m *metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if m.budget.spent != nil {
		return cty.DynamicVal, m.budget.spent
	}
	v, diags := m.Expression.Value(ctx)
	if diags.HasErrors() {
		m.budget.charge(1, m.Range())
		return cty.DynamicVal, diags
	}
	v = simplify(v)
	w := &weight{}
	w.add(v, 0)
	if w.why != "" {
		return cty.DynamicVal, hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "Value too large",
			Detail:   fmt.Sprintf("The expression cannot be evaluated: %s.", w.why),
			Subject:  m.Range().Ptr(),
		}}
	}
	if spent := m.budget.charge(w.sum, m.Range()); spent != nil {
		return cty.DynamicVal, spent
	}
	return v, diags
}

// weight is the size of a value, counted until it is too much.
type weight struct {
	sum int
	why string
}

func (w *weight) add(v cty.Value, level int) {
	w.sum++
	ty := v.Type()
	switch {
	case w.why != "" || !v.IsKnown() || v.IsNull():
	case w.sum > maxValue:
		w.why = fmt.Sprintf("the value has more than %d elements", maxValue)
	case level > maxLevels:
		w.why = fmt.Sprintf("the value has more than %d levels", maxLevels)
	case ty == cty.String:
		n := len(v.AsString())
		w.sum += n / 64
		if n > maxString {
			w.why = fmt.Sprintf("the string is longer than %d bytes", maxString)
		}
	case ty == cty.Number:
		if !reasonable(v) {
			w.why = "the number is too large or too small"
		}
	case ty.IsSetType() && v.LengthInt() > maxRange:
		w.why = fmt.Sprintf("the set has more than %d elements", maxRange)
	case v.CanIterateElements():
		if ty.IsSetType() {
			w.sum += 8 * v.LengthInt() // a set is sorted whenever it is walked
		}
		if n := v.LengthInt(); n > uniform && (ty.IsTupleType() || ty.IsObjectType()) {
			if w.sum += n * n / 256; n > maxMixed { // what a conversion of it will cost
				w.why = fmt.Sprintf("the value has more than %d elements of different types", maxMixed)
				return
			}
		}
		for it := v.ElementIterator(); it.Next() && w.why == ""; {
			k, e := it.Element()
			if k.Type() == cty.String && !ty.IsSetType() {
				w.add(k, level+1)
			}
			w.add(e, level+1)
		}
	}
}

// simplify makes a list of a long tuple whose elements are of one type, and a map of such an object: they can be used in
// the same way, and go-cty converts a tuple or an object in a time that grows with the square of its length.
func simplify(v cty.Value) cty.Value {
	ty := v.Type()
	if !ty.IsTupleType() && !ty.IsObjectType() || !v.IsKnown() || v.IsNull() || v.LengthInt() <= uniform {
		return v
	}
	var elem cty.Type
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if elem == cty.NilType {
			elem = e.Type()
		}
		if elem.HasDynamicTypes() || !elem.Equals(e.Type()) {
			return v
		}
	}
	if ty.IsTupleType() {
		return cty.ListVal(v.AsValueSlice())
	}
	return cty.MapVal(v.AsValueMap())
}

func reasonable(number cty.Value) bool {
	f := number.AsBigFloat()
	exp := f.MantExp(nil)
	return !f.IsInf() && exp < maxExp && exp > -maxExp
}

// wrap meters an expression and all those inside it.
func (b *budget) wrap(e hclsyntax.Expression) hclsyntax.Expression {
	if e == nil {
		return nil
	}
	b.inside(e)
	if lit, ok := e.(*hclsyntax.LiteralValueExpr); ok {
		if v := lit.Val; v.Type() != cty.Number || !v.IsKnown() || v.IsNull() || reasonable(v) {
			return e
		}
	}
	return &metered{&hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}, b}
}

// inside meters the expressions inside one.
func (b *budget) inside(e hclsyntax.Expression) {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		e.Expression = b.wrap(e.Expression)
	case *hclsyntax.RelativeTraversalExpr:
		b.inside(e.Source) // taking one element of a list costs nothing, however long it is
	case *hclsyntax.IndexExpr:
		b.inside(e.Collection)
		e.Key = b.wrap(e.Key)
	case *hclsyntax.FunctionCallExpr:
		b.each(e.Args)
	case *hclsyntax.ConditionalExpr:
		e.Condition, e.TrueResult, e.FalseResult = b.wrap(e.Condition), b.wrap(e.TrueResult), b.wrap(e.FalseResult)
	case *hclsyntax.TupleConsExpr:
		b.each(e.Exprs)
	case *hclsyntax.ObjectConsExpr:
		for i := range e.Items {
			b.inside(e.Items[i].KeyExpr)
			e.Items[i].ValueExpr = b.wrap(e.Items[i].ValueExpr)
		}
	case *hclsyntax.ObjectConsKeyExpr:
		if hcl.ExprAsKeyword(e.Wrapped) == "" {
			e.Wrapped = b.wrap(e.Wrapped)
		}
	case *hclsyntax.ForExpr:
		e.CollExpr, e.KeyExpr, e.ValExpr, e.CondExpr = b.wrap(e.CollExpr), b.wrap(e.KeyExpr), b.wrap(e.ValExpr), b.wrap(e.CondExpr)
	case *hclsyntax.SplatExpr:
		e.Source, e.Each = b.wrap(e.Source), b.wrap(e.Each)
	case *hclsyntax.BinaryOpExpr:
		e.LHS, e.RHS = b.wrap(e.LHS), b.wrap(e.RHS)
	case *hclsyntax.UnaryOpExpr:
		e.Val = b.wrap(e.Val)
	case *hclsyntax.TemplateExpr:
		b.each(e.Parts)
	case *hclsyntax.TemplateJoinExpr:
		b.inside(e.Tuple) // it insists on a tuple, and would not take what simplify makes of one
	case *hclsyntax.TemplateWrapExpr:
		e.Wrapped = b.wrap(e.Wrapped)
	}
}

func (b *budget) each(list []hclsyntax.Expression) {
	for i := range list {
		list[i] = b.wrap(list[i])
	}
}
