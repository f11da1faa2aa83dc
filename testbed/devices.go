package testbed

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is a network device with what it has counted and, where they were asked for, its settings.
type Device struct {
	Name, Kind                         string
	MTU                                int
	Sent, Received                     uint64 // packets
	Drops                              uint64 // of the device, in both directions, and of its qdiscs
	Qdisc                              string // the root one's kind; "noqueue" is none
	GSOMaxSegs, GSOMaxSize, GROMaxSize int
	Offloads                           map[string]bool // by the kernel's names; nil where they were not asked for
}

// offloads are the features that decide where packets are cut, merged and summed.
var offloads = []string{
	"tx-checksum-ip-generic", "tx-generic-segmentation", "tx-tcp-segmentation", "tx-udp-segmentation", "tx-udp_tnl-segmentation",
	"tx-ipxip4-segmentation", "rx-gro", "rx-udp-gro-forwarding",
}

// Devices lists the devices of a place, but for the loopback. Reading their offloads takes a system call each.
func Devices(p *Place, settings bool) ([]Device, error) {
	var found []Device
	err := onThread(func(t *thread) error {
		v, err := t.call(p)
		if err != nil {
			return err
		}
		defer v.Handle.Close()
		links, err := again(v.LinkList)
		if err != nil {
			return err
		}
		qdiscs, err := again(func() ([]netlink.Qdisc, error) { return v.QdiscList(nil) })
		if err != nil {
			return err
		}
		var tool *ethtool.Ethtool
		if settings {
			if tool, err = ethtool.NewEthtool(); err != nil {
				return err
			}
			defer tool.Close()
		}
		for _, l := range links {
			a := l.Attrs()
			if a.RawFlags&unix.IFF_LOOPBACK != 0 {
				continue
			}
			d := Device{Name: a.Name, Kind: l.Type(), MTU: a.MTU, Qdisc: "noqueue", GSOMaxSegs: int(a.GSOMaxSegs), GSOMaxSize: int(a.GSOMaxSize), GROMaxSize: int(a.GROMaxSize)}
			if s := a.Statistics; s != nil {
				d.Sent, d.Received, d.Drops = s.TxPackets, s.RxPackets, s.TxDropped+s.RxDropped
			}
			for _, q := range qdiscs {
				if q.Attrs().LinkIndex != a.Index {
					continue
				}
				if q.Attrs().Parent == netlink.HANDLE_ROOT {
					d.Qdisc = q.Type()
				}
				if s := q.Attrs().Statistics; s != nil && s.Queue != nil {
					d.Drops += uint64(s.Queue.Drops)
				}
			}
			if settings {
				features, err := tool.Features(a.Name)
				if err != nil {
					return fmt.Errorf("features of %s: %w", a.Name, err)
				}
				d.Offloads = map[string]bool{}
				for _, name := range offloads {
					d.Offloads[name] = features[name]
				}
			}
			found = append(found, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("devices of %s: %w", p.Name, err)
	}
	return found, nil
}

// Plug pulls the cable of a device, or puts it back: its peer loses and gets its carrier.
func Plug(p *Place, name string, in bool) error {
	err := onThread(func(t *thread) error {
		v, err := t.call(p)
		if err != nil {
			return err
		}
		defer v.Handle.Close()
		index, err := v.link(name)
		if err != nil {
			return err
		}
		if in {
			return v.LinkSetUp(device(index))
		}
		return v.LinkSetDown(device(index))
	})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", name, p.Name, err)
	}
	return nil
}

// Tally counts what a node's kernel has to hold and look through for the sake of pods: routes outside the tables that the
// kernel fills by itself, neighbour entries that somebody has set, and FDB entries that name a tunnel's far end.
type Tally struct{ Routes, Neighbours, FDB int }

// Count tallies a place.
func Count(p *Place) (n Tally, err error) {
	err = onThread(func(t *thread) error {
		v, err := t.call(p)
		if err != nil {
			return err
		}
		defer v.Handle.Close()
		routes, err := again(func() ([]netlink.Route, error) {
			return v.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Table != unix.RT_TABLE_LOCAL && (r.Dst == nil || !r.Dst.IP.IsLinkLocalUnicast() && !r.Dst.IP.IsMulticast()) {
				n.Routes++
			}
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_BRIDGE} {
			entries, err := again(func() ([]netlink.Neigh, error) { return v.NeighList(0, family) })
			if err != nil {
				return err
			}
			proxies, err := again(func() ([]netlink.Neigh, error) { return v.NeighProxyList(0, family) })
			if err != nil {
				return err
			}
			for _, e := range entries {
				switch {
				case family == unix.AF_BRIDGE && e.IP != nil:
					n.FDB++
				case family != unix.AF_BRIDGE && e.State&netlink.NUD_PERMANENT != 0 && !e.IP.IsMulticast():
					n.Neighbours++
				}
			}
			if family != unix.AF_BRIDGE {
				n.Neighbours += len(proxies)
			}
		}
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("counting what %s holds: %w", p.Name, err)
	}
	return n, nil
}

// Memory returns an agent's share of the machine's memory in bytes: what it shares with others counts in part (Pss).
func (a RunningAgent) Memory() (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", a.PID))
	if err != nil {
		return 0, fmt.Errorf("memory of agent %s: %w", a.Name, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("memory of agent %s: process %d tells none", a.Name, a.PID)
}
