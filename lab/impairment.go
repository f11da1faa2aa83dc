package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Impairment is what a link does to packets. The zero value does nothing.
type Impairment struct {
	Rate   uint64        `json:"rate,omitempty"` // bit/s
	Delay  time.Duration `json:"delay,omitempty"`
	Jitter time.Duration `json:"jitter,omitempty"`
	Loss   float64       `json:"loss,omitempty"` // per cent
}

// Impairments are the names of what a link can do to packets.
var Impairments = []string{"delay", "jitter", "loss", "rate"}

// Netem names what of it the kernel's netem does.
func (i Impairment) Netem() []string {
	var names []string
	if i.Delay > 0 {
		names = append(names, "delay")
	}
	if i.Jitter > 0 {
		names = append(names, "jitter")
	}
	if i.Loss > 0 {
		names = append(names, "loss")
	}
	return names
}

// String is the impairment as [Impairment.With] would take it.
func (i Impairment) String() string {
	var words []string
	if i.Delay > 0 {
		words = append(words, "delay="+i.Delay.String())
	}
	if i.Jitter > 0 {
		words = append(words, "jitter="+i.Jitter.String())
	}
	if i.Loss > 0 {
		words = append(words, fmt.Sprintf("loss=%g%%", i.Loss))
	}
	if i.Rate > 0 {
		words = append(words, "rate="+rateText(i.Rate))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}

func rateText(rate uint64) string {
	for _, unit := range []struct {
		bits uint64
		name string
	}{{1e12, "tbit"}, {1e9, "gbit"}, {1e6, "mbit"}, {1e3, "kbit"}} {
		if rate%unit.bits == 0 {
			return fmt.Sprintf("%d%s", rate/unit.bits, unit.name)
		}
	}
	return fmt.Sprintf("%dbit", rate)
}

// impairment reads what a switch does to packets.
func (f *fields) impairment() Impairment {
	delay, right := f.duration("delay")
	jitter, _ := f.duration("jitter")
	i := Impairment{Rate: f.rate("rate"), Delay: delay, Jitter: jitter, Loss: f.percent("loss")}
	if at := f.at["jitter"]; jitter > 0 && right {
		if delay == 0 {
			f.l.errorf(at, "Jitter without delay", "Jitter needs a delay to vary. Add one: delay = \"10ms\".")
		} else if jitter > delay {
			f.l.errorf(at, "Jitter greater than delay", "A delay of %s cannot vary by %s: some packets would arrive before they were sent.", delay, jitter)
		}
	}
	return i
}

// With changes some of an impairment, as words such as delay=10ms and loss=1% say, in the language of a switch's attributes. 0
// turns one off, and none all.
func (i Impairment) With(words []string) (Impairment, error) {
	if slices.Equal(words, []string{"none"}) {
		return Impairment{}, nil
	}
	set := map[string]string{}
	for _, word := range strings.Fields(strings.ReplaceAll(i.String(), "none", "")) {
		name, value, _ := strings.Cut(word, "=")
		set[name] = value
	}
	named := map[string]bool{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		switch {
		case !ok || value == "":
			return i, fmt.Errorf("%q: write it as name=value, as delay=10ms, or write none alone", word)
		case !slices.Contains(Impairments, name):
			return i, fmt.Errorf("%q: a link has no %s.%s", word, name, Suggest(name, Impairments, "It has"))
		case named[name]:
			return i, fmt.Errorf("%q: %s is there twice", word, name)
		}
		named[name], set[name] = true, value
		if number := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz%"); number != "" && strings.Trim(number, "0") == "" {
			delete(set, name)
		}
	}
	if _, delayed := set["delay"]; !delayed && named["delay"] && !named["jitter"] {
		delete(set, "jitter") // it varied the delay that is no longer there
	}
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for k, name := range slices.Sorted(maps.Keys(set)) {
		at := hcl.Range{Filename: name, Start: hcl.Pos{Line: k + 1}, End: hcl.Pos{Line: k + 1}}
		body.Attributes[name] = &hclsyntax.Attribute{Name: name, SrcRange: at, NameRange: at, Expr: &hclsyntax.LiteralValueExpr{Val: cty.StringVal(set[name]), SrcRange: at}}
	}
	l := &loader{budget: newBudget(), reported: map[mistake]bool{}, kept: tally{}, dropped: tally{}}
	i = l.fields(file.blocks["switch"], body, nil).impairment()
	for _, d := range l.diags {
		return i, fmt.Errorf("%s=%s: %s", d.Subject.Filename, set[d.Subject.Filename], d.Detail)
	}
	return i, nil
}
