package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"unsafe"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Apply makes the changes in their order, and calls done after each. It stops at the first that fails, and between two
// when ctx is done. When it returns, what it has set up can be used at once.
func Apply(ctx context.Context, changes []plan.Change, done func(plan.Change)) error {
	if len(changes) == 0 {
		return nil
	}
	a := &applier{ctx: ctx, visits: map[string]*visit{}, left: map[string]int{}, links: map[plan.Key]plan.Link{}, news: news{inet6: map[string]bool{}}, fresh: map[string]bool{}, inherited: map[string]string{}}
	for _, c := range changes {
		for _, ns := range namespaces(c.Object) {
			a.left[ns]++
		}
		if l, ok := c.Object.(plan.Link); ok && c.Op != plan.Delete {
			a.links[l.Key()] = l
		}
	}
	err := travel(func(t *traveller) error {
		a.traveller = t
		defer func() {
			for _, v := range a.visits {
				v.close()
			}
		}()
		finished := func(c plan.Change) {
			done(c)
			for _, ns := range namespaces(c.Object) {
				a.leave(ns)
			}
		}
		for len(changes) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if n := together(changes); n > 0 {
				if err := a.changeFirewall(changes[:n], finished); err != nil {
					return err
				}
				changes = changes[n:]
				continue
			}
			if err := a.change(changes[0]); err != nil {
				return failed(changes[0], err)
			}
			finished(changes[0])
			changes = changes[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.news.ready(ctx)
}

// failed says which change failed.
func failed(c plan.Change, err error) error {
	return fmt.Errorf("%s %s: %w", map[plan.Op]string{plan.Create: "making", plan.Update: "changing", plan.Delete: "removing"}[c.Op], c.Object.Key(), err)
}

// namespaces lists those that an object's change needs a connection into: a veth's peer, or the device below, has to be
// at hand.
func namespaces(o plan.Object) []string {
	if l, ok := o.(plan.Link); ok && l.Makes() {
		for _, other := range []string{l.Peer.Namespace, l.LowerNamespace} {
			if other != "" {
				return []string{l.Namespace, other}
			}
		}
	}
	return []string{o.Key().Namespace}
}

// applier makes changes on one thread, with one netlink connection into every namespace that still has changes to come.
type applier struct {
	*traveller
	ctx    context.Context
	visits map[string]*visit
	left   map[string]int
	links  map[plan.Key]plan.Link
	in     string // where the thread is

	news news

	fresh     map[string]bool   // namespaces made by this run
	inherited map[string]string // sysctls as every fresh namespace has them
}

func (a *applier) visit(ns string) (*visit, error) {
	if v := a.visits[ns]; v != nil {
		return v, nil
	}
	place, err := Open(ns)
	if err != nil {
		return nil, err
	}
	v, err := a.call(place)
	if err != nil {
		place.Close()
		return nil, err
	}
	a.in = ns
	a.visits[ns] = v
	return v, nil
}

func (a *applier) leave(ns string) {
	if a.left[ns]--; a.left[ns] > 0 {
		return
	}
	if v := a.visits[ns]; v != nil {
		v.close()
		delete(a.visits, ns)
	}
}

// step into the namespace, for what is done by the thread itself and not over netlink.
func (a *applier) step(v *visit) error {
	if a.in == v.place.Name {
		return nil
	}
	if err := a.enter(v.place); err != nil {
		return err
	}
	a.in = v.place.Name
	return nil
}

func (a *applier) change(c plan.Change) error {
	if n, ok := c.Object.(plan.Namespace); ok {
		switch c.Op {
		case plan.Create:
			if len(a.fresh) == 0 {
				if err := mountPoint(); err != nil {
					return err
				}
			}
			v, err := a.create(n)
			if err == nil {
				a.in, a.visits[n.Name], a.fresh[n.Name] = n.Name, v, true
			}
			return err
		case plan.Delete:
			return remove(n.Name)
		}
	}
	v, err := a.visit(c.Object.Key().Namespace)
	if c.Op == plan.Delete {
		if err == nil {
			err = a.delete(v, c.Object)
		}
		if gone(err) {
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	switch o := c.Object.(type) {
	case plan.Namespace:
		return v.own(o)
	case plan.Sysctl:
		return a.sysctl(v, o)
	case plan.Link:
		before, _ := c.Before.(plan.Link)
		return a.link(v, o, before)
	case plan.Qdisc:
		index, err := v.link(o.Link)
		if err != nil {
			return err
		}
		return v.QdiscReplace(newQdisc(o, index))
	case plan.Address:
		index, err := v.link(o.Link)
		if err != nil {
			return err
		}
		a.news.add(o)
		if err := v.AddrReplace(device(index), newAddr(o)); err != nil || !o.NoLocalRoute {
			return err
		}
		return v.withoutLocalRoutes(o, index)
	case plan.Neighbour:
		n, err := v.neighbour(o)
		if err != nil {
			return err
		}
		return v.NeighSet(n)
	case plan.FDB:
		n, err := v.fdb(o)
		if err != nil {
			return err
		}
		return v.NeighAppend(n)
	case plan.Route:
		route, err := v.route(o)
		if err != nil {
			return err
		}
		return v.RouteReplace(route)
	case plan.Rule:
		return v.RuleAdd(newRule(o))
	case plan.Program:
		return attach(v.Handle, o, v.link)
	case plan.Agent:
		if err := a.step(v); err != nil {
			return err
		}
		return StartAgent(a.ctx, o)
	}
	return fmt.Errorf("nobody knows how to make a %T", c.Object)
}

// gone reports whether something could not be deleted because it is not there.
func gone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL)
}

func (a *applier) delete(v *visit, o plan.Object) error {
	switch o := o.(type) {
	case plan.Link:
		index, err := v.link(o.Name)
		if err != nil {
			return err
		}
		if o.Permanent() {
			return v.quiet(index)
		}
		delete(v.index, o.Name)
		return v.LinkDel(device(index))
	case plan.Qdisc:
		index, err := v.link(o.Link)
		if err != nil {
			return err
		}
		kind, _, _ := strings.Cut(o.Type, " ") // what hangs below it goes along
		parent := uint32(netlink.HANDLE_ROOT)
		if kind == "ingress" || kind == "clsact" {
			parent = netlink.HANDLE_INGRESS
		}
		return v.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Parent: parent}, QdiscType: kind})
	case plan.Address:
		if o.Odd != "" {
			return a.odd(v, func() error { return v.removeAddress(o) })
		}
		index, err := v.link(o.Link)
		if err != nil {
			return err
		}
		return v.AddrDel(device(index), newAddr(o))
	case plan.Neighbour:
		n, err := v.neighbour(o)
		if err != nil {
			return err
		}
		return v.NeighDel(n)
	case plan.FDB:
		n, err := v.fdb(o)
		if err != nil {
			return err
		}
		return v.NeighDel(n)
	case plan.Route:
		if o.Odd != "" {
			return a.odd(v, func() error { return v.removeRoute(o) })
		}
		route, err := v.route(o)
		if err != nil {
			return err
		}
		return v.RouteDel(route)
	case plan.Rule:
		if o.Odd != "" {
			return a.odd(v, func() error { return v.removeRule(o) })
		}
		return v.RuleDel(newRule(o))
	case plan.Program:
		return v.detach(o)
	case plan.Agent:
		if err := a.step(v); err != nil {
			return err
		}
		return StopAgent(o.Namespace, o.Name)
	}
	return fmt.Errorf("nobody knows how to remove a %T", o)
}

// quiet makes a device that cannot be removed as if it were.
func (v *visit) quiet(index int) error {
	addresses, err := v.AddrList(device(index), netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := v.AddrDel(device(index), &a); err != nil {
			return err
		}
	}
	return v.LinkSetDown(device(index))
}

// odd removes what a plan has no words for; that is looked for in the namespace itself.
func (a *applier) odd(v *visit, remove func() error) error {
	if err := a.step(v); err != nil {
		return err
	}
	return remove()
}

// sysctl writes only what is different: some writes lock the whole network stack, and even finding the file is slow. What
// one fresh namespace has by itself, all have.
func (a *applier) sysctl(v *visit, s plan.Sysctl) error {
	inherits := a.fresh[s.Namespace] && s.Link == ""
	value, known := a.inherited[s.Path]
	if !inherits || !known {
		if err := a.step(v); err != nil {
			return err
		}
		var err error
		if value, err = a.sysctls.read(s.Path); err != nil {
			return err
		}
		if inherits {
			a.inherited[s.Path] = value
		}
	}
	if value == s.Value {
		return nil
	}
	if err := a.step(v); err != nil {
		return err
	}
	return a.sysctls.write(s.Path, s.Value)
}

func (a *applier) link(v *visit, l, before plan.Link) error {
	index := v.index[l.Name]
	switch {
	case before.Name == "" && l.Makes():
		var err error
		index, err = a.make(v, l)
		before = plan.Link{Name: l.Name, MTU: l.MTU, MAC: l.MAC, TxQueueLen: l.TxQueueLen, Down: l.Type == "veth" || l.LowerNamespace != "", Filtering: l.Filtering, IPIP: l.IPIP}
		if errors.Is(err, unix.EEXIST) && l.Permanent() {
			index, err = v.link(l.Name)
			before = plan.Link{Name: l.Name, TxQueueLen: -1, Down: true, IPIP: l.IPIP}
		}
		if err != nil {
			return err
		}
	case before.Name == "":
		var err error
		if index, err = v.link(l.Name); err != nil {
			return err
		}
		// It came with its peer, which gave it these if it knew of this change.
		before = plan.Link{Name: l.Name, MTU: l.MTU, MAC: l.MAC, TxQueueLen: l.TxQueueLen, Down: true}
		if _, together := a.links[plan.Key{Namespace: l.Peer.Namespace, Kind: plan.KindLink, Name: l.Peer.Name}]; !together {
			before.MTU, before.MAC, before.TxQueueLen = 0, "", -1
		}
	}
	var err error
	if index == 0 {
		if index, err = v.link(l.Name); err != nil {
			return err
		}
	}
	return a.set(v, index, l, before)
}

// set changes what is different about a device that exists.
func (a *applier) set(v *visit, index int, l, before plan.Link) error {
	dev := device(index)
	if l.MAC != before.MAC && l.MAC != "" {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			return err
		}
		if err := v.LinkSetHardwareAddr(dev, mac); err != nil {
			return fmt.Errorf("address %s: %w", l.MAC, err)
		}
	}
	if l.TxQueueLen != before.TxQueueLen {
		if err := v.LinkSetTxQLen(dev, l.TxQueueLen); err != nil {
			return fmt.Errorf("txqueuelen %d: %w", l.TxQueueLen, err)
		}
	}
	if l.GSOMaxSegs != before.GSOMaxSegs {
		segs := l.GSOMaxSegs
		if segs == 0 {
			segs = defaultGSOMaxSegs
		}
		if err := v.LinkSetGSOMaxSegs(dev, segs); err != nil {
			return fmt.Errorf("gso_max_segs %d: %w", segs, err)
		}
	}
	if l.Offloads != before.Offloads {
		if err := a.step(v); err != nil {
			return err
		}
		if err := setOffloads(l.Name, l.Offloads); err != nil {
			return fmt.Errorf("offloads: %w", err)
		}
	}
	if l.Master != before.Master {
		master := 0
		if l.Master != "" {
			var err error
			if master, err = v.link(l.Master); err != nil {
				return err
			}
		}
		if err := v.LinkSetMasterByIndex(dev, master); err != nil {
			return fmt.Errorf("master %s: %w", l.Master, err)
		}
		before.Hairpin, before.NoLearning, before.VLANs = false, false, "" // they belong to the port, not to the device
	}
	// Joining a bridge can change its MTU, so the MTU comes after that.
	if l.MTU != before.MTU {
		if err := v.LinkSetMTU(dev, l.MTU); err != nil {
			return fmt.Errorf("mtu %d: %w", l.MTU, err)
		}
	}
	if l.IPIP != before.IPIP {
		if err := a.step(v); err != nil {
			return err
		}
		if err := resetTunnel(l.Name); err != nil {
			return fmt.Errorf("ttl and pmtudisc: %w", err)
		}
	}
	if l.ARP != before.ARP {
		set := v.LinkSetARPOff
		if l.ARP {
			set = v.LinkSetARPOn
		}
		if err := set(dev); err != nil {
			return fmt.Errorf("arp: %w", err)
		}
	}
	if before.Down {
		if err := v.LinkSetUp(dev); err != nil {
			return fmt.Errorf("setting it up: %w", err)
		}
		a.news.add(l)
	}
	if l.Hairpin != before.Hairpin {
		if err := v.LinkSetHairpin(dev, l.Hairpin); err != nil {
			return fmt.Errorf("hairpin: %w", err)
		}
	}
	if l.NoLearning != before.NoLearning {
		if err := v.LinkSetLearning(dev, !l.NoLearning); err != nil {
			return fmt.Errorf("learning: %w", err)
		}
	}
	return v.vlans(dev, l, before)
}

// vlans changes whether a bridge keeps VLANs apart, and in which ones a port is.
func (v *visit) vlans(dev netlink.Link, l, before plan.Link) error {
	if l.Filtering != before.Filtering {
		// By its name alone: with an index too it would be given that name, which older kernels refuse while it is up.
		bridge := &netlink.Bridge{LinkAttrs: attrs(l.Name)}
		if l.Filtering {
			none := uint16(0)
			bridge.VlanDefaultPVID = &none
		}
		if err := v.BridgeSetVlanFiltering(bridge, l.Filtering); err != nil {
			return fmt.Errorf("vlan_filtering: %w", err)
		}
	}
	bridge := l.Type == "bridge"
	leave, join := l.ChangeVLANs(before)
	for _, p := range leave {
		if err := v.BridgeVlanDel(dev, uint16(p.ID), p.PVID, p.Untagged, bridge, !bridge); err != nil {
			return fmt.Errorf("leaving VLAN %d: %w", p.ID, err)
		}
	}
	for _, p := range join {
		if err := v.BridgeVlanAdd(dev, uint16(p.ID), p.PVID, p.Untagged, bridge, !bridge); err != nil {
			return fmt.Errorf("joining VLAN %d: %w", p.ID, err)
		}
	}
	return nil
}

// make creates a device, in place; a veth with both its ends.
func (a *applier) make(v *visit, l plan.Link) (int, error) {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil && l.MAC != "" {
		return 0, err
	}
	base := netlink.LinkAttrs{Name: l.Name, MTU: l.MTU, TxQLen: l.TxQueueLen, HardwareAddr: mac, Flags: net.FlagUp}
	var link netlink.Link
	switch l.Type {
	case "bridge":
		bridge := &netlink.Bridge{LinkAttrs: base}
		if l.Filtering {
			none := uint16(0)
			bridge.VlanFiltering, bridge.VlanDefaultPVID = &l.Filtering, &none
		}
		link = bridge
	case "veth":
		base.Flags = 0 // up once it is a bridge's port
		peer, err := a.visit(l.Peer.Namespace)
		if err != nil {
			return 0, err
		}
		pair := &netlink.Veth{LinkAttrs: base, PeerName: l.Peer.Name, PeerNamespace: netlink.NsFd(peer.place.Fd())}
		if other, ok := a.links[plan.Key{Namespace: l.Peer.Namespace, Kind: plan.KindLink, Name: l.Peer.Name}]; ok {
			pair.PeerMTU, pair.PeerTxQLen = uint32(other.MTU), other.TxQueueLen
			if pair.PeerHardwareAddr, err = net.ParseMAC(other.MAC); err != nil && other.MAC != "" {
				return 0, err
			}
		}
		link = pair
	case "vxlan":
		lower, err := v.link(l.Lower)
		if err != nil {
			return 0, err
		}
		link = &netlink.Vxlan{
			LinkAttrs: base, VxlanId: l.VXLAN.VNI, VtepDevIndex: lower, SrcAddr: l.VXLAN.Local.AsSlice(), Port: l.VXLAN.Port, Learning: l.VXLAN.Learning,
		}
	case "ipip":
		link = &netlink.Iptun{LinkAttrs: base, Local: l.IPIP.Local.AsSlice(), PMtuDisc: pmtudisc[l.IPIP.PMTUDisc]}
	case "ifb":
		link = &netlink.Ifb{LinkAttrs: base}
	case "macvlan", "ipvlan", "vlan":
		return a.stack(v, l, base)
	default:
		return 0, fmt.Errorf("nobody knows how to make a %s device", l.Type)
	}
	if err := v.LinkAdd(link); err != nil {
		return 0, err
	}
	v.index[l.Name] = link.Attrs().Index
	return link.Attrs().Index, nil
}

var pmtudisc = map[bool]uint8{true: 1}

// stack makes a device on another one, which may be in another namespace: there it is asked for.
func (a *applier) stack(v *visit, l plan.Link, base netlink.LinkAttrs) (int, error) {
	below := v
	if l.LowerNamespace != "" {
		var err error
		if below, err = a.visit(l.LowerNamespace); err != nil {
			return 0, err
		}
		base.Namespace = netlink.NsFd(v.place.Fd())
		base.Name, base.Flags = plan.Unnamed, 0 // a device that is up cannot be renamed
	}
	lower, err := below.link(l.Lower)
	if err != nil {
		return 0, err
	}
	base.ParentIndex = lower
	var link netlink.Link
	switch l.Type {
	case "macvlan":
		link = &netlink.Macvlan{LinkAttrs: base, Mode: keyOf(macvlanModes, l.Sub)}
	case "ipvlan":
		link = &netlink.IPVlan{LinkAttrs: base, Mode: keyOf(ipvlanModes, l.Sub)}
	case "vlan":
		link = &netlink.Vlan{LinkAttrs: base, VlanId: l.VLAN}
	}
	if err := below.LinkAdd(link); err != nil {
		return 0, err
	}
	index, err := v.link(base.Name)
	if err == nil && base.Name != l.Name {
		delete(v.index, base.Name)
		err = v.LinkSetName(device(index), l.Name)
	}
	return index, err
}

// resetTunnel gives the kernel's own tunl0 the settings that it was made with. It cannot be made anew, and changing it is
// the one thing that takes an ioctl.
func resetTunnel(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	const change = 0x89f3 // SIOCCHGTUNNEL of linux/if_tunnel.h
	// struct ip_tunnel_parm: a name, four numbers that stay 0, and an IPv4 header, which is 0 in what it does not say.
	var settings struct {
		name   [unix.IFNAMSIZ]byte
		_      [4]uint32
		header [20]byte
	}
	copy(settings.name[:], name)
	settings.header[0], settings.header[9] = 0x45, unix.IPPROTO_IPIP
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	request.name, request.data = settings.name, unsafe.Pointer(&settings)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), change, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}

func keyOf[K comparable](m map[K]string, value string) K {
	for k, v := range m {
		if v == value {
			return k
		}
	}
	var zero K
	return zero
}

func setOffloads(link, offloads string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	want, err := parseOffloads(offloads)
	if err != nil {
		return err
	}
	return e.Change(link, want)
}
