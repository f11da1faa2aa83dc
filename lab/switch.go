package lab

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	defaultMTU = 1500
	minMTU     = 68 // RFC 791
	maxMTU     = 65535
	minMTU6    = 1280 // RFC 8200
	maxVLAN    = 4094 // IEEE 802.1Q
	maxVLANs   = 1024 // of a switch
)

// segments decodes a switch block into one switch per repetition.
func (l *loader) segments(b *hclsyntax.Block) []*Switch {
	instances, at := l.instances(file.blocks["switch"], b, l.eval)
	l.expanded(b, instances)
	var switches []*Switch
	for _, in := range instances {
		if l.exhausted() {
			break
		}
		s := l.segment(b, in.ctx)
		if in.dry {
			if len(b.Labels) > 0 {
				l.prefixes = append(l.prefixes, b.Labels[0])
			}
			continue
		}
		if s.Name = in.name; l.claim("switch", s.Name, at) {
			l.switches[s.Name] = s
			switches = append(switches, s)
		}
	}
	return switches
}

// mayBecomeSwitch reports whether a name may be that of a switch whose count or for_each is wrong.
func (l *loader) mayBecomeSwitch(name string) bool {
	return slices.ContainsFunc(l.prefixes, func(begin string) bool { return strings.HasPrefix(name, begin) })
}

func (l *loader) segment(b *hclsyntax.Block, ctx *hcl.EvalContext) *Switch {
	f := l.fields(file.blocks["switch"], b.Body, ctx)
	s := &Switch{MTU: defaultMTU, Range: b.DefRange(), At: f.at}
	s.Subnets = f.subnets()
	l.vlans(s, b, ctx)
	if mtu, at, ok := f.integer("mtu", minMTU, maxMTU, " bytes"); ok {
		s.MTU = mtu
		subnets := slices.Clone(s.Subnets)
		for _, v := range s.VLANs {
			subnets = append(subnets, v.Subnets...)
		}
		for _, subnet := range subnets {
			if subnet.Addr().Is6() && mtu < minMTU6 {
				l.errorf(at, "MTU too small for IPv6", "IPv6 needs an MTU of at least %d bytes, and the switch has the subnet %s.", minMTU6, subnet)
			}
		}
	}
	s.Wire = cmp.Or(f.word("wire", "wire model", Wires), WireSuper)
	s.Impair = f.impairment()
	return s
}

// subnets reads the subnets of a segment.
func (f *fields) subnets() []netip.Prefix {
	subnets, _, _ := f.prefixes("subnet")
	for _, subnet := range subnets {
		if subnet.IsSingleIP() {
			f.l.errorf(f.at["subnet"], "Subnet too small", "%s has room for one machine. Use at least a /30, or a /126 for IPv6.", subnet)
			return nil
		}
	}
	return subnets
}

// vlans decodes the VLANs of a switch.
func (l *loader) vlans(s *Switch, b *hclsyntax.Block, ctx *hcl.EvalContext) {
	for _, inner := range l.blocks(file.blocks["switch"], "vlan", b.Body, ctx) {
		f := l.fields(file.blocks["switch"].blocks["vlan"], inner.Body, inner.ctx)
		v := &VLAN{Range: inner.DefRange(), At: f.at, Subnets: f.subnets()}
		if len(inner.Labels) == 0 {
			continue
		}
		label, at := inner.Labels[0], inner.LabelRanges[0]
		id, err := strconv.Atoi(label)
		switch {
		case err != nil || strconv.Itoa(id) != label:
			l.errorf(at, "Invalid VLAN", "The label of a VLAN must be its number, from 1 to %d, not %q.", maxVLAN, shorten(label))
			continue
		case id < 1 || id > maxVLAN:
			l.errorf(at, "VLAN out of range", "The number of a VLAN must be from 1 to %d (IEEE 802.1Q), not %d.", maxVLAN, id)
			continue
		}
		if first := s.VLAN(id); first != nil {
			l.clash(at, first.Range, "Duplicate VLAN", "The switch already has a VLAN %d, at %s. Remove one of the two, or give it another number.", id)
			continue
		}
		if len(s.VLANs) == maxVLANs {
			l.errorf(at, "Too many VLANs", "A switch has at most %d VLANs.", maxVLANs)
			return
		}
		v.ID = id
		s.VLANs = append(s.VLANs, v)
	}
}
