package trace

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"labnet/lab/packet"
	"labnet/lab/trace"
	"labnet/testbed"
)

// taps see marked packets by a packet socket in each namespace. That takes no right over the machine, and tells no reasons: why
// a packet was lost is read from the counters that moved.
type taps struct {
	mark  mark
	all   []*tap
	ready []trace.Sight // received, and not asked for yet
}

// tap is the socket of one namespace.
type tap struct {
	space
	fd      int
	devices map[int]string
	before  counters
}

// watch opens a socket in each of the namespaces.
func watch(m mark, spaces []space) (*taps, error) {
	t := &taps{mark: m}
	for _, s := range spaces {
		tap := &tap{space: s, fd: -1, devices: map[int]string{}}
		place, err := testbed.Open(s.name)
		if err == nil {
			err = place.Do(func() error { return tap.open(m) })
			place.Close()
		}
		if tap.fd >= 0 {
			t.all = append(t.all, tap)
		}
		if err != nil {
			t.close()
			return nil, fmt.Errorf("watching %s: %w", s.machine, err)
		}
	}
	if len(t.all) > 0 {
		if err := t.all[0].stamps(); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// stamps waits until the kernel writes down when packets come in.
func (t *tap) stamps() error {
	place, err := testbed.Open(t.name)
	if err != nil {
		return err
	}
	defer place.Close()
	stop, err := testbed.Stamps(place)
	if err != nil {
		return err
	}
	stop()
	return nil
}

func (t *tap) open(m mark) error {
	var err error
	if t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil { // deaf until it is bound
		return os.NewSyscallError("socket", err)
	}
	filter := m.filter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(t.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	for _, o := range [][2]int{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS}, {unix.SOL_PACKET, unix.PACKET_AUXDATA}} {
		if err := unix.SetsockoptInt(t.fd, o[0], o[1], 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	everything := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(t.fd, &unix.SockaddrLinklayer{Protocol: everything}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	devices, err := net.Interfaces()
	for _, d := range devices {
		t.devices[d.Index] = d.Name
	}
	t.before = count()
	return err
}

// filter lets only marked packets through: those whose end is the cookie, or an answer of TCP or of a program.
func (m mark) filter() []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_IND
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		take  = unix.BPF_RET | unix.BPF_K
	)
	synAck, reset := m.synAck(), m.reset()
	ends := []struct {
		at    int // in the last bytes
		bytes []byte
	}{{0, m.cookie[:]}, {0, synAck[:]}, {4, reset[:]}, {0, m.answer}}
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: tailLen, Jt: 1},
		{Code: take},
		{Code: unix.BPF_ALU | unix.BPF_SUB | unix.BPF_K, K: tailLen},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
	}
	for _, end := range ends {
		words := len(end.bytes) / 4
		for i := range words {
			left := 2*(words-i) - 1 // instructions behind the comparison, before the next end
			code = append(code, unix.SockFilter{Code: load, K: uint32(end.at + 4*i)}, unix.SockFilter{Code: equal, K: binary.BigEndian.Uint32(end.bytes[4*i:]), Jf: uint8(left)})
		}
		if words > 0 {
			code = append(code, unix.SockFilter{Code: take, K: 1 << 16})
		}
	}
	return append(code, unix.SockFilter{Code: take})
}

func (t *taps) close() {
	for _, tap := range t.all {
		unix.Close(tap.fd)
	}
}

// next returns what was seen next, or os.ErrDeadlineExceeded.
func (t *taps) next(deadline time.Time) (trace.Sight, error) {
	for len(t.ready) == 0 {
		polled := make([]unix.PollFd, len(t.all))
		for i, tap := range t.all {
			polled[i] = unix.PollFd{Fd: int32(tap.fd), Events: unix.POLLIN}
		}
		left := time.Until(deadline)
		if left <= 0 {
			return trace.Sight{}, os.ErrDeadlineExceeded
		}
		if _, err := unix.Poll(polled, int(left.Milliseconds())+1); err != nil && !errors.Is(err, unix.EINTR) {
			return trace.Sight{}, os.NewSyscallError("poll", err)
		}
		for i, p := range polled {
			if p.Revents == 0 {
				continue
			}
			if err := t.drain(t.all[i]); err != nil {
				return trace.Sight{}, err
			}
		}
	}
	s := t.ready[0]
	t.ready = t.ready[1:]
	return s, nil
}

// drain receives what is there.
func (t *taps) drain(tap *tap) error {
	frame, oob := make([]byte, Largest+200), make([]byte, 256)
	for {
		n, oobn, _, from, err := unix.Recvmsg(tap.fd, frame, oob, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			continue
		case err != nil:
			return os.NewSyscallError("recvmsg", err)
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n < tailLen {
			continue
		}
		s := trace.Sight{At: trace.At{Namespace: tap.name, Device: tap.devices[ll.Ifindex]}, Machine: tap.machine, Length: n}
		switch ll.Pkttype {
		case unix.PACKET_OUTGOING:
			s.Event = trace.Left
		case unix.PACKET_OTHERHOST:
			s.Reason = "OTHERHOST"
		}
		s.Bare = ll.Hatype != etherDevice && ll.Hatype != loopback
		s.Frame = slices.Clone(frame[:n])
		beside(&s, oob[:oobn])
		s.Headers = packet.Decode(s.Frame, packet.Options{Bare: s.Bare, Length: s.Length}).Headers()
		s.Role = t.mark.role(s.Frame, s.Headers, frame[n-tailLen:n])
		s.Frame = s.Frame[:min(len(s.Frame), frameLen)]
		t.ready = append(t.ready, s)
	}
}

// beside reads what the kernel tells beside a frame: when that was, and the VLAN tag, which it has taken out.
func beside(s *trace.Sight, oob []byte) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})):
			s.Time = time.Duration((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano())
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 && !s.Bare {
				tag := binary.BigEndian.AppendUint16(nil, aux.Vlan_tpid)
				tag = binary.BigEndian.AppendUint16(tag, aux.Vlan_tci)
				s.Frame, s.Length = slices.Insert(s.Frame, macs, tag...), s.Length+len(tag)
			}
		}
	}
}

// losses adds what counters tell: where a packet was seen last, and the machine counted one that it threw away. A frame for
// another MAC address is in none, and the socket says of it what it is.
func (t *taps) losses(sights []trace.Sight, m *trace.Map) []trace.Sight {
	for _, role := range []trace.Role{trace.Probe, trace.Answer} {
		for _, p := range trace.Paths(sights, role, m) {
			end := p[len(p)-1]
			i := slices.IndexFunc(t.all, func(tap *tap) bool { return tap.name == end.Namespace })
			if end.Event != trace.Came || i < 0 {
				continue
			}
			if end.Reason = cmp.Or(end.Reason, t.all[i].moved()); end.Reason != "" {
				end.Event, end.Time = trace.Dropped, end.Time+1
				sights = append(sights, end)
			}
		}
	}
	return sights
}
