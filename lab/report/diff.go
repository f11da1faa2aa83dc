package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/perf/benchmath"
)

// Diff is two recordings side by side.
type Diff struct {
	Schema        int      `json:"schema"`
	A             Recorded `json:"a"`
	B             Recorded `json:"b"`
	Disagreements []string `json:"disagreements"` // why numbers of the two are not to be compared
	Only          []string `json:"only"`          // what just one of them has
	Sentences     []string `json:"sentences"`     // what changed and how sure that is, for people
	Changes       []Change `json:"changes"`
}

// Recorded names a recording.
type Recorded struct {
	Tool     string `json:"tool"`
	Start    string `json:"start"`
	Lab      string `json:"lab"`
	Rounds   int    `json:"rounds"`
	Baseline string `json:"baseline"`
}

// Change is how one mode's numbers of one kind went from A to B.
type Change struct {
	Mode    string   `json:"mode"`
	Wire    string   `json:"wire"`
	Path    string   `json:"path"`
	Measure string   `json:"measure"`
	Metric  string   `json:"metric"`
	Params  string   `json:"params"`
	Unit    string   `json:"unit"`
	A       Summary  `json:"a"`
	B       Summary  `json:"b"`
	Change  *float64 `json:"change"` // of the median, from A to B
	// Of the ratio to the baseline, or the difference from it, which does not depend on how fast the machine was on that day:
	// P is the rank sum test's, corrected over the modes of a kind. The baseline itself has none: rounds of one day have
	// more in common than the modes, so that any two days differ. Overlap is of the two intervals, the baseline's of the value.
	Overlap *bool    `json:"overlap"`
	P       *float64 `json:"p"`
	Differs bool     `json:"differs"` // beyond the noise of both
	// Slower is how much more time the mode takes, or how much less it carries, against the baseline than it did: 0.07 for 7 %;
	// negative where it does better. It is of the metrics that measurements are made for, such as a round trip or goodput.
	Slower *float64 `json:"slower"`

	section section
}

// Compare puts two recordings side by side.
func Compare(a, b *Results) *Diff {
	d := &Diff{Schema: Schema, A: a.recorded(), B: b.recorded(), Disagreements: listed(disagreements(a, b)), Only: []string{}, Changes: []Change{}}
	in := map[kind]*series{}
	for _, s := range collect(b.measured()) {
		in[s.kind] = s
	}
	sections := map[kind]section{}
	for _, s := range b.sections() {
		sections[s.kind] = s
	}
	old := collect(a.measured())
	for i, s := range a.sections() {
		with, other := in[s.kind], sections[s.kind]
		if with == nil {
			d.Only = append(d.Only, fmt.Sprintf("only A has %s, wire model %s", s.kind, s.wire))
			continue
		}
		delete(in, s.kind)
		d.Changes = append(d.Changes, changes(old[i], with, s, other, a.Baseline == b.Baseline)...)
	}
	for _, s := range collect(b.measured()) {
		if in[s.kind] != nil {
			d.Only = append(d.Only, fmt.Sprintf("only B has %s, wire model %s", s.kind, s.wire))
		}
	}
	d.Sentences = d.sentences()
	return d
}

func (r *Results) recorded() Recorded {
	return Recorded{Tool: r.Tool, Start: r.Start.UTC().Format("2006-01-02 15:04 UTC"), Lab: r.Lab, Rounds: r.Rounds, Baseline: r.Baseline}
}

// disagreements are what makes two recordings answers to different questions.
func disagreements(a, b *Results) []string {
	var all []string
	differ := func(what string, a, b any) {
		if a, b := fmt.Sprint(a), fmt.Sprint(b); a != b {
			all = append(all, fmt.Sprintf("%s: %s and %s", what, cmp.Or(a, "unknown"), cmp.Or(b, "unknown")))
		}
	}
	differ("CPU", a.Machine.CPU, b.Machine.CPU)
	differ("number of CPUs", a.Machine.CPUs, b.Machine.CPUs)
	differ("kernel", a.Machine.Kernel, b.Machine.Kernel)
	differ("hypervisor", a.hypervisor(), b.hypervisor())
	differ("privilege", a.Machine.privilege(), b.Machine.privilege())
	differ("mitigations", strings.Join(a.Machine.Mitigations, ", "), strings.Join(b.Machine.Mitigations, ", "))
	differ("pinned to", a.Machine.Pinned, b.Machine.Pinned)
	differ("wire models", strings.Join(a.wires(), ", "), strings.Join(b.wires(), ", "))
	for _, w := range a.Wires {
		for _, v := range b.Wires {
			if v.Name == w.Name {
				differ("wire model "+w.Name, strings.Join(w.Settings, ", "), strings.Join(v.Settings, ", "))
			}
		}
	}
	differ("lab", a.Lab, b.Lab)
	differ("baseline", a.Baseline, b.Baseline)
	return all
}

func (m Machine) privilege() string {
	if m.Rootless {
		return "without root"
	}
	return "root"
}

func (r *Results) hypervisor() string {
	if r.Machine.Hypervisor == "" && r.Machine.Virtual {
		return "one"
	}
	return cmp.Or(r.Machine.Hypervisor, "none")
}

// changes compares what both have of one kind, where their baseline is the same against that.
func changes(a, b *series, of, with section, paired bool) []Change {
	var all []Change
	var tested []int
	var p []float64
	for _, before := range of.Modes {
		at := slices.IndexFunc(with.Modes, func(s Summary) bool { return s.Mode == before.Mode })
		if at < 0 {
			continue
		}
		after := with.Modes[at]
		c := Change{Mode: before.Mode, Wire: of.wire, Path: of.path, Measure: of.measure, Metric: of.metric, Params: of.params, Unit: before.Unit, A: before, B: after, section: of}
		if before.Median > 0 && after.Median > 0 {
			ratio := after.Median / before.Median
			c.Change = &ratio
		}
		low, high, otherLow, otherHigh := before.Low, before.High, after.Low, after.High
		if paired && c.Mode != before.Baseline && a.ratios == b.ratios {
			low, high, otherLow, otherHigh = before.RatioLow, before.RatioHigh, after.RatioLow, after.RatioHigh
			if !a.ratios {
				low, high, otherLow, otherHigh = before.DifferenceLow, before.DifferenceHigh, after.DifferenceLow, after.DifferenceHigh
			}
			if low != nil && otherLow != nil {
				tested = append(tested, len(all))
				p = append(p, rankSum(a.contrast(c.Mode, before.Baseline), b.contrast(c.Mode, before.Baseline)))
			}
		}
		if m := of.metric; paired && c.Mode != before.Baseline && before.Ratio != nil && after.Ratio != nil && *before.Ratio > 0 && *after.Ratio > 0 && leading(m) {
			slower := *after.Ratio / *before.Ratio - 1
			if MoreIsBetter(m) {
				slower = 1 - *after.Ratio / *before.Ratio
			}
			c.Slower = &slower
		}
		if low != nil && otherLow != nil {
			overlap := *low <= *otherHigh && *otherLow <= *high
			c.Overlap = &overlap
		}
		all = append(all, c)
	}
	for i, adjusted := range holm(p) {
		c := &all[tested[i]]
		c.P = &adjusted
		c.Differs = adjusted < alpha
	}
	return all
}

// rankSum is the test for samples that are not paired: rounds of different days have nothing in common.
func rankSum(a, b []float64) float64 {
	if p := benchmath.AssumeNothing.Compare(benchmath.NewSample(a, &benchmath.DefaultThresholds), benchmath.NewSample(b, &benchmath.DefaultThresholds)).P; !math.IsNaN(p) {
		return p
	}
	return 1 // all values are equal
}

// DiffFormats are what a difference can be rendered as.
var DiffFormats = []string{"text", "md", "json"}

// Write renders the difference in one of the formats; columns and color are for text.
func (d *Diff) Write(out io.Writer, format string, columns int, color bool) error {
	switch format {
	case "text":
		return d.text(out, columns, color)
	case "md":
		return d.markdown(out)
	case "json":
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(d)
	}
	return fmt.Errorf("no format %q for a difference: it is one of %s", format, strings.Join(DiffFormats, ", "))
}

const diffLegend = `change: of the median, B to A. Then the ratios to the baseline within each recording, or the differences from it where zeros occur. ` +
	`"overlap": do their intervals (of the baseline, those of the value, which change with the day). p: rank sum test over the rounds of both, not made of the baseline, corrected after Holm over the modes of one table: ` +
	`of twenty tables one may show a difference that is none. "~": the recordings do not differ beyond their noise.`

// tables calls f with each kind that both recordings have.
func (d *Diff) tables(f func(grid)) {
	for i := 0; i < len(d.Changes); {
		first := d.Changes[i]
		g := grid{Caption: fmt.Sprintf("%s, wire model %s", first.section.Title, first.Wire),
			Header: []string{"mode", "A", "B", "change", "ratio in A", "ratio in B", "overlap", "p", ""}}
		for ; i < len(d.Changes) && d.Changes[i].section.kind == first.section.kind; i++ {
			g.add(d.Changes[i].row()...)
		}
		f(g)
	}
}

func (c Change) row() []string {
	s := c.section
	verdict, change, overlap := "", "", ""
	if c.Change != nil {
		change = fmt.Sprintf("%.3f", *c.Change)
	}
	if c.Overlap != nil {
		overlap = map[bool]string{true: "yes", false: "no"}[*c.Overlap]
	}
	if c.P != nil {
		verdict = map[bool]string{true: "differs", false: "~"}[c.Differs]
	}
	ratio := func(m Summary) string {
		switch {
		case m.Mode == m.Baseline || m.Ratio == nil && m.Difference == nil:
			return "–"
		case m.Ratio == nil:
			return s.signed(*m.Difference)
		}
		return fmt.Sprintf("%.3f", *m.Ratio)
	}
	return []string{c.Mode, s.number(c.A.Median), s.number(c.B.Median), change, ratio(c.A), ratio(c.B), overlap, chance(c.P), verdict}
}

func (d *Diff) heading() []string {
	of := func(name string, r Recorded) string {
		return fmt.Sprintf("%s: %s, %s, %s, %s", name, r.Lab, r.Start, plural(r.Rounds, "round"), r.Tool)
	}
	return append([]string{of("A", d.A), of("B", d.B)}, d.Sentences...)
}

// Tested is how many numbers were held against the noise of both.
func (d *Diff) Tested() int {
	n := 0
	for _, c := range d.Changes {
		if c.P != nil {
			n++
		}
	}
	return n
}

// Slower are the changes for the worse, beyond the noise of both and by more than a share, the largest first.
func (d *Diff) Slower(share float64) []Change {
	return d.differing(func(slower float64) bool { return slower > share })
}

func (d *Diff) differing(is func(slower float64) bool) []Change {
	var all []Change
	for _, c := range d.Changes {
		if c.Differs && c.Slower != nil && is(*c.Slower) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b Change) int { return cmp.Compare(math.Abs(*b.Slower), math.Abs(*a.Slower)) })
	return all
}

// String is a change in words: by how much, of what, and how sure that is.
func (c Change) String() string {
	way := "slower"
	if *c.Slower < 0 {
		way = "faster"
	}
	return fmt.Sprintf("%s is %s %s in %s, wire model %s (p %s)", c.Mode, percent(math.Abs(*c.Slower)), way, c.section.kind, c.Wire, chance(c.P))
}

// sentences say what changed and how sure that is.
func (d *Diff) sentences() []string {
	tested := d.Tested()
	if tested == 0 {
		return []string{fmt.Sprintf("Nothing can be told from noise: it takes a baseline that both have, and %d rounds of each", MinRounds)}
	}
	differ := 0
	for _, c := range d.Changes {
		if c.Differs {
			differ++
		}
	}
	const shown = 3
	var said []string
	for _, part := range []struct {
		what    string
		changes []Change
	}{{"slower", d.Slower(0)}, {"faster", d.differing(func(slower float64) bool { return slower < 0 })}} {
		var named []string
		for _, c := range part.changes[:min(len(part.changes), shown)] {
			named = append(named, c.String())
		}
		if more := len(part.changes) - len(named); more > 0 {
			named = append(named, fmt.Sprintf("%d more are %s", more, part.what))
		}
		if len(named) > 0 {
			said = append(said, fmt.Sprintf("Against %s, %s", d.B.Baseline, strings.Join(named, "; ")))
		}
	}
	if len(said) == 0 {
		said = append(said, "Nothing is slower or faster beyond the noise of both")
	}
	return append(said, fmt.Sprintf("Beyond the noise of both: %d of %s", differ, plural(tested, "number")))
}

func (d *Diff) text(out io.Writer, columns int, color bool) error {
	w := &writer{columns: columns, color: color}
	for _, line := range d.heading() {
		w.WriteString(w.paint(wrap(line, columns), text.Bold) + "\n")
	}
	for _, s := range d.Disagreements {
		w.item("!", "not the same: "+s, text.FgYellow)
	}
	d.tables(func(g grid) {
		w.title(g.Caption)
		w.grid(g)
	})
	if len(d.Only) > 0 {
		w.WriteString("\n")
	}
	for _, s := range d.Only {
		w.item("!", s, text.FgYellow)
	}
	fmt.Fprintf(w, "\n%s\n", wrap(diffLegend, columns))
	_, err := io.WriteString(out, w.String())
	return err
}

func (d *Diff) markdown(out io.Writer) error {
	var b strings.Builder
	for _, line := range append(d.heading(), d.Disagreements...) {
		fmt.Fprintf(&b, "- %s\n", escape(line))
	}
	d.tables(func(g grid) {
		fmt.Fprintf(&b, "\n### %s\n\n", escape(g.Caption))
		markdownTable(&b, g)
	})
	if len(d.Only) > 0 {
		b.WriteString("\n")
	}
	for _, s := range d.Only {
		fmt.Fprintf(&b, "- ⚠ %s\n", escape(s))
	}
	fmt.Fprintf(&b, "\n%s\n", escape(diffLegend))
	_, err := io.WriteString(out, b.String())
	return err
}
