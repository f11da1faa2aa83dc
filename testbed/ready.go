package testbed

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// readyTimeout is how long the kernel may take until what was set up can be used. It notices within a second that a link
// has a carrier, and takes two or three to be sure of an IPv6 address where it looks for others that have it too.
const readyTimeout = 10 * time.Second

// places are the namespaces to look into. Both ends of a veth pair are seen from one of them, so that is where there is most
// to see: the switch, and the node rather than each of its pods. To enter a namespace costs more than ten such looks.
func (n *news) places() []string {
	count := map[string]int{}
	for _, l := range n.links {
		count[l.end.Namespace]++
	}
	places := maps.Clone(n.inet6)
	for _, l := range n.links {
		if count[l.peer.Namespace] <= count[l.end.Namespace] {
			places[l.end.Namespace] = true
		} else {
			places[l.peer.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(places))
}

// ready waits until what is new can be used. Setting a link up is not enough: in the background, in an order of its own
// and for some links a second later, the kernel notices that it has a carrier. Until then a bridge's port forwards nothing,
// and what is sent by the link is lost. An IPv6 address is answered for once its local route is there, which the kernel adds
// in the background too. Whoever sends before that asks again after a second.
func (n *news) ready(ctx context.Context) error {
	namespaces := n.places()
	for until := time.Now().Add(readyTimeout); ; {
		var lock sync.Mutex
		var waiting []string
		first := ""
		err := inEach(ctx, namespaces, func(t *thread, name string) error {
			why, err := t.unready(name, n.inet6[name])
			if why == "" || err != nil {
				return err
			}
			lock.Lock()
			defer lock.Unlock()
			if waiting = append(waiting, name); first == "" || name+" "+why < first {
				first = name + ": " + why
			}
			return nil
		})
		switch {
		case err != nil || len(waiting) == 0:
			return err
		case time.Now().After(until):
			return fmt.Errorf("%s, after %v", first, readyTimeout)
		}
		namespaces = waiting
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// unready says what in a namespace cannot be used yet; nothing where everything can.
func (t *thread) unready(namespace string, inet6 bool) (string, error) {
	place, err := Open(namespace)
	if err != nil {
		return "", err
	}
	v := &visit{Handle: &netlink.Handle{}, by: t, place: place} // without a connection of the library's: the other is enough
	defer v.close()
	if err := t.enter(place); err != nil {
		return "", err
	}
	messages, err := v.dump(unix.RTM_GETLINK, unix.RTM_NEWLINK, make(fixed, unix.SizeofIfInfomsg))
	if err != nil {
		return "", err
	}
	links := map[int]carrier{}
	ports := map[int]bool{} // bridges that have some
	for _, m := range messages {
		l, err := newCarrier(m)
		if err != nil {
			return "", err
		}
		links[l.index] = l
		ports[l.master] = true
	}
	for _, l := range links {
		if !l.ready() && (l.kind != "bridge" || ports[l.index]) {
			if l, err = v.carrier(l.index, here); err != nil {
				return "", err
			}
			if !l.ready() {
				return fmt.Sprintf("link %s has no carrier", l.name), nil
			}
		}
		if l.kind == "veth" && l.up && l.beyond != here {
			far, err := v.carrier(l.peer, l.beyond)
			if err != nil {
				return "", err
			}
			if !far.ready() {
				return fmt.Sprintf("link %s, which link %s leads to, has no carrier", far.name, l.name), nil
			}
		}
	}
	if !inet6 {
		return "", nil
	}
	return v.unusable(links)
}

const (
	here         = -1     // the number of a link's own namespace
	withoutStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS of linux/rtnetlink.h
)

// carrier is what the kernel says of a link and whether it can send.
type carrier struct {
	index, master int
	peer, beyond  int // a veth's other end, and the number of its namespace
	name, kind    string
	up            bool
	state         netlink.LinkOperState
}

// ready reports whether the link can send, or is not to.
func (c carrier) ready() bool {
	switch {
	case !c.up || c.state == netlink.OperUp:
		return true
	case c.state == netlink.OperUnknown: // for good, where a device knows of no carrier; for others until the kernel has looked
		return !slices.Contains([]string{"veth", "bridge", "vlan", "macvlan"}, c.kind)
	}
	return false
}

func newCarrier(m []byte) (c carrier, err error) {
	c.beyond = here
	c.index, c.up = int(int32(binary.NativeEndian.Uint32(m[4:]))), binary.NativeEndian.Uint32(m[8:])&unix.IFF_UP != 0
	var inner error
	err = attributes(m[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			c.name = text(value)
		case unix.IFLA_MASTER:
			c.master = number(value)
		case unix.IFLA_LINK:
			c.peer = number(value)
		case unix.IFLA_LINK_NETNSID:
			c.beyond = int(int32(number(value)))
		case unix.IFLA_OPERSTATE:
			c.state = netlink.LinkOperState(number(value))
		case unix.IFLA_LINKINFO:
			inner = attributes(value, func(kind uint16, value []byte) {
				if kind == nl.IFLA_INFO_KIND {
					c.kind = text(value)
				}
			})
		}
	})
	if err == nil {
		err = inner
	}
	return c, err
}

// carrier asks for one link, of this namespace or of one that this one has a number for. To be asked so makes the kernel
// notice at once what it has not yet (since Linux 6.5). There may be thousands of links, and the library's way to ask for one
// takes longer than the kernel's to answer.
func (v *visit) carrier(index, namespace int) (carrier, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(withoutStats)))
	if namespace != here {
		req.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(namespace))))
	}
	socket := v.raw[unix.NETLINK_ROUTE].Socket
	if err := socket.Send(req); err != nil {
		return carrier{}, err
	}
	n, _, err := unix.Recvfrom(socket.GetFd(), v.room(), 0)
	if err != nil {
		return carrier{}, err
	}
	m := v.answer[:n]
	switch kind := binary.NativeEndian.Uint16(m[4:]); {
	case kind == unix.NLMSG_ERROR:
		return carrier{}, fmt.Errorf("link %d: %w", index, unix.Errno(-int32(binary.NativeEndian.Uint32(m[unix.NLMSG_HDRLEN:]))))
	case kind != unix.RTM_NEWLINK:
		return carrier{}, fmt.Errorf("link %d: the kernel answers with a message of kind %d", index, kind)
	}
	return newCarrier(m[unix.NLMSG_HDRLEN:])
}

// unusable says which of the namespace's IPv6 addresses are not answered for.
func (v *visit) unusable(links map[int]carrier) (string, error) {
	header := make(fixed, addressHeader)
	header[0] = unix.AF_INET6
	messages, err := v.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, header)
	if err != nil {
		return "", err
	}
	type address struct {
		link string
		netip.Addr
	}
	var addresses []address
	for _, m := range messages {
		l, flags, own := links[int(binary.NativeEndian.Uint32(m[4:]))], uint32(m[2]), netip.Addr{}
		err := attributes(m[addressHeader:], func(kind uint16, value []byte) {
			switch kind {
			case unix.IFA_FLAGS:
				flags = uint32(number(value))
			case unix.IFA_LOCAL:
				own = addrOf(value)
			case unix.IFA_ADDRESS:
				if !own.IsValid() {
					own = addrOf(value)
				}
			}
		})
		switch {
		case err != nil:
			return "", err
		case l.index == loopback || !l.up:
		case flags&unix.IFA_F_DADFAILED != 0:
			return "", fmt.Errorf("address %s of link %s is another machine's too", own, l.name)
		case flags&unix.IFA_F_TENTATIVE != 0:
			return fmt.Sprintf("address %s of link %s is tentative", own, l.name), nil
		default:
			addresses = append(addresses, address{l.name, own})
		}
	}
	if len(addresses) == 0 {
		return "", nil
	}
	header = make(fixed, routeHeader)
	header[0] = unix.AF_INET6
	if messages, err = v.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, header); err != nil {
		return "", err
	}
	local := map[netip.Addr]bool{}
	for _, m := range messages {
		if m[7] != unix.RTN_LOCAL {
			continue
		}
		if err := attributes(m[routeHeader:], func(kind uint16, value []byte) {
			if kind == unix.RTA_DST {
				local[addrOf(value)] = true
			}
		}); err != nil {
			return "", err
		}
	}
	for _, a := range addresses {
		if !local[a.Addr] {
			return fmt.Sprintf("address %s of link %s has no local route", a.Addr, a.link), nil
		}
	}
	return "", nil
}
