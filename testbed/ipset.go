package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
	"labnet/lab/plan"
)

var (
	ipsetKind      = inside[plan.IPSet]{reads: readIPSets, sets: setIPSet, removes: removeIPSet}
	ipsetEntryKind = inside[plan.IPSetEntry]{reads: func(*reader, *visit, *found) error { return nil }, sets: setIPSetEntry, removes: removeIPSetEntry}
)

// Messages about ipsets are written here: the library's cannot add a port to a bitmap, logs what it does not know of an answer,
// and does not tell the numbers of sets.

const (
	ipsetProtocol  = 7 // that tells numbers
	ipsetGetByName = 14
	ipsetIndex     = 11
)

// ipsetRequest begins a message about ipsets.
func (v *visit) ipsetRequest(command, flags int) (*nl.NetlinkRequest, error) {
	req, err := v.requestTo(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_IPSET<<8|uint16(command), flags)
	if err == nil {
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
		req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(ipsetProtocol)))
	}
	return req, err
}

// foundSet is an ipset as the kernel shows it, in one message or several.
type foundSet struct {
	plan.IPSet
	number  uint16
	members [][]byte
}

// hasIPSets reports whether the kernel has any: to ask it would make it load the module.
func hasIPSets() bool {
	_, err := os.Stat("/sys/module/ip_set")
	return err == nil
}

func (v *visit) listIPSets() ([]foundSet, error) {
	if !hasIPSets() {
		return nil, nil
	}
	messages, err := again(func() ([][]byte, error) {
		req, err := v.ipsetRequest(nl.IPSET_CMD_LIST, unix.NLM_F_DUMP)
		if err != nil {
			return nil, err
		}
		return req.Execute(unix.NETLINK_NETFILTER, 0)
	})
	if err != nil {
		return nil, err
	}
	var all []foundSet
	for _, m := range messages {
		s := foundSet{IPSet: plan.IPSet{Namespace: v.place.Name}}
		if err := attributes(m[nl.SizeofNfgenmsg:], s.attribute); err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && all[n-1].Name == s.Name {
			all[n-1].members = append(all[n-1].members, s.members...)
			continue
		}
		all = append(all, s)
	}
	return all, nil
}

// attribute reads one that is about the whole set.
func (s *foundSet) attribute(kind uint16, value []byte) {
	odd := func(what string, n uint32) { s.Odd = strings.TrimSpace(fmt.Sprintf("%s %s %d", s.Odd, what, n)) }
	switch kind {
	case nl.IPSET_ATTR_SETNAME:
		s.Name = text(value)
	case nl.IPSET_ATTR_TYPENAME:
		s.Type = text(value)
	case nl.IPSET_ATTR_FAMILY:
		s.V6 = value[0] == unix.AF_INET6
	case ipsetIndex:
		s.number = binary.BigEndian.Uint16(value)
	case nl.IPSET_ATTR_ADT:
		_ = attributes(value, func(_ uint16, member []byte) { s.members = append(s.members, member) })
	case nl.IPSET_ATTR_DATA:
		_ = attributes(value, func(kind uint16, value []byte) {
			n := uint32(0)
			switch len(value) {
			case 1:
				n = uint32(value[0])
			case 2:
				n = uint32(binary.BigEndian.Uint16(value))
			case 4:
				n = binary.BigEndian.Uint32(value)
			}
			switch {
			case kind == nl.IPSET_ATTR_PORT && n != 0:
				odd("from port", n)
			case kind == nl.IPSET_ATTR_PORT_TO && n != 65535:
				odd("to port", n)
			case kind == maxElements && n != ipsetSize:
				odd("maxelem", n)
			case kind == netmask:
				odd("netmask", n)
			case kind == nl.IPSET_ATTR_TIMEOUT:
				odd("timeout", n)
			case kind == nl.IPSET_ATTR_CADT_FLAGS && n != 0:
				odd("flags", n)
			}
		})
	}
}

// ipsetMember reads a member; what no lab has is odd.
func ipsetMember(b []byte) (e kubeproxy.IPSetEntry, odd string) {
	var strange []string
	_ = attributes(b, func(kind uint16, value []byte) {
		address := func() (a []byte) {
			_ = attributes(value, func(_ uint16, inner []byte) { a = inner })
			return a
		}
		switch kind {
		case nl.IPSET_ATTR_IP:
			e.Address = addrOf(address())
		case nl.IPSET_ATTR_IP2:
			e.Second = addrOf(address())
		case nl.IPSET_ATTR_PORT:
			e.Port = binary.BigEndian.Uint16(value)
		case nl.IPSET_ATTR_PROTO:
			e.Protocol = protocolName(uint16(value[0]))
		default:
			strange = append(strange, fmt.Sprintf("attribute%d %x", kind, value))
		}
	})
	return e, strings.Join(strange, " ")
}

// readIPSets reads the ipsets of a machine; a pod has none. Of one that is not wanted, or not as it is, its members do not matter.
func readIPSets(r *reader, v *visit, f *found) error {
	if !f.machine {
		return nil
	}
	all, err := v.listIPSets()
	for _, s := range all {
		f.add(s.IPSet)
		if wanted, ok := r.want.Get(s.Key()).(plan.IPSet); !ok || wanted != s.IPSet {
			continue
		}
		for _, m := range s.members {
			e, odd := ipsetMember(m)
			f.add(plan.IPSetEntry{Namespace: s.Namespace, Of: s.Name, IPSetEntry: e, Odd: odd})
		}
	}
	return err
}

const (
	maxElements = 19
	netmask     = 20
	ipsetSize   = 65536
)

func setIPSet(_ *applier, v *visit, s, _ plan.IPSet) error {
	family := uint8(unix.AF_INET)
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	switch {
	case s.Type == "bitmap:port":
		family = unix.AF_UNSPEC
		data.AddRtAttr(nl.IPSET_ATTR_PORT|unix.NLA_F_NET_BYTEORDER, bigEndian16(0))
		data.AddRtAttr(nl.IPSET_ATTR_PORT_TO|unix.NLA_F_NET_BYTEORDER, bigEndian16(65535))
	case s.V6:
		family = unix.AF_INET6
		fallthrough
	default:
		data.AddRtAttr(maxElements|unix.NLA_F_NET_BYTEORDER, binary.BigEndian.AppendUint32(nil, ipsetSize))
	}
	return v.ipsetSay(nl.IPSET_CMD_CREATE, s.Name, nl.NewRtAttr(nl.IPSET_ATTR_TYPENAME, nl.ZeroTerminated(s.Type)),
		nl.NewRtAttr(nl.IPSET_ATTR_REVISION, nl.Uint8Attr(ipsetRevisions[s.Type])), nl.NewRtAttr(nl.IPSET_ATTR_FAMILY, nl.Uint8Attr(family)), data)
}

// ipsetRevisions are of the types with families and members as those here are; all kernels since Linux 3.18 have them.
var ipsetRevisions = map[string]uint8{"hash:ip": 1, "hash:ip,port": 2, "hash:ip,port,ip": 2, "hash:ip,port,net": 4}

// ipsetSay sends a command about a set.
func (v *visit) ipsetSay(command int, set string, parts ...*nl.RtAttr) error {
	req, err := v.ipsetRequest(command, unix.NLM_F_ACK|unix.NLM_F_EXCL)
	if err != nil {
		return err
	}
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(set)))
	for _, p := range parts {
		req.AddData(p)
	}
	v.by.sent += len(req.Serialize())
	_, err = req.Execute(unix.NETLINK_NETFILTER, 0)
	var no unix.Errno
	if errors.As(err, &no) && no >= nl.IPSET_ERR_PRIVATE {
		return nl.IPSetError(no)
	}
	return err
}

// released is how long the kernel may take to let go of an ipset whose last rule has been removed: it does so in the background.
const released = 5 * time.Second

func removeIPSet(_ *applier, v *visit, s plan.IPSet) error {
	for until := time.Now().Add(released); ; time.Sleep(time.Millisecond) {
		err := v.ipsetSay(nl.IPSET_CMD_DESTROY, s.Name)
		if !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_BUSY)) || time.Now().After(until) {
			return err
		}
	}
}

// changeMember adds a member or takes it out.
func (v *visit) changeMember(command int, e plan.IPSetEntry) error {
	data := nl.NewRtAttr(nl.IPSET_ATTR_DATA|unix.NLA_F_NESTED, nil)
	for kind, a := range map[int]netip.Addr{nl.IPSET_ATTR_IP: e.Address, nl.IPSET_ATTR_IP2: e.Second} {
		if family := nl.IPSET_ATTR_IPADDR_IPV4; a.IsValid() {
			if a.Is6() {
				family = nl.IPSET_ATTR_IPADDR_IPV6
			}
			data.AddRtAttr(kind|unix.NLA_F_NESTED, nil).AddRtAttr(family|unix.NLA_F_NET_BYTEORDER, a.AsSlice())
		}
	}
	if e.Port != 0 {
		data.AddRtAttr(nl.IPSET_ATTR_PORT|unix.NLA_F_NET_BYTEORDER, bigEndian16(e.Port))
	}
	if e.Protocol != "" {
		data.AddRtAttr(nl.IPSET_ATTR_PROTO, nl.Uint8Attr(uint8(keyOf(transportNames, e.Protocol))))
	}
	return v.ipsetSay(command, e.Of, data)
}

func setIPSetEntry(a *applier, v *visit, e, before plan.IPSetEntry) error {
	if before.Of != "" {
		if err := removeIPSetEntry(a, v, before); err != nil {
			return err
		}
	}
	return v.changeMember(nl.IPSET_CMD_ADD, e)
}

func removeIPSetEntry(_ *applier, v *visit, e plan.IPSetEntry) error {
	if err := v.changeMember(nl.IPSET_CMD_DEL, e); !errors.Is(err, nl.IPSetError(nl.IPSET_ERR_EXIST)) {
		return err
	}
	return nil // somebody else has removed it
}

// ipsetNumber is what the kernel calls an ipset in rules.
func (v *visit) ipsetNumber(name string) (n uint16, err error) {
	req, err := v.ipsetRequest(ipsetGetByName, unix.NLM_F_ACK)
	if err != nil {
		return 0, err
	}
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return 0, fmt.Errorf("ipset %s: %w", name, err)
	}
	for _, m := range messages {
		if err := attributes(m[nl.SizeofNfgenmsg:], func(kind uint16, value []byte) {
			if kind == ipsetIndex {
				n = binary.BigEndian.Uint16(value)
			}
		}); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// nameIPSets gives the ipsets that rules ask for their names.
func (v *visit) nameIPSets(r *nft.Ruleset) error {
	asks := func(l nft.Rule) bool { return l.Exprs.AsksIPSets() }
	if !slices.ContainsFunc(r.Rules, asks) {
		return nil
	}
	all, err := v.listIPSets()
	if err != nil {
		return err
	}
	names := map[uint16]string{}
	for _, s := range all {
		names[s.number] = s.Name
	}
	for i, l := range r.Rules {
		r.Rules[i].Exprs = l.Exprs.NameIPSets(func(n uint16) (string, bool) { name, ok := names[n]; return name, ok })
	}
	return nil
}

// numberIPSets returns changes whose rules have numbers for ipsets.
func (v *visit) numberIPSets(changes []plan.Change) ([]plan.Change, error) {
	known := map[string]uint16{}
	number := func(name string) (n uint16, err error) {
		n, ok := known[name]
		if !ok {
			n, err = v.ipsetNumber(name)
			known[name] = n
		}
		return n, err
	}
	numbered := func(o plan.Object) (plan.Object, error) {
		r, ok := o.(plan.ChainRule)
		if !ok || !r.Exprs.AsksIPSets() {
			return o, nil
		}
		var err error
		r.Exprs, err = r.Exprs.NumberIPSets(number)
		return r, err
	}
	out := slices.Clone(changes)
	for i, c := range changes {
		if c.Op == plan.Delete { // by its handle
			continue
		}
		var err error
		if out[i].Object, err = numbered(c.Object); err != nil {
			return nil, failed(c, err)
		}
		out[i].Parts = make([]plan.Object, len(c.Parts))
		for j, p := range c.Parts {
			if out[i].Parts[j], err = numbered(p); err != nil {
				return nil, failed(c, err)
			}
		}
	}
	return out, nil
}
