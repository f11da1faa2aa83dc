package main

import (
	"strings"
	"unicode/utf8"

	ansi "github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

// hang breaks a text between words; what follows the first line begins at a column.
func hang(s string, width, at int) string {
	lines := strings.Split(ansi.WrapSoft(s, max(width-at, 20)), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", at))
}

// row is a line of a table. One that is too long goes on in lines that begin with below.
type row struct {
	cells []string // the last one is a text, which may be broken between words
	below string
}

const gap = "  "

// columns lays a table out. Where the last column has no room, no column is aligned, and rows are broken between cells.
func columns(rows []row, width int) string {
	var widths []int
	word, longest := 0, 0 // of the last column
	for _, r := range rows {
		last := len(r.cells) - 1
		for i, cell := range r.cells[:last] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
		longest = max(longest, utf8.RuneCountInString(r.cells[last]))
		for _, w := range strings.Fields(r.cells[last]) {
			word = max(word, utf8.RuneCountInString(w))
		}
	}
	at := 0
	for _, w := range widths {
		at += w + len(gap)
	}
	var b strings.Builder
	for _, r := range rows {
		if at+max(word, min(longest, 24)) > width {
			b.WriteString(r.loose(width))
			continue
		}
		last := len(r.cells) - 1
		line := ""
		for i, cell := range r.cells[:last] {
			line += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + gap
		}
		stem := utf8.RuneCountInString(r.below)
		for i, part := range strings.Split(ansi.WrapSoft(r.cells[last], width-max(at, stem)), "\n") {
			if i > 0 {
				line = r.below + strings.Repeat(" ", max(0, at-stem))
			}
			b.WriteString(strings.TrimRight(line+part, " ") + "\n")
		}
	}
	return b.String()
}

// loose writes a row as a list of its cells.
func (r row) loose(width int) string {
	last := len(r.cells) - 1
	line, text := r.cells[0], ""
	add := func(piece, space string) {
		if utf8.RuneCountInString(line+space+piece) > width {
			text += strings.TrimRight(line, " ") + "\n"
			line, space = r.below+"    ", ""
		}
		line += space + piece
	}
	if last > 0 {
		for _, cell := range r.cells[1:last] {
			if cell != "" {
				add(cell, gap)
			}
		}
		for i, word := range strings.Fields(r.cells[last]) {
			add(word, gap[min(i, 1):])
		}
	}
	return text + strings.TrimRight(line, " ") + "\n"
}

// fitHelp makes help as wide as the terminal. Examples stay as they are: they are there to be copied.
func (c *command) fitHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("fold", func(s string) string {
		room := min(width(c.out), 120) // longer lines are hard to read
		paragraphs := strings.Split(s, "\n\n")
		for i, p := range paragraphs {
			if !strings.Contains(p, "\n ") {
				paragraphs[i] = hang(strings.ReplaceAll(p, "\n", " "), room, 0)
			}
		}
		return strings.Join(paragraphs, "\n\n")
	})
	cobra.AddTemplateFunc("room", func() int { return width(c.out) })
	root.SetHelpTemplate(strings.Replace(root.HelpTemplate(), "{{. |", "{{fold . |", 1))
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", ".FlagUsagesWrapped room "))
}
