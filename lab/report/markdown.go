package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// markdown writes what goes into an issue or a wiki.
func (r *Results) markdown(w io.Writer) error {
	var b strings.Builder
	heading := r.heading()
	fmt.Fprintf(&b, "## %s\n\n%s\n", escape(heading[0]), escape(heading[1]))
	views := r.wireViews()
	for _, v := range views {
		title := "Overview"
		if len(views) > 1 || v.About != "" {
			title += ", wire model " + v.Name
		}
		if v.About != "" {
			title += ": " + v.About
		}
		fmt.Fprintf(&b, "\n### %s\n\n", escape(title))
		header, rows := []string{"mode"}, make([][]string, len(r.rows()))
		for i, mode := range r.rows() {
			rows[i] = []string{mode}
		}
		for _, c := range v.Overview {
			header = append(header, strings.Join(c.Head, " "))
			for i, cell := range c.Cells {
				rows[i] = append(rows[i], cell.Text)
			}
		}
		markdownTable(&b, header, rows, true)
	}
	if len(views) > 0 {
		fmt.Fprintf(&b, "\n%s\n", escape(r.legend()))
	}
	if len(r.Expected) > 0 {
		fmt.Fprintf(&b, "\n### %s\n\n", expectedTitle)
		var rows [][]string
		for _, e := range r.Expected {
			rows = append(rows, e.row())
		}
		markdownTable(&b, expectedHeader, rows, true)
	}
	b.WriteString("\n### Validity\n\n")
	var rows [][]string
	for _, c := range r.Validity {
		mark := "✓"
		if !c.OK {
			mark = "✗"
		}
		rows = append(rows, []string{c.title(), mark, c.Detail})
	}
	markdownTable(&b, []string{"check", "", "seen"}, rows, false)
	if len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range slices.Concat(r.Notes, r.Warnings) {
		fmt.Fprintf(&b, "- ⚠ %s\n", escape(n))
	}
	for _, v := range views {
		for _, g := range v.Groups {
			for _, s := range append([]section{g.section}, g.Beside...) {
				title := s.Title
				if len(views) > 1 {
					title += ", wire model " + v.Name
				}
				fmt.Fprintf(&b, "\n### %s\n\n", escape(title))
				markdownTable(&b, s.Header, s.Rows, true)
			}
		}
	}
	if lines := r.ceilings(); len(lines) > 0 {
		fmt.Fprintf(&b, "\nThe generator itself, over loopback: %s.\n", escape(strings.Join(lines, "; ")))
	}
	fmt.Fprintf(&b, "\n%s\n", escape(r.limits()))
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownTable aligns names to the left and, where they follow, numbers to the right.
func markdownTable(b *strings.Builder, header []string, rows [][]string, numbers bool) {
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(b, "| %s ", strings.ReplaceAll(escape(c), "|", `\|`))
		}
		b.WriteString("|\n")
	}
	line(header)
	rest := "|:---"
	if numbers {
		rest = "|---:"
	}
	b.WriteString("|:---" + strings.Repeat(rest, len(header)-1) + "|\n")
	for _, row := range rows {
		line(row)
	}
}

// escape keeps a name from being read as markup; a lone "~" is none.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`).Replace(s)
}
