package vxlan

import (
	"crypto/sha1"
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// calico has vxlan.calico (vxlan-v6.calico), its address the first of the node's block, and routed pods.
type calico struct{}

func (calico) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateRouted(c, true) }

func (calico) device(_ Mode, _ string, v6 bool) string {
	if v6 {
		return "vxlan-v6.calico"
	}
	return "vxlan.calico"
}

func (k calico) plan(m Mode, c *plan.Net, s *plan.State, n *plan.Member) {
	for family, block := range n.PodCIDRs {
		v6 := block.Addr().Is6()
		mtu := c.PodMTU(inside(n.Node, v6)) // Felix gives it the MTU that it is told for the pods
		m.tunnel(s, c, n, family, overlay{
			mtu: mtu, txQueueLen: 1000, routeMTU: mtu, mac: func(n *plan.Member) string { return vtepMAC(n.Name, v6) },
			direct: plan.Route{Protocol: plan.ProtocolFelix, Onlink: true}, always: true,
		})
		attach.CalicoFirewall(s, n, c.CIDRs()[family], m.port)
	}
	attach.Routed(c, s, n, podMTU(c, n.Node), plan.ProtocolFelix)
}

// vtepMAC is the address that Felix derives from the node's name (felix/calc/vxlan_resolver.go).
func vtepMAC(node string, v6 bool) string {
	if v6 {
		node += "-v6"
	}
	h := sha1.Sum([]byte(node))
	return fmt.Sprintf("66:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4])
}

// nodeAddress: the kernel has no address on the pods' veths to choose. Of the others it takes, for IPv4, that of the first interface;
// for IPv6 the one that has the most leading bits in common with the pod's (RFC 6724), which is the tunnel device's.
func (calico) nodeAddress(n *plan.Member, v6 bool) netip.Addr {
	if v6 {
		for family, block := range n.PodCIDRs {
			if block.Addr().Is6() {
				return vtep(n, family)
			}
		}
	}
	return n.Uplink().Address(v6).Addr()
}

func (calico) through(n *plan.Member, family int) netip.Addr { return vtep(n, family) }
