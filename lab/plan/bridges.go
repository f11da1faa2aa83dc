package plan

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/docker"
	"labnet/lab/nft"
)

// NodeBridge is a network with a driver, on a node that has pods in it: a bridge of the node's own.
type NodeBridge struct {
	Def       *lab.Network
	Node      *Node
	Device    string
	Addresses []netip.Prefix // its own, the pods' gateways: one for each CIDR of the network
	NICs      []*NIC
}

// MTU is that of the bridge and of its pods.
func (b *NodeBridge) MTU() int {
	if b.Def.MTU > 0 {
		return b.Def.MTU
	}
	return b.Node.Uplink().Switch.MTU
}

// Bridged reports whether the endpoint is a pod on a bridge of its node.
func (e Endpoint) Bridged() bool { return e.Pod != nil && e.Pod.bridge != nil }

// bridges is the layer of the networks with a driver. They are the same in every mode, and in a lab without a pod network.
type bridges struct{ plan *Plan }

// allocate gives the pods on bridges their addresses: those that are written, and then the lowest that are free, in the order of
// the file. A pod's address is its own in the whole lab, so that it names nobody else: each node's bridge has the network's first.
func (l bridges) allocate() hcl.Diagnostics {
	var diags hcl.Diagnostics
	c := l.plan.Cluster
	for _, def := range c.Lab.Bridges {
		taken := map[netip.Addr]bool{}
		var all []*NIC
		for _, n := range c.Nodes {
			var here *NodeBridge
			for _, p := range n.Apart {
				if c.Lab.Bridge(p.Pod) != def {
					continue
				}
				if here == nil {
					here = &NodeBridge{Def: def, Node: n, Device: bridgeDevice(def.Name)}
					for _, cidr := range def.CIDRs {
						here.Addresses = append(here.Addresses, netip.PrefixFrom(Nth(cidr, 1), cidr.Bits()))
					}
					n.Bridges = append(n.Bridges, here)
				}
				nic := &NIC{Pod: p, Device: "eth0", Asked: p.Pod.Addresses}
				p.bridge, p.NICs = here, []*NIC{nic}
				here.NICs, all = append(here.NICs, nic), append(all, nic)
				for _, a := range nic.Asked {
					taken[a] = true
				}
			}
		}
		for _, cidr := range def.CIDRs {
			next, last := Nth(cidr, 2), Last(cidr)
			if cidr.Addr().Is4() {
				last = last.Prev() // what follows is the broadcast address
			}
			for _, nic := range all {
				at := slices.IndexFunc(nic.Asked, func(a netip.Addr) bool { return a.Is6() == cidr.Addr().Is6() })
				if at >= 0 {
					nic.Addresses = append(nic.Addresses, netip.PrefixFrom(nic.Asked[at], cidr.Bits()))
					continue
				}
				for taken[next] {
					next = next.Next()
				}
				if !next.IsValid() || last.Less(next) {
					diags = append(diags, &hcl.Diagnostic{
						Severity: hcl.DiagError, Summary: "The network is full", Subject: def.At.Of("cidr", def.Range).Ptr(),
						Detail: fmt.Sprintf("%s has no address left for %s. Each pod of network %q has one of its own in the whole lab: use a wider cidr.", cidr, nic.Title(), def.Name),
					})
					break
				}
				nic.Addresses = append(nic.Addresses, netip.PrefixFrom(next, cidr.Bits()))
				next = next.Next()
			}
		}
	}
	return diags
}

// bridgeDevice names a bridge as Docker does, after the network where that fits, else by a number of twelve digits.
func bridgeDevice(network string) string {
	name := "br-" + network
	if len(name) > lab.MaxInterface {
		sum := sha256.Sum256([]byte(network))
		name = fmt.Sprintf("br-%x", sum[:6])
	}
	return name
}

func (bridges) Needs(c *Cluster) []Need {
	var needs []Need
	for _, def := range c.Lab.Bridges {
		by := fmt.Sprintf("network %q", def.Name)
		for _, f := range []Feature{FeatureBridge, FeatureVeth, FeatureNFTables, FeatureIPTables} {
			needs = append(needs, Need{Feature: f, By: by, At: def.At.Of("driver", def.Range)})
		}
	}
	return needs
}

// Plan makes the bridges and plugs the pods in.
func (bridges) Plan(c *Cluster, s *State) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range c.Nodes {
		for _, b := range n.Bridges {
			if at := slices.IndexFunc(n.Interfaces, func(i *lab.Interface) bool { return i.Name == b.Device }); at >= 0 {
				nic := n.Interfaces[at]
				diags = append(diags, lab.Contradiction(nic.At.Of("name", nic.Range), b.Def.Range, "The network has a device of that name",
					"Node %q gets a bridge named %s for its pods in network %q, which is at %s. Give the interface another name.", n.Name, b.Device, b.Def.Name))
				continue
			}
			b.plan(c, s)
		}
	}
	return diags
}

func (b *NodeBridge) plan(c *Cluster, s *State) {
	n := b.Node
	s.Add(Link{Namespace: n.Namespace, Name: b.Device, Device: Bridge{After: n.Uplink().Name}, MTU: b.MTU(), MAC: MAC("bridge", n.Name, b.Def.Name)})
	own := func(namespace, link string) {
		if c.SpeaksIPv6() {
			s.Add(Sysctl{Namespace: namespace, Path: "net/ipv6/conf/" + link + "/accept_ra", Value: "0", Link: link})
		}
	}
	own(n.Namespace, b.Device)
	for _, a := range b.Addresses {
		s.Add(NewAddress(n.Namespace, b.Device, a))
	}
	for _, nic := range b.NICs {
		sum := sha256.Sum256([]byte(nic.Title()))
		near := End{n.Namespace, fmt.Sprintf("veth%x", sum[:4])}
		far := End{nic.Namespace, nic.Device}
		s.Add(
			Link{Namespace: near.Namespace, Name: near.Name, Device: Veth{Peer: far}, MTU: b.MTU(), MAC: MAC("veth", nic.Title()), Port: Port{Bridge: b.Device, Hairpin: true}},
			Link{Namespace: far.Namespace, Name: far.Name, Device: Veth{Peer: near}, MTU: b.MTU(), MAC: MACOf(0x02, 0x42, AddressesOf(nic.Addresses)...)},
		)
		own(near.Namespace, near.Name)
		for i, a := range nic.Addresses {
			gateway := b.Addresses[i].Addr()
			s.Add(
				NewAddress(far.Namespace, far.Name, a),
				Route{Namespace: far.Namespace, Table: TableMain, Dst: Everywhere(gateway.Is6()), Via: gateway, Dev: far.Name, Protocol: ProtocolBoot},
			)
		}
	}
}

// Expect: the pods on a bridge reach one another and their node, and by it, under its address, what it reaches; nobody else
// reaches them.
func (l bridges) Expect(f Flow, e Expectation) Expectation {
	from, to := f.From, f.To
	switch {
	case from.Bridged():
		e = l.leaves(from.Pod.bridge, from, to)
	case !to.Bridged():
		if from.Pod == nil && to.Pod != nil && len(from.Node.Bridges) > 0 && to.Address.Is6() && e.Source == from.Address {
			e.Source = netip.Addr{} // of all that the node has the kernel takes the most similar one (RFC 6724)
		}
		return e
	case from.Pod == nil && from.Node == to.Node:
		b := to.Pod.bridge
		e = Expectation{Reachable: true, MTU: b.MTU(), Source: ofFamily(b.Addresses, to.Address.Is6())}
	default:
		e = Expectation{Lost: fmt.Sprintf("network %q is %s's own, which lets nobody in but by published ports", to.Pod.bridge.Def.Name, to.Node.Name)}
	}
	e.Destination = to.Address
	return e
}

// leaves is what a pod on a bridge sends.
func (l bridges) leaves(b *NodeBridge, from, to Endpoint) Expectation {
	own := Expectation{Reachable: true, Source: from.Address, MTU: b.MTU()}
	switch {
	case to.Pod == nil && to.Node == b.Node, to.Bridged() && to.Pod.bridge == b:
		return own
	case to.Bridged(), to.Pod != nil && slices.ContainsFunc(l.plan.Cluster.apart(), func(p netip.Prefix) bool { return p.Contains(to.Address) }):
		return Expectation{Lost: fmt.Sprintf("%s keeps network %q apart from others", b.Node.Name, b.Def.Name)}
	}
	e := l.plan.Expect(Flow{From: endpointOf(b.Node, to.Address.Is6()), To: to}) // as its node, whose address it gets
	e.MTU = min(e.MTU, b.MTU())
	return e
}

// apart are the ranges of the pod networks, which nodes keep apart from bridges. Where pods are machines of the underlay it has them
// all: a node could not tell.
func (c *Cluster) apart() []netip.Prefix {
	return slices.DeleteFunc(c.CIDRs(), func(cidr netip.Prefix) bool {
		_, joined := c.Lab.Joined(cidr)
		return joined
	})
}

// Nearby returns the names that only the pods on a bridge know, by their namespaces: those of its pods alone, as Docker's server has
// them.
func (c *Cluster) Nearby() map[string]map[string][]netip.Addr {
	nearby := map[string]map[string][]netip.Addr{}
	for _, n := range c.Nodes {
		for _, b := range n.Bridges {
			names := map[string][]netip.Addr{}
			for _, nic := range b.NICs {
				names[nic.Pod.Pod.Name] = AddressesOf(nic.Addresses)
				nearby[nic.Namespace] = names
			}
		}
	}
	return nearby
}

// isolation is the layer of what Docker writes for bridges into the firewall, after kube-proxy where both have a table.
type isolation struct{}

func (isolation) Needs(*Cluster) []Need { return nil }

func (isolation) Plan(c *Cluster, s *State) hcl.Diagnostics {
	for _, n := range c.Nodes {
		var all []docker.Bridge
		for _, b := range n.Bridges {
			one := docker.Bridge{Device: b.Device, Subnets: b.Def.CIDRs}
			for _, nic := range b.NICs {
				for _, p := range nic.Publishes {
					for _, a := range nic.Addresses {
						one.Published = append(one.Published, docker.Port{Address: a.Addr(), Protocol: p.Protocol, Port: uint16(p.To)})
					}
				}
			}
			all = append(all, one)
		}
		for _, family := range []nft.Family{nft.IPv4, nft.IPv6} {
			s.appendRuleset(n.Namespace, docker.Rules(family, all, c.apart()))
		}
	}
	return nil
}

// Expect: what the firewall makes of packets, the layer of the bridges says.
func (isolation) Expect(_ Flow, e Expectation) Expectation { return e }
