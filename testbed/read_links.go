package testbed

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
)

var (
	macvlanModes = map[netlink.MacvlanMode]string{netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge", netlink.MACVLAN_MODE_PASSTHRU: "passthru"}
	ipvlanFlags  = map[netlink.IPVlanFlag]string{netlink.IPVLAN_FLAG_PRIVATE: " private", netlink.IPVLAN_FLAG_VEPA: " vepa"}
	ipvlanModes  = map[netlink.IPVlanMode]string{netlink.IPVLAN_MODE_L2: "l2", netlink.IPVLAN_MODE_L3: "l3", netlink.IPVLAN_MODE_L3S: "l3s"}
)

// defaultGSOMaxSegs is what every device has unless told otherwise.
const defaultGSOMaxSegs = 65535

func (r *reader) links(v *visit, f *found) error {
	if _, err := v.socket(); err != nil {
		return err
	}
	retagging := map[int]bool{}
	list, err := again(func() ([]netlink.Link, error) { return v.linkList(f.settings, retagging) })
	if err != nil {
		return err
	}
	for _, l := range list {
		v.index[l.Attrs().Name] = l.Attrs().Index
		f.names[l.Attrs().Index] = l.Attrs().Name
	}
	ports := map[int]port{}
	filtering := map[int]bool{} // bridges that keep VLANs apart
	joining := map[int]bool{}   // bridges that put new ports in a VLAN
	if slices.ContainsFunc(list, func(l netlink.Link) bool { return l.Type() == "bridge" }) {
		for _, l := range list {
			if b, ok := l.(*netlink.Bridge); ok && b.VlanFiltering != nil && *b.VlanFiltering {
				filtering[b.Index] = true
				joining[b.Index] = b.VlanDefaultPVID != nil && *b.VlanDefaultPVID != 0
			}
		}
		if ports, err = again(func() (map[int]port, error) { return v.ports(len(filtering) > 0) }); err != nil {
			return err
		}
	}
	for _, l := range list {
		a := l.Attrs()
		if a.Index == loopback {
			owner, _ := plan.ParseOwner(a.Alias)
			if owner.Lab != r.lab {
				return errForeign
			}
			f.routes = owner.Role == string(lab.Node) || owner.Role == string(lab.Router)
			f.add(plan.Namespace{Name: v.place.Name, Alias: aliasOf(a)})
			continue
		}
		wanted, isWanted := r.want.Get(plan.Key{Namespace: v.place.Name, Kind: plan.KindLink, Name: a.Name}).(plan.Link)
		o := plan.Link{
			Namespace: v.place.Name, Name: a.Name, Type: l.Type(), MTU: a.MTU, MAC: a.HardwareAddr.String(), TxQueueLen: max(a.TxQLen, 0),
			Down: a.RawFlags&unix.IFF_UP == 0, Master: f.names[a.MasterIndex], Hairpin: ports[a.Index].hairpin, NoLearning: ports[a.Index].noLearning,
			GSOMaxSegs: int(a.GSOMaxSegs), Filtering: filtering[a.Index] && !joining[a.Index],
		}
		if filtering[a.Index] || filtering[a.MasterIndex] { // elsewhere they mean nothing
			o.VLANs = plan.PortVLANs(ports[a.Index].vlans)
		}
		if !isWanted && o.Permanent() && o.Down {
			continue
		}
		if isWanted && wanted.MAC == "" {
			o.MAC = ""
		}
		// A bridge takes the smallest limit of its ports.
		if o.GSOMaxSegs == defaultGSOMaxSegs || o.Type == "bridge" {
			o.GSOMaxSegs = 0
		}
		if wanted.Offloads != "" {
			if o.Offloads, err = readOffloads(a.Name, wanted.Offloads); err != nil {
				return err
			}
		}
		switch l := l.(type) {
		case *netlink.Bridge:
			if filtering[a.Index] && retagging[a.Index] {
				o.Sub = "another tag than 802.1Q"
			}
		case *netlink.Vxlan:
			o.Lower = f.names[l.VtepDevIndex]
			o.VXLAN = plan.VXLAN{VNI: l.VxlanId, Port: l.Port, Local: address(l.SrcAddr), Learning: l.Learning}
		case *netlink.Veth:
			pair := veth{link: o, index: a.Index, peer: a.ParentIndex}
			if w := wanted.Peer; w.Namespace != "" && wanted.Makes() { // one end's word is enough
				pair.confirmed = v.sees(w.Namespace, a.NetNsID)
			}
			f.veths = append(f.veths, pair)
			continue
		case *netlink.Iptun:
			o.IPIP = plan.IPIP{Local: specified(l.Local), Remote: specified(l.Remote), TTL: int(l.Ttl), TOS: int(l.Tos), PMTUDisc: l.PMtuDisc != 0}
		case *netlink.Macvlan:
			o.Sub = macvlanModes[l.Mode]
		case *netlink.IPVlan:
			o.Sub = ipvlanModes[l.Mode] + ipvlanFlags[l.Flag]
		case *netlink.Ifb:
			o.ARP = a.RawFlags&unix.IFF_NOARP == 0
		case *netlink.Vlan:
			o.VLAN, o.Sub = l.VlanId, unusual(l)
		case *netlink.Tuntap:
			if wanted.Type == "tun" {
				o.Type, o.Agent = "tun", wanted.Agent // nothing else can make a device that is not persistent
			}
		}
		switch {
		case a.ParentIndex == 0 || o.Lower != "":
		case a.NetNsID < 0:
			o.Lower = f.names[a.ParentIndex]
		case wanted.LowerNamespace != "" && v.sees(wanted.LowerNamespace, a.NetNsID):
			f.stacked = append(f.stacked, stacked{o, wanted, a.ParentIndex})
			continue
		}
		f.add(o)
	}
	return nil
}

// unusual is what no lab wants of a VLAN device.
func unusual(l *netlink.Vlan) string {
	var words []string
	if l.VlanProtocol != netlink.VLAN_PROTOCOL_8021Q {
		words = append(words, strings.ToLower(l.VlanProtocol.String()))
	}
	for _, flag := range []struct {
		name   string
		on     *bool
		wanted bool
	}{
		{"reorder_hdr", l.ReorderHdr, true}, {"gvrp", l.Gvrp, false}, {"mvrp", l.Mvrp, false},
		{"loose_binding", l.LooseBinding, false}, {"bridge_binding", l.BridgeBinding, false},
	} {
		if flag.on != nil && *flag.on != flag.wanted {
			words = append(words, flag.name+" "+map[bool]string{true: "on", false: "off"}[*flag.on])
		}
	}
	if len(l.IngressQosMap)+len(l.EgressQosMap) > 0 {
		words = append(words, "with a QoS map")
	}
	return strings.Join(words, ", ")
}

// aliasOf is a namespace's alias. A loopback device that is down is drift, and shows as an alias that is not wanted.
func aliasOf(lo *netlink.LinkAttrs) string {
	if lo.RawFlags&unix.IFF_UP == 0 {
		return lo.Alias + " down"
	}
	return lo.Alias
}

// veth is one end of a pair whose other end has yet to be found.
type veth struct {
	link        plan.Link
	index, peer int
	confirmed   bool // its peer's namespace is the wanted one
}

// sees reports whether this namespace knows the other under that number.
func (v *visit) sees(namespace string, id int) bool {
	if namespace == v.place.Name {
		return id < 0
	}
	other, err := Open(namespace)
	if err != nil {
		return false
	}
	defer other.Close()
	got, err := v.GetNetNsIdByFd(other.Fd())
	return err == nil && got == id && id >= 0
}

// stacked is a link on a device of another namespace, of which only the index is known.
type stacked struct {
	link, wanted plan.Link
	lower        int
}

// stack gives links the names of the devices that they stand on, where those are the wanted ones.
func (r *reader) stack() {
	for _, s := range r.stacked {
		if r.indices[plan.End{Namespace: s.wanted.LowerNamespace, Name: s.wanted.Lower}] == s.lower {
			s.link.Lower, s.link.LowerNamespace = s.wanted.Lower, s.wanted.LowerNamespace
		}
		r.objects = append(r.objects, s.link)
	}
}

// pair joins the ends of veth pairs: an end whose peer is where the plan wants it is given that name; others stay without
// a peer, which the plan wants of none.
func (r *reader) pair() {
	byName := map[plan.End]*veth{}
	for i := range r.veths {
		e := &r.veths[i]
		byName[plan.End{Namespace: e.link.Namespace, Name: e.link.Name}] = e
	}
	for i := range r.veths {
		e := &r.veths[i]
		wanted, _ := r.want.Get(e.link.Key()).(plan.Link)
		if other := byName[wanted.Peer]; other != nil && (e.confirmed || other.confirmed) && other.index == e.peer && other.peer == e.index {
			e.link.Peer = wanted.Peer
		}
	}
	for _, e := range r.veths {
		r.objects = append(r.objects, e.link)
	}
}

// port is what a device is as a port of a bridge. The bridge itself can be in VLANs too.
type port struct {
	hairpin, noLearning bool
	vlans               []plan.PortVLAN
}

// ports reads what bridges have set on their ports, in one dump for all of them.
func (v *visit) ports(vlans bool) (map[int]port, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.Sockets = v.raw
	req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
	if vlans {
		req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_BRVLAN)))
	}
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	ports := map[int]port{}
	for _, m := range messages {
		attributes, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
		if err != nil {
			return nil, err
		}
		var p port
		for _, a := range attributes {
			of := a.Attr.Type & nl.NLA_TYPE_MASK
			if of != unix.IFLA_PROTINFO && of != unix.IFLA_AF_SPEC {
				continue
			}
			inner, err := nl.ParseRouteAttr(a.Value)
			if err != nil {
				return nil, err
			}
			for _, i := range inner {
				switch {
				case of == unix.IFLA_PROTINFO && i.Attr.Type == nl.IFLA_BRPORT_MODE:
					p.hairpin = i.Value[0] != 0
				case of == unix.IFLA_PROTINFO && i.Attr.Type == nl.IFLA_BRPORT_LEARNING:
					p.noLearning = i.Value[0] == 0
				case of == unix.IFLA_AF_SPEC && i.Attr.Type == nl.IFLA_BRIDGE_VLAN_INFO:
					v := nl.DeserializeBridgeVlanInfo(i.Value)
					p.vlans = append(p.vlans, plan.PortVLAN{
						ID: int(v.Vid), PVID: v.Flags&nl.BRIDGE_VLAN_INFO_PVID != 0, Untagged: v.Flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0,
					})
				}
			}
		}
		ports[int(int32(binary.NativeEndian.Uint32(m[4:8])))] = p
	}
	return ports, nil
}

// readOffloads reads the features that the plan names, in its form.
func readOffloads(link, wanted string) (string, error) {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return "", err
	}
	defer e.Close()
	features, err := e.Features(link)
	if err != nil {
		return "", err
	}
	var words []string
	for word := range strings.FieldsSeq(wanted) {
		name, _, _ := strings.Cut(word, "=")
		words = append(words, name+"="+map[bool]string{true: "on", false: "off"}[features[name]])
	}
	return strings.Join(words, " "), nil
}

// qdiscs reads root qdiscs, with what hangs below them, and ingress qdiscs. Those that the kernel attaches by itself have
// no handle, and are left out.
func (r *reader) qdiscs(v *visit, f *found) error {
	list, err := again(func() ([]netlink.Qdisc, error) { return v.QdiscList(nil) })
	if err != nil {
		return err
	}
	below := map[int]string{} // by link: what hangs below its root
	for _, q := range list {
		if a := q.Attrs(); a.Handle != 0 && a.Parent != netlink.HANDLE_ROOT && a.Parent != netlink.HANDLE_INGRESS {
			below[a.LinkIndex] += " " + q.Type()
		}
	}
	for _, q := range list {
		a := q.Attrs()
		if a.Handle == 0 || a.Parent != netlink.HANDLE_ROOT && a.Parent != netlink.HANDLE_INGRESS {
			continue
		}
		o := plan.Qdisc{Namespace: v.place.Name, Link: f.link(a.LinkIndex), Type: q.Type()}
		if wanted, ok := r.want.Get(o.Key()).(plan.Qdisc); ok && sameQdisc(newQdisc(wanted, a.LinkIndex), q) {
			o = wanted
		}
		if a.Parent == netlink.HANDLE_ROOT {
			o.Type += below[a.LinkIndex] // no lab wants that
		}
		f.add(o)
	}
	return nil
}

// newQdisc is the qdisc as netlink wants it. The kernel keeps times in ticks, so only this form can be compared.
func newQdisc(q plan.Qdisc, index int) netlink.Qdisc {
	a := netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	switch q.Type {
	case "clsact":
		a.Handle, a.Parent = netlink.MakeHandle(0xffff, 0), netlink.HANDLE_CLSACT
	case "tbf":
		return &netlink.Tbf{QdiscAttrs: a, Rate: q.Rate / 8, Limit: q.Limit, Buffer: netlink.Xmittime(q.Rate/8, q.Burst)}
	case "netem":
		return netlink.NewNetem(a, netlink.NetemQdiscAttrs{
			Latency: q.DelayUS, Jitter: q.JitterUS, Limit: q.Limit, Loss: float32(q.LossPPM) / 1e4, Rate64: q.Rate / 8,
		})
	}
	return &netlink.GenericQdisc{QdiscAttrs: a, QdiscType: q.Type}
}

func sameQdisc(want, got netlink.Qdisc) bool {
	switch want := want.(type) {
	case *netlink.Tbf:
		got, ok := got.(*netlink.Tbf)
		return ok && want.Rate == got.Rate && want.Limit == got.Limit && math.Abs(float64(want.Buffer)-float64(got.Buffer)) <= 1
	case *netlink.Netem:
		got, ok := got.(*netlink.Netem)
		if !ok || lossPPM(want) != lossPPM(got) {
			return false
		}
		rest := *got // what no lab wants has to be absent: duplicates, say
		rest.QdiscAttrs, rest.Loss = want.QdiscAttrs, want.Loss
		return rest == *want
	}
	return want.Type() == got.Type()
}

// lossPPM is the loss in the unit of a plan: tc and netlink's library round the kernel's in different ways.
func lossPPM(q *netlink.Netem) int { return int(math.Round(float64(q.Loss) * 1e6 / math.MaxUint32)) }
