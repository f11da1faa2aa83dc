// Package device adds tunnels and VLAN sub-interfaces to a node: the kernel's own where it has them, and otherwise an ifb
// device of the same name with eBPF programs that do the same to the packets. It is pure.
//
// What goes out of an emulated device meets a program at its egress, which encapsulates it and hands it to the uplink;
// what comes in for it meets a program at the uplink's ingress, which takes the encapsulation off and lets the packet in
// by the emulated device. Routes, addresses, neighbours and the firewall see a device like the kernel's.
//
//	routes → flannel.ipip ─egress: ipip-encap─▶ eth0 ──▶ wire
//	routes ◀─ flannel.ipip ◀─ingress: ipip-decap─ eth0 ◀── wire
package device

import (
	"labnet/lab/plan"
)

// The order among the programs of one hook: a VLAN's comes at firstVLAN and its number.
const (
	only      = 1
	firstVLAN = 1000
)

// NeedIPIP and NeedVLAN are what a mode that uses the device says it needs.
var (
	NeedIPIP = plan.Need{Feature: plan.FeatureIPIP, Or: plan.FeatureEBPF}
	NeedVLAN = plan.Need{Feature: plan.FeatureVLAN, Or: plan.FeatureEBPF}
)

// MaxIPIP is the largest MTU of an uplink that an emulated tunnel can fill. bpf_skb_adjust_room() makes no packet longer than
// the kernel puts into four pages, unless it will be cut anyway: SKB_MAX_ALLOC, 16,064 bytes where a page has 4 KiB, and 14
// of them are the Ethernet header's. What is longer would be lost without a word.
const MaxIPIP = 16050

// IPIP adds the tunnel device l, a [plan.IPIP] as the kernel's would be, to a node. Its far ends are the next hops of the
// routes that lead out of it.
func IPIP(c *plan.Net, s *plan.State, n *plan.Member, l plan.Link) {
	if !n.Emulates(plan.FeatureIPIP, c.Features) {
		s.Add(l)
		return
	}
	uplink := n.Uplink()
	local := l.Device.(plan.IPIP).Local
	if !local.IsValid() {
		local = uplink.Address(false).Addr()
	}
	l.Device = plan.IFB{}
	emulate(s, l, uplink.Name,
		plan.Program{Priority: only, Does: "ipip-encap", Local: local},
		plan.Program{Priority: only, Does: "ipip-decap", Local: local},
	)
}

// Bridge adds to a node with an emulated tunnel what keeps a bridge behind it from cutting large packets: a port of the
// bridge by which they come in. name is the port's.
func Bridge(s *plan.State, bridge plan.Link, name string) {
	s.Add(
		plan.Link{Namespace: bridge.Namespace, Name: name, Device: plan.IFB{}, MTU: bridge.MTU, MAC: plan.MAC("port", bridge.Name, name), Port: plan.Port{Bridge: bridge.Name, NoLearning: true}},
		plan.Qdisc{Namespace: bridge.Namespace, Link: bridge.Name, Type: "clsact"},
		plan.Program{Namespace: bridge.Namespace, Link: bridge.Name, Egress: true, Priority: only, Does: "bridge-enter", To: name},
	)
}

// VLAN adds the sub-interface l, a [plan.VLAN] as the kernel's would be, to one of the node's devices. Without a MAC
// address it has that of the device below, which must be in the state already.
func VLAN(c *plan.Net, s *plan.State, n *plan.Member, l plan.Link) {
	if !n.Emulates(plan.FeatureVLAN, c.Features) {
		s.Add(l)
		return
	}
	vlan := l.Device.(plan.VLAN)
	lower, id := vlan.Lower.Name, vlan.ID
	l.Device = plan.IFB{ARP: true}
	emulate(s, l, lower,
		plan.Program{Priority: only, Does: "vlan-push", To: lower, VLAN: id},
		plan.Program{Priority: firstVLAN + id, Does: "vlan-pop", VLAN: id},
	)
}

// emulate adds an ifb in place of the device l, with a program for what leaves it and one for what arrives at lower.
// Frames from there keep the MAC address they were sent to, so the device has that of lower.
func emulate(s *plan.State, l plan.Link, lower string, out, in plan.Program) {
	if below, ok := s.Get(plan.Key{Namespace: l.Namespace, Kind: plan.KindLink, Name: lower}).(plan.Link); ok && l.MAC == "" {
		l.MAC = below.MAC
	}
	out.Namespace, out.Link, out.Egress = l.Namespace, l.Name, true
	in.Namespace, in.Link, in.To = l.Namespace, lower, l.Name
	s.Add(
		l,
		plan.Qdisc{Namespace: l.Namespace, Link: l.Name, Type: "clsact"}, out,
		plan.Qdisc{Namespace: l.Namespace, Link: lower, Type: "clsact"}, in,
	)
}
