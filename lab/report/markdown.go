package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// markdown writes what goes into an issue or a wiki: what a reader wants first, and every number folded away.
func (r *Results) markdown(w io.Writer) error {
	var b strings.Builder
	heading := r.heading()
	fmt.Fprintf(&b, "## %s\n\n%s\n", escape(heading[0]), escape(heading[1]))
	r.markdownVerdict(&b)
	fmt.Fprintf(&b, "\n**%s.**\n", r.checked())
	if len(r.Notes)+len(r.Warnings) > 0 {
		b.WriteString("\n")
	}
	for _, n := range slices.Concat(r.Notes, r.Warnings) {
		fmt.Fprintf(&b, "- ⚠ %s\n", escape(n))
	}
	views := r.wireViews()
	for _, v := range views {
		fmt.Fprintf(&b, "\n### %s\n\n", escape(v.title("Capacity, "+v.Main)))
		markdownTable(&b, r.overviewGrid(v))
	}
	if len(views) > 0 {
		fmt.Fprintf(&b, "\n%s\n", escape(r.legend()))
	}
	for _, g := range []grid{r.expectedGrid(), r.findingGrid()} {
		if len(g.Rows) > 0 {
			fmt.Fprintf(&b, "\n### %s\n\n", escape(g.Caption))
			markdownTable(&b, g)
		}
	}
	for _, p := range r.growthPlots() {
		fmt.Fprintf(&b, "\n### How it changes: %s\n\n", escape(p.Title))
		for _, s := range p.Sentences {
			fmt.Fprintf(&b, "- %s\n", escape(s))
		}
		b.WriteString("\n")
		markdownTable(&b, p.Table)
	}
	if sections := r.costSections(); len(sections) > 0 {
		b.WriteString("\n<details><summary>Path cost: every cell, and by size</summary>\n")
		var all []grid
		for _, s := range sections {
			all = append(all, s.grid())
		}
		for _, c := range r.sizeCurves() {
			all = append(all, c.sizeGrid(), c.fitGrid())
		}
		for _, g := range all {
			fmt.Fprintf(&b, "\n#### %s\n\n", escape(g.Caption))
			markdownTable(&b, g)
		}
		b.WriteString("\n</details>\n")
	}
	for _, v := range views {
		fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n", escape(v.title("Every number")))
		for _, g := range v.Groups {
			fmt.Fprintf(&b, "\n#### %s\n\n", escape(g.Title))
			markdownTable(&b, g.grid())
			if len(g.Beside) > 0 {
				b.WriteString("\n")
				markdownTable(&b, r.columnGrid("", r.beside(g)))
			}
		}
		b.WriteString("\n</details>\n")
	}
	if lines := r.ceilings(); len(lines) > 0 {
		fmt.Fprintf(&b, "\nThe generator itself, over loopback: %s.\n", escape(strings.Join(lines, "; ")))
	}
	if len(r.Argv) > 0 {
		fmt.Fprintf(&b, "\n    %s\n", command(r.Argv))
	}
	fmt.Fprintf(&b, "\n%s\n", escape(r.limits()))
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Results) markdownVerdict(b *strings.Builder) {
	b.WriteString("\n### Verdict\n\n")
	for _, s := range r.Verdict.Sentences {
		fmt.Fprintf(b, "- %s\n", escape(s))
	}
	if g := r.verdictGrid(); len(g.Rows) > 0 {
		fmt.Fprintf(b, "\n%s:\n\n", escape(g.Caption))
		markdownTable(b, g)
	}
	if len(r.Verdict.Recommendations) > 0 {
		b.WriteString("\nWhat to take, on this machine and kernel, of the modes compared:\n\n")
		for _, s := range r.Verdict.Recommendations {
			fmt.Fprintf(b, "- **%s**: %s\n", escape(s.Situation), escape(s.Sentence))
		}
	}
}

// markdownTable aligns names to the left and numbers to the right.
func markdownTable(b *strings.Builder, g grid) {
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(b, "| %s ", strings.NewReplacer("|", `\|`, "\n", "<br>").Replace(escape(c)))
		}
		b.WriteString("|\n")
	}
	line(g.Header)
	rest := "|---:"
	if g.Prose {
		rest = "|:---"
	}
	b.WriteString("|:---" + strings.Repeat(rest, len(g.Header)-1) + "|\n")
	for _, row := range g.Rows {
		var cells []string
		for _, c := range row {
			text := c.Text
			if c.Note != "" {
				text += ", " + c.Note
			}
			cells = append(cells, text)
		}
		line(cells)
	}
}

// escape keeps a name from being read as markup; a lone "~" is none.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`).Replace(s)
}
