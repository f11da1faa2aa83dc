package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/nft"
	"labnet/lab/portmap"
)

// publishing is the layer of the ports that pods publish at their nodes.
type publishing struct{ plan *Plan }

// first is the first pod of those that publishes something; nil where none does.
func first(pods func(*Node) []*Pod, c *Cluster) *Pod {
	for _, n := range c.Nodes {
		for _, p := range pods(n) {
			if len(p.Publishes) > 0 {
				return p
			}
		}
	}
	return nil
}

func (l publishing) Needs(c *Cluster) []Need {
	p := first((*Node).AllPods, c)
	if p == nil {
		return nil
	}
	at := p.At.Of("publish", p.Range)
	return []Need{{Feature: FeatureNFTables, By: "published ports", At: at}, {Feature: FeatureIPTables, By: "published ports, as CNI's portmap makes them", At: at}}
}

// Plan gives each node whose pods publish ports the rules of CNI's portmap, after those of kube-proxy where it has some in the
// same table.
func (l publishing) Plan(c *Cluster, s *State) hcl.Diagnostics {
	if d := l.refused(c); d != nil {
		return hcl.Diagnostics{d}
	}
	return l.rules(c, s)
}

// refused says why the mode's own pods publish nothing, where some do. Those on a bridge are behind their node in every mode.
func (l publishing) refused(c *Cluster) *hcl.Diagnostic {
	p := first(func(n *Node) []*Pod { return n.Pods }, c)
	if p == nil {
		return nil
	}
	at := p.At.Of("publish", p.Range)
	if _, joins := l.plan.Mode.(Joiner); joins {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Published ports in mode " + l.plan.ModeName, Subject: at.Ptr(),
			Detail: fmt.Sprintf("In mode %s pods are on a segment of the underlay, so that their answers pass no firewall of their node, where published ports are translated. Use a mode whose pods are behind their node, like host-gw or vxlan, or remove \"publish\".", l.plan.ModeName),
		}
	}
	if other, ok := l.plan.Mode.(Publisher); ok {
		return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Published ports in mode " + l.plan.ModeName, Subject: at.Ptr(), Detail: other.Publishing()}
	}
	return nil
}

func (l publishing) rules(c *Cluster, s *State) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, n := range c.Nodes {
		var all []portmap.Container
		published := Sockets{}
		for _, p := range n.connected() {
			if len(p.Publishes) == 0 {
				continue
			}
			own := slices.IndexFunc(p.Addresses(), func(a netip.Prefix) bool { return a.Addr().Is4() })
			if own < 0 {
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Published ports lead to IPv4", Subject: p.At.Of("publish", p.Range).Ptr(),
					Detail: fmt.Sprintf("%s has no address of IPv4. Give the network a CIDR of IPv4 too.", p.Title()),
				})
				continue
			}
			one := portmap.Container{Network: p.network(), ID: p.Title(), Address: p.Addresses()[own]}
			for _, port := range p.Publishes {
				if d := l.nodePort(c, p, port); d != nil {
					diags = append(diags, d)
				}
				if port.Protocol == "udp" {
					for _, at := range s.addressesOf(n.Namespace, false) {
						published[netip.AddrPortFrom(at, uint16(port.Port))] = []netip.Addr{one.Address.Addr()}
					}
				}
				one.Ports = append(one.Ports, portmap.Port{Protocol: port.Protocol, Host: uint16(port.Port), Port: uint16(port.To)})
			}
			all = append(all, one)
			if device := s.towards(p); device != "" { // what the node sends there from 127.0.0.1 is no martian
				s.Replace(Sysctl{Namespace: n.Namespace, Path: "net/ipv4/conf/" + device + "/route_localnet", Value: "1", Link: device})
			}
		}
		if len(all) > 0 {
			s.appendRuleset(n.Namespace, portmap.Rules(all))
			s.lead(n.Namespace, nil, published)
		}
	}
	return diags
}

// network is the name of that which the pod's interface is in.
func (p *Pod) network() string {
	if p.bridge != nil {
		return p.bridge.Def.Name
	}
	return p.Node.members[0].net.Def.Name
}

// Admits reports whether who asks at the pod's node under an address is let in by the ports that the pod publishes: a bridge is kept
// apart from the pod network.
func (p *Plan) Admits(pod *Pod, source netip.Addr) bool {
	return pod.bridge == nil || !slices.ContainsFunc(p.Cluster.apart(), func(cidr netip.Prefix) bool { return cidr.Contains(source) })
}

// nodePort says where a published port is a service's too.
func (l publishing) nodePort(c *Cluster, p *Pod, port lab.Published) *hcl.Diagnostic {
	if c.Lab.Services == nil {
		return nil
	}
	for _, svc := range c.Lab.Services.All {
		for _, other := range svc.Ports {
			if other.NodePort == port.Port && other.Protocol == port.Protocol {
				return lab.Contradiction(port.At, svc.Range, "Port taken", "%s publishes %s, which is a node port of service %q too; it is at %s. Publish another port.", p.Title(), port.Socket, svc.Name)
			}
		}
	}
	return nil
}

// Expect: published ports change nothing of what becomes of other packets.
func (publishing) Expect(_ Flow, e Expectation) Expectation { return e }

// towards is the device of a node by which it sends to one of its pods: the other end of the pod's own, or its bridge.
func (s *State) towards(p *Pod) string {
	device := ""
	s.In(p.Node.Namespace, func(o Object) {
		if l, ok := o.(Link); ok && l.Peer().Namespace == p.Namespace {
			if device = l.Name; l.Port.Bridge != "" {
				device = l.Port.Bridge
			}
		}
	})
	return device
}

// appendRuleset adds a ruleset to what is there: rules of chains that are there come last in them.
func (s *State) appendRuleset(namespace string, r *nft.Ruleset) {
	chains, rules := map[tableName]int{}, map[tableName]int{}
	s.In(namespace, func(o Object) {
		switch o := o.(type) {
		case Chain:
			chains[tableName{o.Family, o.Table, ""}]++
		case ChainRule:
			rules[tableName{o.Family, o.Table, o.Chain}]++
		}
	})
	for _, o := range Firewall(namespace, r) {
		switch one := o.(type) {
		case Table, Chain:
			if s.Get(o.Key()) != nil {
				continue
			}
			if c, ok := one.(Chain); ok {
				c.Place += chains[tableName{c.Family, c.Table, ""}]
				o = c
			}
		case ChainRule:
			one.Place += rules[tableName{one.Family, one.Table, one.Chain}]
			o = one
		}
		s.Add(o)
	}
}
