package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// table is the part of the kernel's routing table that is the speaker's: the routes of its protocol, in its table, inside the
// prefixes it may install, but for those that it announces itself (Calico's blackhole of the own block has BIRD's number too).
type table struct {
	Install
	log      *slog.Logger
	handle   *netlink.Handle
	families []int
	own      map[netip.Prefix]bool
	troubles map[netip.Prefix]string // what was last complained of
}

// hop is a next hop as the kernel has it.
type hop struct {
	via    netip.Addr
	link   int
	onlink bool
}

func (a hop) compare(b hop) int {
	return cmp.Or(a.via.Compare(b.via), cmp.Compare(a.link, b.link))
}

func openTable(cfg Config, log *slog.Logger) (*table, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	t := &table{Install: *cfg.Install, log: log, handle: h, own: map[netip.Prefix]bool{}, troubles: map[netip.Prefix]string{}}
	if t.Table == 0 {
		t.Table = mainTable
	}
	for _, a := range cfg.Announce {
		t.own[a.Prefix] = true
	}
	for _, p := range t.Within {
		if f := familyOf(p.Addr()); !slices.Contains(t.families, f) {
			t.families = append(t.families, f)
		}
	}
	return t, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// admits reports whether a prefix is on the speaker's ground.
func (t *table) admits(p netip.Prefix) bool {
	return !t.own[p] && slices.ContainsFunc(t.Within, func(w netip.Prefix) bool {
		return w.Bits() <= p.Bits() && w.Contains(p.Addr())
	})
}

// read gives the speaker's routes, as they are in the kernel.
func (t *table) read() (map[netip.Prefix][]netlink.Route, error) {
	found := map[netip.Prefix][]netlink.Route{}
	filter := &netlink.Route{Table: t.Table, Protocol: netlink.RouteProtocol(t.Protocol), Type: unix.RTN_UNICAST}
	for _, family := range t.families {
		routes, err := whole(func() ([]netlink.Route, error) {
			return t.handle.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
		})
		if err != nil {
			return nil, fmt.Errorf("reading the routes of table %d: %w", t.Table, err)
		}
		for _, r := range routes {
			if p := prefixOf(r.Dst); t.admits(p) {
				found[p] = append(found[p], r)
			}
		}
	}
	return found, nil
}

// whole repeats a dump that a change in between has cut in two.
func whole[T any](dump func() (T, error)) (found T, err error) {
	for range 5 {
		if found, err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return found, err
}

// set makes the kernel's routes the wanted ones. With keep it removes none that conflicts with no other: it may still be wanted. It
// reports which prefixes stand in the kernel now.
func (t *table) set(wanted map[netip.Prefix][]netip.Addr, keep bool) (map[netip.Prefix]bool, error) {
	have, err := t.read()
	if err != nil {
		return nil, err
	}
	resolve, err := t.resolver()
	if err != nil {
		return nil, err
	}
	stands := map[netip.Prefix]bool{}
	for _, p := range slices.SortedFunc(maps.Keys(wanted), netip.Prefix.Compare) {
		if !t.admits(p) {
			continue
		}
		err := t.install(p, wanted[p], have[p], resolve)
		stands[p] = err == nil
		t.complain(p, err)
	}
	for p, routes := range have {
		if _, ok := wanted[p]; ok || keep {
			continue
		}
		for _, r := range routes {
			if err := t.remove(r); err != nil {
				t.log.Warn("a route stays", "prefix", p, "error", err)
			}
		}
	}
	for p := range t.troubles {
		if _, ok := wanted[p]; !ok {
			delete(t.troubles, p)
		}
	}
	return stands, nil
}

// install writes one route, if it does not stand there already, without a moment in which there is none.
func (t *table) install(p netip.Prefix, via []netip.Addr, have []netlink.Route, resolve func(netip.Addr) (hop, error)) error {
	var hops []hop
	var errs []error
	for _, nh := range via {
		h, err := resolve(nh)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		hops = append(hops, h)
	}
	if len(hops) == 0 {
		return errors.Join(errs...)
	}
	slices.SortFunc(hops, hop.compare)
	hops = slices.Compact(hops)

	r := t.route(p, hops)
	write := t.handle.RouteAdd // which fails where a route of this metric is there that is not the speaker's
	var others []netlink.Route
	for _, old := range have {
		switch {
		case old.Priority != t.metric(p):
			others = append(others, old)
		case slices.Equal(hopsOf(old), hops):
			write = nil
		default:
			write = t.handle.RouteReplace
		}
	}
	if write != nil {
		if err := write(r); errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("table %d has a route to it with metric %d that is not the speaker's: it is left alone", t.Table, t.metric(p))
		} else if err != nil {
			return fmt.Errorf("adding %s: %w", r, err)
		}
		t.log.Debug("route installed", "prefix", p, "next hops", via)
	}
	for _, old := range others { // of another metric, from an earlier configuration
		if err := t.remove(old); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) remove(r netlink.Route) error {
	if err := t.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("removing %s: %w", r, err)
	}
	t.log.Debug("route removed", "prefix", r.Dst)
	return nil
}

// complain logs what keeps a route out of the kernel, once.
func (t *table) complain(p netip.Prefix, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != t.troubles[p] && err != nil {
		t.log.Warn("a learnt route is not installed", "prefix", p, "error", err)
	}
	t.troubles[p] = text
}

// metric is what the kernel calls the route's priority; IPv6 has no 0.
func (t *table) metric(p netip.Prefix) int {
	if t.Metric == 0 && !p.Addr().Is4() {
		return 1024
	}
	return t.Metric
}

func (t *table) route(p netip.Prefix, hops []hop) *netlink.Route {
	r := &netlink.Route{
		Dst:   &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		Table: t.Table, Protocol: netlink.RouteProtocol(t.Protocol), Priority: t.metric(p), Type: unix.RTN_UNICAST,
	}
	if len(hops) == 1 {
		r.Gw, r.LinkIndex, r.Flags = hops[0].via.AsSlice(), hops[0].link, hops[0].flags()
		return r
	}
	for _, h := range hops {
		r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: h.via.AsSlice(), LinkIndex: h.link, Flags: h.flags()})
	}
	return r
}

func (a hop) flags() int {
	if a.onlink {
		return int(netlink.FLAG_ONLINK)
	}
	return 0
}

func hopsOf(r netlink.Route) []hop {
	one := func(gw net.IP, link, flags int) hop {
		return hop{via: addrOf(gw), link: link, onlink: flags&int(netlink.FLAG_ONLINK) != 0}
	}
	if len(r.MultiPath) == 0 {
		return []hop{one(r.Gw, r.LinkIndex, r.Flags)}
	}
	var hops []hop
	for _, n := range r.MultiPath {
		hops = append(hops, one(n.Gw, n.LinkIndex, n.Flags))
	}
	slices.SortFunc(hops, hop.compare)
	return hops
}

// resolver gives the function that tells how a next hop is reached: straight in a subnet of this machine, else through the
// tunnel, else as the kernel's routing table says (BIRD's "gateway recursive").
func (t *table) resolver() (func(netip.Addr) (hop, error), error) {
	tunnel := 0
	if t.Tunnel != "" {
		link, err := t.handle.LinkByName(t.Tunnel)
		if err != nil {
			return nil, fmt.Errorf("device %s of the learnt routes: %w", t.Tunnel, err)
		}
		tunnel = link.Attrs().Index
	}
	type subnet struct {
		netip.Prefix
		link int
	}
	var subnets []subnet
	for _, family := range t.families {
		addrs, err := whole(func() ([]netlink.Addr, error) { return t.handle.AddrList(nil, family) })
		if err != nil {
			return nil, fmt.Errorf("reading addresses: %w", err)
		}
		for _, a := range addrs {
			// A tunnel's own subnet, and one without another member, leads to no neighbour.
			if p := prefixOf(a.IPNet); a.LinkIndex != tunnel && !p.IsSingleIP() && !a.IP.IsLoopback() {
				subnets = append(subnets, subnet{p, a.LinkIndex})
			}
		}
	}
	slices.SortStableFunc(subnets, func(a, b subnet) int { return cmp.Compare(b.Bits(), a.Bits()) }) // the longest first
	return func(nh netip.Addr) (hop, error) {
		i := slices.IndexFunc(subnets, func(s subnet) bool { return s.Contains(nh) })
		switch {
		case tunnel != 0 && (i < 0 || !t.Direct):
			return hop{via: nh, link: tunnel, onlink: true}, nil
		case i >= 0:
			return hop{via: nh, link: subnets[i].link}, nil
		}
		routes, err := t.handle.RouteGet(nh.AsSlice())
		if err != nil || len(routes) == 0 {
			return hop{}, fmt.Errorf("no route leads to its next hop %s (%w)", nh, err)
		}
		h := hop{via: addrOf(routes[0].Gw), link: routes[0].LinkIndex}
		if !h.via.IsValid() {
			h.via = nh
		}
		return h, nil
	}, nil
}

// watch calls f after every change of the machine's routes, links and addresses, until close.
func watch(f func()) (stop func(), err error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("netlink: subscribing to changes: %w", err)
	}
	go func() {
		for {
			_, _, err := s.Receive()
			if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EBADF) {
				return
			}
			f() // also where messages were lost, which is an error too
		}
	}()
	return s.Close, nil
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addrOf(n.IP), bits).Masked()
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
