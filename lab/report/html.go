package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report.html").Parse(page))

// The dot plot's measures, in pixels.
const (
	plotLeft   = 150 // where names end and the axis begins
	plotRight  = 700
	plotWidth  = 720
	plotRow    = 30
	plotBottom = 26 // for the axis
)

// plot shows every round of every mode as a dot, the median as a line and its interval as a bar. The axis does not begin
// at zero: dots are compared by place, not by length.
type plot struct {
	Width, Height int
	Left, Right   int
	Axis          int // where the axis lies
	Rows          []plotModes
	Ticks         []plotTick
}

type plotModes struct {
	Mode   string
	Y      int
	Dots   []plotDot
	Median float64
	Low    float64
	Span   float64 // width of the interval; 0 is none
}

type plotDot struct {
	X     float64
	Y     int
	Title string
}

type plotTick struct {
	X    float64
	Text string
}

type htmlSection struct {
	section
	Plot plot
}

// html writes one file that needs nothing from anywhere.
func (r *Results) html(w io.Writer) error {
	data := struct {
		*Results
		Heading  []string
		Sections []htmlSection
		Proved   []string
		Remarks  []string
		Limits   string
	}{Results: r, Heading: r.heading(), Remarks: append(append([]string{}, r.Notes...), r.Warnings...), Limits: r.limits()}
	for _, s := range r.sections() {
		data.Sections = append(data.Sections, htmlSection{s, r.plot(s)})
	}
	for _, p := range r.Proof {
		data.Proved = append(data.Proved, p.proved())
	}
	return pageTemplate.Execute(w, data)
}

func (r *Results) plot(s section) plot {
	low, high := math.Inf(1), math.Inf(-1)
	for _, m := range s.Modes {
		low, high = min(low, m.Min), max(high, m.Max)
	}
	step := tickStep(high - low)
	low, high = math.Floor(low/step)*step, math.Ceil(high/step)*step
	if high == low {
		high += step
	}
	x := func(v float64) float64 {
		return math.Round(10*(plotLeft+(v-low)/(high-low)*(plotRight-plotLeft))) / 10
	}
	p := plot{Width: plotWidth, Height: len(s.Modes)*plotRow + plotBottom, Left: plotLeft, Right: plotRight, Axis: len(s.Modes) * plotRow}
	for i, m := range s.Modes {
		row := plotModes{Mode: m.Mode, Y: i*plotRow + plotRow/2, Median: x(m.Median)}
		if m.Low != nil {
			row.Low, row.Span = x(*m.Low), math.Round(10*(x(*m.High)-x(*m.Low)))/10
		}
		for _, sample := range r.Samples {
			if sample.kind() != s.kind || sample.Mode != m.Mode {
				continue
			}
			row.Dots = append(row.Dots, plotDot{
				X: x(sample.Value),
				Y: row.Y + (sample.Round%5-2)*3, // spread, so that equal values are seen to be several
				// Hovering says which round it was.
				Title: fmt.Sprintf("%s, round %d: %s %s", m.Mode, sample.Round, s.number(sample.Value), sample.Unit),
			})
		}
		p.Rows = append(p.Rows, row)
	}
	decimals := max(0, -int(math.Floor(math.Log10(step))))
	for i := 0; i <= int(math.Round((high-low)/step)); i++ {
		v := low + float64(i)*step
		p.Ticks = append(p.Ticks, plotTick{x(v), thousands(strconv.FormatFloat(v, 'f', decimals, 64))})
	}
	return p
}

// tickStep returns a round distance of which about five make the span.
func tickStep(span float64) float64 {
	if span <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, factor := range []float64{1, 2, 5} {
		if span/(unit*factor) <= 6 {
			return unit * factor
		}
	}
	return unit * 10
}
