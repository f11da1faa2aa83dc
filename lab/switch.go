package lab

import (
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	defaultMTU = 1500
	minMTU     = 68 // RFC 791
	maxMTU     = 65535
	minMTU6    = 1280 // RFC 8200
)

func (l *loader) segment(b *hclsyntax.Block) *Switch {
	f := l.fields(b.Body, l.eval)
	s := &Switch{MTU: defaultMTU, Range: b.DefRange(), At: f.at}
	s.Subnets, _, _ = f.prefixes("subnet")
	for _, subnet := range s.Subnets {
		if subnet.IsSingleIP() {
			l.errorf(f.at["subnet"], "Subnet too small", "%s has room for one machine. Take a /30 at the least, or a /126 of IPv6.", subnet)
			s.Subnets = nil
			break
		}
	}
	if mtu, at, ok := f.integer("mtu", minMTU, maxMTU, " bytes"); ok {
		s.MTU = mtu
		for _, subnet := range s.Subnets {
			if subnet.Addr().Is6() && mtu < minMTU6 {
				l.errorf(at, "MTU too small for IPv6", "IPv6 needs an MTU of %d bytes at least, and the switch has the subnet %s.", minMTU6, subnet)
			}
		}
	}
	s.Impair = Impairment{Rate: f.rate("rate"), Delay: f.duration("delay"), Jitter: f.duration("jitter"), Loss: f.percent("loss")}
	if at, ok := f.at["jitter"]; ok && s.Impair.Jitter > 0 {
		if _, has := f.at["delay"]; !has {
			l.errorf(at, "Jitter without delay", "Jitter varies a delay. Add one: delay = \"10ms\".")
		} else if s.Impair.Delay > 0 && s.Impair.Jitter > s.Impair.Delay {
			l.errorf(at, "Jitter greater than delay", "A delay of %s cannot vary by %s: some packets would arrive before they were sent.", s.Impair.Delay, s.Impair.Jitter)
		}
	}
	if len(b.Labels) == 0 {
		return nil
	}
	s.Name = b.Labels[0]
	if !l.claim("switch", s.Name, b.LabelRanges[0]) {
		return nil
	}
	l.switches[s.Name] = s
	return s
}
