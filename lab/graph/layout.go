package graph

import (
	"math"
	"slices"
)

const (
	margin   = 20
	rackGap  = 36
	lane     = 9    // between lines that run side by side
	pageWide = 1560 // what a page is wider than only where one rack is
	barLine  = 16
)

// placed is a machine at its place.
type placed struct {
	*Machine
	box
	plugs  []plug
	joins  []join
	core   bool
	isLast bool // of its rack's rows
}

// join is a machine's part in an overlay.
type join struct {
	net  int
	mark Mark // Missing where it reaches nobody
}

// plug is a link to a switch.
type plug struct {
	device *Device
	net    int // the switch
	x      int
}

// rack is a switch with the machines below it, in rows.
type rack struct {
	net      int // -1: machines that are on no switch
	bar      box
	machines []*placed
	columns  int
	x, width int
	foreign  []int // other switches that its machines are on
	over     []int // overlays that rows but the last are in
	boxesX   int
	shelf    int
}

func (r *rack) rows() int { return (len(r.machines) + r.columns - 1) / max(1, r.columns) }

func (r *rack) row(i int) []*placed {
	return r.machines[i*r.columns : min(len(r.machines), (i+1)*r.columns)]
}

// layout is a picture while it is laid out.
type layout struct {
	*Picture
	style
	headed  bool
	columns int // of a rack, at the most
	overs   []Net
	pills   []box
	parts   []placed // every machine, not yet at its place
	racks   []*rack
	core    [][]*placed // rows of routers between switches
	shelves [][]*rack

	scene    scene
	channels []*channel
	left     map[int]int // where nets run from channel to channel
	right    map[int]int
}

// channel is a band across the page in which lines run.
type channel struct {
	y     int
	under []int         // switches that have a line in it
	over  []int         // overlays likewise
	at    map[int][]int // by switch: where its lines come in
	tops  map[int][]int // by overlay
	taken []int         // where lines go up and down
}

func newChannel() *channel { return &channel{at: map[int][]int{}, tops: map[int][]int{}} }

func (c *channel) height() int {
	if n := len(c.under) + len(c.over); n > 0 {
		return 14 + lane*n
	}
	return 0
}

func (c *channel) underY(net int) int { return c.y + 10 + lane*slices.Index(c.under, net) }
func (c *channel) overY(net int) int {
	return c.y + 10 + lane*(len(c.under)+slices.Index(c.over, net))
}

// free finds a place for a line that goes up or down, near x and between two others.
func (c *channel) free(x, least, most int) int {
	for d := 0; d <= most-least; d += 3 {
		for _, at := range []int{x + d, x - d} {
			if at >= least && at <= most && !slices.ContainsFunc(c.taken, func(t int) bool { return t-at < 8 && at-t < 8 }) {
				c.taken = append(c.taken, at)
				return at
			}
		}
	}
	return min(max(x, least), most)
}

func add[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// scene lays a picture out in the way that fits a page best; headed, it says what it is of.
func (p *Picture) scene(headed bool) scene {
	var best scene
	least := math.Inf(1)
	whole := &layout{Picture: p, style: p.style(), overs: slices.Concat(p.Overlays, p.Sessions)}
	whole.prepare()
	for columns := 1; columns <= 16; columns++ {
		l := &layout{Picture: p, style: whole.style, overs: whole.overs, pills: slices.Clone(whole.pills), parts: whole.parts, columns: columns, headed: headed, left: map[int]int{}, right: map[int]int{}}
		l.gather()
		l.settle()
		rows := 1
		most := 0
		for _, r := range l.racks {
			rows = max(rows, r.rows())
			most = max(most, r.columns)
		}
		w, h := float64(l.scene.width), float64(l.scene.height)
		cost := math.Abs(math.Log(w/h/1.5)) + min(0.45, float64(rows-1)) + 0.25*float64(rows-1) + max(0, (w-pageWide-100)/700)
		if cost < least {
			best, least = l.scene, cost
		}
		if most < columns {
			break
		}
	}
	return best
}

func hue(net int) string { return "n" + string(rune('0'+net%6)) }

func overHue(n Net, i int) string {
	if n.Kind == "bgp" {
		return "bgp"
	}
	return "o" + string(rune('0'+i%3))
}

// prepare lays out what is the same wherever it is put.
func (l *layout) prepare() {
	joins := map[string][]join{}
	for j, n := range l.overs {
		l.pills = append(l.pills, n.pill(j))
		known, gone := map[string]int{}, map[string]int{}
		for _, p := range n.Pairs {
			for _, m := range []string{p.A, p.B} {
				known[m]++
				if p.Mark == Missing {
					gone[m]++
				}
			}
		}
		for _, m := range n.Members {
			mark := Fine
			switch {
			case known[m] > 0 && gone[m] == known[m]:
				mark = Missing
			case gone[m] > 0:
				mark = Changed
			}
			joins[m] = append(joins[m], join{j, mark})
		}
	}
	nets := map[string]int{}
	for i, s := range l.Switches {
		nets[s.Name] = i
	}
	for i := range l.Machines {
		m := placed{Machine: &l.Machines[i], joins: joins[l.Machines[i].Name]}
		m.box = l.style.box(*m.Machine, func(name string) string { return hue(nets[name]) })
		for j := range m.Devices {
			d := &m.Devices[j]
			if net, ok := nets[d.Switch]; ok {
				m.plugs = append(m.plugs, plug{device: d, net: net})
			}
		}
		l.parts = append(l.parts, m)
	}
}

// gather puts each machine into the rack of its first switch, or between the racks.
func (l *layout) gather() {
	for i, s := range l.Switches {
		l.racks = append(l.racks, &rack{net: i, bar: s.bar(i)})
	}
	var loose *rack
	var core []*placed
	for _, part := range l.parts {
		m := &part
		m.plugs = slices.Clone(m.plugs)
		on := []int{}
		for _, p := range m.plugs {
			on = add(on, p.net)
		}
		switch {
		case len(on) > 1 && m.Kind == "router":
			m.core = true
			core = append(core, m)
		case len(on) > 0:
			l.racks[on[0]].machines = append(l.racks[on[0]].machines, m)
		default:
			if loose == nil {
				loose = &rack{net: -1}
			}
			loose.machines = append(loose.machines, m)
		}
	}
	if loose != nil {
		l.racks = append(l.racks, loose)
	}
	for _, r := range l.racks {
		r.measure(l)
	}
	widest := pageWide
	for _, r := range l.racks {
		widest = max(widest, r.width)
	}
	across := 0
	for _, r := range l.racks {
		if len(l.shelves) == 0 || across+rackGap+r.width > widest {
			l.shelves = append(l.shelves, nil)
			across = -rackGap
		}
		r.shelf = len(l.shelves) - 1
		l.shelves[r.shelf] = append(l.shelves[r.shelf], r)
		across += rackGap + r.width
	}
	for each := max(1, (widest+gap)/(l.style.width+gap)); len(core) > 0; {
		n := min(each, len(core))
		l.core = append(l.core, core[:n])
		core = core[n:]
	}
}

// measure says how wide a rack is, and what runs beside its rows.
func (r *rack) measure(l *layout) {
	r.columns = max(1, min(l.columns, len(r.machines)))
	for i, m := range r.machines {
		m.isLast = i/r.columns == r.rows()-1
		for _, p := range m.plugs {
			if p.net != r.net {
				r.foreign = add(r.foreign, p.net)
			}
		}
		if !m.isLast {
			for _, j := range m.joins {
				r.over = add(r.over, j.net)
			}
		}
	}
	slices.Sort(r.foreign)
	slices.Sort(r.over)
	r.boxesX = lane * len(r.foreign)
	if r.rows() > 1 && r.net >= 0 {
		r.boxesX += 2 * lane
	}
	boxes := r.columns*(l.style.width+gap) - gap
	if len(r.machines) == 0 {
		boxes = 0
	}
	r.width = max(r.boxesX+boxes+lane*len(r.over), lane*len(r.foreign)+r.bar.width)
	r.bar.width = max(r.bar.width, r.boxesX+boxes-lane*len(r.foreign))
}

// bar is a switch at the origin, as wide as its text.
func (s Switch) bar(net int) box {
	b := box{class: "switch " + hue(net), title: s.describe()}
	if c := s.Mark.class(""); c != "" {
		b.class += " " + c
	}
	right := ""
	if s.MTU > 0 {
		right = "mtu " + number(s.MTU)
	}
	if s.Mark != Fine {
		right = string(s.Mark)
	}
	name := label{x: padding, text: shorten(s.Name, 40), class: "name"}
	kind := label{x: padding + name.width() + 10, text: "switch", class: "word"}
	lines := slices.Clone(s.Subnets)
	if s.Impair != "" {
		lines = append(lines, s.Impair)
	}
	first := row{y: 19, title: b.title, labels: []label{name, kind}}
	b.width = kind.x + kind.width() + padding
	end := b.width + 8
	if len(lines) > 0 { // the first subnet stands beside the name
		l := label{x: b.width, text: lines[0], class: "mono"}
		first.labels = append(first.labels, l)
		end = l.x + l.width() + gap
		lines = lines[1:]
	}
	if right != "" {
		l := label{text: right, class: s.Mark.class("soft"), end: true}
		end += l.width()
		first.labels = append(first.labels, l) // its place is settled with the width
	}
	b.rows = append(b.rows, first)
	column := b.width
	b.width = end + padding
	for i, text := range lines {
		l := label{x: column, text: text, class: "mono"}
		b.rows = append(b.rows, row{y: 19 + barLine*(i+1), title: b.title, labels: []label{l}})
		b.width = max(b.width, l.x+l.width()+padding)
	}
	b.height = 30 + barLine*len(lines)
	return b
}

// settleEnds puts what ends at the right side of a box there.
func (b *box) settleEnds() {
	for i := range b.rows {
		for j := range b.rows[i].labels {
			if l := &b.rows[i].labels[j]; l.end && l.x == 0 {
				l.x = b.width - padding
			}
		}
	}
}

// pill is an overlay at the origin, as wide as its text.
func (n Net) pill(i int) box {
	b := box{class: "net " + overHue(n, i), title: n.describe()}
	texts := []label{{text: n.Name, class: "name"}, {text: n.summary(), class: "word"}}
	texts = append(texts, n.faults()...)
	for i, t := range texts {
		t.x = padding
		b.rows = append(b.rows, row{y: 19 + barLine*i, title: b.title, labels: []label{t}})
		b.width = max(b.width, t.width()+2*padding)
	}
	b.height = 14 + barLine*len(texts)
	return b
}
