package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

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

// socket is a second connection into the namespace, for messages that are not the library's.
func (v *visit) socket() (map[int]*nl.SocketHandle, error) {
	if v.raw == nil {
		s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
		if err != nil {
			return nil, err
		}
		v.raw = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
	}
	return v.raw, nil
}

// dump returns all messages that answer a request, repeated while the kernel says that they changed meanwhile. The thread
// has to be in the namespace.
func (v *visit) dump(get, answer uint16, h fixed) ([][]byte, error) {
	sockets, err := v.socket()
	if err != nil {
		return nil, err
	}
	return again(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(int(get), unix.NLM_F_DUMP)
		req.Sockets = sockets
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
		req := nl.NewNetlinkRequest(int(del), unix.NLM_F_ACK)
		req.Sockets = v.raw
		req.AddRawData(withoutHops(add, m))
		if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !gone(err) {
			return err
		}
		missing = nil
	}
	return missing
}

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

// link is a device's name, or its number where it went while the namespace was read.
func (f *found) link(index int) string {
	if name, ok := f.names[index]; ok {
		return name
	}
	return fmt.Sprintf("if%d", index)
}

// names finds the names of the namespace's links.
func (v *visit) names(f *found) error {
	list, err := again(v.LinkList)
	for _, l := range list {
		f.names[l.Attrs().Index] = l.Attrs().Name
	}
	return err
}
