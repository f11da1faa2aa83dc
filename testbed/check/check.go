// Package check proves with real packets that a running lab does what its mode promises.
//
// Every endpoint has an echo server and a client, opened in its namespace; from there on everything happens in ordinary
// goroutines. Every uplink is watched by a capture. Each packet carries the number of its flow, and a journal gathers
// what was seen of a flow, wherever it was seen: at the receiver, at the sender, on the underlay. What a check says is
// read from the journal.
package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"labnet/lab"
	"labnet/lab/packet"
	"labnet/lab/plan"
)

// Options says how much is checked; the zero value will do.
type Options struct {
	Pairs int // at most this many pairs; 0 is 400
}

const (
	schema       = 1
	defaultPairs = 400
	// atOnce is how many pairs are tried at a time: enough that pairs which wait for nothing do not hold up the others,
	// and few enough that their packets fit every queue on the way.
	atOnce = 64
)

// run is a check that is going on.
type run struct {
	plan    *plan.Plan
	ends    []*endpoint
	uplinks map[*plan.Node]*uplink
	journal *journal
	ports   []int // of tunnels
	apart   []Apart
	due     map[port]*due // what "serve" and "ready" promise
	untried int
	*patience
}

// Run checks a running lab. It fails only where it could not check: what is wrong with the lab is in the report.
// The lab is not changed, beyond what packets teach it, such as neighbours.
func Run(ctx context.Context, p *plan.Plan, opt Options, progress func(done, total int)) (*Report, error) {
	start := time.Now()
	all := p.Cluster.Everyone()
	pairs, total := choose(all, cmp.Or(opt.Pairs, defaultPairs))
	r := &run{plan: p, ends: make([]*endpoint, len(all)), uplinks: map[*plan.Node]*uplink{}, journal: newJournal(), patience: patienceFor(p)}
	for i, e := range all {
		r.ends[i] = &endpoint{Endpoint: e}
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer r.close()
	if err := r.open(ctx, pairs, &serving); err != nil {
		return nil, err
	}
	tried := r.tried(pairs)
	promises, due := r.promises(cmp.Or(opt.Pairs, defaultPairs))
	rows, ways := r.serviceRows(cmp.Or(opt.Pairs, defaultPairs))
	steps := len(tried) + len(promises) + len(rows)
	checks, err := r.all(ctx, tried, func(done int) { progress(done, steps) })
	if err != nil {
		return nil, err
	}
	// Before anything listens at the ports of services: what is promised there must answer for itself.
	kept, err := r.keep(ctx, promises, checks, func(done int) { progress(len(tried)+done, steps) })
	if err != nil {
		return nil, err
	}
	published := r.published(cmp.Or(opt.Pairs, defaultPairs), cutOff(checks))
	led, err := r.publishes(ctx, published, func(int) {})
	if err != nil {
		return nil, err
	}
	more, err := r.services(ctx, rows, func(done int) { progress(len(tried)+len(promises)+done, steps) })
	if err != nil {
		return nil, err
	}
	remembered, err := r.remembered(ctx)
	if err != nil {
		return nil, err
	}
	checks = slices.Concat(checks, kept, led, more, remembered)
	culprits, err := r.find(ctx, checks)
	if err != nil {
		return nil, err
	}
	said, err := r.plugins(ctx)
	if err != nil {
		return nil, err
	}
	checks = append(checks, said...)
	report := &Report{
		Schema: schema, Lab: p.Cluster.Name, Mode: p.ModeName, OK: true,
		Pairs: len(pairs), TotalPairs: total, Sampled: len(pairs) < total, Checks: checks, Culprits: culprits,
	}
	for _, c := range checks {
		report.OK = report.OK && c.OK
	}
	report.Routes = append([]plan.BadRoute{}, p.BadRoutes()...)
	report.OK = report.OK && len(report.Routes) == 0
	report.Model = p.Model(func(yield func(a, b plan.Endpoint) bool) {
		for _, pair := range pairs {
			if !yield(all[pair.from], all[pair.to]) {
				return
			}
		}
	})
	report.Promises, report.TotalPromises = len(promises), due
	report.Services, report.TotalServices = len(rows), ways
	report.violations(all)
	report.NotConnected, report.Untried = r.apart, r.untried
	report.Seconds = time.Since(start).Seconds()
	return report, nil
}

// open opens the sockets of all endpoints that take part, and the captures on their nodes' uplinks.
func (r *run) open(ctx context.Context, pairs []pair, serving *sync.WaitGroup) error {
	r.ports = slices.Clone(packet.Ports) // also where no tunnel is promised: so that it is known where it is
	room := headLen
	takes := map[int]bool{}
	for _, p := range pairs {
		takes[p.from], takes[p.to] = true, true
		e := r.plan.Expect(plan.Flow{From: r.ends[p.from].Endpoint, To: r.ends[p.to].Endpoint})
		room = max(room, e.MTU+1)
		if e.Encap.Port != 0 && !slices.Contains(r.ports, e.Encap.Port) {
			r.ports = append(r.ports, e.Encap.Port)
		}
	}
	for i, e := range r.ends {
		if !takes[i] {
			continue
		}
		if r.uplinks[e.Node] == nil {
			u := &uplink{node: e.Node}
			u.open()
			r.uplinks[e.Node] = u
		}
		if err := e.open(ctx, r.journal, room, r.settled, serving); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r *run) close() {
	for _, e := range r.ends {
		e.close()
	}
	for _, u := range r.uplinks {
		u.close()
	}
}

// tried leaves out what nobody can judge, and writes down which pairs the definition does not connect. Between machines these
// are tried too: they must be apart. Between pods and routers or hosts they are not, since routes that are learnt may connect
// them.
func (r *run) tried(pairs []pair) []pair {
	r.apart = []Apart{}
	var tried []pair
	for _, p := range pairs {
		from, to := r.ends[p.from].Endpoint, r.ends[p.to].Endpoint
		e := r.plan.Expect(plan.Flow{From: from, To: to})
		outside := from.Node.Kind != lab.Node || to.Node.Kind != lab.Node
		machines := from.Pod == nil && to.Pod == nil
		if !e.Reachable && (outside || machines) {
			r.apart = append(r.apart, Apart{from.Title, to.Title, familyOf(to.Address), e.Lost, machines})
			if !machines {
				r.untried++
				continue
			}
		}
		tried = append(tried, p)
	}
	return tried
}

// all tries the pairs, several at a time, and returns the checks in the order of the pairs.
func (r *run) all(ctx context.Context, pairs []pair, progress func(done int)) ([]Check, error) {
	return r.each(ctx, len(pairs), atOnce, progress, func(i int) []Check {
		return r.pair(ctx, r.ends[pairs[i].from], r.ends[pairs[i].to])
	})
}

// each makes the checks of n things, some at a time, and returns them in their order.
func (r *run) each(ctx context.Context, n, atOnce int, progress func(done int), check func(i int) []Check) ([]Check, error) {
	results := make([][]Check, n)
	next := make(chan int)
	var workers sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(atOnce, n) {
		workers.Go(func() {
			for i := range next {
				results[i] = check(i)
				mu.Lock()
				done++
				progress(done)
				mu.Unlock()
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("check of %s: %w", r.plan.Cluster.Name, err)
	}
	return append([]Check{}, slices.Concat(results...)...), nil
}

// patience is how long packets are waited for.
type patience struct {
	answer  time.Duration // for an answer
	settled time.Time     // but at least until then over IPv6, where addresses that were just set are not used at once
	quiet   time.Duration // until a packet that has not come will not come, where answers come at once
	again   time.Duration // between repetitions
	slowest atomic.Int64  // of the answers that came, in nanoseconds
}

func (p *patience) answers() time.Duration { return p.answer }

// heard notes how long an answer took.
func (p *patience) heard(took time.Duration) {
	for slowest := p.slowest.Load(); slowest < int64(took) && !p.slowest.CompareAndSwap(slowest, int64(took)); slowest = p.slowest.Load() {
	}
}

// silence is how long to wait for what is not to come: on a busy machine longer, by what answers take there.
func (p *patience) silence() time.Duration {
	return min(max(p.quiet, 3*time.Duration(p.slowest.Load())), max(p.quiet, p.answer))
}

// tentative is how long IPv6 addresses may take to be usable: up to two seconds for the detection of duplicates (RFC 4862),
// on the endpoints and on the gateways between them, and more where many interfaces were just made.
const tentative = 5 * time.Second

// carrier is how long the kernel may take to let packets out of a link that has just come up: where many change it looks at
// them once a second.
const carrier = time.Second

// patienceFor adds to what a packet needs on this machine what the lab's wires take by intention.
func patienceFor(p *plan.Plan) *patience {
	var crossing time.Duration
	slowest := map[*lab.Switch]time.Duration{}
	for _, m := range p.Cluster.Lab.Machines {
		for _, nic := range m.Interfaces {
			i := p.Cluster.Impairment(m, nic)
			slowest[nic.Switch] = max(slowest[nic.Switch], i.Delay+i.Jitter)
		}
	}
	for _, d := range slowest {
		crossing += d
	}
	return &patience{
		answer:  2*carrier + 200*time.Millisecond + 4*crossing, // a request of ARP that is lost is repeated after a second
		settled: time.Now().Add(tentative),
		quiet:   250*time.Millisecond + 2*crossing,
		again:   100*time.Millisecond + crossing,
	}
}
