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

// Protocol is what carries requests.
type Protocol int

const (
	TCP Protocol = iota
	UDP
)

// Requests says what a client asks of a server that only answers.
type Requests struct {
	Protocol    Protocol
	Size, Reply int           // bytes of a request and of its answer; without a number the fewest there can be
	Depth       int           // requests in flight; without a number one
	Timeout     time.Duration // after which a datagram that is not answered is lost; without one, 200 ms
	Step        time.Duration // of the time series; none without
}

// Transactions is what came of them.
type Transactions struct {
	Run
	Count   int64      // answered within the window
	Lost    int64      // given up within the window: datagrams, and connections that were reset
	Late    int64      // answered after all, but too late, over the whole run
	Latency *Histogram // from a request to its answer, of those answered
	Series  Series
}

// Rate returns transactions per second.
func (t Transactions) Rate() float64 { return float64(t.Count) / t.Window.Seconds() }

// Percentile returns the round-trip time that so many per cent of the transactions did not exceed.
func (t Transactions) Percentile(percent float64) time.Duration { return t.Latency.Percentile(percent) }

// Millions returns the transactions in units that CPU time can be divided by.
func (t Transactions) Millions() float64 { return float64(t.Count) / 1e6 }

// RunTransactions keeps so many requests in flight: whenever one is answered, the next is sent.
func RunTransactions(ctx context.Context, cfg Config, what Requests) (Transactions, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	t, err := s.transactions(what)
	if err != nil {
		return Transactions{}, s.canceled(err)
	}
	t.Run, err = s.run()
	return *t, err
}

// RunLoaded does the same while streams run between the same ends, on the same CPUs. What the machine spent, it spent on both.
func RunLoaded(ctx context.Context, cfg Config, what Requests, load Streams) (Transactions, Stream, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	t, err := s.transactions(what)
	if err != nil {
		return Transactions{}, Stream{}, s.canceled(err)
	}
	streams, err := s.streams(load)
	if err != nil {
		return Transactions{}, Stream{}, s.canceled(err)
	}
	t.Run, err = s.run()
	return *t, streams.result(t.Run), err
}

// transactions opens sockets for requests, and adds both ends' threads to the session.
func (s *session) transactions(what Requests) (*Transactions, error) {
	fewest := 1
	if what.Protocol == UDP {
		fewest = ticket
	}
	what.Size, what.Reply, what.Depth = or(what.Size, fewest), or(what.Reply, fewest), or(what.Depth, 1)
	if what.Size < fewest || what.Reply < fewest || what.Depth < 1 || what.Depth > mostInFlight {
		return nil, fmt.Errorf("requests of %d bytes, answers of %d, %d in flight: %d bytes are the fewest, and 1 to %d can be in flight",
			what.Size, what.Reply, what.Depth, fewest, mostInFlight)
	}
	t := &Transactions{Latency: NewHistogram(), Series: s.series(what.Step)}
	request, answer := make([]byte, what.Size), make([]byte, what.Reply)
	if what.Protocol == UDP {
		client, server, err := s.pair()
		if err != nil {
			return nil, err
		}
		timeout := or(what.Timeout, 200*time.Millisecond)
		if err := patience(client.fd, unix.SO_RCVTIMEO, min(timeout, limit)); err != nil {
			return nil, err
		}
		c := &datagrams{session: s, Transactions: t, socket: client, request: request, slots: make([]slot, what.Depth), timeout: timeout}
		in := make([]byte, max(what.Size, what.Reply))
		s.add(end{side: s.Server, work: func() error { return answerDatagrams(server, in[:what.Size], answer) }})
		s.add(end{side: s.Client, work: func() error {
			defer server.wake()
			return c.ask(make([]byte, what.Reply))
		}})
		return t, nil
	}
	client, server, err := s.connect()
	if err != nil {
		return nil, err
	}
	s.senders = append(s.senders, client, server)
	in, out := make([]byte, what.Size*what.Depth), make([]byte, what.Reply*what.Depth)
	starts := make([]time.Duration, what.Depth)
	s.add(end{side: s.Server, work: func() error { return answerStream(server, in, what.Size, answer) }})
	s.add(end{side: s.Client, work: func() error { return t.ask(s, client, request, what.Reply, out, starts) }})
	return t, nil
}

// mostInFlight bounds how many requests there can be in flight.
const mostInFlight = 1 << 16

func or[T int | time.Duration](given, otherwise T) T {
	if given == 0 {
		return otherwise
	}
	return given
}

// answered counts a transaction.
func (t *Transactions) answered(s *session, start, end time.Duration) {
	if s.counts(end) {
		t.Count++
		t.Latency.record(end - start)
		t.Series.count(end-s.from, 1)
	}
}

// ask is the client's end over TCP, where answers come in the order of the requests. Starts has a place for each request
// in flight.
func (t *Transactions) ask(s *session, client *socket, request []byte, reply int, in []byte, starts []time.Duration) error {
	for i := range starts {
		starts[i] = now()
		if _, err := client.write(request); err != nil {
			return err
		}
	}
	stop := s.stop()
	for oldest, flying, got := 0, len(starts), 0; flying > 0; {
		n, err := client.read(in)
		if err != nil {
			return err
		}
		for got += n; got >= reply; got -= reply {
			end := now()
			t.answered(s, starts[oldest], end)
			if end < stop {
				starts[oldest] = end
				if _, err := client.write(request); err != nil {
					return err
				}
			} else {
				flying--
			}
			oldest = (oldest + 1) % len(starts)
		}
	}
	return client.finish()
}

// answerStream is the server's end over TCP: for each request an answer, until the client has finished.
func answerStream(server *socket, in []byte, size int, answer []byte) error {
	for got := 0; ; {
		n, err := server.read(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for got += n; got >= size; got -= size {
			if _, err := server.write(answer); err != nil {
				return err
			}
		}
	}
}

// A datagram begins with a ticket, which comes back with its answer: the slot of the request in flight, and how often that
// slot was used.
const ticket = 8

type slot struct {
	uses uint32
	sent time.Duration
}

// datagrams is the client's end over UDP.
type datagrams struct {
	*session
	*Transactions
	socket  *socket
	request []byte
	slots   []slot
	timeout time.Duration
}

func (c *datagrams) ask(in []byte) error {
	for i := range c.slots {
		if err := c.send(i, now()); err != nil {
			return err
		}
	}
	heard, stop := now(), c.stop()
	for check := 0; ; check = (check + 1) % len(c.slots) {
		n, err := c.socket.read(in)
		t := now()
		if t >= stop {
			return nil
		}
		switch {
		case errors.Is(err, errSilent):
			if t-heard > limit {
				return err
			}
			for i := range c.slots {
				if err := c.expire(i, t); err != nil {
					return err
				}
			}
			continue
		case err != nil:
			return err
		case n < ticket:
			return fmt.Errorf("an answer of %d bytes", n)
		}
		heard = t
		i, uses := int(binary.LittleEndian.Uint32(in)), binary.LittleEndian.Uint32(in[4:])
		if i >= len(c.slots) || c.slots[i].uses != uses {
			c.Late++
			continue
		}
		c.answered(c.session, c.slots[i].sent, t)
		if err := c.send(i, t); err != nil {
			return err
		}
		// While others are answered no timeout tells of one that is not.
		if err := c.expire(check, t); err != nil {
			return err
		}
	}
}

// send uses a slot for the next request.
func (c *datagrams) send(i int, t time.Duration) error {
	c.slots[i].uses++
	c.slots[i].sent = t
	binary.LittleEndian.PutUint32(c.request, uint32(i))
	binary.LittleEndian.PutUint32(c.request[4:], c.slots[i].uses)
	_, err := c.socket.write(c.request)
	return err
}

// expire gives up what has waited too long in a slot, and uses it for the next.
func (c *datagrams) expire(i int, t time.Duration) error {
	if t-c.slots[i].sent < c.timeout {
		return nil
	}
	if c.counts(t) {
		c.Lost++
	}
	return c.send(i, t)
}

// answerDatagrams is the server's end over UDP, until it is woken.
func answerDatagrams(server *socket, in, answer []byte) error {
	for {
		n, err := server.read(in)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errSilent): // the client knows better when to give up
			continue
		case err != nil:
			return err
		case n < ticket:
			return fmt.Errorf("a request of %d bytes", n)
		}
		copy(answer, in[:ticket])
		if _, err := server.write(answer); err != nil {
			if errors.Is(err, unix.EPIPE) {
				return nil
			}
			return err
		}
	}
}

// Exchange makes a connection and so many transactions over it. It teaches a path what it learns from its first packets
// (neighbours, forwarding entries), and shows that the path works at all.
func Exchange(ctx context.Context, cfg Config, transactions int) error {
	cfg.Warmup, cfg.Window = 0, 0
	s := newSession(ctx, cfg)
	defer s.close()
	client, server, err := s.connect()
	if err != nil {
		return s.canceled(err)
	}
	request, in, answer := make([]byte, 1), make([]byte, 1), make([]byte, 1)
	s.add(end{side: s.Server, work: func() error { return answerStream(server, in, 1, answer) }})
	s.add(end{side: s.Client, work: func() error {
		for range transactions {
			if _, err := client.write(request); err != nil {
				return err
			}
			if _, err := client.read(request); err != nil {
				return err
			}
		}
		return client.finish()
	}})
	_, err = s.run()
	return err
}
