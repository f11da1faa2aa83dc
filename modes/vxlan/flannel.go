package vxlan

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// flannel has flannel.<vni> (flannel-v6.<vni> for IPv6), its address the block's own, and pods on a bridge.
type flannel struct{}

func (flannel) allocate(c *plan.Net) hcl.Diagnostics { return attach.AllocateBridge(c) }

func (flannel) device(m Mode, _ string, v6 bool) string {
	if v6 {
		return fmt.Sprintf("flannel-v6.%d", m.vni)
	}
	return fmt.Sprintf("flannel.%d", m.vni)
}

func (f flannel) plan(m Mode, c *plan.Net, s *plan.State, n *plan.Member) {
	for family, block := range n.PodCIDRs {
		device := f.device(m, n.Uplink().Name, block.Addr().Is6())
		// flanneld gives the device and the pods one MTU. txqueuelen is 0: it leaves the attribute at Go's zero.
		m.tunnel(s, c, n, family, overlay{
			mtu: c.PodMTU(inside(n.Node, block.Addr().Is6())),
			mac: func(n *plan.Member) string { return plan.MAC(device, n.Name) }, direct: plan.Route{Protocol: plan.ProtocolBoot},
		})
		attach.NoRouterAdvertisements(c, s, n.Namespace, device)
	}
	attach.Bridge(c, s, n, podMTU(c, n.Node))
	attach.Flannel(c, s, n)
}

func (flannel) nodeAddress(n *plan.Member, v6 bool) netip.Addr {
	for _, block := range n.PodCIDRs {
		if block.Addr().Is6() == v6 {
			return attach.Gateway(block)
		}
	}
	return netip.Addr{}
}

func (flannel) through(n *plan.Member, family int) netip.Addr { return vtep(n, family) }
