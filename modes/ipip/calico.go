package ipip

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// calico has the kernel's own tunl0, its address the first of the node's block, and routed pods. The routes are BIRD's.
type calico struct{}

func (calico) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateRouted(c, true) }

// device: Felix gives it the MTU that it is told for the pods.
func (calico) device(c *plan.Net, n *plan.Member) plan.Link {
	return plan.Link{Name: "tunl0", Device: plan.IPIP{}, TxQueueLen: 1000, MTU: podMTU(c, n.Node)}
}

func (calico) route(tunnel bool) plan.Route {
	return plan.Route{Protocol: plan.ProtocolBIRD, Metric: attach.CalicoMetric, Onlink: tunnel}
}

func (calico) attach(c *plan.Net, s *plan.State, n *plan.Member) {
	attach.Routed(c, s, n, podMTU(c, n.Node), plan.ProtocolBIRD)
	attach.CalicoFirewall(s, n, c.CIDRs()[0], 0)
}

// nodeAddress: the kernel has no address on the pods' veths to choose, and takes that of the namespace's first device that has
// one. The kernel's tunl0 comes with the namespace and so before the uplink; an emulated one comes after it.
func (calico) nodeAddress(c *plan.Net, n *plan.Member) netip.Addr {
	if n.Emulates(plan.FeatureIPIP, c.Features) {
		return n.Uplink().Address(false).Addr()
	}
	return n.PodCIDRs[0].Addr()
}
