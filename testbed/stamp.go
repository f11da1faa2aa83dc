package testbed

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stamps makes the kernel write down when packets pass, and waits until it does. It begins to some time after the first socket wants
// that, on a thread of its own (net/core/dev.c, netstamp_work); until then it takes the time at which a packet is read, which says
// nothing of the order in which it was where. The kernel goes on until stop is called, or as long as another socket wants it.
func Stamps(p *Place) (stop func(), err error) {
	var fd int
	if err := p.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := stamped(fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return func() { unix.Close(fd) }, nil
}

// stamped sends to itself until what it gets was stamped before it was read.
func stamped(fd int) error {
	self := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	err := errors.Join(unix.Bind(fd, self), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	local, failed := unix.Getsockname(fd)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	oob := make([]byte, 128)
	for range 500 {
		if err := unix.Sendto(fd, []byte{0}, unix.MSG_DONTWAIT, local); err != nil {
			return os.NewSyscallError("sendto", err)
		}
		time.Sleep(2 * time.Millisecond)
		now := time.Now()
		_, n, _, _, err := unix.Recvmsg(fd, make([]byte, 1), oob, unix.MSG_DONTWAIT)
		if err != nil {
			return os.NewSyscallError("recvmsg", err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SO_TIMESTAMPNS || len(m.Data) < int(unsafe.Sizeof(unix.Timespec{})) {
				continue
			}
			stamp := *(*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			if now.Sub(time.Unix(stamp.Unix())) > time.Millisecond {
				return nil
			}
		}
	}
	return errors.New("the kernel does not say when packets come in")
}
