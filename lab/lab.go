// Package lab is the language of definitions: [Load] turns HCL text into a [Lab], in which variables, count, for_each and
// dynamic blocks are expanded and underlay addresses are allocated, and reports every mistake of the text with its place.
//
// It knows nothing of modes or of the kernel, and reads no files but those that a definition names. The body of a mode block
// stays undecoded, because only the mode knows its settings; what a lab looks like in the kernel is computed by
// labnet/lab/plan, and docs/language.md is the reference for people.
//
// Everything remembers where it stands in the source, so that a problem that is found later (a mode that runs out of
// addresses, an MTU that is too small) can be reported at the very attribute.
package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Lab is one definition.
type Lab struct {
	Name     string
	About    string
	Switches []*Switch
	Machines []*Machine // nodes, routers and hosts, in the order of the file
	Network  *Network   // nil where the lab has no pod network
	Bridges  []*Network // of nodes: those with a driver, in the order of the file
	Modes    []*ModeBlock
	Services *Services         // nil where the lab has none
	Compare  *Compare          // nil where the file has no compare block
	Outputs  []Output          // in the order of the file
	Vars     map[string]string // the value of every variable, as Inputs.Vars would take it
	Values   string            // the same, as Inputs.Values would take them: whatever type they have
	Texts    map[string]string // the files that it was made with, as Inputs.Texts would take them
	Range    hcl.Range
}

// Ranges says where the attributes of a block stand, by attribute name; a missing name means it was left out.
type Ranges map[string]hcl.Range

// Of returns where the attribute stands, or the block's own range when it was left out.
func (r Ranges) Of(name string, block hcl.Range) hcl.Range {
	if at, ok := r[name]; ok {
		return at
	}
	return block
}

// Switch is what machines are plugged into. It is one segment, or several: its own, whose frames have no tag, and its VLANs.
type Switch struct {
	Name    string
	Subnets []netip.Prefix // of its own segment; masked; at most one a family
	VLANs   []*VLAN
	MTU     int
	Impair  Impairment
	Wire    string // one of [Wires]
	Range   hcl.Range
	At      Ranges
}

// VLAN is a segment of its own on a switch, told apart by the tag of its frames (802.1Q).
type VLAN struct {
	ID      int
	Subnets []netip.Prefix // masked; at most one a family; none where only pods have addresses
	Range   hcl.Range
	At      Ranges
}

// VLAN returns the switch's VLAN of that number, or nil.
func (s *Switch) VLAN(id int) *VLAN {
	for _, v := range s.VLANs {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// Segment is one broadcast domain.
type Segment struct {
	Switch *Switch
	VLAN   int // 0: the switch's own
}

// Subnets returns the subnets of the segment, at most one a family.
func (s Segment) Subnets() []netip.Prefix {
	if s.VLAN == 0 {
		return s.Switch.Subnets
	}
	if v := s.Switch.VLAN(s.VLAN); v != nil {
		return v.Subnets
	}
	return nil
}

// At returns where the segment is defined, and where its attributes are.
func (s Segment) At() (hcl.Range, Ranges) {
	if v := s.Switch.VLAN(s.VLAN); v != nil {
		return v.Range, v.At
	}
	return s.Switch.Range, s.Switch.At
}

func (s Segment) String() string {
	if s.VLAN == 0 {
		return fmt.Sprintf("switch %q", s.Switch.Name)
	}
	return fmt.Sprintf("VLAN %d of switch %q", s.VLAN, s.Switch.Name)
}

// Segments lists every segment of the lab, in the order of the file.
func (l *Lab) Segments() []Segment {
	var all []Segment
	for _, s := range l.Switches {
		all = append(all, Segment{Switch: s})
		for _, v := range s.VLANs {
			all = append(all, Segment{s, v.ID})
		}
	}
	return all
}

// Wire models: what the links of a switch make of packets larger than their MTU.
const (
	WireSuper = "super"
	WireNIC   = "nic"
	WireBare  = "bare"
)

// Wires lists the wire models.
var Wires = []string{WireSuper, WireNIC, WireBare}

// Kind says what a machine is for.
type Kind string

const (
	Node   Kind = "node"
	Router Kind = "router"
	Host   Kind = "host"
)

// Machine is a node, a router or a host.
type Machine struct {
	Kind       Kind
	Name       string
	Interfaces []*Interface // in the order of the "on" blocks; at least one
	Gateways   []netip.Addr // default gateways, at most one a family
	Routes     []*Route
	PodCIDRs   []netip.Prefix // as written; the mode allocates what is left out
	Pods       []*Pod
	Serves     []Socket
	Processes  []*Process
	Datapath   string // "kernel" or "ebpf" where a node asks for one
	Range      hcl.Range
	At         Ranges
}

// Interface attaches a machine to a port of a switch.
type Interface struct {
	Name      string // eth0, eth1, … by its place among them where none was written
	Switch    *Switch
	VLAN      int            // an access port: the VLAN that it is in; 0: the switch's own segment
	Trunk     []int          // a trunk port: the VLANs whose frames it carries with their tags, ascending
	Addresses []netip.Prefix // one for each of the segment's subnets, allocated where it was left out
	Range     hcl.Range
	At        Ranges
}

// Segment returns the segment that the interface's addresses are in: what it sends without a tag goes there.
func (i *Interface) Segment() Segment { return Segment{i.Switch, i.VLAN} }

// Carries reports whether frames of the segment come to the interface, with or without a tag.
func (i *Interface) Carries(s Segment) bool {
	return i.Segment() == s || i.Switch == s.Switch && slices.Contains(i.Trunk, s.VLAN)
}

// Address returns the interface's address of the family, or the zero Prefix.
func (i *Interface) Address(v6 bool) netip.Prefix {
	for _, a := range i.Addresses {
		if a.Addr().Is6() == v6 {
			return a
		}
	}
	return netip.Prefix{}
}

// Route is a static route of a machine.
type Route struct {
	To    netip.Prefix
	Via   netip.Addr // the first of Hops
	Hops  []NextHop  // more than one: flows are spread over them (ECMP)
	Range hcl.Range
	At    Ranges
}

// NextHops are the addresses of the hops.
func (r *Route) NextHops() []netip.Addr {
	hops := make([]netip.Addr, len(r.Hops))
	for i, h := range r.Hops {
		hops[i] = h.Via
	}
	return hops
}

// NextHop is one of the ways that a route leads.
type NextHop struct {
	Via    netip.Addr
	Weight int // the share of the flows that go this way, as compared with the others'; at least 1
}

// Pod is a pod of a node; Addresses holds only what was written.
type Pod struct {
	Name      string
	Addresses []netip.Addr
	Labels    map[string]string // with those that every pod has: node and pod
	Serves    []Socket
	Publishes []Published
	Processes []*Process // its containers
	In        string     // what it is in: the pod network where empty, [NoNetwork], [HostNetwork], [BridgeNetwork], or the network of another pod
	Of        string     // the pod of the same node whose network it shares, or the bridge
	Range     hcl.Range
	At        Ranges
}

// Network is the pod network, or a bridge that each node has for the pods in it.
type Network struct {
	Name   string
	CIDRs  []netip.Prefix // masked; at most one a family
	Driver string         // one of [Drivers]; empty: it is the pod network, and a mode connects its pods
	Mode   string
	MTU    int // of the pods; 0: all that the mode, or the node's uplink, leaves them
	Range  hcl.Range
	At     Ranges
}

// Has reports whether an address is of the network.
func (n *Network) Has(a netip.Addr) bool {
	_, ok := containing(n.CIDRs, a)
	return ok
}

// ModeBlock holds the settings of a mode, or of a variant of one under a name of its own.
type ModeBlock struct {
	Name  string
	Use   string         // the mode it is; Name where "use" was left out
	CIDRs []netip.Prefix // of the pod network in this mode; empty: the network's own
	Body  hcl.Body
	Eval  *hcl.EvalContext
	Range hcl.Range
	Whole hcl.Range // with the body
	At    Ranges    // "use", "cidr"
}

// Compare says what a comparison measures.
type Compare struct {
	Modes    []string
	ModesAt  []hcl.Range // where each of them stands
	Proxies  []string    // what translates services; empty: as the services say
	Paths    []string
	Measures []string
	Rounds   int // 0: left out
	Sweeps   []Sweep
	Range    hcl.Range
	At       Ranges
}

// Sweep compares every mode at several values of a variable, of an attribute of every switch, or with the firewall and without.
type Sweep struct {
	Name   string
	Values []string
}

// Mode returns the settings block of that name, or nil.
func (l *Lab) Mode(name string) *ModeBlock {
	for _, m := range l.Modes {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// In returns the lab as it is in a mode: with the CIDRs that its settings give the pod network.
func (l *Lab) In(mode string) *Lab {
	b := l.Mode(mode)
	if b == nil || len(b.CIDRs) == 0 || l.Network == nil {
		return l
	}
	network := *l.Network
	network.CIDRs, network.At = b.CIDRs, maps.Clone(network.At)
	network.At["cidr"] = b.At.Of("cidr", b.Range)
	in := *l
	in.Network = &network
	return &in
}

// Of returns the machines of one kind, in the order of the file.
func (l *Lab) Of(kind Kind) []*Machine {
	var of []*Machine
	for _, m := range l.Machines {
		if m.Kind == kind {
			of = append(of, m)
		}
	}
	return of
}

// WithoutLastNode returns the lab without its last node, to see what that node costs the others.
func (l *Lab) WithoutLastNode() *Lab {
	less := *l
	nodes := l.Of(Node)
	if len(nodes) > 0 {
		last := nodes[len(nodes)-1]
		less.Machines = slices.DeleteFunc(slices.Clone(l.Machines), func(m *Machine) bool { return m == last })
	}
	return &less
}
