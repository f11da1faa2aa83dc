package netfilter

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// Tracer hears what becomes of traced packets.
type Tracer struct{ socket *nl.NetlinkSocket }

// groupTrace is NFNLGRP_NFTRACE.
const groupTrace = 9

// Listen begins to hear, in the namespace in which the thread is.
func Listen() (*Tracer, error) {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER, groupTrace)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	// A packet has a message for each rule that it meets, and they come as fast as packets do.
	const room = 4 << 20
	if s.SetReceiveBufferSize(room, true) != nil {
		_ = s.SetReceiveBufferSize(room, false) // without the right to more than the machine's limit: as much as that is
	}
	return &Tracer{s}, nil
}

func (t *Tracer) Close() { t.socket.Close() }

// ErrMissed says that events came faster than they were read: some are lost, and the next ones can be read.
var ErrMissed = errors.New("some traced packets were missed")

// Next returns the events that come next, or none when nothing has come in that time.
func (t *Tracer) Next(timeout time.Duration) ([]nft.Trace, error) {
	tv := unix.NsecToTimeval(max(timeout, time.Microsecond).Nanoseconds())
	if err := t.socket.SetReceiveTimeout(&tv); err != nil {
		return nil, err
	}
	messages, _, err := t.socket.Receive()
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, nil
	case errors.Is(err, unix.ENOBUFS):
		return nil, ErrMissed
	case err != nil:
		return nil, err
	}
	var events []nft.Trace
	for _, m := range messages {
		if m.Header.Type != subsystem|uint16(nft.TraceEvent) || len(m.Data) < nfgen {
			continue
		}
		e, err := nft.ParseTrace(nft.Family(m.Data[0]), m.Data[nfgen:])
		if err != nil {
			return events, err
		}
		if e.Rule == 0 && e.Policy == "" {
			continue // the end of a chain, which each kernel tells in its own way
		}
		events = append(events, e)
	}
	return events, nil
}
