package plan

import "net/netip"

// Neighbours counts, for IPv4 and for IPv6, the entries that the kernel's neighbour table has at the least once every machine
// and every pod has talked to one behind each of its routes: one for each next hop of a namespace and each far end of its
// tunnels, and one by which its gateway answers. Permanent ones are the plan's own, and have no limit.
func (s *State) Neighbours() (v4, v6 int) {
	for _, in := range s.spaces {
		a, b := in.neighbours()
		v4, v6 = v4+a, v6+b
	}
	return v4, v6
}

func (in objects) neighbours() (v4, v6 int) {
	type device struct {
		name string
		v6   bool
	}
	learnt, permanent := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	gatewayed := map[device]bool{}
	for _, o := range in {
		switch o := o.(type) {
		case Route:
			if o.Via.IsValid() {
				learnt[o.Via] = true
			}
			if o.Via.IsValid() && o.Dst.Bits() == 0 {
				gatewayed[device{o.Dev, o.Via.Is6()}] = true
			}
		case FDB:
			learnt[o.Dst] = true
		case Neighbour:
			permanent[o.Addr] = !o.Proxy
		}
	}
	count := func(a netip.Addr) {
		if a.Is6() {
			v6++
		} else {
			v4++
		}
	}
	for a := range learnt {
		if !permanent[a] {
			count(a)
		}
	}
	for _, o := range in {
		if a, ok := o.(Address); ok && gatewayed[device{a.Link, a.Prefix.Addr().Is6()}] {
			count(a.Prefix.Addr())
		}
	}
	return v4, v6
}
