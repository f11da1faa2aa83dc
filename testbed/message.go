package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Routes, neighbours and FDB entries come by the million. For each the library would allocate 64 KiB to hear the kernel's
// answer, which is 36 bytes long, so their messages are written here.

// message is a request to the kernel, while it is written.
type message []byte

// newMessage begins a message with the fixed part of its kind.
func (v *visit) newMessage(header ...byte) message {
	return append(append(v.buffer[:0], make([]byte, unix.SizeofNlMsghdr)...), header...)
}

func (m *message) add(kind uint16, value []byte) {
	b := binary.NativeEndian.AppendUint16(*m, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	*m = b
}

func (m *message) number(kind uint16, n int) {
	m.add(kind, binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

func (m *message) address(kind uint16, a netip.Addr) {
	if a.IsValid() {
		m.add(kind, a.AsSlice())
	}
}

func (m *message) mac(kind uint16, text string) error {
	mac, err := net.ParseMAC(text)
	m.add(kind, mac)
	return err
}

// tell sends a message, and waits for the kernel to say that it is done.
func (v *visit) tell(kind uint16, flags int, m message) error {
	seq, err := v.send(kind, flags|unix.NLM_F_ACK, m)
	for answers := unix.NLMSG_NOOP; err == nil && answers != unix.NLMSG_ERROR; {
		answers, _, err = v.receive(seq)
	}
	return err
}

// ask sends a question that has one answer, and returns it without its header. It is there until the next message.
func (v *visit) ask(kind uint16, m message) ([]byte, error) {
	seq, err := v.send(kind, 0, m)
	if err != nil {
		return nil, err
	}
	_, answer, err := v.receive(seq)
	return answer, err
}

func (v *visit) send(kind uint16, flags int, m message) (seq uint32, err error) {
	req, err := v.request(kind, flags)
	if err != nil {
		return 0, err
	}
	order := binary.NativeEndian
	order.PutUint32(m, uint32(len(m)))
	order.PutUint16(m[4:], kind)
	order.PutUint16(m[6:], req.Flags)
	order.PutUint32(m[8:], req.Seq)
	v.buffer = m
	return req.Seq, unix.Sendto(v.raw[unix.NETLINK_ROUTE].Socket.GetFd(), m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive returns what the kernel answers, or the error that it is.
func (v *visit) receive(seq uint32) (kind int, answer []byte, err error) {
	order := binary.NativeEndian
	socket := v.raw[unix.NETLINK_ROUTE].Socket.GetFd()
	for {
		n, _, err := unix.Recvfrom(socket, v.room(), 0)
		if errors.Is(err, unix.EAGAIN) {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}}, -1)
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, nil, fmt.Errorf("the kernel's answer: %w", err)
		}
		a := v.answer[:max(n, 0)]
		if len(a) < unix.SizeofNlMsghdr+4 || order.Uint32(a[8:]) != seq {
			continue // of something before
		}
		kind, answer = int(order.Uint16(a[4:])), a[unix.SizeofNlMsghdr:min(len(a), int(order.Uint32(a)))]
		if kind == unix.NLMSG_ERROR {
			if errno := -int32(order.Uint32(answer)); errno != 0 {
				return kind, nil, unix.Errno(errno)
			}
		}
		return kind, answer, nil
	}
}

// neighbourMessage begins a message about a neighbour, or about an entry of a forwarding database.
func (v *visit) neighbourMessage(family byte, link, flags int) message {
	m := v.newMessage(make([]byte, unix.SizeofNdMsg)...)
	h := m[unix.SizeofNlMsghdr:]
	h[0] = family
	binary.NativeEndian.PutUint32(h[4:], uint32(link))
	binary.NativeEndian.PutUint16(h[8:], unix.NUD_PERMANENT)
	h[10] = byte(flags)
	return m
}
