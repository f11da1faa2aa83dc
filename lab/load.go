package lab

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Inputs are the values given from outside the file. A variable takes the first of: Vars, the last of VarFiles that sets
// it, Environ, its default.
type Inputs struct {
	Vars     map[string]string // --var name=value
	VarFiles []string          // --var-file: paths of files that hold name = value lines
	Environ  []string          // as of os.Environ; LAB_VAR_name=value is used
	Values   string            // text of such a file: Values of a Lab that was loaded before
	Dir      string            // the folder of the definition, where it reads files; empty: it has none
	Texts    map[string]string // what was read there before, by name: not read again
}

// Load reads a definition. All its errors are reported at once, in the order of the file; the Lab is nil when there is one. The Files hold what was read, for printing the diagnostics.
func Load(filename string, src []byte, in Inputs) (*Lab, Files, hcl.Diagnostics) {
	return LoadFiles([]Source{{filename, src}}, in)
}

// LoadFiles reads a definition that is written in several files, as if they were one.
func LoadFiles(sources []Source, in Inputs) (*Lab, Files, hcl.Diagnostics) {
	l := &loader{
		files:    Files{},
		budget:   newBudget(),
		broken:   map[*hclsyntax.Attribute]bool{},
		reported: map[mistake]bool{},
		kept:     tally{},
		dropped:  tally{},
		beside:   &beside{dir: in.Dir, kept: map[string]string{}},
	}
	maps.Copy(l.beside.kept, in.Texts)
	whole := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	size, broken := 0, false
	for i, s := range sources {
		if size += len(s.Text); i > 0 && size > maxSource {
			l.errorf(hcl.Range{Filename: s.Name, Start: hcl.InitialPos, End: hcl.InitialPos}, "Folder too large", "With this file the definition has more than %d bytes.", maxSource)
			broken = true
			break
		}
		body := l.parse(s.Name, s.Text)
		if body == nil {
			broken = true
			continue
		}
		l.shape(file, "", body)
		maps.Copy(whole.Attributes, body.Attributes) // none belongs there, as shape has said
		whole.Blocks = append(whole.Blocks, body.Blocks...)
		whole.SrcRange = cmp.Or(whole.SrcRange, body.SrcRange)
	}
	if broken { // what the others refer to may be in the part that is missing
		return nil, l.files, l.sorted()
	}
	lab := l.lab(whole, in)
	if l.diags.HasErrors() {
		lab = nil
	}
	return lab, l.files, l.sorted()
}

// loader carries one Load through its stages: shape, references, values, addresses, checks. A stage skips what an
// earlier one found wrong, so that one mistake is one diagnostic.
type loader struct {
	files    Files
	diags    hcl.Diagnostics
	reported map[mistake]bool
	kept     tally
	dropped  tally
	budget   *budget
	beside   *beside
	callable map[string]function.Function

	broken map[*hclsyntax.Attribute]bool // refers to what does not exist: not to be evaluated
	eval   *hcl.EvalContext              // var, local and the functions

	switches map[string]*Switch // those with a mistake too: their name is known
	prefixes []string           // of the names of switches whose count or for_each is wrong
	names    map[string]hcl.Range
	spaces   int // namespaces so far
	links    int // interfaces so far
	ends     int // endpoints of services so far
	pinned   map[*Interface][]pin
	podNet   string          // the name of the pod network; empty: there is none
	bridges  map[string]bool // the names of the networks with a driver
	indexed  *podIndex

	repetitions []repetition
}

// mistake identifies a diagnostic: a block with a count of 100 is still wrong only once.
type mistake struct {
	summary string
	at      hcl.Range
}

func (l *loader) report(diags ...*hcl.Diagnostic) {
	for _, d := range diags {
		if unknown, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallUnknownDiagExtra](d); ok {
			d.Detail = unknownFunction(unknown.CalledFunctionName(), slices.Sorted(maps.Keys(l.functions())))
		}
		key := mistake{summary: d.Summary}
		if d.Subject != nil {
			key.at = *d.Subject
		}
		if l.reported[key] {
			continue
		}
		if l.kept[d.Severity] == maxDiagnostics {
			l.dropped[d.Severity]++
			continue
		}
		l.reported[key] = true
		l.kept[d.Severity]++
		l.diags = append(l.diags, d)
	}
}

// alreadyReported reports whether a mistake needs no message: it was reported, or the limit is reached.
func (l *loader) alreadyReported(summary string, at hcl.Range) bool {
	if l.reported[mistake{summary, at}] {
		return true
	}
	full := l.kept[hcl.DiagError] == maxDiagnostics
	if full {
		l.dropped[hcl.DiagError]++
	}
	return full
}

// exhausted reports whether the lab is too large, or the file too much work, for anything more to be made.
func (l *loader) exhausted() bool { return l.spaces > maxSpaces || l.budget.spent != nil }

func (l *loader) errorf(at hcl.Range, summary, detail string, args ...any) {
	l.report(&hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(detail, args...),
		Subject:  at.Ptr(),
	})
}

func (l *loader) clash(at, other hcl.Range, summary, detail string, args ...any) {
	d := Contradiction(at, other, summary, detail, args...)
	if at == other {
		d.Detail += " It is the same place, in a block that is repeated: compute what differs from count.index, each.key or the element of the dynamic block."
	}
	l.report(d)
}

// Contradiction is two places that contradict each other; the detail's last verb is the other place. When both fit into one
// excerpt it shows both.
func Contradiction(at, other hcl.Range, summary, detail string, args ...any) *hcl.Diagnostic {
	d := &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  summary,
		Detail:   fmt.Sprintf(detail, append(args, place(other))...),
		Subject:  at.Ptr(),
	}
	if at.Filename == other.Filename && at.Start.Line-other.Start.Line < 8 && other.Start.Line < at.Start.Line {
		d.Context = hcl.RangeBetween(other, at).Ptr()
	}
	return d
}

func place(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

func (l *loader) sorted() hcl.Diagnostics {
	slices.SortStableFunc(l.diags, func(a, b *hcl.Diagnostic) int {
		var x, y hcl.Range
		if a.Subject != nil {
			x = *a.Subject
		}
		if b.Subject != nil {
			y = *b.Subject
		}
		return inFile(x, y)
	})
	return limit(l.diags, l.dropped)
}

// inFile compares places by where they stand.
func inFile(a, b hcl.Range) int {
	return cmp.Or(cmp.Compare(a.Filename, b.Filename), cmp.Compare(a.Start.Byte, b.Start.Byte))
}

// parse returns nil when the text is not HCL: the parts of a broken file that can be parsed would only mislead.
func (l *loader) parse(filename string, src []byte) *hclsyntax.Body {
	file, diags := parse(filename, src)
	l.files[filename] = file
	l.report(diags...)
	if diags.HasErrors() {
		return nil
	}
	return file.Body.(*hclsyntax.Body)
}

func parse(filename string, src []byte) (*hcl.File, hcl.Diagnostics) {
	diags := guard(filename, src)
	if len(src) > maxSource {
		return &hcl.File{}, diags // too large to show
	}
	if diags.HasErrors() {
		return &hcl.File{Bytes: src}, diags
	}
	f, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos)
	if diags.HasErrors() {
		if d := foreign(filename, src); d != nil {
			diags = hcl.Diagnostics{d}
		}
	}
	return f, diags
}

// lab decodes the whole definition: the order of the steps is the order in which they need one another.
func (l *loader) lab(body *hclsyntax.Body, in Inputs) *Lab {
	blocks := byType(body)
	variables, locals := l.declarations(blocks)
	l.references(body, variables, locals)
	meter(body, l.budget)

	l.eval = &hcl.EvalContext{Functions: l.functions(), Variables: map[string]cty.Value{}}
	l.eval.Variables["var"] = l.variables(variables, in)
	l.eval.Variables["local"] = l.locals(locals)

	lab := l.header(blocks["lab"], body.SrcRange)
	lab.Vars, lab.Values = texts(l.eval.Variables["var"])
	l.switches = map[string]*Switch{}
	l.names = map[string]hcl.Range{}
	l.pinned = map[*Interface][]pin{}
	l.named(blocks["network"])
	for _, b := range blocks["switch"] {
		lab.Switches = append(lab.Switches, l.segments(b)...)
	}
	for _, b := range body.Blocks {
		switch b.Type {
		case "node", "router", "host":
			lab.Machines = append(lab.Machines, l.machines(b)...)
		}
	}
	l.networks(lab, blocks["network"])
	lab.Modes = l.modes(blocks["mode"])
	lab.Compare = l.compare(blocks["compare"], blocks["variable"])
	l.services(lab, blocks["services"], blocks["service"])

	l.allocate(lab)
	l.balancers(lab)
	l.check(lab)
	lab.Outputs = l.outputs(lab, blocks["output"])
	lab.Texts = l.beside.kept
	return lab
}

func byType(body *hclsyntax.Body) map[string][]*hclsyntax.Block {
	blocks := map[string][]*hclsyntax.Block{}
	for _, b := range body.Blocks {
		blocks[b.Type] = append(blocks[b.Type], b)
	}
	return blocks
}

// header decodes the lab block. There is always a Lab to go on with, so that the rest of the file is checked too.
func (l *loader) header(blocks []*hclsyntax.Block, whole hcl.Range) *Lab {
	if len(blocks) == 0 {
		start := hcl.Range{Filename: whole.Filename, Start: hcl.InitialPos, End: hcl.InitialPos}
		l.errorf(start, "No lab block", "A definition must name its lab. Begin the file with:\n\n  lab \"my-lab\" {}")
		return &Lab{}
	}
	b := blocks[0]
	l.once(blocks)
	lab := &Lab{Range: b.DefRange()}
	if len(b.Labels) > 0 {
		lab.Name = b.Labels[0]
		l.checkName("lab", lab.Name, b.LabelRanges[0])
	}
	f := l.fields(file.blocks["lab"], b.Body, l.eval)
	lab.About, _, _ = f.text("about")
	return lab
}

// once reports every block after the first of a kind that a file has only one of.
func (l *loader) once(blocks []*hclsyntax.Block) {
	for _, b := range blocks[1:] {
		l.clash(b.DefRange(), blocks[0].DefRange(), "Second "+b.Type+" block",
			"A definition has one %s block; the first is at %s. Merge the two.", b.Type)
	}
}
