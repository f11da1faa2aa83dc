package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Connections says what a client does with each of its connections: it makes one, asks once, reads the answer and closes.
type Connections struct {
	Size, Reply int  // bytes of a request and of its answer; without a number one
	Reset       bool // the client ends a connection by a reset, which leaves nothing behind, not in order
	Step        time.Duration
}

// Closed in order, a connection stays with the client in TIME_WAIT for a minute, and its pair of ports with it: some 28,000
// for each port of the server. So the server listens on many, which each run chooses anew, and the client takes them in turn.
const listeners = 32

// resets is how many connections there must be for each that is reset before it is answered. The kernel itself resets some, on
// Linux 6.18 about one in a hundred thousand where two CPUs work on one connection: a request that arrives while the other CPU
// puts the connection into the table in place of its handshake (inet_ehash_insert) finds neither, and the listener answers.
const resets = 1000

// RunConnections makes one connection after the other. Latency is from the begin of the connect to the end of the answer;
// making and closing sockets is in the rate alone. A connection that is reset is lost, and the next one made; more than a few
// are an error.
func RunConnections(ctx context.Context, cfg Config, what Connections) (Transactions, error) {
	s := newSession(ctx, cfg)
	defer s.close()
	what.Size, what.Reply = or(what.Size, 1), or(what.Reply, 1)
	if what.Size < 1 || what.Reply < 1 {
		return Transactions{}, fmt.Errorf("requests of %d bytes, answers of %d: one byte is the fewest", what.Size, what.Reply)
	}
	t := &Transactions{Latency: NewHistogram(), Series: s.series(what.Step)}
	client := newCaller(s, what, t)
	server := &answerer{seat: newSeat(ctx), in: make([]byte, what.Size), answer: make([]byte, what.Reply)}
	client.server = server.seat
	s.opened = append(s.opened, client.seat, server.seat)
	for range listeners {
		l, address, err := s.listen(1)
		if err != nil {
			return Transactions{}, s.canceled(err)
		}
		s.opened = append(s.opened, l)
		server.listeners, client.to = append(server.listeners, l), append(client.to, address)
	}
	s.add(end{side: cfg.Server, work: server.run})
	s.add(end{side: cfg.Client, inside: true, work: func() error {
		defer func() {
			for _, l := range server.listeners {
				l.wake()
			}
		}()
		return client.run()
	}})
	var err error
	t.Run, err = s.run()
	t.Socket = client.used
	return *t, err
}

// seat is where a thread's socket of the moment is, so that it can be woken whichever it is.
type seat struct {
	mu    sync.Mutex
	fd    int
	taken int // sockets so far
	lost  int // the number of the last one that was given up
	over  bool
	stop  func() bool
}

func newSeat(ctx context.Context) *seat {
	s := &seat{fd: -1}
	s.stop = context.AfterFunc(ctx, s.wake)
	return s
}

// take seats a socket; not when the run is over.
func (s *seat) take(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fd = fd
	s.taken++
	if s.over {
		return unix.ESHUTDOWN
	}
	if s.taken == s.lost {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	return nil
}

// lose gives up a socket whose peer is gone without a word: who waits on it is woken, now or as soon as it is taken.
func (s *seat) lose(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = number
	if s.taken == number && s.fd >= 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
}

// leave closes the seated socket.
func (s *seat) leave() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

func (s *seat) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.fd >= 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR)
	}
}

func (s *seat) close() { s.stop() }

// caller is the client's end.
type caller struct {
	*session
	*Transactions
	seat    *seat
	server  *seat // the answerer's
	reset   int   // connections, over the whole run
	what    Connections
	from    unix.Sockaddr
	to      []unix.Sockaddr
	request []byte
	in      []byte
	control []byte // the congestion control's name
	socket  socket
	tcp     unix.TCPInfo
	used    Socket // what the result says of the sockets
}

func newCaller(s *session, what Connections, t *Transactions) *caller {
	return &caller{
		session: s, Transactions: t, seat: newSeat(s.ctx), what: what, from: address(s.Client.Addr),
		request: make([]byte, what.Size), in: make([]byte, what.Reply), control: append([]byte(s.Congestion), 0),
	}
}

func (c *caller) run() error {
	for i, stop := 0, c.stop(); ; i = (i + 1) % len(c.to) {
		fd, err := unix.Socket(family(c.Client.Addr), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		c.socket.fd = fd
		if err = c.seat.take(fd); err == nil {
			err = c.transact(c.to[i])
		}
		if errors.Is(err, unix.ECONNRESET) {
			err = c.lose(err)
		}
		if err == nil && now() >= stop {
			info, err := c.socket.info()
			c.used = Socket{info.Congestion, info.MSS, c.used.Retransmits}
			return errors.Join(err, c.seat.leave())
		}
		if err := errors.Join(err, c.seat.leave()); err != nil {
			return err
		}
	}
}

// lose goes on after a connection that was reset, unless there are too many.
func (c *caller) lose(err error) error {
	made := c.seat.taken
	if c.reset++; c.reset > 1+made/resets {
		return fmt.Errorf("%d of %d connections were reset: %w; look for a rule on the path that rejects, at the server's end first", c.reset, made, err)
	}
	if c.counts(now()) {
		c.Lost++
	}
	c.server.lose(made)
	return nil
}

// transact is one connection, up to its close.
func (c *caller) transact(to unix.Sockaddr) error {
	if err := c.dress(c.socket.fd); err != nil {
		return err
	}
	start := now()
	switch err := c.socket.connect(to); err {
	case nil:
	case unix.EADDRNOTAVAIL:
		return fmt.Errorf("connect: no port is free: the client's are all in TIME_WAIT; widen net.ipv4.ip_local_port_range, or end connections by a reset")
	case unix.ETIMEDOUT:
		return fmt.Errorf("connect: %w; %s", err, fullTable)
	default:
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := c.socket.write(c.request); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	for got := 0; got < len(c.in); {
		n, err := c.socket.read(c.in)
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		got += n
	}
	end := now()
	c.answered(c.session, start, end)
	if c.counts(end) {
		if err := tcpInfo(c.socket.fd, &c.tcp); err != nil {
			return err
		}
		c.used.Retransmits += int(c.tcp.Total_retrans)
	}
	return nil
}

// dress does what prepare does for other sockets, without allocating.
func (c *caller) dress(fd int) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(&c.control[0])), uintptr(len(c.control)-1), 0)
	if errno != 0 {
		return fmt.Errorf("congestion control %s: %w", c.session.Congestion, errno)
	}
	if err := patience(fd, unix.SO_RCVTIMEO, limit); err != nil {
		return err
	}
	if err := patience(fd, unix.SO_SNDTIMEO, limit); err != nil {
		return err
	}
	if c.what.Reset {
		linger := unix.Linger{Onoff: 1}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger); err != nil {
			return err
		}
	}
	// The port is chosen when the peer is known: one that is taken for another peer will do.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, c.from)
}

// fullTable is what a silent path may mean after very many connections.
const fullTable = "on nodes that track connections, look whether net.netfilter.nf_conntrack_count has come to nf_conntrack_max"

// answerer is the server's end: it takes the listeners in the client's order.
type answerer struct {
	listeners  []*socket
	seat       *seat
	in, answer []byte
	socket     socket
}

func (a *answerer) run() error {
	for i := 0; ; i = (i + 1) % len(a.listeners) {
		fd, errno := accept(a.listeners[i].fd)
		if errno == unix.EINVAL { // woken: the client has ended
			return nil
		}
		if errno == unix.EAGAIN {
			return fmt.Errorf("accept: %w; %s", errSilent, fullTable)
		}
		if errno != 0 {
			return fmt.Errorf("accept: %w", errno)
		}
		a.socket.fd = fd
		err := a.seat.take(fd)
		if err == nil {
			err = a.serve()
		}
		if err := errors.Join(err, a.seat.leave()); err != nil {
			return err
		}
	}
}

// serve answers once, and waits for the client to close first. What is lost the client knows.
func (a *answerer) serve() error {
	for got := 0; ; {
		n, err := a.socket.read(a.in)
		if got += n; err == nil && got == len(a.in) {
			_, err = a.socket.write(a.answer)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
			return nil
		case err != nil:
			return err
		}
	}
}

// accept is unix.Accept4 without the peer's address, which it would allocate.
func accept(listener int) (int, syscall.Errno) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(listener), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
		if errno != unix.EINTR {
			return int(fd), errno
		}
	}
}
