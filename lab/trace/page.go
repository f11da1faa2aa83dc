package trace

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// Page writes the trace as a page: one file that needs no other. The lab is its picture, as SVG.
func (t *Trace) Page(out io.Writer, lab []byte) error {
	var machines []string
	add := func(w *Walk) {
		if w == nil {
			return
		}
		for _, h := range w.Hops {
			if !slices.Contains(machines, h.Machine) {
				machines = append(machines, h.Machine)
			}
		}
		if w.Drop != nil && w.Drop.Machine != "" && !slices.Contains(machines, w.Drop.Machine) {
			machines = append(machines, w.Drop.Machine)
		}
	}
	var there, back *Walk
	if t.Predicted != nil {
		there, back = &t.Predicted.There, t.Predicted.Back
	}
	add(&t.There)
	add(t.Back)
	add(there)
	add(back)
	data := struct {
		Title, Address string
		OK             bool
		Sentences      []string
		Verdict        string
		Pictures       []picture
		Lab            template.URL
	}{
		Title: t.From + " → " + t.To, Address: t.Address, OK: t.OK(), Sentences: t.Sentences(), Verdict: t.Verdict(),
		Pictures: []picture{draw("there", fmt.Sprintf("The way there: %s to %s", t.From, t.To), &t.There, there, machines)},
	}
	if t.Back != nil {
		title := fmt.Sprintf("The answer: %s to %s", t.To, t.From)
		if t.Back.Message {
			title, back = "The ICMP message about it", nil
		}
		data.Pictures = append(data.Pictures, draw("back", title, t.Back, back, machines))
	}
	if len(lab) > 0 { // as an image, so that the styles of the two do not meet
		data.Lab = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(lab))
	}
	var b strings.Builder
	if err := pageTemplate.Execute(&b, data); err != nil {
		return err
	}
	_, err := io.WriteString(out, b.String())
	return err
}
