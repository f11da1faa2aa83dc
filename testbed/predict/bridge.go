package predict

import (
	"fmt"
	"strconv"
	"strings"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

func filters(bridge *testbed.Netdev) bool {
	b, ok := bridge.Is.(plan.Bridge)
	return ok && b.Filtering
}

// tag is a frame's VLAN in words.
func tag(vlan int) string {
	if vlan == 0 {
		return "frames without a tag"
	}
	return fmt.Sprintf("VLAN %d", vlan)
}

// inside is the VLAN of what a bridge's own device sends.
func inside(bridge *testbed.Netdev, vlan int) int {
	if vlan != 0 || !filters(bridge) {
		return vlan
	}
	for _, v := range bridge.Port.VLANs {
		if v.PVID {
			return v.ID
		}
	}
	return 0
}

// admits says which VLAN a frame belongs to that comes into a bridge by a port, and whether it may. A bridge that knows no VLANs
// takes tags for a part of the frame.
func admits(bridge, port *testbed.Netdev, vlan int) (int, bool) {
	if !filters(bridge) {
		return vlan, true
	}
	for _, v := range port.Port.VLANs {
		if v.ID == vlan || vlan == 0 && v.PVID {
			return v.ID, true
		}
	}
	return vlan, false
}

// releases says with which tag a frame of a VLAN leaves a bridge by a port, and whether it may.
func releases(bridge, port *testbed.Netdev, vlan int) (int, bool) {
	if !filters(bridge) {
		return vlan, true
	}
	for _, v := range port.Port.VLANs {
		if v.ID == vlan {
			if v.Untagged {
				return 0, true
			}
			return vlan, true
		}
	}
	return vlan, false
}

// enters and leaves are what the programs of a switch's port do where its bridge knows no VLANs.
func enters(p plan.Program, vlan int) (int, bool) {
	if p.VLAN != 0 {
		return p.VLAN, vlan == 0 || vlan == p.VLAN
	}
	return vlan, vlan == 0 || trunks(p, vlan)
}

func leaves(p plan.Program, vlan int) (int, bool) {
	if p.VLAN != 0 {
		if vlan == p.VLAN {
			return 0, true
		}
		return vlan, false
	}
	return vlan, vlan == 0 || trunks(p, vlan)
}

func trunks(p plan.Program, vlan int) bool {
	for word := range strings.SplitSeq(p.Trunk, ",") {
		if id, err := strconv.Atoi(word); err == nil && id == vlan {
			return true
		}
	}
	return false
}

// bridged is a frame that has come into a bridge by a port.
func (w *walker) bridged(v *testbed.View, port *testbed.Netdev, f *frame) error {
	bridge := v.Device(port.Master)
	vlan, ok := admits(bridge, port, f.vlan)
	switch {
	case !bridge.Up:
		return w.end(v, bridge.Name, trace.CauseDown)
	case port.Port.State != testbed.Forwarding:
		return w.end(w.blocked(v, port))
	case !ok:
		return w.end(v, port.Name, trace.CauseVLAN, "what", tag(f.vlan))
	}
	before := f.destination
	looked, err := w.bridgeHooks(v, bridge, f, nft.Prerouting)
	if err != nil {
		return err
	}
	if looked && f.destination != before {
		return w.up(v, bridge, f) // a service: the machine routes it
	}
	return w.switched(v, bridge, port, vlan, f)
}

// bridgeHooks takes a bridged packet through the firewall, where the machine has that set.
func (w *walker) bridgeHooks(v *testbed.View, bridge *testbed.Netdev, f *frame, hooks ...uint32) (bool, error) {
	path := "net/bridge/bridge-nf-call-iptables"
	if f.destination.Is6() {
		path = "net/bridge/bridge-nf-call-ip6tables"
	}
	on, err := v.Sysctl(path)
	if err != nil || on == 0 || f.vlan != 0 {
		return false, err
	}
	for _, hook := range hooks {
		in, out := bridge.Name, bridge.Name
		switch hook {
		case nft.Prerouting:
			out = ""
		case nft.Postrouting:
			in = ""
		}
		if err := w.hooks(v, hook, f.datagram, in, out); err != nil {
			return true, err
		}
	}
	return true, nil
}

// up is a frame for the machine that the bridge is in.
func (w *walker) up(v *testbed.View, bridge *testbed.Netdev, f *frame) error {
	if f.to != broadcast {
		f.to = bridge.MAC // a port's own address is the bridge's as well
	}
	return w.receive(v, bridge, f)
}

// switched finds the port by which a frame leaves a bridge; from is nil for what the bridge's own device sends.
func (w *walker) switched(v *testbed.View, bridge, from *testbed.Netdev, vlan int, f *frame) error {
	e, known, err := v.BridgeEntry(bridge, f.to, vlan)
	if err != nil {
		return err
	}
	command := fmt.Sprintf("bridge -n %s fdb get %s br %s", v.Namespace, f.to, bridge.Name)
	if vlan != 0 && filters(bridge) {
		command += fmt.Sprintf(" vlan %d", vlan)
	}
	switch {
	case known && e.Local && from != nil:
		return w.up(v, bridge, f)
	case known && e.Local:
		return w.end(v, bridge.Name, trace.CauseNobody, "mac", f.to)
	case known:
		entry := fmt.Sprintf("%s dev %s master %s", f.to, e.Device.Name, bridge.Name)
		w.decide(trace.Decision{Text: "fdb " + entry, FDB: entry}, command)
		return w.leave(v, bridge, from, e.Device, vlan, f)
	}
	// Nobody has been heard there: the frame goes to all, and whoever has the address takes it.
	port, err := w.seek(v, bridge, from, vlan, f)
	if err != nil {
		return err
	}
	if port == nil {
		return w.end(v, bridge.Name, trace.CauseNobody, "mac", f.to)
	}
	entry := fmt.Sprintf("%s is not known; it is behind %s", f.to, port.Name)
	w.decide(trace.Decision{Text: "fdb: " + entry, FDB: entry}, command)
	if port == bridge {
		return w.up(v, bridge, f)
	}
	return w.leave(v, bridge, from, port, vlan, f)
}

// seek finds the port behind which a MAC address is.
func (w *walker) seek(v *testbed.View, bridge, from *testbed.Netdev, vlan int, f *frame) (*testbed.Netdev, error) {
	if f.to == bridge.MAC {
		return bridge, nil
	}
	for _, clear := range []bool{true, false} { // what is behind an obstacle is the last choice
		for _, port := range v.Devices {
			outside, ok := releases(bridge, port, vlan)
			if port.Master != bridge.Index || port == from {
				continue
			}
			var behind *obstacle
			if !ok || port.Port.State != testbed.Forwarding {
				behind = &obstacle{} // which, is told when the frame comes there
			}
			found := false
			err := w.spread(v, port, outside, w.owner(f.destination), behind, func(p place) (bool, error) {
				found = p.dev.MAC == f.to && (p.behind == nil) == clear
				return found, nil
			})
			if err != nil || found {
				return port, err
			}
		}
	}
	return nil, nil
}

// leave is a frame that leaves a bridge by a port.
func (w *walker) leave(v *testbed.View, bridge, from, port *testbed.Netdev, vlan int, f *frame) error {
	outside, ok := releases(bridge, port, vlan)
	const room = 14 + 4 // for an Ethernet header and a tag
	switch {
	case port == from && !port.Port.Hairpin:
		return w.end(v, port.Name, trace.CauseHairpin)
	case port.Port.State != testbed.Forwarding:
		return w.end(w.blocked(v, port))
	case !ok:
		return w.end(v, port.Name, trace.CauseVLAN, "what", tag(vlan))
	case from != nil && from != port && from.Port.Isolated && port.Port.Isolated:
		return w.end(v, port.Name, trace.CausePort)
	case f.length() > port.MTU+room:
		return w.end(v, port.Name, trace.CauseBridgeBig, "what", fmt.Sprintf("the packet is %d bytes long, and its port %s carries %d", f.size, port.Name, port.MTU))
	}
	if from != nil {
		if _, err := w.bridgeHooks(v, bridge, f, nft.Forward, nft.Postrouting); err != nil {
			return err
		}
	}
	f.vlan = outside
	return w.transmit(v, port, f, nil, f.destination)
}
