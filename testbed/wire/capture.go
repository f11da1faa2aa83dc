// Package wire shows frames as they really are on an interface, and holds them against what a mode promises.
package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"labnet/testbed"
)

const (
	snapLen = 2048    // headers and a nonce; the length is reported in full
	macLen  = 12      // both addresses
	rcvBuf  = 4 << 20 // the kernel counts a frame with its overhead: some thousand small ones
)

// Capture receives every frame that passes an interface, in both directions.
type Capture struct {
	Device string
	file   *os.File // for the runtime's poller: deadlines, and Close from another goroutine
	raw    syscall.RawConn
	data   []byte
	oob    []byte
	lost   uint64
}

// Raw is a frame as it was captured.
type Raw struct {
	Out    bool   // whether the interface sent it
	Super  bool   // whether it is a GSO packet, not cut into segments yet
	Length int    // of the whole frame, with its Ethernet header
	Data   []byte // the first 2 KiB of it
}

// Listen captures on a device of the place. The socket stays in the place; Receive is called from anywhere.
func Listen(place *testbed.Place, device string) (*Capture, error) {
	c := &Capture{Device: device, data: make([]byte, snapLen), oob: make([]byte, 256)}
	err := place.Do(func() error {
		dev, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // deaf until it is bound
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		c.file = os.NewFile(uintptr(fd), "packet:"+device)
		if err := testbed.SocketBuffer(fd, unix.SO_RCVBUFFORCE, rcvBuf); err != nil {
			return err
		}
		// The kernel takes a VLAN tag out of the frame and tells it apart from it.
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: dev.Index}))
	})
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err != nil {
		if c.file != nil {
			c.file.Close()
		}
		return nil, fmt.Errorf("capture on %s of %s: %w", device, place.Name, err)
	}
	return c, nil
}

// Close ends the capture, and a Receive that waits.
func (c *Capture) Close() error { return c.file.Close() }

// Receive returns the next frame, waiting for it until the deadline; then it fails with os.ErrDeadlineExceeded. The zero
// time waits for ever, and a deadline in the past takes what is there already. One goroutine at a time may receive.
func (c *Capture) Receive(deadline time.Time) (Raw, error) {
	once := !deadline.IsZero() && !time.Now().Before(deadline)
	if once {
		deadline = time.Time{} // past its deadline the poller would not even look
	}
	if err := c.file.SetReadDeadline(deadline); err != nil {
		return Raw{}, err
	}
	r, err := c.receive(once)
	if err == unix.EAGAIN {
		err = os.ErrDeadlineExceeded
	}
	return r, err
}

func (c *Capture) receive(once bool) (Raw, error) {
	var n, oobn int
	var from unix.Sockaddr
	var err error
	if waiting := c.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, from, err = unix.Recvmsg(int(fd), c.data, c.oob, unix.MSG_TRUNC)
			if err != unix.EINTR {
				return once || err != unix.EAGAIN
			}
		}
	}); waiting != nil {
		return Raw{}, waiting
	}
	if err != nil {
		return Raw{}, err
	}
	r := Raw{Length: n, Data: slices.Clone(c.data[:min(n, len(c.data))])}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok {
		r.Out = ll.Pkttype == unix.PACKET_OUTGOING
	}
	return restore(r, c.oob[:oobn]), nil
}

// restore puts a VLAN tag back where it was, and reads whether the frame is a GSO packet.
func restore(r Raw, oob []byte) Raw {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return r
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
		r.Super = aux.Status&unix.TP_STATUS_GSO_TCP != 0
		if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || len(r.Data) < macLen {
			continue
		}
		tag := binary.BigEndian.AppendUint16(nil, aux.Vlan_tpid)
		tag = binary.BigEndian.AppendUint16(tag, aux.Vlan_tci)
		r.Data = slices.Insert(r.Data, macLen, tag...)
		r.Length += len(tag)
	}
	return r
}

// Lost returns how many frames the capture has missed because nobody received them in time.
func (c *Capture) Lost() (uint64, error) {
	var stats *unix.TpacketStats
	var err error
	if e := c.raw.Control(func(fd uintptr) {
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); e != nil {
		return c.lost, e
	}
	if err != nil {
		return c.lost, os.NewSyscallError("getsockopt", err)
	}
	c.lost += uint64(stats.Drops) // reading sets the kernel's counter to zero
	return c.lost, nil
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }
