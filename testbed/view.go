package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/testbed/netfilter"
)

// Views look into namespaces as a packet comes to them, one after the other, and open no others. What they have seen of a
// namespace they remember, so that they are for one look at a lab that stands still.
type Views struct {
	prefix string
	visits visits
	seen   map[string]*View
	names  []string // of the lab's namespaces, once somebody asks
}

// View is what the kernel of one namespace has for packets.
type View struct {
	Namespace string
	Devices   []*Netdev // by their index

	of        *Views
	settings  devconf
	firewall  *nft.Ruleset
	virtual   []plan.VirtualServer // nil until somebody asks
	addresses map[int][]netip.Prefix
	behind    map[int]string // namespaces by the numbers that this one has for them
	rules     []plan.Rule
	told      bool // the settings of "all" are known
}

// Netdev is a network device as packets meet it.
type Netdev struct {
	Index     int
	Name      string
	Is        plan.Device // what it is, with what only devices of its type have; a Veth's peer and what a device stands on are left out
	MTU       int
	MAC       string // empty where it has none
	Up        bool
	Carrier   bool // something is at the other end
	ARP       bool // it asks for link-layer addresses
	Promisc   bool
	Master    int // the bridge that it is a port of
	Lower     int // the device that it stands on, or the other end of its pair
	Elsewhere int // the number of the namespace in which that is; -1: this one
	Port      BridgePort
}

// BridgePort is what a device is as a port of a bridge.
type BridgePort struct {
	State      int // of the bridge's: 3 forwards
	Hairpin    bool
	NoFlood    bool // frames for nobody known are not sent out here
	Isolated   bool // it and other isolated ports keep apart
	NoLearning bool
	VLANs      []plan.PortVLAN // where the bridge keeps them apart
}

// Forwarding is the state of a bridge's port that takes part.
const Forwarding = 3

// Look calls f with views of a lab's namespaces.
func Look(ctx context.Context, lab string, f func(*Views) error) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return onThread(func(t *thread) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		v := &Views{prefix: lab + ".", visits: visits{by: t, open: map[string]*visit{}}, seen: map[string]*View{}}
		defer v.visits.close()
		return f(v)
	})
}

// Of looks into a namespace.
func (s *Views) Of(namespace string) (*View, error) {
	if v := s.seen[namespace]; v != nil {
		return v, nil
	}
	at, err := s.visits.to(namespace)
	if err != nil {
		return nil, err
	}
	v := &View{Namespace: namespace, of: s, settings: devconf{}, behind: map[int]string{}}
	if err := v.look(at); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", namespace, err)
	}
	s.seen[namespace] = v
	return v, nil
}

func (v *View) visit() (*visit, error) { return v.of.visits.to(v.Namespace) }

func (v *View) look(at *visit) error {
	list, err := again(func() ([]netlink.Link, error) { return at.linkList(v.settings, map[int]bool{}) })
	if err != nil {
		return err
	}
	names := map[int]string{}
	bridges := false
	for _, l := range list {
		a := l.Attrs()
		at.index[a.Name], names[a.Index] = a.Index, a.Name
		bridges = bridges || l.Type() == "bridge"
	}
	ports := map[int]BridgePort{}
	if bridges {
		messages, err := at.portMessages(true)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if ports[linkOf(m)], err = viewPort(m[unix.SizeofIfInfomsg:]); err != nil {
				return err
			}
		}
	}
	for _, l := range list {
		a := l.Attrs()
		d := &Netdev{
			Index: a.Index, Name: a.Name, Is: typeOf(l).read(l, sight{names: names}), MTU: a.MTU, MAC: a.HardwareAddr.String(),
			Up: a.RawFlags&unix.IFF_UP != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, ARP: a.RawFlags&unix.IFF_NOARP == 0,
			Promisc: a.RawFlags&unix.IFF_PROMISC != 0, Master: a.MasterIndex, Lower: a.ParentIndex, Elsewhere: a.NetNsID, Port: ports[a.Index],
		}
		if a.Index == loopback || a.EncapType != "ether" {
			d.MAC, d.ARP = "", false
		}
		v.Devices = append(v.Devices, d)
	}
	return nil
}

// Device returns a device by its index, or nil.
func (v *View) Device(index int) *Netdev {
	for _, d := range v.Devices {
		if d.Index == index {
			return d
		}
	}
	return nil
}

// Named returns a device by its name, or nil.
func (v *View) Named(name string) *Netdev {
	for _, d := range v.Devices {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Behind finds the namespace that has the other end of a device, or what it stands on. It looks first where such an end
// usually is: a pod's is in its node, a node's in a pod of its own or a switch, and a switch's ports are called as the machines
// at them.
func (v *View) Behind(d *Netdev) (namespace string, err error) {
	if d.Elsewhere < 0 {
		return v.Namespace, nil
	}
	if name, ok := v.behind[d.Elsewhere]; ok {
		return name, nil
	}
	if v.of.names == nil {
		if v.of.names, err = Named(v.of.prefix); err != nil {
			return "", err
		}
	}
	at, err := v.visit()
	if err != nil {
		return "", err
	}
	likely := func(name string) int {
		switch {
		case name == v.of.prefix+d.Name:
			return 0
		case strings.HasPrefix(v.Namespace, name+"."):
			return 1
		case strings.HasPrefix(name, v.Namespace+".") && !strings.HasPrefix(d.Name, "eth"):
			return 2
		case strings.Count(name, ".") == strings.Count(v.of.prefix, "."):
			return 3
		}
		return 4
	}
	candidates := slices.Clone(v.of.names)
	slices.SortStableFunc(candidates, func(a, b string) int { return likely(a) - likely(b) })
	for _, name := range candidates {
		if name != v.Namespace && at.sees(name, d.Elsewhere) {
			v.behind[d.Elsewhere] = name
			return name, nil
		}
	}
	return "", fmt.Errorf("what is behind %s of %s is in no namespace of the lab: %w", d.Name, v.Namespace, os.ErrNotExist)
}

// Addresses returns those of a device.
func (v *View) Addresses(device int) ([]netip.Prefix, error) {
	if v.addresses == nil {
		at, err := v.visit()
		if err != nil {
			return nil, err
		}
		list, err := again(func() ([]netlink.Addr, error) { return at.AddrList(nil, netlink.FAMILY_ALL) })
		if err != nil {
			return nil, err
		}
		v.addresses = map[int][]netip.Prefix{}
		for _, a := range list {
			ones, _ := a.Mask.Size()
			v.addresses[a.LinkIndex] = append(v.addresses[a.LinkIndex], netip.PrefixFrom(address(a.IP), ones))
		}
	}
	return v.addresses[device], nil
}

// Sysctl reads a number of /proc/sys, and is 0 where there is none.
func (v *View) Sysctl(path string) (int, error) {
	at, err := v.visit()
	if err != nil {
		return 0, err
	}
	if !v.told {
		if err := at.common(v.settings); err != nil {
			return 0, err
		}
		v.told = true
	}
	value, ok := v.settings.get(path)
	if !ok {
		if err := at.step(); err != nil {
			return 0, err
		}
		value, err = at.by.sysctls.read(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		v.settings[path] = value
	}
	n := 0
	_, _ = fmt.Sscan(value, &n)
	return n, nil
}

// Firewall reads the rules of nftables.
func (v *View) Firewall() (*nft.Ruleset, error) {
	if v.firewall != nil {
		return v.firewall, nil
	}
	at, err := v.visit()
	if err != nil {
		return nil, err
	}
	if err := at.step(); err != nil {
		return nil, err
	}
	conn, err := netfilter.Dial()
	if errors.Is(err, netfilter.ErrNone) {
		v.firewall = &nft.Ruleset{}
		return v.firewall, nil
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rules, err := conn.Ruleset(&nft.Known{})
	if err == nil {
		err = at.nameIPSets(rules)
	}
	v.firewall = rules
	return rules, err
}

// Programs returns those of the wanted eBPF programs that are at a device's hook, and what else is there by its name.
func (v *View) Programs(d *Netdev, egress bool, want *plan.State) (ours []plan.Program, foreign []string, err error) {
	at, err := v.visit()
	if err != nil {
		return nil, nil, err
	}
	filters, err := at.filters(d.Index, tcHooks[egress])
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil, nil // it has no such hook
	}
	for _, f := range filters {
		p := plan.Program{Namespace: v.Namespace, Link: d.Name, Egress: egress, Priority: f.priority, Chain: f.chain}
		if wanted, ok := want.Get(p.Key()).(plan.Program); ok && f.runs(wanted, at.known) {
			ours = append(ours, wanted)
			continue
		}
		name := f.kind
		if f.name != "" {
			name += " " + f.name
		}
		foreign = append(foreign, name)
	}
	return ours, foreign, err
}

// Runs reports whether an agent works in the namespace with just that configuration.
func (v *View) Runs(a plan.Agent) (bool, error) {
	at, err := v.visit()
	if err != nil {
		return false, err
	}
	if err := at.step(); err != nil {
		return false, err
	}
	running, err := agents(v.Namespace)
	return slices.ContainsFunc(running, func(r RunningAgent) bool { return r.Name == a.Name && r.Started == fingerprint(a) }), err
}

// viewPort reads what a port does with frames.
func viewPort(m []byte) (p BridgePort, err error) {
	err = nested(m, unix.IFLA_PROTINFO, func(kind uint16, value []byte) {
		switch kind {
		case nl.IFLA_BRPORT_STATE:
			p.State = number(value)
		case nl.IFLA_BRPORT_MODE:
			p.Hairpin = number(value) != 0
		case nl.IFLA_BRPORT_LEARNING:
			p.NoLearning = number(value) == 0
		case nl.IFLA_BRPORT_UNICAST_FLOOD:
			p.NoFlood = number(value) == 0
		case nl.IFLA_BRPORT_ISOLATED:
			p.Isolated = number(value) != 0
		}
	})
	if err != nil {
		return p, err
	}
	p.VLANs, err = portVLANs(m)
	return p, err
}

// NeighboursFull says of the machine's neighbour table, which all namespaces share, that no more go into it; empty where they do.
func (v *View) NeighboursFull(v6 bool) (string, error) {
	at, err := v.visit()
	if err != nil {
		return "", err
	}
	family := byte(unix.AF_INET)
	if v6 {
		family = unix.AF_INET6
	}
	messages, err := at.dump(unix.RTM_GETNEIGHTBL, unix.RTM_NEWNEIGHTBL, fixed{family, 0, 0, 0})
	if err != nil {
		return "", err
	}
	for _, m := range messages {
		entries, most, name := 0, 0, ""
		err := attributes(m[4:], func(kind uint16, value []byte) {
			switch kind {
			case ndtaName:
				name = text(value)
			case ndtaThresh3:
				most = number(value)
			case ndtaConfig:
				entries = number(value[4:8]) // struct ndt_config
			}
		})
		if err != nil {
			return "", err
		}
		if (name == "arp_cache" && !v6 || name == "ndisc_cache" && v6) && most > 0 && entries >= most {
			return fmt.Sprintf("it has %d entries of %d", entries, most), nil
		}
	}
	return "", nil
}

// Attributes of linux/neighbour.h.
const (
	ndtaName    = 1
	ndtaThresh3 = 4
	ndtaConfig  = 5
)
