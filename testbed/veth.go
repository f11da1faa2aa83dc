package testbed

import (
	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

// vethLink is made with both its ends, and set up when each end is what it is to be: a bridge's port, say.
var vethLink = linkType{
	read:  func(netlink.Link, sight) plan.Device { return plan.Veth{} },
	stand: func(_ plan.Device, peer plan.End) plan.Device { return plan.Veth{Peer: peer} },
	down:  true,
	create: func(a *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error) {
		peer := l.Peer()
		there, err := a.visits.to(peer.Namespace)
		if err != nil {
			return nil, err
		}
		delete(there.index, peer.Name)
		pair := &netlink.Veth{LinkAttrs: base, PeerName: peer.Name, PeerNamespace: netlink.NsFd(there.place.Fd())}
		if other, ok := a.links[plan.Key{Namespace: peer.Namespace, Kind: plan.KindLink, Name: peer.Name}]; ok {
			pair.PeerMTU, pair.PeerTxQLen = uint32(other.MTU), other.TxQueueLen
			pair.PeerHardwareAddr, err = parseMAC(other.MAC)
		}
		return pair, err
	},
	probes: []probe{{plan.FeatureVeth, []string{"veth"}, func(h *netlink.Handle) error {
		return h.LinkAdd(&netlink.Veth{LinkAttrs: attrs("probe-veth"), PeerName: "probe-peer"})
	}}},
}
