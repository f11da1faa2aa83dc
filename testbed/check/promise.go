package check

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
)

// port is one of a protocol in a namespace.
type port struct {
	namespace, protocol string
	number              int
}

func portOf(b plan.ServiceBackend, protocol string) port {
	return port{b.Namespace, protocol, int(b.Address.Port())}
}

// due is what is promised of a port.
type due struct {
	plan.Promise
	broken bool // as was found
}

// promiseRow is what a machine or a pod promises, and who asks for it.
type promiseRow struct {
	plan.Promise
	from plan.Endpoint // who asks; where nobody else reaches it, it itself
	whom plan.Endpoint // whose address is asked; the zero value: there is none, and lo is asked from within
	to   netip.AddrPort
	want netip.Addr // whom it is to see as the client; the zero Addr where nothing is promised of that

	admits func(source netip.Addr) bool // nil: whoever reaches it is let in
}

func (row *promiseRow) port() port { return port{row.Namespace, row.Protocol, row.Port} }

// asked reports whether somebody connects. That a program runs, or has a port of UDP, is seen without.
func (row *promiseRow) asked() bool {
	return row.Protocol == "tcp" || row.Protocol != "" && row.Program == ""
}

// promises chooses what is asked of what runs in machines and pods, at most so much, and says how much there would be.
func (r *run) promises(limit int) (rows []*promiseRow, total int) {
	r.due = map[port]*due{}
	addresses := map[string][]plan.Endpoint{}
	for _, e := range r.plan.Cluster.Everyone() {
		if !e.Also {
			addresses[e.Namespace] = append(addresses[e.Namespace], e)
		}
	}
	for _, p := range r.plan.Promises() {
		row := promiseRow{Promise: p}
		if p.Protocol == "" {
			rows = append(rows, &row)
			continue
		}
		r.due[row.port()] = &due{Promise: p}
		at := addresses[p.Namespace]
		if p.Program != "" && len(at) > 1 { // a program may speak one family: as a kubelet's probe it is asked at the first address
			at = at[:1]
		}
		for _, e := range at {
			one := row
			one.whom, one.to = e, netip.AddrPortFrom(e.Address, uint16(p.Port))
			rows = append(rows, &one)
		}
		if len(at) == 0 {
			row.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(p.Port))
			rows = append(rows, &row)
		}
	}
	if total = len(rows); total > limit { // always the same, and first of those that took part already
		took := map[string]bool{}
		for _, e := range r.ends {
			took[e.Namespace] = took[e.Namespace] || e.server != nil
		}
		chosen := rand.New(rand.NewPCG(1, 2)).Perm(total)
		slices.SortStableFunc(chosen, func(a, b int) int {
			switch x, y := took[rows[a].Namespace], took[rows[b].Namespace]; {
			case x == y:
				return 0
			case x:
				return -1
			}
			return 1
		})
		chosen = chosen[:limit]
		slices.Sort(chosen)
		var sample []*promiseRow
		for _, i := range chosen {
			sample = append(sample, rows[i])
		}
		rows = sample
	}
	return rows, total
}

// way is from one end to another, by their titles, in a family.
type way struct {
	from, to string
	v6       bool
}

// keep asks for what is promised, from elsewhere. Where the network is at fault by the checks that were made, nobody asks: it could
// only say the same.
func (r *run) keep(ctx context.Context, rows []*promiseRow, made []Check, progress func(done int)) ([]Check, error) {
	cut := cutOff(made)
	clients := r.clients()
	var found machines
	var ask []*promiseRow
	for i, row := range rows {
		if clients.choose(r.plan, row, i, cut) {
			ask = append(ask, row)
		}
	}
	checks, err := r.each(ctx, len(ask), servicesAtOnce, func(done int) { progress(len(rows) - len(ask) + done) }, func(i int) []Check {
		return []Check{r.promise(ctx, ask[i], &found)}
	})
	for _, c := range checks {
		if !c.OK && c.promise.Protocol != "" {
			r.due[c.promise.port()].broken = true
		}
	}
	return checks, err
}

// cutOff are the ways on which nothing came through.
func cutOff(made []Check) map[way]bool {
	cut := map[way]bool{}
	for _, c := range made {
		if c.Name == Reach && !c.OK {
			cut[way{c.From, c.To, c.of.to.Address.Is6()}] = true
		}
	}
	return cut
}

// clients are those who can ask, by their family: pods first, then machines. In a large lab they are those who took part before, so
// that it takes no more of the machine's tables.
type clients map[bool][2][]plan.Endpoint

func (r *run) clients() clients {
	all := clients{}
	for _, e := range r.ends {
		if e.Also || e.server == nil {
			continue
		}
		kinds, at := all[e.Address.Is6()], 0
		if e.Pod == nil {
			at = 1
		}
		kinds[at] = append(kinds[at], e.Endpoint)
		all[e.Address.Is6()] = kinds
	}
	return all
}

// mostAsked is how many of one kind are looked at until somebody is found who reaches a port.
const mostAsked = 16

// choose chooses who asks: rather a pod than a machine, rather one of another machine, and another one each time. It is false
// where those who should reach it do not.
func (all clients) choose(p *plan.Plan, row *promiseRow, turn int, cut map[way]bool) bool {
	row.from = row.whom
	if row.whom.Namespace == "" || !row.asked() {
		row.from.Title, row.from.Namespace = row.Target, row.Namespace
		row.want = row.to.Addr()
		return true
	}
	v6 := row.to.Addr().Is6()
	lost := false
	for _, elsewhere := range []bool{true, false} {
		for _, kind := range all[v6] {
			looked := 0
			for i := range kind {
				from := kind[(turn+i)%len(kind)]
				if from.Namespace == row.Namespace || (from.Node != row.whom.Node) != elsewhere {
					continue
				}
				if looked++; looked > mostAsked {
					break
				}
				e := p.Expect(plan.Flow{From: from, To: row.whom, Protocol: row.Protocol, Port: row.Port})
				switch {
				case !e.Reachable, row.admits != nil && !row.admits(e.Source):
				case cut[way{from.Title, row.whom.Title, v6}]:
					lost = true
				default:
					row.from = from
					if row.want = e.Source; e.Spread {
						row.want = netip.Addr{}
					}
					return true
				}
			}
		}
	}
	row.want = row.to.Addr()
	return !lost
}

// promise makes the check of a row.
func (r *run) promise(ctx context.Context, row *promiseRow, found *machines) Check {
	c := Check{Name: Ready, From: row.from.Title, To: row.Name(), promise: row}
	if row.Program == "" {
		c.Name = Serve
	}
	if row.Protocol != "" {
		c.To += " " + row.Socket()
		c.Family = familyOf(row.to.Addr())
	}
	if row.Protocol == "" {
		c.runs(found)
		return c
	}
	place, err := testbed.Open(row.from.Namespace)
	if err != nil {
		c.Expected, c.Seen = "it can be asked", err.Error()
		return c
	}
	defer place.Close()
	switch {
	case !row.asked():
		c.bound(place)
	case row.Program != "":
		c.opens(ctx, r, place)
	default:
		c.answers(ctx, r, place)
	}
	return c
}

// patienceWith is how long somebody waits who asks at an address.
func (r *run) patienceWith(a netip.Addr) time.Duration {
	if a.Is6() {
		return max(r.answer, time.Until(r.settled))
	}
	return r.answer
}

// attempts is how often somebody asks before it counts: more than once where packets get lost by intention.
func (r *run) attempts() int {
	if r.lossy() {
		return 5
	}
	return 1
}

// answers asks lab's responder who it is.
func (c *Check) answers(ctx context.Context, r *run, place *testbed.Place) {
	row := c.promise
	c.Expected = row.Target + " answers"
	if row.want.IsValid() {
		c.Expected += fmt.Sprintf(", and sees %s", row.want)
	}
	q := &questions{protocol: row.Protocol, to: row.to, patience: r.patienceWith(row.to.Addr()), again: r.again, lossy: r.lossy()}
	most := r.attempts()
	err := place.Do(func() error {
		q.ask(ctx, func() bool { return q.failed == nil || q.asked >= most })
		return nil
	})
	sources := q.by[row.Target]
	switch {
	case err != nil:
		c.Seen = err.Error()
	case q.strange > 0:
		c.Seen = "somebody answers, and does not say who it is"
	case q.failed != nil:
		c.Seen = q.failure()
	case len(sources) == 0:
		c.Seen = q.met() + " answered"
	case row.want.IsValid() && sources[0] != row.want:
		c.Seen = fmt.Sprintf("it sees %s", sources[0])
	default:
		c.OK, c.Seen = true, fmt.Sprintf("so it does, after %.1f ms", q.took.Seconds()*1e3)
	}
}

// opens connects to a program's port, as a kubelet's probe of TCP does.
func (c *Check) opens(ctx context.Context, r *run, place *testbed.Place) {
	row := c.promise
	c.Expected = "it accepts connections"
	q := &questions{protocol: row.Protocol, to: row.to, patience: r.patienceWith(row.to.Addr())}
	err := place.Do(func() error {
		for range r.attempts() {
			start := time.Now()
			var conn net.Conn
			if conn, q.failed = (&net.Dialer{Timeout: q.patience}).DialContext(ctx, row.Protocol, row.to.String()); q.failed == nil {
				conn.Close()
			}
			if q.took = time.Since(start); q.failed == nil {
				break
			}
		}
		return nil
	})
	var late net.Error
	if errors.As(q.failed, &late) && late.Timeout() {
		q.failed = errSilence
	}
	switch {
	case err != nil:
		c.Seen = err.Error()
	case q.failed != nil:
		c.Seen = q.failure()
	default:
		c.OK, c.Seen = true, fmt.Sprintf("so it does, after %.1f ms", q.took.Seconds()*1e3)
	}
}

// bound looks whether a program has a port of UDP, since what it answers to whom is its own.
func (c *Check) bound(place *testbed.Place) {
	row := c.promise
	c.Expected = "it has the port, for all who reach it"
	all, err := testbed.Listeners(place)
	if err != nil {
		c.Seen = err.Error()
		return
	}
	c.OK = slices.ContainsFunc(all, func(l testbed.Listener) bool { return row.heardBy(l) })
	c.Seen = "so it has"
	if !c.OK {
		c.Seen = "it has not"
	}
}

// runs looks whether a program runs, or has ended well where it is to end.
func (c *Check) runs(found *machines) {
	c.Expected = "it runs"
	switch said, err := found.ask(c.promise.At); {
	case err != nil:
		c.Seen = err.Error()
	case said.pid == 0:
		c.Seen = "it does not run"
	case said.crashes():
		c.Seen = said.Ended + "; it is started again and again"
	default:
		c.OK, c.Seen = true, said.State
	}
}

// heardBy reports whether what comes to the promised port comes to a listener.
func (row *promiseRow) heardBy(l testbed.Listener) bool {
	if l.Protocol != row.Protocol || int(l.At.Port()) != row.Port {
		return false
	}
	a := l.At.Addr()
	return a == row.to.Addr() || a.IsUnspecified() && (a.Is6() || row.to.Addr().Is4())
}
