package testbed

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var fdbKind = inside[plan.FDB]{reads: readFDB, sets: setFDB, removes: removeFDB}

// readFDB reads the forwarding entries of VXLAN devices that somebody has set.
func readFDB(_ *reader, v *visit, f *found) error {
	for _, o := range f.objects {
		l, ok := o.(plan.Link)
		if !ok || l.Type() != "vxlan" {
			continue
		}
		entries, err := again(func() ([]netlink.Neigh, error) { return v.NeighList(v.index[l.Name], unix.AF_BRIDGE) })
		if err != nil {
			return err
		}
		for _, n := range entries {
			if n.IP != nil && n.State&netlink.NUD_PERMANENT != 0 && n.Flags&netlink.NTF_SELF != 0 {
				f.add(plan.FDB{Namespace: v.place.Name, Link: l.Name, MAC: n.HardwareAddr.String(), Dst: address(n.IP)})
			}
		}
	}
	return nil
}

func setFDB(_ *applier, v *visit, o, _ plan.FDB) error {
	return v.forwarding(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_APPEND, o)
}

func removeFDB(_ *applier, v *visit, o plan.FDB) error {
	return v.forwarding(unix.RTM_DELNEIGH, 0, o)
}

func (v *visit) forwarding(kind uint16, flags int, f plan.FDB) error {
	index, err := v.link(f.Link)
	if err != nil {
		return err
	}
	m := v.neighbourMessage(unix.AF_BRIDGE, index, netlink.NTF_SELF)
	m.address(unix.NDA_DST, f.Dst)
	if err := m.mac(unix.NDA_LLADDR, f.MAC); err != nil {
		return err
	}
	return v.tell(kind, flags, m)
}
