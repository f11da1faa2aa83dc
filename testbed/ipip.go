package testbed

import (
	"net"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

var ipipLink = linkType{
	read: func(l netlink.Link, _ sight) plan.Device {
		t := l.(*netlink.Iptun)
		return plan.IPIP{Local: specified(t.Local), Remote: specified(t.Remote), TTL: int(t.Ttl), TOS: int(t.Tos), PMTUDisc: t.PMtuDisc != 0}
	},
	stand: func(d plan.Device, on plan.End) plan.Device {
		t := d.(plan.IPIP)
		t.Lower = on.Name
		return t
	},
	create: func(_ *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		t := l.Device.(plan.IPIP)
		tunnel := &netlink.Iptun{LinkAttrs: base, Local: t.Local.AsSlice()}
		if t.PMTUDisc {
			tunnel.PMtuDisc = 1
		}
		return tunnel, nil
	},
	change: func(v *visit, _ int, l, _ plan.Link) error {
		if err := v.step(); err != nil {
			return err
		}
		return resetTunnel(l.Name)
	},
	probes: []probe{{plan.FeatureIPIP, []string{"ipip"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Iptun{LinkAttrs: attrs("probe-ipip"), Local: net.IPv4(192, 0, 2, 1)})
	}}},
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
