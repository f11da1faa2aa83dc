package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// beside reads files in the folder of a definition, and nowhere else. Their text is kept with the lab, so that a running lab is
// planned again from it even when the files have changed.
type beside struct {
	dir  string // empty: the definition comes from no folder
	kept map[string]string
}

func (b *beside) read(name string) (string, error) {
	if text, ok := b.kept[name]; ok {
		return text, nil
	}
	if b.dir == "" {
		return "", errors.New("files are read from the folder of the definition, and this definition is not in one")
	}
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	file, err := root.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read in the folder of the definition: %w", shorten(name), errors.Unwrap(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", shorten(name))
	}
	if info.Size() > maxString {
		return "", fmt.Errorf("%s has more than %d bytes", shorten(name), maxString)
	}
	text := make([]byte, info.Size())
	if n, err := file.Read(text); err != nil && n < len(text) && len(text) > 0 {
		return "", err
	}
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%s is not text (UTF-8)", shorten(name))
	}
	b.kept[name] = string(text)
	return string(text), nil
}

// functions returns everything that a definition can call.
func (l *loader) functions() map[string]function.Function {
	if l.callable == nil {
		l.callable = maps.Clone(functions())
		l.callable["file"] = l.file()
		l.callable["templatefile"] = l.templateFile()
	}
	return l.callable
}

var pathParam = function.Parameter{Name: "path", Type: cty.String}

func (l *loader) file() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{pathParam},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := l.beside.read(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			return cty.StringVal(text), nil
		},
	})
}

// templateFile evaluates a file as the text of a quoted string, with the names that its second argument gives. A template
// may call all functions but those that read files: templates do not include one another.
func (l *loader) templateFile() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{pathParam, {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if ty := args[1].Type(); !ty.IsObjectType() && !ty.IsMapType() {
				return cty.NilVal, function.NewArgErrorf(1, "the template's variables must be a map or an object")
			}
			name := args[0].AsString()
			text, err := l.beside.read(name)
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			if !args[1].IsWhollyKnown() {
				return cty.UnknownVal(cty.String), nil
			}
			ctx := &hcl.EvalContext{Functions: functions(), Variables: args[1].AsValueMap()}
			v, diags := l.template(name, text, ctx)
			for _, d := range diags {
				if d.Severity == hcl.DiagError {
					where := name
					if d.Subject != nil {
						where = place(*d.Subject)
					}
					return cty.NilVal, function.NewArgErrorf(0, "%s: %s: %s", where, d.Summary, d.Detail)
				}
			}
			return v, nil
		},
	})
}

func (l *loader) template(name, text string, ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	tokens, _ := hclsyntax.LexTemplate([]byte(text), name, hcl.InitialPos)
	if diags := bounded(tokens); diags.HasErrors() {
		return cty.NilVal, diags
	}
	expr, diags := hclsyntax.ParseTemplate([]byte(text), name, hcl.InitialPos)
	if diags.HasErrors() {
		return cty.NilVal, diags
	}
	v, diags := l.budget.wrap(expr).Value(ctx)
	if !diags.HasErrors() && (!v.IsKnown() || v.IsNull() || v.Type() != cty.String) {
		at := expr.Range()
		diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Not a string", Detail: "The template is a single value that is not a string.", Subject: &at})
	}
	return v, diags
}
