package predict

import (
	"errors"
	"os"
	"slices"
	"strings"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// place is a device where a frame for everybody is heard, or would be but for an obstacle.
type place struct {
	v      *testbed.View
	dev    *testbed.Netdev
	behind *obstacle
}

// obstacle is what keeps a frame from a part of its segment.
type obstacle struct {
	v      *testbed.View
	device string
	cause  trace.Cause
	words  []string
}

// hearing is told of each place, and stops it when it returns true.
type hearing func(place) (stop bool, err error)

// errHeard stops a spread.
var errHeard = errors.New("heard")

// spread goes through the segment that a device sends to, as a frame for everybody does, and also through what has an obstacle in
// front: who is behind it tells whether it matters. What leads to the namespace that is preferred comes first.
func (w *walker) spread(v *testbed.View, out *testbed.Netdev, vlan int, prefer string, behind *obstacle, heard hearing) error {
	s := &spreading{walker: w, prefer: prefer, heard: heard, been: map[*testbed.Netdev]bool{}}
	err := s.out(v, out, vlan, behind)
	if errors.Is(err, errHeard) {
		return nil
	}
	return err
}

type spreading struct {
	*walker
	prefer string
	heard  hearing
	been   map[*testbed.Netdev]bool // bridges that the frame was in
}

// first keeps the obstacle that comes first.
func first(behind *obstacle, v *testbed.View, device string, c trace.Cause, words ...string) *obstacle {
	if behind != nil {
		return behind
	}
	return &obstacle{v, device, c, words}
}

// out is the frame leaving by a device.
func (s *spreading) out(v *testbed.View, dev *testbed.Netdev, vlan int, behind *obstacle) error {
	if !dev.Up {
		behind = first(behind, v, dev.Name, trace.CauseDown)
	}
	programs, _, err := s.programs(v, dev, true)
	if err != nil {
		return err
	}
	for _, p := range programs {
		switch p.Does {
		case "vlan-push":
			return s.out(v, v.Named(p.To), p.VLAN, behind)
		case "ipip-encap":
			return nil
		case "port-egress":
			var ok bool
			if vlan, ok = leaves(p, vlan); !ok {
				behind = first(behind, v, dev.Name, trace.CauseProgram, "what", tag(vlan))
			}
		}
	}
	switch is := dev.Is.(type) {
	case plan.Veth:
		peer, there, err := s.peer(v, dev)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.in(there, peer, vlan, behind)
	case plan.Bridge:
		return s.bridge(v, dev, nil, inside(dev, vlan), behind)
	case plan.MACVLAN, plan.IPVLAN, plan.VLAN:
		lower, there, err := s.peer(v, dev)
		if err != nil {
			return err
		}
		if is, ok := is.(plan.VLAN); ok {
			return s.out(there, lower, is.ID, behind)
		}
		above, err := s.above(there, lower)
		if err != nil {
			return err
		}
		for _, a := range above {
			if a.dev != dev && siblings(dev, a.dev) {
				if err := s.in(a.v, a.dev, 0, behind); err != nil {
					return err
				}
			}
		}
		return s.out(there, lower, vlan, behind)
	}
	return nil
}

// siblings reports whether devices that stand on the same one hear each other.
func siblings(a, b *testbed.Netdev) bool {
	switch is := a.Is.(type) {
	case plan.MACVLAN:
		other, ok := b.Is.(plan.MACVLAN)
		return ok && is.Mode == "bridge" && other.Mode == "bridge"
	case plan.IPVLAN:
		_, ok := b.Is.(plan.IPVLAN)
		return ok && is.Mode == "l2"
	}
	return false
}

// in is the frame coming by a device.
func (s *spreading) in(v *testbed.View, dev *testbed.Netdev, vlan int, behind *obstacle) error {
	if !dev.Up {
		behind = first(behind, v, dev.Name, trace.CauseDown)
	}
	programs, _, err := s.programs(v, dev, false)
	if err != nil {
		return err
	}
	for _, p := range programs {
		switch p.Does {
		case "vlan-pop":
			if vlan == p.VLAN {
				return s.in(v, v.Named(p.To), 0, behind)
			}
		case "port-ingress":
			entered, ok := enters(p, vlan)
			if !ok {
				behind = first(behind, v, dev.Name, trace.CauseProgram, "what", tag(vlan))
			}
			vlan = entered
		}
	}
	if dev.Master != 0 {
		bridge := v.Device(dev.Master)
		inside, ok := admits(bridge, dev, vlan)
		switch {
		case dev.Port.State != testbed.Forwarding:
			behind = first(behind, v, dev.Name, trace.CausePort)
		case !ok:
			behind = first(behind, v, dev.Name, trace.CauseVLAN, "what", tag(vlan))
		}
		return s.bridge(v, bridge, dev, inside, behind)
	}
	above, err := s.above(v, dev)
	if err != nil {
		return err
	}
	for _, a := range above {
		if is, ok := a.dev.Is.(plan.VLAN); ok && is.ID != vlan || !ok && vlan != 0 {
			continue
		}
		if err := s.in(a.v, a.dev, 0, behind); err != nil {
			return err
		}
	}
	if vlan != 0 {
		return nil
	}
	stop, err := s.heard(place{v, dev, behind})
	if stop && err == nil {
		err = errHeard
	}
	return err
}

// bridge is the frame inside a bridge, to which it came by a port, or from its own device.
func (s *spreading) bridge(v *testbed.View, bridge, from *testbed.Netdev, vlan int, behind *obstacle) error {
	if s.been[bridge] {
		return nil
	}
	s.been[bridge] = true
	if !bridge.Up {
		behind = first(behind, v, bridge.Name, trace.CauseDown)
	}
	var ports []*testbed.Netdev
	likely := map[*testbed.Netdev]bool{}
	for _, d := range v.Devices {
		if d.Master != bridge.Index || d == from {
			continue
		}
		ports = append(ports, d)
		if there, err := v.Behind(d); err == nil && there != v.Namespace && strings.HasPrefix(s.prefer+".", there+".") {
			likely[d] = true
		}
	}
	slices.SortStableFunc(ports, func(a, b *testbed.Netdev) int {
		switch {
		case likely[a] == likely[b]:
			return 0
		case likely[a]:
			return -1
		}
		return 1
	})
	if from != nil {
		if stop, err := s.heard(place{v, bridge, behind}); err != nil || stop {
			if err == nil {
				err = errHeard
			}
			return err
		}
	}
	for _, port := range ports {
		here := behind
		outside, ok := releases(bridge, port, vlan)
		switch {
		case port.Port.State != testbed.Forwarding:
			at, device, cause := s.blocked(v, port)
			here = first(here, at, device, cause)
		case !ok:
			here = first(here, v, port.Name, trace.CauseVLAN, "what", tag(vlan))
		case from != nil && from.Port.Isolated && port.Port.Isolated:
			here = first(here, v, port.Name, trace.CausePort)
		}
		if err := s.out(v, port, outside, here); err != nil {
			return err
		}
	}
	return nil
}

// blocked says why a port does not take part, and where that is.
func (w *walker) blocked(v *testbed.View, port *testbed.Netdev) (*testbed.View, string, trace.Cause) {
	switch {
	case !port.Up:
		return v, port.Name, trace.CauseDown
	case port.Carrier:
		return v, port.Name, trace.CausePort
	}
	if peer, there, err := w.peer(v, port); err == nil && !peer.Up {
		return there, peer.Name, trace.CauseDown
	}
	return v, port.Name, trace.CauseNoCarrier
}
