package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
	"labnet/lab/plan"
)

// IPVS is spoken to here and not by moby/ipvs, as kube-proxy does: that runs modprobe(8) before it asks anything, takes a kernel
// without IPVS for one where all succeeds, and logs.

var (
	virtualServerKind = inside[plan.VirtualServer]{reads: readVirtualServers, sets: setVirtualServer, removes: removeVirtualServer}
	realServerKind    = inside[plan.RealServer]{reads: func(*reader, *visit, *found) error { return nil }, sets: setRealServer, removes: removeRealServer}
)

// Commands and attributes of linux/ip_vs.h.
const (
	ipvsNewService = 1
	ipvsSetService = 2
	ipvsDelService = 3
	ipvsGetService = 4
	ipvsNewDest    = 5
	ipvsSetDest    = 6
	ipvsDelDest    = 7
	ipvsGetDest    = 8

	ipvsService = 1
	ipvsDest    = 2

	serviceFamily    = 1
	serviceProtocol  = 2
	serviceAddress   = 3
	servicePort      = 4
	serviceMark      = 5
	serviceScheduler = 6
	serviceFlags     = 7
	serviceTimeout   = 8
	serviceNetmask   = 9
	serviceEngine    = 11

	destAddress   = 1
	destPort      = 2
	destMethod    = 3
	destWeight    = 4
	destUpper     = 5
	destLower     = 6
	destFamily    = 11
	methodMask    = 7
	persistent    = 1
	hashed        = 2    // the kernel's own mark
	sourcePort    = 0x10 // IP_VS_SVC_F_SCHED_MH_PORT
	anyNetmask    = 0xffffffff
	wholeAddress6 = 128
)

// hasIPVS reports whether IPVS is loaded: to ask it would make the kernel load it.
func hasIPVS() bool {
	_, err := os.Stat("/sys/module/ip_vs")
	return err == nil
}

func (v *visit) ipvsRequest(command uint8, flags int) (*nl.NetlinkRequest, error) {
	if v.by.ipvs == 0 {
		f, err := netlink.GenlFamilyGet("IPVS")
		if err != nil {
			return nil, fmt.Errorf("the kernel has no IPVS: %w", err)
		}
		v.by.ipvs = f.ID
	}
	req, err := v.requestTo(unix.NETLINK_GENERIC, v.by.ipvs, flags)
	if err == nil {
		req.AddData(&nl.Genlmsg{Command: command, Version: 1})
	}
	return req, err
}

// ipvsSay sends a command about a virtual server and, where one is given, a real one.
func (v *visit) ipvsSay(command uint8, parts ...nl.NetlinkRequestData) error {
	req, err := v.ipvsRequest(command, unix.NLM_F_ACK)
	if err != nil {
		return err
	}
	for _, p := range parts {
		req.AddData(p)
	}
	v.by.sent += len(req.Serialize())
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

func (v *visit) ipvsList(command uint8, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	return again(func() ([][]byte, error) {
		req, err := v.ipvsRequest(command, unix.NLM_F_DUMP)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			req.AddData(p)
		}
		return req.Execute(unix.NETLINK_GENERIC, 0)
	})
}

// serviceID says which virtual server is meant.
func serviceID(protocol string, address netip.AddrPort, mark uint32) *nl.RtAttr {
	m := nl.NewRtAttr(ipvsService|unix.NLA_F_NESTED, nil)
	family := uint16(unix.AF_INET)
	if address.Addr().Is6() {
		family = unix.AF_INET6
	}
	m.AddRtAttr(serviceFamily, nl.Uint16Attr(family))
	if mark != 0 {
		m.AddRtAttr(serviceMark, nl.Uint32Attr(mark))
		return m
	}
	m.AddRtAttr(serviceProtocol, nl.Uint16Attr(keyOf(transportNames, protocol)))
	m.AddRtAttr(serviceAddress, address.Addr().AsSlice())
	m.AddRtAttr(servicePort, bigEndian16(address.Port()))
	return m
}

func serviceMessage(s plan.VirtualServer) *nl.RtAttr {
	m := serviceID(s.Protocol, s.Address, s.Mark)
	flags := uint32(0)
	if s.Persistent != 0 {
		flags |= persistent
	}
	if s.SourcePort {
		flags |= sourcePort
	}
	netmask := uint32(anyNetmask)
	if s.Address.Addr().Is6() {
		netmask = wholeAddress6
	}
	m.AddRtAttr(serviceScheduler, nl.ZeroTerminated(s.Scheduler))
	m.AddRtAttr(serviceFlags, binary.NativeEndian.AppendUint32(nl.Uint32Attr(flags), ^uint32(0)))
	m.AddRtAttr(serviceTimeout, nl.Uint32Attr(s.Persistent))
	m.AddRtAttr(serviceNetmask, nl.Uint32Attr(netmask))
	return m
}

func destMessage(r plan.RealServer) *nl.RtAttr {
	m := nl.NewRtAttr(ipvsDest|unix.NLA_F_NESTED, nil)
	m.AddRtAttr(destAddress, r.Address.Addr().AsSlice())
	m.AddRtAttr(destPort, bigEndian16(r.Address.Port()))
	m.AddRtAttr(destMethod, nl.Uint32Attr(0)) // Masq
	m.AddRtAttr(destWeight, nl.Uint32Attr(uint32(r.Weight)))
	m.AddRtAttr(destUpper, nl.Uint32Attr(0))
	m.AddRtAttr(destLower, nl.Uint32Attr(0))
	return m
}

// readVirtualServers reads the virtual servers of a machine, and their real servers; a pod has none.
func readVirtualServers(_ *reader, v *visit, f *found) error {
	if !f.machine || !hasIPVS() {
		return nil
	}
	servers, err := v.virtualServers()
	if errors.Is(err, unix.EPERM) {
		return nil // it is for the machine's root alone, so that there are none
	}
	if err != nil {
		return err
	}
	for _, s := range servers {
		f.add(s)
		real, err := v.realServers(s)
		if err != nil {
			return err
		}
		for _, r := range real {
			f.add(r)
		}
	}
	return nil
}

func (v *visit) virtualServers() ([]plan.VirtualServer, error) {
	messages, err := v.ipvsList(ipvsGetService)
	var all []plan.VirtualServer
	for _, m := range messages {
		s := plan.VirtualServer{Namespace: v.place.Name}
		if err := nested(m[nl.SizeofGenlmsg:], ipvsService, serviceReader(&s)); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, err
}

// serviceReader reads the attributes of a virtual server.
func serviceReader(s *plan.VirtualServer) func(kind uint16, value []byte) {
	family, port := unix.AF_INET, uint16(0)
	var address []byte
	odd := func(format string, args ...any) {
		s.Odd = strings.TrimSpace(s.Odd + " " + fmt.Sprintf(format, args...))
	}
	return func(kind uint16, value []byte) {
		switch kind {
		case serviceFamily:
			family = number(value)
		case serviceProtocol:
			s.Protocol = protocolName(uint16(number(value)))
		case serviceAddress:
			address = value
		case servicePort:
			port = binary.BigEndian.Uint16(value)
		case serviceMark:
			s.Mark = uint32(number(value))
		case serviceScheduler:
			s.Scheduler = text(value)
		case serviceFlags:
			flags := binary.NativeEndian.Uint32(value)
			s.SourcePort = flags&sourcePort != 0
			if flags&persistent != 0 {
				s.Persistent = max(s.Persistent, 1) // until its time is read
			}
			if more := flags &^ (persistent | hashed | sourcePort); more != 0 {
				odd("flags %#x", more)
			}
		case serviceTimeout:
			if s.Persistent != 0 {
				s.Persistent = uint32(number(value))
			}
		case serviceNetmask:
			if n := uint32(number(value)); n != anyNetmask && n != wholeAddress6 {
				odd("netmask %#x", n)
			}
		case serviceEngine:
			odd("engine %s", text(value))
		}
		s.Address = netip.AddrPortFrom(serverAddress(address, family), port)
	}
}

// serverAddress is one of as many bytes as its family has: the kernel tells sixteen.
func serverAddress(b []byte, family int) netip.Addr {
	if family == unix.AF_INET && len(b) > 4 {
		b = b[:4]
	}
	return addrOf(b)
}

func (v *visit) realServers(s plan.VirtualServer) ([]plan.RealServer, error) {
	messages, err := v.ipvsList(ipvsGetDest, serviceID(s.Protocol, s.Address, s.Mark))
	var all []plan.RealServer
	for _, m := range messages {
		r := plan.RealServer{Namespace: s.Namespace, Protocol: s.Protocol, Virtual: s.Address, Mark: s.Mark}
		family, port := unix.AF_INET, uint16(0)
		if s.Address.Addr().Is6() {
			family = unix.AF_INET6
		}
		var address []byte
		var odd []string
		err := nested(m[nl.SizeofGenlmsg:], ipvsDest, func(kind uint16, value []byte) {
			switch n := number(value); kind {
			case destAddress:
				address = value
			case destPort:
				port = binary.BigEndian.Uint16(value)
			case destFamily:
				family = n
			case destWeight:
				r.Weight = n
			case destMethod:
				if n&methodMask != 0 {
					odd = append(odd, fmt.Sprintf("method %d", n&methodMask))
				}
			case destUpper, destLower:
				if n != 0 {
					odd = append(odd, fmt.Sprintf("threshold %d", n))
				}
			}
		})
		if err != nil {
			return nil, err
		}
		r.Address, r.Odd = netip.AddrPortFrom(serverAddress(address, family), port), strings.Join(odd, " ")
		all = append(all, r)
	}
	return all, err
}

func setVirtualServer(_ *applier, v *visit, s, before plan.VirtualServer) error {
	command := uint8(ipvsNewService)
	if before.Namespace != "" {
		command = ipvsSetService
	}
	return v.ipvsSay(command, serviceMessage(s))
}

func removeVirtualServer(_ *applier, v *visit, s plan.VirtualServer) error {
	return v.ipvsSay(ipvsDelService, serviceID(s.Protocol, s.Address, s.Mark))
}

func setRealServer(_ *applier, v *visit, r, before plan.RealServer) error {
	command := uint8(ipvsNewDest)
	if before.Namespace != "" {
		command = ipvsSetDest
	}
	return v.ipvsSay(command, serviceID(r.Protocol, r.Virtual, r.Mark), destMessage(r))
}

func removeRealServer(_ *applier, v *visit, r plan.RealServer) error {
	return v.ipvsSay(ipvsDelDest, serviceID(r.Protocol, r.Virtual, r.Mark), destMessage(r))
}

// errNotRoots is what a probe finds where the kernel has IPVS for somebody else.
var errNotRoots = errors.New("it is for the machine's root alone")

// ipvsProbes try one scheduler each; the first tries everything else that kube-proxy's ipvs proxy needs, too.
func ipvsProbes() []probe {
	all := []probe{{plan.FeatureIPVS, plan.IPVSModules, func(h *netlink.Handle) error { return probed(h, (*visit).probeIPVS) }}}
	for _, s := range lab.Schedulers {
		all = append(all, probe{plan.SchedulerFeature(s), []string{"ip_vs", "ip_vs_" + s}, func(h *netlink.Handle) error {
			return probed(h, func(v *visit) error { return v.probeScheduler(s) })
		}})
	}
	return all
}

// probed tries something in the namespace where the thread is.
func probed(h *netlink.Handle, try func(*visit) error) error {
	v := &visit{Handle: h, by: &thread{}, index: map[string]int{}}
	defer func() {
		for _, s := range v.raw {
			s.Close()
		}
	}()
	if err := try(v); !errors.Is(err, unix.EPERM) {
		return err
	}
	return errNotRoots
}

func (v *visit) probeScheduler(name string) error {
	s := plan.VirtualServer{Protocol: "tcp", Address: netip.MustParseAddrPort("198.51.100.1:1"), Scheduler: name}
	if err := v.ipvsSay(ipvsNewService, serviceMessage(s)); err != nil {
		return err
	}
	return removeVirtualServer(nil, v, s)
}

func (v *visit) probeIPVS() error {
	if err := v.probeScheduler("rr"); err != nil {
		return err
	}
	if _, err := os.Stat("/proc/thread-self/net/ip_vs"); err != nil {
		return err
	}
	if err := v.LinkAdd(&netlink.Dummy{LinkAttrs: attrs("probe-dummy")}); err != nil {
		return err
	}
	made := kubeproxy.NewIPVS(kubeproxy.Node{Family: nft.IPv4, Scheduler: "rr"}, nil)
	var changes []plan.Change
	for _, s := range made.Sets {
		if err := setIPSet(nil, v, plan.IPSet{Name: s.Name, Type: s.Type}, plan.IPSet{}); err != nil {
			return err
		}
	}
	for _, o := range plan.Firewall("", made.Tables) {
		if r, ok := o.(plan.ChainRule); ok {
			changes = append(changes, plan.Change{Object: r})
		}
	}
	changes, err := v.numberIPSets(changes)
	if err != nil {
		return err
	}
	tables := *made.Tables
	tables.Rules = nil
	for _, c := range changes {
		tables.Rules = append(tables.Rules, c.Object.(plan.ChainRule).Rule())
	}
	return loads(&tables)
}
