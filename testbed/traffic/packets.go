package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Packets says what datagrams the client sends to the server, which sends nothing back.
type Packets struct {
	Size      int     // bytes of payload, 16 or more
	PerSecond float64 // offered evenly spread over the time
	Batch     int     // that one system call sends at most when several are due; without a number 64
}

// Delivery is what became of the datagrams that were due within the window.
//
// The sender waits for each datagram's time in a loop that keeps its CPU busy, and the CPU's account shows it: Spun tells how
// long. Where the rate is so high that several are due when it looks, it hands them to the kernel together, in one sendmmsg,
// though as single packets: Calls tells in how many. When it could not run for longer than a millisecond, it does not make up
// for that, as it would be a burst that nobody asked for: those datagrams are Skipped, and never offered.
type Delivery struct {
	Run
	Offered    int64         // the kernel was asked to send so many
	Skipped    int64         // were due while the sender could not run
	Refused    int64         // of those offered, the sender's own socket did not take: its buffer was full
	Received   int64         // arrived, each counted once, until some time after the window
	Duplicates int64         // arrived again
	Reordered  int64         // arrived after one that was sent later
	Overflowed int64         // of those lost, arrived and found the receiver's buffer full
	Buffer     int           // bytes of that buffer, as the kernel counts them
	Calls      int64         // system calls that sent
	Spun       time.Duration // of the sender's CPU, spent waiting
	Delay      *Histogram    // one way, from just before the send to just after the receive
	Jitter     time.Duration // how much the delays of one and the next to arrive differ, on average
}

// Lost returns how many of those offered did not arrive.
func (d Delivery) Lost() int64 { return d.Offered - d.Received }

// Loss returns the share that did not arrive, from 0 to 1.
func (d Delivery) Loss() float64 {
	if d.Offered == 0 {
		return 1
	}
	return float64(d.Lost()) / float64(d.Offered)
}

// Rate returns the datagrams that arrived, per second.
func (d Delivery) Rate() float64 { return float64(d.Received) / d.Window.Seconds() }

// A datagram begins with its number and the time of its sending.
const stamp = 16

// buffer is what a receiver of datagrams asks to have: the default holds a hundred small ones, which a receiver that has to
// wait for its CPU misses, whatever the path.
const buffer = 4 << 20

// RunPackets sends datagrams at a rate and looks at what arrives.
func RunPackets(ctx context.Context, cfg Config, what Packets) (Delivery, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	what.Batch = or(what.Batch, 64)
	if what.Size < stamp || what.Size > 65507 || what.Batch < 1 || what.Batch > 1024 {
		return Delivery{}, fmt.Errorf("datagrams of %d bytes in batches of %d: %d to 65507 bytes and 1 to 1024 are possible",
			what.Size, what.Batch, stamp)
	}
	p, err := newPlan(cfg, what.PerSecond)
	if err != nil {
		return Delivery{}, err
	}
	client, server, err := s.pair()
	if err != nil {
		return Delivery{}, s.canceled(err)
	}
	if err := patience(server.fd, unix.SO_RCVTIMEO, quiet); err != nil {
		return Delivery{}, err
	}
	d := &Delivery{Delay: NewHistogram()}
	if d.Buffer, err = enlarge(server.fd); err != nil {
		return Delivery{}, err
	}
	var sent atomic.Bool
	out, in := newBatch(what.Batch, what.Size), newBatch(64, what.Size)
	cohort := newCohort(p)
	s.add(end{side: cfg.Server, work: func() error { return d.receive(server, in, cohort, &sent) }})
	s.add(end{side: cfg.Client, work: func() error {
		defer sent.Store(true)
		return d.send(s, client, out, p)
	}})
	d.Run, err = s.run()
	d.Received, d.Duplicates, d.Reordered = cohort.received, cohort.duplicates, cohort.reordered
	return *d, err
}

// plan says when which of a run's datagrams or requests are due: evenly, from the begin of the warm-up to the end of the tail.
type plan struct {
	perSecond   float64
	first, next int64 // of those due within the window, and the first after it
	all         int64
}

func newPlan(cfg Config, perSecond float64) (plan, error) {
	if !(perSecond > 0) || perSecond > 1e7 {
		return plan{}, fmt.Errorf("%g per second cannot be offered", perSecond)
	}
	upto := func(t time.Duration) int64 { return int64(math.Ceil(t.Seconds() * perSecond)) }
	p := plan{perSecond, upto(cfg.Warmup), upto(cfg.Warmup + cfg.Window), upto(cfg.Warmup + cfg.Window + or(cfg.Tail, Tail))}
	if p.first == p.next {
		return plan{}, fmt.Errorf("%g per second are none within %s", perSecond, cfg.Window)
	}
	return p, nil
}

// due returns when number i is due, since the begin of the warm-up, and upto how many are due by then.
func (p plan) due(i int64) time.Duration        { return time.Duration(float64(i) / p.perSecond * 1e9) }
func (p plan) upto(elapsed time.Duration) int64 { return int64(elapsed.Seconds()*p.perSecond) + 1 }
func (p plan) counts(i int64) bool              { return p.first <= i && i < p.next }

// late is how far behind its time a sender may be and still send.
const late = time.Millisecond

// behind returns how many may be sent late, in one go.
func (p plan) behind(batch int) int64 {
	return min(max(int64(p.perSecond*late.Seconds()), 1), int64(batch))
}

func (d *Delivery) send(s *session, client *socket, b *batch, p plan) error {
	var offered, skipped, refused, calls int64
	var spun time.Duration
	begin, behind := s.from-s.Warmup, p.behind(len(b.headers))
	for next := int64(0); next < p.all; {
		t := now()
		due := min(p.upto(t-begin), p.all)
		if due <= next {
			from, at := t, begin+p.due(next)
			for t < at {
				t = now()
			}
			if s.counts(t) {
				spun += t - from
			}
			continue
		}
		for ; due-next > behind; next++ {
			if p.counts(next) {
				skipped++
			}
		}
		n := int(due - next)
		for i := range n {
			binary.LittleEndian.PutUint64(b.payloads[i], uint64(next)+uint64(i))
			binary.LittleEndian.PutUint64(b.payloads[i][8:], uint64(t))
		}
		taken, errno := b.send(client.fd, n)
		if errno != 0 {
			return fmt.Errorf("send: %w", errno)
		}
		for i := range n {
			if p.counts(next + int64(i)) {
				offered++
				if i >= taken {
					refused++
				}
			}
		}
		if p.counts(next) {
			calls++
		}
		next += int64(n)
	}
	d.Offered, d.Skipped, d.Refused, d.Calls, d.Spun = offered, skipped, refused, calls, spun
	return nil
}

// receive counts what arrives until nothing does after the sender has ended.
func (d *Delivery) receive(server *socket, b *batch, c *cohort, sent *atomic.Bool) error {
	dropped := int64(-1) // when the window begins
	var differ, last time.Duration
	var differences int64
	delays := d.Delay // the rest of d is the sender's meanwhile
	for {
		n, errno := b.receive(server.fd)
		t := now()
		if errno == unix.EAGAIN {
			if sent.Load() {
				break
			}
			continue
		}
		if errno != 0 {
			return fmt.Errorf("receive: %w", errno)
		}
		for i := range n {
			if b.headers[i].size == 0 {
				return errWoken
			}
			if b.headers[i].size < stamp {
				return fmt.Errorf("receive: a datagram of %d bytes", b.headers[i].size)
			}
			number := int64(binary.LittleEndian.Uint64(b.payloads[i]))
			if !c.arrived(number) {
				continue
			}
			if dropped < 0 {
				var err error
				if dropped, err = drops(server.fd); err != nil {
					return err
				}
			}
			delay := t - time.Duration(binary.LittleEndian.Uint64(b.payloads[i][8:]))
			delays.record(delay)
			if c.received > 1 {
				differ += max(delay-last, last-delay)
				differences++
			}
			last = delay
		}
	}
	if differences > 0 {
		d.Jitter = differ / time.Duration(differences)
	}
	total, err := drops(server.fd)
	if dropped >= 0 {
		d.Overflowed = total - dropped
	}
	return err
}

var errWoken = errors.New("the socket was closed")

// cohort is what belongs to a window, whenever it arrives: a share can only be lost of what was counted when it was sent.
type cohort struct {
	plan
	seen                            []uint64 // a bit for each
	highest                         int64    // that has arrived, of all
	received, duplicates, reordered int64
}

func newCohort(p plan) *cohort {
	return &cohort{plan: p, seen: make([]uint64, (p.next-p.first+63)/64), highest: -1}
}

// arrived says whether a number belongs to the cohort and is new.
func (c *cohort) arrived(number int64) bool {
	late := number < c.highest
	c.highest = max(c.highest, number)
	if !c.counts(number) {
		return false
	}
	at := number - c.first
	if bit := uint64(1) << (at % 64); c.seen[at/64]&bit == 0 {
		c.seen[at/64] |= bit
	} else {
		c.duplicates++
		return false
	}
	c.received++
	if late {
		c.reordered++
	}
	return true
}

// batch is what one system call sends or receives.
type batch struct {
	headers  []header
	payloads [][]byte
	vectors  []unix.Iovec
}

// header is the kernel's struct mmsghdr.
type header struct {
	unix.Msghdr
	size uint32
}

func newBatch(n, size int) *batch {
	b := &batch{make([]header, n), make([][]byte, n), make([]unix.Iovec, n)}
	for i := range n {
		b.payloads[i] = make([]byte, size)
		b.vectors[i].Base = &b.payloads[i][0]
		b.vectors[i].SetLen(size)
		b.headers[i].Iov = &b.vectors[i]
		b.headers[i].SetIovlen(1)
	}
	return b
}

// send sends the first n, and returns how many the socket took without waiting.
func (b *batch) send(fd, n int) (int, syscall.Errno) {
	for taken := 0; ; {
		k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[taken])), uintptr(n-taken),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			if taken += int(k); taken == n {
				return n, 0
			}
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			return taken, 0
		default:
			return taken, errno
		}
	}
}

// receive waits for one datagram, and returns how many were there.
func (b *batch) receive(fd int) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])), uintptr(len(b.headers)),
			unix.MSG_WAITFORONE, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// enlarge gives a socket the receive buffer that the engine wants, or what it may have, and returns its size.
func enlarge(fd int) (int, error) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer); err != nil {
			return 0, err
		}
	}
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
}

// drops returns how many datagrams a socket could not keep.
func drops(fd int) (int64, error) {
	var info [9]uint32 // SK_MEMINFO_DROPS is the last
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int64(info[8]), nil
}
