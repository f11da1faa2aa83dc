package vxlan

import (
	"fmt"
	"net/netip"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// hybridnet has eth0.vxlan<vni>, on which the node has its own address once more, and pods of one subnet on all nodes. The
// device's MAC address is eth0's, so a remote pod's neighbour entry says which node it is on.
type hybridnet struct{}

func (hybridnet) allocate(c *plan.Net) hcl.Diagnostics {
	if diags := attach.OnlyIPv4(c, "Hybridnet"); diags.HasErrors() {
		return diags
	}
	return attach.AllocateOverlay(c, "vxlan")
}

func (hybridnet) device(m Mode, uplink string, _ bool) string {
	return fmt.Sprintf("%s.vxlan%d", uplink, m.vni)
}

func (h hybridnet) plan(m Mode, c *plan.Net, s *plan.State, n *plan.Member) {
	uplink := n.Uplink()
	device := h.device(m, uplink.Name, false)
	node := plan.NewAddress(n.Namespace, device, uplink.Address(false))
	node.NoPrefixRoute = true
	s.Add(
		plan.Link{
			Namespace: n.Namespace, Name: device,
			MTU: inside(n.Node, false), // the kernel's choice
			MAC: uplinkMAC(s, n), TxQueueLen: 1000,
			Device: plan.VXLAN{Lower: uplink.Name, VNI: m.vni, Port: m.port, Local: uplink.Address(false).Addr(), Learning: true},
		},
		node,
		plan.Route{Namespace: n.Namespace, Table: attach.TableMarked, Dst: plan.Everywhere(false), Dev: device, Protocol: plan.ProtocolBoot},
	)
	for path, value := range map[string]string{"app_solicit": "1", "base_reachable_time_ms": "5000"} {
		s.Add(plan.Sysctl{Namespace: n.Namespace, Path: "net/ipv4/neigh/" + device + "/" + path, Value: value, Link: device})
	}
	s.AddRuleset(n.Namespace, h.firewall(device, c.CIDRs()[0]))
	attach.NoRouterAdvertisements(c, s, n.Namespace, device)
	for _, subnet := range c.CIDRs() {
		s.Add(plan.Route{Namespace: n.Namespace, Table: attach.TableOverlay, Dst: subnet, Dev: device, Protocol: plan.ProtocolBoot})
		for _, dst := range outside(c, subnet) {
			s.Add(plan.Route{Namespace: n.Namespace, Table: attach.TableOverlay, Dst: dst, Type: "throw", Protocol: plan.ProtocolBoot})
		}
	}
	for _, peer := range c.Nodes {
		if peer == n {
			continue
		}
		mac := uplinkMAC(s, peer)
		s.Add(plan.FDB{Namespace: n.Namespace, Link: device, MAC: mac, Dst: peer.Uplink().Address(false).Addr()})
		for _, p := range peer.NICs {
			s.Add(plan.Neighbour{Namespace: n.Namespace, Link: device, Addr: p.Address(false), MAC: mac})
		}
	}
	attach.Hybridnet(c, s, n, podMTU(c, n.Node), device)
}

// outside is what of a subnet no pod has: its own address and the next, which is a gateway's by custom, and the broadcast
// address.
func outside(c *plan.Net, subnet netip.Prefix) []netip.Prefix {
	if subnet.Bits() > 30 {
		return nil // it has room for no pod
	}
	before := netip.PrefixFrom(subnet.Addr(), 31)
	for _, n := range c.Nodes {
		for _, p := range n.NICs {
			if before.Contains(p.Address(false)) { // the file gave it to a pod
				before = plan.Single(subnet.Addr())
			}
		}
	}
	return []netip.Prefix{before, plan.Single(plan.Last(subnet))}
}

func uplinkMAC(s *plan.State, n *plan.Member) string {
	l, _ := s.Get(plan.Key{Namespace: n.Namespace, Kind: plan.KindLink, Name: n.Uplink().Name}).(plan.Link)
	return l.MAC
}

// firewall masquerades what pods send to the world; what is for a pod of this node or goes through the tunnel keeps its source.
func (hybridnet) firewall(device string, subnet netip.Prefix) *nft.Ruleset {
	r := nft.NewRuleset(nft.IPv4, "hybridnet")
	r.Base("nat-POSTROUTING", "nat", nft.Postrouting, nft.PrioritySNAT)
	r.Rule("nat-POSTROUTING", nft.Is("oifname", attach.HybridnetVeths), nft.Then(nft.Return))
	r.Rule("nat-POSTROUTING", nft.Not("oifname", device), nft.Is("ip saddr", subnet), nft.Masquerade(0))
	return r
}

// nodeAddress: the pods' veths have no address, so the kernel takes that of the first interface.
func (hybridnet) nodeAddress(n *plan.Member, v6 bool) netip.Addr {
	return n.Uplink().Address(v6).Addr()
}

func (hybridnet) through(n *plan.Member, _ int) netip.Addr { return n.Uplink().Address(false).Addr() }
