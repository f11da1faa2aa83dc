package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labnet/lab"
	"labnet/lab/kubeproxy"
)

// ServiceFlow is what is asked of a service: what becomes of a client's connections to one of its addresses.
type ServiceFlow struct {
	From Endpoint
	Port kubeproxy.Port
	To   netip.AddrPort // a cluster IP or a load balancer's address and a port of it, or a node's address and a node port
	Node *Node          // whose node port it is; nil: it is none
}

// Name is how a person names what is asked: web:http.
func (f ServiceFlow) Name() string {
	return strings.TrimPrefix(f.Port.Service, "default/") + ":" + f.Port.Name
}

// ServiceExpectation is what is promised of connections to a service. Where it is neither refused nor lost the endpoints answer.
type ServiceExpectation struct {
	Refused  bool    // at once: nobody is behind the service
	Late     bool    // if it is refused, then perhaps late or never: see [Plan.redirected]
	Lost     string  // why no packet comes to a node that could translate it, or no answer comes back
	Unknown  string  // why nothing can be said of it
	At       *Node   // that translates
	Via      []*Node // machines that a client outside needs on the way to it
	Spread   Spread  // how connections are spread over the endpoints
	Backends []ServiceBackend
}

// Spread is how connections of a client are spread over endpoints, where it does not keep one.
type Spread int

const (
	ByLot  Spread = iota // each is as likely
	InTurn               // one after the other
	Chosen               // as a scheduler of IPVS chooses: often the same for a client, for all, or for a while
)

// spread is that of the lab's proxy.
func (p *Plan) spread() Spread {
	if p.Proxy != "ipvs" {
		return ByLot
	}
	switch p.Cluster.Lab.Services.Scheduler {
	case "rr", "wrr": // all have one weight
		return InTurn
	}
	return Chosen
}

// ServiceBackend is one of those who may answer.
type ServiceBackend struct {
	Address netip.AddrPort
	Endpoint
	Masqueraded bool         // it sees the node that translates
	Sources     []netip.Addr // it sees one of these as the client; empty where nothing is promised of it
}

// ServiceFlows are all connections that there can be to services: from every machine and pod to every address. There may be
// many millions, so that each is put together when it is looked at.
type ServiceFlows struct {
	Ports    []kubeproxy.Port // of IPv4, and then of IPv6, where a service has addresses of both
	families map[bool]flowFamily
	begin    []int // where the flows to a port begin, and behind the last where they end
}

// flowFamily is who there is in a family, IPv6 or not.
type flowFamily struct {
	clients []Endpoint
	nodes   []*Node // with node ports
}

// ServiceFlows returns them in the order of the ports, then of the clients.
func (p *Plan) ServiceFlows() *ServiceFlows {
	all := &ServiceFlows{families: map[bool]flowFamily{}, begin: []int{0}}
	everyone := p.Cluster.Everyone()
	for _, v6 := range []bool{false, true} {
		var family flowFamily
		for _, from := range everyone {
			if !from.Also && from.Address.Is6() == v6 {
				family.clients = append(family.clients, from)
			}
		}
		for _, n := range p.Cluster.Nodes {
			if n.Uplink().Address(v6).IsValid() {
				family.nodes = append(family.nodes, n)
			}
		}
		if all.families[v6] = family; len(family.clients) == 0 {
			continue
		}
		for _, port := range translated(p.Cluster, v6) {
			all.Ports = append(all.Ports, port)
			all.begin = append(all.begin, all.Len()+len(family.clients)*all.targets(port))
		}
	}
	return all
}

// of is the family of a port's addresses.
func (s *ServiceFlows) of(p kubeproxy.Port) flowFamily { return s.families[p.Address.Is6()] }

// Clients are those who can ask for a port, by its place.
func (s *ServiceFlows) Clients(port int) []Endpoint { return s.of(s.Ports[port]).clients }

// targets is how many addresses a port has.
func (s *ServiceFlows) targets(p kubeproxy.Port) int {
	n := 1
	if p.Balancer.IsValid() {
		n++
	}
	if p.NodePort != 0 {
		n += len(s.of(p).nodes)
	}
	return n
}

// Len is how many there are.
func (s *ServiceFlows) Len() int { return s.begin[len(s.begin)-1] }

// ToClusterIP is the place of the flow from a client to a port's cluster IP.
func (s *ServiceFlows) ToClusterIP(port, client int) int {
	return s.begin[port] + client*s.targets(s.Ports[port])
}

// At returns one of them.
func (s *ServiceFlows) At(i int) ServiceFlow {
	at, exact := slices.BinarySearch(s.begin, i)
	if !exact {
		at--
	}
	port := s.Ports[at]
	targets := s.targets(port)
	client, target := (i-s.begin[at])/targets, (i-s.begin[at])%targets
	f := ServiceFlow{From: s.of(port).clients[client], Port: port, To: netip.AddrPortFrom(port.Address, port.Port)}
	if target > 0 && port.Balancer.IsValid() {
		if target--; target == 0 {
			f.To = netip.AddrPortFrom(port.Balancer, port.Port)
			return f
		}
	}
	if target > 0 {
		f.Node = s.of(port).nodes[target-1]
		f.To = netip.AddrPortFrom(f.Node.Uplink().Address(port.Address.Is6()).Addr(), port.NodePort)
	}
	return f
}

// external reports whether it is asked for by an address that is meant for those outside.
func (f ServiceFlow) external() bool { return f.Node != nil || f.To.Addr() == f.Port.Balancer }

// ExpectService says what becomes of connections to a service, from what becomes of packets between machines and pods.
func (p *Plan) ExpectService(f ServiceFlow) ServiceExpectation {
	e := ServiceExpectation{Spread: p.spread()}
	v6 := f.To.Addr().Is6()
	if e.At, e.Via, e.Lost = p.translator(f); e.Lost != "" {
		return e
	}
	if len(f.Port.Endpoints) == 0 {
		e.Refused, e.Late = true, p.Proxy != "ipvs" && p.redirected(f)
		return e
	}
	at := endpointOf(e.At, v6)
	inside := f.From.Node == e.At
	everyone := p.Cluster.Everyone()
	own := func(i int) bool {
		return i >= 0 && everyone[i].Node == e.At && (everyone[i].Pod != nil || e.At.hosts())
	}
	owner := func(a netip.AddrPort) int {
		return slices.IndexFunc(everyone, func(to Endpoint) bool { return to.Address == a.Addr() })
	}
	local := f.Port.InternalLocal
	if f.external() {
		local = f.Port.ExternalLocal && (!inside || p.Proxy == "ipvs" || f.From.Bridged()) // whose address is none of the pods'
	}
	if local && p.Proxy == "ipvs" && !slices.ContainsFunc(f.Port.Endpoints, func(a netip.AddrPort) bool { return own(owner(a)) }) {
		local = false // it takes any then
		switch {
		case f.To.Addr() == f.Port.Balancer && f.From.Namespace == e.At.Namespace:
			e.Lost = fmt.Sprintf("none of its endpoints is on %s, and what that sends has the balancer's address for a source, which others have too", e.At.Name)
			return e
		case f.external() && !inside:
			e.Unknown = fmt.Sprintf("%s has no endpoint, and ipvs gives it to one of another node as from the client, whose answer does not pass %[1]s", e.At.Name)
			return e
		}
	}
	if local && !inside && f.external() && f.From.Pod != nil {
		e.Unknown = fmt.Sprintf("%s takes pods of other nodes for its own, and the answer would not pass it", e.At.Name)
		return e
	}
	for _, address := range f.Port.Endpoints {
		i := owner(address)
		if local && !own(i) {
			continue
		}
		if i < 0 {
			e.Unknown = fmt.Sprintf("nobody in the lab has %s", address.Addr())
			return e
		}
		b := ServiceBackend{Address: address, Endpoint: everyone[i]}
		// What the node delivers to itself leaves by no device, and so keeps its source.
		delivered := b.Namespace == e.At.Namespace && f.From.Namespace != e.At.Namespace
		if b.Masqueraded = p.masquerades(f, inside) && !delivered || b.Namespace == f.From.Namespace; b.Masqueraded {
			b.Sources = p.addressesOf(e.At, v6)
		}
		if f.From.Bridged() { // by the marks of some proxies it would come through
			if made := p.Expect(Flow{From: f.From, To: b.Endpoint, Protocol: f.Port.Protocol, Port: int(address.Port())}); !made.Reachable {
				e.Unknown = fmt.Sprintf("%s does not reach %s by itself: %s", f.From.Title, b.Title, made.Lost)
				return e
			}
		}
		var ways []Flow // that packets take
		switch {
		case b.Masqueraded:
			ways = []Flow{{From: at, To: b.Endpoint}}
		case inside:
			ways = []Flow{{From: f.From, To: b.Endpoint}}
		default:
			ways = []Flow{{From: f.From, To: at}, {From: at, To: b.Endpoint}}
		}
		for n, way := range ways {
			if way.From.Namespace == way.To.Namespace {
				continue
			}
			way.Protocol, way.Port = f.Port.Protocol, int(address.Port())
			made := p.Expect(way)
			if !made.Reachable {
				e.Unknown = fmt.Sprintf("%s does not reach %s by the definition", way.From.Title, way.To.Title)
				return e
			}
			if n == 0 && !b.Masqueraded && made.Source.IsValid() && !(delivered && p.Proxy == "ipvs") {
				b.Sources = []netip.Addr{made.Source}
			}
			if p.Proxy == "ipvs" && f.From.Namespace == e.At.Namespace { // it takes the service's address for a source, which is its own
				b.Sources = p.addressesOf(e.At, v6)
			}
		}
		e.Backends = append(e.Backends, b)
	}
	if astray := p.astray(f, e); len(astray) > 0 {
		why := fmt.Sprintf("%s sees %s as the client and answers it past %s", astray[0].Title, f.From.Title, e.At.Name)
		if len(astray) < len(e.Backends) {
			e.Unknown = why + ", while others do not"
		} else {
			e.Lost = why
		}
		e.Backends = nil
		return e
	}
	if len(e.Backends) == 0 {
		e.Lost = fmt.Sprintf("none of its endpoints is on %s, which drops it", e.At.Name)
	}
	return e
}

// masquerades reports whether endpoints see the node that translates, or else the client.
func (p *Plan) masquerades(f ServiceFlow, inside bool) bool {
	switch {
	case !f.external():
		return !ofCluster(f.From) || p.masqueradesAll()
	case f.Port.ExternalLocal:
		return inside && f.From.Pod == nil && p.Proxy != "ipvs"
	}
	return true
}

func endpointOf(n *Node, v6 bool) Endpoint {
	return Endpoint{Title: n.Name, Namespace: n.Namespace, Address: n.Uplink().Address(v6).Addr(), Node: n, Machine: n.Machine}
}

// translator is the node at which a connection to a service is translated: the first that its packets come to.
func (p *Plan) translator(f ServiceFlow) (at *Node, via []*Node, lost string) {
	v6 := f.To.Addr().Is6()
	machine := f.From.Machine
	switch {
	case f.Node != nil:
		return f.Node, nil, p.lost(f.From, f.Node, v6)
	case machine == nil:
		return f.From.Node, nil, ""
	case machine.Kind == lab.Node: // it needs a route, though none of its packets takes it
		if _, _, ok := p.walk.route(stop{machine: machine}, f.To.Addr()); !ok {
			return nil, nil, fmt.Sprintf("%s has no route to %s", f.From.Title, f.To.Addr())
		}
		return f.From.Node, nil, ""
	case f.external():
		n := p.announcer(f.To.Addr())
		if n == nil {
			return nil, nil, "no node answers for " + f.To.Addr().String()
		}
		return n, nil, p.lost(f.From, n, v6)
	}
	way := p.walk.walk(stop{machine: machine}, f.To.Addr())
	for _, s := range way.stops[1:] {
		if s.machine == nil {
			break
		}
		n := p.Cluster.carriers[s.machine]
		if n.Kind == lab.Node {
			return n, via, p.lost(f.From, n, v6)
		}
		via = append(via, n)
	}
	return nil, nil, way.lost
}

// announcer is the node that answers for a load balancer's address.
func (p *Plan) announcer(a netip.Addr) *Node {
	for _, s := range p.Cluster.Lab.Services.All {
		if s.External == a {
			n, _ := p.Cluster.Announcer(s)
			return n
		}
	}
	return nil
}

// redirected reports whether the node at which a connection from outside is refused would send it back where it came from, by its
// route for the address. Then the kernel first tells the client of a better way, an ICMP redirect, and by its limit on messages of
// ICMP has none left for the refusal (ip_rt_send_redirect and inet_peer_xrlim_allow count with the same tokens).
func (p *Plan) redirected(f ServiceFlow) bool {
	if f.external() || f.From.Pod != nil || f.From.Node.Kind == lab.Node {
		return false
	}
	way := p.walk.walk(stop{machine: f.From.Machine}, f.To.Addr())
	return len(way.legs) > 1 && way.stops[1].machine.Kind == lab.Node && way.legs[0].to.on == way.legs[1].from.on
}

// lost is why packets do not go from somebody to a node and back; empty where they do.
func (p *Plan) lost(from Endpoint, n *Node, v6 bool) string {
	if from.Node == n {
		return ""
	}
	e := p.Expect(Flow{From: from, To: endpointOf(n, v6)})
	if e.Reachable {
		return ""
	}
	if e.Lost == "" {
		return fmt.Sprintf("%s does not reach %s", from.Title, n.Name)
	}
	return e.Lost
}

// addressesOf are those of a machine's devices.
func (p *Plan) addressesOf(n *Node, v6 bool) []netip.Addr {
	return p.State.addressesOf(n.Namespace, v6)
}

// addressesOf are those of a namespace's devices, in their order.
func (s *State) addressesOf(namespace string, v6 bool) []netip.Addr {
	var all []netip.Addr
	s.In(namespace, func(o Object) {
		if a, ok := o.(Address); ok && a.Prefix.Addr().Is6() == v6 {
			all = append(all, a.Prefix.Addr())
		}
	})
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
