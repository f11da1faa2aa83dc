package lab

import (
	"fmt"
	"maps"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// declarations returns the variable blocks and the locals' attributes by name.
func (l *loader) declarations(blocks map[string][]*hclsyntax.Block) (map[string]*hclsyntax.Block, map[string]*hclsyntax.Attribute) {
	variables := map[string]*hclsyntax.Block{}
	for _, b := range blocks["variable"] {
		if len(b.Labels) == 0 {
			continue
		}
		name := b.Labels[0]
		if !hclsyntax.ValidIdentifier(name) {
			l.errorf(b.LabelRanges[0], "Invalid name", "%q cannot name a variable, because var.%s could not be written. Use letters, digits, _ and -, a letter first.", shorten(name), shorten(name))
			continue
		}
		if first, ok := variables[name]; ok {
			l.clash(b.LabelRanges[0], first.LabelRanges[0], "Duplicate variable", "The variable %q is already declared at %s. Remove one of the two.", name)
			continue
		}
		variables[name] = b
	}
	locals := map[string]*hclsyntax.Attribute{}
	for _, b := range blocks["locals"] {
		for _, a := range attributes(b.Body) {
			if first, ok := locals[a.Name]; ok {
				l.clash(a.NameRange, first.NameRange, "Duplicate local", "local.%s is already defined at %s. Remove one of the two.", a.Name)
				continue
			}
			locals[a.Name] = a
		}
	}
	return variables, locals
}

// variables returns the object "var". A variable whose value is wrong is unknown in it, and what depends on it is then
// silently left out.
func (l *loader) variables(blocks map[string]*hclsyntax.Block, in Inputs) cty.Value {
	values, places := map[string]cty.Value{}, map[string]hcl.Range{}
	from := l.inputs(blocks, in)
	for name, b := range blocks {
		values[name], places[name] = l.variable(name, b, from[name])
	}
	// All are validated with the values that were given: that one is wrong must not hide another.
	ctx := &hcl.EvalContext{Functions: l.functions(), Variables: map[string]cty.Value{"var": cty.ObjectVal(values)}}
	checked := maps.Clone(values)
	for name, b := range blocks {
		for _, v := range b.Body.Blocks {
			if v.Type == "validation" && !l.validation(v, ctx, places[name]) {
				checked[name] = cty.DynamicVal
			}
		}
	}
	return cty.ObjectVal(checked)
}

// variable returns the value of a variable, and where that stands.
func (l *loader) variable(name string, b *hclsyntax.Block, from *given) (cty.Value, hcl.Range) {
	f := l.fields(file.blocks["variable"], b.Body, &hcl.EvalContext{Functions: l.functions()})
	f.text("description")
	t := variableType{Type: cty.DynamicPseudoType}
	if a := b.Body.Attributes["type"]; a != nil {
		var ok bool
		if t, ok = l.variableType(a); !ok {
			return cty.DynamicVal, a.SrcRange
		}
	}
	def, hasDefault, at := cty.DynamicVal, false, b.DefRange()
	if a := b.Body.Attributes["default"]; a != nil {
		at = a.Expr.Range()
		v, ok := f.value(a)
		if ok {
			v, ok = l.convert(v, t, at, "The default of the variable "+name)
		}
		if !ok {
			return cty.DynamicVal, at
		}
		def, hasDefault = v, true
		if t.Type == cty.DynamicPseudoType && v.Type().IsPrimitiveType() {
			t.Type = v.Type()
		}
	}
	switch {
	case from == nil && hasDefault:
		return def, at
	case from == nil:
		l.errorf(at, "Variable without a value", "Give it one with --var %s=…, in a --var-file or as LAB_VAR_%s in the environment, or write a default.", name, name)
		return cty.DynamicVal, at
	}
	v := from.value
	if from.expr == nil {
		var ok bool
		if v, ok = l.read(from, t.Type, def); !ok {
			return cty.DynamicVal, from.at
		}
	}
	v, ok := l.convert(v, t, from.at, "The variable "+name)
	if !ok {
		return cty.DynamicVal, from.at
	}
	return v, from.at
}

// validation checks the values of the variables against one condition; at is where the value of its own variable stands.
func (l *loader) validation(b *hclsyntax.Block, ctx *hcl.EvalContext, at hcl.Range) bool {
	f := l.fields(file.blocks["variable"].blocks["validation"], b.Body, ctx)
	message, _, _ := f.text("error_message")
	v, conditionAt, ok := f.get("condition")
	if !ok {
		return true // reported, or the variable has no value
	}
	holds, err := convert.Convert(v, cty.Bool)
	if err != nil || holds.IsNull() {
		l.errorf(conditionAt, "Wrong type", "A condition must be true or false, not %s.", kindOf(v))
		return true
	}
	if holds.False() {
		l.errorf(at, "Invalid value of a variable", "%s", strings.TrimSpace(fmt.Sprintf("%s The condition is at %s.", sentence(message), place(conditionAt))))
	}
	return holds.True()
}

// sentence ends a text with a full stop where it has no end of its own.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}
