package graph

import (
	"cmp"
	"slices"
)

// settle gives everything its place, from top to bottom.
func (l *layout) settle() {
	top := l.heading()
	// Channels, and what has a line in which.
	var cores, shelves []*channel
	for range l.core {
		cores = append(cores, newChannel())
	}
	for range l.shelves {
		shelves = append(shelves, newChannel())
	}
	if len(cores) > 0 && len(shelves) > 0 {
		shelves[0] = cores[len(cores)-1] // the routers' last row stands right above the racks
	}
	bottoms := make([]*channel, len(l.shelves))
	outside := map[int]bool{} // switches that are reached from elsewhere than their rack
	for i, row := range l.core {
		for _, m := range row {
			for _, p := range m.plugs {
				cores[i].under = add(cores[i].under, p.net)
				outside[p.net] = true
			}
			for _, j := range m.joins {
				cores[i].over = add(cores[i].over, j.net)
			}
		}
	}
	for _, r := range l.racks {
		for _, net := range r.foreign {
			shelves[r.shelf].under = add(shelves[r.shelf].under, net)
			outside[net] = true
		}
	}
	for _, r := range l.racks {
		if outside[r.net] {
			shelves[r.shelf].under = add(shelves[r.shelf].under, r.net)
		}
	}
	for i := range bottoms {
		bottoms[i] = newChannel()
		for _, r := range l.shelves[i] {
			for _, m := range r.machines {
				for _, j := range m.joins {
					bottoms[i].over = add(bottoms[i].over, j.net)
				}
			}
		}
	}
	if n := len(bottoms); n > 0 {
		for j := range l.overs {
			bottoms[n-1].over = add(bottoms[n-1].over, j)
		}
	}
	l.channels = slices.Concat(cores, shelves, bottoms)
	uses := map[int]int{}
	overUses := map[int]int{}
	seen := map[*channel]bool{}
	for _, c := range l.channels {
		slices.Sort(c.under)
		slices.Sort(c.over)
		if seen[c] {
			continue
		}
		seen[c] = true
		for _, net := range c.under {
			uses[net]++
		}
		for _, net := range c.over {
			overUses[net]++
		}
	}
	x := margin
	for net := range l.Switches {
		if uses[net] > 1 {
			l.left[net] = x
			x += lane
		}
	}
	if len(l.left) > 0 {
		x += lane
	}
	// Across: racks first, then the routers over their middle.
	right := x
	for _, shelf := range l.shelves {
		at := x
		for _, r := range shelf {
			r.x = at
			r.bar.x = at + lane*len(r.foreign)
			r.bar.settleEnds()
			for i, m := range r.machines {
				m.x = at + r.boxesX + i%r.columns*(l.style.width+gap)
			}
			at += r.width + rackGap
		}
		right = max(right, at-rackGap)
	}
	for _, row := range l.core {
		right = max(right, l.overRacks(row, x))
	}
	for _, m := range l.all() {
		m.spread(l)
	}
	trunks := right + 2*lane
	for j := range l.overs {
		if overUses[j] > 1 {
			l.right[j] = trunks
			trunks += lane
		}
	}
	if len(l.right) > 0 {
		right = trunks
	}
	// Down.
	y := top
	for i, row := range l.core {
		high := 0
		for _, m := range row {
			m.y = y
			high = max(high, m.height)
		}
		y += high
		for _, m := range row { // all begin their lines at one height
			m.y = y - m.height
		}
		cores[i].y = y
		y += cores[i].height() + 12
	}
	for i, shelf := range l.shelves {
		if i > 0 || len(cores) == 0 {
			shelves[i].y = y
			if h := shelves[i].height(); h > 0 {
				y += h + 10
			}
		}
		high := y
		for _, r := range shelf {
			high = max(high, l.fill(r, y))
		}
		y = high
		bottoms[i].y = y
		if h := bottoms[i].height(); h > 0 {
			y += h + 8
		} else if i+1 < len(l.shelves) {
			y += rackGap
		}
	}
	pills, across, high := l.pills, -gap, 0
	for j := range pills {
		pills[j].y = y + 6
		across += gap + pills[j].width
		high = max(high, pills[j].height+6)
	}
	at := max(x, (x+right-across)/2) // below the middle
	for j := range pills {
		pills[j].x = at
		at += pills[j].width + gap
		right = max(right, at-gap)
	}
	y += high
	l.lines(cores, shelves, bottoms)
	for _, r := range l.racks {
		if r.net >= 0 {
			l.scene.boxes = append(l.scene.boxes, r.bar)
		}
	}
	for _, m := range l.all() {
		l.scene.boxes = append(l.scene.boxes, m.box)
	}
	l.scene.boxes = append(l.scene.boxes, pills...)
	l.scene.width = max(right, margin+l.headingWidth()) + margin
	l.scene.height = l.close(y)
}

func (l *layout) all() []*placed {
	var all []*placed
	for _, row := range l.core {
		all = append(all, row...)
	}
	for _, r := range l.racks {
		all = append(all, r.machines...)
	}
	return all
}

// overRacks puts a row of routers above the middle of what they connect, and returns where the row ends.
func (l *layout) overRacks(row []*placed, left int) int {
	middle := func(m *placed) int {
		sum, n := 0, 0
		for _, r := range l.racks {
			if slices.ContainsFunc(m.plugs, func(p plug) bool { return p.net == r.net }) {
				sum, n = sum+r.bar.x+r.bar.width/2, n+1
			}
		}
		return sum / max(1, n)
	}
	slices.SortStableFunc(row, func(a, b *placed) int { return cmp.Compare(middle(a), middle(b)) })
	end, off := left, 0 // how far they were pushed to the right
	for _, m := range row {
		m.x = max(end, middle(m)-m.width/2)
		off += m.x + m.width/2 - middle(m)
		end = m.x + m.width + gap
	}
	off = min(off/len(row), row[0].x-left)
	for _, m := range row {
		m.x -= off
	}
	return end - off - gap
}

// spread gives a machine's lines their places along its side: those that lead to the left first.
func (m *placed) spread(l *layout) {
	n := len(m.plugs)
	if m.core {
		n += len(m.joins)
	}
	order := make([]*plug, len(m.plugs))
	for i := range m.plugs {
		order[i] = &m.plugs[i]
	}
	if m.core {
		at := map[int]int{}
		for _, r := range l.racks {
			at[r.net] = r.bar.x
		}
		slices.SortStableFunc(order, func(a, b *plug) int { return cmp.Compare(at[a.net], at[b.net]) })
	}
	for i, p := range order {
		p.x = m.x + m.width*(i+1)/(n+1)
	}
}

// overX is where the line to an overlay leaves a machine.
func (m *placed) overX(i int) int {
	if m.core {
		n := len(m.plugs) + len(m.joins)
		return m.x + m.width*(len(m.plugs)+i+1)/(n+1)
	}
	return m.x + m.width*(i+1)/(len(m.joins)+1)
}

// fill sets the rows of a rack that begins at y, and returns where it ends.
func (l *layout) fill(r *rack, y int) int {
	r.bar.y = y
	if r.net >= 0 {
		y += r.bar.height
	}
	for i := range r.rows() {
		row := r.row(i)
		y += r.above(i)
		high := 0
		for _, m := range row {
			m.y = y
			high = max(high, m.height)
		}
		y += high
		if i+1 < r.rows() {
			y += r.below(i)
		}
	}
	return y
}

// lanes are the switches that have a line above a row; that to the rack's own leads straight up from the first.
func (r *rack) lanes(i int) []int {
	var nets []int
	for _, m := range r.row(i) {
		for _, p := range m.plugs {
			if i > 0 || p.net != r.net {
				nets = add(nets, p.net)
			}
		}
	}
	slices.Sort(nets)
	return nets
}

// overs are the overlays that have a line below a row.
func (r *rack) overs(i int) []int {
	var nets []int
	for _, m := range r.row(i) {
		for _, j := range m.joins {
			nets = add(nets, j.net)
		}
	}
	slices.Sort(nets)
	return nets
}

func (r *rack) above(i int) int {
	switch n := len(r.lanes(i)); {
	case r.net < 0 && n == 0 && i == 0:
		return 0
	case n == 0 && r.net < 0:
		return gap
	default:
		return 22 + lane*n
	}
}

func (r *rack) below(i int) int {
	if n := len(r.overs(i)); n > 0 {
		return 8 + lane*n
	}
	return 0
}
