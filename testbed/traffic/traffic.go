// Package traffic is the load and latency engine: it sends between two sockets and says what it saw. It knows nothing of
// namespaces: where a socket is opened is the caller's function, so its tests run on loopback.
//
//	stream              the client writes as fast as it can; goodput is counted where it matters, at the receiver
//	request/response    one transaction in flight; every round trip is timed into a histogram
//
// Both run over one new TCP connection, on two operating system threads that do nothing else: blocking sockets, plain
// system calls, buffers made beforehand, no allocation while it counts, each thread on the CPU that was declared. The
// congestion control is set for each socket, because a machine's default may be BBR, which paces.
//
// What is counted is a window in the middle of the flow. The warm-up before it takes the slow start and whatever the path
// learns from its first packets; the flow goes on past its end, so that no tail of a stopping sender is in it either.
//
// Request/response is a closed loop: a transaction begins when the one before has ended. It tells the time of a round
// trip on an idle path, not the latency under an offered rate.
package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Open calls a function where sockets are to be opened: in a namespace, say. The sockets stay there.
type Open func(func() error) error

// Unpinned leaves a thread to the scheduler.
const Unpinned = -1

// Side is one end of a flow.
type Side struct {
	Open Open
	Addr netip.Addr // the address that the socket is bound to
	CPU  int        // the CPU that the thread runs on, or Unpinned
}

// Config says what flows, and for how long.
type Config struct {
	Client, Server Side // the client connects; in a stream it sends
	Warmup, Window time.Duration
	Congestion     string // TCP congestion control of both sockets
}

// Socket is what the kernel says about the client's socket at the end of the window.
type Socket struct {
	Congestion  string // the congestion control that was really used
	MSS         int    // bytes of payload in a segment
	Retransmits int    // segments, since the connection was made
}

// limit is how long a socket may wait for anything. A path that is silent for so long is broken; a lossy one recovers by
// then.
const limit = 5 * time.Second

// run makes a connection and runs both of its ends, each on a thread of its own, until both return. The end that fails
// wakes the other.
func run(ctx context.Context, cfg Config, client, server func(*socket) error) error {
	c, s, err := connect(ctx, cfg)
	if err != nil {
		return canceled(ctx, err)
	}
	defer c.close()
	defer s.close()
	var first sync.Once
	var cause error // what went wrong first; the other end only notices
	var ends sync.WaitGroup
	start := func(side Side, own, other *socket, f func(*socket) error) {
		ends.Go(func() {
			if err := pinned(side.CPU, func() error { return f(own) }); err != nil {
				first.Do(func() { cause = fmt.Errorf("%s to %s: %w", cfg.Client.Addr, cfg.Server.Addr, err) })
				other.wake()
			}
		})
	}
	start(cfg.Server, s, c, server)
	start(cfg.Client, c, s, client)
	ends.Wait()
	return canceled(ctx, cause)
}

// canceled says that the work was cancelled rather than what that did to the sockets.
func canceled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
