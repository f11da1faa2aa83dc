package attach

import "labnet/lab/plan"

// Routes adds a node's route to every other node's blocks, with that node itself as the gateway.
func Routes(c *plan.Net, s *plan.State, n *plan.Member) {
	for _, peer := range c.Nodes {
		if peer == n {
			continue
		}
		for _, block := range peer.PodCIDRs {
			via := peer.Uplink().Address(block.Addr().Is6())
			if !via.IsValid() {
				continue // already reported
			}
			s.Add(plan.Route{Namespace: n.Namespace, Table: plan.TableMain, Dst: block, Via: via.Addr(), Dev: n.Uplink().Name, Protocol: plan.ProtocolBoot})
		}
	}
}
