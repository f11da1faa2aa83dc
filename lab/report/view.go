package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// wireView is all of one wire model; what belongs to different ones is never in one table.
type wireView struct {
	Wire
	Main     string // the path that the overview is about
	Overview []column
	Groups   []group
}

// title names a part of the report about the wire model.
func (v wireView) title(part string) string {
	title := part + ", wire model " + v.Name
	if v.Name == "" {
		title = part
	}
	if v.About != "" {
		title += ": " + v.About
	}
	return title
}

func (r *Results) wireViews() []wireView {
	var views []wireView
	for _, name := range r.wires() {
		view := wireView{Wire: Wire{Name: name}}
		for _, w := range r.Wires {
			if w.Name == name {
				view.Wire = w
			}
		}
		var sections []section
		for _, s := range r.sections() {
			if s.wire == name {
				sections = append(sections, s)
			}
		}
		view.Groups = groups(sections)
		if len(view.Groups) == 0 {
			continue
		}
		view.Main = mainPath(view.Groups)
		view.Overview = r.overview(view.Groups, view.Main)
		views = append(views, view)
	}
	return views
}

func (r *Results) sections() []section {
	var all []section
	at := map[kind]int{}
	measured := map[kind]*series{}
	for _, s := range collect(r.measured()) {
		measured[s.kind] = s
	}
	for _, s := range r.Summary {
		if s.Measure == costMeasure {
			continue
		}
		k := s.kind()
		i, ok := at[k]
		if !ok {
			i = len(all)
			at[k] = i
			all = append(all, section{kind: k, measured: measured[k]})
		}
		all[i].Modes = append(all[i].Modes, s)
	}
	for i := range all {
		all[i].fill(r.Baseline)
	}
	return all
}

// column is one kind of numbers in the overview.
type column struct {
	section
	Head  []string // lines
	Cells []cell   // one for every mode, the twin last
}

// mainPath is the one that all modes are about.
func mainPath(groups []group) string {
	path := ""
	for _, g := range groups {
		if path == "" && g.path != "-" || g.path == "cross-node" || path == "host-host" && g.path != "-" {
			if path != "cross-node" {
				path = g.path
			}
		}
	}
	return path
}

// overview picks the numbers that a reader wants first: those of the main path, what they cost the CPU, and what is no
// traffic.
func (r *Results) overview(groups []group, path string) []column {
	var columns []column
	for _, g := range groups {
		if g.path != path && g.path != "-" {
			continue
		}
		columns = append(columns, r.column(g.section))
		for _, s := range g.Beside {
			if of(s.metric).overview || g.path == "-" {
				columns = append(columns, r.column(s))
			}
		}
	}
	return columns
}

// rows are the modes as tables list them, the twin last.
func (r *Results) rows() []string {
	rows := slices.Clone(r.Modes)
	if r.Twin != nil {
		rows = append(rows, r.Twin.Mode)
	}
	return rows
}

func (r *Results) column(s section) column {
	c := column{section: s, Head: []string{s.measure}}
	c.Head = append(c.Head, strings.Fields(s.params)...)
	c.Head = append(c.Head, of(s.metric).called(), strings.TrimSpace(s.Modes[0].Unit+" "+s.arrow()))
	for _, mode := range r.rows() {
		at := slices.IndexFunc(s.Modes, func(m Summary) bool { return m.Mode == mode })
		if at < 0 {
			c.Cells = append(c.Cells, cell{Text: "–"})
			continue
		}
		m := s.Modes[at]
		text := s.verdict(m)
		if m.Mode == m.Baseline || !s.ranked {
			text = s.value(m.Median)
		}
		if t := tier(m); t != "" {
			text += " (" + t + ")"
		}
		shown := cell{Text: text}
		shown.Good, shown.Bad = s.side(m)
		c.Cells = append(c.Cells, shown)
	}
	return c
}

// legend explains the overview.
func (r *Results) legend() string {
	end := " \"–\" was not measured; \"below idle\" is CPU time below the idle floor: less than the idle machine's own."
	if r.Rounds < MinRounds {
		return "Medians; too few rounds to compare the modes by them. ↑ more is better, ↓ less." + end
	}
	return fmt.Sprintf("%s: the median; others: their ratio to it, or the difference where zeros occur; where a wire model has too few rounds to compare, all are medians. "+
		"↑ more is better, ↓ less. In brackets the tier; \"~\" was not told apart from %[1]s.", r.Baseline) + end
}

// heading says what was compared, and on what.
func (r *Results) heading() []string {
	how := "no round finished"
	if wires := r.capacityWires(); r.Rounds > 0 && (len(wires) > 0 || r.PathCost == nil) {
		how = fmt.Sprintf("%s, %g s a number", plural(r.Rounds, "round"), r.Window)
	}
	if r.PathCost != nil {
		costs := plural(len(r.PathCost.Passes), "generation") + " of path cost"
		if how == "no round finished" {
			how = costs
		} else {
			how = costs + "; " + how
		}
	}
	if r.Rounds > 0 || r.PathCost != nil {
		how += fmt.Sprintf(", seed %d", r.Seed)
	}
	wires := r.wires()
	switch len(wires) {
	case 0:
	case 1:
		how += ", wire model " + wires[0]
	default:
		how += ", wire models " + strings.Join(wires, ", ")
	}
	m := r.Machine
	on := fmt.Sprintf("Linux %s, %s, %s", cmp.Or(m.Kernel, "?"), cmp.Or(m.CPU, "unknown CPU"), plural(m.CPUs, "CPU"))
	if m.Virtual {
		on += ", in a virtual machine"
	}
	if m.Rootless {
		on += ", without root"
	}
	return []string{r.Lab + ": " + strings.Join(r.Modes, ", "), how + ". " + on}
}

// notes are what follows from the samples and a reader must know.
func (r *Results) notes() []string {
	var notes []string
	if r.Rounds < r.Asked {
		notes = append(notes, fmt.Sprintf("interrupted: %d of %s finished", r.Rounds, plural(r.Asked, "round")))
	}
	if r.Rounds < MinRounds {
		if len(r.capacityWires()) > 0 || r.PathCost == nil {
			notes = append(notes, fmt.Sprintf("%s of capacity: not enough to rank by it (needs %d)", plural(r.Rounds, "round"), MinRounds))
		}
	} else if need := roundsToTell(len(r.Modes) - 1); len(r.Modes) > 1 && r.Rounds < need {
		notes = append(notes, fmt.Sprintf("%d rounds cannot tell %d modes apart, however much they differ (needs %d)", r.Rounds, len(r.Modes), need))
	}
	for range r.Resumed {
		notes = append(notes, "the comparison was interrupted and taken up again; the rounds before and after are ranked together")
		break
	}
	return notes
}

// limits says what the numbers are not.
func (r *Results) limits() string {
	return fmt.Sprintf("A software path on one machine with %s, no network card: values are no network speeds, and only ratios within one wire model mean anything. "+
		"Intervals cover the median with at least 95 %%; p is Wilcoxon's signed-rank test over rounds, corrected after Holm over the modes of one table: of twenty tables one may show a difference that is none. "+
		"\"~\" and one tier: not told apart. "+
		"\"would have found\" is the smallest difference that this run would have found, in four of five comparisons. \"–\" is a number that there is none of: the baseline has no ratio to itself, and the twin no tier.", plural(r.Machine.CPUs, "CPU"))
}

// proved says what was seen of what was promised.
func (p Proof) proved() string {
	s := "encapsulation " + p.Encapsulation
	if p.OK {
		return s + ", seen on " + plural(p.Frames, "frame")
	}
	return s + " promised, but " + p.Detail
}

// ceilings says in a line for each measure what the generator reaches where no network is in its way.
func (r *Results) ceilings() []string {
	var lines []string
	for _, s := range Summarise(r.Ceiling, "", nil) {
		if !of(s.Metric).leads {
			continue
		}
		sec := section{kind: s.kind(), Modes: []Summary{s}}
		sec.fill("")
		lines = append(lines, fmt.Sprintf("%s %s %s", sec.kind, sec.number(s.Median), s.Unit))
	}
	return lines
}

// title names a check with what it is about.
func (c Check) title() string {
	about := strings.Trim(c.Mode+", "+c.Wire, ", ")
	if about == "" {
		return c.Name
	}
	return c.Name + " (" + about + ")"
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}
