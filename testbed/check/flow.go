package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// What a packet of a check is for; a request wants an answer.
const (
	request = 'q'
	answer  = 'a'
	oneWay  = 'o'
)

// headLen is what every packet of a check begins with: the journal's mark, the flow's number, and the kind.
const headLen = 8 + 8 + 1

// journal keeps what was seen of each flow, wherever it was seen. Packets are known by the mark in their payload, which
// no translation of addresses and no encapsulation changes.
type journal struct {
	mark [8]byte // of this run: other checks may be at work on the same lab
	mu   sync.Mutex
	last uint64
	open map[uint64]*flow
}

// flow is one packet, with its repetitions and the answers to it.
type flow struct {
	j        *journal
	number   uint64
	arrivals []arrival // at the receiver
	answers  int       // at the sender
	sights   []sight   // on the underlay
	news     chan struct{}
}

type arrival struct {
	from netip.Addr
	size int // of the payload
}

// sight is a frame on a node's uplink.
type sight struct {
	node  *plan.Node
	kind  byte
	frame wire.Frame
}

func newJournal() *journal {
	j := &journal{open: map[uint64]*flow{}}
	binary.BigEndian.PutUint64(j.mark[:], rand.Uint64())
	return j
}

func (j *journal) begin() *flow {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	f := &flow{j: j, number: j.last, news: make(chan struct{}, 1)}
	j.open[f.number] = f
	return f
}

// end forgets the flow; what is seen of it later is ignored.
func (f *flow) end() {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	delete(f.j.open, f.number)
}

// payload makes a packet of the flow.
func (f *flow) payload(kind byte, size int) []byte {
	b := append(make([]byte, 0, max(size, headLen)), f.j.mark[:]...)
	b = binary.BigEndian.AppendUint64(b, f.number)
	b = append(b, kind)
	return b[:cap(b)]
}

// note finds the flow whose mark is in the data, and writes down something about it. It returns the kind of the packet,
// or 0 where the data is none of this run's.
func (j *journal) note(data []byte, write func(f *flow, kind byte)) (kind byte) {
	at := bytes.Index(data, j.mark[:])
	if at < 0 || len(data) < at+headLen {
		return 0
	}
	data = data[at+len(j.mark):]
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.open[binary.BigEndian.Uint64(data)]
	if f == nil {
		return 0
	}
	kind = data[8]
	write(f, kind)
	select {
	case f.news <- struct{}{}:
	default:
	}
	return kind
}

// wait waits until the flow is as wanted, but no longer than d.
func (f *flow) wait(ctx context.Context, d time.Duration, wanted func(*flow) bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		f.j.mu.Lock()
		ok := wanted(f)
		f.j.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-f.news:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// arrived returns what the receiver got.
func (f *flow) arrived() []arrival {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	return slices.Clone(f.arrivals)
}

// seen returns the frames of a kind that a node's uplink sent, or received.
func (f *flow) seen(node *plan.Node, out bool, kind byte) []wire.Frame {
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	var frames []wire.Frame
	for _, s := range f.sights {
		if s.node == node && s.frame.Out == out && s.kind == kind {
			frames = append(frames, s.frame)
		}
	}
	return frames
}
