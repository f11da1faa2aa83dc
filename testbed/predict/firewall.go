package predict

import (
	"fmt"
	"net/netip"
	"strings"

	"labnet/lab/nft"
	"labnet/lab/trace"
	"labnet/testbed"
)

// hooks takes a packet through the firewall's chains of one hook.
func (w *walker) hooks(v *testbed.View, hook uint32, d *datagram, in, out string) error {
	return w.filter(v, hook, d, in, out, nil)
}

func (w *walker) postrouting(v *testbed.View, d *datagram, out *testbed.Netdev, masqueraded func() netip.Addr) error {
	return w.filter(v, nft.Postrouting, d, "", out.Name, masqueraded)
}

func (w *walker) filter(v *testbed.View, hook uint32, d *datagram, in, out string, masqueraded func() netip.Addr) error {
	rules, err := v.Firewall()
	if err != nil {
		return fmt.Errorf("firewall of %s: %w", v.Namespace, err)
	}
	if len(rules.Chains) == 0 {
		return nil
	}
	p := &nft.Packet{
		Source: d.source, Destination: d.destination, Protocol: d.protocol, Sport: d.sport, Dport: d.dport, ICMPType: d.icmpType(), TTL: uint8(d.ttl), DF: d.df,
		Length: d.size, Mark: d.mark, In: in, Out: out, Established: w.reply && d.inner == nil, Untracked: d.untracked,
		Local: func(a netip.Addr) bool {
			r, err := v.Route(testbed.Packet{To: a})
			return err == nil && r.Type == "local"
		},
	}
	o := rules.Evaluate(hook, p)
	command := fmt.Sprintf("ip netns exec %s nft list ruleset", v.Namespace)
	if len(o.May) > 0 {
		w.open = true
		w.decide(trace.Decision{Text: "a rule may decide otherwise: " + strings.Join(o.May, "; "), Firewall: trace.May + strings.Join(o.May, "; ")}, command)
	}
	if o.Dropped {
		if !w.open { // else it may have been translated
			w.decide(trace.Decision{Text: "refused by " + o.Rule, Firewall: o.Rule}, command)
		}
		device := in
		if device == "" {
			device = out
		}
		return w.end(v, device, trace.CauseFirewall, "what", o.Rule)
	}
	was := d.flow()
	d.source, d.destination, d.sport, d.dport, d.mark, d.untracked = p.Source, p.Destination, p.Sport, p.Dport, p.Mark, p.Untracked
	if o.By == nft.Masquerades && masqueraded != nil {
		if a := masqueraded(); a.IsValid() {
			d.source = a
		}
	}
	if is := d.flow(); is != was {
		w.links[v.Namespace] = append(w.links[v.Namespace], link{was, is})
		text := change("source", was.source, was.sport, is.source, is.sport) + change("destination", was.destination, was.dport, is.destination, is.dport)
		w.decide(trace.Decision{Text: text + "by " + o.NAT, NAT: strings.TrimSpace(text), Firewall: o.NAT}, command)
	}
	return nil
}

func change(what string, was netip.Addr, sport uint16, is netip.Addr, port uint16) string {
	switch {
	case was == is && sport == port:
		return ""
	case sport == port:
		return fmt.Sprintf("%s %s becomes %s ", what, was, is)
	}
	return fmt.Sprintf("%s %s becomes %s ", what, netip.AddrPortFrom(was, sport), netip.AddrPortFrom(is, port))
}

func (d *datagram) icmpType() uint8 {
	switch {
	case d.destination.Is6() && d.icmpEcho:
		return 129
	case d.destination.Is6():
		return 128
	case d.icmpEcho:
		return 0
	}
	return 8
}

// undo gives an answer the destination that belongs to its connection, as connection tracking does before it is routed.
func (w *walker) undo(v *testbed.View, d *datagram) {
	for _, l := range w.links[v.Namespace] {
		if l.is.protocol == d.protocol && l.is.source == d.destination && l.is.destination == d.source && l.is.sport == d.dport && l.is.dport == d.sport && l.was.source != d.destination {
			w.decide(trace.Decision{Text: fmt.Sprintf("destination %s becomes %s, as its connection has it", d.destination, l.was.source), NAT: fmt.Sprintf("destination %s becomes %s", d.destination, l.was.source)}, fmt.Sprintf("conntrack -L # in %s", v.Namespace))
			d.destination, d.dport = l.was.source, l.was.sport
		}
	}
}

// restore gives an answer the source that belongs to its connection, when it leaves.
func (w *walker) restore(v *testbed.View, d *datagram) {
	for _, l := range w.links[v.Namespace] {
		if l.was.protocol == d.protocol && l.was.source == d.destination && l.is.destination == d.source && l.was.destination != d.source {
			w.decide(trace.Decision{Text: fmt.Sprintf("source %s becomes %s, as its connection has it", d.source, l.was.destination), NAT: fmt.Sprintf("source %s becomes %s", d.source, l.was.destination)}, fmt.Sprintf("conntrack -L # in %s", v.Namespace))
			d.source, d.sport = l.was.destination, l.was.dport
		}
	}
}
