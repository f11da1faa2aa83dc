package lab

import (
	"encoding/json"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Output is a value that a definition shows.
type Output struct {
	Name  string
	About string
	Value cty.Value
	Range hcl.Range
}

// Text is the value as a definition would have it, on one or more lines.
func (o Output) Text() string {
	text := hclwrite.Format(hclwrite.TokensForValue(o.Value).Bytes())
	return strings.TrimRight(string(text), "\n")
}

// JSON is the value as JSON.
func (o Output) JSON() (json.RawMessage, error) { return ctyjson.Marshal(o.Value, o.Value.Type()) }

func (l *loader) outputs(blocks []*hclsyntax.Block) []Output {
	var outputs []Output
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		f := l.fields(file.blocks["output"], b.Body, l.eval)
		o := Output{Range: b.DefRange()}
		o.About, _, _ = f.text("description")
		var ok bool
		o.Value, _, ok = f.get("value")
		if len(b.Labels) == 0 {
			continue
		}
		o.Name = b.Labels[0]
		if !hclsyntax.ValidIdentifier(o.Name) {
			l.errorf(b.LabelRanges[0], "Invalid name", "%q cannot name an output. Use letters, digits, _ and -, a letter first.", shorten(o.Name))
			continue
		}
		if at, ok := first[o.Name]; ok {
			l.clash(b.LabelRanges[0], at, "Duplicate output", "The output %q is already defined at %s. Remove one of the two.", o.Name)
			continue
		}
		first[o.Name] = b.LabelRanges[0]
		if ok {
			outputs = append(outputs, o)
		}
	}
	return outputs
}
