package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Netlink's own words, for what the library does not tell: a foreign route may have several next hops, a next-hop object
// or a type of service, and has to be seen, told from the wanted one beside it, and removed.

// fixed is the part that a message begins with.
type fixed []byte

func (h fixed) Len() int          { return len(h) }
func (h fixed) Serialize() []byte { return h }

const (
	routeHeader   = unix.SizeofRtMsg
	ruleHeader    = 12 // struct fib_rule_hdr
	addressHeader = unix.SizeofIfAddrmsg
)

// request is a message that is not the library's. It goes by a second connection into the namespace.
func (v *visit) request(kind uint16, flags int) (*nl.NetlinkRequest, error) {
	return v.requestTo(unix.NETLINK_ROUTE, kind, flags)
}

// requestTo is one to another part of the kernel.
func (v *visit) requestTo(protocol int, kind uint16, flags int) (*nl.NetlinkRequest, error) {
	if v.raw[protocol] == nil {
		if err := v.step(); err != nil {
			return nil, err
		}
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), protocol)
		if err != nil {
			return nil, err
		}
		if v.raw == nil {
			v.raw = map[int]*nl.SocketHandle{}
		}
		v.raw[protocol] = &nl.SocketHandle{Socket: s}
	}
	req := nl.NewNetlinkRequest(int(kind), flags)
	req.Sockets = v.raw
	return req, nil
}

// dump returns all messages that answer a request, repeated while the kernel says that they changed meanwhile.
func (v *visit) dump(get, answer uint16, h fixed) ([][]byte, error) {
	return again(func() ([][]byte, error) {
		req, err := v.request(get, unix.NLM_F_DUMP)
		if err != nil {
			return nil, err
		}
		req.AddData(h)
		return req.Execute(unix.NETLINK_ROUTE, answer)
	})
}

// echo removes what a dump shows and match recognises, by sending the kernel's own description of it back, as "ip route
// flush" does: whatever distinguishes it is in there.
func (v *visit) echo(add uint16, size int, match func(message []byte) bool) error {
	// For every kind of object the three numbers are in a row: add, delete, get.
	del, get := add+1, add+2
	messages, err := v.dump(get, add, make(fixed, size))
	if err != nil {
		return err
	}
	missing := error(unix.ESRCH)
	for _, m := range messages {
		if !match(m) {
			continue
		}
		req, err := v.request(del, unix.NLM_F_ACK)
		if err != nil {
			return err
		}
		req.AddRawData(withoutHops(add, m))
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !gone(err) {
			return err
		}
		missing = nil
	}
	return missing
}

const rtaNexthopID = 30 // RTA_NH_ID of linux/rtnetlink.h

// withoutHops takes out of a route with a next-hop object what that object says already: the kernel tells both, and does
// not want to hear both.
func withoutHops(add uint16, m []byte) []byte {
	if add != unix.RTM_NEWROUTE {
		return m
	}
	out := append([]byte{}, m[:routeHeader]...)
	object := false
	_ = attributes(m[routeHeader:], func(kind uint16, value []byte) {
		object = object || kind == rtaNexthopID
		if kind != unix.RTA_OIF && kind != unix.RTA_GATEWAY && kind != unix.RTA_VIA && kind != unix.RTA_MULTIPATH {
			out = append(out, nl.NewRtAttr(int(kind), value).Serialize()...)
		}
	})
	if !object {
		return m
	}
	return out
}

// attributes calls f for each attribute that follows a message's header.
func attributes(m []byte, f func(kind uint16, value []byte)) error {
	for len(m) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(m))
		if n < unix.SizeofNlAttr || n > len(m) {
			return errors.New("the kernel sent a malformed attribute")
		}
		f(binary.NativeEndian.Uint16(m[2:])&nl.NLA_TYPE_MASK, m[unix.SizeofNlAttr:n])
		m = m[min((n+3)&^3, len(m)):]
	}
	return nil
}

// nested calls f for each attribute inside those of a kind.
func nested(m []byte, in uint16, f func(kind uint16, value []byte)) (err error) {
	outer := attributes(m, func(kind uint16, value []byte) {
		if kind == in && err == nil {
			err = attributes(value, f)
		}
	})
	return errors.Join(outer, err)
}

func number(value []byte) int {
	switch len(value) {
	case 1:
		return int(value[0])
	case 2:
		return int(binary.NativeEndian.Uint16(value))
	case 4:
		return int(binary.NativeEndian.Uint32(value))
	}
	return 0
}

// transportNames are those of the protocols that virtual servers and ipsets have.
var transportNames = map[uint16]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_SCTP: "sctp"}

func protocolName(n uint16) string {
	if name, ok := transportNames[n]; ok {
		return name
	}
	return fmt.Sprintf("proto-%d", n)
}

func bigEndian16(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// text is an attribute that is a string, without the zero that ends it.
func text(value []byte) string { return unix.ByteSliceToString(value) }

func addrOf(value []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(value)
	return a
}

func isIP(family byte) bool { return family == unix.AF_INET || family == unix.AF_INET6 }

func unspecified(family byte) netip.Addr {
	if family == unix.AF_INET6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// again repeats a dump that the kernel says has changed while it was read.
func again[T any](dump func() (T, error)) (T, error) {
	var out T
	var err error
	for range 5 {
		if out, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return out, err
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// specified is an address where 0.0.0.0 stands for none.
func specified(ip net.IP) netip.Addr {
	if a := address(ip); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func scopeName(scope int) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return ""
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return fmt.Sprint(scope)
}

func ipNet(p netip.Prefix) *net.IPNet {
	if !p.IsValid() {
		return nil
	}
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func scopeOf(name string) netlink.Scope {
	switch name {
	case "link":
		return unix.RT_SCOPE_LINK
	case "host":
		return unix.RT_SCOPE_HOST
	}
	return unix.RT_SCOPE_UNIVERSE
}

// gone reports whether something could not be deleted because it is not there.
func gone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// nameOf looks a value up in a map of what has names.
func nameOf[V comparable](m map[string]V, v V) (string, bool) {
	for name, value := range m {
		if value == v {
			return name, true
		}
	}
	return "", false
}

func keyOf[K comparable](m map[K]string, value string) K {
	for k, v := range m {
		if v == value {
			return k
		}
	}
	var zero K
	return zero
}

func parseMAC(text string) (net.HardwareAddr, error) {
	if text == "" {
		return nil, nil
	}
	return net.ParseMAC(text)
}

// because says at what it failed, where it did.
func because(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
