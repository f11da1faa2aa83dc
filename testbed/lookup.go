package testbed

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// What the kernel would do with a packet is asked here, in its own words. The library's RouteGetOptions have no protocol and no
// ports, by which rules may choose.

// Attributes and flags of linux/rtnetlink.h.
const (
	rtaIPProto     = 27
	rtaSport       = 28
	rtaDport       = 29
	rtmLookupTable = 0x1000
	rtmFIBMatch    = 0x2000
)

// Packet is what routes, and the rules that choose a table, look at.
type Packet struct {
	To, From     netip.Addr
	In           int // the device that it came by; 0: it is the machine's own
	Out          int // the device that it is bound to leave by; 0: any
	Mark         uint32
	Protocol     uint8
	Sport, Dport uint16
}

// RouteAnswer is what the kernel says about a packet.
type RouteAnswer struct {
	Type     string // "" unicast, local, blackhole, unreachable, prohibit, …
	Out      *Netdev
	Via      netip.Addr
	Source   netip.Addr // that the machine takes for packets of its own
	Table    int
	MTU      int // of the route; 0: the device's
	Match    plan.Route
	Entry    string // the entry of the table that matched, as ip(8) writes it
	Rule     string // that chose the table, where it is not one of those that always exist
	Multiple int    // how many next hops the entry has, where there are several
}

// Route asks for a packet's route. The error is the kernel's own: ENETUNREACH where there is none.
func (v *View) Route(p Packet) (RouteAnswer, error) {
	at, err := v.visit()
	if err != nil {
		return RouteAnswer{}, err
	}
	answer, err := at.routeGet(p, rtmLookupTable)
	if err != nil {
		return RouteAnswer{}, err
	}
	f := &found{names: map[int]string{}}
	for _, d := range v.Devices {
		f.names[d.Index] = d.Name
	}
	r := RouteAnswer{Table: int(answer[4])}
	r.Type, _ = nameOf(routeTypes, int(answer[7]))
	err = attributes(answer[routeHeader:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_OIF:
			r.Out = v.Device(number(value))
		case unix.RTA_GATEWAY:
			r.Via = addrOf(value)
		case unix.RTA_VIA:
			r.Via = addrOf(value[2:])
		case unix.RTA_PREFSRC:
			r.Source = addrOf(value)
		case unix.RTA_TABLE:
			r.Table = number(value)
		case unix.RTA_METRICS:
			r.MTU, _ = settings(value)
		}
	})
	if err != nil {
		return r, err
	}
	if match, err := at.routeGet(p, rtmLookupTable|rtmFIBMatch); err == nil {
		if r.Match, _, err = f.route(v.Namespace, match); err != nil {
			return r, err
		}
		r.Entry = entry(r.Match, int(match[4]))
		r.Multiple = strings.Count(r.Entry, "nexthop ")
	}
	r.Rule, err = v.chose(p, r.Table)
	return r, err
}

func (v *visit) routeGet(p Packet, flags uint32) ([]byte, error) {
	family, bits := byte(unix.AF_INET), byte(32)
	if p.To.Is6() {
		family, bits = unix.AF_INET6, 128
	}
	from := bits
	if !p.From.IsValid() {
		from = 0
	}
	m := v.newMessage(family, bits, from, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	binary.NativeEndian.PutUint32(m[len(m)-4:], flags)
	m.address(unix.RTA_DST, p.To)
	m.address(unix.RTA_SRC, p.From)
	if p.In != 0 {
		m.number(unix.RTA_IIF, p.In)
	}
	if p.Out != 0 {
		m.number(unix.RTA_OIF, p.Out)
	}
	if p.Mark != 0 {
		m.number(unix.RTA_MARK, int(p.Mark))
	}
	// It takes the three transports that have ports, and ICMP.
	if p.Protocol == unix.IPPROTO_TCP || p.Protocol == unix.IPPROTO_UDP {
		m.add(rtaIPProto, []byte{p.Protocol})
		m.add(rtaSport, binary.BigEndian.AppendUint16(nil, p.Sport))
		m.add(rtaDport, binary.BigEndian.AppendUint16(nil, p.Dport))
	}
	return v.ask(unix.RTM_GETROUTE, m)
}

// entry writes an entry of a table.
func entry(r plan.Route, table int) string {
	var words []string
	add := func(w ...string) { words = append(words, w...) }
	if r.Type != "" {
		add(r.Type)
	}
	switch {
	case r.Dst.Bits() == 0:
		add("default")
	case r.Dst.IsSingleIP():
		add(r.Dst.Addr().String())
	default:
		add(r.Dst.String())
	}
	if h := hop(r.Via, r.Dev); h != "" {
		add(h)
	}
	if table == unix.RT_TABLE_LOCAL {
		add("table local")
	} else if r.Table != 0 && r.Table != plan.TableMain {
		add("table", strconv.Itoa(r.Table))
	}
	if r.Src.IsValid() && r.Type == "" {
		add("src", r.Src.String())
	}
	if r.Metric != 0 {
		add("metric", strconv.Itoa(r.Metric))
	}
	if r.MTU != 0 {
		add("mtu", strconv.Itoa(r.MTU))
	}
	if r.Onlink {
		add("onlink")
	}
	if r.Odd != "" {
		add(r.Odd)
	}
	return strings.Join(words, " ")
}

// chose returns the first rule that leads a packet into a table, where that is none of those that everybody has.
func (v *View) chose(p Packet, table int) (string, error) {
	if table >= unix.RT_TABLE_DEFAULT && table <= unix.RT_TABLE_LOCAL {
		return "", nil
	}
	if v.rules == nil {
		at, err := v.visit()
		if err != nil {
			return "", err
		}
		messages, err := at.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, make(fixed, ruleHeader))
		if err != nil {
			return "", err
		}
		v.rules = []plan.Rule{}
		for _, m := range messages {
			if r, kernels, err := readRule(v.Namespace, m); err == nil && !kernels {
				v.rules = append(v.rules, r)
			}
		}
	}
	for _, r := range v.rules {
		if r.V6 == p.To.Is6() && r.Table == table && (!r.From.IsValid() || r.From.Contains(p.From)) && (!r.To.IsValid() || r.To.Contains(p.To)) &&
			p.Mark&r.Mask == r.Mark&r.Mask {
			return r.Text(), nil
		}
	}
	return "", nil
}

// NeighbourAnswer is what a machine knows of a neighbour.
type NeighbourAnswer struct {
	MAC   string
	State string // PERMANENT, REACHABLE, STALE, … as ip(8) writes it
}

var neighbourStates = map[string]uint16{
	"INCOMPLETE": unix.NUD_INCOMPLETE, "REACHABLE": unix.NUD_REACHABLE, "STALE": unix.NUD_STALE, "DELAY": unix.NUD_DELAY, "PROBE": unix.NUD_PROBE,
	"FAILED": unix.NUD_FAILED, "NOARP": unix.NUD_NOARP, "PERMANENT": unix.NUD_PERMANENT,
}

// Neighbour asks for the link-layer address of a neighbour; ok is false where the machine has to ask for it first.
func (v *View) Neighbour(d *Netdev, a netip.Addr) (n NeighbourAnswer, ok bool, err error) {
	answer, err := v.entryOf(neighbourFamily(a), d.Index, 0, func(m *message) { m.address(unix.NDA_DST, a) })
	if answer == nil || err != nil {
		return n, false, err
	}
	state := binary.NativeEndian.Uint16(answer[8:])
	n.State, _ = nameOf(neighbourStates, state)
	err = attributes(answer[unix.SizeofNdMsg:], func(kind uint16, value []byte) {
		if kind == unix.NDA_LLADDR {
			n.MAC = net.HardwareAddr(value).String()
		}
	})
	return n, n.MAC != "" && state&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0, err
}

// AnswersFor reports whether the machine has been told to answer for an address on a device.
func (v *View) AnswersFor(d *Netdev, a netip.Addr) (bool, error) {
	answer, err := v.entryOf(neighbourFamily(a), d.Index, netlink.NTF_PROXY, func(m *message) { m.address(unix.NDA_DST, a) })
	return answer != nil, err
}

func neighbourFamily(a netip.Addr) byte {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// FDBAnswer is where a bridge or a tunnel sends frames for a MAC address.
type FDBAnswer struct {
	Device *Netdev    // a bridge's port, or the bridge itself
	Local  bool       // the frame is for the bridge's own machine
	To     netip.Addr // a tunnel's far end
}

// BridgeEntry asks a bridge for a MAC address.
func (v *View) BridgeEntry(bridge *Netdev, mac string, vlan int) (e FDBAnswer, ok bool, err error) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return e, false, err
	}
	answer, err := v.entryOf(unix.AF_BRIDGE, 0, netlink.NTF_MASTER, func(m *message) {
		m.add(unix.NDA_LLADDR, hw)
		m.number(unix.NDA_MASTER, bridge.Index)
		if vlan != 0 {
			m.add(unix.NDA_VLAN, binary.NativeEndian.AppendUint16(nil, uint16(vlan)))
		}
	})
	if answer == nil || err != nil {
		return e, false, err
	}
	e.Device = v.Device(int(binary.NativeEndian.Uint32(answer[4:])))
	e.Local = e.Device == bridge || binary.NativeEndian.Uint16(answer[8:])&unix.NUD_PERMANENT != 0
	return e, e.Device != nil, nil
}

// TunnelEntry asks a vxlan device for a MAC address.
func (v *View) TunnelEntry(d *Netdev, mac string) (e FDBAnswer, ok bool, err error) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return e, false, err
	}
	answer, err := v.entryOf(unix.AF_BRIDGE, d.Index, netlink.NTF_SELF, func(m *message) { m.add(unix.NDA_LLADDR, hw) })
	if answer == nil || err != nil {
		return e, false, err
	}
	err = attributes(answer[unix.SizeofNdMsg:], func(kind uint16, value []byte) {
		if kind == unix.NDA_DST {
			e.To = addrOf(value)
		}
	})
	return e, e.To.IsValid(), err
}

// entryOf asks for one neighbour or forwarding entry; there is no answer where there is none.
func (v *View) entryOf(family byte, device, flags int, which func(*message)) ([]byte, error) {
	at, err := v.visit()
	if err != nil {
		return nil, err
	}
	m := at.neighbourMessage(family, device, flags)
	binary.NativeEndian.PutUint16(m[unix.SizeofNlMsghdr+8:], 0) // a question has no state
	which(&m)
	answer, err := at.ask(unix.RTM_GETNEIGH, m)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENXIO) {
		return nil, nil
	}
	return answer, err
}
