package testbed

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Opening a file of /proc/sys/net for the first time in a namespace takes the kernel longer than a message; thousands of
// pods make that seconds. What the kernel also tells over netlink is read there: the settings of links come with the links, those
// of "all" and "default" in one more dump a family.

// position is where a setting stands in the array that comes with a link, and what of it needs no word.
type position struct {
	setting string
	at      int
	rest    string
}

// The arrays are those of include/uapi/linux/ip.h, which counts from one, and ipv6.h, from zero.
var families = map[uint16]struct {
	where     string
	conf      uint16 // the attribute that has the array
	positions []position
}{
	unix.AF_INET: {"net/ipv4/conf/", 1, positions("net/ipv4/conf/", map[string]int{
		"forwarding": 0, "proxy_arp": 2, "accept_redirects": 3, "send_redirects": 5, "shared_media": 6, "rp_filter": 7, "arp_filter": 12, "arp_announce": 17, "arp_ignore": 18,
		"arp_accept": 20, "arp_notify": 21, "accept_local": 22, "proxy_arp_pvlan": 24, "route_localnet": 25, "ignore_routes_with_linkdown": 28,
		"drop_unicast_in_l2_multicast": 29, "drop_gratuitous_arp": 30,
	})},
	unix.AF_INET6: {"net/ipv6/conf/", 2, positions("net/ipv6/conf/", map[string]int{
		"forwarding": 0, "accept_ra": 3, "accept_redirects": 4, "proxy_ndp": 22, "disable_ipv6": 26, "accept_dad": 27,
	})},
}

func positions(family string, at map[string]int) (all []position) {
	rest := plan.AtRest(family)
	for setting := range rest {
		if _, ok := at[setting]; !ok {
			panic("testbed: where is " + setting + "?")
		}
	}
	for setting, i := range at {
		all = append(all, position{setting, i, rest[setting]})
	}
	return all
}

// Attributes of RTM_GETNETCONF: include/uapi/linux/netconf.h.
const (
	netconfIfindex = 1
	netconfAll     = -1
	netconfDefault = -2
)

var netconf = map[uint16]string{2: "forwarding", 3: "rp_filter"}

// devconf holds settings by their path below /proc/sys. Those of an interface that are at rest it does not hold, only that the
// interface has told its own, by the path of their directory.
type devconf map[string]string

// get returns a setting, and whether netlink told it.
func (d devconf) get(path string) (string, bool) {
	switch path {
	case "net/ipv4/ip_forward":
		path = "net/ipv4/conf/all/forwarding"
	case "net/ipv6/conf/default/disable_ipv6":
		return d.unanimous("disable_ipv6")
	}
	value, ok := d[path]
	if !ok {
		if at := strings.LastIndexByte(path, '/') + 1; d.told(path[:at]) {
			family := path[:strings.LastIndexByte(path[:at-1], '/')+1]
			value, ok = plan.AtRest(family)[path[at:]]
		}
	}
	return value, ok
}

func (d devconf) told(directory string) bool {
	_, ok := d[directory]
	return ok
}

// unanimous returns what all links have of a setting that they took from "default" when they were made. Where they differ,
// or there are none, the file has to be asked.
func (d devconf) unanimous(setting string) (value string, ok bool) {
	for path, v := range d {
		if !strings.HasPrefix(path, "net/ipv6/conf/") || !strings.HasSuffix(path, "/"+setting) {
			continue
		}
		if ok && v != value {
			return "", false
		}
		value, ok = v, true
	}
	return value, ok
}

// linkList is netlink's LinkList, which also collects the settings that come with the links, and notes which bridges tag
// frames otherwise than 802.1Q does.
func (v *visit) linkList(d devconf, retagging map[int]bool) ([]netlink.Link, error) {
	req, err := v.request(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	if err != nil {
		return nil, err
	}
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	var links []netlink.Link
	for _, m := range messages {
		l, err := netlink.LinkDeserialize(nil, m)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
		if l.Attrs().Index == loopback {
			continue
		}
		attributes, err := nl.ParseRouteAttr(m[unix.SizeofIfInfomsg:])
		if err != nil {
			return nil, err
		}
		for _, a := range attributes {
			switch {
			case a.Attr.Type&nl.NLA_TYPE_MASK == unix.IFLA_AF_SPEC:
				if err := d.link(l.Attrs().Name, a.Value); err != nil {
					return nil, err
				}
			case a.Attr.Type&nl.NLA_TYPE_MASK == unix.IFLA_LINKINFO && l.Type() == "bridge":
				retagging[l.Attrs().Index] = retags(a.Value)
			}
		}
	}
	return links, nil
}

// retags reports whether a bridge, by its IFLA_LINKINFO, takes another tag for a VLAN's than that of 802.1Q.
func retags(info []byte) (retags bool) {
	_ = attributes(info, func(kind uint16, value []byte) {
		if kind != nl.IFLA_INFO_DATA {
			return
		}
		_ = attributes(value, func(kind uint16, value []byte) {
			if kind == nl.IFLA_BR_VLAN_PROTOCOL && len(value) == 2 {
				retags = binary.BigEndian.Uint16(value) != unix.ETH_P_8021Q
			}
		})
	})
	return retags
}

func (d devconf) link(name string, spec []byte) error {
	told, err := nl.ParseRouteAttr(spec)
	if err != nil {
		return err
	}
	for _, f := range told {
		family, ok := families[f.Attr.Type&nl.NLA_TYPE_MASK]
		if !ok {
			continue
		}
		attributes, err := nl.ParseRouteAttr(f.Value)
		if err != nil {
			return err
		}
		directory := family.where + name + "/"
		for _, a := range attributes {
			if a.Attr.Type != family.conf {
				continue
			}
			d[directory] = ""
			for _, p := range family.positions {
				if at := p.at * 4; at+4 <= len(a.Value) {
					if value := strconv.Itoa(int(int32(binary.NativeEndian.Uint32(a.Value[at:])))); value != p.rest {
						d[directory+p.setting] = value
					}
				}
			}
		}
	}
	return nil
}

// common reads the settings of "all" and "default".
func (v *visit) common(d devconf) error {
	for _, family := range []struct {
		af    uint8
		where string
	}{{unix.AF_INET, "net/ipv4/conf/"}, {unix.AF_INET6, "net/ipv6/conf/"}} {
		for _, of := range []struct {
			index int32
			name  string
		}{{netconfAll, "all"}, {netconfDefault, "default"}} {
			if family.af == unix.AF_INET6 && of.index == netconfDefault {
				continue // no plan sets what it would tell
			}
			req, err := v.request(unix.RTM_GETNETCONF, 0)
			if err != nil {
				return err
			}
			req.AddData(&netconfMessage{family.af})
			req.AddData(nl.NewRtAttr(netconfIfindex, nl.Uint32Attr(uint32(of.index))))
			messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNETCONF)
			if err != nil {
				return err
			}
			for _, m := range messages {
				attributes, err := nl.ParseRouteAttr(m[4:])
				if err != nil {
					return err
				}
				for _, a := range attributes {
					if setting, ok := netconf[a.Attr.Type]; ok && len(a.Value) == 4 {
						d[family.where+of.name+"/"+setting] = strconv.Itoa(int(int32(binary.NativeEndian.Uint32(a.Value))))
					}
				}
			}
		}
	}
	return nil
}

// netconfMessage is struct netconfmsg, padded.
type netconfMessage struct{ family uint8 }

func (m *netconfMessage) Len() int          { return 4 }
func (m *netconfMessage) Serialize() []byte { return []byte{m.family, 0, 0, 0} }
