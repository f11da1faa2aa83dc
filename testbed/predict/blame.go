package predict

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// asked is a neighbour as a machine on the way took it from its table.
type asked struct {
	v    *testbed.View
	out  *testbed.Netdev
	next netip.Addr
	mac  string
}

// sent is an entry by which a tunnel chose its far end.
type sent struct {
	v   *testbed.View
	dev *testbed.Netdev
	mac string
	to  netip.Addr
}

// blame finds what to mend where that is elsewhere than where the packet ended: a wrong neighbour sends a frame to a machine that
// is right to throw it away.
func (w *walker) blame() error {
	var d *trace.Drop
	var err error
	switch w.walk.Disposition {
	case trace.NotAddressed, trace.NotSwitched, trace.Lost:
		d, err = w.misdirected()
	case trace.NeighbourUnknown:
		d, err = w.absent()
	case trace.NoTunnel:
		d, err = w.mismatched()
	case trace.Loop:
		d = w.strayRoute()
	case trace.NoRoute:
		d, err = w.missing()
	}
	w.walk.Blame = d
	return err
}

// misdirected compares the neighbours that were taken from tables, and the last entry of a tunnel's, with the machines that have
// the addresses.
func (w *walker) misdirected() (*trace.Drop, error) {
	for _, at := range w.asked {
		name := w.owner(at.next)
		if name == "" {
			continue
		}
		there, err := w.views.Of(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, dev := range there.Devices {
			own, err := there.Addresses(dev.Index)
			if err != nil {
				return nil, err
			}
			if !hasAddress(own, at.next) {
				continue
			}
			if dev.MAC != at.mac {
				d := trace.CauseWrongNeighbour.Drop(w.name(at.v), at.v.Namespace, at.out.Name, "via", at.next.String(), "mac", at.mac, "what", fmt.Sprintf("%s of %s, which has it, is %s", dev.Name, w.name(there), dev.MAC))
				return &d, nil
			}
			if to := w.sent; to != nil && to.mac == dev.MAC && w.owner(to.to) != name {
				d := trace.CauseWrongFDB.Drop(w.name(to.v), to.v.Namespace, to.dev.Name, "mac", to.mac, "via", to.to.String(), "what", w.name(there))
				return &d, nil
			}
		}
	}
	return nil, nil
}

// absent says why nobody answers for an address: who is to answer for others no longer does, or who has it is not there.
func (w *walker) absent() (*trace.Drop, error) {
	var d trace.Drop
	for _, p := range w.ears {
		key := plan.Neighbour{Namespace: p.v.Namespace, Link: p.dev.Name, Addr: w.unanswered, Proxy: true}.Key()
		if w.plan.State.Get(key) != nil {
			d = trace.CauseNoProxy.Drop(w.name(p.v), p.v.Namespace, p.dev.Name, "via", w.unanswered.String())
			return &d, nil
		}
	}
	name := w.owner(w.unanswered)
	if name == "" {
		return nil, nil
	}
	v, err := w.views.Of(name)
	if errors.Is(err, os.ErrNotExist) {
		d = trace.CauseNoNamespace.Drop(strings.TrimPrefix(name, w.plan.Cluster.Name+"."), name, "")
		return &d, nil
	}
	if err != nil {
		return nil, err
	}
	var has plan.Address
	w.plan.State.In(name, func(o plan.Object) {
		if a, ok := o.(plan.Address); ok && a.Prefix.Addr() == w.unanswered {
			has = a
		}
	})
	link, _ := w.plan.State.Get(plan.Key{Namespace: name, Kind: plan.KindLink, Name: has.Link}).(plan.Link)
	dev := v.Named(has.Link)
	switch own, err := w.addresses(v, dev); {
	case err != nil:
		return nil, err
	case dev == nil:
		d = trace.CauseNoDevice.Drop(w.name(v), name, has.Link)
		return &d, nil
	case !dev.Up:
		d = trace.CauseDown.Drop(w.name(v), name, has.Link)
		return &d, nil
	case !hasAddress(own, w.unanswered):
		d = trace.CauseNoAddress.Drop(w.name(v), name, has.Link, "via", w.unanswered.String())
		return &d, nil
	}
	peer, ok := w.plan.State.Get(plan.Key{Namespace: link.Peer().Namespace, Kind: plan.KindLink, Name: link.Peer().Name}).(plan.Link)
	if !ok || peer.Port.Bridge == "" {
		return nil, nil
	}
	there, err := w.views.Of(peer.Namespace)
	if err != nil {
		return nil, err
	}
	if port := there.Named(peer.Name); port != nil && port.Master == 0 {
		d = trace.CauseNoBridge.Drop(w.name(there), there.Namespace, port.Name, "what", peer.Port.Bridge)
		return &d, nil
	}
	return nil, nil
}

func (w *walker) addresses(v *testbed.View, dev *testbed.Netdev) ([]netip.Prefix, error) {
	if dev == nil {
		return nil, nil
	}
	return v.Addresses(dev.Index)
}

// mismatched compares the tunnels at both ends with the plan's.
func (w *walker) mismatched() (*trace.Drop, error) {
	for _, name := range []string{w.walk.Hops[len(w.walk.Hops)-1].Namespace, w.tunnelled} {
		if name == "" {
			continue
		}
		v, err := w.views.Of(name)
		if err != nil {
			return nil, err
		}
		for _, dev := range v.Devices {
			planned, ok := w.plan.State.Get(plan.Key{Namespace: name, Kind: plan.KindLink, Name: dev.Name}).(plan.Link)
			if !ok {
				continue
			}
			want, is := planned.Device.(plan.VXLAN)
			got, was := dev.Is.(plan.VXLAN)
			if is && (!was || want.VNI != got.VNI || want.Port != got.Port) {
				d := trace.CauseOtherTunnel.Drop(w.name(v), name, dev.Name, "what", fmt.Sprintf("VNI %d on port %d, and the others have VNI %d on port %d", got.VNI, got.Port, want.VNI, want.Port))
				return &d, nil
			}
		}
	}
	return nil, nil
}

// strayRoute finds a route that the packet took again and again, and that is not the plan's.
func (w *walker) strayRoute() *trace.Drop {
	for _, r := range w.routes {
		if r.match.Protocol == 2 || r.match.Dst.Bits() < 0 { // the kernel's own
			continue
		}
		planned := false
		w.plan.State.In(r.v.Namespace, func(o plan.Object) {
			p, ok := o.(plan.Route)
			planned = planned || ok && p.Dst == r.match.Dst && p.Via == r.match.Via && p.Dev == r.match.Dev
		})
		if !planned {
			d := trace.CauseStrayRoute.Drop(w.name(r.v), r.v.Namespace, r.match.Dev, "what", r.entry, "to", r.to.String())
			return &d
		}
	}
	return nil
}

// missing is what a machine needs to have the route that it lacks: a device that is there and up, and an agent that learns routes.
func (w *walker) missing() (*trace.Drop, error) {
	v, err := w.views.Of(w.ended)
	if err != nil {
		return nil, err
	}
	var found *trace.Drop
	w.plan.State.In(v.Namespace, func(o plan.Object) {
		if found != nil || err != nil {
			return
		}
		var d trace.Drop
		switch o := o.(type) {
		case plan.Link:
			dev := v.Named(o.Name)
			if dev != nil && dev.Up {
				return
			}
			d = trace.CauseDown.Drop(w.name(v), v.Namespace, o.Name)
			if dev == nil {
				d = trace.CauseNoDevice.Drop(w.name(v), v.Namespace, o.Name)
			}
		case plan.Agent:
			var runs bool
			if runs, err = v.Runs(o); o.Protocol == 0 || runs {
				return
			}
			d = trace.CauseNoAgent.Drop(w.name(v), v.Namespace, "", "what", o.Name)
		default:
			return
		}
		found = &d
	})
	return found, err
}

// taken is a route that a packet took.
type taken struct {
	v     *testbed.View
	match plan.Route
	entry string
	to    netip.Addr
}
