package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"
)

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

// connect returns the two ends of a new connection.
func connect(ctx context.Context, cfg Config) (client, server *socket, err error) {
	listener, err := open(ctx, cfg, cfg.Server)
	if err != nil {
		return nil, nil, fmt.Errorf("open a socket on %s: %w", cfg.Server.Addr, err)
	}
	defer listener.close()
	if err := unix.Listen(listener.fd, 1); err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", cfg.Server.Addr, err)
	}
	address, err := unix.Getsockname(listener.fd)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", cfg.Server.Addr, err)
	}
	client, err = open(ctx, cfg, cfg.Client)
	if err != nil {
		return nil, nil, fmt.Errorf("open a socket on %s: %w", cfg.Client.Addr, err)
	}
	if err := client.connect(address); err != nil {
		client.close()
		return nil, nil, fmt.Errorf("connect %s to %s: %w", cfg.Client.Addr, cfg.Server.Addr, err)
	}
	server, err = listener.accept(ctx, cfg)
	if err != nil {
		client.close()
		return nil, nil, fmt.Errorf("accept on %s: %w", cfg.Server.Addr, err)
	}
	return client, server, nil
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

func (s *socket) accept(ctx context.Context, cfg Config) (*socket, error) {
	var fd int
	err := again(func() (err error) {
		fd, _, err = unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := prepare(fd, cfg.Congestion); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return guard(ctx, fd), nil
}

// open makes a socket where the side wants it, bound to the side's address.
func open(ctx context.Context, cfg Config, side Side) (*socket, error) {
	family := unix.AF_INET
	var address unix.Sockaddr = &unix.SockaddrInet4{Addr: as4(side.Addr)}
	if side.Addr.Is6() {
		family = unix.AF_INET6
		address = &unix.SockaddrInet6{Addr: side.Addr.As16()}
	}
	fd := -1
	err := side.Open(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err = prepare(fd, cfg.Congestion); err == nil {
		err = unix.Bind(fd, address)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return guard(ctx, fd), nil
}

func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// prepare sets what every socket of the engine has.
func prepare(fd int, congestion string) error {
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion); err != nil {
		return fmt.Errorf("congestion control %s: %w", congestion, err)
	}
	timeout := unix.NsecToTimeval(limit.Nanoseconds())
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
	)
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
	return Socket{Congestion: name, MSS: int(tcp.Snd_mss), Retransmits: int(tcp.Total_retrans)}, nil
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
