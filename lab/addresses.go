package lab

import (
	"net/netip"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

func family(a netip.Addr) string {
	if a.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

// special are ranges in which no machine and no pod can have an address.
var special = []struct {
	netip.Prefix
	what string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "\"this network\""},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/96"), "unspecified, loopback"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4 in IPv6"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

func (l *loader) prefix(it item) (netip.Prefix, bool) {
	p, ok := l.cidr(it)
	if !ok {
		return p, false
	}
	for _, s := range special {
		if s.Overlaps(p) {
			l.errorf(it.at, "Unusable addresses", "%s overlaps %s (%s). Use a private range, such as 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or fd00::/8.", p, s.Prefix, s.what)
			return p, false
		}
	}
	return p, true
}

// cidr reads any CIDR, also one that only a route may have.
func (l *loader) cidr(it item) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(it.text)
	if err != nil {
		hint := ""
		if a, err := netip.ParseAddr(it.text); err == nil && a.Zone() == "" {
			common := 24
			if a.Is6() {
				common = 64
			}
			hint = " Add the prefix length, for example " + netip.PrefixFrom(a, common).Masked().String() + "."
		} else if addr, bits, ok := strings.Cut(it.text, "/"); ok {
			if a, err := netip.ParseAddr(addr); err == nil {
				hint = " The prefix length of " + family(a) + " is at most " + map[bool]string{false: "32", true: "128"}[a.Is6()] + ", not " + shorten(bits) + "."
			}
		}
		l.errorf(it.at, "Invalid CIDR", "%q is not a network such as 192.168.205.0/24 or fd00:205::/64.%s", shorten(it.text), hint)
		return p, false
	}
	if masked := p.Masked(); p != masked {
		l.errorf(it.at, "Host bits set", "%s is an address in a network, not a network: the /%d network it is in is %s.", p, p.Bits(), masked)
		return p, false
	}
	return p, true
}

func (l *loader) address(it item) (netip.Addr, bool) {
	a, err := netip.ParseAddr(it.text)
	switch {
	case err != nil:
		hint := ""
		if p, err := netip.ParsePrefix(it.text); err == nil {
			hint = " The prefix length comes from the subnet: write \"" + p.Addr().String() + "\"."
		}
		l.errorf(it.at, "Invalid address", "%q is not an IP address such as 192.168.205.4 or fd00:205::4.%s", shorten(it.text), hint)
		return a, false
	case a.Zone() != "", a.Is4In6():
		l.errorf(it.at, "Invalid address", "%s cannot be used in a lab: write it without a zone, and IPv4 without ::ffff:.", shorten(it.text))
		return a, false
	}
	for _, s := range special {
		if s.Contains(a) {
			l.errorf(it.at, "Unusable address", "%s is in %s (%s).", a, s.Prefix, s.what)
			return a, false
		}
	}
	return a, true
}

// first and last are the addresses of a subnet that machines may have: not the network's and the broadcast address of
// IPv4, nor the router anycast address of IPv6; a point-to-point prefix has neither (RFC 3021, RFC 6164).
func first(p netip.Prefix) netip.Addr {
	if p.Bits() >= p.Addr().BitLen()-1 {
		return p.Addr()
	}
	return p.Addr().Next()
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	if a.Is4() && p.Bits() < 31 {
		a = a.Prev()
	}
	return a
}

// host reports an address that is not one a machine on the subnet may have.
func (l *loader) host(a netip.Addr, in netip.Prefix, of string, at hcl.Range) bool {
	switch {
	case a.Less(first(in)):
		l.errorf(at, "Network address", "%s is the address of %s itself. The first usable one is %s.", a, of, first(in))
	case last(in).Less(a):
		l.errorf(at, "Broadcast address", "%s is the broadcast address of %s. The last usable one is %s.", a, of, last(in))
	default:
		return true
	}
	return false
}

// pin is an address that was written, or an interface's need of one.
type pin struct {
	addr netip.Addr
	at   hcl.Range
}

// allocate gives every interface one address of each subnet of its segment. Those that are written come first, wherever
// they stand; then the others take the lowest that is free, in the order of the file, so that a definition always yields
// the same addresses. The first address of a subnet is left to routers: that is where people look for a gateway.
func (l *loader) allocate(lab *Lab) {
	owner := map[netip.Addr]*pinned{}
	for _, m := range lab.Machines {
		for _, i := range m.Interfaces {
			l.pin(m, i, owner)
		}
	}
	next := map[netip.Prefix]netip.Addr{}
	for _, m := range lab.Machines {
		for _, i := range m.Interfaces {
			explicit := i.Addresses
			i.Addresses = nil
			for _, subnet := range i.Segment().Subnets() {
				a := of(explicit, subnet)
				if !a.IsValid() {
					if a = take(m, subnet, owner, next); !a.IsValid() {
						l.errorf(i.Range, "Subnet full", "%s has no free address left for %s. Make the subnet of %s larger; %s is the first address, kept for routers.", subnet, m.Name, i.Segment(), first(subnet))
						continue
					}
				}
				i.Addresses = append(i.Addresses, netip.PrefixFrom(a, subnet.Bits()))
			}
		}
	}
}

type pinned struct {
	machine string
	at      hcl.Range
}

// pin checks an interface's written addresses and leaves the good ones in Addresses.
func (l *loader) pin(m *Machine, i *Interface, owner map[netip.Addr]*pinned) {
	for _, p := range l.pinned[i] {
		subnets := i.Segment().Subnets()
		if len(subnets) == 0 { // reported with the switch
			continue
		}
		subnet, ok := containing(subnets, p.addr)
		if !ok {
			where, _ := i.Segment().At()
			l.errorf(p.at, "Address outside its subnet", "%s is not in %s, the subnet of %s (%s).", p.addr, join(subnets), i.Segment(), place(where))
			continue
		}
		if !l.host(p.addr, subnet, subnet.String(), p.at) {
			continue
		}
		if o := owner[p.addr]; o != nil {
			if o.at == p.at {
				l.errorf(p.at, "Duplicate address", "%s and %s would both have %s. Compute it from count.index or each.value, or leave it out to have one allocated.", o.machine, m.Name, p.addr)
			} else {
				l.clash(p.at, o.at, "Duplicate address", "%s and %s would both have %s. Give one of them another address, or leave it out to have one allocated; the other is at %s.", o.machine, m.Name, p.addr)
			}
			continue
		}
		owner[p.addr] = &pinned{m.Name, p.at}
		i.Addresses = append(i.Addresses, netip.PrefixFrom(p.addr, subnet.Bits()))
	}
}

func take(m *Machine, subnet netip.Prefix, owner map[netip.Addr]*pinned, next map[netip.Prefix]netip.Addr) netip.Addr {
	end := last(subnet)
	reserved := first(subnet)
	if subnet.Bits() >= subnet.Addr().BitLen()-1 {
		reserved = netip.Addr{}
	}
	a, ok := next[subnet]
	switch {
	case m.Kind == Router && reserved.IsValid() && owner[reserved] == nil:
		owner[reserved] = &pinned{machine: m.Name}
		return reserved
	case !ok && reserved.IsValid():
		a = reserved.Next()
	case !ok:
		a = first(subnet)
	}
	for owner[a] != nil && a.IsValid() && !end.Less(a) {
		a = a.Next()
	}
	if !a.IsValid() || end.Less(a) {
		next[subnet] = end.Next()
		if !next[subnet].IsValid() {
			next[subnet] = end
		}
		return netip.Addr{}
	}
	owner[a] = &pinned{machine: m.Name}
	next[subnet] = a
	return a
}

func of(addresses []netip.Prefix, subnet netip.Prefix) netip.Addr {
	for _, a := range addresses {
		if subnet.Contains(a.Addr()) {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

func containing(prefixes []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	for _, p := range prefixes {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func join(prefixes []netip.Prefix) string {
	var s []string
	for _, p := range prefixes {
		s = append(s, p.String())
	}
	return Enumerate(s, "or")
}
