// Package trace sends one marked packet through a lab and sees it in every namespace that it crosses.
package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
	"labnet/testbed/predict"
)

// Target is where a probe comes from or goes to.
type Target struct {
	Title     string
	Namespace string     // empty: an address that no machine of the lab has
	Address   netip.Addr // of the sender: none, and the kernel chooses
}

// Options are what to trace.
type Options struct {
	From, To Target
	Protocol string
	Port     int // 0: one where lab itself answers
	Size     int // of the IP packet
	DF       bool
	Wait     time.Duration
	Backend  string
}

// Back ends.
const (
	Auto       = "auto"
	Tracepoint = "tracepoint"
	Packet     = "packet"
)

// Backends are all of them.
var Backends = []string{Auto, Tracepoint, Packet}

// eyes see marked packets.
type eyes interface {
	next(deadline time.Time) (trace.Sight, error)
	close()
}

// Run sends a probe through a running lab, and returns what became of it and of what came back.
func Run(ctx context.Context, p *plan.Plan, opt Options) (*trace.Trace, error) {
	there, back, err := predict.Exchange(ctx, p, predict.Probe{
		From: opt.From.Namespace, Source: opt.From.Address, To: opt.To.Address, At: opt.To.Namespace, Protocol: opt.Protocol,
		Port: uint16(opt.Port), Size: opt.Size, DF: opt.DF,
	})
	if err != nil {
		return nil, fmt.Errorf("predicting its way: %w", err)
	}
	expected := trace.Prediction{There: there}
	if there.Disposition == trace.Arrived {
		expected.Back = &back
	}
	m, start := devices(p.State), time.Now()
	seen, err := capture(ctx, p.Cluster.Name, opt, m, expected)
	if err != nil {
		return nil, err
	}
	t := &trace.Trace{
		From: opt.From.Title, To: opt.To.Title, Address: opt.To.Address.String(), Protocol: opt.Protocol, Port: seen.Port, Size: opt.Size, Backend: seen.Backend, Start: start,
	}
	owners := map[string]string{}
	for _, e := range p.Cluster.Everyone() {
		owners[e.Address.String()] = e.Namespace
	}
	t.There, t.Back, t.Answered = seen.Walks(trace.Places{From: opt.From.Namespace, To: opt.To.Namespace, Owners: owners}, m)
	t.Beside(expected)
	return t, nil
}

// devices is what a plan says about the devices of a lab.
func devices(s *plan.State) *trace.Map {
	m := &trace.Map{Wires: map[trace.At]trace.At{}, MACs: map[string]trace.At{}, Below: map[trace.At]trace.At{}, Own: map[string]trace.At{}}
	var addresses []plan.Address
	shared := map[trace.At]bool{} // devices with the MAC address of what they stand on
	s.Each(func(o plan.Object) {
		if a, ok := o.(plan.Address); ok {
			addresses = append(addresses, a)
		}
		l, ok := o.(plan.Link)
		if !ok {
			return
		}
		at := trace.At{Namespace: l.Namespace, Device: l.Name}
		if l.Peer() != (plan.End{}) {
			m.Wires[at] = trace.At{Namespace: l.Peer().Namespace, Device: l.Peer().Name}
		}
		if below := l.Below(); below.Namespace != "" && below.Namespace != l.Namespace {
			m.Below[at] = trace.At{Namespace: below.Namespace, Device: below.Name}
			_, shared[at] = l.Device.(plan.IPVLAN)
		}
		if l.MAC != "" {
			m.MACs[l.MAC] = at
		}
	})
	for _, a := range addresses {
		if at := (trace.At{Namespace: a.Namespace, Device: a.Link}); shared[at] {
			m.Own[a.Prefix.Addr().String()] = at
		}
	}
	return m
}

// look attaches to the kernel's tracepoints, or where they are not available opens packet sockets.
func look(m mark, opt Options, spaces map[uint32]space, known *trace.Map, expected trace.Prediction) (eyes, string, error) {
	if opt.Backend != Packet {
		points, err := attach(m, spaces)
		if err == nil || opt.Backend == Tracepoint {
			return points, Tracepoint, err
		}
	}
	sockets, err := watch(m, near(spaces, opt, known, expected))
	return sockets, Packet, err
}

// few is how many namespaces are watched whatever is predicted.
const few = 64

// near are the namespaces in which a packet is watched for: in a large lab those that it is predicted to pass, the two ends, and
// what is plugged into any of these.
func near(spaces map[uint32]space, opt Options, known *trace.Map, expected trace.Prediction) []space {
	way := map[string]bool{opt.From.Namespace: true, opt.To.Namespace: true}
	for _, w := range []*trace.Walk{&expected.There, expected.Back} {
		if w != nil {
			for _, h := range w.Hops {
				way[h.Namespace] = true
			}
		}
	}
	wanted := maps.Clone(way)
	for a, b := range known.Wires {
		if way[a.Namespace] {
			wanted[b.Namespace] = true
		}
	}
	var list []space
	for _, s := range spaces {
		if len(spaces) <= few || wanted[s.name] {
			list = append(list, s)
		}
	}
	return list
}

func capture(ctx context.Context, lab string, opt Options, known *trace.Map, expected trace.Prediction) (*trace.Capture, error) {
	if os.Geteuid() != 0 {
		return nil, testbed.ErrNotRoot
	}
	spaces, err := spacesOf(lab)
	if err != nil {
		return nil, err
	}
	end, err := testbed.BeginTracing()
	if err != nil {
		return nil, err
	}
	defer func() { _ = end() }()
	m := newMark(opt.Protocol == "tcp")
	r, err := opt.answer(m)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if opt.Protocol == "udp" && r.udp == nil && opt.Port != 0 {
		p, err := opt.dial(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", opt.From.Title, err)
		}
		m.answer = p.ask(min(opt.Wait, programAnswers))
		p.close()
	}
	for try := 0; ; try++ {
		c, heard, err := once(ctx, m, opt, spaces, known, expected)
		if err != nil || heard == nil || bytes.Equal(heard, m.answer) || try == mostAnswers {
			return c, err
		}
		m.answer = heard // another of several programs
	}
}

const (
	// programAnswers is how long a program may take to answer a datagram, before it is traced.
	programAnswers = time.Second
	// mostAnswers is how often a program is asked again that answered otherwise than before.
	mostAnswers = 20
)

// once sends the probe and sees what becomes of it. heard is how a program's answer ended that came back.
func once(ctx context.Context, m mark, opt Options, spaces map[uint32]space, known *trace.Map, expected trace.Prediction) (c *trace.Capture, heard []byte, err error) {
	c = &trace.Capture{}
	var seer eyes
	if seer, c.Backend, err = look(m, opt, spaces, known, expected); err != nil {
		return nil, nil, err
	}
	defer seer.close()
	p, err := opt.dial(m)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", opt.From.Title, err)
	}
	defer p.close()
	if err := p.send(); err != nil {
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			return nil, nil, err
		}
		c.Refused = errno.Error()
	}
	c.Source, c.To, c.Port = p.from, opt.To.Address, opt.Port
	if m.answer != nil {
		if heard = p.heard(opt.Wait); heard != nil && !bytes.Equal(heard, m.answer) {
			return c, heard, nil
		}
	}
	if c.Sights, err = collect(ctx, seer, opt, known); err != nil {
		return nil, nil, err
	}
	if sockets, ok := seer.(*taps); ok {
		c.Sights = sockets.losses(c.Sights, known)
		return c, heard, nil
	}
	resolve(c.Sights)
	return c, heard, nil
}

// quiet is how long nothing must be seen for a trace to be over, when everything that was seen has come to its end.
const quiet = 20 * time.Millisecond

// collect takes what is seen until it is complete, or time is up.
func collect(ctx context.Context, seer eyes, opt Options, m *trace.Map) ([]trace.Sight, error) {
	var sights []trace.Sight
	for end := time.Now().Add(opt.Wait); ctx.Err() == nil; {
		s, err := seer.next(time.Now().Add(quiet))
		switch {
		case err == nil:
			sights = append(sights, s)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case trace.Complete(sights, opt.From.Namespace, m) || time.Now().After(end):
			return sights, nil
		}
	}
	return sights, ctx.Err()
}

// spacesOf finds the namespaces of a lab by the number that the kernel gives them.
func spacesOf(lab string) (map[uint32]space, error) {
	numbers, err := testbed.Numbers(lab + ".")
	if err != nil {
		return nil, err
	}
	spaces := map[uint32]space{}
	for number, name := range numbers {
		spaces[number] = space{name, strings.Replace(strings.TrimPrefix(name, lab+"."), ".", "/", 1)}
	}
	return spaces, nil
}

// resolve puts names where the kernel told numbers.
func resolve(sights []trace.Sight) {
	addresses := map[string]string{}
	devices := map[trace.At]string{} // by number
	for _, s := range sights {
		if s.Event == trace.Dropped {
			addresses[s.Where] = ""
		}
		if s.Came != "" {
			devices[trace.At{Namespace: s.Namespace, Device: s.Came}] = ""
		}
	}
	functions(addresses)
	var spaces []string
	for d := range devices {
		spaces = append(spaces, d.Namespace)
	}
	slices.Sort(spaces)
	for _, ns := range slices.Compact(spaces) {
		place, err := testbed.Open(ns)
		if err != nil {
			continue
		}
		_ = place.Do(func() error {
			list, err := net.Interfaces()
			for _, dev := range list {
				if at := (trace.At{Namespace: ns, Device: strconv.Itoa(dev.Index)}); devices[at] == "" {
					devices[at] = dev.Name
				}
			}
			return err
		})
		place.Close()
	}
	for i, s := range sights {
		sights[i].Where = addresses[s.Where]
		sights[i].Came = devices[trace.At{Namespace: s.Namespace, Device: s.Came}]
	}
}
