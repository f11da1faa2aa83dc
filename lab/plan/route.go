package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Address is an address of a link.
type Address struct {
	Namespace, Link string
	Prefix          netip.Prefix // the address itself with its prefix length
	Broadcast       netip.Addr   // IPv4 only; the zero Addr for none
	Scope           string       // "" global, "link", "host"
	NoPrefixRoute   bool
	NoLocalRoute    bool   // IPv4: the machine says that it has the address, and does not take packets for it
	Odd             string // see [Route]
}

func (a Address) Key() Key {
	return Key{a.Namespace, KindAddress, a.Link + " " + a.Prefix.String() + odd(a.Odd)}
}
func (a Address) Parents() []Key { return []Key{{a.Namespace, KindLink, a.Link}} }
func (a Address) Add() []string {
	s := fmt.Sprintf("ip -n %s address add %s", a.Namespace, a.Prefix)
	if a.Broadcast.IsValid() {
		s += " broadcast " + a.Broadcast.String()
	}
	s += " dev " + a.Link
	if a.Scope != "" {
		s += " scope " + a.Scope
	}
	if a.NoPrefixRoute {
		s += " noprefixroute"
	}
	if a.Prefix.Addr().Is6() {
		s += " nodad"
	}
	lines := []string{s}
	if a.NoLocalRoute {
		lines = append(lines, fmt.Sprintf("ip -n %s route del local %s dev %s table local", a.Namespace, a.Prefix.Addr(), a.Link))
		if a.Broadcast.IsValid() {
			lines = append(lines, fmt.Sprintf("ip -n %s route del broadcast %s dev %s table local", a.Namespace, a.Broadcast, a.Link))
		}
	}
	return lines
}
func (a Address) Set(Object) ([]string, bool) { return nil, false }
func (a Address) Del() []string {
	return []string{fmt.Sprintf("ip -n %s address del %s%s dev %s", a.Namespace, a.Prefix, odd(a.Odd), a.Link)}
}

// Neighbour is a permanent neighbour entry, or with Proxy an address that the machine answers for.
type Neighbour struct {
	Namespace, Link string
	Addr            netip.Addr
	MAC             string
	Proxy           bool
}

func (n Neighbour) Key() Key {
	if n.Proxy {
		return Key{n.Namespace, KindNeighbour, n.Link + " proxy " + n.Addr.String()}
	}
	return Key{n.Namespace, KindNeighbour, n.Link + " " + n.Addr.String()}
}
func (n Neighbour) Parents() []Key { return []Key{{n.Namespace, KindLink, n.Link}} }
func (n Neighbour) Add() []string {
	if n.Proxy {
		return []string{fmt.Sprintf("ip -n %s neighbour add proxy %s dev %s", n.Namespace, n.Addr, n.Link)}
	}
	return []string{fmt.Sprintf("ip -n %s neighbour replace %s dev %s lladdr %s nud permanent", n.Namespace, n.Addr, n.Link, n.MAC)}
}
func (n Neighbour) Set(Object) ([]string, bool) { return n.Add(), true }
func (n Neighbour) Del() []string {
	proxy := ""
	if n.Proxy {
		proxy = "proxy "
	}
	return []string{fmt.Sprintf("ip -n %s neighbour del %s%s dev %s", n.Namespace, proxy, n.Addr, n.Link)}
}

// FDB is a permanent forwarding entry of a vxlan device: frames for MAC go to the VTEP at Dst.
type FDB struct {
	Namespace, Link string
	MAC             string
	Dst             netip.Addr
}

func (f FDB) Key() Key       { return Key{f.Namespace, KindFDB, f.Link + " " + f.MAC + " " + f.Dst.String()} }
func (f FDB) Parents() []Key { return []Key{{f.Namespace, KindLink, f.Link}} }
func (f FDB) Add() []string {
	return []string{fmt.Sprintf("bridge -n %s fdb append %s dev %s dst %s self permanent", f.Namespace, f.MAC, f.Link, f.Dst)}
}
func (f FDB) Set(Object) ([]string, bool) { return f.Add(), true }
func (f FDB) Del() []string {
	return []string{fmt.Sprintf("bridge -n %s fdb del %s dev %s dst %s self", f.Namespace, f.MAC, f.Link, f.Dst)}
}

// Tables and protocols that have a name in rt_tables and rt_protos on every machine, and Calico's, which has none.
const (
	TableMain     = 254
	ProtocolBoot  = 3
	ProtocolBIRD  = 12
	ProtocolFelix = 80
	ProtocolBGP   = 186
)

// ProtocolDaemons stands for those of all routing daemons, as Linux numbers them (rtnetlink.h): BIRD's, zebra's and the like.
const ProtocolDaemons = -1

// Route is a route of one next hop, of several, or of none.
type Route struct {
	Namespace string
	Table     int
	Dst       netip.Prefix // 0.0.0.0/0 or ::/0 for the default route
	Type      string       // "" unicast, "blackhole", "throw", "unreachable"
	Via       netip.Addr
	Dev       string
	Hops      Hops // several next hops (ECMP); then there is no Via and no Dev
	Src       netip.Addr
	Scope     string // "" global, "link", "host"
	Protocol  int
	Metric    int
	MTU       int
	Onlink    bool
	On        Key // what makes Via reachable: an address of Dev or a route; set by [State.Resolve]
	// Odd is what was found of a route that no lab has, as ip(8) writes it: a type of service, a realm. It is part of the
	// key, so that what is odd stands beside what is wanted, and goes.
	Odd string
}

// Hop is one of several next hops of a route.
type Hop struct {
	Via    netip.Addr
	Dev    string
	Weight int // 1 to 255
}

// Hops are several next hops as ip(8) writes them: a text, so that routes can be compared.
type Hops string

// NextHops puts next hops into one order, since the kernel does not always keep theirs.
func NextHops(hops []Hop) Hops {
	slices.SortFunc(hops, func(a, b Hop) int { return cmp.Or(a.Via.Compare(b.Via), strings.Compare(a.Dev, b.Dev)) })
	words := make([]string, len(hops))
	for i, h := range hops {
		words[i] = fmt.Sprintf("nexthop via %s dev %s weight %d", h.Via, h.Dev, h.Weight)
	}
	return Hops(strings.Join(words, " "))
}

// All returns the next hops.
func (h Hops) All() []Hop {
	var hops []Hop
	for words := strings.Fields(string(h)); len(words) >= 7; words = words[7:] {
		via, _ := netip.ParseAddr(words[2])
		weight, _ := strconv.Atoi(words[6])
		hops = append(hops, Hop{via, words[4], weight})
	}
	return hops
}

// odd is a word more in a command or a key.
func odd(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

func (r Route) Key() Key {
	name := strconv.Itoa(r.Table) + " " + r.Dst.String()
	if r.Metric != 0 {
		name += " metric " + strconv.Itoa(r.Metric)
	}
	return Key{r.Namespace, KindRoute, name + odd(r.Odd)}
}

func (r Route) Parents() []Key {
	p := []Key{{r.Namespace, KindNamespace, ""}}
	if r.Dev != "" {
		p = append(p, Key{r.Namespace, KindLink, r.Dev})
	}
	for _, h := range r.Hops.All() {
		p = append(p, Key{r.Namespace, KindLink, h.Dev})
	}
	if r.On != (Key{}) {
		p = append(p, r.On)
	}
	return p
}

func (r Route) text() string {
	s := ""
	if r.Type != "" {
		s = r.Type + " "
	}
	if r.Dst.Bits() == 0 {
		s += "default"
	} else if r.Dst.IsSingleIP() {
		s += r.Dst.Addr().String()
	} else {
		s += r.Dst.String()
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Dev != "" {
		s += " dev " + r.Dev
	}
	if r.Table != TableMain {
		s += " table " + strconv.Itoa(r.Table)
	}
	if r.Protocol != ProtocolBoot {
		s += " proto " + strconv.Itoa(r.Protocol)
	}
	switch {
	case r.Scope != "":
		s += " scope " + r.Scope
	case !r.Via.IsValid() && r.Hops == "" && r.Type == "" && r.Dst.Addr().Is4():
		s += " scope global" // ip(8) would take link for a route without a next hop
	}
	if r.Src.IsValid() {
		s += " src " + r.Src.String()
	}
	if r.Metric != 0 {
		s += " metric " + strconv.Itoa(r.Metric)
	}
	if r.MTU != 0 {
		s += " mtu " + strconv.Itoa(r.MTU)
	}
	if r.Onlink {
		s += " onlink"
	}
	return s + odd(string(r.Hops)) + odd(r.Odd)
}

func (r Route) ip() string {
	if r.Dst.Addr().Is6() {
		return "ip -6 -n " + r.Namespace
	}
	return "ip -n " + r.Namespace
}

func (r Route) Add() []string { return []string{r.ip() + " route replace " + r.text()} }

// Set: the next hop of an IPv6 route is looked up, and must not be found through the very route that will be replaced; and
// of several it is not the route that is replaced but one of them.
func (r Route) Set(before Object) ([]string, bool) {
	b := before.(Route)
	return r.Add(), !r.Dst.Addr().Is6() || r.Dev == b.Dev && r.Hops == b.Hops
}
func (r Route) Del() []string { return []string{r.ip() + " route del " + r.text()} }

// Rule is a policy routing rule.
type Rule struct {
	Namespace  string
	V6         bool
	Priority   int
	From, To   netip.Prefix
	Mark, Mask uint32
	Table      int
	Odd        string // see [Route]
}

func (r Rule) Key() Key {
	family := "inet"
	if r.V6 {
		family = "inet6"
	}
	return Key{r.Namespace, KindRule, fmt.Sprintf("%s %d: %s", family, r.Priority, r.selector())}
}
func (r Rule) Parents() []Key { return []Key{{r.Namespace, KindNamespace, ""}} }
func (r Rule) selector() string {
	s := "from all"
	if r.From.IsValid() {
		s = "from " + r.From.String()
	}
	if r.To.IsValid() {
		s += " to " + r.To.String()
	}
	if r.Mark != 0 || r.Mask != 0 {
		s += fmt.Sprintf(" fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.Table != 0 {
		s += " lookup " + strconv.Itoa(r.Table)
	}
	return s + odd(r.Odd)
}

// Text is the rule as "ip rule" lists it.
func (r Rule) Text() string { return strconv.Itoa(r.Priority) + ": " + r.selector() }

func (r Rule) line(verb string) []string {
	family := ""
	if r.V6 {
		family = "-6 "
	}
	return []string{fmt.Sprintf("ip %s-n %s rule %s priority %d %s", family, r.Namespace, verb, r.Priority, r.selector())}
}
func (r Rule) Add() []string               { return r.line("add") }
func (r Rule) Set(Object) ([]string, bool) { return nil, false }
func (r Rule) Del() []string               { return r.line("del") }
