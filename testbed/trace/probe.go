package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"labnet/testbed"
)

// Protocols are those of a probe.
var Protocols = []string{"icmp", "udp", "tcp"}

// DefaultPort is where a probe of UDP or TCP goes: the first of traceroute's.
const DefaultPort = 33434

// Sizes of headers.
const (
	ipv4Header, ipv6Header = 20, 40
	icmpHeader, udpHeader  = 8, 8
	tcpHeader              = 20
)

// Smallest is the size of the smallest probe, as an IP packet.
func Smallest(protocol string, v6 bool) int {
	header := map[string]int{"icmp": icmpHeader, "udp": udpHeader, "tcp": tcpHeader}[protocol]
	if v6 {
		return ipv6Header + header + tailLen
	}
	return ipv4Header + header + tailLen
}

// Largest keeps a probe within one page, so that its end lies where it is looked for.
const Largest = 9000

// probe is a packet, and the socket that it is sent with.
type probe struct {
	mark
	opt  Options
	fd   int
	from netip.Addr
}

// dial opens the probe's socket in the sender's namespace.
func (o Options) dial(m mark) (*probe, error) {
	place, err := testbed.Open(o.From.Namespace)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	p := &probe{mark: m, opt: o, fd: -1}
	if err := place.Do(p.open); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *probe) open() error {
	family, kind, protocol := unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP
	v6 := p.opt.To.Address.Is6()
	if v6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	switch p.opt.Protocol {
	case "udp":
		kind, protocol = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case "tcp":
		protocol = unix.IPPROTO_TCP
	}
	var err error
	if p.fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol); err != nil {
		return os.NewSyscallError("socket", err)
	}
	set := func(level, option, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(p.fd, level, option, value))
		}
	}
	switch {
	case v6 && p.opt.DF:
		set(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		set(unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
	case v6:
		set(unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
	case p.opt.DF:
		set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	default:
		set(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	}
	if v6 && p.opt.Protocol == "tcp" {
		const checksum = 16 // where it is in the header
		set(unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, checksum)
	}
	if kind == unix.SOCK_RAW { // its answers are not for this socket: they are seen on their way
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
	}
	if err == nil && p.opt.From.Address.IsValid() {
		err = os.NewSyscallError("bind", unix.Bind(p.fd, sockaddr(p.opt.From.Address, 0)))
	}
	return err
}

func (p *probe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
}

// send sends the probe. The error is the kernel's answer: it may refuse the packet before it has left.
func (p *probe) send() error {
	port := 0
	if p.opt.Protocol == "udp" {
		port = p.opt.Port
	}
	if err := unix.Connect(p.fd, sockaddr(p.opt.To.Address, port)); err != nil {
		return err
	}
	if local, err := unix.Getsockname(p.fd); err == nil {
		switch l := local.(type) {
		case *unix.SockaddrInet4:
			p.from = netip.AddrFrom4(l.Addr)
		case *unix.SockaddrInet6:
			p.from = netip.AddrFrom16(l.Addr)
		}
	}
	_, err := unix.Write(p.fd, p.packet())
	return err
}

// ask sends a probe to a program before it is traced, and learns how its answer ends; that of the same program ends alike when it is
// asked again. It waits no longer than that.
func (p *probe) ask(wait time.Duration) []byte {
	if p.send() != nil {
		return nil
	}
	return p.heard(wait)
}

// heard is the end of an answer that came to the probe's socket: nil where there was none, or it is too short to be known by, or
// ends as the probe does.
func (p *probe) heard(wait time.Duration) []byte {
	polled := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(polled, int(wait.Milliseconds())); err != nil || n == 0 {
		return nil
	}
	b := make([]byte, 1<<16)
	n, _, err := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
	if err != nil || n < tailLen {
		return nil
	}
	end := b[n-tailLen : n]
	if bytes.HasPrefix(end, p.cookie[:]) {
		return nil
	}
	return bytes.Clone(end)
}

// packet is what is written to the socket: with the header of ICMP and TCP, which are sent raw.
func (p *probe) packet() []byte {
	size := p.opt.Size - ipv4Header
	if p.opt.To.Address.Is6() {
		size = p.opt.Size - ipv6Header
	}
	switch p.opt.Protocol {
	case "udp":
		return p.payload(size, udpHeader, false)
	case "tcp":
		return p.syn(p.payload(size, 0, false))
	}
	b := p.payload(size, 0, false)
	clear(b[:icmpHeader])
	b[0] = echoRequest
	if p.opt.To.Address.Is6() {
		b[0] = echoRequest6 // the kernel fills in the sum
	}
	binary.BigEndian.PutUint16(b[4:], uint16(os.Getpid()))
	binary.BigEndian.PutUint16(b[6:], 1)
	if p.opt.To.Address.Is4() {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// syn makes a segment that opens a connection, and already carries what marks it.
func (p *probe) syn(b []byte) []byte {
	const syn, window = 2, 64240
	clear(b[:tcpHeader])
	binary.BigEndian.PutUint16(b, uint16(49152+p.sequence()%16384))
	binary.BigEndian.PutUint16(b[2:], uint16(p.opt.Port))
	binary.BigEndian.PutUint32(b[4:], p.sequence())
	b[12], b[13] = tcpHeader/4<<4, syn
	binary.BigEndian.PutUint16(b[14:], window)
	if p.opt.To.Address.Is4() {
		pseudo := append(p.from.AsSlice(), p.opt.To.Address.AsSlice()...)
		pseudo = append(pseudo, 0, unix.IPPROTO_TCP)
		pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(b)))
		binary.BigEndian.PutUint16(b[16:], checksum(append(pseudo, b...)))
	}
	return b
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// responder answers the probe where it arrives, as long as it is open.
type responder struct {
	udp *net.UDPConn
	tcp net.Listener
}

// answer listens where the probe goes to. Where a program of the user's does so already, that one is left to answer.
func (o *Options) answer(m mark) (*responder, error) {
	r := &responder{}
	if o.To.Namespace == "" || o.Protocol == "icmp" || o.Port != 0 {
		return r, nil
	}
	place, err := testbed.Open(o.To.Namespace)
	if err != nil {
		return r, err
	}
	defer place.Close()
	for port := DefaultPort; port < DefaultPort+100; port++ {
		at := net.JoinHostPort(o.To.Address.String(), strconv.Itoa(port))
		err = place.Do(func() error {
			var err error
			if o.Protocol == "tcp" {
				r.tcp, err = net.Listen("tcp", at)
				return err
			}
			var c net.PacketConn
			if c, err = net.ListenPacket("udp", at); err == nil {
				r.udp = c.(*net.UDPConn)
			}
			return err
		})
		o.Port = port
		if err == nil || errors.Is(err, unix.EADDRNOTAVAIL) { // the target lacks the address: what comes of that will be seen
			break
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return r, fmt.Errorf("listening in %s: %w", o.To.Title, err)
		}
	}
	if r.udp != nil {
		go r.serve(m)
	}
	return r, nil
}

func (r *responder) serve(m mark) {
	buf := make([]byte, Largest)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n >= len(m.cookie) && [8]byte(buf[n-len(m.cookie):n]) == m.cookie {
			_, _ = r.udp.WriteToUDPAddrPort(m.payload(udpHeader+tailLen, udpHeader, true), from)
		}
	}
}

func (r *responder) close() {
	if r.udp != nil {
		r.udp.Close()
	}
	if r.tcp != nil {
		r.tcp.Close()
	}
}
