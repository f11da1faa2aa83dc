package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Schedule says what requests a client sends, and when: evenly spread, whether or not those before were answered.
type Schedule struct {
	Protocol    Protocol
	Size, Reply int // bytes of a request and of its answer; without a number the fewest there can be, 32
	PerSecond   float64
}

// Timing is what became of the requests that were due within the window.
//
// The client sleeps until a request is almost due or an answer comes, and waits for the rest in a loop.
type Timing struct {
	Run
	Due      int64 // within the window
	Answered int64
	Lag      *Histogram // from when a request was due to when it was sent: the client's own delay, and TCP's when it takes no more
	Latency  *Histogram // from when it was due to its answer
	Forward  *Histogram // one way: from when it was sent until the server had it
	Back     *Histogram // one way: from when the server answered until the client had the answer
}

// Lost returns how many requests were never answered: not within a while after the window.
func (t Timing) Lost() int64 { return t.Due - t.Answered }

// Millions returns the answered requests in units that CPU time can be divided by.
func (t Timing) Millions() float64 { return float64(t.Answered) / 1e6 }

// A request begins with its number and the time of its sending; to its answer, the server adds when it had the request and
// when it answered.
const stamps = 32

// RunSchedule is the open loop: a request that is due is sent, or counts as waiting, whatever the path does.
func RunSchedule(ctx context.Context, cfg Config, what Schedule) (Timing, error) {
	return runSchedule(ctx, cfg, what, func() {})
}

// runSchedule calls a function of the test's before each answer.
func runSchedule(ctx context.Context, cfg Config, what Schedule, before func()) (Timing, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	what.Size, what.Reply = or(what.Size, stamps), or(what.Reply, stamps)
	if what.Size < stamps || what.Reply < stamps {
		return Timing{}, fmt.Errorf("requests of %d bytes, answers of %d: %d are the fewest", what.Size, what.Reply, stamps)
	}
	p, err := newPlan(cfg, what.PerSecond)
	if err != nil {
		return Timing{}, err
	}
	t := &Timing{Due: p.next - p.first, Lag: NewHistogram(), Latency: NewHistogram(), Forward: NewHistogram(), Back: NewHistogram()}
	open := s.connect
	if what.Protocol == UDP {
		open = s.pair
	}
	client, server, err := open()
	if err != nil {
		return Timing{}, s.canceled(err)
	}
	if what.Protocol == TCP {
		s.senders = append(s.senders, client, server)
	}
	c := &asker{
		session: s, Timing: t, plan: p, cohort: newCohort(p), socket: client, stream: what.Protocol == TCP,
		out: make([]byte, what.Size), in: make([]byte, what.Reply), poll: []unix.PollFd{{Fd: int32(client.fd)}},
	}
	in, answer := make([]byte, what.Size), make([]byte, what.Reply)
	s.add(end{side: cfg.Server, work: func() error { return answerStamped(server, what.Protocol == TCP, in, answer, before) }})
	s.add(end{side: cfg.Client, work: func() error {
		defer server.wake()
		return c.run()
	}})
	t.Run, err = s.run()
	t.Answered = c.cohort.received
	return *t, err
}

// asker is the client's end: one thread that sends and receives, and never waits for the one when the other is due.
type asker struct {
	*session
	*Timing
	plan   plan
	cohort *cohort
	socket *socket
	stream bool

	next    int64 // the next request to send
	out     []byte
	written int // bytes of it: a stream may take a part
	in      []byte
	got     int // bytes of an answer: a stream may give a part

	poll []unix.PollFd
	wait unix.Timespec
}

// early is how long before a request is due the client stops sleeping: a sleeper wakes late.
const early = 60 * time.Microsecond

func (c *asker) run() error {
	// The kernel gathers wake-ups that are near to each other, 50 µs by default: not this thread's.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }()
	begin := c.from - c.Warmup
	heard := begin
	for {
		if err := c.send(begin); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		n, err := c.receive(begin)
		if err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
		t := now()
		if n > 0 {
			heard = t
			continue
		}
		if c.stream && t-heard > limit+c.plan.due(1) {
			return errSilent
		}
		if c.next == c.plan.all && c.written == 0 {
			// A stream answers all; of datagrams, none may come any more.
			if c.cohort.highest == c.plan.all-1 && c.stream || !c.stream && t > max(heard, c.stop())+quiet {
				return nil
			}
		}
		if err := c.sleep(begin, t); err != nil {
			return err
		}
	}
}

// send sends what is due.
func (c *asker) send(begin time.Duration) error {
	for c.next < c.plan.all {
		at := begin + c.plan.due(c.next)
		t := now()
		if t < at {
			return nil
		}
		if c.written == 0 {
			binary.LittleEndian.PutUint64(c.out, uint64(c.next))
			binary.LittleEndian.PutUint64(c.out[8:], uint64(t))
		}
		n, err := c.socket.try(unix.SYS_SENDTO, c.out[c.written:])
		if err != nil {
			return err
		}
		if c.stream {
			if n == 0 {
				return nil // it takes no more now
			}
			if c.written += n; c.written < len(c.out) {
				continue
			}
			c.written = 0
		}
		if c.plan.counts(c.next) {
			c.Lag.record(time.Duration(binary.LittleEndian.Uint64(c.out[8:])) - at)
		}
		c.next++
	}
	return nil
}

// receive takes what there is of one answer.
func (c *asker) receive(begin time.Duration) (int, error) {
	n, err := c.socket.try(unix.SYS_RECVFROM, c.in[c.got:])
	if err != nil || n == 0 {
		return 0, err
	}
	t := now()
	if c.stream {
		if c.got += n; c.got < len(c.in) {
			return n, nil
		}
		c.got = 0
	} else if n < stamps {
		return 0, fmt.Errorf("an answer of %d bytes", n)
	}
	field := func(i int) time.Duration { return time.Duration(binary.LittleEndian.Uint64(c.in[8*i:])) }
	if number := int64(field(0)); c.cohort.arrived(number) {
		c.Latency.record(t - begin - c.plan.due(number))
		c.Forward.record(field(2) - field(1))
		c.Back.record(t - field(3))
	}
	return n, nil
}

// sleep waits for an answer, or until the next request is almost due.
func (c *asker) sleep(begin, t time.Duration) error {
	until := t + time.Millisecond
	c.poll[0].Events = unix.POLLIN
	if c.next < c.plan.all {
		if c.written > 0 || begin+c.plan.due(c.next) <= t {
			c.poll[0].Events |= unix.POLLOUT // it took no more
		} else {
			until = begin + c.plan.due(c.next) - early
		}
	}
	if until <= t {
		return nil
	}
	c.wait = unix.NsecToTimespec((until - t).Nanoseconds())
	if _, err := unix.Ppoll(c.poll, &c.wait, nil); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

// answerStamped is the server's end, until it is woken.
func answerStamped(server *socket, stream bool, in, answer []byte, before func()) error {
	for got := 0; ; {
		n, err := server.read(in[got:])
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errSilent) && !stream:
			continue
		case err != nil:
			return err
		}
		t := now()
		if got += n; stream && got < len(in) {
			continue
		}
		if got < stamps {
			return fmt.Errorf("a request of %d bytes", got)
		}
		got = 0
		before()
		copy(answer, in[:16])
		binary.LittleEndian.PutUint64(answer[16:], uint64(t))
		binary.LittleEndian.PutUint64(answer[24:], uint64(now()))
		if _, err := server.write(answer); err != nil {
			if errors.Is(err, unix.EPIPE) {
				return nil
			}
			return err
		}
	}
}
