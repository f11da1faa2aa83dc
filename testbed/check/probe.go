package check

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// probe is the checks of one pair.
type probe struct {
	*run
	from, to *endpoint
	want     plan.Expectation
	checks   []Check
}

// pair makes all checks of a pair. Where nothing arrives the others could only say the same again.
func (r *run) pair(ctx context.Context, from, to *endpoint) []Check {
	p := &probe{run: r, from: from, to: to, want: r.plan.Expect(plan.Flow{From: from.Endpoint, To: to.Endpoint})}
	f := r.journal.begin()
	defer f.end()
	if p.reach(ctx, f) && p.want.Reachable && !p.want.Spread {
		p.source(f)
		p.mtu(ctx)
		p.onUnderlay(f)
	}
	return p.checks
}

func familyOf(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

func (p *probe) report(name string, ok bool, expected, seen, detail string) {
	c := Check{of: p, Name: name, From: p.from.Title, To: p.to.Title, Family: familyOf(p.to.Address), OK: ok, Expected: expected, Seen: seen, Detail: detail}
	if ok {
		c.Detail = ""
	}
	p.checks = append(p.checks, c)
}

// send sends a packet of the flow, again and again until the flow is as wanted or time is up.
func (p *probe) send(ctx context.Context, f *flow, kind byte, size int, patience func() time.Duration, wanted func(*flow) bool) (bool, error) {
	data := f.payload(kind, size)
	to := netip.AddrPortFrom(p.to.Address, p.to.port())
	for start := time.Now(); ; {
		_, err := p.from.client.WriteToUDPAddrPort(data, to)
		if errors.Is(err, unix.EMSGSIZE) {
			return false, unix.EMSGSIZE
		}
		left := patience() - time.Since(start)
		if f.wait(ctx, min(p.again, left), wanted) {
			return true, nil
		}
		if left <= p.again || ctx.Err() != nil {
			return false, err
		}
	}
}

func answered(f *flow) bool { return f.answers > 0 }
func arrived(f *flow) bool  { return len(f.arrivals) > 0 }

func (p *probe) reach(ctx context.Context, f *flow) bool {
	patience, expected := p.answers, fmt.Sprintf("%s answers", p.to.Address)
	if p.to.Address.Is6() {
		usable := max(p.answer, time.Until(p.settled).Round(100*time.Millisecond))
		patience = func() time.Duration { return usable }
	}
	switch {
	case p.want.Reachable:
	case p.want.OneWay:
		patience, expected = p.silence, fmt.Sprintf("%s is reached, and its answer gets lost", p.to.Address)
	default:
		patience, expected = p.silence, fmt.Sprintf("%s is not reached", p.to.Address)
	}
	for _, e := range []*endpoint{p.from, p.to} {
		if e.err != nil {
			p.report(Reach, false, expected, e.err.Error(), "nothing can be sent; `lab up` makes what is missing")
			return false
		}
	}
	sent := time.Now()
	if p.want.OneWay {
		_, _ = p.send(ctx, f, request, headLen, p.answers, arrived) // whether it was lost is seen below
	}
	ok, err := p.send(ctx, f, request, headLen, patience, answered)
	took := time.Since(sent)
	p.drain()
	got := f.arrived()
	switch {
	case p.want.OneWay && ok:
		p.report(Reach, false, expected, fmt.Sprintf("an answer after %.1f ms", took.Seconds()*1e3), "something connects what the mode keeps apart")
	case p.want.OneWay && len(got) == 0:
		p.report(Reach, false, expected, "nothing arrived", p.trail(f, p.from, p.to, request))
	case p.want.OneWay:
		p.report(Reach, true, expected, fmt.Sprintf("a packet from %s arrived, and no answer came", got[0].from), "")
	case !p.want.Reachable && len(got) > 0:
		p.report(Reach, false, expected, fmt.Sprintf("a packet from %s arrived", got[0].from), "something connects what the mode keeps apart")
	case !p.want.Reachable:
		p.report(Reach, true, expected, "nothing arrived", "")
	case ok:
		p.heard(took)
		p.report(Reach, true, expected, fmt.Sprintf("an answer after %.1f ms", took.Seconds()*1e3), "")
	case err != nil:
		p.report(Reach, false, expected, "it cannot be sent: "+reason(err), "")
	case len(got) > 0:
		p.report(Reach, false, expected, fmt.Sprintf("the packet arrived, but no answer within %s", patience()), "of the answer: "+p.trail(f, p.to, p.from, answer))
	default:
		p.report(Reach, false, expected, fmt.Sprintf("nothing within %s", patience()), p.trail(f, p.from, p.to, request))
	}
	return ok
}

func (p *probe) source(f *flow) {
	if !p.want.Source.IsValid() {
		return
	}
	for _, a := range f.arrived() {
		if a.from != p.want.Source {
			p.report(Source, false, p.want.Source.String(), a.from.String(), "the sender's address is not the promised one: it was translated, or the sender chose another")
			return
		}
	}
	p.report(Source, true, p.want.Source.String(), p.want.Source.String(), "")
}

// mtu sends a packet of exactly the promised size, and one of a byte more, in one piece or not at all.
func (p *probe) mtu(ctx context.Context) {
	headers := 20 + 8
	if p.to.Address.Is6() {
		headers = 40 + 8
	}
	size := p.want.MTU
	expected := fmt.Sprintf("%d bytes pass whole, %d do not", size, size+1)
	onWire := size + p.want.Encap.Overhead
	if p.want.Wire {
		expected = fmt.Sprintf("%d bytes pass whole (%d on the underlay), %d do not", size, onWire, size+1)
	}
	fits, over := p.journal.begin(), p.journal.begin()
	defer fits.end()
	defer over.end()

	passed, err := p.send(ctx, fits, oneWay, size-headers, p.answers, arrived)
	p.drain()
	switch {
	case errors.Is(err, unix.EMSGSIZE):
		p.report(MTU, false, expected, fmt.Sprintf("%s itself refuses %d bytes", p.from.Title, size), "")
		return
	case !passed:
		p.report(MTU, false, expected, fmt.Sprintf("%d bytes do not arrive, though shorter packets do", size), p.trail(fits, p.from, p.to, oneWay))
		return
	}
	if seen, ok := p.inOne(fits, onWire); !ok {
		p.report(MTU, false, expected, fmt.Sprintf("%d bytes %s", size, seen), p.blind(p.from.Node))
		return
	}
	passed, err = p.send(ctx, over, oneWay, size+1-headers, p.silence, arrived)
	switch {
	case passed:
		p.report(MTU, false, expected, fmt.Sprintf("%d bytes arrive whole", size+1), "an MTU is higher than promised")
	case errors.Is(err, unix.EMSGSIZE):
		p.report(MTU, true, expected, fmt.Sprintf("%d pass, %d are refused by the sender", size, size+1), "")
	default:
		p.report(MTU, true, expected, fmt.Sprintf("%d pass, %d are dropped on the way", size, size+1), "")
	}
}

// inOne says whether a packet has left the sender's node in one frame, with a length of the IP packet as promised.
func (p *probe) inOne(f *flow, length int) (seen string, ok bool) {
	if !p.want.Wire {
		return "", true
	}
	frames := f.seen(p.from.Node, true, oneWay)
	if len(frames) == 0 {
		return "arrive, but are not seen on the underlay", false
	}
	for _, f := range frames {
		if f.Outer.Fragment {
			return fmt.Sprintf("cross the underlay in fragments, the first of %d bytes", f.Length), false
		}
		if f.Length != length {
			return fmt.Sprintf("are %d on the underlay", f.Length), false
		}
	}
	return "", true
}

// onUnderlay holds the frames of the request, and between pods those of the answer, against what is promised of them.
func (p *probe) onUnderlay(f *flow) {
	expected := underlay(p.want)
	ok, seen, detail := p.crossed(f, p.from, p.to, request, p.want)
	if ok && p.from.Pod != nil && p.to.Pod != nil && !p.from.Bridged() { // else it is its node that is answered
		back := p.plan.Expect(plan.Flow{From: p.to.Endpoint, To: p.from.Endpoint})
		if right, other, where := p.crossed(f, p.to, p.from, answer, back); !right {
			ok, expected, seen, detail = false, "of the answer: "+underlay(back), other, where
		}
	}
	p.report(Wire, ok, expected, seen, detail)
}

func underlay(e plan.Expectation) string {
	switch {
	case !e.Wire:
		return "nothing on the underlay"
	case e.Encap.Type == "":
		return "no encapsulation"
	}
	return e.Encap.String()
}

// crossed judges what the uplink of the sender's node sent.
func (p *probe) crossed(f *flow, sender, receiver *endpoint, kind byte, want plan.Expectation) (ok bool, seen, detail string) {
	device := sender.Node.Name + " " + sender.Node.Uplink().Name
	frames := f.seen(sender.Node, true, kind)
	for _, fr := range frames {
		if ok, why := wire.Matches(fr, want); !ok {
			return false, fmt.Sprintf("the frame that left %s %s", device, why), ""
		}
	}
	switch {
	case p.uplinks[sender.Node].err != nil:
		return false, "nothing could be seen", p.uplinks[sender.Node].err.Error()
	case !want.Wire && p.uplinks[sender.Node].lost > 0:
		return true, fmt.Sprintf("nothing, among the frames seen; the capture lost %d because of other traffic", p.uplinks[sender.Node].lost), ""
	case !want.Wire:
		return true, "nothing", ""
	case len(frames) == 0:
		return false, "no frame of it left " + device, p.blind(sender.Node) + "it arrived some other way"
	case want.Encap.Type == "":
		return true, "no encapsulation", ""
	}
	return true, frames[0].Encap.String(), ""
}

// drain has everything written down that has passed the two nodes' uplinks.
func (p *probe) drain() {
	p.uplinks[p.from.Node].drain(p.journal, p.ports)
	if p.to.Node != p.from.Node {
		p.uplinks[p.to.Node].drain(p.journal, p.ports)
	}
}
