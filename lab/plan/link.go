package plan

import (
	"cmp"
	"fmt"
	"strings"
)

// End names a link: one end of a veth pair, or the device that another stands on.
type End struct{ Namespace, Name string }

// Link is a network device.
type Link struct {
	Namespace, Name string
	Device          Device // what it is, and what only links of its type have
	MTU             int
	MAC             string // empty: the kernel's choice
	TxQueueLen      int
	Down            bool   // it is not up: one that was found, or that has addresses and nothing more
	Port            Port   // what it is as a bridge's port
	GSOMaxSegs      int    // 0: the kernel's default, 65535
	Offloads        string // ethtool features that are not as the driver sets them: "gro=off tso=off"
}

func (l Link) Key() Key { return Key{l.Namespace, KindLink, l.Name} }

// Type is what ip(8) calls the link's type.
func (l Link) Type() string {
	if l.Device == nil {
		return ""
	}
	return l.Device.Type()
}

// Peer is the other end of a veth pair, and the zero End of everything else.
func (l Link) Peer() End {
	veth, _ := l.Device.(Veth)
	return veth.Peer
}

// Below is the device that the link stands on, and the zero End where it stands on none.
func (l Link) Below() End {
	if s, ok := l.Device.(interface{ below() End }); ok {
		if end := s.below(); end.Name != "" {
			return End{cmp.Or(end.Namespace, l.Namespace), end.Name}
		}
	}
	return End{}
}

// elsewhere is the namespace of the device below, where that is another one.
func (l Link) elsewhere() string {
	if end := l.Below(); end.Namespace != l.Namespace {
		return end.Namespace
	}
	return ""
}

// Makes reports whether creating this object creates a device: the second end of a veth pair comes with the first, an
// agent's device with the agent.
func (l Link) Makes() bool {
	d, ok := l.Device.(interface{ comesWith(Link) (Key, bool) })
	if !ok {
		return true
	}
	_, comes := d.comesWith(l)
	return !comes
}

// fallback are devices that appear in every namespace once their module is loaded, and their types.
var fallback = map[string]string{
	"tunl0": "ipip", "sit0": "sit", "ip6tnl0": "ip6tnl", "gre0": "gre", "gretap0": "gretap", "erspan0": "erspan", "ip6gre0": "ip6gre", "ip_vti0": "vti", "ip6_vti0": "vti6",
}

// Permanent reports whether the device is one that the kernel makes by itself in every namespace and that cannot be removed.
func (l Link) Permanent() bool { return l.Device != nil && fallback[l.Name] == l.Type() }

func (l Link) Parents() []Key {
	p := append([]Key{{l.Namespace, KindNamespace, ""}}, l.roots()...)
	if l.Port.Bridge != "" {
		p = append(p, Key{l.Namespace, KindLink, l.Port.Bridge})
	}
	if b, ok := l.Device.(Bridge); ok && b.After != "" {
		p = append(p, Key{l.Namespace, KindLink, b.After})
	}
	return append(p, defaultSysctls(l.Namespace)...)
}

// roots are the parents that the link has because of its type. It goes when one of them goes.
func (l Link) roots() []Key {
	var p []Key
	if d, ok := l.Device.(interface{ parents(Link) []Key }); ok {
		p = d.parents(l)
	}
	if end := l.Below(); end != (End{}) {
		p = append(p, Key{end.Namespace, KindLink, end.Name})
	}
	return p
}

func (l Link) attributes() string {
	s := fmt.Sprintf(" mtu %d txqueuelen %d", l.MTU, l.TxQueueLen)
	if l.MAC != "" {
		s += " address " + l.MAC
	}
	return s
}

// Unnamed is what a device is called until it is where it belongs: older kernels, such as 6.1, refuse a name that is taken
// where the device below is, though it is made elsewhere.
const Unnamed = "new0"

func (l Link) Add() []string {
	ip := "ip -n " + l.Namespace + " link "
	if !l.Makes() {
		return append([]string{ip + "set dev " + l.Name + l.attributes()}, l.state(Link{})...)
	}
	if l.Permanent() {
		add := fmt.Sprintf("%sshow dev %s >/dev/null 2>&1 || %[1]sadd name %[2]s type %[3]s", ip, l.Name, l.Type())
		return append([]string{add, ip + "set dev " + l.Name + l.attributes()}, l.state(Link{})...)
	}
	add := ip + "add name " + l.Name
	if s, ok := l.Device.(stacked); ok {
		lower := s.below().Name
		add = ip + "add link " + lower + " name " + l.Name
		if other := l.elsewhere(); other != "" {
			add = fmt.Sprintf("ip -n %s link add link %s name %s netns %s", other, lower, Unnamed, l.Namespace)
		}
	}
	lines := []string{add + l.attributes() + " type " + l.Type() + l.Device.settings()}
	if l.elsewhere() != "" {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s name %s", l.Namespace, Unnamed, l.Name))
	}
	return append(lines, l.state(Link{})...)
}

// state returns what is set on a device that exists.
func (l Link) state(before Link) []string {
	var lines []string
	if l.Offloads != before.Offloads {
		words := strings.NewReplacer("=", " ").Replace(l.Offloads)
		if words == "" {
			words = strings.NewReplacer("=off", " on", "=on", " off").Replace(before.Offloads)
		}
		lines = append(lines, fmt.Sprintf("ip netns exec %s ethtool -K %s %s", l.Namespace, l.Name, words))
	}
	set := ""
	if l.GSOMaxSegs != before.GSOMaxSegs {
		segs := l.GSOMaxSegs
		if segs == 0 {
			segs = 65535
		}
		set += fmt.Sprintf(" gso_max_segs %d", segs)
	}
	if l.Port.Bridge != before.Port.Bridge {
		set += l.Port.joining()
		before.Port = Port{} // its settings belong to the port, not to the device
	}
	if d, ok := l.Device.(interface{ flags(before Device) string }); ok {
		set += d.flags(before.Device)
	}
	switch {
	case !l.Down && (before.Name == "" || before.Down):
		set += " up"
	case l.Down && before.Name != "" && !before.Down:
		set += " down"
	}
	if set != "" {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s%s", l.Namespace, l.Name, set))
	}
	return append(lines, l.Port.lines(l, before.Port)...)
}

func (l Link) Set(o Object) ([]string, bool) {
	before := o.(Link)
	var device []string
	if l.Device != before.Device {
		d, ok := l.Device.(interface {
			change(l, before Link) ([]string, bool)
		})
		if !ok {
			return nil, false
		}
		if device, ok = d.change(l, before); !ok {
			return nil, false
		}
	}
	if _, fixed := l.Device.(interface{ fixedMAC() }); fixed && l.MAC != before.MAC {
		return nil, false
	}
	set := ""
	if l.MTU != before.MTU {
		set += fmt.Sprintf(" mtu %d", l.MTU)
	}
	if l.TxQueueLen != before.TxQueueLen {
		set += fmt.Sprintf(" txqueuelen %d", l.TxQueueLen)
	}
	if l.MAC != before.MAC && l.MAC != "" {
		set += " address " + l.MAC
	}
	var lines []string
	if set != "" {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s%s", l.Namespace, l.Name, set))
	}
	return append(append(lines, device...), l.state(before)...), true
}

func (l Link) Del() []string {
	if l.Permanent() {
		return []string{fmt.Sprintf("ip -n %s address flush dev %s", l.Namespace, l.Name), fmt.Sprintf("ip -n %s link set dev %s down", l.Namespace, l.Name)}
	}
	return []string{fmt.Sprintf("ip -n %s link del dev %s", l.Namespace, l.Name)}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
