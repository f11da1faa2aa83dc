package serve

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// largest is more than any datagram has.
const largest = 1 << 16

// datagrams listens on a port for datagrams of either family, or at one address of IPv4. Each is answered from the address that it came to: a machine has
// several, and nobody takes an answer from another than was asked.
func (s *spot) datagrams(address, port string) error {
	four, err := net.ListenPacket("udp4", net.JoinHostPort(address, port))
	if err != nil {
		return err
	}
	s.ends = append(s.ends, four)
	v4 := ipv4.NewPacketConn(four)
	if err := v4.SetControlMessage(ipv4.FlagDst, true); err != nil {
		return err
	}
	go s.exchange(port, func(b []byte) (int, net.Addr, net.IP, error) {
		n, cm, from, err := v4.ReadFrom(b)
		if cm == nil {
			return n, from, nil, err
		}
		return n, from, cm.Dst, err
	}, func(b []byte, to net.Addr, own net.IP) {
		_, _ = v4.WriteTo(b, &ipv4.ControlMessage{Src: own}, to) // lost like any datagram
	})

	if address != "" {
		return nil
	}
	six, err := net.ListenPacket("udp6", ":"+port)
	if errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil
	}
	if err != nil {
		return err
	}
	s.ends = append(s.ends, six)
	v6 := ipv6.NewPacketConn(six)
	if err := v6.SetControlMessage(ipv6.FlagDst, true); err != nil {
		return err
	}
	go s.exchange(port, func(b []byte) (int, net.Addr, net.IP, error) {
		n, cm, from, err := v6.ReadFrom(b)
		if cm == nil {
			return n, from, nil, err
		}
		return n, from, cm.Dst, err
	}, func(b []byte, to net.Addr, own net.IP) {
		_, _ = v6.WriteTo(b, &ipv6.ControlMessage{Src: own}, to)
	})
	return nil
}

// exchange answers until its socket is closed.
func (s *spot) exchange(port string, read func([]byte) (int, net.Addr, net.IP, error), write func([]byte, net.Addr, net.IP)) {
	b := make([]byte, largest)
	for {
		n, from, own, err := read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || isAnswer(string(b[:n])) {
			continue
		}
		if !own.IsGlobalUnicast() && !own.IsLoopback() && !own.IsLinkLocalUnicast() { // it came by broadcast
			own = nil
		}
		client := from.(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
		s.answered.Add(1)
		s.log.Printf("%s udp/%s %s %d bytes", s.Title, port, client, n)
		write([]byte(s.answer(client)), from, own)
	}
}

// isAnswer reports whether a datagram is what a responder sends: two of them must not answer one another for ever.
func isAnswer(text string) bool {
	title, client, ok := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
	if !ok || title == "" {
		return false
	}
	_, err := netip.ParseAddr(client)
	return err == nil
}
