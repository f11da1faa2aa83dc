package testbed

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// The objects of a plan in netlink's form.

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

func (v *visit) neighbour(n plan.Neighbour) (*netlink.Neigh, error) {
	index, err := v.link(n.Link)
	if err != nil {
		return nil, err
	}
	neigh := &netlink.Neigh{LinkIndex: index, Family: netlink.FAMILY_V4, IP: n.Addr.AsSlice(), State: netlink.NUD_PERMANENT}
	if n.Addr.Is6() {
		neigh.Family = netlink.FAMILY_V6
	}
	if n.Proxy {
		neigh.Flags = netlink.NTF_PROXY
		return neigh, nil
	}
	neigh.HardwareAddr, err = net.ParseMAC(n.MAC)
	return neigh, err
}

func (v *visit) fdb(f plan.FDB) (*netlink.Neigh, error) {
	index, err := v.link(f.Link)
	if err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(f.MAC)
	return &netlink.Neigh{
		LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, IP: f.Dst.AsSlice(), HardwareAddr: mac,
	}, err
}

func (v *visit) route(r plan.Route) (*netlink.Route, error) {
	route := &netlink.Route{
		Table: r.Table, Type: routeTypes[r.Type], Dst: ipNet(r.Dst), Scope: scopeOf(r.Scope), Protocol: netlink.RouteProtocol(r.Protocol),
		Priority: r.Metric, MTU: r.MTU, Family: netlink.FAMILY_V4,
	}
	if r.Dst.Addr().Is6() {
		route.Family = netlink.FAMILY_V6
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
	}
	if r.Src.IsValid() {
		route.Src = r.Src.AsSlice()
	}
	if r.Onlink {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.Dev != "" {
		index, err := v.link(r.Dev)
		if err != nil {
			return nil, err
		}
		route.LinkIndex = index
	}
	return route, nil
}

func newRule(r plan.Rule) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family = netlink.FAMILY_V4
	if r.V6 {
		rule.Family = netlink.FAMILY_V6
	}
	rule.Priority, rule.Table = r.Priority, r.Table
	rule.Src, rule.Dst = ipNet(r.From), ipNet(r.To)
	if r.Mark != 0 || r.Mask != 0 {
		mask := r.Mask
		rule.Mark, rule.Mask = r.Mark, &mask
	}
	return rule
}

func parseOffloads(s string) (map[string]bool, error) {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || value != "on" && value != "off" {
			return nil, fmt.Errorf("%q is not feature=on or feature=off", word)
		}
		out[name] = value == "on"
	}
	return out, nil
}
