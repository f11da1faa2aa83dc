package check

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// answers judges who answered.
func (q *questions) answers(c Check, row *serviceRow) Check {
	var names, silent []string
	for _, b := range row.want.Backends {
		names = append(names, b.Title)
		if q.by[b.Title] == nil {
			silent = append(silent, b.Title)
		}
	}
	c.Expected = either(names, "or") + " answers"
	keeps := row.Port.Affinity != 0 && len(names) > 1
	chosen := row.want.Spread == plan.Chosen || len(names) > mostMet
	if keeps {
		c.Expected += ", the same each time"
	}
	c.Seen = fmt.Sprintf("%s answered, in %s", q.met(), plural(q.asked, "connection"))
	for who := range q.by {
		if !slices.Contains(names, who) {
			c.Seen = who + " answered"
			return c
		}
	}
	switch {
	case q.strange > 0:
		c.OK, c.Seen = true, "it answers; a program at its port does not say who it is"
	case q.failed != nil && q.asked > 1:
		c.Seen = fmt.Sprintf("%s, in connection %d; before %s answered", q.failure(), q.asked, q.met())
	case q.failed != nil:
		c.Seen = q.failure()
	case q.repeated > mostRepeated:
		c.Seen = fmt.Sprintf("%s answered, but %d of %s opened only when the first packet was repeated", q.met(), q.repeated, plural(q.asked, "connection"))
	case keeps && len(q.by) > 1:
		c.Seen = fmt.Sprintf("%s answered, in %s", q.met(), plural(q.asked, "connection"))
	case !keeps && len(silent) > 0 && !chosen:
		c.Seen = fmt.Sprintf("%s never answered, in %s", either(silent, "and"), plural(q.asked, "connection"))
	default:
		c.OK = true
	}
	return c
}

// clients judges whom those who answered took for the client.
func (q *questions) clients(c Check, row *serviceRow) (Check, bool) {
	c.Name, c.OK = Client, true
	heard := false
	own, node := "", ""
	for _, b := range row.want.Backends {
		if len(b.Sources) == 0 {
			continue
		}
		if b.Masqueraded {
			node = "an address of " + row.want.At.Name
		} else {
			own = b.Sources[0].String()
		}
		for _, source := range q.by[b.Title] {
			heard = true
			if !slices.Contains(b.Sources, source) {
				c.OK, c.Seen = false, fmt.Sprintf("%s sees %s", b.Title, source)
				if b.Masqueraded {
					c.Seen += ", which is no address of " + row.want.At.Name
				}
			}
		}
	}
	c.Expected = either(slices.DeleteFunc([]string{own, node}, func(s string) bool { return s == "" }), "or, to itself,")
	if c.OK {
		c.Seen = "it sees that"
	}
	return c, heard
}

// balance judges how connections are spread over those who answer.
func (q *questions) balance(c Check, row *serviceRow) (Check, bool) {
	if row.count == 0 || q.asked < row.count || q.repeated > mostRepeated || q.failed != nil || q.strange > 0 {
		return c, false
	}
	c.Name = Balance
	n := len(row.want.Backends)
	share := float64(q.asked) / float64(n)
	c.Expected = fmt.Sprintf("about %.0f of %d connections each", share, q.asked)
	chi := 0.0
	var counts []string
	for _, b := range row.want.Backends {
		got := float64(len(q.by[b.Title]))
		chi += (got - share) * (got - share) / share
		counts = append(counts, fmt.Sprintf("%s %.0f", b.Title, got))
	}
	c.Seen = strings.Join(counts, ", ")
	if row.want.Spread == plan.InTurn && !q.shared {
		c.Expected = fmt.Sprintf("one after the other, in %d connections", q.asked)
		jumps := outOfTurn(q.order, n)
		if c.OK = jumps == 0; !c.OK {
			c.Detail = fmt.Sprintf("%s, another answered than the one whose turn it was", plural(jumps, "time"))
		}
		return c, true
	}
	p := beyond(chi, n-1)
	c.OK = p >= uneven
	c.Detail = fmt.Sprintf("by lot it would be as uneven once in %.3g times (χ² %.1f)", 1/p, chi)
	if c.OK {
		c.Detail = ""
	}
	return c, true
}

// outOfTurn is how often it was not the turn of who answered, where n take turns. Who is not known had its turn.
func outOfTurn(order []string, n int) (jumps int) {
	order = slices.Clone(order)
	for i, who := range order {
		due := ""
		if i >= n {
			due = order[i-n]
		}
		switch {
		case who == "":
			order[i] = due
		case due != "" && due != who, due == "" && slices.Contains(order[max(0, i-n):i], who):
			jumps++
		}
	}
	return jumps
}

// beyond is the chance of a χ² of k degrees of freedom that is larger than x (Abramowitz and Stegun, 26.4.4 and 26.4.5).
func beyond(x float64, k int) float64 {
	h := x / 2
	term, sum := math.Exp(-h), 0.0
	from := 1.0
	if k%2 == 1 {
		sum = math.Erfc(math.Sqrt(h))
		term *= math.Sqrt(h) / (math.Sqrt(math.Pi) / 2)
		from = 1.5
	}
	for i := 0; i < k/2; i++ {
		sum += term
		term *= h / (from + float64(i))
	}
	return sum
}

// failure is what went wrong with a question.
func (q *questions) failure() string {
	switch {
	case q.failed == nil:
		return q.met() + " answered"
	case errors.Is(q.failed, unix.ECONNREFUSED):
		return fmt.Sprintf("refused after %.1f ms", q.took.Seconds()*1e3)
	case errors.Is(q.failed, errSilence):
		return fmt.Sprintf("no answer within %s", q.patience.Round(time.Millisecond))
	}
	return reason(q.failed)
}

// met names those who answered.
func (q *questions) met() string {
	if len(q.by) == 0 {
		return "somebody"
	}
	var names []string
	for who := range q.by {
		names = append(names, who)
	}
	slices.Sort(names)
	return either(names, "and")
}
