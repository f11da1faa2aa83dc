// Package traffic is the load and latency engine: it sends between two ends and says what it saw. It knows nothing of
// namespaces: where a socket is opened is the caller's function, so its tests run on loopback.
//
//	RunStream        TCP streams as fast as they go, one or several, one way, the other or both; counted at the receivers
//	RunTransactions  request and response over TCP or UDP, so many in flight: a closed loop
//	RunLoaded        the same while streams run between the same ends
//	RunConnections   a new TCP connection for every request
//	RunSchedule      requests at a declared rate, whatever becomes of them: an open loop, timed from the intended send
//	RunPackets       datagrams at a declared rate: loss, order, delay
//	FindRate         the highest rate of datagrams that gets through
//
// Every thread of a run is an operating system thread that does nothing else: plain system calls on sockets and buffers made
// beforehand, no allocation while it counts, on the CPU that was declared. The congestion control is set for each socket,
// because a machine's default may be BBR, which paces.
//
// What is counted is a window in the middle of the flow, the same instants for every thread. The warm-up before it takes the
// slow start and whatever the path learns from its first packets; the flow goes on past its end, so that no tail of a
// stopping sender is in it either. All ends read one clock, so delays are known one way, not only there and back.
//
// A closed loop sends a request when the one before is answered. It tells the time of a round trip, not the latency under an
// offered rate: while the path stalls it does not ask. The open loop does, and counts the wait of every request that was due.
package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Open calls a function where sockets must be opened, such as in a namespace. The sockets stay there. The function may be all
// that a thread does in a run: calls must not wait for one another.
type Open func(func() error) error

// Unpinned leaves a thread to the scheduler.
const Unpinned = -1

// Side is one end of a flow.
type Side struct {
	Open Open
	Addr netip.Addr // the address that the socket is bound to
	CPU  int        // the CPU that the side's threads run on, or Unpinned
}

// Config says between which ends something flows, and for how long.
type Config struct {
	Client, Server Side // the client connects, and asks
	Warmup, Window time.Duration
	Tail           time.Duration // how long senders go on after the window; without a number, the constant of that name
	Congestion     string        // TCP congestion control of both ends' sockets
	Before         bool          // the threads that are pinned go before all others on their CPU, where that is permitted
	Idle           CPU           // what the machine spends in a second without the run, as MeasureIdle returns it
}

// Loopback returns the same run within one place, over its loopback device: what the engine itself can do here. A result near
// this ceiling tells of the engine rather than of the path.
func (cfg Config) Loopback(place Open) Config {
	cfg.Client.Open, cfg.Server.Open = place, place
	cfg.Client.Addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	cfg.Server.Addr = cfg.Client.Addr
	return cfg
}

// Takes estimates how long a run takes. FindRate makes several: see Search.
func (cfg Config) Takes() time.Duration { return cfg.Warmup + cfg.Window + or(cfg.Tail, Tail) + quiet }

// Run is what every result says of its window.
type Run struct {
	Socket
	Window time.Duration
	CPU    CPU // spent within the window, in the whole machine

	// Elsewhere is how often, within the window, CPUs worked on packets that neither end was on. It is counted where both
	// ends are on one CPU: then it is none of the run's, or work that has left that CPU.
	Elsewhere int64
}

// limit is how long a socket may wait for anything. A path that is silent for so long is broken; a lossy one recovers by
// then.
const limit = 5 * time.Second

// Tail is how long senders go on after the window, unless it is said otherwise.
const Tail = 20 * time.Millisecond

// quiet is how long a receiver of datagrams waits for more when the sender has ended.
const quiet = 100 * time.Millisecond

// session is a run in the making: its sockets, and what each of its threads does.
type session struct {
	Config
	ctx      context.Context
	opened   []opened
	senders  []*socket // of TCP: they know what was retransmitted
	ends     []end
	from, to time.Duration // the window, on the engine's clock; known when the ends start
}

// opened is what a session wakes when an end fails, and closes when all have returned.
type opened interface {
	wake()
	close()
}

// An end is a thread of a run.
type end struct {
	side   Side
	inside bool // it opens sockets itself, and so runs in the side's place
	work   func() error
}

func newSession(ctx context.Context, cfg Config) *session { return &session{Config: cfg, ctx: ctx} }

func (s *session) close() {
	for _, o := range s.opened {
		o.close()
	}
}

// add registers threads.
func (s *session) add(ends ...end) { s.ends = append(s.ends, ends...) }

// counts says whether an instant lies in the window.
func (s *session) counts(t time.Duration) bool { return s.from <= t && t < s.to }

// stop is when senders stop.
func (s *session) stop() time.Duration { return s.to + or(s.Tail, Tail) }

// run starts all threads at once, and returns when all have ended. The one that fails first wakes the others.
func (s *session) run() (Run, error) {
	room(len(s.ends))
	var ready, ends sync.WaitGroup
	begin, done := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var cause error // what went wrong first; the other ends only notice
	for _, e := range s.ends {
		ready.Add(1)
		ends.Go(func() {
			stands := sync.OnceFunc(ready.Done)
			defer stands()
			thread := func() error {
				return pinned(e.side.CPU, s.Before, func() error {
					stands()
					<-begin
					return e.work()
				})
			}
			var err error
			if e.inside {
				err = e.side.Open(thread)
			} else {
				err = thread()
			}
			if err != nil {
				first.Do(func() { cause = s.explain(err) })
				for _, o := range s.opened {
					o.wake()
				}
			}
		})
	}
	ready.Wait()
	s.from = now() + s.Warmup
	s.to = s.from + s.Window
	close(begin)
	go func() { ends.Wait(); close(done) }()
	r, err := s.meter(done)
	<-done
	if cause == nil {
		cause = err
	}
	return r, s.canceled(cause)
}

// meter reads the kernel's counters when the window begins and when it ends.
func (s *session) meter(done <-chan struct{}) (Run, error) {
	r := Run{Window: s.Window}
	before, after := counters{retransmits: make([]uint32, len(s.senders))}, counters{retransmits: make([]uint32, len(s.senders))}
	stat, err := openStat()
	if err != nil {
		return r, err
	}
	defer stat.close()
	var others *softirqs
	if s.Client.CPU == s.Server.CPU && s.Client.CPU != Unpinned {
		if others, err = openSoftirqs(); err != nil {
			return r, err
		}
		defer others.close()
	}
	for _, at := range []struct {
		time time.Duration
		into *counters
	}{{s.from, &before}, {s.to, &after}} {
		select {
		case <-time.After(at.time - now()):
		case <-done:
			if now() < at.time {
				return r, nil // it failed, or there is nothing to measure
			}
		}
		if err := s.read(stat, others, at.into); err != nil {
			return r, err
		}
	}
	r.CPU = after.cpu.minus(before.cpu).scaled(s.Window, after.time-before.time)
	r.CPU = r.CPU.minus(s.Idle.working().scaled(s.Window, time.Second))
	r.Elsewhere = after.elsewhere - before.elsewhere
	for i := range s.senders {
		r.Retransmits += int(after.retransmits[i] - before.retransmits[i])
	}
	if len(s.senders) > 0 {
		info, err := s.senders[0].info()
		if err != nil {
			return r, s.explain(err)
		}
		r.Congestion, r.MSS = info.Congestion, info.MSS
	}
	return r, nil
}

// counters are the kernel's counters at one time.
type counters struct {
	time        time.Duration
	cpu         CPU
	elsewhere   int64
	retransmits []uint32
}

func (s *session) read(stat *stat, others *softirqs, into *counters) (err error) {
	into.time = now()
	if into.cpu, err = stat.read(); err != nil {
		return err
	}
	if others != nil {
		if into.elsewhere, err = others.elsewhere(s.Client.CPU); err != nil {
			return err
		}
	}
	for i, sender := range s.senders {
		if into.retransmits[i], err = sender.retransmits(); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

func (s *session) explain(err error) error {
	return fmt.Errorf("%s to %s: %w", s.Client.Addr, s.Server.Addr, err)
}

// canceled says that the work was cancelled rather than what that did to the sockets.
func (s *session) canceled(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return err
}

// Series is what came in each step of the window, one after the other.
type Series struct {
	Step   time.Duration
	Counts []int64
}

func (s *session) series(step time.Duration) Series {
	if step <= 0 {
		return Series{}
	}
	return Series{Step: step, Counts: make([]int64, (s.Window+step-1)/step)}
}

// count adds to the step that lies so long after the window's begin.
func (s Series) count(after time.Duration, n int64) {
	if s.Step > 0 {
		s.Counts[after/s.Step] += n
	}
}

// sum adds up series of the same window.
func sum(all []Series) Series {
	total := Series{Step: all[0].Step, Counts: slices.Clone(all[0].Counts)}
	for _, s := range all[1:] {
		for i, n := range s.Counts {
			total.Counts[i] += n
		}
	}
	return total
}
