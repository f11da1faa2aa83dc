package ipip

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
	"labnet/modes/internal/device"
)

// flannel has flannel.ipip, its address the block's own, and pods on a bridge.
type flannel struct{}

func (flannel) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateBridge(c) }

// device: flanneld takes its MTU from the uplink, and knows no other. txqueuelen is 0: it leaves the attribute at Go's zero.
func (flannel) device(_ *plan.Net, n *plan.Member) plan.Link {
	return plan.Link{Name: "flannel.ipip", MTU: room(n.Node), Device: plan.IPIP{Local: n.Uplink().Address(false).Addr()}}
}

// route: flanneld has the kernel take its word that the next hop is there, in the tunnel and beside it.
func (flannel) route(bool) plan.Route {
	return plan.Route{Protocol: plan.ProtocolBoot, Onlink: true}
}

func (flannel) attach(c *plan.Net, s *plan.State, n *plan.Member) {
	attach.Bridge(c, s, n, podMTU(c, n.Node))
	bridge, ok := s.Get(plan.Key{Namespace: n.Namespace, Kind: plan.KindLink, Name: attach.BridgeName}).(plan.Link)
	if ok && n.Emulates(plan.FeatureIPIP, c.Features) {
		device.Bridge(s, bridge, attach.BridgeName+"-in")
	}
	attach.Flannel(c, s, n)
}

func (flannel) nodeAddress(_ *plan.Net, n *plan.Member) netip.Addr {
	return attach.Gateway(n.PodCIDRs[0])
}
