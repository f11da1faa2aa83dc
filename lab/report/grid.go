package report

import (
	"fmt"
	"strings"
)

// cell is a field of a table.
type cell struct {
	Text  string
	Note  string // what is said of it more quietly
	Good  bool   // better than the baseline, and told apart; or a check that passed
	Bad   bool   // the opposite
	Warn  bool   // neither, but to be minded
	Strip *strip // the same as a picture
}

// grid is a table before it is text, Markdown or a part of the page. Its rows begin with what they are about.
type grid struct {
	Caption string
	Header  []string
	Rows    [][]cell
	Prose   bool  // words rather than numbers
	Axis    *axis // of the pictures in the last column
}

// Before is how many columns there are before the last one.
func (g grid) Before() int { return len(g.Header) - 1 }

func (g *grid) add(row ...string) {
	var all []cell
	for _, text := range row {
		all = append(all, cell{Text: text})
	}
	g.Rows = append(g.Rows, all)
}

// grid is a section's table.
func (s section) grid() grid {
	g := grid{Caption: s.Title, Header: s.Header}
	for _, row := range s.Rows {
		g.add(row...)
	}
	return g
}

// expectedGrid holds what was measured against what arithmetic says.
func (r *Results) expectedGrid() grid {
	g := grid{Caption: "What encapsulation must cost, and what it cost: goodput on the limited wire, against " + r.Baseline,
		Header: []string{"mode", "expected", "measured", "off by", "allowed", "from"}}
	for _, e := range r.Expected {
		measured, off := "–", "–"
		if e.Measured != nil {
			measured, off = fmt.Sprintf("%.4f", *e.Measured), percent(*e.Measured/e.Ratio-1)
			switch {
			case e.Unfilled:
				off += " ○" // not tested: the validity says why
			case !e.OK:
				off += " ✗"
			}
		}
		g.add(e.Mode, fmt.Sprintf("%.4f", e.Ratio), measured, off, percent(e.Tolerance), e.Source)
	}
	return g
}

// findingGrid says what was checked, and what was seen.
func (r *Results) findingGrid() grid {
	g := grid{Caption: "Validity", Header: []string{"check", "state", "seen"}, Prose: true}
	for _, f := range r.findings() {
		mark := stateCell(f.State, f.Unusable)
		if f.Count < f.Of {
			mark.Text += fmt.Sprintf(" (%d of %d)", f.Count, f.Of)
		}
		g.Rows = append(g.Rows, []cell{{Text: f.Name}, mark, {Text: f.Seen}})
	}
	return g
}

// stateCell shows the state of a check: red is for what makes a number unusable.
func stateCell(state string, unusable bool) cell {
	switch state {
	case passed:
		return cell{Text: "✓ passed", Good: true}
	case failed:
		return cell{Text: "✗ failed", Bad: unusable, Warn: !unusable}
	}
	return cell{Text: "○ not tested"}
}

func verdict(ok bool) cell { return stateCell(map[bool]string{true: passed, false: failed}[ok], !ok) }

// overviewGrid has a row for every kind of numbers and a column for every mode.
func (r *Results) overviewGrid(v wireView) grid {
	return r.columnGrid(v.title("Capacity, "+v.Main), v.Overview)
}

func (r *Results) columnGrid(caption string, columns []column) grid {
	g := grid{Caption: caption, Header: append([]string{""}, r.rows()...)}
	for _, c := range columns {
		about := cell{Text: strings.Join(strings.Fields(c.measure+" "+of(c.metric).called()+" "+c.arrow()), " "), Note: strings.Join(strings.Fields(c.params+" "+c.Modes[0].Unit), ", ")}
		if c.path == "-" {
			about.Note = strings.TrimSuffix("whole lab, "+about.Note, ", ")
		}
		g.Rows = append(g.Rows, append([]cell{about}, c.Cells...))
	}
	return g
}
