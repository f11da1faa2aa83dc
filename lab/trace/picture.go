package trace

import (
	"fmt"
	"slices"
	"strings"

	"labnet/lab/packet"
)

// picture is a walk as a page draws it: machines are columns, and time runs downwards. All measures are in units of the drawing.
type picture struct {
	ID, Title     string
	Width, Height int
	Columns       []column
	Cards         []card
	Lines         []string // paths from card to card
	Ghosts        []string // the same, of what was predicted and not seen
	Cross         *cross
}

type column struct {
	X     int
	Name  string
	Lower int // where its line ends
}

// card is a hop.
type card struct {
	ID                string
	X, Y              int
	Time              string
	Label             string // in eth0
	Boxes             []box
	Note              string // what fits of the decision
	Ghost             bool
	Text              string // what it is, for who does not see it
	Change            string
	Headers           []string
	Decision, Command string
}

// box is a header.
type box struct {
	X, Width    int
	Kind, Label string
	Changed     bool
}

// Half is where its label is.
func (b box) Half() int { return b.Width / 2 }

type cross struct {
	X, Y int
	*Drop
	Lines []line // the sentence, broken
}

// Tall is the height of the box that the sentence is in.
func (c cross) Tall() int { return 26 + 16*len(c.Lines) }

type line struct {
	Text string
	Dy   int
}

const (
	gutter     = 64  // for the time
	columnSize = 288 // of a machine
	cardSize   = 272
	rowSize    = 84
	cardHeight = 62
	topSize    = 44
	dataSize   = 34
)

// draw lays out a walk; what a prediction has beyond it is drawn as what was not seen.
func draw(id, title string, w, predicted *Walk, machines []string) picture {
	p := picture{ID: id, Title: title, Width: gutter + columnSize*len(machines)}
	for i, m := range machines {
		p.Columns = append(p.Columns, column{X: gutter + i*columnSize + columnSize/2, Name: m})
	}
	scale := fit(w, predicted)
	place := func(h Hop, before []packet.Header, ghost bool) {
		c := card{
			ID: fmt.Sprintf("%s-%d", id, len(p.Cards)+1), X: gutter + slices.Index(machines, h.Machine)*columnSize + (columnSize-cardSize)/2,
			Y: topSize + len(p.Cards)*rowSize, Label: string(h.Direction) + " " + h.Device, Boxes: boxes(h.Headers, before, scale), Ghost: ghost, Text: h.String(), Command: h.Command,
		}
		if !ghost {
			c.Time = Span(h.Time)
		}
		if c.Change = Describe(h.Headers); before != nil {
			c.Change = Change(before, h.Headers)
		}
		for _, header := range h.Headers {
			c.Headers = append(c.Headers, full(header))
		}
		if h.Decision != nil {
			c.Decision = h.Decision.Text
		}
		c.Note = short(c.Decision, 40)
		if n := len(p.Cards); n > 0 {
			path := arrow(p.Cards[n-1], c)
			if ghost {
				p.Ghosts = append(p.Ghosts, path)
			} else {
				p.Lines = append(p.Lines, path)
			}
		}
		p.Cards = append(p.Cards, c)
	}
	var before []packet.Header
	for i, h := range w.Hops {
		if w.Disposition == Loop && slices.ContainsFunc(w.Hops[:i], h.Same) {
			break
		}
		place(h, before, false)
		before = h.Headers
	}
	if d := w.Drop; d != nil {
		p.Cross = &cross{X: gutter + max(slices.Index(machines, d.Machine), 0)*columnSize + columnSize/2, Y: topSize + len(p.Cards)*rowSize + 8, Drop: d, Lines: broken(d.Sentence, 40)}
		p.Height = p.Cross.Tall() + 42
		if n := len(p.Cards); n > 0 {
			last := p.Cards[n-1]
			p.Lines = append(p.Lines, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", last.X+cardSize/2, last.Y+cardHeight, last.X+cardSize/2, last.Y+cardHeight+14, p.Cross.X, p.Cross.Y-20, p.Cross.X, p.Cross.Y-4))
		}
	}
	lower := topSize + len(p.Cards)*rowSize + p.Height
	if w.Drop != nil && predicted != nil && len(predicted.Hops) > len(w.Hops) && predicted.Disposition == Arrived {
		at := p.Cross.Y + p.Height
		cards := p.Cards
		p.Cards = nil
		for _, h := range predicted.Hops[len(w.Hops):] {
			place(h, before, true)
			before = h.Headers
		}
		for i := range p.Cards {
			p.Cards[i].ID = fmt.Sprintf("%s-%d", id, len(cards)+i+1)
			p.Cards[i].Y += at - topSize
		}
		p.Ghosts = nil
		for i := 1; i < len(p.Cards); i++ {
			p.Ghosts = append(p.Ghosts, arrow(p.Cards[i-1], p.Cards[i]))
		}
		lower = at + len(p.Cards)*rowSize
		p.Cards = append(cards, p.Cards...)
	}
	for i := range p.Columns {
		p.Columns[i].Lower = lower
	}
	p.Height = lower + 8
	return p
}

// arrow is the path from one card to the next.
func arrow(from, to card) string {
	x1, y1, x2, y2 := from.X+cardSize/2, from.Y+cardHeight, to.X+cardSize/2, to.Y
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+16, x2, y2-16, x2, y2-3)
}

// labels are the names of headers in their boxes.
var labels = map[string]string{"ethernet": "eth", "vlan": "VLAN", "arp": "ARP", "ipv4": "IP", "ipv6": "IPv6", "icmp": "ICMP", "icmpv6": "ICMPv6", "udp": "UDP", "tcp": "TCP", "vxlan": "VXLAN", "flannel-udp": "flannel", "bgp": "BGP"}

// kinds are the colours of headers.
var kinds = map[string]string{"ethernet": "link", "vlan": "tag", "arp": "link", "ipv4": "ip", "ipv6": "ip", "icmp": "end", "icmpv6": "end", "udp": "end", "tcp": "end", "vxlan": "tunnel", "flannel-udp": "tunnel", "bgp": "end"}

func label(h packet.Header) string {
	if l, ok := labels[h.Protocol]; ok {
		return l
	}
	return h.Protocol
}

func least(h packet.Header) int { return 7*len(label(h)) + 7 }

// fit is how much a byte takes, in tenths, so that the largest of all stacks fits into a card.
func fit(walks ...*Walk) int {
	for scale := 24; scale > 0; scale-- {
		if !slices.ContainsFunc(walks, func(w *Walk) bool {
			return w != nil && slices.ContainsFunc(w.Hops, func(h Hop) bool {
				size := dataSize
				for _, header := range own(h.Headers) {
					size += max(least(header), header.Bytes*scale/10) + 2
				}
				return size > cardSize-12
			})
		}) {
			return scale
		}
	}
	return 0
}

// own are the headers of the packet itself, without what an ICMP error quotes.
func own(headers []packet.Header) []packet.Header {
	if i := slices.IndexFunc(headers, func(h packet.Header) bool { return h.Quoted }); i >= 0 {
		return headers[:i]
	}
	return headers
}

// boxes are the headers of a packet, the innermost always at the same place, so that what is put around it is seen to be. Those
// that are new or other than before are marked.
func boxes(headers, before []packet.Header, scale int) []box {
	headers, before = own(headers), own(before)
	inner := common(before, headers)
	list := []box{{X: cardSize - 6 - dataSize, Width: dataSize, Kind: "data", Label: "data"}}
	right := list[0].X
	for i := len(headers) - 1; i >= 0; i-- {
		h := headers[i]
		b := box{Width: max(least(h), h.Bytes*scale/10), Kind: kinds[h.Protocol], Label: label(h)}
		depth := len(headers) - 1 - i
		b.Changed = before != nil && (depth >= inner || len(differences(before[len(before)-1-depth], h)) > 0)
		right -= b.Width + 2
		b.X = right
		list = append(list, b)
	}
	slices.Reverse(list)
	return list
}

// full is all of a header.
func full(h packet.Header) string {
	text := h.Protocol
	if h.Source != "" || h.Destination != "" {
		text += " " + h.Source + " → " + h.Destination
	}
	for _, f := range h.Fields {
		text += ", " + f.Name + " " + f.Value
	}
	if h.Quoted {
		return "quoted: " + text
	}
	return fmt.Sprintf("%s (%d bytes)", text, h.Bytes)
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// broken breaks a text into lines.
func broken(text string, n int) []line {
	var lines []line
	said := ""
	end := func() {
		lines = append(lines, line{said, 16 * len(lines)})
		said = ""
	}
	for _, word := range strings.Fields(text) {
		if said != "" && len([]rune(said))+1+len([]rune(word)) > n {
			end()
		}
		said = strings.TrimSpace(said + " " + word)
	}
	end()
	return lines
}
