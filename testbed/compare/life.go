package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
)

// lives goes through the rounds of what is no traffic. They come last: the kernel is busy for seconds after a lab is removed.
func (r *run) lives(ctx context.Context) error {
	if r.cfg.lifetimes() == 0 {
		return nil
	}
	r.wire = r.cfg.Wires[0]
	if r.lived() == 0 {
		if err := r.growth(ctx); err != nil {
			return err
		}
	}
	for round := r.lived() + 1; round <= r.cfg.lifetimes(); round++ {
		order := rand.New(rand.NewPCG(r.cfg.Seed, 1<<41|uint64(round))).Perm(len(r.subjects))
		each := make([][]report.Sample, len(r.subjects))
		for _, i := range order {
			s := r.subjects[i]
			if s.Life == nil {
				continue
			}
			r.next(fmt.Sprintf("lifecycle, round %d of %d", round, r.cfg.lifetimes()), life)
			var err error
			if each[i], err = r.live(ctx, s, round); err != nil {
				return fmt.Errorf("round %d, mode %s, building it anew: %w", round, s.Mode, err)
			}
		}
		r.results.Samples = append(r.results.Samples, slices.Concat(each...)...)
		if len(r.cells) == 0 {
			r.results.Rounds = max(r.results.Rounds, round)
		}
		if err := r.keep(); err != nil {
			return err
		}
	}
	return nil
}

// lived is how many of these rounds are finished.
func (r *run) lived() (rounds int) {
	for _, s := range r.results.Samples {
		if s.Measure == "build" {
			rounds = max(rounds, s.Round)
		}
	}
	return rounds
}

// live builds another instance, looks at what it is made of, sends the first packet through it, pulls a cable and puts it
// back, and removes it: what differs between modes and is no traffic.
func (r *run) live(ctx context.Context, s *subject, round int) (got []report.Sample, err error) {
	p := s.Life
	add := func(path, measure, metric, params string, value float64, unit string) {
		got = append(got, report.Sample{
			Mode: s.Mode, Datapath: s.Datapath, Wire: r.wire.Name, Path: path, Measure: measure, Metric: metric, Params: params,
			Round: round, Value: value, Unit: unit,
		})
	}
	pods := 0
	for _, n := range p.Cluster.Nodes {
		pods += len(n.Pods)
	}
	size := fmt.Sprintf("nodes=%d pods=%d", len(p.Cluster.Nodes), pods)
	start := time.Now()
	if err := r.cfg.Bring(ctx, p); err != nil {
		return got, err
	}
	add("-", "build", "up", size, time.Since(start).Seconds(), "s")
	defer func() {
		start := time.Now()
		err = errors.Join(err, r.cfg.Down(context.WithoutCancel(ctx), p.Cluster.Name))
		add("-", "build", "down", size, time.Since(start).Seconds(), "s")
	}()
	node, err := testbed.Open(p.Cluster.Nodes[0].Namespace)
	if err != nil {
		return got, err
	}
	defer node.Close()
	n, err := testbed.Count(node)
	if err != nil {
		return got, err
	}
	add("-", "objects", "routes", "per=node", float64(n.Routes), "")
	add("-", "objects", "neighbours", "per=node", float64(n.Neighbours), "")
	add("-", "objects", "FDB entries", "per=node", float64(n.FDB), "")
	agents, err := testbed.Agents(node)
	if err != nil {
		return got, err
	}
	var memory uint64
	for _, a := range agents {
		m, err := a.Memory()
		if err != nil {
			return got, err
		}
		memory += m
	}
	add("-", "memory", "processes", "per=node", float64(memory)/(1<<20), "MiB")
	if all := routes(p.Cluster); all.missing(crossNode, p) == "" {
		first, back, err := r.outage(ctx, p, all[crossNode])
		if err != nil {
			return got, err
		}
		add(crossNode, "first-packet", "time", "", micros(first), "µs")
		add(crossNode, "convergence", "time", "cable-out="+unplugged.String(), float64(back.Microseconds())/1e3, "ms")
	}
	return got, attachments(ctx, p, func(measure, metric, params string, ms float64) { add("-", measure, metric, params, ms, "ms") })
}

// growth counts once for each mode what a node more costs the others: it builds the lab with a node less.
func (r *run) growth(ctx context.Context) error {
	for i, s := range r.subjects {
		if s.Life == nil || s.Smaller == nil {
			continue
		}
		r.say("counting what a node costs the others", i+1, len(r.subjects))
		var tallies []testbed.Tally
		for _, p := range []*plan.Plan{s.Smaller, s.Life} {
			n, err := r.tally(ctx, p)
			if err != nil {
				return fmt.Errorf("mode %s: %w", s.Mode, err)
			}
			tallies = append(tallies, n)
		}
		was, is := tallies[0], tallies[1]
		for _, g := range []struct {
			of   string
			more int
		}{{"routes", is.Routes - was.Routes}, {"neighbours", is.Neighbours - was.Neighbours}, {"FDB entries", is.FDB - was.FDB}} {
			r.results.Samples = append(r.results.Samples, report.Sample{
				Mode: s.Mode, Datapath: s.Datapath, Wire: r.wire.Name, Path: "-", Measure: "objects", Metric: g.of, Params: "per=node-added",
				Round: 1, Value: float64(g.more),
			})
		}
	}
	return nil
}

// tally builds a plan, counts what its first node holds, and removes it.
func (r *run) tally(ctx context.Context, p *plan.Plan) (n testbed.Tally, err error) {
	if err := r.cfg.Bring(ctx, p); err != nil {
		return n, err
	}
	defer func() { err = errors.Join(err, r.cfg.Down(context.WithoutCancel(ctx), p.Cluster.Name)) }()
	node, err := testbed.Open(p.Cluster.Nodes[0].Namespace)
	if err != nil {
		return n, err
	}
	defer node.Close()
	return testbed.Count(node)
}

const (
	unplugged = 500 * time.Millisecond // how long the cable is out
	beat      = 500 * time.Microsecond // between datagrams that ask whether the path is back
	patience  = 10 * time.Second       // until it has to be
)

// outage sends the first packet that ever crosses the way, and then asks again and again while the receiving node's cable is
// out. It returns how long the first answer took, and how long after the cable was back answers came again.
func (r *run) outage(ctx context.Context, p *plan.Plan, way route) (first, back time.Duration, err error) {
	places := map[string]*testbed.Place{}
	uplink := way.to.Node.Uplink()
	sw := p.Cluster.NamespaceOf(uplink.Switch.Name)
	for _, name := range []string{way.from.Namespace, way.to.Namespace, sw} {
		if places[name], err = testbed.Open(name); err != nil {
			return 0, 0, err
		}
		defer places[name].Close()
	}
	server, err := datagrams(places[way.to.Namespace], way.to.Address)
	if err != nil {
		return 0, 0, err
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = server.WriteToUDPAddrPort(buf[:n], from)
			}
		}
	}()
	client, err := datagrams(places[way.from.Namespace], way.from.Address)
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	to := netip.AddrPortFrom(way.to.Address, server.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if first, err = answered(ctx, client, to, patience); err != nil {
		return 0, 0, fmt.Errorf("the first packet from %s to %s: %w", way.from.Title, way.to.Title, err)
	}
	port := p.Cluster.Port(way.to.Node)
	if err := testbed.Plug(places[sw], port, false); err != nil {
		return 0, 0, err
	}
	for until := time.Now().Add(unplugged); time.Now().Before(until) && ctx.Err() == nil; {
		if _, err := answered(ctx, client, to, beat); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, 0, err
		}
	}
	begin := time.Now()
	if err := testbed.Plug(places[sw], port, true); err != nil {
		return 0, 0, err
	}
	back, err = answered(ctx, client, to, patience)
	if err != nil {
		return 0, 0, fmt.Errorf("after the cable of %s was back, from %s to %s: %w", way.to.Node.Name, way.from.Title, way.to.Title, err)
	}
	return first, time.Since(begin), nil
}

func datagrams(place *testbed.Place, at netip.Addr) (conn *net.UDPConn, err error) {
	err = place.Do(func() error {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	return conn, err
}

// answered sends datagrams until one is answered, and returns how long that took from the first.
func answered(ctx context.Context, client *net.UDPConn, to netip.AddrPort, within time.Duration) (time.Duration, error) {
	begin := time.Now()
	var sent uint32
	buf := make([]byte, 64)
	for time.Since(begin) < within {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		sent++
		if _, err := client.WriteToUDPAddrPort([]byte{byte(sent >> 24), byte(sent >> 16), byte(sent >> 8), byte(sent)}, to); err != nil && !passing(err) {
			return 0, err
		}
		if err := client.SetReadDeadline(time.Now().Add(beat)); err != nil {
			return 0, err
		}
		_, _, err := client.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
			return time.Since(begin), nil
		case !errors.Is(err, os.ErrDeadlineExceeded) && !passing(err):
			return 0, err
		}
	}
	return 0, fmt.Errorf("no answer within %s: %w", within, os.ErrDeadlineExceeded)
}

// passing reports whether an error says that the path is down, which is what is being measured.
func passing(err error) bool {
	return errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.ENOBUFS)
}
