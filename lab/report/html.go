package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report.html").Parse(page))

// htmlPage is what the template shows.
type htmlPage struct {
	Title     string
	Heading   []string
	Made      string
	Passed    string
	Unusable  bool
	Failed    []finding
	Verdict   Verdict
	Ranking   grid
	Growth    []growthPlot
	Plots     []costPlot
	Costs     []htmlNumbers
	Remarks   []string
	Wires     []htmlWire
	Legend    string
	Expected  *grid
	Latency   []htmlLatency
	CPU       []htmlNumbers
	Findings  grid
	Checks    grid
	Proof     grid
	Frames    grid
	Picture   template.HTML
	Endpoints grid
	Machine   grid
	Method    grid
	Passes    grid
	Retries   grid
	Command   string
	Devices   []grid
	Limits    string
}

type htmlWire struct {
	Wire
	Overview grid
	Groups   []htmlGroup
	Panels   []panels
}

type htmlGroup struct {
	htmlNumbers
	Open   bool
	Beside []htmlNumbers
}

// htmlLatency is what was measured along one path under one wire model.
type htmlLatency struct {
	Title  string
	Open   bool
	Curves []curves
}

type htmlNumbers struct {
	Title string
	Table grid
}

// html writes one file that needs nothing from anywhere, and no script.
func (r *Results) html(w io.Writer) error {
	p := htmlPage{
		Title: r.Lab + ": " + strings.Join(r.Modes, ", "), Heading: r.heading(), Made: r.Tool, Legend: r.legend(), Limits: r.limits(),
		Remarks: slices.Concat(r.Notes, r.Warnings), Command: command(r.Argv), Passed: r.checked(),
		Machine: r.machineGrid(), Method: r.methodGrid(), Passes: r.passGrid(), Devices: r.deviceGrids(),
		Findings:  r.findingGrid(),
		Checks:    grid{Caption: "Every check", Header: []string{"check", "about", "", "seen"}, Prose: true},
		Endpoints: grid{Caption: "Between whom the paths were measured", Header: []string{"mode", "path", "from", "to"}, Prose: true},
		Retries:   grid{Caption: "What was measured again", Header: []string{"mode", "wire", "measurement", "round", "why"}, Prose: true},
	}
	if !r.Start.IsZero() {
		p.Made += ", " + r.Start.UTC().Format("2006-01-02 15:04 UTC")
	}
	p.Verdict, p.Ranking = r.Verdict, r.verdictGrid()
	r.drawRanking(&p.Ranking)
	p.Growth = r.growthPlots()
	for _, c := range r.sizeCurves() {
		p.Plots = append(p.Plots, r.costPlot(c))
	}
	for _, s := range r.costSections() {
		p.Costs = append(p.Costs, htmlNumbers{s.Title, s.numbers()})
	}
	for _, f := range r.findings() {
		p.Unusable = p.Unusable || f.Unusable
		if f.State == failed {
			p.Failed = append(p.Failed, f)
		}
	}
	for _, c := range r.Validity {
		p.Checks.Rows = append(p.Checks.Rows, []cell{{Text: c.Name}, {Text: c.about()}, stateCell(c.State, c.unusable()), {Text: c.Detail}})
	}
	views := r.wireViews()
	for i, v := range views {
		p.Wires = append(p.Wires, r.htmlWire(i, v))
		for _, c := range v.Overview {
			if of(c.metric).processor {
				p.CPU = append(p.CPU, htmlNumbers{c.Title + ", wire model " + v.Name, c.numbers()})
			}
		}
	}
	if len(r.Expected) > 0 {
		g := r.expectedGrid()
		g.draw("expected as a line, measured as a dot", r.expectation)
		p.Expected = &g
	}
	for i, l := range r.latencies() {
		title := l.path + ", wire model " + l.wire
		at := slices.IndexFunc(p.Latency, func(of htmlLatency) bool { return of.Title == title })
		if at < 0 {
			at = len(p.Latency)
			p.Latency = append(p.Latency, htmlLatency{Title: title, Open: len(views) > 0 && l.wire == views[0].Name && l.path == views[0].Main})
		}
		p.Latency[at].Curves = append(p.Latency[at].Curves, r.curves(fmt.Sprintf("latency-%d", i), l))
	}
	if len(r.Topology.Machines) > 0 {
		p.Picture = r.Topology.picture(r.Lab)
	}
	p.Proof, p.Frames = r.proofGrids()
	for _, e := range r.Endpoints {
		p.Endpoints.add(e.Mode, e.Path, e.From+" "+e.FromAddress, e.To+" "+e.ToAddress)
	}
	for _, t := range r.Retries {
		p.Retries.add(t.Mode, t.Wire, kind{t.Wire, t.Path, t.Measure, "", t.Params}.String(), strconv.Itoa(t.Round), t.Reason)
	}
	return pageTemplate.Execute(w, p)
}

func (r *Results) htmlWire(number int, v wireView) htmlWire {
	h := htmlWire{Wire: v.Wire, Overview: r.overviewGrid(v), Panels: r.panels(fmt.Sprintf("series-%d", number), v.Name)}
	for i, c := range v.Overview {
		for j, mark := range c.marks(r.rows()) {
			h.Overview.Rows[i][j+1].Strip = mark
		}
	}
	for _, g := range v.Groups {
		of := htmlGroup{htmlNumbers: htmlNumbers{g.Title, g.numbers()}, Open: number == 0 && (g.path == v.Main || g.path == "-")}
		for _, s := range g.Beside {
			of.Beside = append(of.Beside, htmlNumbers{s.Title, s.numbers()})
		}
		h.Groups = append(h.Groups, of)
	}
	return h
}

// numbers is a section's table with the rounds drawn beside.
func (s section) numbers() grid {
	g := s.grid()
	g.Caption += ", wire model " + s.wire
	for i, m := range s.Modes {
		if column := slices.Index(s.Header, s.contrast); column >= 0 {
			at := &g.Rows[i][column]
			at.Good, at.Bad = s.side(m)
		}
	}
	g.draw("every round", s.rounds)
	return g
}

// drawRanking adds to the verdict's table what each mode adds, from zero, with intervals. One mode far above all others would
// leave nothing to be seen of them: it is drawn as beyond the axis.
func (r *Results) drawRanking(g *grid) {
	var readings []stripRow
	var ends []float64
	for _, k := range r.Verdict.Ranks {
		if k.Added == nil || k.AddedHigh == nil {
			return
		}
		readings = append(readings, stripRow{name: k.Mode + ", ns added", line: *k.Added, low: k.AddedLow, high: k.AddedHigh})
		ends = append(ends, *k.AddedHigh)
	}
	if len(readings) < 2 {
		return
	}
	slices.Sort(ends)
	most := ends[len(ends)-1]
	if next := ends[len(ends)-2]; next > 0 && most > 3*next {
		most = 1.1 * next
	}
	within := slices.Clone(readings)
	for i := range within {
		of := &within[i]
		low, high := min(*of.low, most), min(*of.high, most)
		of.line, of.low, of.high = min(of.line, most), &low, &high
	}
	base := 0.0
	drawn, _ := strips(within, &base, true, nanoseconds)
	at := len(g.Header)
	if len(r.Traits) > 0 {
		at = 4
	}
	g.Header = slices.Insert(slices.Clone(g.Header), at, "from zero")
	for i := range g.Rows {
		shown := cell{Text: "–"}
		if i < len(drawn) {
			s := &drawn[i]
			s.Desc = fmt.Sprintf("%s ns, %s", nanoseconds(readings[i].line), estimate{0, readings[i].low, readings[i].high}.spread(nanoseconds))
			if readings[i].line > most {
				s.Span, s.Beyond = 0, fmt.Sprintf("M%d 8l7 6l-7 6", stripWidth-stripMargin)
			}
			shown = cell{Strip: s}
		}
		g.Rows[i] = slices.Insert(g.Rows[i], at, shown)
	}
}

// draw adds a column with a picture of each row.
func (g *grid) draw(head string, what func() ([]strip, *axis)) {
	drawn, a := what()
	g.Header, g.Axis = append(slices.Clone(g.Header), head), a
	for i := range g.Rows {
		g.Rows[i] = append(g.Rows[i], cell{Strip: &drawn[i]})
	}
}

// proofGrids say what was captured of each mode under each wire model, and how large its frames were.
func (r *Results) proofGrids() (proof, frames grid) {
	wires := r.wires()
	proof = grid{Caption: "Captured on the underlay while a mode's pods talked", Header: append([]string{"mode", "promised"}, wires...), Prose: true}
	frames = grid{Caption: "Frames on the underlay by size, Ethernet header included", Header: append([]string{"mode"}, wires...), Prose: true}
	for _, mode := range r.Modes {
		seen, sizes := make([]cell, 2+len(wires)), make([]cell, 1+len(wires))
		seen[0].Text, sizes[0].Text = mode, mode
		for _, p := range r.Proof {
			at := slices.Index(wires, p.Wire)
			if p.Mode != mode || at < 0 {
				continue
			}
			seen[1].Text = p.Encapsulation
			seen[2+at] = verdict(p.OK)
			if seen[2+at].Text += ", " + plural(p.Frames, "frame"); !p.OK {
				seen[2+at].Text += ": " + p.Detail
			}
			var words []string
			for _, s := range p.Sizes {
				words = append(words, fmt.Sprintf("%s bytes: %s", thousands(strconv.Itoa(s[0])), thousands(strconv.Itoa(s[1]))))
			}
			sizes[1+at].Text = strings.Join(words, "; ")
		}
		if seen[1].Text != "" {
			proof.Rows = append(proof.Rows, seen)
		}
		if slices.ContainsFunc(sizes[1:], func(c cell) bool { return c.Text != "" }) {
			frames.Rows = append(frames.Rows, sizes)
		}
	}
	return proof, frames
}

// facts is a table of what is known; what was not recorded is left out.
func facts(caption string, rows ...[2]string) grid {
	g := grid{Caption: caption, Prose: true}
	for _, row := range rows {
		if row[1] != "" {
			g.add(row[:]...)
		}
	}
	return g
}

func (r *Results) machineGrid() grid {
	m := r.Machine
	number := func(format string, v float64) string {
		if v == 0 {
			return ""
		}
		return fmt.Sprintf(format, v)
	}
	hypervisor := m.Hypervisor
	if hypervisor == "" && m.Virtual {
		hypervisor = "there is one"
	}
	return facts("The machine",
		[2]string{"kernel", m.Kernel}, [2]string{"CPU", m.CPU}, [2]string{"CPUs", strconv.Itoa(m.CPUs)}, [2]string{"hypervisor", hypervisor},
		[2]string{"measured as", m.privilege()},
		[2]string{"CPU time taken by the hypervisor", number("%.1f s", m.Steal)}, [2]string{"load before", number("%.2f", m.Load)},
		[2]string{"memory", number("%.1f GiB", float64(m.Memory)/(1<<30))}, [2]string{"frequency governor", m.Governor}, [2]string{"clock source", m.Clock},
		[2]string{"default qdisc", m.Qdisc}, [2]string{"default congestion control", m.Congestion},
		[2]string{"client and server on CPUs", strings.Trim(fmt.Sprint(m.Pinned), "[]")}, [2]string{"mitigations", strings.Join(m.Mitigations, "\n")},
	)
}

func (r *Results) methodGrid() grid {
	var used []string
	segments := map[string][]int{}
	for _, s := range r.Samples {
		if s.Congestion != "" && !slices.Contains(used, s.Congestion) {
			used = append(used, s.Congestion)
		}
		if s.MSS > 0 && !slices.Contains(segments[s.Mode], s.MSS) {
			segments[s.Mode] = append(segments[s.Mode], s.MSS)
		}
	}
	var negotiated []string
	for _, mode := range r.rows() {
		if sizes := segments[mode]; len(sizes) > 0 {
			slices.Sort(sizes)
			negotiated = append(negotiated, mode+" "+strings.Join(strings.Fields(strings.Trim(fmt.Sprint(sizes), "[]")), " or "))
		}
	}
	twin := ""
	if r.Twin != nil {
		twin = r.Twin.Mode + " is " + r.Twin.Of + ", built and measured a second time"
	}
	rows := [][2]string{
		{"rounds", fmt.Sprintf("%d of %d asked for", r.Rounds, r.Asked)}, {"seed of the order", strconv.FormatUint(r.Seed, 10)},
		{"one number", fmt.Sprintf("%g s, after %g s of warm-up, the last %g s cut off", r.Window, r.Warmup, r.Tail)},
		{"measures", r.Set}, {"load from", cmp.Or(r.Engine, "lab")}, {"congestion control used", strings.Join(used, ", ")}, {"negotiated MSS", strings.Join(negotiated, ", ")},
		{"definition (SHA-256)", r.Definition}, {"the generator over loopback", strings.Join(r.ceilings(), "; ")}, {"A/A pair", twin},
	}
	for _, w := range r.Wires {
		about := strings.Join(append([]string{strings.TrimSuffix(w.About, ".")}, w.Settings...), "; ")
		if w.Rate > 0 {
			about += fmt.Sprintf("; limited to %g Gbit/s", w.Rate)
		}
		rows = append(rows, [2]string{"wire model " + w.Name, strings.Trim(about, "; ")})
	}
	return facts("How it was measured", rows...)
}

func (r *Results) passGrid() grid {
	g := grid{Caption: "The rounds as they were taken", Header: []string{"round", "wire", "order", "began", "seconds", "steal", "load"}, Prose: true}
	for _, t := range r.Passes {
		g.add(strconv.Itoa(t.Round), t.Wire, strings.Join(t.Order, ", "), t.Start.UTC().Format(time.TimeOnly), fmt.Sprintf("%.0f", t.Seconds),
			percent(r.steal(t)), fmt.Sprintf("%.2f", t.Load))
	}
	return g
}

// deviceGrids are the devices of each mode.
func (r *Results) deviceGrids() []grid {
	var all []grid
	for _, d := range r.Devices {
		at := slices.IndexFunc(all, func(g grid) bool { return g.Caption == d.Mode })
		if at < 0 {
			at = len(all)
			all = append(all, grid{Caption: d.Mode, Prose: true,
				Header: []string{"wire", "machine", "device", "kind", "MTU", "qdisc", "GSO segments, size", "GRO size", "drops", "offloads"}})
		}
		var offloads []string
		for _, on := range []bool{true, false} {
			var names []string
			for _, name := range slices.Sorted(maps.Keys(d.Offloads)) {
				if d.Offloads[name] == on {
					names = append(names, name)
				}
			}
			if len(names) > 0 {
				offloads = append(offloads, map[bool]string{true: "on: ", false: "off: "}[on]+strings.Join(names, ", "))
			}
		}
		all[at].add(d.Wire, d.Machine, d.Device, d.Kind, strconv.Itoa(d.MTU), d.Qdisc, fmt.Sprintf("%d, %d", d.GSOMaxSegs, d.GSOMaxSize),
			strconv.Itoa(d.GROMaxSize), strconv.FormatUint(d.Drops, 10), strings.Join(offloads, "\n"))
	}
	return all
}

// command is the command line as a shell takes it.
func command(argv []string) string {
	var words []string
	for _, arg := range argv {
		if arg == "" || strings.ContainsFunc(arg, func(c rune) bool { return !strings.ContainsRune(unquoted, c) }) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

const unquoted = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+./:,@%"
