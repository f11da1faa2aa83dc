package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Measures of boxes.
const (
	padding   = 12
	rowHeight = 17
	header    = 30
	podHeight = 22
	podStep   = podHeight + 4
	indent    = 26 // of what is in a machine, behind the dots
	gap       = 16 // between boxes, and between the columns of a row

	mostPods = 6  // of a node that are drawn one by one
	allPods  = 40 // of a picture

	nameChars = 24 // of a machine's or device's name that are shown
)

// style is what all machines of a picture share, so that columns stand below one another.
type style struct {
	width                int // of a box
	name, address, right int // characters of the columns
	fold                 bool
}

// line is a row of a machine's or pod's table before it is laid out.
type line struct {
	name, address, right string
	dot, class, title    string
	pod                  bool
	loose                bool // of a pod: what it hangs on is not drawn
}

// style looks at all that will be written in boxes.
func (p *Picture) style() style {
	var s style
	pods := 0
	for _, m := range p.Machines {
		pods += len(m.Pods)
	}
	s.fold = pods > allPods
	head := 0
	for _, m := range p.Machines {
		head = max(head, mono(len([]rune(shorten(m.Name, nameChars))), nameSize)+gap+label{text: m.kind(), class: "word"}.width())
		for _, l := range m.lines(s.folds(m)) {
			extra := 0
			if l.pod {
				extra = 2 // its box has sides
			}
			s.name = max(s.name, len([]rune(l.name))+extra)
			s.address = max(s.address, len([]rune(l.address)))
			s.right = max(s.right, len([]rune(l.right)))
		}
	}
	columns := 0
	for _, n := range []int{s.name, s.address, s.right} {
		if n > 0 {
			columns += mono(n, monoSize) + gap
		}
	}
	s.width = max(head+2*padding, indent+columns-gap+padding+6, 150)
	return s
}

// folds reports whether a node's pods are drawn as one.
func (s style) folds(m Machine) bool { return len(m.Pods) > mostPods || s.fold && len(m.Pods) > 1 }

func (m Machine) kind() string {
	if m.Datapath != "" {
		return m.Kind + " · " + m.Datapath
	}
	return m.Kind
}

// class is that of a text with a mark.
func (m Mark) class(fine string) string {
	switch m {
	case Down, Missing:
		return "bad"
	case Changed, Foreign:
		return "odd"
	}
	return fine
}

// note is a mark in words, behind a text.
func (m Mark) note() string {
	if m == Fine {
		return ""
	}
	return " " + string(m)
}

// lines are the rows of a machine. A device that pods hang on is followed by them, and so comes last.
func (m Machine) lines(fold bool) []line {
	var first, last []line
	hung := map[string]bool{}
	for _, p := range m.Pods {
		hung[p.Via] = true
	}
	for _, d := range m.Devices {
		dot := ""
		if d.Switch != "" {
			dot = d.Switch
		}
		rows := d.lines(dot)
		if hung[d.Name] {
			last = append(last, rows...)
			last = append(last, m.pods(d.Name, fold)...)
			delete(hung, d.Name)
			continue
		}
		first = append(first, rows...)
	}
	all := append(first, last...)
	var others []string
	for via := range hung {
		others = append(others, via)
	}
	slices.Sort(others)
	for _, via := range others {
		if via == "" {
			if prefix := m.veths(); prefix != "" {
				all = append(all, line{name: prefix, address: "a veth each, routed", class: "soft", title: "The node routes to each pod's own veth pair."})
			}
		}
		for _, l := range m.pods(via, fold) {
			l.loose = via != "" || m.veths() == ""
			all = append(all, l)
		}
	}
	return all
}

// veths is how the names of the node's ends of its pods' veths begin.
func (m Machine) veths() string {
	for _, p := range m.Pods {
		if p.Via == "" && p.Veth != "" {
			return p.Veth[:min(4, len(p.Veth))] + "…"
		}
	}
	return ""
}

// lines are the rows of a device.
func (d Device) lines(dot string) []line {
	title := d.describe()
	right := ""
	if d.MTU > 0 {
		right = fmt.Sprintf("mtu %d", d.MTU)
	}
	mark := worst(d.Mark, d.Link)
	switch {
	case d.Mark != Fine:
		right = string(d.Mark)
		if d.Mark == Changed {
			right = fmt.Sprintf("mtu %d ≠", d.MTU)
		}
	case d.Link != Fine:
		right = "link " + string(d.Link)
	}
	rows := []line{{name: shorten(d.Name, nameChars), right: right, dot: dot, class: mark.class("mono"), title: title}}
	for i, a := range d.Addresses {
		if i > 0 {
			rows = append(rows, line{class: rows[0].class, title: title})
		}
		rows[i].address = a.Text
		if a.Mark != Fine {
			rows[i].address += a.Mark.note()
			rows[i].class = a.Mark.class("mono")
		}
	}
	if len(d.Addresses) == 0 && d.VLAN == "" {
		rows[0].address = d.Encap
	}
	for _, more := range []string{d.VLAN, d.Impair} {
		switch {
		case more == "":
		case rows[len(rows)-1].address == "":
			rows[len(rows)-1].address = more
		default:
			rows = append(rows, line{address: more, class: "soft", title: title})
		}
	}
	return rows
}

// describe is a device in words.
func (d Device) describe() string {
	words := []string{d.Name + " (" + d.Kind}
	if d.Name == "" {
		words = []string{"interface (" + d.Kind}
	}
	if d.Kind == "" {
		words[0] = strings.TrimSuffix(words[0], " (")
	} else {
		words[0] += ")"
	}
	for _, a := range d.Addresses {
		words = append(words, a.Text+a.Mark.note())
	}
	if d.MTU > 0 {
		words = append(words, fmt.Sprintf("MTU %d", d.MTU))
	}
	if d.Encap != "" {
		words = append(words, "encapsulates: "+d.Encap)
	}
	if d.Switch != "" {
		words = append(words, strings.TrimSpace("on switch "+d.Switch+" "+d.VLAN))
		if d.Port != "" {
			words[len(words)-1] += ", port " + d.Port
		}
	}
	if d.Impair != "" {
		words = append(words, d.Impair)
	}
	if m := worst(d.Mark, d.Link); m != Fine {
		words = append(words, string(m))
	}
	return withRepair(strings.Join(words, ", "), d.Drift)
}

// withRepair is a text with the commands that would repair what it is about.
func withRepair(text string, drift []string) string {
	if len(drift) == 0 {
		return text
	}
	shown := drift[:min(len(drift), 8)]
	for i, l := range shown {
		if i == 0 {
			text += "\nTo repair it:"
		}
		text += "\n" + strings.SplitN(l, "\n", 2)[0]
	}
	if more := len(drift) - len(shown); more > 0 {
		text += fmt.Sprintf("\n… and %d more", more)
	}
	return text
}

// pods are the rows of the pods that hang on a device. What is wrong with one is shown, however many there are.
func (m Machine) pods(via string, fold bool) []line {
	var rows []line
	var folded []Pod
	for _, p := range m.Pods {
		if p.Via != via {
			continue
		}
		if fold && p.worst() == Fine {
			folded = append(folded, p)
			continue
		}
		rows = append(rows, p.line()...)
	}
	if len(folded) == 1 {
		return append(folded[0].line(), rows...)
	}
	if len(folded) > 1 {
		a, b := folded[0], folded[len(folded)-1]
		list := []string{}
		for _, p := range folded {
			list = append(list, p.describe())
		}
		l := line{name: count(len(folded), "pod"), dot: "pod", class: "mono", pod: true, title: fmt.Sprintf("%s … %s\n%s", a.Name, b.Name, strings.Join(list, "\n"))}
		first, last := a.addresses(), b.addresses()
		if len(first) > 0 && len(last) > 0 {
			l.address = span(first[0], last[0])
		}
		for _, d := range a.Devices {
			if d.Name == "eth0" && d.MTU > 0 {
				l.right = fmt.Sprintf("mtu %d", d.MTU)
			}
		}
		rows = append([]line{l}, rows...)
	}
	return rows
}

// span is from one address to another, without what they share.
func span(a, b string) string {
	a, _, _ = strings.Cut(a, "/")
	b, _, _ = strings.Cut(b, "/")
	same := 0
	for i := 0; i < min(len(a), len(b)) && a[i] == b[i]; i++ {
		if a[i] == '.' || a[i] == ':' {
			same = i + 1
		}
	}
	return a + "–" + b[same:]
}

func (p Pod) addresses() []string {
	var all []string
	for _, d := range p.Devices {
		for _, a := range d.Addresses {
			text := a.Text
			if len(p.Devices) > 1 {
				text = d.Name + " " + text
			}
			all = append(all, text)
		}
	}
	return all
}

// line is a pod's row, with one more for each further address.
func (p Pod) line() []line {
	mark := p.worst()
	l := line{name: shorten(p.Name, nameChars), dot: "pod", class: mark.class("mono"), pod: true, title: p.describe()}
	for _, d := range p.Devices {
		if d.MTU > 0 && l.right == "" {
			l.right = fmt.Sprintf("mtu %d", d.MTU)
		}
	}
	switch {
	case mark == Changed:
		l.right += " ≠"
	case mark != Fine:
		l.right = string(mark)
	}
	rows := []line{l}
	for i, a := range p.addresses() {
		if i > 0 {
			rows = append(rows, line{class: l.class, title: l.title, pod: true})
		}
		rows[i].address = a
	}
	return rows
}

// describe is a pod in words.
func (p Pod) describe() string {
	words := []string{"pod " + p.Name}
	var drift []string
	for _, d := range p.Devices {
		words = append(words, strings.SplitN(d.describe(), "\n", 2)[0])
		drift = append(drift, d.Drift...)
	}
	switch {
	case p.Veth != "" && p.Via != "":
		words = append(words, "on "+p.Via+" by "+p.Veth)
	case p.Veth != "":
		words = append(words, "behind "+p.Veth)
	case p.Via != "":
		words = append(words, "on "+p.Via)
	}
	if m := p.worst(); m != Fine {
		words = append(words, string(m))
	}
	return withRepair(strings.Join(words, ", "), append(slices.Clone(p.Drift), drift...))
}

// describe is a machine in words.
func (m Machine) describe() string {
	text := m.kind() + " " + m.Name
	if len(m.Pods) > 0 {
		text += ", " + count(len(m.Pods), "pod")
	}
	if m.Mark != Fine {
		text += ", " + string(m.Mark)
	}
	return withRepair(text, m.Drift)
}

// box lays a machine out at the origin.
func (s style) box(m Machine, hue func(string) string) box {
	b := box{width: s.width, class: "machine " + m.Kind + " " + m.Mark.class(""), title: m.describe()}
	b.class = strings.Join(strings.Fields(b.class), " ")
	kind := label{x: s.width - padding, text: m.kind(), class: "word", end: true}
	if m.Mark != Fine {
		kind.text, kind.class = string(m.Mark), strings.TrimSpace("word "+m.Mark.class(""))
	}
	room := s.width - 2*padding - gap - kind.width()
	head := row{y: 20, title: b.title, labels: []label{{x: padding, text: shorten(m.Name, room*100/(nameSize*61)), class: "name"}, kind}}
	b.rows = append(b.rows, head)
	addressAt := indent + mono(s.name, monoSize) + gap
	if s.name == 0 {
		addressAt = indent
	}
	lines := m.lines(s.folds(m))
	y := header
	if len(lines) > 0 {
		b.rules = append(b.rules, y)
		y += 7
	}
	from := 0 // where the rail begins
	for i, l := range lines {
		if !l.pod {
			r := row{y: y + 12, title: l.title, labels: []label{{x: indent, text: l.name, class: l.class}, {x: addressAt, text: l.address, class: l.class}, {x: s.width - padding, text: l.right, class: l.class, end: true}}}
			if l.class == "mono" {
				r.labels[2].class = "soft"
			}
			if l.name+l.dot != "" {
				r.dot = "dot"
				if l.dot != "" {
					r.dot = "dot " + hue(l.dot)
				}
				from = y + 8
			}
			b.rows = append(b.rows, r)
			y += rowHeight
			continue
		}
		if i > 0 && !lines[i-1].pod {
			y += 3
		}
		if l.dot == "pod" { // the first row of a pod
			p := box{x: indent - 4, y: y, width: s.width - indent + 4 - 6, height: podHeight, class: strings.TrimSpace("pod " + map[string]string{"bad": "bad", "odd": "odd"}[l.class]), title: l.title}
			for i+1 < len(lines) && lines[i+1].pod && lines[i+1].dot == "" { // further addresses
				p.height += rowHeight - 2
				i++
			}
			b.inner = append(b.inner, p)
			if from > 0 && !l.loose {
				class := "rail"
				if l.class == "bad" {
					class += " cut"
				}
				across := y + podHeight/2
				b.rails = append(b.rails, wire{points: []point{{14, from}, {14, across}}, class: "rail"}, wire{points: []point{{14, across}, {indent - 4, across}}, class: class})
				from = across
			}
			r := row{y: 15, labels: []label{{x: 4 + mono(1, monoSize), text: l.name, class: l.class}, {x: addressAt - p.x, text: l.address, class: l.class}, {x: p.width - 6, text: l.right, class: l.class, end: true}}}
			if l.class == "mono" {
				r.labels[2].class = "soft"
			}
			b.inner[len(b.inner)-1].rows = append(b.inner[len(b.inner)-1].rows, r)
			y += p.height + 4
			continue
		}
		at := &b.inner[len(b.inner)-1]
		at.rows = append(at.rows, row{y: 15 + (rowHeight-2)*len(at.rows), labels: []label{{x: addressAt - at.x, text: l.address, class: l.class}}})
	}
	b.height = y + 8
	if len(lines) == 0 {
		b.height = header
	}
	return b
}
