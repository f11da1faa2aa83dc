package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

// serviceRow is a client and an address of a service.
type serviceRow struct {
	plan.ServiceFlow
	want  plan.ServiceExpectation
	count int // how many connections are counted for the balance; 0: it is not judged here
}

const (
	// servicesAtOnce is fewer than pairs, since every client waits on a thread of its own.
	servicesAtOnce = 32
	// mostRefused is how many refusals a client is to hear of a node. The kernel sends six messages of ICMP to somebody at once, and
	// then one a second (net.ipv4.icmp_ratelimit); refusals beyond that come late. A redirect takes what is left of the six, as a
	// node sends one that passes a connection on by the device from which it came. So refusals are asked for before all else, and
	// refusal is long enough for the first packet to be repeated twice, after one second and after three.
	mostRefused = 3
	refusal     = 4 * time.Second
	// mostBalances is on how many nodes, and for how many ports, the balance is judged.
	mostBalances = 24
	// unlucky is the chance that an endpoint which may answer is never chosen.
	unlucky = 1e-9
	// uneven is the chance that connections which are spread by lot look as uneven as what is reported.
	uneven = 1e-6
	// mostRepeated is how many connections of a row may open only when their first packet is repeated. Each time the packet is
	// translated anew, so that an endpoint that gets none would else show as nothing but delay.
	mostRepeated = 2
	// mostStray is how many connections of a row may go unanswered where IPVS translates, and again after each moreStray that are
	// answered. It knows whose an answer is by the client's address and port and the endpoint alone, for ten seconds after a reset
	// and two minutes after an end (ip_vs_conn_out_get). If in that time the client, or masquerading by lot, takes the same port for
	// another way to the same endpoint, then the endpoint's node gives the answer the address of the first way, and the client
	// refuses it: after n connections in that time one in 64,512/n.
	mostStray = 2
	moreStray = 16
	// mostMet is the number of endpoints up to which each has to answer every client.
	mostMet = 10
)

// serviceRows chooses what is asked of services, at most so many, and says how many there would be. It leaves out what
// nobody can judge.
func (r *run) serviceRows(limit int) (rows []*serviceRow, total int) {
	if r.plan.Cluster.Lab.Services == nil {
		return nil, 0
	}
	flows := r.plan.ServiceFlows()
	refused, balances := map[string]int{}, map[string]bool{}
	for _, i := range candidates(flows, limit) {
		f := flows.At(i)
		row := &serviceRow{ServiceFlow: f, want: r.plan.ExpectService(f)}
		for i, b := range row.want.Backends {
			if r.serves(b, f.Port.Protocol) { // a pod may have the network of its node, or of another pod
				row.want.Backends[i].Title = r.due[portOf(b, f.Port.Protocol)].Target
			}
		}
		switch {
		case row.want.Unknown != "":
			continue
		case row.want.Refused:
			client := f.From.Title
			if f.From.Node != row.want.At { // it may come with the address of its node
				client = f.From.Node.Name
			}
			if client += " " + row.want.At.Name + " " + familyOf(f.To.Addr()); refused[client] == mostRefused {
				continue
			}
			refused[client]++
		case row.want.Lost == "" && f.To.Addr() == f.Port.Address && f.From.Pod != nil && len(row.want.Backends) > 1 && f.Port.Affinity == 0 && row.want.Spread != plan.Chosen:
			if at := f.From.Node.Name + " " + f.Name() + " " + familyOf(f.To.Addr()); !balances[at] && len(balances) < mostBalances {
				balances[at] = true
				row.count = min(max(200, 100*len(row.want.Backends)), 1000)
			}
		}
		rows = append(rows, row)
	}
	if len(rows) > limit { // always the same, and first what shows the balance
		random := rand.New(rand.NewPCG(1, 2))
		order := map[*serviceRow]int{}
		for i, at := range random.Perm(len(rows)) {
			order[rows[i]] = at
		}
		slices.SortFunc(rows, func(a, b *serviceRow) int {
			return cmp.Or(cmp.Compare(min(1, b.count), min(1, a.count)), cmp.Compare(order[a], order[b]))
		})
		rows = rows[:limit]
	}
	return rows, flows.Len()
}

// candidates are the places of the flows that rows are chosen of: all, or where they are very many what shows the balance, and
// others by lot.
func candidates(flows *plan.ServiceFlows, limit int) []int {
	const each = 8 // so many times as many as are asked
	if flows.Len() <= each*limit {
		all := make([]int, flows.Len())
		for i := range all {
			all[i] = i
		}
		return all
	}
	var chosen []int
	seen := map[int]bool{}
	add := func(i int) {
		if !seen[i] {
			seen[i] = true
			chosen = append(chosen, i)
		}
	}
	for port, p := range flows.Ports {
		if len(p.Endpoints) < 2 || p.Affinity != 0 {
			continue
		}
		nodes := map[*plan.Node]bool{}
		for client, from := range flows.Clients(port) {
			if from.Pod != nil && !nodes[from.Node] && len(chosen) < mostBalances {
				nodes[from.Node] = true
				add(flows.ToClusterIP(port, client))
			}
		}
		if len(chosen) == mostBalances {
			break
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // always the same
	for len(chosen) < 2*limit {
		add(random.IntN(flows.Len()))
	}
	return chosen
}

// services asks every row's service, at endpoints that answer while it does.
func (r *run) services(ctx context.Context, rows []*serviceRow, progress func(done int)) ([]Check, error) {
	rows = slices.DeleteFunc(rows, func(row *serviceRow) bool { // where an endpoint does not answer its service could only say the same
		return slices.ContainsFunc(row.want.Backends, func(b plan.ServiceBackend) bool {
			d := r.due[portOf(b, row.Port.Protocol)]
			return d != nil && d.broken
		})
	})
	if len(rows) == 0 {
		return nil, nil
	}
	listeners := listeners{}
	defer listeners.close()
	for _, row := range rows {
		for _, b := range row.want.Backends {
			if r.due[portOf(b, row.Port.Protocol)] != nil {
				listeners[listeningAt(b, row.Port.Protocol)] = &listener{taken: true}
				continue
			}
			if err := listeners.open(ctx, b, row.Port.Protocol); err != nil {
				return nil, err
			}
		}
	}
	turns := newTurns(rows)
	first := slices.DeleteFunc(slices.Clone(rows), func(row *serviceRow) bool { return !row.first() })
	others := slices.DeleteFunc(slices.Clone(rows), (*serviceRow).first)
	var checks []Check
	asked := 0
	for _, rows := range [][]*serviceRow{first, others} {
		made, err := r.each(ctx, len(rows), servicesAtOnce, func(done int) { progress(asked + done) }, func(i int) []Check { return r.service(ctx, rows[i], listeners, turns) })
		if err != nil {
			return nil, err
		}
		checks, asked = append(checks, made...), asked+len(rows)
	}
	return checks, nil
}

// first reports whether it is asked before all else: see [mostRefused].
func (row *serviceRow) first() bool { return row.want.Refused && !row.want.Late }

// service makes the checks of a row.
func (r *run) service(ctx context.Context, row *serviceRow, at listeners, turns turns) []Check {
	c := Check{Name: Service, From: row.From.Title, To: row.Name() + " " + row.To.String(), Family: familyOf(row.To.Addr()), service: row}
	silent := row.Port.Protocol == "udp" && slices.ContainsFunc(row.want.Backends, func(b plan.ServiceBackend) bool { return at.taken(b, "udp") && !r.serves(b, "udp") })
	if silent { // by a program that need not answer such questions
		return nil
	}
	place, err := testbed.Open(row.From.Namespace)
	if err != nil {
		c.Expected, c.Seen = "it asks", err.Error()
		return []Check{c}
	}
	defer place.Close()
	q := &questions{protocol: row.Port.Protocol, to: row.To, patience: r.answer, again: r.again, lossy: r.lossy(), shared: r.shared()}
	if row.want.Lost != "" || row.want.Late {
		q.patience = r.silence()
	} else if r.plan.Proxy == "ipvs" && !row.want.Refused {
		q.spare = mostStray
	}
	if row.first() {
		q.patience = max(q.patience, refusal)
	}
	done := turns.take(row)
	err = place.Do(func() error {
		q.ask(ctx, func() bool { return q.enough(row) })
		return nil
	})
	done()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		c.Expected, c.Seen = "it asks", err.Error()
		return []Check{c}
	}
	switch {
	case row.want.Lost != "":
		c.Expected = "no answer: " + row.want.Lost
		c.OK, c.Seen = q.failed != nil, "no answer"
		if !c.OK {
			c.Seen = q.met() + " answered"
		}
		return []Check{c}
	case row.want.Late:
		c.Expected = "refused, perhaps late, since nobody is behind it, and an ICMP redirect comes first"
		c.OK, c.Seen = q.failed != nil, q.failure()
		return []Check{c}
	case row.want.Refused:
		c.Expected = "refused at once, since nobody is behind it"
		c.OK = errors.Is(q.failed, unix.ECONNREFUSED)
		c.Seen = fmt.Sprintf("refused after %.1f ms", q.took.Seconds()*1e3)
		if !c.OK {
			c.Seen = q.failure()
		}
		return []Check{c}
	}
	checks := []Check{q.answers(c, row)}
	if client, ok := q.clients(c, row); ok {
		checks = append(checks, client)
	}
	if balance, ok := q.balance(c, row); ok {
		checks = append(checks, balance)
	}
	return checks
}

// serves reports whether it is lab's responder that answers at an endpoint's port: it says who it is, as a listener of the check
// would.
func (r *run) serves(b plan.ServiceBackend, protocol string) bool {
	d := r.due[portOf(b, protocol)]
	return d != nil && d.Program == ""
}

// shared reports whether the lab runs programs, which may ask services too.
func (r *run) shared() (runs bool) {
	r.plan.State.Each(func(o plan.Object) {
		a, ok := o.(plan.Agent)
		runs = runs || ok && strings.HasPrefix(a.Name, plan.SupervisorAgent+":")
	})
	return runs
}

// lossy reports whether the lab's wires lose packets by intention.
func (r *run) lossy() bool {
	for _, m := range r.plan.Cluster.Lab.Machines {
		for _, nic := range m.Interfaces {
			if r.plan.Cluster.Impairment(m, nic).Loss > 0 {
				return true
			}
		}
	}
	return false
}

// enough reports whether all has been heard that can be.
func (q *questions) enough(row *serviceRow) bool {
	n := len(row.want.Backends)
	switch {
	case q.failed != nil || row.want.Lost != "" || row.want.Refused || q.strange > 0 || q.repeated > mostRepeated:
		return true
	case row.count > 0:
		return q.asked >= row.count
	case n > mostMet || row.want.Spread == plan.Chosen && row.Port.Affinity == 0:
		return q.asked >= mostMet
	}
	return len(q.by) >= n && (row.Port.Affinity == 0 || len(q.by) > 1) || q.asked >= tries(n)
}

// tries is how many connections it takes until each of n endpoints has answered, but for an unlucky chance.
func tries(n int) int {
	if n < 2 {
		return n
	}
	return int(math.Ceil(math.Log(unlucky/float64(n)) / math.Log(1-1/float64(n))))
}

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

// either joins words.
func either(words []string, last string) string {
	if len(words) > mostMet {
		return fmt.Sprintf("one of %d", len(words))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	end := len(words) - 1
	return strings.Join(words[:end], ", ") + " " + last + " " + words[end]
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// questions are the connections of one client to one address, one after the other, and who answered them.
type questions struct {
	protocol string
	from     net.Addr // nil: any
	to       netip.AddrPort
	patience time.Duration
	again    time.Duration

	port     int // of the next one over UDP
	asked    int
	by       map[string][]netip.Addr // whom those who answered took for the client
	order    []string                // who answered, in this order; empty where it is not known
	spare    int                     // how many connections may go unanswered: see [mostStray]
	silent   int                     // how many have
	shared   bool                    // others may ask at the same time: programs that the lab runs
	strange  int                     // answers of programs that do not say who they are
	failed   error                   // of the last one
	took     time.Duration           // it
	lossy    bool                    // packets get lost by intention
	repeated int                     // connections that opened only when their first packet was repeated
}
