package plan

import "net/netip"

// Neighbours counts, for IPv4 and for IPv6, the entries that the kernel's neighbour table has at the least once every machine
// and every pod has talked to one behind each of its routes: one for each next hop of a namespace and each far end of its
// tunnels, and one by which its gateway answers. Permanent ones are the plan's own, and have no limit.
func (s *State) Neighbours() (v4, v6 int) {
	type device struct {
		namespace, name string
		v6              bool
	}
	type entry struct {
		by string // the namespace that asks
		netip.Addr
	}
	learnt, permanent := map[entry]bool{}, map[entry]bool{}
	gatewayed := map[device]bool{}
	s.Each(func(o Object) {
		switch o := o.(type) {
		case Route:
			if o.Via.IsValid() {
				learnt[entry{o.Namespace, o.Via}] = true
			}
			if o.Via.IsValid() && o.Dst.Bits() == 0 {
				gatewayed[device{o.Namespace, o.Dev, o.Via.Is6()}] = true
			}
		case FDB:
			learnt[entry{o.Namespace, o.Dst}] = true
		case Neighbour:
			permanent[entry{o.Namespace, o.Addr}] = !o.Proxy
		}
	})
	count := func(a netip.Addr) {
		if a.Is6() {
			v6++
		} else {
			v4++
		}
	}
	for e := range learnt {
		if !permanent[e] {
			count(e.Addr)
		}
	}
	s.Each(func(o Object) {
		if a, ok := o.(Address); ok && gatewayed[device{a.Namespace, a.Link, a.Prefix.Addr().Is6()}] {
			count(a.Prefix.Addr())
		}
	})
	return v4, v6
}
