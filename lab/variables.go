package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
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

// given is a value for a variable from outside the file, with the place it came from.
type given struct {
	text  string         // from the command line or the environment
	expr  hcl.Expression // from a file
	value cty.Value      // of expr
	at    hcl.Range
}

// variables returns the object "var". A variable whose value is wrong is unknown in it, and what depends on it is then
// silently left out.
func (l *loader) variables(blocks map[string]*hclsyntax.Block, in Inputs) cty.Value {
	values := map[string]cty.Value{}
	from := l.inputs(blocks, in)
	for name, b := range blocks {
		values[name] = l.variable(name, b, from[name])
	}
	return cty.ObjectVal(values)
}

func (l *loader) variable(name string, b *hclsyntax.Block, from *given) cty.Value {
	f := l.fields(file.blocks["variable"], b.Body, &hcl.EvalContext{Functions: l.functions()})
	f.text("description")
	ty := cty.DynamicPseudoType
	if a := b.Body.Attributes["type"]; a != nil {
		var diags hcl.Diagnostics
		ty, diags = typeexpr.TypeConstraint(a.Expr)
		if diags.HasErrors() {
			l.errorf(a.Expr.Range(), "Invalid type", "A type is string, number, bool, any, or one made of others: list(string), set(string), map(number), object({ … }), tuple([ … ]).")
			return cty.DynamicVal
		}
	}
	def, hasDefault := cty.DynamicVal, false
	if a := b.Body.Attributes["default"]; a != nil {
		v, ok := f.value(a)
		if ok {
			v, ok = l.convert(v, ty, a.Expr.Range(), "The default of the variable "+name)
		}
		if !ok {
			return cty.DynamicVal
		}
		def, hasDefault = v, true
		if ty == cty.DynamicPseudoType && v.Type().IsPrimitiveType() {
			ty = v.Type()
		}
	}
	switch {
	case from == nil && hasDefault:
		return def
	case from == nil:
		l.errorf(b.DefRange(), "Variable without a value", "Give it one with --var %s=…, in a --var-file or as LAB_VAR_%s in the environment, or write a default.", name, name)
		return cty.DynamicVal
	}
	v := from.value
	if from.expr == nil {
		var ok bool
		if v, ok = l.read(from, ty, def); !ok {
			return cty.DynamicVal
		}
	}
	v, ok := l.convert(v, ty, from.at, "The variable "+name)
	if !ok {
		return cty.DynamicVal
	}
	return v
}

// read turns the text of --var or the environment into a value: a list or an object is written as in a file, everything
// else is taken as it stands.
func (l *loader) read(from *given, ty cty.Type, def cty.Value) (cty.Value, bool) {
	if ty == cty.DynamicPseudoType {
		ty = def.Type()
	}
	if ty.IsPrimitiveType() || ty == cty.DynamicPseudoType {
		return cty.StringVal(from.text), true
	}
	name := from.at.Filename
	src := l.files[name].Bytes
	if diags := guard(name, src); diags.HasErrors() {
		l.report(diags...)
		return cty.DynamicVal, false
	}
	expr, diags := hclsyntax.ParseExpression([]byte(from.text), name, from.at.Start)
	if diags.HasErrors() {
		l.report(diags...)
		return cty.DynamicVal, false
	}
	v, diags := l.budget.wrap(expr).Value(&hcl.EvalContext{Functions: l.functions()})
	l.report(diags...)
	return v, !diags.HasErrors()
}

func (l *loader) convert(v cty.Value, ty cty.Type, at hcl.Range, what string) (cty.Value, bool) {
	got, err := convert.Convert(v, ty)
	if err != nil {
		l.errorf(at, "Wrong type", "%s is to be %s: %s.", what, typeName(ty), err)
		return cty.DynamicVal, false
	}
	return got, true
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

// inputs collects what was given from outside, the weakest source first.
func (l *loader) inputs(blocks map[string]*hclsyntax.Block, in Inputs) map[string]*given {
	from := map[string]*given{}
	for _, e := range in.Environ {
		key, text, _ := strings.Cut(e, "=")
		if name, ok := strings.CutPrefix(key, "LAB_VAR_"); ok && blocks[name] != nil {
			from[name] = l.text(key, key+"=", text)
		}
	}
	files := make([]map[string]*given, 0, len(in.VarFiles)+1)
	for _, path := range in.VarFiles {
		files = append(files, l.varFile(path))
	}
	for _, values := range append(files, l.assignments("the recorded variables", []byte(in.Values))) {
		for name, g := range values {
			if l.declared(name, blocks, g.at) && !g.value.IsNull() {
				from[name] = g
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Vars)) {
		g := l.text("--var "+name, name+"=", in.Vars[name])
		if l.declared(name, blocks, g.at) {
			from[name] = g
		}
	}
	return from
}

// text makes a source of what was typed, so that a message can show it like a line of a file.
func (l *loader) text(source, prefix, text string) *given {
	l.files[source] = &hcl.File{Bytes: []byte(prefix + text)}
	start := hcl.Pos{Line: 1, Column: 1 + len(prefix), Byte: len(prefix)}
	end := hcl.Pos{Line: 1, Column: start.Column + len(text), Byte: start.Byte + len(text)}
	return &given{text: text, at: hcl.Range{Filename: source, Start: start, End: end}}
}

func (l *loader) declared(name string, blocks map[string]*hclsyntax.Block, at hcl.Range) bool {
	if blocks[name] != nil {
		return true
	}
	l.errorf(at, "Unknown variable", "The definition declares no variable %q.%s", shorten(name), Suggest(name, slices.Sorted(maps.Keys(blocks)), "It declares"))
	return false
}

func (l *loader) varFile(path string) map[string]*given {
	src, err := ReadFile(path)
	if err != nil {
		l.report(&hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Cannot read a file of variables", Detail: fmt.Sprintf("%s.", err)})
		return nil
	}
	return l.assignments(path, src)
}

// assignments reads lines of the form name = value.
func (l *loader) assignments(source string, src []byte) map[string]*given {
	if len(src) == 0 {
		return nil
	}
	body := l.parse(source, src)
	if body == nil {
		return nil
	}
	for _, b := range body.Blocks {
		l.errorf(b.DefRange(), "Unexpected block", "A file of variables holds only lines of the form name = value.")
	}
	meter(&hclsyntax.Body{Attributes: body.Attributes}, l.budget)
	from := map[string]*given{}
	for _, a := range attributes(body) {
		v, diags := a.Expr.Value(&hcl.EvalContext{Functions: l.functions()})
		l.report(diags...)
		if !diags.HasErrors() {
			from[a.Name] = &given{expr: a.Expr, value: v, at: a.Expr.Range()}
		}
	}
	return from
}

// texts writes every variable's value as it would be typed, and all of them as a file of variables.
func texts(vars cty.Value) (typed map[string]string, all string) {
	typed = map[string]string{}
	file := hclwrite.NewEmptyFile()
	values := vars.AsValueMap()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := values[name]
		if !v.IsWhollyKnown() || v.IsNull() {
			continue
		}
		file.Body().SetAttributeValue(name, v)
		if s, err := convert.Convert(v, cty.String); err == nil {
			typed[name] = s.AsString()
		} else {
			typed[name] = string(hclwrite.TokensForValue(v).Bytes())
		}
	}
	return typed, string(file.Bytes())
}
