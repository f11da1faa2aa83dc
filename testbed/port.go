package testbed

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// ports reads what bridges have set on their ports, in one dump for all of them. A bridge that keeps VLANs apart can be in
// some itself.
func (v *visit) ports(links []netlink.Link) (map[int]plan.Port, error) {
	filtering := map[int]bool{} // bridges that keep VLANs apart; elsewhere they mean nothing
	bridges := false
	for _, l := range links {
		if b, ok := l.(*netlink.Bridge); ok {
			bridges, filtering[b.Index] = true, filters(b)
		}
	}
	ports := map[int]plan.Port{}
	if !bridges {
		return ports, nil
	}
	messages, err := v.portMessages(slices.Contains(slices.Collect(maps.Values(filtering)), true))
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if ports[linkOf(m)], err = readPort(m[unix.SizeofIfInfomsg:]); err != nil {
			return nil, err
		}
	}
	for _, l := range links {
		if a := l.Attrs(); !filtering[a.Index] && !filtering[a.MasterIndex] {
			p := ports[a.Index]
			p.VLANs = ""
			ports[a.Index] = p
		}
	}
	return ports, nil
}

// portMessages is a dump of what bridges have set on their ports, with their VLANs where some keep them apart.
func (v *visit) portMessages(vlans bool) ([][]byte, error) {
	return again(func() ([][]byte, error) {
		req, err := v.request(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		if err != nil {
			return nil, err
		}
		req.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		if vlans {
			req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_BRVLAN)))
		}
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
}

// linkOf is the index of the link that a message is about.
func linkOf(m []byte) int { return int(int32(binary.NativeEndian.Uint32(m[4:8]))) }

func readPort(m []byte) (p plan.Port, err error) {
	err = nested(m, unix.IFLA_PROTINFO, func(kind uint16, value []byte) {
		switch kind {
		case nl.IFLA_BRPORT_MODE:
			p.Hairpin = value[0] != 0
		case nl.IFLA_BRPORT_LEARNING:
			p.NoLearning = value[0] == 0
		}
	})
	if err != nil {
		return p, err
	}
	vlans, err := portVLANs(m)
	p.VLANs = plan.PortVLANs(vlans)
	return p, err
}

func portVLANs(m []byte) (vlans []plan.PortVLAN, err error) {
	err = nested(m, unix.IFLA_AF_SPEC, func(kind uint16, value []byte) {
		if kind == nl.IFLA_BRIDGE_VLAN_INFO {
			v := nl.DeserializeBridgeVlanInfo(value)
			vlans = append(vlans, plan.PortVLAN{
				ID: int(v.Vid), PVID: v.Flags&nl.BRIDGE_VLAN_INFO_PVID != 0, Untagged: v.Flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0,
			})
		}
	})
	return vlans, err
}

func setMaster(v *visit, index int, l, before plan.Link) error {
	if l.Port.Bridge == before.Port.Bridge {
		return nil
	}
	master := 0
	if l.Port.Bridge != "" {
		var err error
		if master, err = v.link(l.Port.Bridge); err != nil {
			return err
		}
	}
	return because(v.LinkSetMasterByIndex(device(index), master), "master %s", l.Port.Bridge)
}

// setPort changes what is different about a bridge's port.
func setPort(v *visit, index int, l, before plan.Link) error {
	dev, port, was := device(index), l.Port, before.Port
	if port.Bridge != was.Bridge {
		was = plan.Port{} // its settings belong to the port, not to the device
	}
	if port.Hairpin != was.Hairpin {
		if err := v.LinkSetHairpin(dev, port.Hairpin); err != nil {
			return fmt.Errorf("hairpin: %w", err)
		}
	}
	if port.NoLearning != was.NoLearning {
		if err := v.LinkSetLearning(dev, !port.NoLearning); err != nil {
			return fmt.Errorf("learning: %w", err)
		}
	}
	_, bridge := l.Device.(plan.Bridge)
	leave, join := port.ChangeVLANs(was)
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
