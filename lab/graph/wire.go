package graph

import (
	"cmp"
	"slices"
	"strings"
)

// lines draws all lines.
func (l *layout) lines(cores, shelves, bottoms []*channel) {
	for i, row := range l.core {
		for _, m := range row {
			for _, p := range m.plugs {
				l.drop(m, p, m.y+m.height, cores[i].underY(p.net))
				cores[i].enter(p.net, p.x)
			}
			for k, j := range m.joins {
				l.join(m, j, m.overX(k), cores[i].overY(j.net))
				cores[i].enterOver(j.net, m.overX(k))
			}
		}
	}
	for _, r := range l.racks {
		l.wireRack(r, shelves[r.shelf], bottoms[r.shelf])
	}
	for _, r := range l.racks { // last, where there is room
		c := shelves[r.shelf]
		if r.net < 0 || !slices.Contains(c.under, r.net) {
			continue
		}
		x, y := 0, c.underY(r.net)
		least, most := r.bar.x+10, r.bar.x+r.bar.width-10
		for _, at := range c.at[r.net] {
			if at >= least && at <= most {
				x = at
			}
		}
		if x == 0 {
			x = c.free(r.bar.x+r.bar.width/2, least, most)
		}
		l.line(hue(r.net), l.switchTitle(r.net), point{x, y}, point{x, r.bar.y})
		c.at[r.net] = append(c.at[r.net], x)
	}
	done := map[*channel]bool{}
	ends, overEnds := map[int][]int{}, map[int][]int{}
	for _, c := range slices.Concat(cores, shelves, bottoms) {
		if done[c] {
			continue
		}
		done[c] = true
		for _, net := range c.under {
			if x, ok := l.left[net]; ok {
				c.at[net] = append(c.at[net], x)
				ends[net] = append(ends[net], c.underY(net))
			}
			if len(c.at[net]) > 0 {
				l.line(hue(net), l.switchTitle(net), point{slices.Min(c.at[net]), c.underY(net)}, point{slices.Max(c.at[net]), c.underY(net)})
			}
		}
		for _, j := range c.over {
			if x, ok := l.right[j]; ok {
				c.tops[j] = append(c.tops[j], x)
				overEnds[j] = append(overEnds[j], c.overY(j))
			}
			if len(bottoms) > 0 && c == bottoms[len(bottoms)-1] {
				b := l.pills[j]
				x := c.free(b.x+b.width/2, b.x+10, b.x+b.width-10)
				for _, at := range c.tops[j] {
					if at >= b.x+10 && at <= b.x+b.width-10 {
						x = at
					}
				}
				l.overLine(j, point{x, c.overY(j)}, point{x, b.y})
				c.tops[j] = append(c.tops[j], x)
			}
			if len(c.tops[j]) > 0 {
				l.overLine(j, point{slices.Min(c.tops[j]), c.overY(j)}, point{slices.Max(c.tops[j]), c.overY(j)})
			}
		}
	}
	for net, x := range l.left {
		l.line(hue(net), l.switchTitle(net), point{x, slices.Min(ends[net])}, point{x, slices.Max(ends[net])})
	}
	for j, x := range l.right {
		l.overLine(j, point{x, slices.Min(overEnds[j])}, point{x, slices.Max(overEnds[j])})
	}
	slices.SortFunc(l.scene.wires, wire.compare)
}

// compare orders lines, so that those that are cut are drawn over the others.
func (w wire) compare(other wire) int {
	rank := func(w wire) int {
		if w.cross {
			return 1
		}
		return 0
	}
	return cmp.Or(rank(w)-rank(other), strings.Compare(w.class, other.class), slices.CompareFunc(w.points, other.points, func(a, b point) int {
		return cmp.Or(a.y-b.y, a.x-b.x)
	}), strings.Compare(w.title, other.title))
}

func (c *channel) enter(net, x int) {
	c.at[net] = append(c.at[net], x)
	c.taken = append(c.taken, x)
}

func (c *channel) enterOver(j, x int) {
	c.tops[j] = append(c.tops[j], x)
	c.taken = append(c.taken, x)
}

// wireRack draws the lines of a rack: from its bar down, from other switches past it, and to the overlays below.
func (l *layout) wireRack(r *rack, top, bottom *channel) {
	trunk := map[int]int{} // by switch: where its line runs down beside the rows
	for k, net := range r.foreign {
		trunk[net] = r.x + lane*k + lane/2
	}
	trunk[r.net] = r.bar.x + lane
	lowest, over := map[int]int{}, map[int]int{}
	for k, j := range r.over {
		over[j] = r.boxesX + r.x + r.columns*(l.style.width+gap) - gap + lane*(k+1)
	}
	highest := map[int]int{}
	for i := range r.rows() {
		row := r.row(i)
		lanes := r.lanes(i)
		reach := map[int]int{}
		y := row[0].y
		laneY := func(net int) int { return y - 8 - lane*(len(lanes)-slices.Index(lanes, net)) }
		for _, m := range row {
			for _, p := range m.plugs {
				if i == 0 && p.net == r.net {
					l.drop(m, p, m.y, r.bar.y+r.bar.height)
					continue
				}
				l.drop(m, p, m.y, laneY(p.net))
				reach[p.net] = max(reach[p.net], p.x)
			}
		}
		for _, net := range lanes {
			l.line(hue(net), l.switchTitle(net), point{trunk[net], laneY(net)}, point{reach[net], laneY(net)})
			lowest[net] = laneY(net)
		}
		overs := r.overs(i)
		ground := 0
		for _, m := range row {
			ground = max(ground, m.y+m.height)
		}
		begin := map[int]int{}
		for _, m := range row {
			for k, j := range m.joins {
				x := m.overX(k)
				if m.isLast {
					l.join(m, j, x, bottom.overY(j.net))
					bottom.enterOver(j.net, x)
					continue
				}
				l.join(m, j, x, ground+8+lane*slices.Index(overs, j.net))
				if begin[j.net] == 0 {
					begin[j.net] = x
				}
			}
		}
		for _, j := range overs {
			if begin[j] == 0 {
				continue
			}
			at := ground + 8 + lane*slices.Index(overs, j)
			l.overLine(j, point{begin[j], at}, point{over[j], at})
			if highest[j] == 0 {
				highest[j] = at
			}
		}
	}
	for net, y := range lowest {
		if net == r.net {
			l.line(hue(net), l.switchTitle(net), point{trunk[net], r.bar.y + r.bar.height}, point{trunk[net], y})
			continue
		}
		l.line(hue(net), l.switchTitle(net), point{trunk[net], top.underY(net)}, point{trunk[net], y})
		top.enter(net, trunk[net])
	}
	for j, y := range highest {
		l.overLine(j, point{over[j], y}, point{over[j], bottom.overY(j)})
		bottom.enterOver(j, over[j])
	}
}

// drop draws the link of a machine's device, from the machine to its switch's line.
func (l *layout) drop(m *placed, p plug, from, to int) {
	w := wire{points: []point{{p.x, from}, {p.x, to}}, class: "wire " + hue(p.net), title: m.Name + " " + p.device.describe()}
	switch p.device.Link {
	case Down, Missing:
		w.class, w.cross = "wire cut", true
	case Foreign, Changed:
		w.class = "wire odd " + hue(p.net)
	}
	l.scene.wires = append(l.scene.wires, w)
}

// join draws what leads a machine to an overlay.
func (l *layout) join(m *placed, j join, x, to int) {
	n := l.overs[j.net]
	w := wire{points: []point{{x, m.y + m.height}, {x, to}}, class: "wire over " + overHue(n, j.net), title: m.Name + ", in " + n.Name}
	switch j.mark {
	case Missing:
		w.class, w.cross = "wire over cut", true
	case Changed:
		w.class += " odd"
	}
	l.scene.wires = append(l.scene.wires, w)
}

func (l *layout) line(class, title string, points ...point) {
	if points[0] != points[1] {
		l.scene.wires = append(l.scene.wires, wire{points: points, class: "wire " + class, title: title})
	}
}

func (l *layout) overLine(j int, points ...point) {
	l.line("over "+overHue(l.overs[j], j), l.overs[j].Name, points...)
}

func (l *layout) switchTitle(net int) string { return "switch " + l.Switches[net].Name }
