package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report.html").Parse(page))

// htmlTable is a table as the page shows it: a caption, and rows that begin with what they are about.
type htmlTable struct {
	Caption string
	Header  []string
	Rows    [][]cell
	Prose   bool // words rather than numbers
}

func (t *htmlTable) add(row []string) {
	var cells []cell
	for _, text := range row {
		cells = append(cells, cell{Text: text})
	}
	t.Rows = append(t.Rows, cells)
}

func newTable(caption string, header []string, rows [][]string) htmlTable {
	t := htmlTable{Caption: caption, Header: header}
	for _, row := range rows {
		t.add(row)
	}
	return t
}

// htmlPage is what the template shows.
type htmlPage struct {
	Title     string
	Heading   []string
	Made      string
	Passed    string
	AllPassed bool
	Failed    []Check
	Remarks   []string
	Wires     []htmlWire
	Legend    string
	Expected  *htmlExpected
	Latency   []curves
	CPU       []dots
	Validity  htmlTable
	Picture   *picture
	Endpoints htmlTable
	Machine   htmlTable
	Method    htmlTable
	Passes    htmlTable
	Retries   htmlTable
	Command   string
	Proof     htmlTable
	Frames    []htmlTable
	Devices   []htmlTable
	Limits    string
}

type htmlWire struct {
	Wire
	Overview htmlTable
	Groups   []htmlGroup
	Panels   []panels
}

type htmlGroup struct {
	htmlNumbers
	Beside []htmlNumbers
}

type htmlNumbers struct {
	Title string
	Table htmlTable
	Plot  dots
}

type htmlExpected struct {
	Table htmlTable
	Plot  dots
}

// html writes one file that needs nothing from anywhere, and no script.
func (r *Results) html(w io.Writer) error {
	p := htmlPage{
		Title: r.Lab + ": " + strings.Join(r.Modes, ", "), Heading: r.heading(), Made: r.Tool, Legend: r.legend(), Limits: r.limits(),
		Remarks: slices.Concat(r.Notes, r.Warnings), Command: command(r.Argv), AllPassed: true,
		Validity:  htmlTable{Caption: "Every check, and what was seen", Header: []string{"check", "", "seen"}, Prose: true},
		Endpoints: htmlTable{Caption: "Between whom the paths were measured", Header: []string{"mode", "path", "from", "to"}, Prose: true},
		Proof:     htmlTable{Caption: "What was captured on the underlay while a mode's pods talked", Header: []string{"mode", "wire", "promised", "", "seen"}, Prose: true},
		Retries:   htmlTable{Caption: "What was measured again", Header: []string{"mode", "wire", "measurement", "round", "why"}, Prose: true},
		Passes:    htmlTable{Caption: "The rounds as they were taken", Header: []string{"round", "wire", "order", "began", "seconds", "steal", "load"}},
	}
	if !r.Start.IsZero() {
		p.Made += ", " + r.Start.UTC().Format("2006-01-02 15:04 UTC")
	}
	passed := 0
	for _, c := range r.Validity {
		if c.OK {
			passed++
		} else {
			p.Failed = append(p.Failed, c)
			p.AllPassed = false
		}
		p.Validity.Rows = append(p.Validity.Rows, []cell{{Text: c.title()}, verdict(c.OK), {Text: c.Detail}})
	}
	p.Passed = fmt.Sprintf("%d of %s passed", passed, plural(len(r.Validity), "check"))
	for i, v := range r.wireViews() {
		p.Wires = append(p.Wires, r.htmlWire(i, v))
	}
	if len(r.Expected) > 0 {
		e := &htmlExpected{Table: htmlTable{Caption: "Expected and measured ratio of goodput on the limited wire", Header: expectedHeader}, Plot: r.expectation()}
		for _, x := range r.Expected {
			e.Table.add(x.row())
		}
		p.Expected = e
	}
	for i, l := range r.latencies() {
		p.Latency = append(p.Latency, r.curves(fmt.Sprintf("latency-%d", i), l))
	}
	for i, s := range r.sections() {
		if s.metric == "cpu" {
			d := r.plot(fmt.Sprintf("cpu-%d", i), s)
			d.Title = fmt.Sprintf("%s, wire model %s [%s]", s.kind, s.wire, s.Modes[0].Unit)
			p.CPU = append(p.CPU, d)
		}
	}
	if len(r.Topology.Machines) > 0 {
		drawn := r.Topology.picture()
		p.Picture = &drawn
	}
	for _, e := range r.Endpoints {
		p.Endpoints.add([]string{e.Mode, e.Path, e.From + " " + e.FromAddress, e.To + " " + e.ToAddress})
	}
	for _, f := range r.Proof {
		seen := f.Detail
		if f.OK {
			seen = plural(f.Frames, "frame")
		}
		p.Proof.Rows = append(p.Proof.Rows, []cell{{Text: f.Mode}, {Text: f.Wire}, {Text: f.Encapsulation}, verdict(f.OK), {Text: seen}})
		if len(f.Sizes) > 0 {
			p.Frames = append(p.Frames, f.frames())
		}
	}
	for _, t := range r.Retries {
		p.Retries.add([]string{t.Mode, t.Wire, kind{t.Wire, t.Path, t.Measure, "", t.Params}.String(), strconv.Itoa(t.Round), t.Reason})
	}
	for _, t := range r.Passes {
		p.Passes.add([]string{
			strconv.Itoa(t.Round), t.Wire, strings.Join(t.Order, ", "), t.Start.UTC().Format(time.TimeOnly), fmt.Sprintf("%.0f", t.Seconds),
			percent(t.Steal / max(1e-9, t.Seconds*float64(max(1, r.Machine.CPUs)))), fmt.Sprintf("%.2f", t.Load),
		})
	}
	p.Machine, p.Method, p.Devices = r.machineTable(), r.methodTable(), r.deviceTables()
	return pageTemplate.Execute(w, p)
}

func verdict(ok bool) cell {
	if ok {
		return cell{Text: "✓ pass", Good: true}
	}
	return cell{Text: "✗ fail", Bad: true}
}

func (r *Results) htmlWire(number int, v wireView) htmlWire {
	h := htmlWire{Wire: v.Wire, Panels: r.panels(fmt.Sprintf("series-%d", number), v.Name)}
	h.Overview = htmlTable{Caption: "Overview, wire model " + v.Name, Header: []string{"mode"}}
	for _, mode := range r.rows() {
		h.Overview.Rows = append(h.Overview.Rows, []cell{{Text: mode}})
	}
	for _, c := range v.Overview {
		h.Overview.Header = append(h.Overview.Header, strings.Join(c.Head, " "))
		for i, cell := range c.Cells {
			h.Overview.Rows[i] = append(h.Overview.Rows[i], cell)
		}
	}
	for i, g := range v.Groups {
		of := htmlGroup{htmlNumbers: r.numbers(fmt.Sprintf("plot-%d-%d", number, i), g.section)}
		for j, s := range g.Beside {
			of.Beside = append(of.Beside, r.numbers(fmt.Sprintf("plot-%d-%d-%d", number, i, j), s))
		}
		h.Groups = append(h.Groups, of)
	}
	return h
}

func (r *Results) numbers(id string, s section) htmlNumbers {
	return htmlNumbers{Title: s.Title, Table: newTable(s.Title, s.Header, s.Rows), Plot: r.plot(id, s)}
}

// frames says how large the frames of a mode were on the wire.
func (p Proof) frames() htmlTable {
	t := htmlTable{Caption: fmt.Sprintf("Frames of %s on the underlay, wire model %s", p.Mode, p.Wire), Header: []string{"bytes", "frames"}}
	for _, s := range p.Sizes {
		t.add([]string{thousands(strconv.Itoa(s[0])), thousands(strconv.Itoa(s[1]))})
	}
	return t
}

// known leaves out what was not recorded.
func known(rows ...[2]string) [][]string {
	var all [][]string
	for _, row := range rows {
		if row[1] != "" {
			all = append(all, row[:])
		}
	}
	return all
}

func (r *Results) machineTable() htmlTable {
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
	t := newTable("The machine", []string{"", ""}, known(
		[2]string{"kernel", m.Kernel}, [2]string{"CPU", m.CPU}, [2]string{"CPUs", strconv.Itoa(m.CPUs)}, [2]string{"hypervisor", hypervisor},
		[2]string{"CPU time taken by the hypervisor", number("%.1f s", m.Steal)}, [2]string{"load before", number("%.2f", m.Load)},
		[2]string{"memory", number("%.1f GiB", float64(m.Memory)/(1<<30))}, [2]string{"frequency governor", m.Governor}, [2]string{"clock source", m.Clock},
		[2]string{"default qdisc", m.Qdisc}, [2]string{"default congestion control", m.Congestion},
		[2]string{"client and server on CPUs", strings.Trim(fmt.Sprint(m.Pinned), "[]")}, [2]string{"mitigations", strings.Join(m.Mitigations, "; ")},
	))
	t.Prose = true
	return t
}

func (r *Results) methodTable() htmlTable {
	var used []string
	for _, s := range r.Samples {
		if s.Congestion != "" && !slices.Contains(used, s.Congestion) {
			used = append(used, s.Congestion)
		}
	}
	rows := known(
		[2]string{"rounds", fmt.Sprintf("%d of %d asked for", r.Rounds, r.Asked)}, [2]string{"seed of the order", strconv.FormatUint(r.Seed, 10)},
		[2]string{"one number", fmt.Sprintf("%g s, after %g s of warm-up, the last %g s cut off", r.Window, r.Warmup, r.Tail)},
		[2]string{"measures", r.Set}, [2]string{"load from", cmp.Or(r.Engine, "lab")}, [2]string{"congestion control used", strings.Join(used, ", ")},
		[2]string{"definition (SHA-256)", r.Definition}, [2]string{"the generator over loopback", strings.Join(r.ceilings(), "; ")},
	)
	if r.Twin != nil {
		rows = append(rows, []string{"A/A pair", r.Twin.Mode + " is " + r.Twin.Of + ", built and measured a second time"})
	}
	for _, w := range r.Wires {
		about := strings.Join(append([]string{w.About}, w.Settings...), "; ")
		if w.Rate > 0 {
			about += fmt.Sprintf("; limited to %g Gbit/s", w.Rate)
		}
		rows = append(rows, []string{"wire model " + w.Name, strings.Trim(about, "; ")})
	}
	t := newTable("How it was measured", []string{"", ""}, rows)
	t.Prose = true
	return t
}

// deviceTables are the devices of each mode, under each wire model.
func (r *Results) deviceTables() []htmlTable {
	var all []htmlTable
	var last [2]string
	for _, d := range r.Devices {
		if at := [2]string{d.Mode, d.Wire}; len(all) == 0 || at != last {
			last = at
			all = append(all, htmlTable{Caption: fmt.Sprintf("%s, wire model %s", d.Mode, d.Wire),
				Header: []string{"machine", "device", "kind", "MTU", "qdisc", "GSO segments, size", "GRO size", "offloads that are off", "drops"}, Prose: true})
		}
		var off []string
		for name, on := range d.Offloads {
			if !on {
				off = append(off, name)
			}
		}
		slices.Sort(off)
		all[len(all)-1].add([]string{
			d.Machine, d.Device, d.Kind, strconv.Itoa(d.MTU), d.Qdisc, fmt.Sprintf("%d, %d", d.GSOMaxSegs, d.GSOMaxSize), strconv.Itoa(d.GROMaxSize),
			strings.Join(off, " "), strconv.FormatUint(d.Drops, 10),
		})
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
