package report

import (
	"fmt"
	"slices"
	"strings"
)

// picture draws a lab: switches above, the machines that hang on them below, and their pods in them.
type picture struct {
	Desc          string
	Width, Height int
	Switches      []box
	Machines      []box
	Wires         []wire
	More          string
}

type box struct {
	X, Y, Width, Height int
	Lines               []string // the first is the name
	Inner               []box
}

type wire struct{ X1, Y1, X2, Y2 int }

// The picture's measures in pixels, and how many machines it shows.
const (
	boxWidth     = 164
	boxGap       = 16
	boxLine      = 15
	mostMachines = 8
)

func (t Topology) picture() picture {
	machines := t.Machines
	p := picture{Desc: t.describe()}
	if len(machines) > mostMachines {
		p.More = fmt.Sprintf("and %s more", plural(len(machines)-mostMachines, "machine"))
		machines = machines[:mostMachines]
	}
	const switchHeight, below = 44, 100
	columns := max(len(machines), len(t.Switches), 1)
	p.Width = columns*(boxWidth+boxGap) - boxGap + 2
	each := (p.Width - 2) / max(1, len(t.Switches))
	for i, s := range t.Switches {
		p.Switches = append(p.Switches, box{X: 1 + i*each, Y: 1, Width: each - boxGap*min(1, len(t.Switches)-1), Height: switchHeight, Lines: append([]string{"switch " + s.Name}, s.Subnets...)})
	}
	for i, m := range machines {
		b := box{X: 1 + i*(boxWidth+boxGap), Y: below, Width: boxWidth, Lines: []string{m.Name, strings.TrimSpace(m.Kind + " " + m.Address)}}
		y := below + 3*boxLine
		for _, pod := range m.Pods {
			b.Inner = append(b.Inner, box{X: b.X + 8, Y: y, Width: boxWidth - 16, Height: boxLine + 6, Lines: []string{strings.TrimSpace(pod.Name + "  " + pod.Address)}})
			y += boxLine + 10
		}
		b.Height = y - below
		p.Height = max(p.Height, y+2)
		for _, name := range m.Switches {
			at := slices.IndexFunc(t.Switches, func(s TopologySwitch) bool { return s.Name == name })
			if at < 0 {
				continue
			}
			s := p.Switches[at]
			x := b.X + boxWidth/2
			p.Wires = append(p.Wires, wire{X1: min(max(x, s.X+8), s.X+s.Width-8), Y1: s.Y + s.Height, X2: x, Y2: below})
		}
		p.Machines = append(p.Machines, b)
	}
	return p
}

// describe says what the picture shows.
func (t Topology) describe() string {
	var words []string
	for _, s := range t.Switches {
		words = append(words, strings.TrimSpace("switch "+s.Name+" "+strings.Join(s.Subnets, " ")))
	}
	for _, m := range t.Machines {
		words = append(words, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s on %s with %s", m.Kind, m.Name, m.Address, strings.Join(m.Switches, ", "), plural(len(m.Pods), "pod"))), " "))
	}
	return strings.Join(words, "; ")
}
