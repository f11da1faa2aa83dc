// Package netfilter speaks nftables' netlink: it reads the ruleset of a namespace, changes it in transactions, and listens
// to traced packets. What the messages say is in lab/nft.
package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
)

// Conn is a connection into the namespace in which the thread was when it was opened.
type Conn struct {
	socket *nl.NetlinkSocket
	seq    uint32
	room   int // of the socket, for what is sent at once
	buffer []byte
	Sent   int // bytes of all transactions
}

// ErrNone says that the kernel has no nftables.
var ErrNone = errors.New("the kernel has no nftables")

// Dial opens a connection.
func Dial() (*Conn, error) {
	s, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &Conn{socket: s}, nil
}

func (c *Conn) Close() { c.socket.Close() }

const (
	subsystem  = unix.NFNL_SUBSYS_NFTABLES << 8
	batchBegin = unix.NFNL_MSG_BATCH_BEGIN
	batchEnd   = unix.NFNL_MSG_BATCH_END
	nfgen      = 4 // bytes of struct nfgenmsg
)

// appendMessage appends a message with its headers.
func appendMessage(b []byte, kind, flags uint16, seq uint32, family byte, resource uint16, data []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+nfgen+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, unix.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, data...) // attributes end where the next message may begin
}

func (c *Conn) next() uint32 {
	c.seq++
	return c.seq
}

// largest is how much the kernel says at once: an answer to a dump is cut into pieces of at most 32 KiB.
const largest = 64 << 10

// receive returns the messages that come next. They are there until the next call.
func (c *Conn) receive() ([]syscall.NetlinkMessage, error) {
	if c.buffer == nil {
		c.buffer = make([]byte, largest)
	}
	for {
		n, _, err := unix.Recvfrom(c.socket.GetFd(), c.buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(c.socket.GetFd()), Events: unix.POLLIN}}, -1)
			if err != nil && !errors.Is(err, unix.EINTR) {
				return nil, err
			}
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		default:
			return syscall.ParseNetlinkMessage(c.buffer[:n])
		}
	}
}

// ask sends one request and calls f for each message that answers it, which has it until it returns.
func (c *Conn) ask(m nft.Message, flags uint16, f func(nft.Family, []byte) error) error {
	seq := c.next()
	if err := unix.Sendto(c.socket.GetFd(), appendMessage(nil, subsystem|uint16(m.Kind), unix.NLM_F_REQUEST|flags, seq, byte(m.Family), 0, m.Data), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var failed error
	for {
		messages, err := c.receive()
		if err != nil {
			return err
		}
		for _, a := range messages {
			if a.Header.Seq != seq {
				continue
			}
			switch a.Header.Type {
			case unix.NLMSG_DONE:
				return failed
			case unix.NLMSG_ERROR:
				return errors.Join(failed, errorOf(a))
			}
			if a.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
				failed = unix.EINTR
			}
			if len(a.Data) >= nfgen && failed == nil {
				failed = f(nft.Family(a.Data[0]), a.Data[nfgen:])
			}
			if flags&unix.NLM_F_DUMP == 0 && flags&unix.NLM_F_ACK == 0 {
				return failed
			}
		}
	}
}

// errorOf is what a message of the type NLMSG_ERROR says; nil where it says that all is well.
func errorOf(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return unix.EBADMSG
	}
	if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// dump calls f for each object of a kind.
func (c *Conn) dump(m nft.Message, f func(nft.Family, []byte) error) error {
	return c.ask(m, unix.NLM_F_DUMP, f)
}

// generation is the number of the last transaction.
func (c *Conn) generation() (uint32, error) {
	var id uint32
	err := c.ask(nft.Message{Kind: nft.GetGeneration}, 0, func(_ nft.Family, b []byte) error {
		var err error
		id, err = nft.ParseGeneration(b)
		return err
	})
	return id, err
}
