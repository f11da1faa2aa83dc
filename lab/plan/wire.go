package plan

import (
	"strings"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Between namespaces nothing is ever cut into frames: a TCP segment of 64 KB crosses veths, bridges and tunnels whole, and
// every overlay looks free. The wire models say where a machine's uplink does what hardware would; they are the same for
// every mode.
//
//	super   veth as it is
//	nic     packets are cut to the MTU where they leave for the wire, behind a queue; what arrives is merged again (GRO)
//	bare    cut, and not merged: neither on the wire nor in the tunnel, so that every packet is paid for
//
// veth merges what arrives only when the other end cannot send it uncut, and drops what its ring cannot take unless there is
// a queue in front of it (drivers/net/veth.c). A limit of the packets' segments (gso_max_segs) would cut too, but sockets of
// the node itself would then cut earlier than those of pods, and packets from eBPF programs, which do not count their
// segments, would pass whole.
const (
	merge  = "rx-gro=on"
	single = "rx-gro=off"
)

// uncut are the ways in which veth sends several packets as one.
var uncut = []string{
	"tx-gre-csum-segmentation=off", "tx-gre-segmentation=off", "tx-ipxip4-segmentation=off", "tx-ipxip6-segmentation=off", "tx-sctp-segmentation=off",
	"tx-tcp-ecn-segmentation=off", "tx-tcp-mangleid-segmentation=off", "tx-tcp-segmentation=off", "tx-tcp6-segmentation=off",
	"tx-udp-segmentation=off", "tx-udp_tnl-csum-segmentation=off", "tx-udp_tnl-segmentation=off",
}

// wires is the layer that gives the links between machines and switches, and the tunnels on them, what the wire model makes
// of them. It comes last: whatever makes a tunnel is there by then.
type wires struct{}

func (wires) Needs(*Cluster) []Need                    { return nil }
func (wires) Expect(_ Flow, e Expectation) Expectation { return e }

func (wires) Plan(c *Cluster, s *State) hcl.Diagnostics {
	models := map[string]string{} // by namespace of a machine: bare where any of its switches is
	for i, m := range c.Lab.Machines {
		for j, nic := range m.Interfaces {
			model := c.Wire(nic.Switch)
			if model == lab.WireSuper {
				continue
			}
			near := Key{c.NamespaceOf(m.Name), KindLink, nic.Name}
			far := Key{c.NamespaceOf(nic.Switch.Name), KindLink, portName(m, i, j)}
			received := merge
			if model == lab.WireBare {
				received = single
				models[near.Namespace] = model
			}
			cut := strings.Join(uncut, " ")
			for key, offloads := range map[Key]string{near: received + " " + cut, far: cut} {
				l := s.Get(key).(Link)
				l.Offloads = offloads
				s.Replace(l)
				if q := (Qdisc{Namespace: key.Namespace, Link: key.Name, Type: "pfifo"}); s.Get(q.Key()) == nil {
					s.Add(q)
				}
			}
		}
	}
	s.Each(func(o Object) {
		if l, ok := o.(Link); ok && models[l.Namespace] == lab.WireBare {
			if _, merges := l.Device.(interface{ merges() }); merges {
				l.Offloads = single
				s.Replace(l)
			}
		}
	})
	return nil
}
