package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Traffic says which endpoint of a service a client gets.
type Traffic struct {
	Affinity      string // [ClientIP]: for some time a client keeps the one that it had. Empty: it does not
	InternalLocal bool   // one of the client's own node, for what is sent to the service's address
	ExternalLocal bool   // one of the node where it comes in, for what is sent to a node port or a load balancer
}

// ClientIP is the one affinity there is.
const ClientIP = "ClientIP"

const (
	anywhere = "Cluster"
	local    = "Local"
)

// Outside reports whether the service can be reached at the nodes' own addresses.
func (s *Service) Outside() bool { return s.Type == NodePort || s.Type == LoadBalancer }

// traffic decodes who gets which endpoint, and what only some types of services have.
func (l *loader) traffic(s *Service, f *fields) {
	s.Traffic.Affinity = f.word("affinity", "affinity", []string{ClientIP, "None"})
	if s.Traffic.Affinity == "None" {
		s.Traffic.Affinity = ""
	}
	policies := []string{anywhere, local}
	s.Traffic.InternalLocal = f.word("internal_traffic", "policy", policies) == local
	s.Traffic.ExternalLocal = f.word("external_traffic", "policy", policies) == local
	if text, at, ok := f.text("external_address"); ok {
		if a, ok := l.address(item{text, at}); ok {
			s.External = a
		}
	}
	wrong := func(name, types, why string) {
		if at, given := f.at[name]; given {
			l.errorf(at, "Attribute without the type", "%s: only a service with type = %s has it. Give it that type, or remove %s.", why, types, name)
		}
	}
	if !s.Outside() {
		wrong("external_traffic", fmt.Sprintf("%q or %q", NodePort, LoadBalancer), "external_traffic is about what comes from outside")
	}
	if s.Type != LoadBalancer {
		wrong("external_address", strconv.Quote(LoadBalancer), "external_address is that of a load balancer")
	}
	if s.Type == Headless {
		for _, name := range []string{"address", "affinity", "internal_traffic"} {
			if at, given := f.at[name]; given {
				l.errorf(at, "Headless service", "A headless service has no address of its own: its name stands for the addresses of its endpoints, and nothing is translated. Remove %s, or give it another type.", name)
			}
		}
		s.Address, s.Address6 = netip.Addr{}, netip.Addr{}
	}
}

// Ports is a range of port numbers.
type Ports struct{ First, Last int }

var usualNodePorts = Ports{30000, 32767}

// ports reads a range of port numbers.
func (f *fields) ports(name string, usual Ports) Ports {
	text, at, ok := f.text(name)
	if !ok {
		return usual
	}
	from, to, _ := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || first < 1 || last > 65535 || last < first {
		f.l.errorf(at, "Invalid range of ports", "%q is not a range of port numbers from 1 to 65535. Write it as \"%d-%d\".", shorten(text), usual.First, usual.Last)
		return usual
	}
	return Ports{first, last}
}

// yes reads true or false; what is left out is false.
func (f *fields) yes(name string) bool {
	v, at, ok := f.get(name)
	if !ok {
		return false
	}
	if v.Type() != cty.Bool {
		f.l.errorf(at, "Wrong type", "%q must be true or false, not %s.", name, kindOf(v))
		return false
	}
	return v.True()
}

// balancers gives load balancers addresses of the underlay: those that are written, which must be of a segment that has a
// node and be nobody's, and else the highest that is free where the first node is.
func (l *loader) balancers(lab *Lab) {
	if lab.Services == nil {
		return
	}
	taken := map[netip.Addr]string{}
	var subnets []netip.Prefix // of segments with nodes
	for _, m := range lab.Machines {
		for _, i := range m.Interfaces {
			for _, a := range i.Addresses {
				taken[a.Addr()] = m.Name
				if m.Kind == Node && a.Addr().Is4() {
					subnets = append(subnets, a.Masked())
				}
			}
		}
	}
	places := map[netip.Addr]hcl.Range{}
	var without []*Service
	for _, s := range lab.Services.All {
		if s.Type != LoadBalancer {
			continue
		}
		at, given := s.At["external_address"]
		if !given {
			without = append(without, s)
			continue
		}
		if !s.External.IsValid() {
			continue
		}
		in := netip.Prefix{}
		for _, p := range subnets {
			if p.Contains(s.External) {
				in = p
			}
		}
		switch first, twice := places[s.External]; {
		case !in.IsValid():
			l.errorf(at, "Outside the underlay", "%s is not in a subnet of IPv4 that a node is in, so that no node could answer for it. Use an address beside the nodes', or leave it out to have one allocated.", s.External)
		case !l.host(s.External, in, in.String(), at):
		case taken[s.External] != "":
			l.errorf(at, "Duplicate address", "%s has %s already. Use another address, or leave it out to have one allocated.", taken[s.External], s.External)
		case twice:
			l.clash(at, first, "Duplicate address", "Another service has %s already, at %s. Give one of them another address, or leave it out to have one allocated.", s.External)
		default:
			places[s.External] = at
		}
	}
	for _, s := range without {
		if len(subnets) == 0 {
			continue // without nodes there is more to say, and it is said
		}
		next := last(subnets[0])
		for taken[next] != "" || places[next] != (hcl.Range{}) {
			next = next.Prev()
		}
		if !subnets[0].Contains(next) || next.Less(first(subnets[0])) {
			l.errorf(s.Range, "No address left", "All addresses of %s, where the first node is, are taken; a load balancer needs one. Use a larger subnet.", subnets[0])
			return
		}
		s.External, places[next] = next, s.Range
	}
}
