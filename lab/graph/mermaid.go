package graph

import (
	"fmt"
	"slices"
	"strings"
)

// Mermaid writes the picture as a flowchart of Mermaid's, which pages of many projects show.
func (p *Picture) Mermaid() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("---\ntitle: %q\n---\nflowchart TB", p.Title())
	st := p.style()
	for _, s := range p.Switches {
		text := append([]string{"<b>" + s.Name + "</b>"}, s.Subnets...)
		if s.MTU > 0 {
			text = append(text, fmt.Sprintf("mtu %d", s.MTU))
		}
		if s.Impair != "" {
			text = append(text, s.Impair)
		}
		line("  %s[[%s]]:::%s", id("switch", s.Name), quoted(text...), s.Mark.mermaid("switch"))
	}
	for _, m := range p.Machines {
		if len(m.Pods) > 0 {
			line("  subgraph %s [%s]", id("on", m.Name), quoted(m.Name))
		}
		text := []string{"<b>" + m.Name + "</b> " + m.kind()}
		for _, d := range m.Devices {
			text = append(text, d.text())
		}
		shape := [2]string{"[", "]"}
		if m.Kind == "router" {
			shape = [2]string{"{{", "}}"}
		}
		line("  %s%s%s%s:::%s", id(m.Name), shape[0], quoted(text...), shape[1], m.Mark.mermaid(m.Kind))
		folded := []Pod{}
		for _, pod := range m.Pods {
			if st.folds(m) && pod.worst() == Fine {
				folded = append(folded, pod)
				continue
			}
			line("  %s(%s):::%s", id(m.Name, pod.Name), quoted(append([]string{pod.Name}, pod.addresses()...)...), pod.worst().mermaid("pod"))
			line("  %s %s %s", id(m.Name), pod.Link.arrow(pod.Via), id(m.Name, pod.Name))
		}
		if len(folded) > 0 {
			line("  %s(%s):::pod", id(m.Name, "pods"), quoted(count(len(folded), "pod"), folded[0].Name+" … "+folded[len(folded)-1].Name))
			line("  %s %s %s", id(m.Name), Fine.arrow(folded[0].Via), id(m.Name, "pods"))
		}
		if len(m.Pods) > 0 {
			line("  end")
		}
	}
	for _, m := range p.Machines {
		for _, d := range m.Devices {
			if d.Switch == "" {
				continue
			}
			line("  %s %s %s", id("switch", d.Switch), d.Link.arrow(strings.TrimSpace(d.Name+" "+d.VLAN)), id(m.Name))
		}
	}
	for i, n := range slices.Concat(p.Overlays, p.Sessions) {
		net := id("net", number(i+1))
		text := []string{"<b>" + n.Name + "</b>", n.summary()}
		for _, l := range n.faults() {
			text = append(text, l.text)
		}
		line("  %s([%s]):::%s", net, quoted(text...), map[bool]string{true: "bgp", false: "overlay"}[n.Kind == "bgp"])
		for _, member := range n.Members {
			line("  %s -.- %s", id(member), net)
		}
	}
	for _, class := range []string{
		"switch fill:#1f5fa81c,stroke:#1f5fa8", "node stroke:#57606a", "router stroke:#57606a,stroke-width:2px", "host stroke:#57606a", "pod stroke:#8c959f",
		"overlay fill:#7a3fd01c,stroke:#7a3fd0,stroke-dasharray:5 3", "bgp fill:#b5480b1c,stroke:#b5480b,stroke-dasharray:2 3",
		"bad stroke:#b3202a,stroke-width:2px,stroke-dasharray:3 3", "odd stroke:#8a4b00,stroke-width:2px",
	} {
		if name, _, _ := strings.Cut(class, " "); strings.Contains(b.String(), ":::"+name+"\n") {
			line("  classDef %s", class)
		}
	}
	return b.String()
}

// mermaid is the class of a part with a mark.
func (m Mark) mermaid(fine string) string {
	if c := m.class(""); c != "" {
		return c
	}
	return fine
}

// arrow is a link with a text on it.
func (m Mark) arrow(text string) string {
	if m != Fine {
		text = strings.TrimSpace(text + m.note())
	}
	line := "---"
	if m.cut() {
		line = "-.-x"
	}
	if text == "" {
		return line
	}
	return line + "|" + quoted(text) + "|"
}

// text is a device in a line.
func (d Device) text() string {
	words := []string{}
	if d.Name != "" {
		words = append(words, d.Name)
	}
	for _, a := range d.Addresses {
		words = append(words, a.Text+a.Mark.note())
	}
	if len(d.Addresses) == 0 && d.Encap != "" {
		words = append(words, d.Encap)
	}
	if d.MTU > 0 {
		words = append(words, fmt.Sprintf("mtu %d", d.MTU))
	}
	for _, more := range []string{d.VLAN, d.Impair, string(d.Mark)} {
		if more != "" {
			words = append(words, more)
		}
	}
	return strings.Join(words, " ")
}

// id names a part. Mermaid takes some words for its own, as "end", and o and x after a line for the line's end. A hyphen becomes
// two underscores, so that no two parts have one name.
func id(words ...string) string {
	return "n_" + strings.ReplaceAll(strings.Join(words, "_"), "-", "__")
}

// quoted is a text of several lines.
func quoted(lines ...string) string {
	return `"` + strings.ReplaceAll(strings.Join(lines, "<br>"), `"`, "#quot;") + `"`
}
