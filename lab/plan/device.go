package plan

import (
	"fmt"
	"net/netip"
)

// Device is what links of one type have, and others do not. Its values are comparable. What a type does beyond this it says
// with methods that only some have:
//
//	below() End                      the device that it stands on; in the link's namespace unless it says another
//	parents(Link) []Key              what else it stands on
//	comesWith(Link) (Key, bool)      what it comes with, instead of being made
//	flags(before Device) string      what "ip link set" is told of it
//	change(l, before Link)           the commands that turn another device of the type into it; others are made anew
//	fixedMAC()                       its MAC address is settled when it is made
//	merges()                         it merges the packets that it takes out of a tunnel (GRO)
//	Encapsulates() string            what it makes of packets, as [Encap] calls it
type Device interface {
	// Type is what ip(8) calls it.
	Type() string
	// settings follow the type where ip(8) makes one.
	settings() string
}

// stacked is a device that is made as a part of the one below.
type stacked interface {
	below() End
	stacked()
}

// Encapsulates is what a device makes of the packets that it sends, as [Encap] calls it; nothing of most.
func Encapsulates(d Device) string {
	if e, ok := d.(interface{ Encapsulates() string }); ok {
		return e.Encapsulates()
	}
	return ""
}

// Other is a device of a type that no lab wants, and so is only found.
type Other string

func (o Other) Type() string   { return string(o) }
func (Other) settings() string { return "" }

var FeatureBridge = feature("bridge")

// Bridge is a switch of the kernel's.
type Bridge struct {
	Filtering bool   // it keeps VLANs apart: a port is in those that it names, and in no other
	After     string // a device that is there before it: of those whose address the kernel may take for a source it takes the oldest
	Odd       string // what was found of a bridge that no lab has
}

func (Bridge) Type() string { return "bridge" }

func (b Bridge) settings() string {
	if b.Filtering {
		return filtering(true)
	}
	return ""
}

// filtering are the settings of a bridge that keeps VLANs apart. No port is in a VLAN that nobody named for it.
func filtering(on bool) string {
	if on {
		return " vlan_filtering 1 vlan_default_pvid 0"
	}
	return " vlan_filtering 0"
}

func (b Bridge) change(l, before Link) ([]string, bool) {
	was, ok := before.Device.(Bridge)
	if !ok || was.Odd != b.Odd || was.After != b.After {
		return nil, false
	}
	return []string{fmt.Sprintf("ip -n %s link set dev %s type bridge%s", l.Namespace, l.Name, filtering(b.Filtering))}, true
}

var FeatureVeth = feature("veth")

// Veth is one end of a pair.
type Veth struct{ Peer End }

func (Veth) Type() string { return "veth" }
func (v Veth) settings() string {
	return fmt.Sprintf(" peer name %s netns %s", v.Peer.Name, v.Peer.Namespace)
}

// first reports whether this end is the one whose creation makes both.
func (v Veth) first(l Link) bool {
	return v.Peer == End{} || l.Namespace < v.Peer.Namespace || l.Namespace == v.Peer.Namespace && l.Name < v.Peer.Name
}

func (v Veth) comesWith(l Link) (Key, bool) {
	return Key{v.Peer.Namespace, KindLink, v.Peer.Name}, !v.first(l)
}

func (v Veth) parents(l Link) []Key {
	if v.Peer == (End{}) {
		return nil
	}
	p := []Key{{v.Peer.Namespace, KindNamespace, ""}}
	if other, comes := v.comesWith(l); comes {
		p = append(p, other)
	} else if v.Peer.Namespace != l.Namespace {
		p = append(p, defaultSysctls(v.Peer.Namespace)...) // the other end is made along with this one
	}
	return p
}

var FeatureVXLAN = feature("vxlan")

// VXLAN is a VXLAN tunnel endpoint; what is left out is off.
type VXLAN struct {
	Lower    string // the device whose address it has
	VNI      int
	Port     int
	Local    netip.Addr
	Learning bool
}

func (VXLAN) Type() string         { return "vxlan" }
func (VXLAN) Encapsulates() string { return "vxlan" }
func (VXLAN) merges()              {}
func (v VXLAN) below() End         { return End{Name: v.Lower} }
func (v VXLAN) settings() string {
	s := fmt.Sprintf(" id %d local %s dev %s dstport %d", v.VNI, v.Local, v.Lower, v.Port)
	if !v.Learning {
		s += " nolearning"
	}
	return s
}

var FeatureIPIP = feature("ipip")

// IPIP is a tunnel of IP in IP; the zero Addr is any. No lab wants a tunnel with one far end, nor one that sets its packets'
// TTL or class of service: these can only be found.
type IPIP struct {
	Lower         string // found of a tunnel that is bound to a device
	Local, Remote netip.Addr
	TTL, TOS      int
	PMTUDisc      bool
}

func (IPIP) Type() string         { return "ipip" }
func (IPIP) Encapsulates() string { return "ipip" }
func (IPIP) merges()              {}
func (i IPIP) below() End         { return End{Name: i.Lower} }
func (i IPIP) settings() string {
	s := ""
	if i.Local.IsValid() {
		s += " local " + i.Local.String()
	}
	if !i.PMTUDisc {
		s += " nopmtudisc"
	}
	return s
}

// change: the kernel's own tunnel cannot be made anew.
func (i IPIP) change(l, before Link) ([]string, bool) {
	was, ok := before.Device.(IPIP)
	if !ok || !l.Permanent() || was.Lower != i.Lower {
		return nil, false
	}
	return []string{fmt.Sprintf("ip -n %s tunnel change %s mode ipip ttl 0 tos 0 nopmtudisc", l.Namespace, l.Name)}, true
}

var FeatureMACVLAN = feature("macvlan")

// MACVLAN is a device with a MAC address of its own on another one.
type MACVLAN struct {
	Lower End
	Mode  string // bridge; others are only found
}

func (MACVLAN) Type() string       { return "macvlan" }
func (MACVLAN) stacked()           {}
func (m MACVLAN) below() End       { return m.Lower }
func (m MACVLAN) settings() string { return " mode " + m.Mode }

var FeatureIPVLAN = feature("ipvlan")

// IPVLAN is a device with the MAC address of the one that it stands on.
type IPVLAN struct {
	Lower End
	Mode  string // l2, l3, l3s; "l2 private" and the like are only found
}

func (IPVLAN) Type() string       { return "ipvlan" }
func (IPVLAN) stacked()           {}
func (i IPVLAN) below() End       { return i.Lower }
func (i IPVLAN) settings() string { return " mode " + i.Mode }

var FeatureVLAN = feature("8021q")

// Dummy is a device that sends nothing: it has addresses.
type Dummy struct{}

func (Dummy) Type() string     { return "dummy" }
func (Dummy) settings() string { return "" }

// VLAN is an 802.1Q sub-interface.
type VLAN struct {
	Lower End
	ID    int
	Odd   string // what was found of one that no lab has: "802.1ad"
}

func (VLAN) Type() string         { return "vlan" }
func (VLAN) Encapsulates() string { return "vlan" }
func (VLAN) stacked()             {}
func (v VLAN) below() End         { return v.Lower }
func (v VLAN) settings() string   { return fmt.Sprintf(" id %d", v.ID) }

// IFB is a device that programs make something of.
type IFB struct {
	ARP bool // it resolves addresses, which such a device does not do by itself
}

func (IFB) Type() string     { return "ifb" }
func (IFB) settings() string { return "" }
func (IFB) fixedMAC()        {}

func (i IFB) flags(before Device) string {
	if was, _ := before.(IFB); was.ARP != i.ARP {
		return " arp " + onOff(i.ARP)
	}
	return ""
}

func (i IFB) change(_, before Link) ([]string, bool) {
	_, ok := before.Device.(IFB)
	return nil, ok
}

var FeatureTUN = feature("tun")

// TUN is a device whose packets are a process's.
type TUN struct {
	Agent string // that makes it, and with which it goes
}

func (TUN) Type() string         { return "tun" }
func (TUN) Encapsulates() string { return "udp" }
func (TUN) settings() string     { return "" }

func (t TUN) comesWith(l Link) (Key, bool) {
	return Key{l.Namespace, KindAgent, t.Agent}, t.Agent != ""
}

func (t TUN) parents(l Link) []Key {
	if agent, comes := t.comesWith(l); comes {
		return []Key{agent}
	}
	return nil
}
