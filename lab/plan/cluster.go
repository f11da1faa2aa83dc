package plan

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"labnet/lab"
)

// Cluster is a lab as one mode arranges it: the definition, and the addresses of the pods.
type Cluster struct {
	Lab      *lab.Lab
	Name     string // of the instance; it begins every namespace's name
	Nodes    []*Node
	Networks []*Net // the pod networks

	carriers map[*lab.Machine]*Node // every machine as a node; routers and hosts are nodes without pods
	Features Features               // of the kernel that it is planned for

	ipv6      bool                // something in the lab has an IPv6 address
	own       map[*lab.Switch]int // ownVLANs
	wireModel string              // for all switches; empty: their own
	rateLimit uint64              // bit/s, likewise
	impair    Impairments
}

// Wire returns the wire model of a switch.
func (c *Cluster) Wire(sw *lab.Switch) string { return cmp.Or(c.wireModel, sw.Wire) }

// Node is a node of a cluster.
type Node struct {
	*lab.Machine
	Namespace string
	Index     int
	Pods      []*Pod // in the pod networks
	Apart     []*Pod // in none: on a bridge, with the namespace of another, or one with nothing but lo
	Bridges   []*NodeBridge

	members []*Member // one for each pod network
}

// Uplink is the interface towards the other nodes.
func (n *Node) Uplink() *lab.Interface { return n.Interfaces[0] }

// PodCIDRs returns the blocks of the node, once the modes have allocated: one for each CIDR of each pod network.
func (n *Node) PodCIDRs() []netip.Prefix {
	if len(n.members) == 1 {
		return n.members[0].PodCIDRs
	}
	var all []netip.Prefix
	for _, m := range n.members {
		all = append(all, m.PodCIDRs...)
	}
	return all
}

// AllPods returns the node's pods, those in pod networks first.
func (n *Node) AllPods() []*Pod { return slices.Concat(n.Pods, n.Apart) }

// hosts reports whether a pod is in the node's own namespace.
func (n *Node) hosts() bool {
	return slices.ContainsFunc(n.Apart, func(p *Pod) bool { return p.root.In == lab.HostNetwork })
}

// connected returns the pods that have an interface.
func (n *Node) connected() []*Pod {
	if len(n.Bridges) == 0 {
		return n.Pods
	}
	return slices.DeleteFunc(n.AllPods(), func(p *Pod) bool { return len(p.NICs) == 0 })
}

// share gives the pods that are in no pod network their namespaces.
func (n *Node) share() {
	named := map[string]*Pod{}
	for _, p := range n.AllPods() {
		named[p.Pod.Name] = p
	}
	for _, p := range n.Apart {
		for root := p; ; root = named[root.Of] {
			if root.In != lab.PodNetwork {
				p.root, p.Namespace = root, root.Namespace
				break
			}
		}
	}
}

// Pod is a pod of a cluster.
type Pod struct {
	*lab.Pod
	Namespace string
	Node      *Node
	Index     int    // among the pods of its node
	NICs      []*NIC // its interfaces, one for each pod network that it is in

	root   *Pod        // that whose namespace it shares; itself where that is its own
	bridge *NodeBridge // that it is on, where that is a bridge of its node
}

// Shares is whose namespace the pod shares, as a person names it: node1, node1/p1; empty where it has one of its own.
func (p *Pod) Shares() string {
	switch {
	case p.root.In == lab.HostNetwork:
		return p.Node.Name
	case p.root != p:
		return p.root.Title()
	}
	return ""
}

// Addresses returns the addresses of the pod's first interface: those that a person calls the pod's. A pod in its node's
// namespace has the node's.
func (p *Pod) Addresses() []netip.Prefix {
	if p = p.root; p.In == lab.HostNetwork {
		return p.Node.Uplink().Addresses
	}
	if len(p.NICs) == 0 {
		return nil
	}
	return p.NICs[0].Addresses
}

// Address returns the pod's address of the family, or the zero Addr.
func (p *Pod) Address(v6 bool) netip.Addr { return ofFamily(p.Addresses(), v6) }

func ofFamily(prefixes []netip.Prefix, v6 bool) netip.Addr {
	for _, a := range prefixes {
		if a.Addr().Is6() == v6 {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// Title is how a person names the pod: node1/p1.
func (p *Pod) Title() string { return p.Node.Name + "/" + p.Pod.Name }

// CIDRs returns the CIDRs of the pod networks.
func (c *Cluster) CIDRs() []netip.Prefix {
	var all []netip.Prefix
	for _, n := range c.Networks {
		all = append(all, n.CIDRs()...)
	}
	return all
}

// NamespaceOf returns the name of a machine's or switch's namespace.
func (c *Cluster) NamespaceOf(machine string) string { return c.Name + "." + machine }

func newCluster(l *lab.Lab, name string) *Cluster {
	c := &Cluster{Lab: l, Name: name, carriers: map[*lab.Machine]*Node{}, ipv6: speaksIPv6(l), own: ownVLANs(l)}
	for i, m := range l.Of(lab.Node) {
		n := &Node{Machine: m, Namespace: c.NamespaceOf(m.Name), Index: i}
		for _, p := range m.Pods {
			pod := &Pod{Pod: p, Namespace: n.Namespace + "." + p.Name, Node: n, Index: len(n.Pods)}
			pod.root = pod
			switch p.In {
			case "":
				n.Pods = append(n.Pods, pod)
				continue
			case lab.HostNetwork:
				pod.Namespace = n.Namespace
			}
			n.Apart = append(n.Apart, pod)
		}
		n.share()
		c.Nodes = append(c.Nodes, n)
		c.carriers[m] = n
	}
	for _, m := range l.Machines {
		if c.carriers[m] == nil {
			c.carriers[m] = &Node{Machine: m, Namespace: c.NamespaceOf(m.Name), Index: -1}
		}
	}
	if l.Network != nil {
		c.join(l.Network)
	}
	return c
}

// Endpoint is something that packets come from or go to: a pod, or a machine of the underlay.
type Endpoint struct {
	Title     string // node1 or node1/p1
	Namespace string
	Address   netip.Addr
	Node      *Node        // the machine that it is, or is on; a router or a host is a node without pods
	Pod       *Pod         // nil for a machine
	Machine   *lab.Machine // nil for a pod
	Also      bool         // a further address of a machine: packets go there, and none come from there
}

// Endpoints returns the pods and the nodes, in the order of the file, once for each family of the pod network.
func (c *Cluster) Endpoints() []Endpoint {
	var all []Endpoint
	for _, cidr := range c.CIDRs() {
		v6 := cidr.Addr().Is6()
		for _, n := range c.Nodes {
			if a := n.Uplink().Address(v6); a.IsValid() {
				all = append(all, Endpoint{Title: n.Name, Namespace: n.Namespace, Address: a.Addr(), Node: n, Machine: n.Machine})
			}
			for _, p := range n.Pods {
				if a := p.Address(v6); a.IsValid() {
					all = append(all, Endpoint{Title: p.Title(), Namespace: p.Namespace, Address: a, Node: n, Pod: p})
				}
			}
		}
	}
	return all
}

// Everyone returns all machines, with every address that they have, and all pods, in the order of the file, once for each
// family.
func (c *Cluster) Everyone() []Endpoint {
	var all []Endpoint
	for _, v6 := range []bool{false, true} {
		for _, m := range c.Lab.Machines {
			n, also := c.carriers[m], false
			for _, nic := range m.Interfaces {
				if a := nic.Address(v6); a.IsValid() {
					e := Endpoint{Title: m.Name, Namespace: n.Namespace, Address: a.Addr(), Node: n, Machine: m, Also: also}
					if also {
						e.Title += ":" + nic.Name
					}
					all, also = append(all, e), true
				}
			}
			for _, p := range n.connected() {
				if a := p.Address(v6); a.IsValid() {
					all = append(all, Endpoint{Title: p.Title(), Namespace: p.Namespace, Address: a, Node: n, Pod: p})
				}
			}
		}
	}
	return all
}

// Names returns the addresses that the lab's names stand for: of a machine, one of each family, and of a pod likewise, which
// is named as Kubernetes would, p1.node1; of a service its address, as web and web.svc.
func (c *Cluster) Names() map[string][]netip.Addr {
	names := map[string][]netip.Addr{}
	add := func(name string, addresses []netip.Prefix) {
		for _, a := range addresses {
			same := func(b netip.Addr) bool { return a.Addr().Is6() == b.Is6() }
			if !slices.ContainsFunc(names[name], same) {
				names[name] = append(names[name], a.Addr())
			}
		}
	}
	for _, m := range c.Lab.Machines {
		for _, nic := range m.Interfaces {
			add(m.Name, nic.Addresses)
		}
	}
	for _, n := range c.Nodes {
		for _, p := range n.AllPods() {
			names[p.Pod.Name+"."+n.Name] = nil // also of a pod without an address
			add(p.Pod.Name+"."+n.Name, p.Addresses())
		}
	}
	if c.Lab.Services != nil {
		four, six := c.podAddresses(false), c.podAddresses(true)
		for _, s := range c.Lab.Services.All {
			names[s.Name] = []netip.Addr{s.Address}
			switch {
			case s.Type == lab.Headless:
				names[s.Name] = append(backends(s, four, false), backends(s, six, true)...)
			case s.Address6.IsValid():
				names[s.Name] = append(names[s.Name], s.Address6)
			}
			names[s.Name+".svc"] = names[s.Name]
		}
	}
	return names
}

// Shared says whose namespaces the pods are in that have none of their own: node1/p3 is in node1's, or in node1/p1's.
func (c *Cluster) Shared() map[string]string {
	shared := map[string]string{}
	for _, n := range c.Nodes {
		for _, p := range n.Apart {
			if of := p.Shares(); of != "" {
				shared[p.Title()] = of
			}
		}
	}
	return shared
}

// MAC derives a locally administered MAC address from what it is for.
func MAC(of ...string) string {
	h := sha256.New()
	for _, s := range of {
		fmt.Fprintf(h, "%s\x00", s)
	}
	m := h.Sum(nil)
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0]&^1|2, m[1], m[2], m[3], m[4], m[5])
}

// MACOf derives a device's MAC address from its IP addresses: from that of IPv4 where it has one, with the first two bytes
// given, so that captures can be read. A MAC address has no room for one of IPv6, and a part of it may well be another's too,
// so that of a device without IPv4 is a hash. What a device has depends on nothing but its own addresses: two of a lab have
// different ones, and a machine that is added changes no other's.
func MACOf(first, second byte, addresses ...netip.Addr) string {
	for _, a := range addresses {
		if a.Is4() {
			b := a.As4()
			return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", first, second, b[0], b[1], b[2], b[3])
		}
	}
	return MAC("address", addresses[0].String())
}

// AddressesOf takes the prefix lengths off.
func AddressesOf(prefixes []netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for _, p := range prefixes {
		all = append(all, p.Addr())
	}
	return all
}
