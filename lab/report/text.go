package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// columns is what a mail or a log can bear.
const columns = 100

// text writes what a person reads in a terminal.
func (r *Results) text(w io.Writer, color bool) error {
	paint := func(s string, colors ...text.Color) string {
		if !color {
			return s
		}
		return text.Colors(colors).EscapeSeq() + s + text.Reset.EscapeSeq()
	}
	var b strings.Builder
	for i, line := range r.heading() {
		if line = wrap(line, columns); i == 0 {
			line = paint(line, text.Bold)
		}
		b.WriteString(line + "\n")
	}
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n%s\n", paint(wrap(s.Title, columns), text.Bold))
		for i, line := range strings.Split(s.table(table.StyleDefault).Render(), "\n") {
			if line = "  " + strings.TrimRight(line, " "); i == 0 {
				line = paint(line, text.Faint)
			}
			b.WriteString(line + "\n")
		}
	}
	if len(r.Proof) > 0 {
		b.WriteString("\n" + paint("On the underlay", text.Bold) + "\n")
	}
	for _, p := range r.Proof {
		mark := paint("✓", text.FgGreen)
		if !p.OK {
			mark = paint("✗", text.FgRed)
		}
		b.WriteString("  " + mark + " " + hang(p.proved(), 4) + "\n")
	}
	if len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range append(r.Notes, r.Warnings...) {
		b.WriteString("  " + paint("!", text.FgYellow) + " " + hang(n, 4) + "\n")
	}
	b.WriteString("\n" + paint(wrap(r.limits(), columns), text.Faint) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// hang wraps a line that begins at a column, and lets what follows begin there too.
func hang(s string, at int) string {
	return strings.ReplaceAll(wrap(s, columns-at), "\n", "\n"+strings.Repeat(" ", at))
}

// wrap breaks a text between words, and leaves no blanks at the ends of lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// table lays a section out: names to the left, numbers to the right.
func (s section) table(style table.Style) table.Writer {
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t := table.NewWriter()
	t.SetStyle(style)
	var configs []table.ColumnConfig
	for i := range s.Header {
		align := text.AlignRight
		if i == 0 {
			align = text.AlignLeft
		}
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align, WidthMax: 24})
	}
	t.SetColumnConfigs(configs)
	t.AppendHeader(cells(s.Header))
	for _, row := range s.Rows {
		t.AppendRow(cells(row))
	}
	return t
}

func cells(of []string) table.Row {
	var row table.Row
	for _, c := range of {
		row = append(row, c)
	}
	return row
}

// markdown writes what goes into an issue or a wiki.
func (r *Results) markdown(w io.Writer) error {
	var b strings.Builder
	heading := r.heading()
	fmt.Fprintf(&b, "## %s\n\n%s\n", escape(heading[0]), escape(heading[1]))
	for _, s := range r.sections() {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", escape(s.Title), s.table(table.StyleDefault).RenderMarkdown())
	}
	if len(r.Proof) > 0 {
		b.WriteString("\n### On the underlay\n\n")
	}
	for _, p := range r.Proof {
		mark := "✓"
		if !p.OK {
			mark = "✗"
		}
		fmt.Fprintf(&b, "- %s %s\n", mark, escape(p.proved()))
	}
	if len(r.Warnings)+len(r.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range append(r.Notes, r.Warnings...) {
		fmt.Fprintf(&b, "- ⚠ %s\n", escape(n))
	}
	fmt.Fprintf(&b, "\n%s\n", escape(r.limits()))
	_, err := io.WriteString(w, b.String())
	return err
}

// escape keeps a name from being read as markup; a lone "~" is none.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", "&lt;", "[", `\[`).Replace(s)
}
