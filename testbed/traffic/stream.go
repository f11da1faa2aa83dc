package traffic

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// block is what one write hands to the kernel: as much as iperf3's.
const block = 128 << 10

// Stream is what came of sending one stream.
type Stream struct {
	Socket
	Bytes    int64         // received within the window
	Window   time.Duration // as it really was: it ends with a read
	Sent     int64         // by the client, over the whole connection
	Received int64         // by the server; without an error the same
}

// Goodput returns the payload that arrived within the window, in Gbit/s.
func (s Stream) Goodput() float64 { return float64(s.Bytes) * 8 / float64(s.Window.Nanoseconds()) }

// RunStream sends one stream from the client to the server. It is the server that knows when the window is over; the
// client then stops, and what is on its way is still received, so that every byte is accounted for.
func RunStream(ctx context.Context, cfg Config) (Stream, error) {
	var r Stream
	var over atomic.Bool
	out, in := make([]byte, block), make([]byte, block)
	client := func(s *socket) (err error) {
		for !over.Load() {
			n, err := s.write(out)
			r.Sent += int64(n)
			if err != nil {
				return err
			}
		}
		if r.Socket, err = s.info(); err != nil {
			return err
		}
		return s.finish()
	}
	server := func(s *socket) error {
		var from time.Duration
		var before int64
		start := time.Now()
		for {
			n, err := s.read(in)
			if errors.Is(err, io.EOF) && over.Load() {
				return nil
			}
			if err != nil {
				return err
			}
			r.Received += int64(n)
			if r.Window > 0 {
				continue
			}
			switch now := time.Since(start); {
			case from == 0:
				if now >= cfg.Warmup {
					from, before = now, r.Received
				}
			case now >= from+cfg.Window:
				r.Window, r.Bytes = now-from, r.Received-before
				over.Store(true)
			}
		}
	}
	err := run(ctx, cfg, client, server)
	return r, err
}
