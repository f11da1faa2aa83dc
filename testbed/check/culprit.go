package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
	"labnet/testbed/predict"
)

// Culprit is what explains why checks fail: a place, and what to look at there.
type Culprit struct {
	Machine string `json:"machine"`
	Device  string `json:"device"` // empty where it is the machine as a whole
	Reason  string `json:"reason"`
	Command string `json:"command"`
	Pairs   int    `json:"pairs"` // that suffer from it

	checks []int // by their place among the report's
}

// find says for every failed check what the tables of the kernel say about its packet, and puts together what has one cause. The
// cause that explains most comes first.
func (r *run) find(ctx context.Context, checks []Check) ([]Culprit, error) {
	culprits := []Culprit{}
	if !slices.ContainsFunc(checks, func(c Check) bool { return !c.OK }) {
		return culprits, nil
	}
	type key struct{ machine, device, cause string }
	found := map[key]int{}
	err := testbed.Look(ctx, r.plan.Cluster.Name, func(views *testbed.Views) error {
		in := &inquiry{Predictor: predict.New(r.plan, views), ctx: ctx, plan: r.plan, due: r.due, agents: map[plan.Key]said{}, drift: map[string][]plan.Change{}}
		for i, c := range checks {
			if c.OK {
				continue
			}
			f, err := in.why(c)
			if err != nil {
				return err
			}
			if f == nil {
				continue
			}
			checks[i].Detail = fmt.Sprintf("%s%s; look at `%s`", f.prefix, f.Sentence, f.Command)
			k := key{f.Machine, f.Device, f.Reason + string(f.disposition)}
			if f.disposition == trace.TooBig {
				k.cause = string(trace.TooBig) // wherever a packet is too large for it
			}
			if f.disposition == trace.Lost || f.disposition == trace.LinkDown {
				k.cause = f.Sentence // whatever came of it
			}
			if whole[f.disposition] {
				k.device = ""
			}
			at, ok := found[k]
			if !ok {
				at = len(culprits)
				found[k] = at
				culprits = append(culprits, Culprit{Machine: f.Machine, Device: f.Device, Reason: f.Sentence, Command: f.Command})
			}
			culprits[at].checks = append(culprits[at].checks, i)
		}
		return nil
	})
	for i, c := range culprits {
		pairs := map[string]bool{}
		for _, at := range c.checks {
			pairs[checks[at].pair()] = true
		}
		culprits[i].Pairs = len(pairs)
	}
	slices.SortStableFunc(culprits, func(a, b Culprit) int { return cmp.Compare(b.Pairs, a.Pairs) })
	return culprits, err
}

func (c Check) pair() string { return c.From + " → " + c.To + " " + c.Family }

// whole are endings that are the machine's, by whichever device the packet came.
var whole = map[trace.Disposition]bool{trace.NotForwarded: true, trace.NoRoute: true, trace.Refused: true, trace.Loop: true, trace.SourceRefused: true,
	trace.Elsewhere: true}

// finding is what explains one failed check.
type finding struct {
	trace.Drop
	disposition trace.Disposition
	prefix      string // whether it is about the answer
}

// inquiry looks for culprits.
type inquiry struct {
	*predict.Predictor
	ctx      context.Context
	plan     *plan.Plan
	due      map[port]*due
	agents   map[plan.Key]said
	machines machines
	drift    map[string][]plan.Change // of machines at which services are translated
}

func (in *inquiry) why(c Check) (*finding, error) {
	switch {
	case c.promise != nil:
		return in.explainPromise(c)
	case c.publish != nil:
		return in.explainPublished(c.publish)
	case c.remembered != nil:
		return c.remembered.explain(), nil
	case c.service != nil:
		return in.explainService(c)
	}
	return in.explain(c)
}

// explain returns nil where the tables say that all is well.
func (in *inquiry) explain(c Check) (*finding, error) {
	p := c.of
	for _, e := range []*endpoint{p.from, p.to} {
		if e.err != nil {
			d := trace.Drop{Machine: e.Title, Sentence: e.err.Error() + "; `lab up` makes what is missing", Command: "ip -n " + e.Namespace + " address"}
			if errors.Is(e.err, os.ErrNotExist) {
				d.Sentence, d.Command = e.Title+" is not there; `lab up` makes it", "ip netns list"
			}
			return &finding{Drop: d, disposition: trace.Lost}, nil
		}
	}
	probe := predict.Probe{From: p.from.Namespace, To: p.to.Address, At: p.to.Namespace, Protocol: "udp", Port: p.to.port()}
	if c.Name == MTU {
		probe.Size, probe.DF = p.want.MTU, true
	}
	there, back, err := in.Exchange(in.ctx, probe, c.Name != MTU)
	if err != nil {
		return nil, err
	}
	if f := ended(there, ""); f != nil && (p.want.Reachable || p.want.OneWay) {
		return f, nil
	}
	switch c.Name {
	case Reach:
		if !p.want.Reachable {
			return unwanted(there, p), nil
		}
		if f := ended(back, "of the answer: "); f != nil {
			return f, nil
		}
	case Source:
		if f := translated(there, p); f != nil {
			return f, nil
		}
	case MTU:
		if there.Cut != nil {
			return &finding{Drop: *there.Cut, disposition: trace.TooBig}, nil
		}
		if f, err := in.widened(there); f != nil || err != nil {
			return f, err
		}
		fallthrough
	case Wire:
		if f := in.otherwise(there, p.from, p.want, ""); f != nil {
			return f, nil
		}
		if f := in.otherwise(back, p.to, p.plan.Expect(plan.Flow{From: p.to.Endpoint, To: p.from.Endpoint}), "of the answer: "); f != nil {
			return f, nil
		}
	}
	return in.doubled(p)
}

// ended is why a packet does not arrive.
func ended(w trace.Walk, prefix string) *finding {
	switch {
	case w.Blame != nil:
		return &finding{*w.Blame, trace.Lost, prefix}
	case w.Drop != nil:
		return &finding{*w.Drop, w.Disposition, prefix}
	}
	return nil
}

// unwanted is what connects two ends that must be apart: the first decision on the way that is not the sender's own.
func unwanted(w trace.Walk, p *probe) *finding {
	for _, apart := range []bool{true, false} {
		for _, h := range w.Hops {
			if h.Decision != nil && h.Decision.Route != "" && (h.Namespace != p.from.Namespace || !apart) {
				d := trace.Drop{Machine: h.Machine, Device: h.Device, Command: h.Command,
					Sentence: fmt.Sprintf("%s connects what must be apart: %s", h.Machine, h.Decision.Text)}
				return &finding{Drop: d, disposition: trace.Arrived}
			}
		}
	}
	return nil
}

// translated is what makes a receiver see another sender: a translation, or that the sender chose another address.
func translated(w trace.Walk, p *probe) *finding {
	for _, h := range w.Hops {
		if h.Decision != nil && h.Decision.NAT != "" {
			d := trace.Drop{Machine: h.Machine, Device: h.Device, Command: "ip netns exec " + h.Namespace + " nft list ruleset",
				Sentence: fmt.Sprintf("%s translates the packet: %s, by the rule %s", h.Machine, h.Decision.NAT, h.Decision.Firewall)}
			return &finding{Drop: d, disposition: trace.Arrived}
		}
	}
	if len(w.Hops) == 0 {
		return nil
	}
	h := w.Hops[0]
	if source := sourceOf(h.Headers); source != p.want.Source {
		d := trace.Drop{Machine: h.Machine, Device: h.Device, Command: h.Command, Sentence: fmt.Sprintf("%s chooses %s as its source address: %s", h.Machine, source, textOf(h))}
		return &finding{Drop: d, disposition: trace.Arrived}
	}
	return nil
}

func sourceOf(headers []packet.Header) netip.Addr {
	for _, h := range headers {
		if strings.HasPrefix(h.Protocol, "ipv") {
			a, _ := netip.ParseAddr(h.Source)
			return a
		}
	}
	return netip.Addr{}
}

func textOf(h trace.Hop) string {
	if h.Decision == nil {
		return ""
	}
	return h.Decision.Text
}

// widened is a device on the way with another MTU than the plan's, by which larger packets pass than promised.
func (in *inquiry) widened(w trace.Walk) (*finding, error) {
	for _, h := range w.Hops {
		l, ok := in.plan.State.Get(plan.Key{Namespace: h.Namespace, Kind: plan.KindLink, Name: h.Device}).(plan.Link)
		mtu, err := in.MTU(h.Namespace, h.Device)
		if err != nil {
			return nil, err
		}
		if ok && l.MTU != mtu {
			d := trace.Drop{Machine: h.Machine, Device: h.Device, Command: fmt.Sprintf("ip -n %s link show dev %s", h.Namespace, h.Device),
				Sentence: fmt.Sprintf("%s of %s carries %d bytes, and is to carry %d", h.Device, h.Machine, mtu, l.MTU)}
			return &finding{Drop: d, disposition: trace.TooBig}, nil
		}
	}
	return nil, nil
}

// otherwise is the decision by which a packet crosses the underlay in another way than promised.
func (in *inquiry) otherwise(w trace.Walk, sender *endpoint, want plan.Expectation, prefix string) *finding {
	node := sender.Node
	var decided *trace.Hop
	for i, h := range w.Hops {
		if h.Namespace == sender.Namespace || h.Namespace == node.Namespace {
			if h.Decision != nil && h.Decision.Route != "" && !encapsulated(h.Headers) {
				decided = &w.Hops[i]
			}
		}
		if h.Namespace != node.Namespace || h.Device != node.Uplink().Name || h.Direction != trace.Out {
			continue
		}
		got := encapsulation(h.Headers)
		if want.Wire && got == cmp.Or(want.Encap.Type, "none") && (want.Encap.Dst == netip.Addr{} || want.Encap.Dst == destinationOf(h.Headers)) {
			return nil
		}
		at := cmp.Or(decided, &w.Hops[i])
		d := trace.Drop{Machine: at.Machine, Device: h.Device, Command: at.Command,
			Sentence: fmt.Sprintf("%s sends it to %s with encapsulation %s, and %s is promised: %s", at.Machine, destinationOf(h.Headers), got, underlay(want), textOf(*at))}
		return &finding{d, trace.Arrived, prefix}
	}
	return nil
}

func destinationOf(headers []packet.Header) netip.Addr {
	for _, h := range headers {
		if strings.HasPrefix(h.Protocol, "ipv") {
			a, _ := netip.ParseAddr(h.Destination)
			return a
		}
	}
	return netip.Addr{}
}

// encapsulation is what is around a packet, as the plan calls it.
func encapsulation(headers []packet.Header) string {
	ip := 0
	for _, h := range headers {
		switch h.Protocol {
		case "vxlan", "vlan":
			return h.Protocol
		case "flannel-udp":
			return "udp"
		case "ipv4", "ipv6":
			ip++
		}
	}
	if ip > 1 {
		return "ipip"
	}
	return "none"
}

func encapsulated(headers []packet.Header) bool { return encapsulation(headers) != "none" }

// doubled is an address that somebody has besides the endpoint: whose packets come is then a matter of luck.
func (in *inquiry) doubled(p *probe) (*finding, error) {
	for _, e := range []*endpoint{p.to, p.from} {
		others, err := in.Holders(e.Address)
		if err != nil {
			return nil, err
		}
		for _, o := range others {
			if o.Namespace != e.Namespace {
				d := trace.CauseElsewhere.Drop(o.Machine, o.Namespace, o.Device, "to", e.Address.String())
				return &finding{Drop: d, disposition: trace.Elsewhere}, nil
			}
		}
	}
	return nil, nil
}
