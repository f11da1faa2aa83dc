package predict

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
	"labnet/testbed/agent/udp"
)

// around is a datagram around another packet.
func around(inner *frame, tunnel string, protocol uint8, source, destination netip.Addr, between int) *datagram {
	d := &datagram{source: source, destination: destination, protocol: protocol, ttl: 64, mark: inner.mark, inner: inner, tunnel: tunnel}
	d.size = d.header() + between + inner.length()
	return d
}

// put says what was put around a packet.
func put(d *datagram, name, by string) trace.Decision {
	text := fmt.Sprintf("%s: %d bytes around it, to %s", name, d.size-d.inner.size, d.destination)
	if by != "" {
		text = by + "; " + text
	}
	return trace.Decision{Text: text, Tunnel: fmt.Sprintf("%s +%d bytes to %s", name, d.size-d.inner.size, d.destination)}
}

// off says what was taken off a packet.
func off(name string, f *frame) trace.Decision {
	text := fmt.Sprintf("%s: %d bytes are taken off", name, f.size-f.inner.size)
	return trace.Decision{Text: text, Tunnel: fmt.Sprintf("%s -%d bytes", name, f.size-f.inner.size)}
}

// vxlan is a frame that leaves by a VXLAN device.
func (w *walker) vxlan(v *testbed.View, dev *testbed.Netdev, is plan.VXLAN, f *frame) error {
	e, known, err := v.TunnelEntry(dev, f.to)
	if err == nil && !known {
		e, known, err = v.TunnelEntry(dev, "00:00:00:00:00:00") // where what is not known goes
	}
	if err != nil {
		return err
	}
	command := fmt.Sprintf("bridge -n %s fdb show dev %s", v.Namespace, dev.Name)
	if !known {
		return w.end(v, dev.Name, trace.CauseNoFDB, "mac", f.to)
	}
	w.sent, w.tunnelled = &sent{v, dev, f.to, e.To}, v.Namespace
	inner := *f
	inner.datagram = f.copy()
	outer := around(&inner, "vxlan", unix.IPPROTO_UDP, is.Local, e.To, 8+8)
	outer.dport, outer.vni = uint16(is.Port), is.VNI
	entry := fmt.Sprintf("%s dst %s", f.to, e.To)
	d := put(outer, fmt.Sprintf("vxlan vni %d", is.VNI), "fdb "+entry)
	d.FDB = entry
	w.decide(d, command)
	return w.output(v, outer)
}

// ipip is a packet that leaves by a tunnel of IP in IP; its far end is the next hop, where the tunnel has none.
func (w *walker) ipip(v *testbed.View, dev *testbed.Netdev, is plan.IPIP, f *frame, via netip.Addr) error {
	to := is.Remote
	if !to.IsValid() {
		to = via
	}
	if !to.IsValid() {
		to = f.destination
	}
	inner := &frame{datagram: f.copy()}
	outer := around(inner, "ipip", unix.IPPROTO_IPIP, is.Local, to, 0)
	outer.ttl, outer.df = f.ttl, f.df
	w.decide(put(outer, "ipip", ""), fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, dev.Name))
	return w.output(v, outer)
}

// encapsulated is a packet that a program at a device puts into IP in IP. From there it goes on by the routes alone: the
// firewall does not see it.
func (w *walker) encapsulated(v *testbed.View, dev *testbed.Netdev, p plan.Program, f *frame, via netip.Addr) error {
	if !via.IsValid() {
		via = f.destination
	}
	inner := &frame{datagram: f.copy()}
	outer := around(inner, "ipip", unix.IPPROTO_IPIP, p.Local, via, 0)
	outer.ttl, outer.df = f.ttl, f.df
	w.decide(put(outer, "ipip", "the program at "+dev.Name), fmt.Sprintf("tc -n %s filter show dev %s egress", v.Namespace, dev.Name))
	r, err := v.Route(testbed.Packet{To: outer.destination, From: outer.source})
	if err != nil {
		return w.noRoute(v, outer, nil, err)
	}
	if r.Out == nil || r.Type != "" {
		return w.end(v, dev.Name, trace.CauseNoRoute, "to", outer.destination.String())
	}
	next := r.Via
	if !next.IsValid() {
		next = outer.destination
	}
	n, err := w.neighbour(v, r.Out, next, outer.source, r.Entry)
	if err != nil {
		return err
	}
	own := routed(r)
	return w.transmit(v, r.Out, &frame{from: r.Out.MAC, to: n.mac, datagram: outer}, func() {
		w.decide(own, routeCommand(v, outer, nil))
		w.decide(trace.Decision{Text: n.text, Neighbour: n.text}, "")
	}, r.Via)
}

// agent finds the process that carries packets over UDP, as the plan has it.
func (w *walker) agent(v *testbed.View) (plan.Agent, *udp.Proxy, bool) {
	a, ok := w.plan.State.Get(plan.Key{Namespace: v.Namespace, Kind: plan.KindAgent, Name: "udp"}).(plan.Agent)
	if !ok {
		return a, nil, false
	}
	p, err := udp.New([]byte(a.Config))
	return a, p, err == nil
}

// agentSends is a packet that comes out of a TUN device into a process, which sends it on over UDP.
func (w *walker) agentSends(v *testbed.View, a plan.Agent, proxy *udp.Proxy, f *frame) error {
	p := proxy.Config()
	if runs, err := v.Runs(a); err != nil {
		return err
	} else if !runs {
		return w.end(v, p.Device, trace.CauseNoAgent, "what", a.Name)
	}
	for _, r := range p.Routes {
		if !r.To.Contains(f.destination) {
			continue
		}
		inner := &frame{datagram: f.copy()}
		if inner.ttl <= 1 {
			return w.end(v, p.Device, trace.CauseExpired, "to", f.destination.String())
		}
		inner.ttl--
		outer := around(inner, "flannel-udp", unix.IPPROTO_UDP, p.Local, r.Via, 8)
		outer.sport, outer.dport, outer.mark = uint16(p.Port), uint16(p.Port), 0
		w.decide(put(outer, "udp", fmt.Sprintf("the agent has %s at %s", r.To, r.Via)), "lab status")
		return w.output(v, outer)
	}
	return w.end(v, p.Device, trace.CauseAgentRoute, "to", f.destination.String())
}

// decapsulate takes off what a tunnel has put around a packet, at the machine that it was sent to.
func (w *walker) decapsulate(v *testbed.View, in *testbed.Netdev, f *frame) error {
	switch f.tunnel {
	case "vxlan":
		listens := false
		for _, d := range v.Devices {
			is, ok := d.Is.(plan.VXLAN)
			if !ok || is.Port != int(f.dport) || is.Local.IsValid() && is.Local.Is6() != f.destination.Is6() {
				continue
			}
			if !d.Up {
				return w.end(v, d.Name, trace.CauseDown)
			}
			if listens = true; is.VNI == f.vni {
				w.decide(off(fmt.Sprintf("vxlan vni %d", f.vni), f), fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, d.Name))
				return w.receive(v, d, f.inner)
			}
		}
		if listens {
			return w.end(v, in.Name, trace.CauseVNI, "what", fmt.Sprintf("VNI %d", f.vni))
		}
		return w.end(v, in.Name, trace.CauseNoSocket, "what", fmt.Sprintf("UDP port %d", f.dport))
	case "ipip":
		for _, d := range v.Devices {
			is, ok := d.Is.(plan.IPIP)
			if !ok || !d.Up || is.Local.IsValid() && is.Local != f.destination || is.Remote.IsValid() && is.Remote != f.source {
				continue
			}
			w.decide(off("ipip", f), fmt.Sprintf("ip -n %s -d link show dev %s", v.Namespace, d.Name))
			return w.receive(v, d, f.inner)
		}
		return w.end(v, in.Name, trace.CauseNoIPIP, "from", f.source.String())
	}
	a, proxy, ok := w.agent(v)
	if ok = ok && proxy.Config().Port == int(f.dport); ok {
		var err error
		if ok, err = v.Runs(a); err != nil {
			return err
		}
	}
	if !ok {
		return w.end(v, in.Name, trace.CauseNoAgent, "what", "udp")
	}
	p := proxy.Config()
	tun := v.Named(p.Device)
	if tun == nil {
		return w.end(v, in.Name, trace.CauseNoAgent, "what", "udp")
	}
	w.decide(off("udp", f), "lab status")
	if f.inner.ttl <= 1 {
		return w.end(v, p.Device, trace.CauseExpired, "to", f.inner.destination.String())
	}
	f.inner.ttl--
	return w.receive(v, tun, f.inner)
}
