package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Namespace is a network namespace of the lab. It says itself whose it is: the alias of its loopback device is all that
// is needed to find and remove a lab.
type Namespace struct {
	Name  string
	Alias string // see [Owner]
}

// Owner is what a namespace says about itself in the alias of its loopback device.
type Owner struct {
	Lab     string
	Machine string // node1 or node1/p1
	Role    string // switch, node, router, host, pod
}

const aliasSchema = "schema=1"

func (o Owner) String() string {
	return fmt.Sprintf("lab=%s machine=%s role=%s %s", o.Lab, o.Machine, o.Role, aliasSchema)
}

// ParseOwner reads a loopback alias of this or any other version of lab; ok is false when it is not one of ours.
func ParseOwner(alias string) (o Owner, ok bool) {
	version := ""
	for _, field := range strings.Fields(alias) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "lab":
			o.Lab = value
		case "machine":
			o.Machine = value
		case "role":
			o.Role = value
		case "schema":
			version = value
		}
	}
	if o.Lab == "" || o.Machine == "" || o.Role == "" || version == "" {
		return Owner{}, false
	}
	return o, true
}

func (n Namespace) Key() Key       { return Key{n.Name, KindNamespace, ""} }
func (n Namespace) Parents() []Key { return nil }
func (n Namespace) Add() []string {
	return []string{"ip netns add " + n.Name, fmt.Sprintf("ip -n %s link set lo alias '%s' up", n.Name, n.Alias)}
}
func (n Namespace) Set(Object) ([]string, bool) { return n.Add()[1:], true }
func (n Namespace) Del() []string               { return []string{"ip netns del " + n.Name} }

// End names one end of a veth pair.
type End struct{ Namespace, Name string }

// Link is a network device. Every link of a lab is up.
type Link struct {
	Namespace, Name string
	Type            string // bridge, veth, vxlan, …: what ip(8) calls it
	MTU             int
	MAC             string // empty: the kernel's choice
	TxQueueLen      int
	Down            bool   // found down; nothing wants that
	Master          string // the bridge it is a port of
	Hairpin         bool   // a bridge port that may send a frame back where it came from
	Filtering       bool   // a bridge that keeps VLANs apart: a port is in those that it names, and in no other
	VLANs           string // a port of such a bridge, as bridge(8) writes it: "1 pvid untagged, 10, 20"
	NoLearning      bool   // a bridge port that does not learn who is behind it
	Peer            End    // veth: the other end
	Lower           string // vxlan, ipip, macvlan, ipvlan, vlan: the device it stands on
	LowerNamespace  string // where that is, when it is in another namespace
	VXLAN           VXLAN
	IPIP            IPIP
	Sub             string // macvlan: "bridge"; ipvlan: "l2", "l3", "l3s"; more, or of others, is only found: "l2 private", "802.1ad"
	VLAN            int    // vlan: its 802.1Q identifier
	ARP             bool   // ifb: it resolves addresses, which such a device does not do by itself
	Agent           string // tun: the agent that makes it, and with which it goes
	GSOMaxSegs      int    // 0: the kernel's default, 65535
	Offloads        string // ethtool features that are not as the driver sets them: "gro=off tso=off"
}

// VXLAN holds the settings of a vxlan device; what is left out is off.
type VXLAN struct {
	VNI      int
	Port     int
	Local    netip.Addr
	Learning bool
}

// IPIP holds the settings of an ipip device; the zero Addr is any. No lab wants a tunnel with one far end, nor one that sets
// its packets' TTL or class of service: these can only be found.
type IPIP struct {
	Local, Remote netip.Addr
	TTL, TOS      int
	PMTUDisc      bool
}

// fallback are devices that appear in every namespace once their module is loaded, and their types.
var fallback = map[string]string{
	"tunl0": "ipip", "sit0": "sit", "ip6tnl0": "ip6tnl", "gre0": "gre", "gretap0": "gretap", "erspan0": "erspan", "ip6gre0": "ip6gre", "ip_vti0": "vti", "ip6_vti0": "vti6",
}

// Permanent reports whether the device is one that the kernel makes by itself in every namespace and that cannot be removed.
func (l Link) Permanent() bool { return l.Type != "" && fallback[l.Name] == l.Type }

func (l Link) Key() Key { return Key{l.Namespace, KindLink, l.Name} }

// first reports whether this end of a veth pair is the one whose creation makes both.
func (l Link) first() bool {
	return l.Namespace < l.Peer.Namespace || l.Namespace == l.Peer.Namespace && l.Name < l.Peer.Name
}

func (l Link) Parents() []Key {
	p := []Key{{l.Namespace, KindNamespace, ""}}
	if l.Peer != (End{}) {
		p = append(p, Key{l.Peer.Namespace, KindNamespace, ""})
		if !l.first() {
			p = append(p, Key{l.Peer.Namespace, KindLink, l.Peer.Name})
		} else if l.Peer.Namespace != l.Namespace {
			p = append(p, defaultSysctls(l.Peer.Namespace)...) // the other end is made along with this one
		}
	}
	if l.Master != "" {
		p = append(p, Key{l.Namespace, KindLink, l.Master})
	}
	if l.Lower != "" {
		p = append(p, Key{cmp.Or(l.LowerNamespace, l.Namespace), KindLink, l.Lower})
	}
	if l.Agent != "" {
		p = append(p, Key{l.Namespace, KindAgent, l.Agent})
	}
	return append(p, defaultSysctls(l.Namespace)...)
}

// Makes reports whether creating this object creates a device: the second end of a veth pair comes with the first, an
// agent's device with the agent.
func (l Link) Makes() bool { return l.Agent == "" && (l.Peer == (End{}) || l.first()) }

func (l Link) attributes() string {
	s := fmt.Sprintf(" mtu %d txqueuelen %d", l.MTU, l.TxQueueLen)
	if l.MAC != "" {
		s += " address " + l.MAC
	}
	return s
}

func (l Link) Add() []string {
	ip := "ip -n " + l.Namespace + " link "
	if !l.Makes() {
		return append([]string{ip + "set dev " + l.Name + l.attributes()}, l.state(Link{})...)
	}
	if l.Permanent() {
		add := fmt.Sprintf("%sshow dev %s >/dev/null 2>&1 || %[1]sadd name %[2]s type %[3]s", ip, l.Name, l.Type)
		return append([]string{add, ip + "set dev " + l.Name + l.attributes()}, l.state(Link{})...)
	}
	add := ip + "add name " + l.Name + l.attributes() + " type " + l.Type
	switch l.Type {
	case "macvlan", "ipvlan", "vlan":
		add = ip + "add link " + l.Lower + " name " + l.Name
		if l.LowerNamespace != "" {
			add = fmt.Sprintf("ip -n %s link add link %s name %s netns %s", l.LowerNamespace, l.Lower, Unnamed, l.Namespace)
		}
		add += l.attributes() + " type " + l.Type
	}
	switch l.Type {
	case "bridge":
		if l.Filtering {
			add += filtering(true)
		}
	case "veth":
		add += fmt.Sprintf(" peer name %s netns %s", l.Peer.Name, l.Peer.Namespace)
	case "macvlan", "ipvlan":
		add += " mode " + l.Sub
	case "vlan":
		add += fmt.Sprintf(" id %d", l.VLAN)
	case "ipip":
		if l.IPIP.Local.IsValid() {
			add += " local " + l.IPIP.Local.String()
		}
		if !l.IPIP.PMTUDisc {
			add += " nopmtudisc"
		}
	case "vxlan":
		add += fmt.Sprintf(" id %d local %s dev %s dstport %d", l.VXLAN.VNI, l.VXLAN.Local, l.Lower, l.VXLAN.Port)
		if !l.VXLAN.Learning {
			add += " nolearning"
		}
	}
	lines := []string{add}
	if l.LowerNamespace != "" {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s name %s", l.Namespace, Unnamed, l.Name))
	}
	return append(lines, l.state(Link{})...)
}

// Unnamed is what a device is called until it is where it belongs: older kernels, such as 6.1, refuse a name that is taken
// where the device below is, though it is made elsewhere.
const Unnamed = "new0"

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
	if l.Master != before.Master {
		if l.Master == "" {
			set += " nomaster"
		} else {
			set += " master " + l.Master
		}
		before.Hairpin, before.NoLearning, before.VLANs = false, false, "" // they belong to the port, not to the device
	}
	if l.ARP != before.ARP {
		set += " arp " + onOff(l.ARP)
	}
	if before.Name == "" || before.Down {
		set += " up"
	}
	if set != "" {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s%s", l.Namespace, l.Name, set))
	}
	if before.Name != "" && l.Filtering != before.Filtering {
		lines = append(lines, fmt.Sprintf("ip -n %s link set dev %s type bridge%s", l.Namespace, l.Name, filtering(l.Filtering)))
	}
	leave, join := l.ChangeVLANs(before)
	for _, v := range leave {
		lines = append(lines, fmt.Sprintf("bridge -n %s vlan del dev %s vid %d%s", l.Namespace, l.Name, v.ID, self(l)))
	}
	for _, v := range join {
		lines = append(lines, fmt.Sprintf("bridge -n %s vlan add dev %s vid %s%s", l.Namespace, l.Name, v, self(l)))
	}
	if l.Hairpin != before.Hairpin {
		lines = append(lines, fmt.Sprintf("bridge -n %s link set dev %s hairpin %s", l.Namespace, l.Name, onOff(l.Hairpin)))
	}
	if l.NoLearning != before.NoLearning {
		lines = append(lines, fmt.Sprintf("bridge -n %s link set dev %s learning %s", l.Namespace, l.Name, onOff(!l.NoLearning)))
	}
	return lines
}

// filtering are the settings of a bridge that keeps VLANs apart. No port is in a VLAN that nobody named for it.
func filtering(on bool) string {
	if on {
		return " vlan_filtering 1 vlan_default_pvid 0"
	}
	return " vlan_filtering 0"
}

// self is what bridge(8) wants to be told when the bridge itself is meant.
func self(l Link) string {
	if l.Type == "bridge" {
		return " self"
	}
	return ""
}

// PortVLAN is a VLAN that a bridge's port is in.
type PortVLAN struct {
	ID       int
	PVID     bool // frames that come in without a tag are of this VLAN
	Untagged bool // frames go out without its tag
}

func (v PortVLAN) String() string {
	s := strconv.Itoa(v.ID)
	if v.PVID {
		s += " pvid"
	}
	if v.Untagged {
		s += " untagged"
	}
	return s
}

// PortVLANs writes VLANs as [Link] has them.
func PortVLANs(list []PortVLAN) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, ", ")
}

func (l Link) portVLANs() []PortVLAN {
	var list []PortVLAN
	for word := range strings.SplitSeq(l.VLANs, ", ") {
		id, flags, _ := strings.Cut(word, " ")
		if n, err := strconv.Atoi(id); err == nil {
			list = append(list, PortVLAN{n, strings.Contains(flags, "pvid"), strings.Contains(flags, "untagged")})
		}
	}
	return list
}

// ChangeVLANs returns which VLANs a port has to leave and then to join to become as wanted.
func (l Link) ChangeVLANs(before Link) (leave, join []PortVLAN) {
	was, is := before.portVLANs(), l.portVLANs()
	for _, v := range was {
		if !slices.Contains(is, v) {
			leave = append(leave, v)
		}
	}
	for _, v := range is {
		if !slices.Contains(was, v) {
			join = append(join, v)
		}
	}
	return leave, join
}

func (l Link) Set(o Object) ([]string, bool) {
	before := o.(Link)
	if l.Type != before.Type || l.Peer != before.Peer || l.Lower != before.Lower || l.LowerNamespace != before.LowerNamespace ||
		l.Type == "ifb" && l.MAC != before.MAC || // that is settled when it is made
		l.VXLAN != before.VXLAN || l.IPIP != before.IPIP && !l.Permanent() || l.Sub != before.Sub || l.VLAN != before.VLAN || l.Agent != before.Agent {
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
	if l.IPIP != before.IPIP {
		lines = append(lines, fmt.Sprintf("ip -n %s tunnel change %s mode ipip ttl 0 tos 0 nopmtudisc", l.Namespace, l.Name))
	}
	return append(lines, l.state(before)...), true
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

// Qdisc is the root queueing discipline of a link, or its clsact, where programs are attached.
type Qdisc struct {
	Namespace, Link string
	Type            string // tbf, netem; netem with a rate shapes by itself
	Rate            uint64 // bit/s
	Burst           uint32 // tbf: bytes
	Limit           uint32 // tbf: bytes; netem: packets
	DelayUS         uint32
	JitterUS        uint32
	LossPPM         uint32 // millionths
}

// ingress reports whether it is the one that a link can have besides its root.
func (q Qdisc) ingress() bool { return q.Type == "ingress" || q.Type == "clsact" }

func (q Qdisc) Key() Key {
	if q.ingress() {
		return Key{q.Namespace, KindQdisc, q.Link + " " + q.Type}
	}
	return Key{q.Namespace, KindQdisc, q.Link}
}
func (q Qdisc) Parents() []Key { return []Key{{q.Namespace, KindLink, q.Link}} }
func (q Qdisc) Add() []string {
	if q.ingress() {
		return []string{fmt.Sprintf("tc -n %s qdisc add dev %s %s", q.Namespace, q.Link, q.Type)}
	}
	s := fmt.Sprintf("tc -n %s qdisc replace dev %s root handle 1: %s", q.Namespace, q.Link, q.Type)
	switch q.Type {
	case "tbf":
		s += fmt.Sprintf(" rate %dbit burst %d limit %d", q.Rate, q.Burst, q.Limit)
	case "netem":
		s += fmt.Sprintf(" limit %d", q.Limit)
		if q.DelayUS > 0 {
			s += fmt.Sprintf(" delay %dus", q.DelayUS)
			if q.JitterUS > 0 {
				s += fmt.Sprintf(" %dus", q.JitterUS)
			}
		}
		if q.LossPPM > 0 {
			s += fmt.Sprintf(" loss %g%%", float64(q.LossPPM)/1e4)
		}
		if q.Rate > 0 {
			s += fmt.Sprintf(" rate %dbit", q.Rate)
		}
	}
	return []string{s}
}

// Set does not apply to netem: what a change does not mention, as a rate, stays as it was.
func (q Qdisc) Set(before Object) ([]string, bool) {
	return q.Add(), q.Type == before.(Qdisc).Type && q.Type != "netem"
}
func (q Qdisc) Del() []string {
	if q.ingress() {
		return []string{fmt.Sprintf("tc -n %s qdisc del dev %s %s", q.Namespace, q.Link, q.Type)}
	}
	return []string{fmt.Sprintf("tc -n %s qdisc del dev %s root", q.Namespace, q.Link)}
}
