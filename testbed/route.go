package testbed

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var routeTypes = map[string]int{
	"": unix.RTN_UNICAST, "blackhole": unix.RTN_BLACKHOLE, "throw": unix.RTN_THROW, "unreachable": unix.RTN_UNREACHABLE,
	"prohibit": unix.RTN_PROHIBIT, "local": unix.RTN_LOCAL, "broadcast": unix.RTN_BROADCAST, "anycast": unix.RTN_ANYCAST, "multicast": unix.RTN_MULTICAST,
}

// metricNames are those of a route's settings that it has besides the MTU.
var metricNames = map[uint16]string{
	unix.RTAX_LOCK: "lock", unix.RTAX_WINDOW: "window", unix.RTAX_ADVMSS: "advmss", unix.RTAX_HOPLIMIT: "hoplimit", unix.RTAX_INITCWND: "initcwnd",
	unix.RTAX_INITRWND: "initrwnd", unix.RTAX_FEATURES: "features", unix.RTAX_QUICKACK: "quickack", unix.RTAX_RTO_MIN: "rto_min",
}

var routeKind = inside[plan.Route]{reads: readRoutes, sets: setRoute, removes: removeRoute}

// readRoutes reads the routes of all tables but the local one, and but those that an agent looks after.
func readRoutes(r *reader, v *visit, f *found) error {
	messages, err := v.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, make(fixed, routeHeader))
	if err != nil {
		return err
	}
	connected, local := map[connection]bool{}, map[connection]bool{}
	taken := map[plan.Key]int{} // where among the objects the route of a key is
	for _, m := range messages {
		o, kernels, err := f.route(v.place.Name, m)
		if err != nil {
			return err
		}
		if kernels {
			connected[connection{o.Dev, o.Dst}] = true
			continue
		}
		if o.Type == "local" && o.Table == 0 {
			local[connection{o.Dev, o.Dst}] = true
		}
		if o.Table == 0 || r.delegates(v.place.Name, o.Protocol) && !r.wantsRoute(o) {
			continue
		}
		// The kernel may hold several routes to one destination: one is that of the key, the wanted one if it is there.
		at, twice := taken[o.Key()]
		switch {
		case !twice:
			taken[o.Key()] = len(f.objects)
		case r.wantsRoute(o):
			other := f.objects[at].(plan.Route)
			f.objects[at], o = o, beside(other)
		default:
			o = beside(o)
		}
		f.add(o)
	}
	f.unconnected(connected, local)
	return nil
}

// delegates reports whether routes of a protocol are an agent's, or a routing daemon's that works in the namespace.
func (r *reader) delegates(namespace string, protocol int) bool {
	return slices.ContainsFunc(r.delegated[namespace], func(of int) bool {
		return protocol != 0 && of == protocol || of == plan.ProtocolDaemons && protocol > unix.RTPROT_STATIC
	})
}

// wantsRoute reports whether the plan has just this route.
func (r *reader) wantsRoute(o plan.Route) bool {
	wanted, ok := r.want.Get(o.Key()).(plan.Route)
	wanted.On = plan.Key{}
	return ok && wanted == o
}

// beside is a route that was found next to another of its destination: its hop is in its key.
func beside(r plan.Route) plan.Route {
	r.Odd = strings.Join(strings.Fields(hop(r.Via, r.Dev)+" "+string(r.Hops)+" "+r.Odd), " ")
	r.Via, r.Dev, r.Hops = netip.Addr{}, "", ""
	return r
}

func hop(via netip.Addr, dev string) string {
	var words []string
	if via.IsValid() {
		words = append(words, "via "+via.String())
	}
	if dev != "" {
		words = append(words, "dev "+dev)
	}
	return strings.Join(words, " ")
}

// route reads a message; kernels tells that it is one which the kernel keeps for an address. A message that is of no
// concern gives a route without table.
func (f *found) route(ns string, m []byte) (r plan.Route, kernels bool, err error) {
	family, bits, from, tos, protocol := m[0], int(m[1]), int(m[2]), m[3], m[5]
	flags := binary.NativeEndian.Uint32(m[8:])
	r = plan.Route{
		Namespace: ns, Table: int(m[4]), Protocol: int(protocol), Scope: scopeName(int(m[6])), Onlink: flags&unix.RTNH_F_ONLINK != 0,
	}
	var odd []string
	if tos != 0 {
		odd = append(odd, fmt.Sprintf("tos %#02x", tos))
	}
	dst := unspecified(family)
	err = attributes(m[routeHeader:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_TABLE:
			r.Table = number(value)
		case unix.RTA_DST:
			dst = addrOf(value)
		case unix.RTA_SRC:
			odd = append(odd, "from "+netip.PrefixFrom(addrOf(value), from).String())
		case unix.RTA_GATEWAY:
			r.Via = addrOf(value)
		case unix.RTA_VIA: // a next hop of the other family
			odd = append(odd, "via inet6 "+addrOf(value[2:]).String())
		case unix.RTA_OIF:
			r.Dev = f.link(number(value))
		case unix.RTA_PREFSRC:
			r.Src = addrOf(value)
		case unix.RTA_PRIORITY:
			r.Metric = number(value)
		case unix.RTA_METRICS:
			var words []string
			r.MTU, words = settings(value)
			odd = append(odd, words...)
		case unix.RTA_MULTIPATH:
			var words []string
			r.Hops, words = f.hops(value)
			odd = append(odd, words...)
		case rtaNexthopID:
			odd = append(odd, "nhid "+strconv.Itoa(number(value)))
		case unix.RTA_FLOW:
			odd = append(odd, fmt.Sprintf("realm %d", number(value)))
		case unix.RTA_ENCAP_TYPE:
			odd = append(odd, fmt.Sprintf("encap %d", number(value)))
		}
	})
	r.Dst = netip.PrefixFrom(dst, bits)
	r.Odd = strings.Join(odd, " ")
	kind, known := nameOf(routeTypes, int(m[7]))
	if !known {
		kind = strconv.Itoa(int(m[7]))
	}
	r.Type = kind
	if kind != "" && kind != "local" {
		r.Dev = "" // IPv6 names lo
	}
	if family == unix.AF_INET6 && r.Metric == 1024 {
		r.Metric = 0 // what the kernel takes where nothing is given
	}
	switch {
	case !isIP(family) || r.Table == unix.RT_TABLE_LOCAL || flags&unix.RTM_F_CLONED != 0:
		r.Table = 0
	case protocol == unix.RTPROT_KERNEL:
		return r, true, err
	}
	return r, false, err
}

// settings returns the MTU, and in words what else is set.
func settings(m []byte) (mtu int, odd []string) {
	_ = attributes(m, func(kind uint16, value []byte) {
		switch {
		case kind == unix.RTAX_MTU:
			mtu = number(value)
		case kind == unix.RTAX_CC_ALGO:
			odd = append(odd, "congctl "+text(value))
		case number(value) != 0:
			name, ok := metricNames[kind]
			if !ok {
				name = fmt.Sprintf("metric%d", kind)
			}
			odd = append(odd, name+" "+strconv.Itoa(number(value)))
		}
	})
	return mtu, odd
}

// hops reads the next hops of a route that has several; those that no lab has are returned in words.
func (f *found) hops(m []byte) (plan.Hops, []string) {
	var hops []plan.Hop
	var odd []string
	for len(m) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(m))
		if n < unix.SizeofRtNexthop || n > len(m) {
			break
		}
		h := plan.Hop{Dev: f.link(number(m[4:8])), Weight: int(m[3]) + 1}
		var other []string
		if m[2]&unix.RTNH_F_ONLINK != 0 {
			other = append(other, "onlink")
		}
		_ = attributes(m[unix.SizeofRtNexthop:n], func(kind uint16, value []byte) {
			switch kind {
			case unix.RTA_GATEWAY:
				h.Via = addrOf(value)
			case unix.RTA_VIA:
				other = append(other, "via inet6 "+addrOf(value[2:]).String())
			case unix.RTA_FLOW:
				other = append(other, fmt.Sprintf("realm %d", number(value)))
			case unix.RTA_ENCAP_TYPE:
				other = append(other, fmt.Sprintf("encap %d", number(value)))
			}
		})
		if h.Via.IsValid() && other == nil {
			hops = append(hops, h)
		} else {
			odd = append(odd, strings.Join(append([]string{"nexthop", hop(h.Via, h.Dev)}, other...), " "))
		}
		m = m[min((n+3)&^3, len(m)):]
	}
	return plan.NextHops(hops), odd
}

func setRoute(_ *applier, v *visit, o, _ plan.Route) error {
	m, err := v.routeMessage(o)
	if err != nil {
		return err
	}
	return v.tell(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, m)
}

func removeRoute(_ *applier, v *visit, o plan.Route) error {
	if o.Odd != "" {
		return v.removeOddRoute(o)
	}
	m, err := v.routeMessage(o)
	if err != nil {
		return err
	}
	return v.tell(unix.RTM_DELROUTE, 0, m)
}

func (v *visit) routeMessage(r plan.Route) (message, error) {
	family, flags := byte(unix.AF_INET), byte(0)
	if r.Dst.Addr().Is6() {
		family = unix.AF_INET6
	}
	if r.Onlink {
		flags = unix.RTNH_F_ONLINK
	}
	table := byte(unix.RT_TABLE_UNSPEC)
	if r.Table < 256 {
		table = byte(r.Table)
	}
	kind, ok := routeTypes[r.Type]
	if !ok {
		return nil, fmt.Errorf("there are no %s routes", r.Type)
	}
	m := v.newMessage(family, byte(r.Dst.Bits()), 0, 0, table, byte(r.Protocol), byte(scopeOf(r.Scope)), byte(kind), 0, 0, 0, 0)
	binary.NativeEndian.PutUint32(m[len(m)-4:], uint32(flags))
	m.number(unix.RTA_TABLE, r.Table)
	m.address(unix.RTA_DST, r.Dst.Addr())
	m.address(unix.RTA_GATEWAY, r.Via)
	m.address(unix.RTA_PREFSRC, r.Src)
	if r.Dev != "" {
		index, err := v.link(r.Dev)
		if err != nil {
			return nil, err
		}
		m.number(unix.RTA_OIF, index)
	}
	if err := v.hops(&m, r.Hops.All()); err != nil {
		return nil, err
	}
	if r.Metric != 0 {
		m.number(unix.RTA_PRIORITY, r.Metric)
	}
	if r.MTU != 0 {
		var metrics message
		metrics.number(unix.RTAX_MTU, r.MTU)
		m.add(unix.RTA_METRICS, metrics)
	}
	return m, nil
}

// hops adds several next hops to a message about a route.
func (v *visit) hops(m *message, hops []plan.Hop) error {
	if len(hops) == 0 {
		return nil
	}
	var all message
	for _, h := range hops {
		index, err := v.link(h.Dev)
		if err != nil {
			return err
		}
		var gateway message
		gateway.address(unix.RTA_GATEWAY, h.Via)
		all = binary.NativeEndian.AppendUint16(all, uint16(unix.SizeofRtNexthop+len(gateway)))
		all = append(all, 0, byte(h.Weight-1))
		all = binary.NativeEndian.AppendUint32(all, uint32(index))
		all = append(all, gateway...)
	}
	m.add(unix.RTA_MULTIPATH, all)
	return nil
}

// removeOddRoute removes a route that has something odd.
func (v *visit) removeOddRoute(r plan.Route) error {
	f := &found{names: map[int]string{}}
	if err := v.names(f); err != nil {
		return err
	}
	r.On = plan.Key{}
	return v.echo(unix.RTM_NEWROUTE, routeHeader, func(m []byte) bool {
		o, kernels, err := f.route(r.Namespace, m)
		return err == nil && !kernels && (o == r || beside(o) == r)
	})
}
