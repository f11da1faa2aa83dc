package testbed

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// linkKind is what all links have in common. What only those of one type have stands in a file for each.
var linkKind = inside[plan.Link]{reads: readLinks, sets: setLink, removes: removeLink}

// defaultGSOMaxSegs is what every device has unless told otherwise.
const defaultGSOMaxSegs = 65535

func typeOf(l netlink.Link) linkType {
	if t, ok := linkTypes[l.Type()]; ok {
		return t
	}
	return unknownLink
}

func readLinks(r *reader, v *visit, f *found) error {
	retagging := map[int]bool{}
	list, err := again(func() ([]netlink.Link, error) { return v.linkList(f.settings, retagging) })
	if err != nil {
		return err
	}
	for _, l := range list {
		v.index[l.Attrs().Name] = l.Attrs().Index
		f.names[l.Attrs().Index] = l.Attrs().Name
	}
	ports, err := v.ports(list)
	if err != nil {
		return err
	}
	for _, l := range list {
		a := l.Attrs()
		if a.Index == loopback {
			if err := f.owner(r, v.place.Name, a); err != nil {
				return err
			}
			continue
		}
		wanted, isWanted := r.want.Get(plan.Key{Namespace: v.place.Name, Kind: plan.KindLink, Name: a.Name}).(plan.Link)
		o := plan.Link{
			Namespace: v.place.Name, Name: a.Name, Device: typeOf(l).read(l, sight{f.names, wanted, retagging[a.Index]}), Port: ports[a.Index],
			MTU: a.MTU, MAC: a.HardwareAddr.String(), TxQueueLen: max(a.TxQLen, 0), Down: a.RawFlags&unix.IFF_UP == 0, GSOMaxSegs: int(a.GSOMaxSegs),
		}
		o.Port.Bridge = f.names[a.MasterIndex]
		if !isWanted && o.Permanent() && o.Down {
			continue
		}
		if isWanted && wanted.MAC == "" {
			o.MAC = ""
		}
		// A bridge takes the smallest limit of its ports.
		if _, bridge := o.Device.(plan.Bridge); bridge || o.GSOMaxSegs == defaultGSOMaxSegs {
			o.GSOMaxSegs = 0
		}
		if wanted.Offloads != "" {
			if o.Offloads, err = readOffloads(v, a.Name, wanted.Offloads); err != nil {
				return err
			}
		}
		f.stand(v, l, o, wanted)
	}
	return nil
}

// stand adds a link that stands on another, which may be in another namespace that is still to be read.
func (f *found) stand(v *visit, l netlink.Link, o, wanted plan.Link) {
	a, t := l.Attrs(), typeOf(l)
	to := wanted.Below()
	_, pair := o.Device.(plan.Veth)
	if pair {
		to = wanted.Peer()
	}
	switch {
	case t.stand == nil || a.ParentIndex == 0:
	case pair:
		e := open{link: o, index: a.Index, other: a.ParentIndex, to: to}
		switch node, pod := nodeOf(v.place.Name); {
		case to.Namespace != "" && wanted.Makes(): // one end's word is enough
			e.confirmed = v.sees(to.Namespace, a.NetNsID)
		case to.Namespace == "" && pod && v.sees(node, a.NetNsID):
			e.near = node
		}
		f.open = append(f.open, e)
		return
	case a.NetNsID < 0:
		o.Device = t.stand(o.Device, plan.End{Namespace: v.place.Name, Name: f.names[a.ParentIndex]})
	case to.Namespace != "" && v.sees(to.Namespace, a.NetNsID):
		f.open = append(f.open, open{link: o, index: a.Index, other: a.ParentIndex, to: to, confirmed: true})
		return
	}
	f.add(o)
}

// nodeOf is the namespace of a pod's node.
func nodeOf(namespace string) (node string, pod bool) {
	if strings.Count(namespace, ".") < 2 {
		return "", false
	}
	return namespace[:strings.LastIndexByte(namespace, '.')], true
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

// join gives links the names of those that they stand on, and joins the ends of pairs: where the plan wants them, or a pod hangs
// on its node by one. Others stay without, which the plan wants of none.
func (r *reader) join() []plan.Object {
	ends := map[plan.End]*open{}
	for i := range r.open {
		e := &r.open[i]
		ends[plan.End{Namespace: e.link.Namespace, Name: e.link.Name}] = e
	}
	for i := range r.open {
		if e := &r.open[i]; e.near != "" {
			r.pair(e)
		}
	}
	var links []plan.Object
	for i := range r.open {
		e := &r.open[i]
		meets := r.indices[e.to] == e.other
		if _, pair := e.link.Device.(plan.Veth); pair {
			far := ends[e.to]
			meets = far != nil && (e.confirmed || far.confirmed) && far.index == e.other && far.other == e.index
		}
		o := e.link
		if meets {
			o.Device = linkTypes[o.Type()].stand(o.Device, e.to)
		}
		links = append(links, o)
	}
	return links
}

// pair finds the other end of a pair that nobody wants, such as a CNI plugin's.
func (r *reader) pair(e *open) {
	for i := range r.open {
		if far := &r.open[i]; far.link.Namespace == e.near && far.to.Namespace == "" && far.index == e.other && far.other == e.index {
			e.to, e.confirmed = plan.End{Namespace: far.link.Namespace, Name: far.link.Name}, true
			far.to = plan.End{Namespace: e.link.Namespace, Name: e.link.Name}
			return
		}
	}
}

func setLink(a *applier, v *visit, l, before plan.Link) error {
	index := v.index[l.Name]
	switch {
	case before.Name == "" && l.Makes():
		var err error
		index, before, err = createLink(a, v, l)
		if err != nil {
			return err
		}
	case before.Name == "":
		var err error
		if index, err = v.link(l.Name); err != nil {
			return err
		}
		// It came with its peer, which gave it these if it knew of this change.
		before = plan.Link{Name: l.Name, Device: l.Device, MTU: l.MTU, MAC: l.MAC, TxQueueLen: l.TxQueueLen, Down: true}
		if _, together := a.links[plan.Key{Namespace: l.Peer().Namespace, Kind: plan.KindLink, Name: l.Peer().Name}]; !together {
			before.MTU, before.MAC, before.TxQueueLen = 0, "", -1
		}
	}
	if index == 0 {
		var err error
		if index, err = v.link(l.Name); err != nil {
			return err
		}
	}
	return changeLink(a, v, index, l, before)
}

// createLink makes a device, where it is to be: a pair with both its ends, and one that stands on a device of another
// namespace from there. It returns what the device is then like.
func createLink(a *applier, v *visit, l plan.Link) (index int, made plan.Link, err error) {
	t := linkTypes[l.Type()]
	if t.create == nil {
		return 0, made, fmt.Errorf("nobody knows how to make a %s device", l.Type())
	}
	mac, err := parseMAC(l.MAC)
	if err != nil {
		return 0, made, err
	}
	base := netlink.LinkAttrs{Name: l.Name, MTU: l.MTU, TxQLen: l.TxQueueLen, HardwareAddr: mac, Flags: net.FlagUp}
	made = plan.Link{Name: l.Name, Device: cmp.Or(t.bare, l.Device), MTU: l.MTU, MAC: l.MAC, TxQueueLen: l.TxQueueLen, Down: t.down || l.Down}
	at := v
	if below := l.Below(); below.Name != "" {
		if below.Namespace != l.Namespace {
			if at, err = a.visits.to(below.Namespace); err != nil {
				return 0, made, err
			}
			base.Namespace = netlink.NsFd(v.place.Fd())
			base.Name, made.Down = plan.Unnamed, true // a device that is up cannot be renamed
		}
		if base.ParentIndex, err = at.link(below.Name); err != nil {
			return 0, made, err
		}
	}
	if made.Down {
		base.Flags = 0
	}
	link, err := t.create(a, l, base)
	if err == nil {
		err = at.LinkAdd(link)
	}
	switch {
	case errors.Is(err, unix.EEXIST) && l.Permanent():
		index, err = v.link(l.Name)
		return index, plan.Link{Name: l.Name, Device: l.Device, TxQueueLen: -1, Down: true}, err
	case err != nil:
		return 0, made, err
	case at == v:
		index = link.Attrs().Index
	default:
		delete(v.index, base.Name)
		if index, err = v.link(base.Name); err == nil {
			delete(v.index, base.Name)
			err = v.LinkSetName(device(index), l.Name)
		}
	}
	v.index[l.Name] = index
	return index, made, err
}

// changeLink changes what is different about a device that exists. Joining a bridge can change its MTU, so the MTU comes after
// that; what is settled about the device itself comes before it is up, and what is about the port after.
func changeLink(a *applier, v *visit, index int, l, before plan.Link) error {
	for _, step := range []func(*visit, int, plan.Link, plan.Link) error{setMAC, setTxQueueLen, setGSOMaxSegs, setOffloads, setMaster, setMTU, changeDevice} {
		if err := step(v, index, l, before); err != nil {
			return err
		}
	}
	switch {
	case before.Down && !l.Down:
		if err := v.LinkSetUp(device(index)); err != nil {
			return fmt.Errorf("setting it up: %w", err)
		}
		a.news.add(l)
	case l.Down && !before.Down:
		if err := v.LinkSetDown(device(index)); err != nil {
			return fmt.Errorf("setting it down: %w", err)
		}
	}
	return setPort(v, index, l, before)
}

func setMAC(v *visit, index int, l, before plan.Link) error {
	if l.MAC == before.MAC || l.MAC == "" {
		return nil
	}
	mac, err := parseMAC(l.MAC)
	if err == nil {
		err = v.LinkSetHardwareAddr(device(index), mac)
	}
	return because(err, "address %s", l.MAC)
}

func setTxQueueLen(v *visit, index int, l, before plan.Link) error {
	if l.TxQueueLen == before.TxQueueLen {
		return nil
	}
	return because(v.LinkSetTxQLen(device(index), l.TxQueueLen), "txqueuelen %d", l.TxQueueLen)
}

func setGSOMaxSegs(v *visit, index int, l, before plan.Link) error {
	if l.GSOMaxSegs == before.GSOMaxSegs {
		return nil
	}
	segs := cmp.Or(l.GSOMaxSegs, defaultGSOMaxSegs)
	return because(v.LinkSetGSOMaxSegs(device(index), segs), "gso_max_segs %d", segs)
}

func setMTU(v *visit, index int, l, before plan.Link) error {
	if l.MTU == before.MTU {
		return nil
	}
	return because(v.LinkSetMTU(device(index), l.MTU), "mtu %d", l.MTU)
}

func changeDevice(v *visit, index int, l, before plan.Link) error {
	change := linkTypes[l.Type()].change
	if change == nil || l.Device == before.Device {
		return nil
	}
	return because(change(v, index, l, before), "%s", l.Type())
}

func removeLink(a *applier, v *visit, l plan.Link) error {
	index, err := v.link(l.Name)
	if err != nil {
		return err
	}
	if l.Permanent() {
		return v.quiet(index)
	}
	delete(v.index, l.Name)
	return v.LinkDel(device(index))
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
