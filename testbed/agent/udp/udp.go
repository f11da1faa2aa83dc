// Package udp carries packets between a TUN device and UDP, as the proxy of flannel's udp backend does: an IP packet that
// comes out of the device goes as it is into a datagram to the node that has its destination, and the other way round. At
// each end it takes one off the TTL, as a router does, but tells nobody when nothing is left.
package udp

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"labnet/modes/udp/proxy"
	"labnet/testbed"
)

// buffers are as large as the kernel lets a privileged process ask for; bursts of TCP come at once.
const buffers = 4 << 20

// Proxy is a running proxy.
type Proxy struct {
	config proxy.Config
	routes []route // by address
	counts counts
}

type route struct {
	first, last uint32
	to          unix.SockaddrInet4
}

type counts struct {
	Sent     atomic.Uint64
	Received atomic.Uint64
	Dropped  atomic.Uint64 // no route, no TTL left, no IPv4, or not taken by the kernel
}

// New reads a configuration.
func New(config []byte) (*Proxy, error) {
	p := &Proxy{}
	if err := json.Unmarshal(config, &p.config); err != nil {
		return nil, err
	}
	c := p.config
	if !c.Local.Is4() || c.Port < 1 || c.Port > 65535 || c.MTU < 68 || len(c.Device) >= unix.IFNAMSIZ {
		return nil, fmt.Errorf("device %q, mtu %d, local %s, port %d cannot be", c.Device, c.MTU, c.Local, c.Port)
	}
	for _, r := range c.Routes {
		if !r.To.Addr().Is4() || !r.Via.Is4() {
			return nil, fmt.Errorf("a route to %s via %s is not IPv4", r.To, r.Via)
		}
		first := number(r.To.Masked().Addr())
		p.routes = append(p.routes, route{first, first | uint32(uint64(1)<<(32-r.To.Bits())-1), unix.SockaddrInet4{Port: c.Port, Addr: r.Via.As4()}})
	}
	slices.SortFunc(p.routes, func(a, b route) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(p.routes); i++ {
		if p.routes[i].first <= p.routes[i-1].last {
			return nil, errors.New("two of the routes overlap")
		}
	}
	return p, nil
}

// Config is what the proxy was told.
func (p *Proxy) Config() proxy.Config { return p.config }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// Status is what the proxy says of itself.
func (p *Proxy) Status() any {
	sent, received, dropped := p.counts.Sent.Load(), p.counts.Received.Load(), p.counts.Dropped.Load()
	return map[string]any{
		"summary": fmt.Sprintf("%s: %d sent, %d received, %d dropped", p.config.Device, sent, received, dropped),
		"settled": true, "device": p.config.Device, "sent": sent, "received": received, "dropped": dropped,
	}
}

// Run carries packets until ctx is done. The device is gone when the process is.
func (p *Proxy) Run(ctx context.Context, ready func()) error {
	tun, err := openTUN(p.config.Device)
	if err != nil {
		return err
	}
	socket, err := p.listen()
	if err != nil {
		return err
	}
	ready()
	failed := make(chan error, 2)
	go func() { failed <- p.outward(tun, socket) }()
	go func() { failed <- p.inward(tun, socket) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return 0, fmt.Errorf("making the TUN device %s: %w", name, err)
	}
	return fd, nil
}

func (p *Proxy) listen() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	for _, option := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		if err := testbed.SocketBuffer(fd, option, buffers); err != nil {
			return 0, fmt.Errorf("buffers of the socket: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: p.config.Port, Addr: p.config.Local.As4()}); err != nil {
		return 0, fmt.Errorf("listening on %s, UDP port %d: %w", p.config.Local, p.config.Port, err)
	}
	return fd, nil
}

// outward sends what comes out of the device.
func (p *Proxy) outward(tun, socket int) error {
	runtime.LockOSThread()
	packet := make([]byte, 1<<16)
	for {
		n, err := unix.Read(tun, packet)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("reading %s: %w", p.config.Device, err)
		}
		to := p.next(packet[:n])
		if to == nil || !hop(packet[:n]) || unix.Sendto(socket, packet[:n], 0, to) != nil {
			p.counts.Dropped.Add(1)
			continue
		}
		p.counts.Sent.Add(1)
	}
}

// inward writes what comes over UDP into the device.
func (p *Proxy) inward(tun, socket int) error {
	runtime.LockOSThread()
	packet := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(socket, packet, 0)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNREFUSED) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receiving on UDP port %d: %w", p.config.Port, err)
		}
		if !hop(packet[:n]) {
			p.counts.Dropped.Add(1)
			continue
		}
		if _, err := unix.Write(tun, packet[:n]); err != nil {
			p.counts.Dropped.Add(1)
			continue
		}
		p.counts.Received.Add(1)
	}
}

const header = 20

// next finds the node that has a packet's destination.
func (p *Proxy) next(packet []byte) *unix.SockaddrInet4 {
	if len(packet) < header || packet[0]>>4 != 4 {
		return nil
	}
	dst := binary.BigEndian.Uint32(packet[16:])
	i, found := slices.BinarySearchFunc(p.routes, dst, func(r route, dst uint32) int { return cmp.Compare(r.first, dst) })
	if !found {
		i--
	}
	if i < 0 || dst > p.routes[i].last {
		return nil
	}
	return &p.routes[i].to
}

// hop takes one off the TTL and mends the header's checksum (RFC 1624); false when nothing is left of it.
func hop(packet []byte) bool {
	if len(packet) < header || packet[0]>>4 != 4 || packet[8] <= 1 {
		return false
	}
	packet[8]--
	sum := uint32(binary.BigEndian.Uint16(packet[10:])) + 0x100
	binary.BigEndian.PutUint16(packet[10:], uint16(sum+sum>>16))
	return true
}
