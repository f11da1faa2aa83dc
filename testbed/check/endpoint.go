package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/wire"
)

// endpoint is an endpoint with its sockets.
type endpoint struct {
	plan.Endpoint
	err    error        // why it has none
	server *net.UDPConn // has the endpoint's address, so that answers come from the address that was asked
	client *net.UDPConn // has none: the kernel picks the source address, as it does for any program
}

// open opens the endpoint's sockets, and serves them until they are closed. An IPv6 address may take until settled to be
// usable. It fails only when nothing can work.
func (e *endpoint) open(ctx context.Context, j *journal, room int, settled time.Time, serving *sync.WaitGroup) error {
	place, err := testbed.Open(e.Namespace)
	if err != nil {
		e.err = err
		return nil
	}
	defer place.Close()
	for {
		err = place.Do(func() error { return e.listen(ctx) })
		if !errors.Is(err, unix.EADDRNOTAVAIL) || e.Address.Is4() || time.Now().After(settled) {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		e.err = fmt.Errorf("%s has no address %s", e.Title, e.Address)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", e.Title, err)
	}
	serving.Go(func() { e.serve(j, room) })
	serving.Go(func() { e.collect(j) })
	return nil
}

func (e *endpoint) listen(ctx context.Context) error {
	network, any := "udp4", "0.0.0.0:0"
	if e.Address.Is6() {
		network, any = "udp6", "[::]:0"
	}
	plain := net.ListenConfig{}
	server, err := plain.ListenPacket(ctx, network, netip.AddrPortFrom(e.Address, 0).String())
	if err != nil {
		return err
	}
	whole := net.ListenConfig{Control: dontFragment}
	client, err := whole.ListenPacket(ctx, network, any)
	if err != nil {
		server.Close()
		return err
	}
	e.server, e.client = server.(*net.UDPConn), client.(*net.UDPConn)
	return nil
}

// dontFragment lets packets out whole or not at all, whatever has been learned of the path before.
func dontFragment(network, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr, level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), level, option, value))
		}
	}
	failed := c.Control(func(fd uintptr) {
		if network == "udp6" {
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
			return
		}
		set(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	return errors.Join(failed, err)
}

// serve writes down what arrives, and answers requests. The answer is short: its size is not what is tried.
func (e *endpoint) serve(j *journal, room int) {
	buf := make([]byte, room)
	for {
		n, from, err := e.server.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		kind := j.note(buf[:n], func(f *flow, _ byte) { f.arrivals = append(f.arrivals, arrival{from.Addr(), n}) })
		if kind == request {
			buf[headLen-1] = answer
			// Where the way back is missing, the sender hears nothing, and that is what is reported.
			_, _ = e.server.WriteToUDPAddrPort(buf[:headLen], from)
		}
	}
}

// collect writes down the answers.
func (e *endpoint) collect(j *journal) {
	buf := make([]byte, headLen)
	for {
		n, _, err := e.client.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		j.note(buf[:n], func(f *flow, _ byte) { f.answers++ })
	}
}

func (e *endpoint) close() {
	if e.server != nil {
		e.server.Close()
		e.client.Close()
	}
}

// port is where the endpoint listens.
func (e *endpoint) port() uint16 { return uint16(e.server.LocalAddr().(*net.UDPAddr).Port) }

// uplink is a node's interface towards the others, watched.
type uplink struct {
	node    *plan.Node
	err     error // why it is not
	mu      sync.Mutex
	capture *wire.Capture
	lost    uint64
}

func (u *uplink) open() {
	place, err := testbed.Open(u.node.Namespace)
	if err != nil {
		u.err = err
		return
	}
	defer place.Close()
	u.capture, u.err = wire.Listen(place, u.node.Uplink().Name)
}

// drain writes down every frame that has passed until now. A packet that has arrived has passed the uplinks before, so
// nobody needs to wait for frames.
func (u *uplink) drain(j *journal, ports []int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.capture == nil {
		return
	}
	for {
		raw, err := u.capture.Receive(time.Unix(1, 0))
		if err != nil {
			break
		}
		f, err := raw.Decode(ports...)
		if err != nil && f.Outer.Proto == 0 {
			continue
		}
		switch f.Inner.Proto {
		case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
			continue // an error message quotes the packet that it is about
		}
		j.note(raw.Data, func(fl *flow, kind byte) { fl.sights = append(fl.sights, sight{u.node, kind, f}) })
	}
	if lost, err := u.capture.Lost(); err == nil {
		u.lost = lost
	}
}

func (u *uplink) close() {
	if u.capture != nil {
		u.capture.Close()
	}
}
