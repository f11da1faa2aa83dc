package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
