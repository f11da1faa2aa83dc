package graph

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// style of all pictures. Its classes begin with g-, so that a page that a picture is in keeps its own.
const css = `.lab-graph{--g-paper:#fff;--g-ink:#1b1f24;--g-soft:#57606a;--g-line:#c3cad2;--g-box:#f6f8fa;--g-pod:#fff;--g-bad:#b3202a;--g-odd:#8a4b00;--g0:#1f5fa8;--g1:#1a7f37;--g2:#8250df;--g3:#0f7b8a;--g4:#bf2a78;--g5:#6b5b00;--go0:#7a3fd0;--go1:#b4307c;--go2:#0b7285;--gb:#b5480b;background:var(--g-paper);color:var(--g-ink)}
@media screen and (prefers-color-scheme:dark){.lab-graph{--g-paper:#14181c;--g-ink:#e6eaef;--g-soft:#a3adb8;--g-line:#48515b;--g-box:#1c2127;--g-pod:#14181c;--g-bad:#ff8f86;--g-odd:#e3b341;--g0:#7ab8ff;--g1:#56d374;--g2:#c8a6ff;--g3:#5fd3e0;--g4:#ff8cc6;--g5:#e0cc5a;--go0:#c8a6ff;--go1:#ff8cc6;--go2:#5fd3e0;--gb:#ffa36b}}
.lab-graph{max-width:100%;height:auto}
.lab-graph text{fill:var(--g-ink);font:11px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;white-space:pre}
.lab-graph .g-end{text-anchor:end}
.lab-graph .g-title{font:700 17px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
.lab-graph .g-word{fill:var(--g-soft);font:11px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
.lab-graph .g-name{font-size:13px;font-weight:700}
.lab-graph .g-soft{fill:var(--g-soft)}
.lab-graph .g-bad{fill:var(--g-bad)}
.lab-graph .g-odd{fill:var(--g-odd)}
.lab-graph .g-n0{--g:var(--g0)}.lab-graph .g-n1{--g:var(--g1)}.lab-graph .g-n2{--g:var(--g2)}.lab-graph .g-n3{--g:var(--g3)}.lab-graph .g-n4{--g:var(--g4)}.lab-graph .g-n5{--g:var(--g5)}
.lab-graph .g-o0{--g:var(--go0)}.lab-graph .g-o1{--g:var(--go1)}.lab-graph .g-o2{--g:var(--go2)}.lab-graph .g-bgp{--g:var(--gb)}
.lab-graph .g-wire,.lab-graph .g-rail{fill:none;stroke:var(--g,var(--g-soft));stroke-width:1.6}
.lab-graph .g-over{stroke-dasharray:5 3}
.lab-graph .g-bgp.g-over{stroke-dasharray:1.5 3;stroke-width:2}
.lab-graph .g-rail{stroke:var(--g-line);stroke-width:1.3}
.lab-graph .g-cut{stroke:var(--g-bad);stroke-dasharray:3 3}
.lab-graph .g-x{stroke:var(--g-bad);stroke-width:2.2;fill:none}
.lab-graph .g-wire.g-odd{fill:none;stroke:var(--g-odd)}
.lab-graph .g-box{fill:var(--g-box);stroke:var(--g-line)}
.lab-graph .g-box.g-router{stroke-width:1.6;stroke:var(--g-soft)}
.lab-graph .g-box.g-switch,.lab-graph .g-box.g-net{stroke:var(--g);fill:var(--g);fill-opacity:.11;stroke-width:1.6}
.lab-graph .g-ground{fill:var(--g-paper)}
.lab-graph .g-box.g-net{stroke-dasharray:5 3}
.lab-graph .g-box.g-bgp{stroke-dasharray:1.5 3;stroke-width:2}
.lab-graph .g-box.g-pod{fill:var(--g-pod);stroke:var(--g-line)}
.lab-graph .g-box.g-bad{stroke:var(--g-bad);stroke-dasharray:3 3;stroke-width:1.6}
.lab-graph .g-box.g-odd{stroke:var(--g-odd);stroke-width:1.6}
.lab-graph .g-rule{stroke:var(--g-line);fill:none}
.lab-graph .g-dot{fill:var(--g,var(--g-paper));stroke:var(--g,var(--g-soft))}
.lab-graph .g-hit{fill:transparent}
.lab-graph g:hover>.g-box.g-pod,.lab-graph g:hover>.g-box.g-machine{stroke:var(--g-ink)}`

// SVG draws the picture as a file of its own.
func (p *Picture) SVG() []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	p.draw(&b, true)
	return b.Bytes()
}

// Fragment draws the picture as a part of a page, which says itself what it is of.
func (p *Picture) Fragment() string {
	var b bytes.Buffer
	p.draw(&b, false)
	return b.String()
}

func (p *Picture) draw(b *bytes.Buffer, alone bool) {
	s := p.scene(alone)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" class="lab-graph" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-label="%[3]s">`+"\n", s.width, s.height, escape(p.Title()))
	if alone {
		fmt.Fprintf(b, "<title>%s</title>\n", escape(p.Title()))
	}
	fmt.Fprintf(b, "<desc>%s</desc>\n<style>\n%s\n</style>\n", escape(p.Describe()), css)
	if alone {
		fmt.Fprintf(b, `<rect class="g-ground" width="%d" height="%d"/>`+"\n", s.width, s.height)
	}
	for _, w := range s.wires {
		w.draw(b)
	}
	for _, box := range s.boxes {
		box.draw(b)
	}
	for _, l := range s.labels {
		l.draw(b, 0, 0)
	}
	b.WriteString("</svg>\n")
}

func (w wire) draw(b *bytes.Buffer) {
	d := ""
	for i, p := range w.points {
		d += fmt.Sprintf("%s%d %d", map[bool]string{true: "M", false: "L"}[i == 0], p.x, p.y)
	}
	path := fmt.Sprintf(`<path class="%s" d="%s"/>`, classes(w.class), d)
	if w.cross {
		at := w.points[0]
		if w.points[1].y < at.y {
			at.y -= 9
		} else {
			at.y += 9
		}
		path += fmt.Sprintf(`<path class="g-x" d="M%d %dl9 9m0 -9l-9 9"/>`, at.x-4, at.y-5)
	}
	if w.title != "" {
		path = "<g><title>" + escape(w.title) + "</title>" + path + "</g>"
	}
	b.WriteString(path + "\n")
}

func (x box) draw(b *bytes.Buffer) {
	fmt.Fprintf(b, `<g transform="translate(%d,%d)"><title>%s</title>`, x.x, x.y, escape(x.title))
	radius := map[string]int{"m": 6, "p": 4, "s": 5, "n": 17}[x.class[:1]]
	if strings.HasPrefix(x.class, "switch") || strings.HasPrefix(x.class, "net") {
		fmt.Fprintf(b, `<rect class="g-ground" width="%d" height="%d" rx="%d"/>`, x.width, x.height, radius)
	}
	fmt.Fprintf(b, `<rect class="g-box %s" width="%d" height="%d" rx="%d"/>`, classes(x.class), x.width, x.height, radius)
	for _, y := range x.rules {
		fmt.Fprintf(b, `<path class="g-rule" d="M0 %dH%d"/>`, y, x.width)
	}
	for _, w := range x.rails {
		w.draw(b)
	}
	for _, r := range x.rows {
		r.draw(b, x)
	}
	for _, in := range x.inner {
		in.draw(b)
	}
	b.WriteString("</g>\n")
}

func (r row) draw(b *bytes.Buffer, in box) {
	own := r.title != "" && r.title != in.title
	if own {
		fmt.Fprintf(b, `<g><title>%s</title><rect class="g-hit" x="4" y="%d" width="%d" height="%d"/>`, escape(r.title), r.y-12, in.width-8, rowHeight)
	}
	if r.dot != "" {
		fmt.Fprintf(b, `<circle class="%s" cx="14" cy="%d" r="3"/>`, classes(r.dot), r.y-4)
	}
	for _, l := range r.labels {
		l.draw(b, 0, r.y)
	}
	if own {
		b.WriteString("</g>")
	}
}

func (l label) draw(b *bytes.Buffer, x, y int) {
	if l.text == "" {
		return
	}
	class := l.class
	if l.end {
		class += " end"
	}
	if class == "mono" {
		class = ""
	} else {
		class = fmt.Sprintf(` class="%s"`, classes(strings.TrimPrefix(class, "mono ")))
	}
	fmt.Fprintf(b, `<text%s x="%d" y="%d">%s</text>`, class, l.x+x, l.y+y, escape(l.text))
}

// classes prefixes the names of classes.
func classes(s string) string { return "g-" + strings.Join(strings.Fields(s), " g-") }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}
