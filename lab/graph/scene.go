package graph

import "strings"

// scene is a picture with every place settled. What it holds is drawn in this order.
type scene struct {
	width, height int
	wires         []wire
	boxes         []box
	labels        []label // outside of any box
}

type point struct{ x, y int }

// wire is a line of several pieces, each across or down.
type wire struct {
	points []point
	class  string
	title  string
	cross  bool // nothing passes: marked at its first point
}

// box is a rectangle with texts in it.
type box struct {
	x, y, width, height int
	class               string
	title               string
	rows                []row
	inner               []box
	rules               []int  // lines across, below its top
	rails               []wire // lines inside it
}

// row is a line of text in a box, which has a title of its own.
type row struct {
	y      int // of the text's base line, below the box's top
	title  string
	labels []label
	dot    string // the class of a dot before it
}

// label is a piece of text. In a box x counts from the box's left side.
type label struct {
	x, y  int
	text  string
	class string
	end   bool // x is where it ends
}

// Sizes of text in pixels. Names, addresses and numbers have a face with one width, so that it is known; where a reader has
// none it is narrower.
const (
	titleSize = 17
	nameSize  = 13
	monoSize  = 11
	wordSize  = 11
)

// sizes are those of the classes of text.
var sizes = map[string]int{"title": titleSize, "name": nameSize}

// proportional are the classes of text whose letters have widths of their own.
var proportional = map[string]bool{"title": true, "word": true}

// width is how wide the text is at the most.
func (l label) width() int {
	size := sizes[l.class]
	if size == 0 {
		size = monoSize
	}
	if face, _, _ := strings.Cut(l.class, " "); !proportional[face] {
		return mono(len([]rune(l.text)), size)
	}
	w := 0.0
	for _, r := range l.text {
		w += advance(r)
	}
	if l.class == "title" {
		w *= 1.1 // bold
	}
	return int(w*float64(size)) + 1
}

// mono is the width of so many characters.
func mono(n, size int) int { return (n*size*61 + 99) / 100 }

// advance is how wide a character of DejaVu Sans is, in parts of its size: other faces are narrower.
func advance(r rune) float64 {
	switch r {
	case 'i', 'j', 'l', 'I', '.', ',', ':', ';', '|', '\'', ' ':
		return 0.34
	case 'f', 't', 'r', '(', ')', '[', ']', '-', '/', '"', '·':
		return 0.46
	case 'm', 'w', 'M', 'W', '%', '@', '…', '—', '±':
		return 1.01
	}
	if r >= 'A' && r <= 'Z' {
		return 0.8
	}
	return 0.65
}

// shorten makes a text fit so many characters.
func shorten(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	tail := (most - 1) / 3 // the end of a name tells more than its middle
	return string(r[:most-1-tail]) + "…" + string(r[len(r)-tail:])
}
