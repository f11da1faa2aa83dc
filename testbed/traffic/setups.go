package traffic

import (
	"context"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Setups says where a client connects, and where its connections arrive: an address that is translated on the way may lead to
// any of several places.
type Setups struct {
	To      netip.AddrPort
	Port    uint16 // that is listened on
	Servers []Side // where; their CPUs say nothing, since one thread does all
	Kept    bool   // one connection, on which a byte goes there and back again and again
}

// backlog is how many connections wait until they are taken from their listeners.
const backlog = 64

// RunSetups makes one connection after the other, and times connect alone: what the kernel does from the first segment to the
// connection that stands. The listeners' kernel answers, and the thread that connects takes connections from them between the
// times that count; so there is one thread on one CPU, which never waits for another. A connection ends by a reset, which
// leaves nothing behind. With Kept it times a byte there and back.
func RunSetups(ctx context.Context, cfg Config, what Setups) (Transactions, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	t := &Transactions{Latency: NewHistogram()}
	c := &connector{session: s, Transactions: t, family: family(what.To.Addr()), to: sockaddr(what.To), in: make([]byte, 1)}
	for _, side := range what.Servers {
		l, err := s.listener(side, what.Port)
		if err != nil {
			return *t, s.canceled(err)
		}
		s.opened = append(s.opened, l)
		c.listeners = append(c.listeners, l)
	}
	work := c.run
	if what.Kept {
		work = c.keep
	}
	s.add(end{side: cfg.Client, inside: true, work: work})
	var err error
	t.Run, err = s.run()
	return *t, err
}

// listener listens at one of the servers. It does not block.
func (s *session) listener(side Side, port uint16) (l *socket, err error) {
	err = side.Open(func() error {
		fd, err := unix.Socket(family(side.Addr), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		l = guard(s.ctx, fd)
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err == nil {
			if err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(side.Addr, port))); err == nil {
				err = unix.Listen(fd, 2*backlog)
			}
		}
		return err
	})
	if err != nil && l != nil {
		l.close()
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d of %s: %w", port, side.Addr, err)
	}
	return l, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	switch to := address(a.Addr()).(type) {
	case *unix.SockaddrInet4:
		to.Port = int(a.Port())
		return to
	case *unix.SockaddrInet6:
		to.Port = int(a.Port())
		return to
	default:
		return to
	}
}

// connector is the one thread.
type connector struct {
	*session
	*Transactions
	listeners []*socket
	family    int
	to        unix.Sockaddr
	in        []byte
}

// open makes a socket that ends its connection by a reset.
func (c *connector) open() (fd int, err error) {
	if fd, err = unix.Socket(c.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fd, err
	}
	linger := unix.Linger{Onoff: 1}
	if err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger); err == nil {
		if err = patience(fd, unix.SO_SNDTIMEO, limit); err == nil {
			err = patience(fd, unix.SO_RCVTIMEO, limit)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

func (c *connector) connect(fd int) error {
	if err := again(func() error { return unix.Connect(fd, c.to) }); err != nil {
		if err == unix.EINPROGRESS {
			err = unix.ETIMEDOUT
		}
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func (c *connector) run() error {
	for n, stop := 0, c.stop(); ; n++ {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		fd, err := c.open()
		if err != nil {
			return err
		}
		start := now()
		err = c.connect(fd)
		end := now()
		_ = unix.Close(fd)
		if err != nil {
			return err
		}
		c.answered(c.session, start, end)
		if n%backlog == backlog-1 || end >= stop {
			c.drain()
		}
		if end >= stop {
			return nil
		}
	}
}

// drain takes all connections from the listeners.
func (c *connector) drain() {
	for _, l := range c.listeners {
		for {
			fd, errno := accept(l.fd)
			if errno != 0 {
				break
			}
			_ = unix.Close(fd)
		}
	}
}

// keep holds both ends of one connection.
func (c *connector) keep() error {
	client, err := c.open()
	if err != nil {
		return err
	}
	defer unix.Close(client)
	if err := c.connect(client); err != nil {
		return err
	}
	server, err := c.arrived()
	if err != nil {
		return err
	}
	defer unix.Close(server)
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return err
		}
	}
	for stop := c.stop(); ; {
		start := now()
		if err := c.pass(client, server); err != nil {
			return err
		}
		if err := c.pass(server, client); err != nil {
			return err
		}
		end := now()
		c.answered(c.session, start, end)
		if end >= stop {
			return c.ctx.Err()
		}
	}
}

// arrived is the connection that one of the listeners has.
func (c *connector) arrived() (int, error) {
	for _, l := range c.listeners {
		if fd, errno := accept(l.fd); errno == 0 {
			return fd, patience(fd, unix.SO_RCVTIMEO, limit)
		}
	}
	return 0, fmt.Errorf("a connection to %s arrived at none of its listeners", c.session.Server.Addr)
}

// pass sends a byte from one end to the other.
func (c *connector) pass(from, to int) error {
	for _, call := range []struct{ trap, fd uintptr }{{unix.SYS_WRITE, uintptr(from)}, {unix.SYS_READ, uintptr(to)}} {
		for {
			n, _, errno := unix.Syscall(call.trap, call.fd, uintptr(unsafe.Pointer(&c.in[0])), 1)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 {
				return fmt.Errorf("a byte there and back: %w", errno)
			}
			if n != 1 {
				return fmt.Errorf("a byte there and back: %w", unix.ECONNRESET)
			}
			break
		}
	}
	return nil
}
