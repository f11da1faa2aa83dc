package traffic

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Transactions is what came of one request after the other.
type Transactions struct {
	Socket
	Count   int64         // completed within the window
	Window  time.Duration // as it really was: it ends with a transaction
	Latency *hdrhistogram.Histogram
}

// Rate returns transactions per second.
func (t Transactions) Rate() float64 { return float64(t.Count) / t.Window.Seconds() }

// Percentile returns the round-trip time that so many per cent of the transactions did not exceed.
func (t Transactions) Percentile(percent float64) time.Duration {
	return time.Duration(t.Latency.ValueAtPercentile(percent))
}

// RunTransactions sends a byte, waits for the byte that the server sends back, and does so again.
func RunTransactions(ctx context.Context, cfg Config) (Transactions, error) {
	return transact(ctx, cfg, echo)
}

// transact runs the client against a server that answers in its own way.
func transact(ctx context.Context, cfg Config, serve func(*socket, []byte) error) (Transactions, error) {
	// Nanoseconds to three digits; no round trip takes longer than the sockets wait.
	r := Transactions{Latency: hdrhistogram.New(1, 2*limit.Nanoseconds(), 3)}
	request, reply := make([]byte, 1), make([]byte, 1)
	client := func(s *socket) (err error) {
		var from time.Duration
		start := time.Now()
		for last := time.Since(start); ; {
			if err := ping(s, request); err != nil {
				return err
			}
			now := time.Since(start)
			if from == 0 {
				if now >= cfg.Warmup {
					from = now
				}
			} else {
				if err := r.Latency.RecordValue((now - last).Nanoseconds()); err != nil {
					return err
				}
				r.Count++
				if now >= from+cfg.Window {
					r.Window = now - from
					break
				}
			}
			last = now
		}
		if r.Socket, err = s.info(); err != nil {
			return err
		}
		return s.finish()
	}
	err := run(ctx, cfg, client, func(s *socket) error { return serve(s, reply) })
	return r, err
}

// Exchange makes a connection and so many transactions over it. It teaches a path what it learns from its first packets
// (neighbours, forwarding entries), and shows that the path works at all.
func Exchange(ctx context.Context, cfg Config, transactions int) error {
	request, reply := make([]byte, 1), make([]byte, 1)
	client := func(s *socket) error {
		for range transactions {
			if err := ping(s, request); err != nil {
				return err
			}
		}
		return s.finish()
	}
	return run(ctx, cfg, client, func(s *socket) error { return echo(s, reply) })
}

// ping is one transaction.
func ping(s *socket, buf []byte) error {
	if _, err := s.write(buf); err != nil {
		return err
	}
	_, err := s.read(buf)
	return err
}

// echo sends back what it receives until the client has finished.
func echo(s *socket, buf []byte) error {
	for {
		n, err := s.read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := s.write(buf[:n]); err != nil {
			return err
		}
	}
}
