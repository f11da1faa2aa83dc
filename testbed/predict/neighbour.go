package predict

import (
	"errors"
	"fmt"
	"net/netip"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

const broadcast = "ff:ff:ff:ff:ff:ff"

// question is who has an address, asked at a device.
type question struct {
	namespace, device string
	address           netip.Addr
}

// answer is a neighbour as the machine knows it, or would once it had asked.
type answer struct{ mac, text string }

// neighbour finds the link-layer address of a next hop. Where the machine does not know it, those that would hear it ask are
// gone through, with what would keep them from hearing it.
func (w *walker) neighbour(v *testbed.View, out *testbed.Netdev, next, source netip.Addr, route string) (answer, error) {
	n, known, err := v.Neighbour(out, next)
	if err != nil {
		return answer{}, err
	}
	if known {
		w.asked = append(w.asked, asked{v, out, next, n.MAC})
		return answer{n.MAC, fmt.Sprintf("neighbour %s is %s %s", next, n.MAC, n.State)}, nil
	}
	q := question{v.Namespace, out.Name, next}
	if a, ok := w.met[q]; ok {
		return a, nil
	}
	sender := source
	if own, err := v.Route(testbed.Packet{To: next, Out: out.Index}); err == nil && own.Source.IsValid() {
		sender = own.Source
	}
	var found *answer
	var behind *obstacle
	var ears []place
	err = w.spread(v, out, 0, w.owner(next), nil, func(p place) (bool, error) {
		ears = append(ears, p)
		answers, err := w.answers(p, next, sender)
		switch {
		case err != nil || !answers:
			return false, err
		case p.behind != nil:
			if behind == nil {
				behind = p.behind
			}
			return false, nil
		}
		found = &answer{p.dev.MAC, fmt.Sprintf("neighbour %s is asked for; %s %s answers with %s", next, w.name(p.v), p.dev.Name, p.dev.MAC)}
		return true, nil
	})
	switch {
	case err != nil:
		return answer{}, err
	case found != nil:
		w.met[q] = *found
		return *found, nil
	case behind != nil:
		return answer{}, w.end(behind.v, behind.device, behind.cause, behind.words...)
	}
	if full, err := v.NeighboursFull(next.Is6()); err != nil || full != "" {
		return answer{}, errors.Join(err, w.end(v, out.Name, trace.CauseTableFull, "what", full))
	}
	w.unanswered, w.ears = next, ears
	if len(ears) == 1 && ears[0].behind == nil {
		only := ears[0]
		if _, pair := out.Is.(plan.Veth); pair && only.dev.Master == 0 {
			return answer{}, w.end(only.v, only.dev.Name, trace.CauseNoAnswer, "via", next.String(), "what", w.silence(only, next))
		}
	}
	if len(ears) == 1 && ears[0].behind != nil {
		o := ears[0].behind
		return answer{}, w.end(o.v, o.device, o.cause, o.words...)
	}
	led := ""
	if route != "" {
		led = ", to which route " + route + " leads"
	}
	return answer{}, w.end(v, out.Name, trace.CauseNoNeighbour, "via", next.String(), "what", led)
}

// silence says why a machine does not answer for an address that it does not have.
func (w *walker) silence(p place, a netip.Addr) string {
	if a.Is6() {
		return "it does not have the address, and was not told to answer for it"
	}
	return fmt.Sprintf("it does not have the address, and %s is 0", plan.Dotted("net/ipv4/conf/"+p.dev.Name+"/proxy_arp"))
}

// owner is where the plan has an address; that may be wrong, and is only where to look first.
func (p *Predictor) owner(a netip.Addr) string {
	if p.owners == nil {
		p.owners = map[netip.Addr]string{}
		p.plan.State.Each(func(o plan.Object) {
			if address, ok := o.(plan.Address); ok {
				p.owners[address.Prefix.Addr()] = address.Namespace
			}
		})
	}
	return p.owners[a]
}

// answers reports whether a machine answers an ARP request or neighbour solicitation for an address at a device.
func (w *walker) answers(p place, a, sender netip.Addr) (bool, error) {
	if a.Is6() {
		return w.answersIPv6(p, a)
	}
	if !p.dev.ARP {
		return false, nil
	}
	r, err := p.v.Route(testbed.Packet{To: a, From: sender, In: p.dev.Index})
	if err != nil {
		return false, nil // as the kernel has it: who cannot be answered is not answered
	}
	if r.Type == "local" {
		ignore, err := w.highest(p, "arp_ignore")
		if err != nil || ignore == 0 {
			return true, err
		}
		own, err := p.v.Addresses(p.dev.Index)
		return hasAddress(own, a), err
	}
	_, forwards, err := w.forwards(p.v, a, p.dev)
	if err != nil || !forwards || r.Type != "" || r.Out == p.dev {
		return false, err
	}
	if proxy, err := w.highest(p, "proxy_arp"); err != nil || proxy != 0 {
		return true, err
	}
	return p.v.AnswersFor(p.dev, a)
}

func (w *walker) highest(p place, setting string) (int, error) {
	all, err := p.v.Sysctl("net/ipv4/conf/all/" + setting)
	if err != nil {
		return 0, err
	}
	own, err := p.v.Sysctl("net/ipv4/conf/" + p.dev.Name + "/" + setting)
	return max(all, own), err
}

func (w *walker) answersIPv6(p place, a netip.Addr) (bool, error) {
	own, err := p.v.Addresses(p.dev.Index)
	if err != nil || hasAddress(own, a) {
		return err == nil, err
	}
	for _, path := range []string{"net/ipv6/conf/all/proxy_ndp", "net/ipv6/conf/" + p.dev.Name + "/proxy_ndp"} {
		if proxy, err := p.v.Sysctl(path); err != nil || proxy != 0 {
			if err != nil {
				return false, err
			}
			return p.v.AnswersFor(p.dev, a)
		}
	}
	return false, nil
}

func hasAddress(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Addr() == a {
			return true
		}
	}
	return false
}
