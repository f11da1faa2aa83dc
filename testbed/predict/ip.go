package predict

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// output is what a machine does with a packet of its own.
func (w *walker) output(v *testbed.View, d *datagram) error { return w.sendFrom(v, d, ask(d, 0)) }

// outputFor is a packet that a machine sends for another, whose address it does not have: the route is looked up without it
// (FLOWI_FLAG_ANYSRC in drivers/net/ipvlan/ipvlan_core.c).
func (w *walker) outputFor(v *testbed.View, d *datagram) error {
	question := ask(d, 0)
	question.From = netip.Addr{}
	return w.sendFrom(v, d, question)
}

func (w *walker) sendFrom(v *testbed.View, d *datagram, question testbed.Packet) error {
	r, err := v.Route(question)
	if err != nil {
		return w.noRoute(v, d, nil, err)
	}
	if !d.source.IsValid() {
		d.source = r.Source
	}
	if d.inner == nil && w.reply {
		w.undo(v, d)
	}
	before := *d
	if err := w.hooks(v, nft.Output, d, "", nameOf(r.Out)); err != nil {
		return err
	}
	if d.destination != before.destination || d.mark != before.mark {
		question.To, question.Mark, question.Dport = d.destination, d.mark, d.dport
		if r, err = v.Route(question); err != nil {
			return w.noRoute(v, d, nil, err)
		}
	}
	if r.Type == "local" {
		lo := v.Device(1)
		if balanced, err := w.balance(v, d, "", r); balanced || err != nil {
			return err
		}
		f := &frame{datagram: d}
		if _, err := w.hop(v, lo.Name, trace.Out, f); err != nil {
			return err
		}
		w.decide(routed(r), routeCommand(v, d, nil))
		if _, err := w.hop(v, lo.Name, trace.In, f); err != nil {
			return err
		}
		return w.deliver(v, lo, f)
	}
	if cause, ok := refusals[r.Type]; ok {
		return w.end(v, "", cause, "to", d.destination.String(), "from", d.source.String(), "what", r.Entry)
	}
	own := routed(r)
	w.routes = append(w.routes, taken{v, r.Match, r.Entry, d.destination})
	return w.send(v, r, d, &own, routeCommand(v, d, nil))
}

// refusals are the types of routes that lead nowhere.
var refusals = map[string]trace.Cause{"unreachable": trace.CauseUnreachable, "blackhole": trace.CauseBlackhole, "prohibit": trace.CauseProhibited}

func nameOf(d *testbed.Netdev) string {
	if d == nil {
		return ""
	}
	return d.Name
}

func ask(d *datagram, in int) testbed.Packet {
	return testbed.Packet{To: d.destination, From: d.source, In: in, Mark: d.mark, Protocol: d.protocol, Sport: d.sport, Dport: d.dport}
}

// routed says what a route decided.
func routed(r testbed.RouteAnswer) trace.Decision {
	text := "route " + r.Entry
	if r.Rule != "" {
		text += ", by rule " + r.Rule
	}
	if r.Multiple > 1 {
		text += fmt.Sprintf(" (one of %d equally good ways: %s)", r.Multiple, hopText(r))
	}
	return trace.Decision{Text: text, Route: r.Entry, Rule: r.Rule}
}

func hopText(r testbed.RouteAnswer) string {
	if r.Via.IsValid() {
		return "via " + r.Via.String() + " dev " + nameOf(r.Out)
	}
	return "dev " + nameOf(r.Out)
}

// routeCommand shows a packet's route.
func routeCommand(v *testbed.View, d *datagram, in *testbed.Netdev) string {
	words := []string{"ip -n", v.Namespace, "route get", d.destination.String()}
	if in != nil {
		words = append(words, "from", d.source.String(), "iif", in.Name)
	}
	if d.mark != 0 {
		words = append(words, fmt.Sprintf("mark %#x", d.mark))
	}
	return strings.Join(words, " ")
}

// noRoute ends a walk where the kernel has refused to route; in is nil for a packet of the machine's own.
func (w *walker) noRoute(v *testbed.View, d *datagram, in *testbed.Netdev, err error) error {
	words := []string{"to", d.destination.String(), "from", d.source.String()}
	device := nameOf(in)
	switch {
	case errors.Is(err, unix.ENETUNREACH):
		return w.end(v, device, trace.CauseNoRoute, words...)
	case errors.Is(err, unix.EACCES):
		return w.end(v, device, trace.CauseProhibited, words...)
	case errors.Is(err, unix.EHOSTUNREACH):
		if path, forwards, err := w.forwards(v, d.destination, in); err != nil {
			return err
		} else if in != nil && !forwards {
			return w.end(v, device, trace.CauseNoForward, append(words, "what", path)...)
		}
		return w.end(v, device, trace.CauseUnreachable, words...)
	case !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EXDEV):
		return fmt.Errorf("namespace %s: route to %s: %w", v.Namespace, d.destination, err)
	}
	// The kernel has one word for several things; the tables tell them apart.
	if in != nil {
		if back, err := v.Route(testbed.Packet{To: d.source}); err == nil && back.Type == "local" {
			if circle := w.circle(turn{namespace: v.Namespace}); w.passed(v) {
				return w.end(v, device, trace.CauseLoop, append(words, "what", circle)...)
			}
			return w.end(v, device, trace.CauseMartian, words...)
		}
		filtered, err := w.filtered(v, d, in)
		if err != nil {
			return err
		}
		if filtered {
			return w.end(v, device, trace.CauseRPFilter, words...)
		}
	}
	if own, err := v.Route(testbed.Packet{To: d.destination, Mark: d.mark}); errors.Is(err, unix.EINVAL) || own.Type == "blackhole" {
		return w.end(v, device, trace.CauseBlackhole, append(words, "what", "blackhole "+d.destination.String())...)
	}
	return w.end(v, device, trace.CauseInvalid, words...)
}

// filtered reports whether rp_filter throws a packet away: strictly, the way back has to be by the same device.
func (w *walker) filtered(v *testbed.View, d *datagram, in *testbed.Netdev) (bool, error) {
	all, err := v.Sysctl("net/ipv4/conf/all/rp_filter")
	if err != nil {
		return false, err
	}
	own, err := v.Sysctl("net/ipv4/conf/" + in.Name + "/rp_filter")
	if err != nil || max(all, own) == 0 {
		return false, err
	}
	back, err := v.Route(testbed.Packet{To: d.source})
	strict := max(all, own) == 1
	return err != nil || strict && back.Out != in, nil
}

// forwards reports whether packets that came by a device are passed on, and which sysctl says so.
func (w *walker) forwards(v *testbed.View, to netip.Addr, in *testbed.Netdev) (path string, ok bool, err error) {
	if in == nil {
		return "", true, nil
	}
	path = "net/ipv4/conf/" + in.Name + "/forwarding"
	if to.Is6() {
		path = "net/ipv6/conf/" + in.Name + "/forwarding"
	}
	n, err := v.Sysctl(path)
	if err != nil || n != 0 {
		return path, n != 0, err
	}
	whole := "net/ipv4/ip_forward"
	if to.Is6() {
		whole = "net/ipv6/conf/all/forwarding"
	}
	if n, err = v.Sysctl(whole); n == 0 {
		path = whole // as people set it
	}
	return plan.Dotted(path), false, err
}

// input is what a machine does with a frame that has come by a device.
func (w *walker) input(v *testbed.View, in *testbed.Netdev, f *frame) error {
	if in.MAC != "" && f.to != "" && f.to != in.MAC && f.to != broadcast {
		return w.end(v, in.Name, trace.CauseOtherHost, "mac", f.to, "what", in.MAC)
	}
	d := f.datagram
	if d.destination.Is6() {
		if off, err := v.Sysctl("net/ipv6/conf/" + in.Name + "/disable_ipv6"); err != nil || off != 0 {
			return errors.Join(err, w.end(v, in.Name, trace.CauseNoIPv6))
		}
	}
	if err := w.hooks(v, nft.Prerouting, d, in.Name, ""); err != nil {
		return err
	}
	if d.inner == nil && w.reply {
		w.undo(v, d)
	}
	r, err := v.Route(ask(d, in.Index))
	if err != nil {
		return w.noRoute(v, d, in, err)
	}
	w.decide(routed(r), routeCommand(v, d, in))
	w.routes = append(w.routes, taken{v, r.Match, r.Entry, d.destination})
	if r.Type == "local" {
		return w.deliver(v, in, f)
	}
	if cause, ok := refusals[r.Type]; ok {
		return w.end(v, in.Name, cause, "to", d.destination.String(), "from", d.source.String(), "what", r.Entry)
	}
	path, forwards, err := w.forwards(v, d.destination, in)
	if err != nil {
		return err
	}
	if !forwards {
		return w.end(v, in.Name, trace.CauseNoForward, "what", path)
	}
	here := turn{v.Namespace, in.Name, d.depth(), d.destination}
	if w.turns[here]++; w.turns[here] > 2 {
		return w.end(v, in.Name, trace.CauseLoop, "to", d.destination.String(), "what", w.circle(here))
	}
	if d.ttl <= 1 {
		return w.end(v, in.Name, trace.CauseExpired, "to", d.destination.String())
	}
	d.ttl--
	if err := w.hooks(v, nft.Forward, d, in.Name, nameOf(r.Out)); err != nil {
		return err
	}
	return w.send(v, r, d, nil, "")
}

// circle names the machines between the last two times that the packet was there.
func (w *walker) circle(here turn) string {
	var names []string
	for i := len(w.walk.Hops) - 1; i >= 0; i-- {
		h := w.walk.Hops[i]
		if len(names) == 0 || names[0] != h.Machine {
			names = append([]string{h.Machine}, names...)
		}
		if i < len(w.walk.Hops)-1 && h.Namespace == here.namespace && (here.device == "" && h.Direction == trace.Out || h.Device == here.device && h.Direction == trace.In) {
			break
		}
	}
	return strings.Join(names, " → ")
}

// passed reports whether the packet has left a machine before.
func (w *walker) passed(v *testbed.View) bool {
	return slices.ContainsFunc(w.walk.Hops, func(h trace.Hop) bool { return h.Namespace == v.Namespace && h.Direction == trace.Out })
}

// deliver is what a machine does with a packet for itself.
func (w *walker) deliver(v *testbed.View, in *testbed.Netdev, f *frame) error {
	if err := w.hooks(v, nft.Input, f.datagram, in.Name, ""); err != nil {
		return err
	}
	if balanced, err := w.balance(v, f.datagram, in.Name, testbed.RouteAnswer{}); balanced || err != nil {
		return err
	}
	if f.inner != nil {
		return w.decapsulate(v, in, f)
	}
	if w.at != "" && w.at != v.Namespace {
		return w.end(v, in.Name, trace.CauseElsewhere, "to", f.destination.String())
	}
	w.walk.Disposition, w.arrived, w.where = trace.Arrived, f.datagram.copy(), v.Namespace
	return errEnd
}

// send sends a packet by its route: what it may be too large for, what it has to be translated to, and to whom the frame goes.
// What was decided before is told beside the hop that follows.
func (w *walker) send(v *testbed.View, r testbed.RouteAnswer, d *datagram, own *trace.Decision, command string) error {
	out := r.Out
	if out == nil {
		return w.end(v, "", trace.CauseNoRoute, "to", d.destination.String())
	}
	mtu := out.MTU
	switch learnt := r.MTU != 0 && r.Match.MTU == 0; {
	case learnt && d.size > r.MTU: // where it was told so, is further on
		w.decide(trace.Decision{Text: fmt.Sprintf("it has learnt that no more than %d bytes pass", r.MTU)}, routeCommand(v, d, nil))
	case r.MTU != 0 && !learnt:
		mtu = r.MTU
	}
	if d.size > mtu {
		what := fmt.Sprintf("%d bytes by %s, which carries %d,", d.size, out.Name, mtu)
		if d.df || d.destination.Is6() && own == nil {
			return w.end(v, out.Name, trace.CauseTooBig, "what", what)
		}
		w.cut(v, out.Name, d.size, mtu)
		d.size = d.header() + (mtu-d.header())&^7
	}
	masqueraded := func() netip.Addr { return w.masquerade(v, out, r, d.destination) }
	if err := w.postrouting(v, d, out, masqueraded); err != nil {
		return err
	}
	if d.inner == nil && w.reply {
		w.restore(v, d)
	}
	f := &frame{datagram: d, from: out.MAC}
	var to trace.Decision
	var look string
	if out.ARP && out.MAC != "" {
		next := r.Via
		if !next.IsValid() {
			next = d.destination
		}
		n, err := w.neighbour(v, out, next, d.source, r.Entry)
		if err != nil {
			return err
		}
		f.to, to = n.mac, trace.Decision{Text: n.text, Neighbour: n.text}
		look = fmt.Sprintf("ip -n %s neighbour get %s dev %s", v.Namespace, next, out.Name)
	} else if out.MAC != "" {
		f.to = out.MAC
	}
	return w.transmit(v, out, f, func() {
		if own != nil {
			w.decide(*own, command)
		}
		w.decide(to, look)
	}, r.Via)
}

// cut notes where a packet was cut into fragments. What follows is the first of them.
func (w *walker) cut(v *testbed.View, device string, size, mtu int) {
	if w.walk.Cut == nil {
		drop := trace.CauseCut.Drop(w.name(v), v.Namespace, device, "what", fmt.Sprintf("%d bytes, since %s carries %d", size, device, mtu))
		w.walk.Cut = &drop
	}
}

// masquerade is the address that a packet gets which leaves by a device.
func (w *walker) masquerade(v *testbed.View, out *testbed.Netdev, r testbed.RouteAnswer, to netip.Addr) netip.Addr {
	next := r.Via
	if !next.IsValid() {
		next = to
	}
	addresses, err := v.Addresses(out.Index)
	if err != nil {
		return netip.Addr{}
	}
	var first netip.Addr
	for _, a := range addresses {
		if a.Addr().Is6() != to.Is6() || a.Addr().IsLinkLocalUnicast() != next.IsLinkLocalUnicast() {
			continue
		}
		if a.Masked().Contains(next) {
			return a.Addr()
		}
		if !first.IsValid() {
			first = a.Addr()
		}
	}
	if !first.IsValid() {
		return r.Source
	}
	return first
}
