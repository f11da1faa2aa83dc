package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

// errSilence is that nobody answered.
var errSilence = errors.New("no answer")

// questions are the connections of one client to one address, one after the other, and who answered them.
type questions struct {
	protocol string
	from     net.Addr // nil: any
	to       netip.AddrPort
	patience time.Duration
	again    time.Duration

	port     int // of the next one over UDP
	asked    int
	by       map[string][]netip.Addr // whom those who answered took for the client
	order    []string                // who answered, in this order; empty where it is not known
	spare    int                     // how many connections may go unanswered: see [mostStray]
	silent   int                     // how many have
	shared   bool                    // others may ask at the same time: programs that the lab runs
	strange  int                     // answers of programs that do not say who they are
	failed   error                   // of the last one
	took     time.Duration           // it
	lossy    bool                    // packets get lost by intention
	repeated int                     // connections that opened only when their first packet was repeated
}

// ask opens one connection after the other from the namespace that it is called in, and asks on each who answers, until enough is
// known. Each is from another port, so that it is a new one to every firewall.
func (q *questions) ask(ctx context.Context, enough func() bool) {
	q.by = map[string][]netip.Addr{}
	for ctx.Err() == nil {
		start := time.Now()
		text, err := q.once(ctx)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			err = errSilence
		}
		if err == errSilence && q.silent < q.spare+q.spare*q.asked/moreStray {
			q.silent++
			q.order = append(q.order, "")
			continue
		}
		q.took, q.asked = time.Since(start), q.asked+1
		q.failed = err
		who, client, _ := strings.Cut(strings.TrimSpace(text), " ")
		source, unread := netip.ParseAddr(client)
		switch {
		case err != nil:
		case unread != nil:
			q.strange++
		default:
			q.by[who] = append(q.by[who], source)
			q.order = append(q.order, who)
		}
		if enough() {
			return
		}
	}
}

func (q *questions) once(ctx context.Context) (string, error) {
	end := time.Now().Add(q.patience)
	c, err := q.dial(ctx, &net.Dialer{Deadline: end, LocalAddr: q.from})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if tcp, ok := c.(*net.TCPConn); ok {
		q.note(tcp)
		_ = tcp.SetLinger(0) // nothing is left of it: so many connections would hold so many ports
		_ = c.SetDeadline(end)
		return question(c, q.to.String())
	}
	b := make([]byte, 200)
	for {
		if _, err := c.Write([]byte("who")); err != nil {
			return "", err
		}
		wait := time.Now().Add(q.again)
		_ = c.SetReadDeadline(wait)
		n, err := c.Read(b)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !wait.Before(end) {
			return string(b[:n]), err
		}
	}
}

// Ports that the kernel gives to clients, unless it is told otherwise.
const firstPort, ports = 32768, 28232

// dial opens a connection from a port that none had before it. For UDP the kernel takes any port by lot, and now and then one again:
// to a firewall, and to IPVS for five minutes, that is the same connection, which goes where it went.
func (q *questions) dial(ctx context.Context, d *net.Dialer) (net.Conn, error) {
	if q.protocol != "udp" || d.LocalAddr != nil {
		return d.DialContext(ctx, q.protocol, q.to.String())
	}
	if q.port == 0 {
		q.port = 1 + rand.IntN(ports)
	}
	for {
		d.LocalAddr = &net.UDPAddr{Port: firstPort + q.port%ports}
		q.port++
		if c, err := d.DialContext(ctx, q.protocol, q.to.String()); !errors.Is(err, unix.EADDRINUSE) {
			return c, err
		}
	}
}

// note notes a connection whose first packet was repeated.
func (q *questions) note(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Total_retrans > 0 && !q.lossy {
			q.repeated++
		}
	})
}

// question asks over HTTP, as those who answer in a lab do.
func question(c net.Conn, host string) (string, error) {
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.ECONNRESET) {
		return "", err
	}
	if err != nil {
		return "", nil // it answers, and not over HTTP
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 200))
	return string(text), err
}

// listeners answer at the ports of services' endpoints, where no program does: with their name and the client's address.
type listeners map[listening]*listener

type listening struct {
	namespace, protocol string
	at                  netip.AddrPort
}

type listener struct {
	io.Closer
	taken bool // somebody else has the port
}

func listeningAt(b plan.ServiceBackend, protocol string) listening {
	return listening{b.Namespace, protocol, b.Address}
}

func (l listeners) taken(b plan.ServiceBackend, protocol string) bool {
	at := l[listeningAt(b, protocol)]
	return at != nil && at.taken
}

func (l listeners) close() {
	for _, at := range l {
		if at.Closer != nil {
			at.Close()
		}
	}
}

// open listens for an endpoint. An endpoint that is not there, or lacks its address, does not listen.
func (l listeners) open(ctx context.Context, b plan.ServiceBackend, protocol string) error {
	key := listeningAt(b, protocol)
	if l[key] != nil {
		return nil
	}
	at := &listener{}
	l[key] = at
	place, err := testbed.Open(b.Namespace)
	if err != nil {
		return nil //nolint:nilerr // the check of its pairs says so
	}
	defer place.Close()
	err = place.Do(func() error {
		if protocol == "udp" {
			c, err := (&net.ListenConfig{}).ListenPacket(ctx, protocol, b.Address.String())
			if err == nil {
				at.Closer = c
				go datagrams(c, b.Title)
			}
			return err
		}
		listens, err := (&net.ListenConfig{}).Listen(ctx, protocol, b.Address.String())
		if err == nil {
			server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				client, _ := netip.ParseAddrPort(r.RemoteAddr)
				_, _ = fmt.Fprintf(w, "%s %s\n", b.Title, client.Addr().Unmap())
			})}
			at.Closer = server
			go func() { _ = server.Serve(listens) }() // until it is closed
		}
		return err
	})
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		at.taken = true
	case errors.Is(err, unix.EADDRNOTAVAIL):
	case err != nil:
		return fmt.Errorf("%s: %w", b.Title, err)
	}
	return nil
}

// datagrams answers until the socket is closed.
func datagrams(c net.PacketConn, title string) {
	b := make([]byte, 16)
	for {
		_, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if udp, ok := from.(*net.UDPAddr); ok {
			_, _ = c.WriteTo(fmt.Appendf(nil, "%s %s\n", title, udp.AddrPort().Addr().Unmap()), from)
		}
	}
}
