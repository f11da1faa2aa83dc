package trace

import (
	"fmt"
	"regexp"
	"strings"
)

// passing are states of a neighbour that come and go by themselves.
var passing = regexp.MustCompile(` (REACHABLE|STALE|DELAY|PROBE)\b`)

// Table is the walk as a table of Markdown: what the packet looks like where that changes, what each device decides, and the
// command that shows it. What
// passes by itself is left out: times, and how sure a neighbour entry is.
func (w Walk) Table() string {
	var b strings.Builder
	b.WriteString("| | machine | device | the packet | decided | shown by |\n|---|---|---|---|---|---|\n")
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for i, h := range w.Hops {
		text := Describe(h.Headers)
		if i > 0 {
			text = Change(w.Hops[i-1].Headers, h.Headers)
		}
		decided, command := "", ""
		if h.Decision != nil && h.Decision.Text != "" {
			decided = passing.ReplaceAllString(h.Decision.Text, "")
			if h.Command != "" {
				command = "`" + h.Command + "`"
			}
		}
		fmt.Fprintf(&b, "| %d | %s | %s `%s` | %s | %s | %s |\n", i+1, h.Machine, h.Direction, h.Device, cell(text), cell(decided), cell(command))
	}
	if d := w.Drop; d != nil {
		fmt.Fprintf(&b, "| ✗ | %s | `%s` | | %s | `%s` |\n", d.Machine, d.Device, cell(d.Sentence), cell(d.Command))
	}
	return b.String()
}
