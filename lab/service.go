package lab

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Services are the services of a cluster.
type Services struct {
	CIDR  netip.Prefix // that their addresses are of; IPv4
	CIDR6 netip.Prefix // those of IPv6; zero: they have none
	Proxy string       // one of [Proxies]: what translates them
	All   []*Service   // in the order of the file

	Scheduler     string // one of [Schedulers]: how ipvs chooses an endpoint
	MasqueradeAll bool   // also connections of pods
	NodePorts     Ports
	Range         hcl.Range
	At            Ranges
}

// CIDRs are the ranges that are valid.
func (s *Services) CIDRs() []netip.Prefix {
	return slices.DeleteFunc([]netip.Prefix{s.CIDR, s.CIDR6}, func(p netip.Prefix) bool { return !p.IsValid() })
}

// Service is one address for several endpoints.
type Service struct {
	Name      string
	Type      string     // one of [ServiceTypes]
	Address   netip.Addr // allocated where it was left out; a headless one has none
	Address6  netip.Addr // likewise, where services have addresses of IPv6
	External  netip.Addr // of its load balancer, on the underlay; allocated likewise
	Traffic   Traffic
	Ports     []*ServicePort
	Selector  map[string]string // nil where the endpoints are listed
	Endpoints []Backend         // those listed, or selected
	Range     hcl.Range
	At        Ranges
}

// ServicePort is a port of a service.
type ServicePort struct {
	Name     string
	Port     int
	Target   int    // the endpoints' port
	Protocol string // tcp, udp
	NodePort int    // 0: it has none
	Range    hcl.Range
	At       Ranges
}

// socket is a port of a protocol.
type socket struct {
	protocol string
	port     int
}

// Backend is what answers for a service: a pod of a node, or whoever has an address.
type Backend struct {
	Node, Pod string
	Address   netip.Addr // of one that is no pod
}

// Addresses are the service's own, one for each family that it has.
func (s *Service) Addresses() (all []netip.Addr) {
	for _, a := range []netip.Addr{s.Address, s.Address6} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// Types of services.
const (
	ClusterIP    = "ClusterIP"
	NodePort     = "NodePort"
	LoadBalancer = "LoadBalancer"
	Headless     = "Headless"
)

// Proxies lists what translates services: kube-proxy's modes.
var Proxies = []string{"nftables", "iptables", "ipvs"}

// Schedulers lists how ipvs chooses an endpoint: those that kube-proxy's documentation names.
var Schedulers = []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh"}

// ServiceTypes lists the types of services.
var ServiceTypes = []string{ClusterIP, NodePort, LoadBalancer, Headless}

const (
	defaultServices = "10.96.0.0/16"
	maxServiceBits  = 20 // the kube-apiserver takes no more
)

// services decodes what a lab says of its services, and gives them addresses and node ports.
func (l *loader) services(lab *Lab, settings, blocks []*hclsyntax.Block) {
	if len(settings) == 0 && len(blocks) == 0 {
		return
	}
	all := &Services{CIDR: netip.MustParsePrefix(defaultServices), Proxy: Proxies[0], Scheduler: Schedulers[0], NodePorts: usualNodePorts, At: Ranges{}}
	lab.Services = all
	if len(settings) > 0 {
		l.once(settings)
		f := l.fields(file.blocks["services"], settings[0].Body, l.eval)
		all.Range, all.At = settings[0].DefRange(), f.at
		all.CIDR, all.CIDR6 = f.serviceCIDRs(all.CIDR)
		all.Proxy = cmp.Or(f.word("proxy", "proxy", Proxies), all.Proxy)
		all.Scheduler = cmp.Or(f.word("scheduler", "scheduler", Schedulers), all.Scheduler)
		all.MasqueradeAll = f.yes("masquerade_all")
		all.NodePorts = f.ports("node_ports", usualNodePorts)
	} else {
		all.Range = blocks[0].DefRange()
	}
	for _, b := range blocks {
		instances, at := l.instances(file.blocks["service"], b, l.eval)
		for _, in := range instances {
			if l.exhausted() {
				break
			}
			spaces := l.spaces
			if s := l.service(lab, b, in, at); s != nil {
				all.All = append(all.All, s)
			}
			if in.dry {
				l.spaces = spaces
			}
		}
	}
	if len(blocks) > 0 && lab.Network == nil {
		l.errorf(blocks[0].DefRange(), "Services without a network", "Services lead to pods, and the file has no pod network. Add one:\n\n  network \"pods\" {\n    cidr = \"10.42.0.0/16\"\n  }")
	}
	l.serviceAddresses(all, all.CIDR, func(s *Service) *netip.Addr { return &s.Address })
	l.serviceAddresses(all, all.CIDR6, func(s *Service) *netip.Addr { return &s.Address6 })
	l.nodePorts(all)
}

// serviceCIDRs returns the range given where it is left out, and zero Prefixes where they are wrong.
func (f *fields) serviceCIDRs(usual netip.Prefix) (four, six netip.Prefix) {
	if _, given := f.at["cidr"]; !given {
		return usual, six
	}
	prefixes, places, ok := f.prefixes("cidr")
	for i, p := range prefixes {
		most := 30
		if p.Addr().Is6() {
			most, six = 126, p
		} else {
			four = p
		}
		if least := p.Addr().BitLen() - maxServiceBits; p.Bits() < least || p.Bits() > most {
			f.l.errorf(places[i], "Range out of bounds", "A range for services has from 2 to %d bits for them, a /%d to a /%d; %s is a /%d.", maxServiceBits, least, most, p, p.Bits())
			ok = false
		}
	}
	if ok && !four.IsValid() {
		f.l.errorf(places[0], "Services have IPv4 addresses", "%s is a range of IPv6. Give the services one of IPv4 too: cidr = [%q, %q].", six, defaultServices, six)
		ok = false
	}
	if !ok {
		return netip.Prefix{}, netip.Prefix{}
	}
	return four, six
}

// service returns nil where the service has no valid name.
func (l *loader) service(lab *Lab, b *hclsyntax.Block, in instance, at hcl.Range) *Service {
	shape := file.blocks["service"]
	f := l.fields(shape, b.Body, in.ctx)
	s := &Service{Type: cmp.Or(f.word("type", "type of service", ServiceTypes), ClusterIP), Range: b.DefRange(), At: f.at}
	s.address(l, f, lab.Services)
	l.traffic(s, f)
	l.backends(lab, s, f)
	l.selected(lab, s, f)
	names, numbers := map[string]hcl.Range{}, map[socket]hcl.Range{}
	inners := l.blocks(shape, "port", b.Body, in.ctx)
	for _, inner := range inners {
		p := l.servicePort(lab.Services, s, inner)
		if p == nil {
			continue
		}
		if first, ok := names[p.Name]; ok {
			l.clash(p.Range, first, "Duplicate port", "The service already has a port %q, at %s. Rename one of the two, or remove it.", p.Name)
			continue
		}
		if first, ok := numbers[socket{p.Protocol, p.Port}]; ok && p.Port != 0 {
			l.clash(p.At.Of("port", p.Range), first, "Duplicate port", "The service already has port %d of %s, at %s. Give one of the two another number.", p.Port, p.Protocol)
			continue
		}
		names[p.Name], numbers[socket{p.Protocol, p.Port}] = p.Range, p.At.Of("port", p.Range)
		s.Ports = append(s.Ports, p)
	}
	if len(inners) == 0 {
		l.errorf(missing(b.Body), "No port", "A service needs a port:\n\n  port \"http\" {\n    port   = 80\n    target = 8080\n  }")
	}
	if in.dry || !l.claim("service", in.name, at) {
		return nil
	}
	s.Name = in.name
	return s
}

// address reads those that are written, at most one of each family.
func (s *Service) address(l *loader, f *fields, all *Services) {
	addresses, places, _ := f.addresses("address")
	for i, a := range addresses {
		switch {
		case a.Is4():
			s.Address = a
		case all.CIDR6.IsValid() || !all.CIDR.IsValid():
			s.Address6 = a
		default:
			l.errorf(places[i], "Services have IPv4 addresses", "%s is an address of IPv6, and the services have a range of IPv4 only. Give them one of IPv6 too: services { cidr = [%q, \"fd00:96::/112\"] }.", a, all.CIDR)
		}
	}
}

func (l *loader) servicePort(all *Services, s *Service, b inner) *ServicePort {
	if len(b.Labels) == 0 || !l.checkName("port", b.Labels[0], b.LabelRanges[0]) {
		return nil
	}
	f := l.fields(file.blocks["service"].blocks["port"], b.Body, b.ctx)
	p := &ServicePort{Name: b.Labels[0], Range: b.DefRange(), At: f.at}
	const most = 65535
	p.Port, _, _ = f.integer("port", 1, most, "")
	p.Target, _, _ = f.integer("target", 1, most, "")
	p.Target = cmp.Or(p.Target, p.Port)
	p.Protocol = cmp.Or(f.word("protocol", "protocol", []string{"tcp", "udp"}), "tcp")
	node, at, ok := f.integer("node_port", all.NodePorts.First, all.NodePorts.Last, "")
	if ok && !s.Outside() {
		l.errorf(at, "Node port without the type", "Only a service with type = %q or %q has node ports. Give it that type, or remove this.", NodePort, LoadBalancer)
	}
	p.NodePort = node
	return p
}

// serviceAddresses gives those without an address of a range the first that is free.
func (l *loader) serviceAddresses(all *Services, cidr netip.Prefix, of func(*Service) *netip.Addr) {
	if !cidr.IsValid() {
		return
	}
	taken := map[netip.Addr]hcl.Range{}
	for _, s := range all.All {
		at := s.At.Of("address", s.Range)
		a := *of(s)
		switch other, ok := taken[a]; {
		case !a.IsValid():
			continue
		case !cidr.Contains(a):
			l.errorf(at, "Outside the services' range", "%s is not in %s, the range of the services. Use an address of it, or leave it out to have one allocated; services { cidr = \"…\" } sets the range.", a, cidr)
			continue
		case !l.host(a, cidr, cidr.String(), at):
			continue
		case ok:
			l.clash(at, other, "Duplicate address", "Another service has %s already, at %s. Give one of them another address, or leave it out to have one allocated.", a)
			continue
		}
		taken[a] = at
	}
	next := first(cidr)
	for _, s := range all.All {
		if of(s).IsValid() || s.Type == Headless {
			continue
		}
		for _, used := taken[next]; used; _, used = taken[next] {
			next = next.Next()
		}
		if next.Compare(last(cidr)) > 0 {
			l.errorf(s.Range, "No address left", "All addresses of %s, the range of the services, are taken. Use a larger one: services { cidr = \"…\" }.", cidr)
			return
		}
		*of(s), taken[next] = next, s.Range
	}
}

// nodePorts gives the ports of services that have node ports the first that are free.
func (l *loader) nodePorts(all *Services) {
	taken := map[socket]hcl.Range{}
	var without []*ServicePort
	for _, s := range all.All {
		if !s.Outside() {
			continue
		}
		for _, p := range s.Ports {
			k := socket{p.Protocol, p.NodePort}
			at, given := p.At["node_port"]
			switch first, ok := taken[k]; {
			case !given:
				without = append(without, p)
			case ok && p.NodePort != 0:
				l.clash(at, first, "Duplicate node port", "Another port has node port %d of %s already, at %s. Give one of them another, or leave it out to have one allocated.", p.NodePort, p.Protocol)
			default:
				taken[k] = at
			}
		}
	}
	next := map[string]int{"tcp": all.NodePorts.First, "udp": all.NodePorts.First}
	for _, p := range without {
		n := next[p.Protocol]
		for _, used := taken[socket{p.Protocol, n}]; used; _, used = taken[socket{p.Protocol, n}] {
			n++
		}
		if n > all.NodePorts.Last {
			l.errorf(p.Range, "No node port left", "All node ports of %s, from %d to %d, are taken. Allow more: services { node_ports = \"…\" }.", p.Protocol, all.NodePorts.First, all.NodePorts.Last)
			return
		}
		p.NodePort, next[p.Protocol] = n, n+1
	}
}

// WithServices returns the lab with others in the place of its services; with none it has no proxy either.
func (l *Lab) WithServices(all ...*Service) *Lab {
	other, services := *l, *l.Services
	services.All = all
	if other.Services = &services; len(all) == 0 {
		other.Services = nil
	}
	return &other
}
