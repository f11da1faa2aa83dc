package lab

import (
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// bridge checks the ranges of a network that is a bridge: each has room for the bridge's own address and a pod's.
func (l *loader) bridge(n *Network) {
	for _, p := range n.CIDRs {
		if p.Addr().BitLen()-p.Bits() < 2 {
			l.errorf(n.At.Of("cidr", n.Range), "Too small for a bridge", "%s has no room for the bridge's own address and those of pods. Take a /%d or more.", p, p.Addr().BitLen()-2)
		}
	}
}

// onBridges checks the addresses that are written for pods on bridges. None is written twice, also on two nodes: it names one
// pod of the lab.
func (l *loader) onBridges(lab *Lab) {
	taken := map[netip.Addr]hcl.Range{}
	for _, m := range lab.Of(Node) {
		for _, p := range m.Pods {
			n := lab.Bridge(p)
			if n == nil || len(n.CIDRs) == 0 {
				continue
			}
			at := p.At.Of("address", p.Range)
			for _, a := range p.Addresses {
				switch within, ok := containing(n.CIDRs, a); {
				case !ok:
					l.errorf(at, "Outside the network", "%s is not in %s, network %q (%s).", a, join(n.CIDRs), n.Name, place(n.At.Of("cidr", n.Range)))
				case a == within.Addr().Next():
					l.errorf(at, "The bridge's address", "%s is that of the bridge itself, which is the gateway of the pods on it. The first that a pod can have is %s.", a, a.Next())
				case l.host(a, within, within.String(), at):
					l.takes(a, at, taken)
				}
			}
		}
	}
}

// bridge is the network that a pod of the node is in, itself or by another pod's, where that is a bridge; empty where it is in none.
func (m *Machine) bridge(p *Pod) string {
	for range m.Pods { // at most: others share in a circle, which is reported
		if p.In == BridgeNetwork {
			return p.Of
		}
		at := slices.IndexFunc(m.Pods, func(o *Pod) bool { return p.In == PodNetwork && o.Name == p.Of })
		if at < 0 {
			break
		}
		p = m.Pods[at]
	}
	return ""
}

// Bridge returns the network that a pod is in where that is a bridge of its node, or nil.
func (l *Lab) Bridge(p *Pod) *Network {
	if p.In != BridgeNetwork {
		return nil
	}
	for _, n := range l.Bridges {
		if n.Name == p.Of {
			return n
		}
	}
	return nil
}
