package wire

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"labnet/testbed"
)

// Source is where a group captures: a device of a place, or all of them.
type Source struct {
	Place  *testbed.Place
	Device string // empty: all
}

// Options say how a group captures.
type Options struct {
	SnapLen int               // how much of a frame is kept
	Buffer  int               // how much the kernel keeps for each source that was not taken yet; 0: enough for bursts
	Program []unix.SockFilter // which frames are kept at all
}

// Group captures at several sources, in the order of time.
type Group struct {
	captures []*Capture
	waiting  waiting // frames before which one of another source may still come
	number   uint64
	wake     int
}

const (
	groupBuf = 32 << 20
	// late is how long after its time a frame may be where it can be taken: another processor is just putting it there.
	late = time.Millisecond
	// turn is how many frames are taken of a source before it is another's turn.
	turn = 512
)

// Together begins to capture. What is sent and received from now on is kept until Each takes it.
func Together(sources []Source, o Options) (*Group, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	g := &Group{wake: wake}
	if len(sources) > 0 {
		if stop, err := testbed.Stamps(sources[0].Place); err == nil { // else, with lo down, the first frames may be out of order
			defer stop() // the captures ask for it themselves by then
		}
	}
	data, oob := make([]byte, o.SnapLen), make([]byte, 256) // one is read at a time
	if o.Buffer == 0 {
		o.Buffer = groupBuf
	}
	for _, s := range sources {
		c := &Capture{Device: s.Device, data: data, oob: oob}
		if err := c.listen(s.Place, o.Buffer, o.Program, true); err != nil {
			g.Close()
			return nil, err
		}
		g.captures = append(g.captures, c)
	}
	return g, nil
}

// Close ends all captures. Each must have returned.
func (g *Group) Close() {
	for _, c := range g.captures {
		c.Close()
	}
	unix.Close(g.wake)
}

// Lost returns how many frames were missed because nobody took them in time.
func (g *Group) Lost() (lost uint64, err error) {
	for _, c := range g.captures {
		n, e := c.Lost()
		lost, err = lost+n, errors.Join(err, e)
	}
	return lost, err
}

// Each calls f with every frame and the number of its source, in the order of time, until the context ends: then with all that
// have passed until then. idle is called whenever none is waiting. An error of theirs ends it.
func (g *Group) Each(ctx context.Context, f func(source int, r Raw) error, idle func() error) error {
	stop := context.AfterFunc(ctx, func() { _, _ = unix.Write(g.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	defer stop()
	fds := []unix.PollFd{{Fd: int32(g.wake), Events: unix.POLLIN}}
	for _, c := range g.captures {
		if err := c.raw.Control(func(fd uintptr) { fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}) }); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		until, drained, err := g.take(time.Now(), turn)
		if err == nil {
			err = g.emit(until.Add(-late), f)
		}
		if err == nil && drained {
			err = idle()
		}
		if err != nil {
			return err
		}
		wait := -1
		switch {
		case !drained:
			wait = 0
		case len(g.waiting) > 0:
			wait = int(2 * late / time.Millisecond)
		}
		if _, err := unix.Poll(fds, wait); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
	}
	end := time.Now()
	if _, _, err := g.take(end, 0); err != nil {
		return err
	}
	return g.emit(end, f)
}

// take takes the frames that are there, of each source as many as the turn allows, or if that is 0 all until now. It returns the
// time until which all have been taken, and whether none was left.
func (g *Group) take(now time.Time, most int) (until time.Time, drained bool, err error) {
	until, drained = now, true
	for i, c := range g.captures {
		for n := 0; ; n++ {
			r, err := c.receive(true)
			if err == unix.EAGAIN {
				break
			}
			if err == unix.ENETDOWN || err == unix.ENODEV {
				continue // the device is down, and may come up again
			}
			if err != nil {
				return until, false, err
			}
			if most == 0 && r.Time.After(now) {
				break
			}
			g.number++
			heap.Push(&g.waiting, taken{r, i, g.number})
			if n+1 == most {
				drained = false
				if r.Time.Before(until) {
					until = r.Time
				}
				break
			}
		}
	}
	return until, drained, nil
}

func (g *Group) emit(until time.Time, f func(int, Raw) error) error {
	for len(g.waiting) > 0 && !g.waiting[0].Time.After(until) {
		t := heap.Pop(&g.waiting).(taken)
		if err := f(t.source, t.Raw); err != nil {
			return err
		}
	}
	return nil
}

// taken is a frame with its place in the order in which frames were taken.
type taken struct {
	Raw
	source int
	number uint64
}

// waiting is a heap of frames, the oldest first. Of frames of the same time that is first which was taken first.
type waiting []taken

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	if !w[i].Time.Equal(w[j].Time) {
		return w[i].Time.Before(w[j].Time)
	}
	return w[i].number < w[j].number
}
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)   { *w = append(*w, x.(taken)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	t := (*w)[last]
	(*w)[last] = taken{}
	*w = (*w)[:last]
	return t
}
