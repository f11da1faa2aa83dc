package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// given is a value for a variable from outside the file, with the place it came from.
type given struct {
	text  string         // from the command line or the environment
	expr  hcl.Expression // from a file
	value cty.Value      // of expr
	at    hcl.Range
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
		l.report(&hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Cannot read a variable file", Detail: fmt.Sprintf("%s.", err)})
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
		l.errorf(b.DefRange(), "Unexpected block", "A variable file contains only lines of the form name = value.")
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
