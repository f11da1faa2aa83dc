package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// scope says which names an expression may refer to.
type scope struct {
	variables, locals []string
	declared          map[string]bool // "var.pods", "local.base"
	count, each       bool
	iterators         []string                  // of the dynamic blocks around
	own               map[string][]string       // what the attribute is evaluated for each of, and its names
	blocks            map[string]map[string]int // how many blocks there are of a kind and label; for outputs only
	noLocals          string                    // why locals may not be referred to; empty: they may
	constant          string                    // why nothing may be referred to; empty: it may
}

// references reports every reference to something that does not exist. Attributes with such a reference are marked as
// broken and never evaluated: the evaluator would report them again, in other words and once for every instance.
func (l *loader) references(body *hclsyntax.Body, variables map[string]*hclsyntax.Block, locals map[string]*hclsyntax.Attribute) {
	s := scope{
		variables: slices.Sorted(maps.Keys(variables)),
		locals:    slices.Sorted(maps.Keys(locals)),
		declared:  map[string]bool{},
	}
	for _, v := range s.variables {
		s.declared["var."+v] = true
	}
	for _, v := range s.locals {
		s.declared["local."+v] = true
	}
	blocks := map[string]map[string]int{}
	for _, kind := range resources {
		blocks[kind] = map[string]int{}
	}
	for _, b := range body.Blocks {
		if blocks[b.Type] != nil && len(b.Labels) > 0 {
			blocks[b.Type][b.Labels[0]]++
		}
	}
	for _, b := range body.Blocks {
		in := s
		if b.Type == "output" {
			in.blocks = blocks
		}
		if b.Type == "variable" {
			in.constant = "The default of a variable must be a constant. Compute in a locals block instead."
		}
		l.bodyReferences(b.Body, in, b.Type)
	}
}

func (l *loader) bodyReferences(body *hclsyntax.Body, s scope, typ string) {
	inner := s
	switch {
	case repeatable(typ):
		inner.count = s.count || body.Attributes["count"] != nil
		inner.each = s.each || body.Attributes["for_each"] != nil
	case typ == "validation":
		inner.constant, inner.noLocals = "", "Variables are checked before locals are computed: refer to variables here."
	}
	for _, a := range attributes(body) {
		in := inner
		if a.Name == "count" || a.Name == "for_each" {
			in = s
		}
		if typ == "mode" {
			in.own = Each[a.Name]
		}
		if typ == "variable" && a.Name == "type" {
			continue
		}
		l.attributeReferences(a, in)
	}
	for _, b := range body.Blocks {
		if b.Type == "dynamic" && typ != "mode" {
			l.dynamicReferences(b, inner)
			continue
		}
		l.bodyReferences(b.Body, inner, b.Type)
	}
}

// repeatable reports whether blocks of a type take count and for_each.
func repeatable(typ string) bool {
	s := file.blocks[typ]
	if typ == "pod" {
		s = pod
	}
	return s != nil && slices.Contains(s.attrs, "count")
}

// dynamicReferences: all but for_each may refer to the element that a block is made for.
func (l *loader) dynamicReferences(b *hclsyntax.Block, s scope) {
	inside := s
	if name, ok := iterator(b); ok {
		inside.iterators = append(slices.Clone(s.iterators), name)
	}
	for _, a := range attributes(b.Body) {
		switch a.Name {
		case "iterator":
		case "for_each":
			l.attributeReferences(a, s)
		default:
			l.attributeReferences(a, inside)
		}
	}
	for _, c := range b.Body.Blocks {
		l.bodyReferences(c.Body, inside, strings.Join(b.Labels, " "))
	}
}

func (l *loader) attributeReferences(a *hclsyntax.Attribute, s scope) {
	for _, t := range a.Expr.Variables() {
		if d := s.check(t); d != nil {
			l.broken[a] = true
			l.report(d)
		}
	}
}

// check returns what is wrong with a reference, or nil.
func (s scope) check(t hcl.Traversal) *hcl.Diagnostic {
	at := t.SourceRange()
	wrong := func(summary, detail string, args ...any) *hcl.Diagnostic {
		return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(detail, args...), Subject: &at}
	}
	root := t.RootName()
	if s.constant != "" {
		return wrong("Reference not allowed", "%s", s.constant)
	}
	if root == "local" && s.noLocals != "" {
		return wrong("Reference not allowed", "%s", s.noLocals)
	}
	name := second(t)
	if slices.Contains(s.iterators, root) {
		if name != "key" && name != "value" {
			return wrong("Unknown name", "%[1]s has only %[1]s.key and %[1]s.value.", root)
		}
		return nil
	}
	if names := s.own[root]; names != nil {
		if len(t) > 1 && !slices.Contains(names, name) {
			return wrong("Unknown name", "A %s has no %q here.%s", root, name, Suggest(name, names, "It has"))
		}
		return nil
	}
	if slices.Contains(resources, root) {
		return s.resource(root, name, wrong)
	}
	switch root {
	case "var", "local":
		known, what := s.variables, "variable"
		if root == "local" {
			known, what = s.locals, "local value"
		}
		if name == "" {
			return wrong("Incomplete reference", "Write %s.NAME.%s", root, Suggest("", known, "The file declares"))
		}
		if !s.declared[root+"."+name] {
			return wrong("Unknown "+what, "The file declares no %s %q.%s", what, name, Suggest(name, known, "It declares"))
		}
	case "count":
		if !s.count {
			return wrong("No count here", "count.index exists only inside a block that has a count.")
		}
		if name != "index" {
			return wrong("Unknown name", "count has only count.index.")
		}
	case "each":
		if !s.each && len(s.iterators) > 0 {
			return wrong("No for_each here", "The element of the dynamic block is called %[1]s: write %[1]s.key or %[1]s.value.", s.iterators[len(s.iterators)-1])
		}
		if !s.each {
			return wrong("No for_each here", "each.key and each.value exist only inside a block that has a for_each.")
		}
		if name != "key" && name != "value" {
			return wrong("Unknown name", "each has only each.key and each.value.")
		}
	default:
		known := slices.Concat(roots, s.iterators)
		if s.blocks != nil {
			known = append(known, resources...)
		}
		hint := Suggest(root, known, "References begin with")
		if s.declared["var."+root] {
			hint = fmt.Sprintf(" Did you mean var.%s?", root)
		} else if s.declared["local."+root] {
			hint = fmt.Sprintf(" Did you mean local.%s?", root)
		} else if i := slices.IndexFunc(resources, func(kind string) bool { return s.blocks[kind][root] > 0 }); i >= 0 {
			hint = fmt.Sprintf(" Did you mean %s.%s?", resources[i], root)
		} else if len(t) == 1 {
			hint += fmt.Sprintf(" Write a string in quotes: %q.", root)
		}
		return wrong("Unknown name", "Nothing is called %q.%s", root, hint)
	}
	return nil
}

// resource returns what is wrong with a reference to a block, or nil.
func (s scope) resource(kind, name string, wrong func(summary, detail string, args ...any) *hcl.Diagnostic) *hcl.Diagnostic {
	if s.blocks == nil {
		return wrong("Reference not allowed", "Only outputs can refer to a %s. Compute what both need in a locals block.", kind)
	}
	known := slices.Sorted(maps.Keys(s.blocks[kind]))
	switch n := s.blocks[kind][name]; {
	case name == "":
		return wrong("Incomplete reference", "Write %s.NAME.%s", kind, Suggest("", known, "The file has"))
	case n == 0:
		return wrong("Unknown "+kind, "The file has no %s %q.%s", kind, name, Suggest(name, known, "It has"))
	case n > 1:
		return wrong("Ambiguous reference", "The file has %d blocks %s %q. Rename all but one of them.", n, kind, name)
	}
	return nil
}

// second is the NAME of var.NAME, also where it is written var["NAME"].
func second(t hcl.Traversal) string {
	if len(t) < 2 {
		return ""
	}
	switch step := t[1].(type) {
	case hcl.TraverseAttr:
		return step.Name
	case hcl.TraverseIndex:
		if step.Key.Type() == cty.String && step.Key.IsKnown() && !step.Key.IsNull() {
			return step.Key.AsString()
		}
	}
	return ""
}
