package check

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	ansi "github.com/jedib0t/go-pretty/v6/text"

	"labnet/lab/plan"
)

// Report is what a check found.
type Report struct {
	Schema     int     `json:"schema"`
	Lab        string  `json:"lab"`
	Mode       string  `json:"mode"`
	OK         bool    `json:"ok"`
	Pairs      int     `json:"pairs"` // that were tried
	TotalPairs int     `json:"total_pairs"`
	Sampled    bool    `json:"sampled"`
	Seconds    float64 `json:"seconds"`
	Checks     []Check `json:"checks"`

	Culprits []Culprit `json:"culprits"` // what explains the failures, the likeliest first

	Promises      int `json:"promises"`       // of ports, by "serve" and "ready", that were tried
	TotalPromises int `json:"total_promises"` // promised ports: once for each family in which there is an address

	Services      int `json:"services"`       // clients' ways to services that were tried
	TotalServices int `json:"total_services"` // clients' ways to services: every client × every cluster IP and node port

	Untried      int             `json:"untried"`       // pods and machines that the definition does not connect
	NotConnected []Apart         `json:"not_connected"` // by the definition, among the pairs
	Routes       []plan.BadRoute `json:"routes"`        // of the definition that lead nowhere
	Model        []plan.Ruling   `json:"model"`         // the Kubernetes network model
}

// Apart is a pair that the definition does not connect.
type Apart struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Family string `json:"family"`
	Reason string `json:"reason"`
	Tried  bool   `json:"tried"` // whether packets were sent, which must not arrive
}

// violations says which demands of the Kubernetes network model the kernel does not meet, though the mode promises them.
func (r *Report) violations(ends []plan.Endpoint) {
	by := map[string]plan.Endpoint{}
	for _, e := range ends {
		by[e.Title+familyOf(e.Address)] = e
	}
	for i, ruling := range r.Model {
		demand := plan.Demands[slices.IndexFunc(plan.Demands, func(d plan.Demand) bool { return d.Name == ruling.Demand })]
		for _, c := range r.Checks {
			if c.OK || c.Name != Reach && c.Name != Source || !demand.Covers(by[c.From+c.Family], by[c.To+c.Family]) {
				continue
			}
			r.Model[i].State, r.Model[i].Reason = plan.Violated, fmt.Sprintf("%s → %s: %s", c.From, c.To, c.Seen)
			break
		}
	}
}

// Check is one promise about the packets from one endpoint to another.
type Check struct {
	Name     string `json:"name"` // one of Names
	From     string `json:"from"`
	To       string `json:"to"`
	Family   string `json:"family"` // ipv4 or ipv6; empty where no address is asked
	OK       bool   `json:"ok"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	Detail   string `json:"detail"` // where a check failed: why, and where to look

	of      *probe      // that made it
	promise *promiseRow // or whose it is
	publish *publishRow // likewise
	service *serviceRow // likewise

	remembered *rememberedRow // likewise
}

// The checks, in the order in which they are made of a pair. Where the first fails the others say nothing.
const (
	Reach  = "reach"  // the receiver answers
	Source = "source" // it sees the promised sender
	MTU    = "mtu"    // a packet of the promised size passes whole, one byte more does not
	Wire   = "wire"   // the underlay carries what was promised

	Serve = "serve" // what "serve" promises: lab's responder answers, and sees the promised client
	Ready = "ready" // programs run, and can be reached where "ready" says

	Plugin = "plugin" // what CNI plugins say of a pod, or a node, when they are asked

	Publish = "publish" // a node's port leads to the pod that publishes it

	Service = "service" // those who are behind it answer, or the client is refused
	Client  = "client"  // they see the promised client
	Balance = "balance" // each of them is given as many connections as the others, but for chance
)

// Names lists the checks: those of a pair, what CNI plugins say, those of what runs in machines and pods, and those of a client and an address of a
// service.
var Names = []string{Reach, Source, MTU, Wire, Plugin, Serve, Ready, Publish, Service, Client, Balance}

var about = map[string]string{
	Reach:  "packets and answers arrive",
	Source: "the receiver sees the promised sender",
	MTU:    "the promised size passes whole, one byte more does not",
	Wire:   "the underlay carries the promised encapsulation",

	Serve: "what serves answers from elsewhere, and sees the promised client",
	Ready: "programs run, and listen where they say that they are ready",

	Publish: "ports of nodes lead to the pods that publish them",

	Plugin: "CNI plugins find their pods as they made them (CHECK), and are ready (STATUS)",

	Service: "all that are behind a service answer; nobody behind it: refused",
	Client:  "they see the promised client",
	Balance: "connections are spread evenly over them, by χ² or in turn",
}

// Text writes a line a check, and then what explains the failures, in lines of at most so many columns.
func (r *Report) Text(w io.Writer, columns int, color bool) {
	var whole strings.Builder
	r.text(&whole, columns, color)
	for line := range strings.Lines(whole.String()) {
		if ansi.StringWidthWithoutEscSequences(line) > columns {
			rest := strings.TrimLeft(line, " ")
			margin := strings.Repeat(" ", len(line)-len(rest))
			line = margin + strings.Join(wrap(strings.TrimSuffix(rest, "\n"), columns-len(margin)-2), "\n  "+margin) + "\n"
		}
		_, _ = io.WriteString(w, line)
	}
}

func (r *Report) text(w io.Writer, columns int, color bool) {
	passed, total := map[string]int{}, map[string]int{}
	dual := map[string]bool{}
	for _, c := range r.Checks {
		total[c.Name]++
		dual[c.Family] = c.Family != ""
		if c.OK {
			passed[c.Name]++
		}
	}
	for _, name := range Names {
		if total[name] > 0 {
			count := fmt.Sprintf("%d/%d", passed[name], total[name])
			fmt.Fprintf(w, " %s %-7s %9s  %s\n", mark(passed[name] == total[name], color), name, count, about[name])
		}
	}
	r.culprits(w, columns, color, dual["ipv4"] && dual["ipv6"])
	if r.Pairs == 0 && len(r.Routes) == 0 && len(r.Checks) == 0 {
		fmt.Fprintf(w, "Lab %s has no two ends that a packet could go between: there is nothing to check.\n", r.Lab)
		return
	}
	if len(r.Checks) > 0 && !r.OK {
		fmt.Fprintln(w)
	}
	for _, bad := range r.Routes {
		fmt.Fprintf(w, " %s route of %s: %s\n   %s\n", mark(false, color), bad.Machine, bad.Route, strings.Join(wrap(bad.Problem, columns-3), "\n   "))
	}
	if len(r.Model) > 0 {
		fmt.Fprintln(w, "Kubernetes network model:")
	}
	for _, m := range r.Model {
		why := ""
		if m.Reason != "" {
			why = ": " + m.Reason
		}
		sign := "–"
		if m.State != plan.Broken {
			sign = mark(m.State == plan.Kept, color)
		}
		fmt.Fprintf(w, " %s %s\n", sign, strings.Join(wrap(m.Demand+": "+m.State+why, columns-3), "\n   "))
	}
	verdict := "does what it promises"
	if !r.OK {
		verdict = "does not do what it promises"
	}
	mode := ""
	if r.Mode != "" {
		mode = " in mode " + r.Mode
	}
	fmt.Fprintf(w, "Lab %s%s %s.\n", r.Lab, mode, verdict)
	if r.Sampled {
		fmt.Fprintf(w, "Tried a sample of %d of its %d pairs in %.1f s; --pairs tries more.\n", r.Pairs-r.Untried, r.TotalPairs, r.Seconds)
	} else if r.Untried > 0 {
		fmt.Fprintf(w, "Tried %d of its %d pairs in %.1f s.\n", r.Pairs-r.Untried, r.Pairs, r.Seconds)
	} else {
		fmt.Fprintf(w, "Tried all its %d pairs in %.1f s.\n", r.Pairs, r.Seconds)
	}
	if r.TotalPromises > r.Promises {
		fmt.Fprintf(w, "Tried %d of %d ports that pods and machines promise; --pairs tries more.\n", r.Promises, r.TotalPromises)
	}
	if r.TotalServices > 0 {
		more := "."
		if r.Services < r.TotalServices {
			more = "; --pairs tries more."
		}
		fmt.Fprintf(w, "Tried %d of %d ways from a client to an address of a service%s\n", r.Services, r.TotalServices, more)
	}
	if n := len(r.NotConnected); n > 0 {
		not := ""
		if r.Untried > 0 {
			not = fmt.Sprintf("; %d of them, with pods, were not tried", r.Untried)
		}
		fmt.Fprintf(w, "Not connected by the definition: %d pairs%s (by name: -v, -o json).\n", n, not)
		for _, a := range r.NotConnected {
			if a.Tried && strings.HasPrefix(a.Reason, "no way back") {
				fmt.Fprintf(w, " ! %s\n", strings.Join(wrap(fmt.Sprintf("Some are reached and cannot answer, as %s → %s: %s.", a.From, a.To, a.Reason), columns-3), "\n   "))
				break
			}
		}
	}
}

// folded is how many failures are named where not all are asked for.
const folded = 3

// culprits writes what explains the failures, each with some of the pairs that suffer, and in full some failures that nothing
// explains.
func (r *Report) culprits(w io.Writer, columns int, color, dual bool) {
	explained := map[int]bool{}
	for _, c := range r.Culprits {
		place := c.Machine
		if c.Device != "" {
			place += " " + c.Device
		}
		fmt.Fprintf(w, "\n %s %s: %s\n", mark(false, color), place, strings.Join(wrap(c.Reason, columns-6-len(place)), "\n   "))
		fmt.Fprintf(w, "   %-9s `%s`\n", "look", c.Command)
		var names []string
		for _, at := range c.checks {
			explained[at] = true
			if name := r.Checks[at].name(dual); len(names) < folded && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if more := c.Pairs - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more pairs (-v names all)", more))
		}
		fmt.Fprintf(w, "   %-9s %s\n", "suffer", strings.Join(names, "\n"+strings.Repeat(" ", 13)))
	}
	shown, more := 0, 0
	for i, c := range r.Checks {
		switch {
		case c.OK || explained[i]:
		case shown < folded:
			shown++
			c.full(w, columns, color, dual)
		default:
			more++
		}
	}
	if more > 0 {
		fmt.Fprintf(w, "\n   and %d more failures like these (-v shows all)\n", more)
	}
}

// Failures writes every failure in full.
func (r *Report) Failures(w io.Writer, columns int, color bool) {
	dual := slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Family != "" && c.Family != r.Checks[0].Family })
	for _, c := range r.Checks {
		if !c.OK {
			c.full(w, columns, color, dual)
		}
	}
}

// name is a failed check in a line.
func (c Check) name(dual bool) string {
	family := ""
	if dual && c.Family != "" {
		family = " over " + strings.Replace(c.Family, "ip", "IP", 1)
	}
	return fmt.Sprintf("%s: %s → %s%s", c.Name, c.From, c.To, family)
}

func (c Check) full(w io.Writer, columns int, color, dual bool) {
	fmt.Fprintf(w, "\n %s %s\n", mark(false, color), c.name(dual))
	for _, line := range [][2]string{{"expected", c.Expected}, {"seen", c.Seen}, {"detail", c.Detail}} {
		if line[1] != "" {
			fmt.Fprintf(w, "   %-9s %s\n", line[0], strings.Join(wrap(line[1], columns-13), "\n"+strings.Repeat(" ", 13)))
		}
	}
}

// Unconnected writes the pairs that the definition does not connect, by name.
func (r *Report) Unconnected(w io.Writer) {
	for _, a := range r.NotConnected {
		fmt.Fprintf(w, " %s → %s over %s: %s\n", a.From, a.To, strings.Replace(a.Family, "ip", "IP", 1), a.Reason)
	}
}

func mark(ok, color bool) string {
	sign, code := "✓", "32"
	if !ok {
		sign, code = "✗", "31"
	}
	if color {
		return "\x1b[" + code + "m" + sign + "\x1b[0m"
	}
	return sign
}

// wrap breaks a text into lines of at most width characters, as far as its words allow. A command in backquotes is one
// word, so that it can be copied.
func wrap(s string, width int) []string {
	quoted := false
	words := strings.FieldsFunc(s, func(c rune) bool {
		quoted = quoted != (c == '`')
		return c == ' ' && !quoted
	})
	lines, used := []string{""}, 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
			lines[len(lines)-1], used = word, n
		case used+1+n <= width:
			lines[len(lines)-1] += " " + word
			used += 1 + n
		default:
			lines, used = append(lines, word), n
		}
	}
	return lines
}
