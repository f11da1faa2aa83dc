package trace

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"labnet/lab/packet"
	"labnet/lab/trace"
)

// tracepoints sees marked packets in all namespaces by programs at the kernel's tracepoints. They go when the process does.
type tracepoints struct {
	mark   mark
	layout *layout
	spaces map[uint32]space
	events *ebpf.Map
	reader *ringbuf.Reader
	links  []link.Link // a link that nobody holds is detached
}

const macs = 12 // bytes of a frame that are MAC addresses

// space is a namespace of the lab.
type space struct{ name, machine string }

func attach(m mark, spaces map[uint32]space) (*tracepoints, error) {
	l, err := readLayout()
	if err != nil {
		return nil, err
	}
	t := &tracepoints{mark: m, layout: l, spaces: spaces}
	if t.events, err = ebpf.NewMap(&ebpf.MapSpec{Name: "lab_trace", Type: ebpf.RingBuf, MaxEntries: 1 << 20}); err != nil {
		t.close()
		return nil, fmt.Errorf("room for what is seen: %w", err)
	}
	for _, p := range points {
		if err := t.attach(p, m); err != nil {
			t.close()
			return nil, fmt.Errorf("tracepoint %s: %w", p.name, err)
		}
	}
	if t.reader, err = ringbuf.NewReader(t.events); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tracepoints) attach(p point, m mark) error {
	program, err := ebpf.NewProgram(t.layout.program(p, t.events, m))
	if err != nil {
		return err
	}
	defer program.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: p.name, Program: program})
	if err == nil {
		t.links = append(t.links, l)
	}
	return err
}

func (t *tracepoints) close() {
	for _, l := range t.links {
		l.Close()
	}
	if t.reader != nil {
		t.reader.Close()
	}
	if t.events != nil {
		t.events.Close()
	}
}

// next returns what was seen next, or os.ErrDeadlineExceeded.
func (t *tracepoints) next(deadline time.Time) (trace.Sight, error) {
	t.reader.SetDeadline(deadline)
	for {
		r, err := t.reader.Read()
		if err != nil {
			return trace.Sight{}, err
		}
		if s, ok := t.sight(r.RawSample, t.mark); ok {
			return s, nil
		}
	}
}

// sight reads a record. A packet in a namespace that is not the lab's is somebody else's.
func (t *tracepoints) sight(b []byte, m mark) (trace.Sight, bool) {
	order := binary.NativeEndian
	if len(b) < recordLen {
		return trace.Sight{}, false
	}
	at, ours := t.spaces[order.Uint32(b[atNamespace:])]
	if !ours {
		return trace.Sight{}, false
	}
	s := trace.Sight{
		At:      trace.At{Namespace: at.name, Device: string(bytes.TrimRight(b[atName:atName+16], "\x00"))},
		Machine: at.machine,
		Time:    time.Duration(order.Uint64(b[atTime:])),
		Packet:  order.Uint64(b[atPacket:]),
		Length:  int(order.Uint32(b[atLength:])),
	}
	data, head := order.Uint64(b[atData:]), order.Uint64(b[atHead:])
	mac, network := uint64(order.Uint16(b[atMAC:])), uint64(order.Uint16(b[atNetwork:]))
	device := order.Uint16(b[atDevKind:])
	ether := device == etherDevice || device == loopback
	start := data
	switch kind(order.Uint32(b[atKind:])) {
	case in:
		s.Event, s.Bare = trace.Came, !ether
		if ether {
			start = head + mac
		}
	case out:
		s.Event, s.Bare = trace.Left, !ether
	case dropped:
		s.Event, s.Bare, start = trace.Dropped, true, head+network
		number := order.Uint32(b[atReason:])
		if s.Reason = t.layout.reasons[number]; s.Reason == "" {
			s.Reason = strconv.Itoa(int(number))
		}
		s.Where = strconv.FormatUint(order.Uint64(b[atLocation:]), 16)
	case consumed:
		s.Event, s.Bare, start = trace.Consumed, true, head+network
		s.Where = strconv.FormatUint(order.Uint64(b[atLocation:]), 16)
	}
	s.Length += int(int64(data - start))
	s.Frame = bytes.Clone(b[atFrame : atFrame+max(0, min(frameLen, s.Length))])
	if s.Came = strconv.Itoa(int(order.Uint32(b[atCame:]))); s.Came == "0" {
		s.Came = ""
	}
	tagged := order.Uint16(b[atVLAN:]) != 0
	if t.layout.skb.vlanByte >= 0 {
		tagged = b[atVLANByte]&t.layout.skb.vlanBit != 0
	}
	if tagged && !s.Bare && len(s.Frame) > macs { // the kernel keeps the tag beside the frame
		tag := bytes.Clone(b[atVLAN : atVLAN+4])
		binary.BigEndian.PutUint16(tag[2:], order.Uint16(b[atVLAN+2:]))
		s.Frame, s.Length = slices.Insert(s.Frame, macs, tag...), s.Length+len(tag)
	}
	s.Headers = packet.Decode(s.Frame, packet.Options{Bare: s.Bare, Length: s.Length}).Headers()
	s.Headers = slices.DeleteFunc(s.Headers, func(h packet.Header) bool { return h.Quoted })
	s.Role = m.role(s.Frame, s.Headers, b[atTail:atTail+tailLen])
	return s, true
}

// functions names addresses of the kernel's code.
func functions(addresses map[string]string) {
	if len(addresses) == 0 {
		return
	}
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return
	}
	defer f.Close()
	below := map[string]uint64{} // the nearest symbol at or below
	want := map[string]uint64{}
	for a := range addresses {
		want[a], _ = strconv.ParseUint(a, 16, 64)
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		address, rest, ok := strings.Cut(lines.Text(), " ")
		at, err := strconv.ParseUint(address, 16, 64)
		if !ok || err != nil || at == 0 || len(rest) < 3 {
			continue
		}
		name, _, _ := strings.Cut(rest[2:], "\t")
		for a, v := range want {
			if at <= v && at >= below[a] && v-at < 1<<20 {
				below[a], addresses[a] = at, name
			}
		}
	}
}
