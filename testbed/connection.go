package testbed

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Connections are read and made by messages of our own: the library's list reads those of TCP as well, and those that it makes are
// not translated.

var connectionKind = inside[plan.Connection]{reads: readConnections, sets: setConnection, removes: removeConnection}

// Attributes of linux/netfilter/nfnetlink_conntrack.h that the library does not name, and states of an entry (nf_conntrack_common.h).
const (
	ctaNATDst    = 13
	ctaFilter    = 25
	filterOrig   = 1
	filterReply  = 2
	filterOnUDP  = 1 << 3 // the number of the protocol
	natMinV4     = 1
	natMaxV4     = 2
	natPorts     = 3
	natMinV6     = 4
	natMaxV6     = 5
	natPortMin   = 1
	natPortMax   = 2
	ctSeenReply  = 1 << 1
	ctAssured    = 1 << 2
	ctConfirmed  = 1 << 3
	ctFixedTime  = 1 << 10
	mostReported = 100 // connections of a namespace that are told as they are found; all are forgotten
)

// readConnections finds those that lead where services do not lead any more.
func readConnections(r *reader, v *visit, f *found) error {
	stale, err := v.stale(r.want)
	for _, c := range stale[:min(len(stale), mostReported)] {
		f.add(c)
	}
	return err
}

// stale are the connections of a namespace that lead where services do not lead any more. The kernel can hold many that have
// nothing to do with it, so that each is looked at while it comes by.
func (v *visit) stale(want *plan.State) (all []plan.Connection, err error) {
	if !want.Leads(v.place.Name) {
		return nil, nil
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		of, err := again(func() (of []plan.Connection, err error) {
			req, err := v.connectionRequest(family, nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
			if err != nil {
				return nil, err
			}
			udp := nl.NewRtAttr(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, nil)
			udp.AddRtAttr(nl.CTA_TUPLE_PROTO|unix.NLA_F_NESTED, nil).AddRtAttr(nl.CTA_PROTO_NUM, nl.Uint8Attr(unix.IPPROTO_UDP))
			filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
			filter.AddRtAttr(filterOrig, nl.Uint32Attr(filterOnUDP))
			filter.AddRtAttr(filterReply, nl.Uint32Attr(0))
			req.AddData(udp)
			req.AddData(filter)
			err = req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(m []byte) bool {
				if c, ok := connectionIn(m); ok {
					if c.Namespace = v.place.Name; want.Stale(c) {
						of = append(of, c)
					}
				}
				return true
			})
			return of, err
		})
		if errors.Is(err, unix.EINVAL) { // the kernel has no nf_conntrack_netlink
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

func (v *visit) connectionRequest(family uint8, command, flags int) (*nl.NetlinkRequest, error) {
	req, err := v.requestTo(unix.NETLINK_NETFILTER, uint16(unix.NFNL_SUBSYS_CTNETLINK<<8|command), flags)
	if err == nil {
		req.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	}
	return req, err
}

// connectionIn reads a message; ok is false where it is about something else than datagrams, or about those of a zone, which nobody
// makes in a lab but by rules of their own.
func connectionIn(m []byte) (c plan.Connection, ok bool) {
	if len(m) < nl.SizeofNfgenmsg {
		return c, false
	}
	udp, zone := false, false
	err := attributes(m[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
		switch kind {
		case nl.CTA_TUPLE_ORIG:
			c.From, c.To, udp = tupleIn(value)
		case nl.CTA_TUPLE_REPLY:
			c.By, c.Back, _ = tupleIn(value)
		case nl.CTA_ZONE:
			zone = true
		}
	})
	return c, err == nil && udp && !zone && c.By.IsValid()
}

func tupleIn(tuple []byte) (from, to netip.AddrPort, udp bool) {
	var addresses [2]netip.Addr
	var ports [2]uint16
	_ = attributes(tuple, func(kind uint16, value []byte) {
		_ = attributes(value, func(part uint16, value []byte) {
			switch {
			case kind == nl.CTA_TUPLE_IP && part >= nl.CTA_IP_V4_SRC && part <= nl.CTA_IP_V6_DST:
				addresses[(part-nl.CTA_IP_V4_SRC)%2] = addrOf(value)
			case kind == nl.CTA_TUPLE_PROTO && part == nl.CTA_PROTO_NUM:
				udp = number(value) == unix.IPPROTO_UDP
			case kind == nl.CTA_TUPLE_PROTO && (part == nl.CTA_PROTO_SRC_PORT || part == nl.CTA_PROTO_DST_PORT) && len(value) == 2:
				ports[part-nl.CTA_PROTO_SRC_PORT] = binary.BigEndian.Uint16(value)
			}
		})
	})
	return netip.AddrPortFrom(addresses[0], ports[0]), netip.AddrPortFrom(addresses[1], ports[1]), udp
}

// tuple says between which sockets datagrams go.
func tuple(kind int, from, to netip.AddrPort) *nl.RtAttr {
	source, destination := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if to.Addr().Is6() {
		source, destination = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	t := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	ip := t.AddRtAttr(nl.CTA_TUPLE_IP|unix.NLA_F_NESTED, nil)
	ip.AddRtAttr(source, from.Addr().AsSlice())
	ip.AddRtAttr(destination, to.Addr().AsSlice())
	proto := t.AddRtAttr(nl.CTA_TUPLE_PROTO|unix.NLA_F_NESTED, nil)
	proto.AddRtAttr(nl.CTA_PROTO_NUM, nl.Uint8Attr(unix.IPPROTO_UDP))
	proto.AddRtAttr(nl.CTA_PROTO_SRC_PORT, bigEndian16(from.Port()))
	proto.AddRtAttr(nl.CTA_PROTO_DST_PORT, bigEndian16(to.Port()))
	return t
}

func familyOf(a netip.Addr) uint8 {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// setConnection makes an entry that leads to By, as if its first datagram had been translated so. It does not end, used or not, for
// [plan.KeptSeconds]. The kernel finds out itself whose answers belong to it.
func setConnection(_ *applier, v *visit, c, _ plan.Connection) error {
	req, err := v.connectionRequest(familyOf(c.To.Addr()), nl.IPCTNL_MSG_CT_NEW, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	if err != nil {
		return err
	}
	lowest, highest := natMinV4, natMaxV4
	if c.To.Addr().Is6() {
		lowest, highest = natMinV6, natMaxV6
	}
	nat := nl.NewRtAttr(ctaNATDst|unix.NLA_F_NESTED, nil)
	nat.AddRtAttr(lowest, c.By.Addr().AsSlice())
	nat.AddRtAttr(highest, c.By.Addr().AsSlice())
	ports := nat.AddRtAttr(natPorts|unix.NLA_F_NESTED, nil)
	ports.AddRtAttr(natPortMin, bigEndian16(c.By.Port()))
	ports.AddRtAttr(natPortMax, bigEndian16(c.By.Port()))
	req.AddData(tuple(nl.CTA_TUPLE_ORIG, c.From, c.To))
	req.AddData(tuple(nl.CTA_TUPLE_REPLY, c.To, c.From))
	req.AddData(nl.NewRtAttr(nl.CTA_STATUS, binary.BigEndian.AppendUint32(nil, ctSeenReply|ctAssured|ctConfirmed|ctFixedTime)))
	req.AddData(nl.NewRtAttr(nl.CTA_TIMEOUT, binary.BigEndian.AppendUint32(nil, plan.KeptSeconds)))
	req.AddData(nat)
	_, err = req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

func removeConnection(_ *applier, v *visit, c plan.Connection) error {
	req, err := v.connectionRequest(familyOf(c.To.Addr()), nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	if err != nil {
		return err
	}
	req.AddData(tuple(nl.CTA_TUPLE_ORIG, c.From, c.To))
	_, err = req.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

// Stale are the connections of a lab that lead where services do not lead any more.
func Stale(ctx context.Context, want *plan.State) (all []plan.Connection, err error) {
	var mu sync.Mutex
	err = inStale(ctx, want.Leading(), want, func(_ *visit, some []plan.Connection) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, some...)
		return nil
	})
	slices.SortFunc(all, func(a, b plan.Connection) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), a.To.Compare(b.To), a.From.Compare(b.From))
	})
	return all, err
}

// Forget removes the connections that lead where services do not lead any more, wherever changes concern what translates datagrams:
// those that began while the changes were made, and what there is besides those that are among them.
func Forget(ctx context.Context, want *plan.State, changes []plan.Change) error {
	fresh, places := map[string]bool{}, map[string]bool{}
	for _, c := range changes {
		namespace := c.Object.Key().Namespace
		switch c.Object.(type) {
		case plan.Namespace:
			fresh[namespace] = c.Op == plan.Create
		case plan.VirtualServer, plan.RealServer, plan.Attachment, plan.Connection:
			places[namespace] = true
		default:
			places[namespace] = places[namespace] || plan.InFirewall(c.Object)
		}
	}
	var names []string
	for name, look := range places {
		if look && !fresh[name] && want.Leads(name) {
			names = append(names, name)
		}
	}
	return inStale(ctx, names, want, func(v *visit, stale []plan.Connection) error {
		for _, c := range stale {
			if err := removeConnection(nil, v, c); !gone(err) && err != nil {
				return err
			}
		}
		return nil
	})
}

// inStale calls f in each of the namespaces that there are, with the stale connections there.
func inStale(ctx context.Context, names []string, want *plan.State, f func(*visit, []plan.Connection) error) error {
	return inEach(ctx, names, func(t *thread, name string) error {
		place, err := Open(name)
		if err != nil {
			return nil // gone since
		}
		v, err := t.call(place)
		if err != nil {
			place.Close()
			return err
		}
		defer v.close()
		stale, err := v.stale(want)
		if err != nil {
			return err
		}
		return f(v, stale)
	})
}
