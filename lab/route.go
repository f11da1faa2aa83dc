package lab

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"
)

const (
	maxHops   = 32  // of a route
	maxWeight = 255 // the kernel has a byte for it
)

func (l *loader) route(m *Machine, b inner) {
	f := l.fields(route, b.Body, b.ctx)
	r := &Route{Range: b.DefRange(), At: f.at}
	var places []hcl.Range
	var okTo, okVia bool
	r.Hops, places, okVia = f.hops()
	if okVia {
		r.Via = r.Hops[0].Via
	}
	to, toAt, hasTo := f.text("to")
	switch {
	case hasTo && to == "default" && okVia:
		r.To, okTo = everywhere(r.Via.Is6()), true
	case hasTo && to != "default" && distance(to, "default", 3) < 3:
		l.errorf(toAt, "Invalid CIDR", "%q is not a network such as 192.168.205.0/24 or fd00:205::/64. Did you mean \"default\"?", to)
	case hasTo && to != "default":
		r.To, okTo = l.cidr(item{to, toAt})
	}
	if !okTo || !okVia {
		return
	}
	if r.To.Addr().Is6() != r.Via.Is6() {
		l.errorf(places[0], "Mixed address families", "A route to %s (%s) cannot go via %s (%s).", r.To, family(r.To.Addr()), r.Via, family(r.Via))
		return
	}
	for _, other := range m.Routes {
		if other.To == r.To {
			l.clash(toAt, other.At.Of("to", other.Range), "Duplicate route", "%s already has a route to %s, at %s. Remove one of the two; a route with several next hops has a list: via = [\"…\", \"…\"].", m.Name, r.To)
			return
		}
	}
	onLink := true
	for i, h := range r.Hops {
		onLink = l.onLink(m, h.Via, places[i], "via") && onLink
	}
	if onLink {
		m.Routes = append(m.Routes, r)
	}
}

// hops reads via and weights; ok is false when anything is wrong or left out.
func (f *fields) hops() (hops []NextHop, places []hcl.Range, ok bool) {
	items, ok := f.list("via")
	if len(items) > maxHops {
		f.l.errorf(items[maxHops].at, "Too many next hops", "A route has at most %d.", maxHops)
		return nil, nil, false
	}
	weights, right := f.elements("weights")
	ok = ok && right
	if ok && weights != nil && len(weights) != len(items) {
		f.l.errorf(f.at["weights"], "Weights do not match", "via has %d next hops and weights %d numbers. Write one for each, in the same order.", len(items), len(weights))
		ok = false
	}
	first := map[netip.Addr]hcl.Range{}
	for i, it := range items {
		a, valid := f.l.address(it)
		if !valid {
			ok = false
			continue
		}
		if at, twice := first[a]; twice {
			f.l.clash(it.at, at, "Duplicate next hop", "%s is already in the list, at %s. To send more flows that way, raise its number in weights.", a)
			ok = false
			continue
		}
		first[a] = it.at
		if len(hops) > 0 && hops[0].Via.Is6() != a.Is6() {
			f.l.clash(it.at, places[0], "Mixed address families", "The next hops of a route must be of one address family; %s is %s, unlike the one at %s. Add a second route for it.", a, family(a))
			ok = false
			continue
		}
		h := NextHop{Via: a, Weight: 1}
		if i < len(weights) {
			n, valid := f.asInteger("weights", weights[i].value, weights[i].at, 1, maxWeight, "")
			if h.Weight = n; !valid {
				ok = false
			}
		}
		hops, places = append(hops, h), append(places, it.at)
	}
	return hops, places, ok && len(hops) > 0
}

// everywhere is the destination of a default route.
func everywhere(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (l *loader) gateways(m *Machine, f *fields) {
	addrs, places, _ := f.addresses("gateway")
	for i, a := range addrs {
		for _, r := range m.Routes {
			if r.To.Bits() == 0 && r.To.Addr().Is6() == a.Is6() {
				l.clash(places[i], r.Range, "Two default routes", "The gateway is the default route of %s, and there is another at %s. Remove one of the two.", m.Name)
			}
		}
		if l.onLink(m, a, places[i], "gateway") {
			m.Gateways = append(m.Gateways, a)
		}
	}
}

// onLink reports an address that the machine cannot send to directly.
func (l *loader) onLink(m *Machine, a netip.Addr, at hcl.Range, what string) bool {
	var subnets []netip.Prefix
	for _, i := range m.Interfaces {
		own := i.Segment().Subnets()
		if len(own) == 0 { // reported with the switch
			return true
		}
		if subnet, ok := containing(own, a); ok {
			return l.host(a, subnet, subnet.String(), at)
		}
		subnets = append(subnets, own...)
	}
	if len(subnets) == 0 {
		return true
	}
	l.errorf(at, "Not on a subnet of the machine", "%q is an address on one of %s's own switches, so that it can be sent to directly: %s is not in %s.", what, m.Name, a, join(subnets))
	return false
}
