package plan

import (
	"fmt"
	"net/netip"

	"labnet/lab"
)

// Net is a pod network as its mode arranges it.
type Net struct {
	*Cluster
	Def   *lab.Network
	Index int       // among the cluster's networks
	Nodes []*Member // in the order of the cluster's
}

// Member is a node's part of a pod network.
type Member struct {
	*Node
	net      *Net
	Asked    []netip.Prefix // the blocks that the definition gives the node in this network
	PodCIDRs []netip.Prefix // its blocks, one for each CIDR of the network, once the mode has allocated
	NICs     []*NIC         // of its pods, in their order
}

// NIC is a pod's interface in a pod network.
type NIC struct {
	*Pod
	Device    string         // eth0 in the pod's first network
	Asked     []netip.Addr   // the addresses that the definition gives the pod in this network
	Addresses []netip.Prefix // one for each CIDR of the network, with the prefix length that the interface has
	Gateways  []netip.Addr   // of an interface that is another program's, likewise, once they are known
	MTU       int            // of an interface that is another program's; 0: it is the mode's, or not known yet
}

// Address returns the interface's address of the family, or the zero Addr.
func (n *NIC) Address(v6 bool) netip.Addr { return ofFamily(n.Addresses, v6) }

// CIDRs returns the CIDRs of the network.
func (n *Net) CIDRs() []netip.Prefix { return n.Def.CIDRs }

// PodMTU is the MTU of pods that have so much room: all of it, unless the network says less.
func (n *Net) PodMTU(room int) int {
	if n.Def.MTU > 0 {
		return min(n.Def.MTU, room)
	}
	return room
}

// Member returns a node's part of the network, or nil: routers and hosts have none.
func (n *Net) Member(of *Node) *Member {
	if n.Index >= len(of.members) {
		return nil
	}
	return of.members[n.Index]
}

// join puts all nodes and pods into a network.
func (c *Cluster) join(def *lab.Network) {
	net := &Net{Cluster: c, Def: def, Index: len(c.Networks)}
	device := "eth0"
	if net.Index > 0 {
		device = fmt.Sprintf("net%d", net.Index)
	}
	for _, n := range c.Nodes {
		m := &Member{Node: n, net: net}
		for _, block := range n.Machine.PodCIDRs {
			if def.Has(block.Addr()) {
				m.Asked = append(m.Asked, block)
			}
		}
		for _, p := range n.Pods {
			nic := &NIC{Pod: p, Device: device}
			for _, a := range p.Pod.Addresses {
				if def.Has(a) {
					nic.Asked = append(nic.Asked, a)
				}
			}
			p.NICs, m.NICs = append(p.NICs, nic), append(m.NICs, nic)
		}
		n.members, net.Nodes = append(n.members, m), append(net.Nodes, m)
	}
	c.Networks = append(c.Networks, net)
}
