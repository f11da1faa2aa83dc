package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is what the kernel says about the sockets that sent; about datagrams it has nothing to say.
type Socket struct {
	Congestion  string // the congestion control that was really used
	MSS         int    // bytes of payload in a segment
	Retransmits int    // segments, of all senders, within the window
}

// socket is a blocking socket. A cancelled context wakes whoever waits on it.
type socket struct {
	fd    int
	stop  func() bool
	woken chan struct{}
}

// guard makes a socket of a file descriptor, which it owns from then on.
func guard(ctx context.Context, fd int) *socket {
	s := &socket{fd: fd, woken: make(chan struct{})}
	s.stop = context.AfterFunc(ctx, func() {
		s.wake()
		close(s.woken)
	})
	return s
}

// wake ends what waits on the socket, now and later: connect, accept, read and write.
func (s *socket) wake() { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) }

// close waits for a wake that is under way: the number of a closed descriptor soon belongs to somebody else.
func (s *socket) close() {
	if !s.stop() {
		<-s.woken
	}
	_ = unix.Close(s.fd)
}

// connect returns the two ends of a new TCP connection. The session closes them.
func (s *session) connect() (client, server *socket, err error) {
	listener, address, err := s.listen(1)
	if err != nil {
		return nil, nil, err
	}
	defer listener.close()
	if client, err = s.open(s.Client, unix.SOCK_STREAM); err != nil {
		return nil, nil, err
	}
	if err := client.connect(address); err != nil {
		client.close()
		return nil, nil, fmt.Errorf("connect %s to %s: %w", s.Client.Addr, s.Server.Addr, s.canceled(err))
	}
	if server, err = listener.accept(s.ctx); err != nil {
		client.close()
		return nil, nil, fmt.Errorf("accept on %s: %w", s.Server.Addr, s.canceled(err))
	}
	s.opened = append(s.opened, client, server)
	return client, server, nil
}

// listen returns a listening socket of the server, which the caller closes, and its address.
func (s *session) listen(backlog int) (*socket, unix.Sockaddr, error) {
	listener, err := s.open(s.Server, unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, err
	}
	var address unix.Sockaddr
	if err = unix.Listen(listener.fd, backlog); err == nil {
		address, err = unix.Getsockname(listener.fd)
	}
	if err != nil {
		listener.close()
		return nil, nil, fmt.Errorf("listen on %s: %w", s.Server.Addr, err)
	}
	return listener, address, nil
}

// pair returns two sockets that send datagrams to each other and hear nobody else. The session closes them.
func (s *session) pair() (client, server *socket, err error) {
	if client, err = s.open(s.Client, unix.SOCK_DGRAM); err != nil {
		return nil, nil, err
	}
	s.opened = append(s.opened, client)
	if server, err = s.open(s.Server, unix.SOCK_DGRAM); err != nil {
		return nil, nil, err
	}
	s.opened = append(s.opened, server)
	if err = s.introduce(client, server); err != nil {
		return nil, nil, fmt.Errorf("connect %s to %s: %w", s.Client.Addr, s.Server.Addr, s.canceled(err))
	}
	return client, server, nil
}

// introductions is how often the client introduces itself: a path may lose some.
const introductions = 20

// introduce connects two sockets for datagrams. The server learns from a first one where the client is: on the way to it the
// client's address may be translated.
func (s *session) introduce(client, server *socket) error {
	to, err := unix.Getsockname(server.fd)
	if err != nil {
		return err
	}
	if err := client.connect(to); err != nil {
		return err
	}
	for try := range introductions {
		if _, err := client.write([]byte{0}); err != nil {
			return err
		}
		heard := []unix.PollFd{{Fd: int32(server.fd), Events: unix.POLLIN}}
		wait := int(limit.Milliseconds()) / introductions
		if err := again(func() error { _, err := unix.Poll(heard, wait); return err }); err != nil {
			return err
		}
		if heard[0].Revents == 0 && try < introductions-1 {
			continue
		}
		var from unix.Sockaddr
		var hello [1]byte
		if err := again(func() (err error) { _, from, err = unix.Recvfrom(server.fd, hello[:], unix.MSG_DONTWAIT); return err }); err != nil {
			return err
		}
		return server.connect(from)
	}
	return nil
}

func (s *socket) connect(to unix.Sockaddr) error {
	// A connect that was interrupted goes on by itself; calling it again waits for it, or finds it done.
	err := again(func() error { return unix.Connect(s.fd, to) })
	switch err {
	case unix.EISCONN:
		return nil
	case unix.EINPROGRESS, unix.EALREADY: // that is how the socket's timeout shows
		return unix.ETIMEDOUT
	}
	return err
}

// accept returns the next connection. Its socket has the listener's options.
func (s *socket) accept(ctx context.Context) (*socket, error) {
	var fd int
	err := again(func() (err error) {
		fd, _, err = unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	return guard(ctx, fd), nil
}

// open makes a socket where the side wants it, bound to the side's address.
func (s *session) open(side Side, kind int) (*socket, error) {
	fd := -1
	err := side.Open(func() (err error) {
		fd, err = unix.Socket(family(side.Addr), kind|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err == nil {
		if err = s.prepare(fd, kind); err == nil {
			err = unix.Bind(fd, address(side.Addr))
		}
		if err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket on %s: %w", side.Addr, err)
	}
	return guard(s.ctx, fd), nil
}

func family(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func address(a netip.Addr) unix.Sockaddr {
	switch {
	case a.Is6():
		return &unix.SockaddrInet6{Addr: a.As16()}
	case a.Is4():
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet4{}
}

// prepare sets what every socket of the engine has.
func (s *session) prepare(fd, kind int) error {
	if kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.Congestion); err != nil {
			return fmt.Errorf("congestion control %s: %w", s.Congestion, err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	return errors.Join(patience(fd, unix.SO_RCVTIMEO, limit), patience(fd, unix.SO_SNDTIMEO, limit))
}

// patience sets how long a socket waits: to receive or to send.
func patience(fd, option int, d time.Duration) error {
	timeout := unix.NsecToTimeval(d.Nanoseconds())
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &timeout)
}

// info asks the kernel about a connected socket.
func (s *socket) info() (Socket, error) {
	name, err := unix.GetsockoptString(s.fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return Socket{}, err
	}
	tcp, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Socket{}, err
	}
	return Socket{Congestion: name, MSS: int(tcp.Snd_mss)}, nil
}

// retransmits returns how many segments the connection has sent again.
func (s *socket) retransmits() (uint32, error) {
	var tcp unix.TCPInfo
	err := tcpInfo(s.fd, &tcp)
	return tcp.Total_retrans, err
}

// tcpInfo is unix.GetsockoptTCPInfo without its allocation.
func tcpInfo(fd int, into *unix.TCPInfo) error {
	size := uint32(unsafe.Sizeof(*into))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(into)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// read reads what there is; it returns io.EOF at the end of the stream.
func (s *socket) read(buf []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, buf)
		switch {
		case err == unix.EINTR: // a socket with a timeout is interrupted by any signal, the runtime's own among them
		case err == unix.EAGAIN:
			return 0, errSilent
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// write writes all of buf, or as much of it as the peer took within the limit.
func (s *socket) write(buf []byte) (written int, err error) {
	for written < len(buf) {
		n, err := unix.Write(s.fd, buf[written:])
		switch err {
		case nil:
			written += n
		case unix.EINTR:
		case unix.EAGAIN:
			return written, errSilent
		default:
			return written, err
		}
	}
	return written, nil
}

// try reads or writes without waiting: at once, or nothing.
func (s *socket) try(call uintptr, buf []byte) (int, error) {
	for {
		n, _, errno := unix.Syscall6(call, uintptr(s.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN || errno == unix.ENOBUFS:
			return 0, nil
		case errno != 0:
			return 0, errno
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

// finish tells the peer that nothing more will come.
func (s *socket) finish() error { return unix.Shutdown(s.fd, unix.SHUT_WR) }

var errSilent = fmt.Errorf("nothing went through for %s", limit)

func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
