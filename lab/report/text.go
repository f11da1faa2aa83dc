package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// writer renders for a terminal.
type writer struct {
	strings.Builder
	columns int
	color   bool
}

func (w *writer) paint(s string, colors ...text.Color) string {
	if !w.color || s == "" {
		return s
	}
	return text.Colors(colors).EscapeSeq() + s + text.Reset.EscapeSeq()
}

// title begins a part.
func (w *writer) title(s string) {
	fmt.Fprintf(w, "\n%s\n", w.paint(wrap(s, w.columns), text.Bold))
}

// table writes a table, indented, its header faint.
func (w *writer) table(t table.Writer, headLines int) {
	for i, line := range strings.Split(t.Render(), "\n") {
		if line = "  " + strings.TrimRight(line, " "); i < headLines {
			line = w.paint(line, text.Faint)
		}
		w.WriteString(line + "\n")
	}
}

// item writes one line of a list.
func (w *writer) item(mark, s string, colors ...text.Color) {
	fmt.Fprintf(w, "  %s %s\n", w.paint(mark, colors...), w.hang(s, 4))
}

// text writes what a person reads in a terminal: what was compared, one overview for each wire model, what speaks against
// believing it, and then every number.
func (r *Results) text(out io.Writer, columns int, color bool) error {
	w := &writer{columns: columns, color: color}
	for i, line := range r.heading() {
		if line = wrap(line, columns); i == 0 {
			line = w.paint(line, text.Bold)
		}
		w.WriteString(line + "\n")
	}
	if len(r.Notes)+len(r.Warnings) > 0 {
		w.WriteString("\n")
	}
	for _, n := range slices.Concat(r.Notes, r.Warnings) {
		w.item("!", n, text.FgYellow)
	}
	r.textVerdict(w)
	views := r.wireViews()
	for _, v := range views {
		w.title(v.title("Capacity, " + v.Main))
		for i, part := range parts(r.rows(), v.Overview, columns) {
			if i > 0 {
				w.WriteString("\n")
			}
			t, lines := r.overviewTable(part, w)
			w.table(t, lines)
		}
	}
	if len(views) > 0 {
		w.WriteString("  " + w.hang(r.legend(), 2) + "\n")
	}
	if g := r.expectedGrid(); len(g.Rows) > 0 {
		w.title(g.Caption)
		w.grid(g)
	}
	r.textValidity(w)
	for _, p := range r.growthPlots() {
		w.title("How it changes: " + p.Title)
		for _, s := range p.Sentences {
			w.item("•", s)
		}
		w.grid(p.Table)
	}
	for _, s := range r.costSections() {
		w.title("Path cost: " + s.Title)
		w.grid(s.fitting(columns - 2))
	}
	for _, c := range r.sizeCurves() {
		for _, g := range []grid{c.sizeGrid(), c.fitGrid()} {
			w.title("Path cost: " + g.Caption)
			w.grid(g)
		}
	}
	for _, v := range views {
		for _, g := range v.Groups {
			title := g.Title
			if len(views) > 1 {
				title += ", wire model " + v.Name
			}
			w.title(title)
			w.grid(g.section.fitting(columns - 2))
			for _, part := range parts(r.rows(), r.beside(g), columns) {
				w.WriteString("\n")
				t, lines := r.overviewTable(part, w)
				w.table(t, lines)
			}
		}
	}
	r.textProof(w)
	if lines := r.ceilings(); len(lines) > 0 {
		w.title("The generator itself, over loopback")
		w.WriteString("  " + w.hang(strings.Join(lines, "; "), 2) + "\n")
	}
	fmt.Fprintf(w, "\n%s\n", wrap(r.limits(), columns))
	_, err := io.WriteString(out, w.String())
	return err
}

// textProof says what was seen of each mode on the underlay, in one line for all wire models that agree.
func (r *Results) textProof(w *writer) {
	if len(r.Proof) == 0 {
		return
	}
	w.title("On the underlay")
	for i, p := range r.Proof {
		if !p.OK {
			w.item("✗", fmt.Sprintf("%s, wire model %s: %s", p.Mode, p.Wire, p.proved()), text.FgRed)
			continue
		}
		alike := func(q Proof) bool { return q.OK && q.Mode == p.Mode && q.Encapsulation == p.Encapsulation }
		if slices.ContainsFunc(r.Proof[:i], alike) {
			continue
		}
		all := p
		for _, q := range r.Proof[i+1:] {
			if alike(q) {
				all.Frames += q.Frames
			}
		}
		w.item("✓", p.Mode+": "+all.proved(), text.FgGreen)
	}
}

// textVerdict is what a reader wants first: sentences, one table, and what to take where.
func (r *Results) textVerdict(w *writer) {
	w.title("Verdict")
	for _, s := range r.Verdict.Sentences {
		w.item("•", s)
	}
	if g := r.verdictGrid(); len(g.Rows) > 0 {
		w.title(g.Caption)
		w.grid(g)
	}
	if len(r.Verdict.Recommendations) > 0 {
		w.title("What to take, on this machine and kernel, of the modes compared")
		for _, s := range r.Verdict.Recommendations {
			w.item("•", s.Situation+": "+s.Sentence)
		}
	}
}

// textValidity lists what failed with its reason and what was not tested, and of what passed the names; the control is shown
// in either case.
func (r *Results) textValidity(w *writer) {
	w.title("Validity: " + r.checked())
	var good []string
	for _, c := range r.Validity {
		switch {
		case c.unusable():
			w.item("✗", c.title()+": "+c.Detail, text.FgRed)
		case c.State == failed:
			w.item("✗", c.title()+": "+c.Detail, text.FgYellow)
		case c.State == passed && strings.HasPrefix(c.Name, "A/A"):
			w.item("✓", c.title()+": "+c.Detail, text.FgGreen)
		case c.State == passed && !slices.Contains(good, c.Name):
			good = append(good, c.Name)
		}
	}
	if len(good) > 0 {
		w.item("✓", strings.Join(good, "; "), text.FgGreen)
	}
	for _, f := range r.findings() {
		if f.State == notTested {
			w.item("○", "not tested: "+f.Name+": "+strings.ReplaceAll(f.Seen, "\n", "; "), text.Faint)
		}
	}
}

// beside are the columns of the numbers that came with a group's own: of every mode its value and how it stands.
func (r *Results) beside(g group) []column {
	var all []column
	for _, s := range g.Beside {
		c := r.column(s)
		c.Head = c.Head[len(c.Head)-2:]
		for i, mode := range r.rows() {
			for _, m := range s.Modes {
				if m.Mode == mode && m.Mode != m.Baseline && s.ranked {
					c.Cells[i].Text = s.value(m.Median) + " " + c.Cells[i].Text
				}
			}
		}
		all = append(all, c)
	}
	return all
}

// parts breaks columns into as many tables as the width takes.
func parts(rows []string, all []column, width int) [][]column {
	label := 4
	for _, row := range rows {
		label = max(label, min(modeWidth, utf8.RuneCountInString(row)))
	}
	var parts [][]column
	left := 0
	for _, c := range all {
		needs := 0
		for _, line := range c.Head {
			needs = max(needs, utf8.RuneCountInString(line))
		}
		for _, cell := range c.Cells {
			needs = max(needs, utf8.RuneCountInString(cell.Text))
		}
		if needs += 2; len(parts) == 0 || needs > left {
			parts = append(parts, nil)
			left = width - 2 - label - 2
		}
		left -= needs
		parts[len(parts)-1] = append(parts[len(parts)-1], c)
	}
	return parts
}

// overviewTable makes a table of some columns, and says how many lines its header has.
func (r *Results) overviewTable(part []column, w *writer) (table.Writer, int) {
	t := plain(len(part) + 1)
	lines := 0
	for _, c := range part {
		lines = max(lines, len(c.Head))
	}
	for i := range lines {
		line := []string{""}
		if i == lines-1 {
			line[0] = "mode"
		}
		for _, c := range part {
			head := ""
			if at := i - lines + len(c.Head); at >= 0 {
				head = c.Head[at]
			}
			line = append(line, head)
		}
		t.AppendHeader(cells(line))
	}
	for i, mode := range r.rows() {
		row := []string{mode}
		for _, c := range part {
			shown := c.Cells[i].Text
			switch {
			case c.Cells[i].Good:
				shown = w.paint(shown, text.FgGreen)
			case c.Cells[i].Bad:
				shown = w.paint(shown, text.FgRed)
			}
			row = append(row, shown)
		}
		t.AppendRow(cells(row))
	}
	return t, lines
}

// hang wraps a text that begins at a column, and lets what follows begin there too.
func (w *writer) hang(s string, at int) string {
	return strings.ReplaceAll(wrap(s, w.columns-at), "\n", "\n"+strings.Repeat(" ", at))
}

// wrap breaks a text between words, and leaves no blanks at the ends of lines.
func wrap(s string, width int) string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// How much of a mode's name, and of any other cell, stands in one line.
const modeWidth, cellWidth = 22, 44

// plain is an empty table without lines: names and prose to the left, numbers to the right.
func plain(width int, prose ...int) table.Writer {
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t := table.NewWriter()
	t.SetStyle(style)
	configs := []table.ColumnConfig{{Number: 1, Align: text.AlignLeft, AlignHeader: text.AlignLeft, WidthMax: modeWidth, WidthMaxEnforcer: text.WrapSoft}}
	for i := 1; i < width; i++ {
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight, WidthMax: cellWidth, WidthMaxEnforcer: text.WrapSoft})
	}
	for _, i := range prose {
		configs[i].Align, configs[i].AlignHeader = text.AlignLeft, text.AlignLeft
	}
	t.SetColumnConfigs(configs)
	return t
}

// proseWidth is the least that is read as words, and so stands to the left.
const proseWidth = 28

// table lays a grid out.
func (g grid) table() table.Writer {
	var prose []int
	for i := range g.Header {
		if slices.ContainsFunc(g.Rows, func(row []cell) bool { return utf8.RuneCountInString(row[i].Text) >= proseWidth }) {
			prose = append(prose, i)
		}
	}
	t := plain(len(g.Header), prose...)
	t.AppendHeader(cells(g.Header))
	for _, row := range g.Rows {
		var all table.Row
		for _, c := range row {
			all = append(all, c.Text)
		}
		t.AppendRow(all)
	}
	return t
}

// fitting is a section's table. Where it is too wide, it goes without the intervals of what the ratios are made of.
func (s section) fitting(width int) grid {
	g := s.grid()
	for {
		at := slices.Index(g.Header, "95 % interval")
		if at < 0 || text.LongestLineLen(g.table().Render()) <= width {
			return g
		}
		g.Header = slices.Delete(slices.Clone(g.Header), at, at+1)
		for i := range g.Rows {
			g.Rows[i] = slices.Delete(g.Rows[i], at, at+1)
		}
	}
}

// grid writes a grid, below itself where it is too wide: each part begins with the names.
func (w *writer) grid(g grid) {
	for from := 1; from < len(g.Header); {
		to, width := from, w.columns-2-g.width(0)
		for to < len(g.Header) && (to == from || width >= g.width(to)) {
			width -= g.width(to)
			to++
		}
		part := grid{Header: append(g.Header[:1:1], g.Header[from:to]...)}
		for _, row := range g.Rows {
			part.Rows = append(part.Rows, append(row[:1:1], row[from:to]...))
		}
		if from > 1 {
			w.WriteString("\n")
		}
		w.table(part.table(), 1)
		from = to
	}
}

// width is that of a column, with the blanks behind it.
func (g grid) width(column int) int {
	width := utf8.RuneCountInString(g.Header[column])
	for _, row := range g.Rows {
		width = max(width, utf8.RuneCountInString(row[column].Text))
	}
	return 2 + min(width, map[bool]int{true: modeWidth, false: cellWidth}[column == 0])
}

func cells(of []string) table.Row {
	var row table.Row
	for _, c := range of {
		row = append(row, c)
	}
	return row
}
