package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func number(n int) string { return strconv.Itoa(n) }

// heading writes what the picture is of, and returns where the rest begins.
func (l *layout) heading() int {
	if !l.headed {
		return margin
	}
	l.scene.labels = append(l.scene.labels,
		label{x: margin, y: margin + 14, text: l.Title(), class: "title"},
		label{x: margin, y: margin + 34, text: l.about(), class: "word"})
	return margin + 54
}

func (l *layout) headingWidth() int {
	widest := 0
	for _, h := range l.scene.labels {
		widest = max(widest, h.width())
	}
	return widest
}

// Title names the picture.
func (p *Picture) Title() string {
	if p.Mode == "" {
		return p.Lab
	}
	return p.Lab + ", mode " + p.Mode
}

// about is what the picture shows, in a line.
func (p *Picture) about() string {
	var words []string
	kinds := map[string]int{}
	pods := 0
	for _, m := range p.Machines {
		kinds[m.Kind]++
		pods += len(m.Pods)
	}
	add := func(n int, what string) {
		if n > 0 {
			words = append(words, count(n, what))
		}
	}
	switch n := len(p.Switches); {
	case n > 1:
		words = append(words, fmt.Sprintf("%d switches", n))
	case n == 1:
		words = append(words, "1 switch")
	}
	for _, kind := range []string{"router", "node", "host"} {
		add(kinds[kind], kind)
	}
	add(pods, "pod")
	text := strings.Join(words, ", ")
	switch {
	case !p.Running:
	case p.Note != "":
		text += " · as it runs; drift is unknown"
	case len(p.Drift) == 0:
		text += " · as it runs, and as it is defined"
	default:
		text += " · as it runs; not all is as it is defined"
	}
	return text
}

// Describe is the picture in words, for those who do not see it.
func (p *Picture) Describe() string {
	var said []string
	for _, s := range p.Switches {
		said = append(said, strings.SplitN(s.describe(), "\n", 2)[0])
	}
	for _, m := range p.Machines {
		text := m.kind() + " " + m.Name
		for _, d := range m.Devices {
			if d.Switch != "" {
				text += ", " + strings.SplitN(d.describe(), "\n", 2)[0]
			}
		}
		if len(m.Pods) > 0 {
			text += ", " + count(len(m.Pods), "pod")
		}
		if m.Mark != Fine {
			text += ", " + string(m.Mark)
		}
		said = append(said, text)
	}
	for _, n := range slices.Concat(p.Overlays, p.Sessions) {
		said = append(said, n.describe())
	}
	return strings.Join(said, "; ")
}

func (s Switch) describe() string {
	text := strings.TrimSpace("switch " + s.Name + " " + strings.Join(s.Subnets, ", "))
	if s.MTU > 0 {
		text += ", MTU " + number(s.MTU)
	}
	if s.Impair != "" {
		text += ", " + s.Impair
	}
	if s.Mark != Fine {
		text += ", " + string(s.Mark)
	}
	return withRepair(text, s.Drift)
}

func (n Net) describe() string {
	text := n.Name + ", " + n.summary()
	for _, l := range n.faults() {
		text += "; " + l.text
	}
	return text
}

// faults names pairs with marks, the first few of each kind.
func (n Net) faults() []label {
	var labels []label
	for _, mark := range []Mark{Missing, Foreign} {
		var pairs []string
		for _, p := range n.Pairs {
			if p.Mark == mark {
				pairs = append(pairs, p.A+"–"+p.B)
			}
		}
		if len(pairs) == 0 {
			continue
		}
		text := string(mark) + ": " + strings.Join(pairs[:min(len(pairs), 3)], ", ")
		if more := len(pairs) - 3; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		labels = append(labels, label{text: text, class: mark.class("mono")})
	}
	return labels
}

// close writes what is below the picture, and returns where it ends.
func (l *layout) close(y int) int {
	most := (l.scene.width - 2*margin) * 100 / (monoSize * 61)
	write := func(text, class string) {
		y += rowHeight
		l.scene.labels = append(l.scene.labels, label{x: margin, y: y, text: text, class: class})
	}
	if l.Note != "" {
		y += 8
		write(shorten("drift is unknown: "+l.Note, most), "odd")
	}
	if n := len(l.Drift); n > 0 {
		const shown = 6
		y += 8
		write("Drift: “lab up” would repair it by", "word")
		for _, line := range l.Drift[:min(n, shown)] {
			write(shorten(strings.SplitN(line, "\n", 2)[0], most), "odd")
		}
		if n > shown {
			write(fmt.Sprintf("… and %d more", n-shown), "soft")
		}
	}
	return y + margin
}
