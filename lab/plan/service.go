package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/kubeproxy"
	"labnet/lab/nft"
)

// services is the layer of kube-proxy: each node translates what is sent to a service.
type services struct {
	plan *Plan
	net  *Net
}

// chosenProxy is what translates the lab's services.
func chosenProxy(l *lab.Lab, opt Options) (string, hcl.Diagnostics) {
	var d *hcl.Diagnostic
	switch {
	case l.Services == nil && opt.Proxy == "":
		return "", nil
	case l.Services == nil:
		d = &hcl.Diagnostic{Summary: "No services", Subject: l.Range.Ptr(), Detail: fmt.Sprintf("A proxy was asked for, but lab %q has no services. Add one, or leave the proxy out.", l.Name)}
	case opt.Proxy != "" && !slices.Contains(lab.Proxies, opt.Proxy):
		d = &hcl.Diagnostic{Summary: "Unknown proxy", Detail: fmt.Sprintf("There is no proxy %q.%s", opt.Proxy, lab.Suggest(opt.Proxy, lab.Proxies, "There are"))}
	default:
		return cmp.Or(opt.Proxy, l.Services.Proxy), nil
	}
	d.Severity = hcl.DiagError
	return "", hcl.Diagnostics{d}
}

func (l services) Needs(c *Cluster) []Need {
	at := c.Lab.Services.At.Of("proxy", c.Lab.Services.Range)
	needs := []Need{{Feature: FeatureNFTables, By: "services", At: c.Lab.Services.Range}}
	if l.plan.Proxy == "nftables" {
		return needs
	}
	by := fmt.Sprintf("services with proxy = %q", l.plan.Proxy)
	needs = append(needs, Need{Feature: FeatureIPTables, By: by, At: at})
	if l.plan.Proxy == "ipvs" {
		needs = append(needs, Need{Feature: FeatureIPVS, By: by, At: at})
		if s := c.Lab.Services.Scheduler; c.Features[FeatureIPVS] { // which says what is missing of all
			needs = append(needs, Need{Feature: SchedulerFeature(s), By: fmt.Sprintf("services with scheduler = %q", s), At: c.Lab.Services.At.Of("scheduler", at)})
		}
	}
	return needs
}

// Plan gives each node the tables that kube-proxy would make there, in both families: also those of IPv6, which are empty.
func (l services) Plan(c *Cluster, s *State) hcl.Diagnostics {
	if d := l.passed(c); d != nil {
		return hcl.Diagnostics{d}
	}
	if d := l.apart(c); d != nil {
		return hcl.Diagnostics{d}
	}
	pods := map[bool]netip.Prefix{} // of IPv6 or not
	for _, cidr := range l.net.CIDRs() {
		pods[cidr.Addr().Is6()] = cidr
	}
	for _, cidr := range c.Lab.Services.CIDRs() {
		family := "IPv4"
		if cidr.Addr().Is6() {
			family = "IPv6"
		}
		if !pods[cidr.Addr().Is6()].IsValid() {
			return hcl.Diagnostics{{
				Severity: hcl.DiagError, Summary: "Services have " + family + " addresses", Subject: l.net.Def.At.Of("cidr", l.net.Def.Range).Ptr(),
				Detail: fmt.Sprintf("The pods have no addresses of %s, so that no service can lead to them. Give the network a CIDR of %[1]s too.", family),
			}}
		}
	}
	if d := l.bridged(c, s); d != nil {
		return hcl.Diagnostics{d}
	}
	l.balancers(c, s)
	all := map[bool][]kubeproxy.Port{false: translated(c, false), true: translated(c, true)}
	s.said = said{}
	defer func() { s.said = nil }()
	alike := map[bool]*nft.Ruleset{} // where it is the same on all nodes
	everywhere := sockets(slices.Concat(all[false], all[true]))
	for _, n := range c.Nodes {
		for _, v6 := range []bool{false, true} {
			known, ports := l.node(c, n, v6, pods[v6]), all[v6]
			switch l.plan.Proxy {
			case "nftables":
				s.AddRuleset(n.Namespace, kubeproxy.NFTables(known, ports))
			case "iptables":
				if alike[v6] == nil || !kubeproxy.Alike(ports) {
					alike[v6] = kubeproxy.IPTables(known, ports)
				}
				s.AddRuleset(n.Namespace, alike[v6])
			case "ipvs":
				known.Scheduler, known.Addresses = c.Lab.Services.Scheduler, s.addressesOf(n.Namespace, v6)
				s.addIPVS(n.Namespace, kubeproxy.NewIPVS(known, ports))
			}
		}
		s.lead(n.Namespace, everywhere, nodeSockets(slices.Concat(all[false], all[true]), l.accepting(n, s)))
		l.settings(c, n, s)
		if bridged := c.Features[FeatureBridgeNetfilter] && c.Lab.Services.CIDR6.IsValid(); bridged {
			s.Add(Sysctl{Namespace: n.Namespace, Path: "net/bridge/bridge-nf-call-ip6tables", Value: "1"})
		}
	}
	return l.unanswered(c)
}

// accepting are the addresses at which a node's proxy accepts node ports, of IPv6 or not.
func (l services) accepting(n *Node, s *State) map[bool][]netip.Addr {
	all := map[bool][]netip.Addr{}
	for _, v6 := range []bool{false, true} {
		if l.plan.Proxy != "nftables" {
			all[v6] = s.addressesOf(n.Namespace, v6)
		} else if a := n.Uplink().Address(v6); a.IsValid() {
			all[v6] = []netip.Addr{a.Addr()}
		}
	}
	return all
}

// settings are the parameters that a proxy sets on a node.
func (l services) settings(c *Cluster, n *Node, s *State) {
	set := func(path, value string) { s.Add(Sysctl{Namespace: n.Namespace, Path: path, Value: value}) }
	balanced := slices.ContainsFunc(c.Lab.Services.All, func(svc *lab.Service) bool { return svc.External.IsValid() })
	switch {
	case l.plan.Proxy == "iptables":
		set("net/ipv4/conf/all/route_localnet", "1") // node ports of 127.0.0.1
	case l.plan.Proxy == "ipvs" && balanced: // strictARP: each node has the balancer's address, and only one is to answer for it
		set("net/ipv4/conf/all/arp_ignore", "1")
		set("net/ipv4/conf/all/arp_announce", "2")
	}
}

// node is what a node's proxy knows in a family. Where services have no addresses of it kube-proxy knows no more than that.
func (l services) node(c *Cluster, n *Node, v6 bool, pods netip.Prefix) kubeproxy.Node {
	local := map[netip.Addr]bool{}
	for _, p := range n.AllPods() {
		local[p.Address(v6)] = true
	}
	family, cidr := nft.IPv4, c.Lab.Services.CIDR
	if v6 {
		family, cidr = nft.IPv6, c.Lab.Services.CIDR6
	}
	k := kubeproxy.Node{Family: family, MasqueradeAll: l.plan.masqueradesAll(), Local: func(a netip.Addr) bool { return local[a] }}
	if cidr.IsValid() {
		k.Pods, k.Services, k.Address = pods, cidr, n.Uplink().Address(v6).Addr()
	}
	return k
}

// translated are the ports of services that have an address of a family.
func translated(c *Cluster, v6 bool) []kubeproxy.Port {
	return slices.DeleteFunc(c.servicePorts(v6), func(p kubeproxy.Port) bool { return !p.Address.IsValid() })
}

// bridged says what is missing where pods share a bridge: packets between them pass the firewall only with br_netfilter, and
// without it the answer of a pod of the same node comes from an address that nobody asked.
func (l services) bridged(c *Cluster, s *State) *hcl.Diagnostic {
	if c.Features[FeatureBridgeNetfilter] {
		return nil
	}
	bridges := false
	s.Each(func(o Object) {
		link, ok := o.(Link)
		_, isBridge := link.Device.(Bridge)
		bridges = bridges || ok && isBridge && slices.ContainsFunc(c.Nodes, func(n *Node) bool {
			own := slices.ContainsFunc(n.Bridges, func(b *NodeBridge) bool { return b.Device == link.Name }) // whose pods no service leads to
			return n.Namespace == link.Namespace && !own
		})
	})
	if !bridges {
		return nil
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: fmt.Sprintf("The kernel has no %s", FeatureBridgeNetfilter), Subject: c.Lab.Services.Range.Ptr(),
		Detail: fmt.Sprintf("It is needed for services in mode %s, where the pods of a node share a bridge. %s Or use a mode that routes to its pods, like bgp.", l.plan.ModeName, FeatureBridgeNetfilter.remedy()),
	}
}

// Expect: services have addresses of their own, and change nothing of what becomes of other packets.
func (services) Expect(_ Flow, e Expectation) Expectation { return e }

// balancers gives the address of each load balancer to one node, which answers for it on the underlay, as kube-vip does:
// the first that is in its subnet, where only local endpoints may answer the first of those that has one.
func (l services) balancers(c *Cluster, s *State) {
	for _, svc := range c.Lab.Services.All {
		if n, nic := c.Announcer(svc); n != nil {
			s.Add(NewAddress(n.Namespace, nic, netip.PrefixFrom(svc.External, 32)))
		}
	}
}

// Announcer is the node that answers for a load balancer's address, and by which device; nil where the service has none.
func (c *Cluster) Announcer(svc *lab.Service) (announcer *Node, device string) {
	if !svc.External.IsValid() {
		return nil, ""
	}
	for _, n := range c.Nodes {
		at := slices.IndexFunc(n.Interfaces, func(i *lab.Interface) bool {
			return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Masked().Contains(svc.External) })
		})
		if at < 0 {
			continue
		}
		if announcer == nil {
			announcer, device = n, n.Interfaces[at].Name
		}
		if !svc.Traffic.ExternalLocal || slices.ContainsFunc(svc.Endpoints, func(b lab.Backend) bool { return b.Node == n.Name && b.Pod != "" }) {
			return n, n.Interfaces[at].Name
		}
	}
	return announcer, device
}

// affinitySeconds is how long kube-proxy lets a client keep its endpoint unless a service says otherwise.
const affinitySeconds = 10800

// ServicePorts are the ports of all services with the addresses of their endpoints, in the order of the file. Those of
// headless services have no address.
func (c *Cluster) ServicePorts() []kubeproxy.Port { return c.servicePorts(false) }

func (c *Cluster) servicePorts(v6 bool) []kubeproxy.Port {
	if c.Lab.Services == nil {
		return nil
	}
	pods := c.podAddresses(v6)
	var ports []kubeproxy.Port
	for _, s := range c.Lab.Services.All {
		endpoints := backends(s, pods, v6)
		for _, p := range s.Ports {
			port := kubeproxy.Port{
				Service: "default/" + s.Name, Name: p.Name, Protocol: p.Protocol,
				Address: s.Address, Port: uint16(p.Port), NodePort: uint16(p.NodePort), Balancer: s.External,
				InternalLocal: s.Traffic.InternalLocal, ExternalLocal: s.Traffic.ExternalLocal,
			}
			if v6 {
				port.Address, port.Balancer = s.Address6, netip.Addr{}
			}
			if s.Traffic.Affinity == lab.ClientIP {
				port.Affinity = affinitySeconds
			}
			for _, a := range endpoints {
				port.Endpoints = append(port.Endpoints, netip.AddrPortFrom(a, uint16(p.Target)))
			}
			ports = append(ports, port)
		}
	}
	return ports
}

// backends are the addresses of a service's endpoints in a family, given those of all pods. Those whose node is not part of
// this plan have none.
func backends(s *lab.Service, pods map[lab.Backend]netip.Addr, v6 bool) []netip.Addr {
	var all []netip.Addr
	for _, b := range s.Endpoints {
		a := b.Address
		if b.Pod != "" {
			a = pods[b]
		}
		if a.IsValid() && a.Is6() == v6 {
			all = append(all, a)
		}
	}
	return all
}

func (c *Cluster) podAddresses(v6 bool) map[lab.Backend]netip.Addr {
	pods := map[lab.Backend]netip.Addr{}
	for _, n := range c.Nodes {
		for _, p := range n.AllPods() {
			pods[lab.Backend{Node: n.Name, Pod: p.Pod.Name}] = p.Address(v6)
		}
	}
	return pods
}
