package predict

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// transmit sends a frame out of a device. note writes what was decided before, beside the hop that the device is; where programs
// take the packet before the device has it, there is none. via is the next hop of its route.
func (w *walker) transmit(v *testbed.View, dev *testbed.Netdev, f *frame, note func(), via netip.Addr) error {
	if note == nil {
		note = func() {}
	}
	if !dev.Up {
		return w.end(v, dev.Name, trace.CauseDown)
	}
	programs, foreign, err := w.programs(v, dev, true)
	if err != nil {
		return err
	}
	for _, name := range foreign {
		w.decide(trace.Decision{Text: fmt.Sprintf("%s at the egress of %s may do something else", name, dev.Name)}, fmt.Sprintf("tc -n %s filter show dev %s egress", v.Namespace, dev.Name))
	}
	for _, p := range programs {
		switch p.Does {
		case "ipip-encap":
			note()
			return w.encapsulated(v, dev, p, f, via)
		case "vlan-push":
			note()
			f.vlan = p.VLAN
			w.decide(trace.Decision{Text: fmt.Sprintf("%s puts VLAN %d before it", dev.Name, p.VLAN), Tunnel: fmt.Sprintf("vlan %d", p.VLAN)}, fmt.Sprintf("tc -n %s filter show dev %s egress", v.Namespace, dev.Name))
			return w.transmit(v, v.Named(p.To), f, nil, via)
		case "port-egress":
			outside, ok := leaves(p, f.vlan)
			if !ok {
				return w.end(v, dev.Name, trace.CauseProgram, "what", tag(f.vlan))
			}
			f.vlan = outside
		}
	}
	is := dev.Is
	if _, pair := is.(plan.Veth); pair {
		if err := w.connected(v, dev); err != nil {
			return err
		}
	}
	if _, err := w.hop(v, dev.Name, trace.Out, f); err != nil {
		return err
	}
	note()
	switch is := is.(type) {
	case plan.Veth:
		return w.across(v, dev, f)
	case plan.Bridge:
		return w.switched(v, dev, nil, inside(dev, f.vlan), f)
	case plan.VXLAN:
		return w.vxlan(v, dev, is, f)
	case plan.IPIP:
		return w.ipip(v, dev, is, f, via)
	case plan.MACVLAN, plan.IPVLAN, plan.VLAN:
		return w.down(v, dev, f)
	}
	if a, proxy, ok := w.agent(v); ok && proxy.Config().Device == dev.Name {
		return w.agentSends(v, a, proxy, f)
	}
	return w.end(v, dev.Name, trace.CauseDevice, "what", dev.Is.Type())
}

// peer returns the other end of a pair, or the device that one stands on.
func (w *walker) peer(v *testbed.View, dev *testbed.Netdev) (*testbed.Netdev, *testbed.View, error) {
	name, err := v.Behind(dev)
	if err != nil {
		return nil, nil, err
	}
	there, err := w.views.Of(name)
	if err != nil {
		return nil, nil, err
	}
	other := there.Device(dev.Lower)
	if other == nil {
		return nil, nil, fmt.Errorf("device %d of %s: %w", dev.Lower, name, os.ErrNotExist)
	}
	return other, there, nil
}

// connected ends the walk where the other end of a pair is not up.
func (w *walker) connected(v *testbed.View, dev *testbed.Netdev) error {
	peer, there, err := w.peer(v, dev)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return w.end(v, dev.Name, trace.CauseGone)
	case err != nil:
		return err
	case !peer.Up:
		return w.end(there, peer.Name, trace.CauseDown)
	}
	return nil
}

// across is a frame on its way to the other end of a pair, which takes nothing that is longer than what it would send.
func (w *walker) across(v *testbed.View, dev *testbed.Netdev, f *frame) error {
	peer, there, err := w.peer(v, dev)
	if err != nil {
		return err
	}
	const room = 14 + 4
	if f.length() > peer.MTU+room {
		return w.end(there, peer.Name, trace.CauseBridgeBig, "what", fmt.Sprintf("the packet is %d bytes long, and its %s takes %d", f.size, peer.Name, peer.MTU))
	}
	return w.receive(there, peer, f)
}

// receive is a frame that comes by a device.
func (w *walker) receive(v *testbed.View, dev *testbed.Netdev, f *frame) error {
	if !dev.Up {
		return w.end(v, dev.Name, trace.CauseDown)
	}
	if _, err := w.hop(v, dev.Name, trace.In, f); err != nil {
		return err
	}
	programs, _, err := w.programs(v, dev, false)
	if err != nil {
		return err
	}
	for _, p := range programs {
		switch {
		case p.Does == "ipip-decap" && f.inner != nil && f.tunnel == "ipip" && f.destination == p.Local && f.to == dev.MAC:
			w.decide(off("ipip", f), fmt.Sprintf("tc -n %s filter show dev %s ingress", v.Namespace, dev.Name))
			to := v.Named(p.To)
			f.inner.to = to.MAC
			return w.receive(v, to, f.inner)
		case p.Does == "vlan-pop" && f.vlan == p.VLAN:
			f.vlan = 0
			w.decide(trace.Decision{Text: fmt.Sprintf("VLAN %d is taken off", p.VLAN), Tunnel: fmt.Sprintf("vlan %d off", p.VLAN)}, fmt.Sprintf("tc -n %s filter show dev %s ingress", v.Namespace, dev.Name))
			return w.receive(v, v.Named(p.To), f)
		case p.Does == "port-ingress":
			vlan, ok := enters(p, f.vlan)
			if !ok {
				return w.end(v, dev.Name, trace.CauseProgram, "what", tag(f.vlan))
			}
			f.vlan = vlan
		}
	}
	if dev.Master != 0 {
		return w.bridged(v, dev, f)
	}
	above, err := w.above(v, dev)
	if err != nil {
		return err
	}
	for _, a := range above {
		switch is := a.dev.Is.(type) {
		case plan.VLAN:
			if is.ID == f.vlan {
				f.vlan = 0
				return w.receive(a.v, a.dev, f)
			}
		case plan.MACVLAN:
			if f.vlan == 0 && a.dev.MAC == f.to {
				return w.receive(a.v, a.dev, f)
			}
		case plan.IPVLAN:
			own, err := a.v.Addresses(a.dev.Index)
			if err != nil {
				return err
			}
			if f.vlan == 0 && (f.to == dev.MAC || f.to == "") && hasAddress(own, f.destination) {
				return w.receive(a.v, a.dev, f)
			}
		}
	}
	if f.vlan != 0 {
		return w.end(v, dev.Name, trace.CauseVLAN, "what", tag(f.vlan))
	}
	return w.input(v, dev, f)
}

// programs are those of ours at a device's hook, in their order, and what else is there.
func (w *walker) programs(v *testbed.View, dev *testbed.Netdev, egress bool) (ours []plan.Program, foreign []string, err error) {
	ours, foreign, err = v.Programs(dev, egress, w.plan.State)
	slices.SortStableFunc(ours, func(a, b plan.Program) int { return a.Priority - b.Priority })
	return ours, foreign, err
}

// above are the devices that stand on one: those in its namespace, and where the plan has some in others.
func (w *walker) above(v *testbed.View, dev *testbed.Netdev) ([]place, error) {
	var all []place
	for _, d := range v.Devices {
		switch d.Is.(type) {
		case plan.MACVLAN, plan.IPVLAN, plan.VLAN:
			if d.Elsewhere < 0 && d.Lower == dev.Index {
				all = append(all, place{v: v, dev: d})
			}
		}
	}
	for _, name := range w.standing(plan.End{Namespace: v.Namespace, Name: dev.Name}) {
		there, err := w.views.Of(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, d := range there.Devices {
			if d.Elsewhere < 0 || d.Lower != dev.Index {
				continue
			}
			switch d.Is.(type) {
			case plan.MACVLAN, plan.IPVLAN, plan.VLAN:
				if at, err := there.Behind(d); err == nil && at == v.Namespace {
					all = append(all, place{v: there, dev: d})
				}
			}
		}
	}
	return all, nil
}

// standing are the namespaces in which the plan has devices that stand on one.
func (p *Predictor) standing(on plan.End) []string {
	if p.stands == nil {
		p.stands = map[plan.End][]string{}
		p.plan.State.Each(func(o plan.Object) {
			if l, ok := o.(plan.Link); ok {
				if below := l.Below(); below.Name != "" && below.Namespace != l.Namespace {
					p.stands[below] = append(p.stands[below], l.Namespace)
				}
			}
		})
	}
	return p.stands[on]
}

// down is a frame that leaves by a device which stands on another.
func (w *walker) down(v *testbed.View, dev *testbed.Netdev, f *frame) error {
	lower, there, err := w.peer(v, dev)
	if errors.Is(err, os.ErrNotExist) {
		return w.end(v, dev.Name, trace.CauseGone)
	}
	if err != nil {
		return err
	}
	if !lower.Up {
		return w.end(there, lower.Name, trace.CauseDown)
	}
	if is, ok := dev.Is.(plan.VLAN); ok {
		f.vlan = is.ID
		w.decide(trace.Decision{Text: fmt.Sprintf("VLAN %d is put before it", is.ID), Tunnel: fmt.Sprintf("vlan %d", is.ID)}, fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, dev.Name))
		return w.transmit(there, lower, f, nil, f.destination)
	}
	above, err := w.above(there, lower)
	if err != nil {
		return err
	}
	switch is := dev.Is.(type) {
	case plan.MACVLAN:
		for _, a := range above {
			if a.dev != dev && siblings(dev, a.dev) && a.dev.MAC == f.to {
				w.decide(trace.Decision{Text: fmt.Sprintf("%s stands on %s as well", w.name(a.v), lower.Name)}, fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, dev.Name))
				return w.receive(there, lower, f)
			}
		}
	case plan.IPVLAN:
		if is.Mode == "l2" && f.to != lower.MAC {
			break
		}
		for _, a := range above {
			own, err := a.v.Addresses(a.dev.Index)
			if err != nil {
				return err
			}
			if _, same := a.dev.Is.(plan.IPVLAN); same && a.dev != dev && hasAddress(own, f.destination) {
				w.decide(trace.Decision{Text: fmt.Sprintf("%s stands on %s as well", w.name(a.v), lower.Name)}, fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, dev.Name))
				return w.receive(a.v, a.dev, f)
			}
		}
		if is.Mode == "l2" {
			return w.receive(there, lower, f) // it is for the machine below
		}
		return w.outputFor(there, f.datagram)
	}
	return w.transmit(there, lower, f, nil, f.destination)
}
