package lab

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// How often one block can be repeated, and one of services, of which clusters have many.
const maxCount, maxServices = 4096, 16384

// instance is one repetition of a block with count or for_each.
type instance struct {
	name string
	key  string // of for_each
	ctx  *hcl.EvalContext
	dry  bool // evaluated only to report the mistakes in the block
}

// instances expands count and for_each; at is the place that the names come from.
func (l *loader) instances(s *shape, b *hclsyntax.Block, ctx *hcl.EvalContext) ([]instance, hcl.Range) {
	if len(b.Labels) == 0 {
		return []instance{{ctx: ctx, dry: true}}, b.TypeRange
	}
	name, at := b.Labels[0], b.LabelRanges[0]
	alone := []instance{{name: name, ctx: ctx}}
	count, each := b.Body.Attributes["count"], b.Body.Attributes["for_each"]
	if count == nil && each == nil {
		return alone, at
	}
	f := l.fields(s, b.Body, ctx)
	if count != nil && each != nil {
		l.clash(each.NameRange, count.NameRange, "Both count and for_each", "A block takes either count or for_each. Remove one; the other is at %s.")
		return nil, at
	}
	if count != nil {
		n, numberAt, present, valid := f.find("count")
		if !present && valid {
			l.unrepeated(b.Body, "count", "count", numberAt)
			return alone, at
		}
		instances, ok := f.counted(name, n, numberAt, valid)
		if !ok {
			instances = []instance{{ctx: f.child("count", map[string]cty.Value{"index": cty.UnknownVal(cty.Number)}), dry: true}}
		}
		return instances, at
	}
	v, valueAt, present, valid := f.find("for_each")
	if !present && valid {
		l.unrepeated(b.Body, "for_each", "each", valueAt)
		return alone, at
	}
	instances, ok := f.forEach(name, v, valueAt, valid)
	if !ok {
		instances = []instance{{ctx: f.child("each", unknownElement()), dry: true}}
	}
	return instances, each.Expr.Range()
}

func unknownElement() map[string]cty.Value {
	return map[string]cty.Value{"key": cty.DynamicVal, "value": cty.DynamicVal}
}

// unrepeated reports what refers to count or each in a block whose count or for_each is null, and so left out.
func (l *loader) unrepeated(body *hclsyntax.Body, attribute, root string, null hcl.Range) {
	for _, a := range attributes(body) {
		for _, t := range a.Expr.Variables() {
			if t.RootName() == root && !l.broken[a] {
				l.broken[a] = true
				l.clash(t.SourceRange(), null, "Block is not repeated", "%s exists only in a block that is repeated, and here count or for_each is null, at %s.", root)
			}
		}
	}
	for _, b := range body.Blocks {
		if b.Type == "dynamic" || b.Body.Attributes[attribute] == nil {
			l.unrepeated(b.Body, attribute, root, null)
		}
	}
}

func (f *fields) child(root string, v map[string]cty.Value) *hcl.EvalContext {
	ctx := f.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{root: cty.ObjectVal(v)}
	return ctx
}

func (f *fields) counted(name string, v cty.Value, at hcl.Range, valid bool) ([]instance, bool) {
	if !valid {
		return nil, false
	}
	n, ok := f.asInteger("count", v, at, 0, f.most(), "")
	if !ok || f.l.budget.charge(n, at) != nil {
		return nil, false
	}
	instances := make([]instance, n)
	for i := range instances {
		instances[i] = instance{name: name + strconv.Itoa(i+1), ctx: f.child("count", map[string]cty.Value{"index": cty.NumberIntVal(int64(i))})}
	}
	return instances, true
}

func (f *fields) forEach(name string, v cty.Value, at hcl.Range, valid bool) ([]instance, bool) {
	if !valid {
		return nil, false
	}
	ty := v.Type()
	switch {
	case ty.IsMapType(), ty.IsObjectType():
	case ty.IsSetType() && (ty.ElementType() == cty.String || v.LengthInt() == 0):
	case ty.IsTupleType(), ty.IsListType():
		f.l.errorf(at, "Wrong type", "for_each takes a map, or a set of strings. Make a set of the list with toset( … ).")
		return nil, false
	default:
		f.l.errorf(at, "Wrong type", "for_each takes a map, or a set of strings, not %s.", kindOf(v))
		return nil, false
	}
	if !f.repeats(v, at) {
		return nil, false
	}
	var instances []instance
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if ty.IsSetType() {
			key = value
		}
		if key.IsNull() {
			f.l.errorf(at, "Wrong type", "for_each has a key that is null.")
			return nil, false
		}
		instances = append(instances, instance{name: name + "-" + key.AsString(), key: key.AsString(), ctx: f.child("each", map[string]cty.Value{"key": key, "value": value})})
	}
	return instances, true
}

func (f *fields) most() int { return cmp.Or(f.shape.most, maxCount) }

// repeats reports whether a block can be repeated for every element of a value.
func (f *fields) repeats(v cty.Value, at hcl.Range) bool {
	n := v.LengthInt()
	if n > f.most() {
		f.l.errorf(at, "Too many elements", "A block can be repeated at most %d times, not %d.", f.most(), n)
		return false
	}
	return f.l.budget.charge(n, at) == nil
}

// inner is a block inside another, with the scope of its expressions.
type inner struct {
	*hclsyntax.Block
	ctx *hcl.EvalContext
}

// blocks returns the blocks of a type inside a body, in the order of the file, and in the place of a dynamic block those that
// it makes. One that is made takes its label from an expression, which is then where it stands. Where only the mistakes in a
// dynamic block are wanted there is one without a label.
func (l *loader) blocks(s *shape, typ string, body *hclsyntax.Body, ctx *hcl.EvalContext) []inner {
	var all []inner
	for _, b := range body.Blocks {
		switch {
		case b.Type == typ:
			all = append(all, inner{b, ctx})
		case b.Type == "dynamic" && len(b.Labels) > 0 && b.Labels[0] == typ:
			all = append(all, l.generated(s.blocks[typ], b, ctx)...)
		}
	}
	return all
}

// has reports whether a body has a block of the type, or a dynamic one that may make some.
func has(body *hclsyntax.Body, typ string) bool {
	return slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool {
		return b.Type == typ || b.Type == "dynamic" && len(b.Labels) > 0 && b.Labels[0] == typ
	})
}

// dynamic is the shape of a block that makes others inside the block that it stands in.
func dynamic(of *shape) *shape {
	content := *of
	content.label = ""
	return &shape{
		a: "a dynamic block", label: "kind of block", attrs: []string{"for_each", "iterator", "labels"}, required: []string{"for_each"},
		blocks: map[string]*shape{"content": &content},
	}
}

// generated returns the blocks that a dynamic block generates.
func (l *loader) generated(s *shape, b *hclsyntax.Block, ctx *hcl.EvalContext) []inner {
	content := slices.IndexFunc(b.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "content" })
	name, ok := iterator(b)
	if content < 0 || !ok {
		return nil // reported with the shape
	}
	f := l.fields(dynamic(s), b.Body, ctx)
	make := func(element map[string]cty.Value) (inner, bool) {
		in := &fields{l: l, shape: f.shape, body: f.body, ctx: f.child(name, element), at: Ranges{}}
		block := *b.Body.Blocks[content]
		block.Type, block.TypeRange = b.Labels[0], b.TypeRange
		ok := true
		if s.label != "" {
			var label string
			var at hcl.Range
			if label, at, ok = in.label(s); ok {
				block.Labels, block.LabelRanges, block.TypeRange = []string{label}, []hcl.Range{at}, at
			}
		}
		return inner{&block, in.ctx}, ok
	}
	dry := func() []inner {
		block, _ := make(unknownElement())
		return []inner{block}
	}
	v, at, present, _ := f.find("for_each")
	if !present {
		return dry()
	}
	if !v.CanIterateElements() {
		l.errorf(at, "Wrong type", "for_each of a dynamic block takes a list, a set or a map, not %s.", kindOf(v))
		return dry()
	}
	if !f.repeats(v, at) {
		return dry()
	}
	var all []inner
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		block, ok := make(map[string]cty.Value{"key": key, "value": value})
		if all = append(all, block); !ok {
			break
		}
	}
	return all
}

// label reads the label of a block that is made.
func (f *fields) label(s *shape) (string, hcl.Range, bool) {
	elements, valid := f.elements("labels")
	if !valid || len(elements) == 0 { // left out: reported with the shape
		return "", hcl.Range{}, false
	}
	if len(elements) > 1 {
		f.l.errorf(elements[1].at, "Second label", "%s has one label, its %s. Remove this one.", upper(s.a), s.label)
		return "", hcl.Range{}, false
	}
	e := elements[0]
	v, err := convert.Convert(e.value, cty.String)
	if err != nil || v.IsNull() || e.value.Type() == cty.Bool {
		f.l.errorf(e.at, "Wrong type", "The label of %s is its %s, a string, not %s.", s.a, s.label, kindOf(e.value))
		return "", e.at, false
	}
	return v.AsString(), e.at, true
}

// iterator is the name under which the content of a dynamic block knows its element.
func iterator(b *hclsyntax.Block) (string, bool) {
	if a := b.Body.Attributes["iterator"]; a != nil {
		name := hcl.ExprAsKeyword(a.Expr)
		return name, name != "" && !slices.Contains(roots, name)
	}
	if len(b.Labels) == 0 {
		return "", false
	}
	return b.Labels[0], true
}

// roots are the names that references begin with everywhere.
var roots = []string{"var", "local", "count", "each"}

// dynamic reports what is wrong with the form of a dynamic block inside a block of a shape.
func (l *loader) dynamic(s *shape, b *hclsyntax.Block) {
	kinds := slices.Sorted(maps.Keys(s.blocks))
	if len(b.Labels) == 0 {
		l.errorf(b.TypeRange, "Missing label", "A dynamic block needs the type of block that it generates: write dynamic %q { … }.%s", kinds[0], Suggest("", kinds, "Here it may be"))
		return
	}
	of, ok := s.blocks[b.Labels[0]]
	if !ok {
		l.errorf(b.LabelRanges[0], "Unknown block", "%s has no block %q to generate.%s", upper(s.a), shorten(b.Labels[0]), Suggest(b.Labels[0], kinds, upper(s.a)+" takes"))
		return
	}
	d := dynamic(of)
	l.labels(d, b)
	l.shape(d, b.Type, b.Body)
	var contents []*hclsyntax.Block
	for _, c := range b.Body.Blocks {
		if c.Type == "content" {
			contents = append(contents, c)
		}
	}
	switch {
	case len(contents) == 0:
		l.errorf(missing(b.Body), "Missing content", "A dynamic block needs a block content { … }: the body of each %s that it generates.", b.Labels[0])
	case len(contents) > 1:
		l.clash(contents[1].DefRange(), contents[0].DefRange(), "Second content block", "A dynamic block has one content block; the first is at %s. Merge the two.")
	}
	labels := b.Body.Attributes["labels"]
	switch {
	case labels != nil && of.label == "":
		l.broken[labels] = true
		l.errorf(labels.NameRange, "Unexpected label", "%s has no label: remove labels.", upper(of.a))
	case labels == nil && of.label != "":
		l.errorf(missing(b.Body), "Missing label", "%s needs its %s: for example labels = [%s.value].", upper(of.a), of.label, b.Labels[0])
	}
	if a := b.Body.Attributes["iterator"]; a != nil {
		if _, ok := iterator(b); !ok {
			l.errorf(a.Expr.Range(), "Invalid name", "iterator is a name, without quotes, other than %s: the content refers to its element by it, as in %s.value.", Enumerate(roots, "and"), b.Labels[0])
		}
	}
}
