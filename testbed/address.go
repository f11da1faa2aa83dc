package testbed

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var addressKind = inside[plan.Address]{reads: readAddresses, sets: setAddress, removes: removeAddress}

// readAddresses reads the addresses of all links, without lo's own and those that IPv6 gives to every link.
func readAddresses(_ *reader, v *visit, f *found) error {
	messages, err := v.dump(unix.RTM_GETADDR, unix.RTM_NEWADDR, make(fixed, addressHeader))
	if err != nil {
		return err
	}
	for _, m := range messages {
		a, err := f.address(v.place.Name, m)
		if err != nil {
			return err
		}
		if ip := a.Prefix.Addr(); ip.IsValid() && !ip.IsLoopback() && !(ip.Is6() && ip.IsLinkLocalUnicast()) {
			f.add(a)
		}
	}
	return nil
}

func (f *found) address(ns string, m []byte) (plan.Address, error) {
	family, bits, flags := m[0], int(m[1]), uint32(m[2])
	a := plan.Address{Namespace: ns, Link: f.link(int(binary.NativeEndian.Uint32(m[4:]))), Scope: scopeName(int(m[3]))}
	if !isIP(family) {
		return a, nil
	}
	var local, far netip.Addr
	var odd []string
	err := attributes(m[addressHeader:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local = addrOf(value)
		case unix.IFA_ADDRESS:
			far = addrOf(value)
		case unix.IFA_BROADCAST:
			a.Broadcast = addrOf(value)
		case unix.IFA_FLAGS:
			flags = uint32(number(value))
		case unix.IFA_RT_PRIORITY:
			if n := number(value); n != 0 {
				odd = append(odd, "metric "+strconv.Itoa(n))
			}
		}
	})
	if !local.IsValid() {
		local = far
	}
	if far != local {
		odd = append(odd, "peer "+far.String())
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.NoPrefixRoute = flags&unix.IFA_F_NOPREFIXROUTE != 0
	a.Odd = strings.Join(odd, " ")
	return a, err
}

func newAddr(a plan.Address) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(a.Prefix), Scope: int(scopeOf(a.Scope))}
	if a.NoPrefixRoute {
		addr.Flags |= unix.IFA_F_NOPREFIXROUTE
	}
	if a.Prefix.Addr().Is6() {
		addr.Flags |= unix.IFA_F_NODAD // addresses of a plan are known to be unique
	} else {
		addr.Broadcast = net.IPv4zero // netlink's word for none
		if a.Broadcast.IsValid() {
			addr.Broadcast = a.Broadcast.AsSlice()
		}
	}
	return addr
}

func setAddress(a *applier, v *visit, o, _ plan.Address) error {
	index, err := v.link(o.Link)
	if err != nil {
		return err
	}
	a.news.add(o)
	if err := v.AddrReplace(device(index), newAddr(o)); err != nil || !o.NoLocalRoute {
		return err
	}
	return v.withoutLocalRoutes(o, index)
}

func removeAddress(_ *applier, v *visit, o plan.Address) error {
	if o.Odd != "" {
		return v.removeOddAddress(o)
	}
	index, err := v.link(o.Link)
	if err != nil {
		return err
	}
	return v.AddrDel(device(index), newAddr(o))
}

// removeOddAddress removes an address that has something odd.
func (v *visit) removeOddAddress(a plan.Address) error {
	f := &found{names: map[int]string{}}
	if err := v.names(f); err != nil {
		return err
	}
	return v.echo(unix.RTM_NEWADDR, addressHeader, func(m []byte) bool {
		o, err := f.address(a.Namespace, m)
		return err == nil && o == a
	})
}

// withoutLocalRoutes removes the routes by which the machine takes packets for an address, and for its subnet's broadcast.
func (v *visit) withoutLocalRoutes(a plan.Address, index int) error {
	err := v.RouteDel(&netlink.Route{LinkIndex: index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Dst: ipNet(plan.Single(a.Prefix.Addr()))})
	if err != nil || !a.Broadcast.IsValid() {
		return err
	}
	return v.RouteDel(&netlink.Route{LinkIndex: index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_BROADCAST, Scope: unix.RT_SCOPE_LINK, Dst: ipNet(plan.Single(a.Broadcast))})
}

// connection is a route that the kernel keeps for an address.
type connection struct {
	link string
	dst  netip.Prefix
}

// unconnected finds addresses whose routes somebody has deleted: the one to the subnet, and the local one. They are then like
// addresses made without them, and that is what makes the difference seen: the kernel makes the routes again only together
// with the address.
func (f *found) unconnected(routes, local map[connection]bool) {
	down := map[string]bool{}
	for _, o := range f.objects {
		if l, ok := o.(plan.Link); ok && l.Down {
			down[l.Name] = true
		}
	}
	for _, e := range f.open {
		if e.link.Down {
			down[e.link.Name] = true
		}
	}
	for i, o := range f.objects {
		a, ok := o.(plan.Address)
		if !ok || a.Odd != "" || down[a.Link] {
			continue
		}
		if !a.Prefix.IsSingleIP() && !routes[connection{a.Link, a.Prefix.Masked()}] {
			a.NoPrefixRoute = true
		}
		if a.Prefix.Addr().Is4() && !local[connection{a.Link, plan.Single(a.Prefix.Addr())}] {
			a.NoLocalRoute = true
		}
		f.objects[i] = a
	}
}
