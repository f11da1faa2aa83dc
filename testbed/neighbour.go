package testbed

import (
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var neighbourKind = inside[plan.Neighbour]{reads: readNeighbours, sets: setNeighbour, removes: removeNeighbour}

// readNeighbours reads the neighbours that somebody has set, and the addresses that the machine answers for.
func readNeighbours(_ *reader, v *visit, f *found) error {
	list, err := again(func() ([]netlink.Neigh, error) { return v.NeighList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.State&netlink.NUD_PERMANENT == 0 || n.IP == nil || n.Family == unix.AF_BRIDGE || n.IP.IsMulticast() || n.LinkIndex == loopback {
			continue
		}
		f.add(plan.Neighbour{Namespace: v.place.Name, Link: f.link(n.LinkIndex), Addr: address(n.IP), MAC: n.HardwareAddr.String()})
	}
	proxies, err := again(func() ([]netlink.Neigh, error) { return v.NeighProxyList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, n := range proxies {
		f.add(plan.Neighbour{Namespace: v.place.Name, Link: f.link(n.LinkIndex), Addr: address(n.IP), Proxy: true})
	}
	return nil
}

func setNeighbour(_ *applier, v *visit, o, _ plan.Neighbour) error {
	return v.neighbour(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, o)
}

func removeNeighbour(_ *applier, v *visit, o plan.Neighbour) error {
	return v.neighbour(unix.RTM_DELNEIGH, 0, o)
}

func (v *visit) neighbour(kind uint16, flags int, n plan.Neighbour) error {
	index, err := v.link(n.Link)
	if err != nil {
		return err
	}
	family := byte(unix.AF_INET)
	if n.Addr.Is6() {
		family = unix.AF_INET6
	}
	if n.Proxy {
		m := v.neighbourMessage(family, index, netlink.NTF_PROXY)
		m.address(unix.NDA_DST, n.Addr)
		return v.tell(kind, flags, m)
	}
	m := v.neighbourMessage(family, index, 0)
	m.address(unix.NDA_DST, n.Addr)
	if err := m.mac(unix.NDA_LLADDR, n.MAC); err != nil {
		return err
	}
	return v.tell(kind, flags, m)
}
