package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// bridgeName is the bridge inside a switch's namespace.
const bridgeName = "br0"

// underlay is the layer that every mode finds: namespaces for switches, machines and pods, the wires between them, the
// machines' addresses and static routes.
type underlay struct{ plan *Plan }

func (underlay) Needs(c *Cluster) []Need {
	var needs []Need
	for _, s := range c.Lab.Switches {
		by := "switch " + s.Name
		needs = append(needs, Need{Feature: FeatureBridge, By: by, At: s.Range}, Need{Feature: FeatureVeth, By: by, At: s.Range})
		if len(s.VLANs) > 0 {
			needs = append(needs, Need{Feature: FeatureVLANFiltering, Or: FeatureEBPF, By: "the VLANs of " + by, At: s.VLANs[0].Range})
		}
		if s.Impair.Rate > 0 {
			needs = append(needs, Need{Feature: FeatureTBF, By: "the rate of " + by, At: s.At.Of("rate", s.Range)})
		}
		for _, a := range s.Impair.Netem() {
			needs = append(needs, Need{Feature: FeatureNetem, By: "the " + a + " of " + by, At: s.At.Of(a, s.Range)})
		}
	}
	for _, m := range c.Lab.Machines {
		for _, nic := range m.Interfaces {
			plug := Plug{m.Name, nic.Name}
			i := c.impair[plug]
			if i.Rate > 0 {
				needs = append(needs, Need{Feature: FeatureTBF, By: "the rate of " + plug.String(), At: nic.Range})
			}
			for _, a := range i.Netem() {
				needs = append(needs, Need{Feature: FeatureNetem, By: "the " + a + " of " + plug.String(), At: nic.Range})
			}
		}
	}
	return needs
}

// Expect follows what machines send to machines, by the definition.
func (u underlay) Expect(f Flow, e Expectation) Expectation {
	if f.From.Pod == nil && f.To.Pod == nil {
		e = u.plan.walk.expect(f.From, f.To)
	}
	e.Destination = f.To.Address
	return e
}

func (u underlay) Plan(c *Cluster, s *State) hcl.Diagnostics {
	u.plan.walk = Walk{Cluster: c}.walker()
	for _, sw := range c.Lab.Switches {
		ns := c.NamespaceOf(sw.Name)
		space(c, s, ns, sw.Name, "switch")
		s.Add(Link{
			Namespace: ns, Name: bridgeName, Device: Bridge{Filtering: len(sw.VLANs) > 0 && c.Features[FeatureVLANFiltering]},
			MTU: sw.MTU, MAC: MAC("switch", sw.Name), TxQueueLen: 1000,
		})
	}
	for i, m := range c.Lab.Machines {
		ns := c.NamespaceOf(m.Name)
		space(c, s, ns, m.Name, string(m.Kind))
		for j, nic := range m.Interfaces {
			plug(c, s, m, nic, portName(m, i, j))
		}
		for _, gw := range m.Gateways {
			s.Add(Route{Namespace: ns, Table: TableMain, Dst: Everywhere(gw.Is6()), Via: gw, Dev: towards(m, gw), Protocol: ProtocolBoot})
		}
		for _, r := range m.Routes {
			s.Add(static(m, ns, r))
		}
	}
	for _, n := range c.Nodes {
		for _, p := range n.AllPods() {
			if p.Shares() != "" {
				continue
			}
			space(c, s, p.Namespace, p.Title(), "pod")
		}
	}
	return nil
}

// space adds a namespace and the settings that a new namespace would otherwise take from the machine it is made on. TCP's
// congestion control is not among them: the kernel lets only the machine's own default be set there, so whoever measures
// sets it on the socket.
func space(c *Cluster, s *State, ns, machine, role string) {
	s.Add(Namespace{Name: ns, Alias: Owner{Lab: c.Name, Machine: machine, Role: role}.String()})
	set := func(path, value string) { s.Add(Sysctl{Namespace: ns, Path: path, Value: value}) }
	forwards := "0"
	if role == string(lab.Node) || role == string(lab.Router) {
		forwards = "1"
	}
	set(ipForward, forwards)
	set(ipv6Forwarding, forwards)
	set(defaultRPFilter, "0")
	set(allRPFilter, "0")
	if role == "switch" {
		// A switch forwards frames and has no address of its own.
		set(defaultIPv6Off, "1")
		if c.Features[FeatureBridgeNetfilter] {
			set("net/bridge/bridge-nf-call-iptables", "0")
			set("net/bridge/bridge-nf-call-ip6tables", "0")
			set("net/bridge/bridge-nf-call-arptables", "0")
		}
		return
	}
	set(defaultIPv6Off, off(!c.SpeaksIPv6()))
	if c.SpeaksIPv6() {
		// No device looks for others that have its addresses: a plan's are unique, and the search takes two seconds, in which
		// an address is not answered for. CNI plugins turn it off for pods; on a real node it was over long ago.
		set(defaultAcceptDAD, "0")
	}
}

// SpeaksIPv6 reports whether anything in the lab has an IPv6 address. Where nothing has, IPv6 is off: every link-local
// address costs entries in the one neighbour table that all namespaces of the machine share.
func (c *Cluster) SpeaksIPv6() bool { return c.ipv6 }

// speaksIPv6 looks at every range that an address of a lab can be of: the subnets of switches and of their VLANs, the pod
// network, and bridges of nodes.
func speaksIPv6(l *lab.Lab) bool {
	is6 := func(p netip.Prefix) bool { return p.Addr().Is6() }
	for _, s := range l.Segments() {
		if slices.ContainsFunc(s.Subnets(), is6) {
			return true
		}
	}
	for _, n := range l.Bridges {
		if slices.ContainsFunc(n.CIDRs, is6) {
			return true
		}
	}
	return l.Network != nil && slices.ContainsFunc(l.Network.CIDRs, is6)
}

func off(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// plug adds an interface of a machine, the port of the switch it is plugged into, and the impairments of that link.
func plug(c *Cluster, s *State, m *lab.Machine, nic *lab.Interface, port string) {
	near := End{c.NamespaceOf(m.Name), nic.Name}
	far := End{c.NamespaceOf(nic.Switch.Name), port}
	sw := nic.Switch
	plug := Link{Namespace: far.Namespace, Name: far.Name, Device: Veth{Peer: near}, MTU: sw.MTU, TxQueueLen: 1000, MAC: MAC("port", sw.Name, port), Port: Port{Bridge: bridgeName}}
	switch {
	case len(sw.VLANs) == 0:
	case c.Features[FeatureVLANFiltering]:
		plug.Port.VLANs = PortVLANs(vlansOf(nic, c.own[sw]))
	default:
		guard(s, far, nic)
	}
	s.Add(
		Link{Namespace: near.Namespace, Name: near.Name, Device: Veth{Peer: far}, MTU: sw.MTU, TxQueueLen: 1000, MAC: MACOf(2, 0, AddressesOf(nic.Addresses)...)},
		plug,
	)
	for _, a := range nic.Addresses {
		s.Add(NewAddress(near.Namespace, near.Name, a))
	}
	i := c.Impairment(m, nic)
	if q, ok := shape(i.Rate, sw); ok {
		q.Namespace, q.Link = far.Namespace, far.Name
		s.Add(q)
	}
	if q, ok := impair(i, sw); ok {
		q.Namespace, q.Link = near.Namespace, near.Name
		s.Add(q)
	}
}

// ownVLANs says by which number the bridge of each switch knows the switch's own segment, which is a VLAN to it too: the first
// that no VLAN of the switch has.
func ownVLANs(l *lab.Lab) map[*lab.Switch]int {
	own := map[*lab.Switch]int{}
	for _, sw := range l.Switches {
		taken := map[int]bool{}
		for _, v := range sw.VLANs {
			taken[v.ID] = true
		}
		for own[sw] = 1; taken[own[sw]]; {
			own[sw]++
		}
	}
	return own
}

// vlansOf lists the VLANs of the port that an interface is plugged into; own is that of the switch's own segment.
func vlansOf(nic *lab.Interface, own int) []PortVLAN {
	list := []PortVLAN{{ID: cmp.Or(nic.VLAN, own), PVID: true, Untagged: true}}
	for _, id := range nic.Trunk {
		list = append(list, PortVLAN{ID: id})
	}
	slices.SortFunc(list, func(a, b PortVLAN) int { return cmp.Compare(a.ID, b.ID) }) // as the kernel lists them
	return list
}

// guard lets programs at a port do what a bridge without VLANs does not: inside the switch the frames of an access port have
// its VLAN's tag, and through a port come only frames of the VLANs that it is in.
func guard(s *State, port End, nic *lab.Interface) {
	s.Add(Qdisc{Namespace: port.Namespace, Link: port.Name, Type: "clsact"})
	var trunk []string
	for _, id := range nic.Trunk {
		trunk = append(trunk, strconv.Itoa(id))
	}
	p := Program{Namespace: port.Namespace, Link: port.Name, Priority: 1, VLAN: nic.VLAN, Trunk: strings.Join(trunk, ",")}
	p.Does = "port-ingress"
	s.Add(p)
	p.Does, p.Egress = "port-egress", true
	s.Add(p)
}

// shape limits the rate. A bucket smaller than a GSO packet makes tbf cut it, as a real wire would.
func shape(rate uint64, sw *lab.Switch) (Qdisc, bool) {
	if rate == 0 {
		return Qdisc{}, false
	}
	burst := max(uint64(10*sw.MTU), rate/8/1000)
	return Qdisc{Type: "tbf", Rate: rate, Burst: uint32(burst), Limit: uint32(burst + max(rate/8/20, uint64(100*sw.MTU)))}, true
}

// impair is what happens at the machine's end, where a packet that crosses the switch passes once: delay, jitter and
// loss are those of one crossing. The rate is limited at both ends.
func impair(i lab.Impairment, sw *lab.Switch) (Qdisc, bool) {
	if len(i.Netem()) == 0 {
		return shape(i.Rate, sw)
	}
	return Qdisc{
		Type: "netem", Rate: i.Rate, Limit: 10000,
		DelayUS: uint32(i.Delay.Microseconds()), JitterUS: uint32(i.Jitter.Microseconds()), LossPPM: uint32(i.Loss * 1e4),
	}, true
}

// Port names the switch's port that a node's uplink is plugged into.
func (c *Cluster) Port(n *Node) string {
	return portName(n.Machine, slices.Index(c.Lab.Machines, n.Machine), 0)
}

// portName names a switch's port after the machine where the kernel allows it; the ports of further interfaces on the same
// switch after the interface too. No machine has a dot in its name.
func portName(m *lab.Machine, machine, nic int) string {
	taken := []string{bridgeName, "lo", "all", "default"} // the last two are folders of /proc/sys/net/ipv4/conf
	name := m.Name
	for _, other := range m.Interfaces[:nic] {
		if other.Switch == m.Interfaces[nic].Switch {
			name = m.Name + "." + m.Interfaces[nic].Name
		}
	}
	if len(name) <= 15 && !slices.Contains(taken, name) && !isPort(name) {
		return name
	}
	return fmt.Sprintf("port%d-%d", machine, nic)
}

func isPort(name string) bool {
	var i, j int
	n, _ := fmt.Sscanf(name, "port%d-%d", &i, &j)
	return n == 2
}

// towards returns the interface of the machine whose subnet holds the next hop.
func towards(m *lab.Machine, via netip.Addr) string {
	for _, nic := range m.Interfaces {
		for _, a := range nic.Addresses {
			if a.Masked().Contains(via) {
				return nic.Name
			}
		}
	}
	return m.Interfaces[0].Name
}

// static is a route of the definition.
func static(m *lab.Machine, ns string, r *lab.Route) Route {
	route := Route{Namespace: ns, Table: TableMain, Dst: r.To, Protocol: ProtocolBoot}
	if len(r.Hops) == 1 {
		route.Via, route.Dev = r.Via, towards(m, r.Via)
		return route
	}
	var hops []Hop
	for _, h := range r.Hops {
		hops = append(hops, Hop{h.Via, towards(m, h.Via), h.Weight})
	}
	route.Hops = NextHops(hops)
	return route
}

// Everywhere is the destination of a default route.
func Everywhere(v6 bool) netip.Prefix {
	if v6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// NewAddress is an address as CNI plugins and "ip address add … brd +" set it: with the broadcast address of an IPv4 subnet.
func NewAddress(ns, link string, a netip.Prefix) Address {
	addr := Address{Namespace: ns, Link: link, Prefix: a}
	if a.Addr().Is4() && a.Bits() < 31 {
		addr.Broadcast = Last(a)
	}
	return addr
}

// Last returns the last address of a block; in an IPv4 subnet that is the broadcast address.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
