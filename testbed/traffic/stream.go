package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// block is what one write hands to the kernel: as much as iperf3's.
const block = 128 << 10

// Direction is which end sends a stream.
type Direction int

const (
	Forward Direction = iota // the client sends
	Reverse                  // the server sends
	Both                     // so many streams each way
)

// Streams says what streams there are.
type Streams struct {
	Count     int // in each direction; no number means one
	Direction Direction
	Step      time.Duration // of the time series; none without
}

// Stream is what came of sending streams.
type Stream struct {
	Run
	Flows    []Flow
	Bytes    int64 // received within the window, in all flows
	Sent     int64 // over the whole connections
	Received int64 // the same, unless there is an error
	Series   Series
}

// Flow is one of several streams.
type Flow struct {
	Reverse bool
	Bytes   int64 // received within the window
}

// Goodput returns the payload that arrived within the window, in Gbit/s.
func (s Stream) Goodput() float64 { return s.Gbit() / s.Window.Seconds() }

// Gbit returns the payload that arrived within the window: what CPU time can be divided by.
func (s Stream) Gbit() float64 { return float64(s.Bytes) * 8 / 1e9 }

// RetransmitsPerGB returns how many segments were sent again for each 10⁹ bytes that arrived.
func (s Stream) RetransmitsPerGB() float64 { return float64(s.Retransmits) / (float64(s.Bytes) / 1e9) }

// RunStream sends streams for as long as the window and a little longer. What is on its way then is still received, so that
// every byte is accounted for.
func RunStream(ctx context.Context, cfg Config, what Streams) (Stream, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	streams, err := s.streams(what)
	if err != nil {
		return Stream{}, s.canceled(err)
	}
	run, err := s.run()
	return streams.result(run), err
}

// stream is one flow. What its ends counted is written here when they have ended: meanwhile they share no memory.
type stream struct {
	Flow
	from, to *socket
	sent     int64
	received int64
	series   Series
}

type streams []*stream

// streams connects what streams are wanted, and adds their threads to the session.
func (s *session) streams(what Streams) (streams, error) {
	var all streams
	for _, reverse := range []bool{false, true} {
		if reverse && what.Direction == Forward || !reverse && what.Direction == Reverse {
			continue
		}
		for range max(what.Count, 1) {
			client, server, err := s.connect()
			if err != nil {
				return nil, err
			}
			f := &stream{Flow: Flow{Reverse: reverse}, from: client, to: server, series: s.series(what.Step)}
			sender, receiver := s.Client, s.Server
			if reverse {
				f.from, f.to, sender, receiver = server, client, s.Server, s.Client
			}
			out, in := make([]byte, block), make([]byte, block)
			s.add(end{side: receiver, work: func() error { return f.receive(s, in) }})
			s.add(end{side: sender, work: func() error { return f.send(s, out) }})
			s.senders = append(s.senders, f.from)
			all = append(all, f)
		}
	}
	return all, nil
}

func (f *stream) send(s *session, buf []byte) error {
	var sent int64
	for stop := s.stop(); now() < stop; {
		n, err := f.from.write(buf)
		sent += int64(n)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	f.sent = sent
	return f.from.finish()
}

func (f *stream) receive(s *session, buf []byte) error {
	var received, counted int64
	for {
		n, err := f.to.read(buf)
		if errors.Is(err, io.EOF) && now() >= s.to {
			f.received, f.Bytes = received, counted
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		received += int64(n)
		if t := now(); s.counts(t) {
			counted += int64(n)
			f.series.count(t-s.from, int64(n))
		}
	}
}

func (all streams) result(run Run) Stream {
	r := Stream{Run: run}
	var series []Series
	for _, f := range all {
		r.Flows = append(r.Flows, f.Flow)
		r.Bytes += f.Bytes
		r.Sent += f.sent
		r.Received += f.received
		series = append(series, f.series)
	}
	r.Series = sum(series)
	return r
}
