// Package kubeproxy computes what kube-proxy would write into the kernel of a node, from the services of a cluster and their
// endpoints. It is pure: the result is a value of labnet/lab/nft.
//
// [NFTables] is kube-proxy v1.36 with --proxy-mode=nftables, [IPTables] the same with --proxy-mode=iptables, by way of
// iptables-nft 1.8.9, and [NewIPVS] with --proxy-mode=ipvs; all are held against what that program made. One thing differs: kube-proxy adds services in the
// order of a Go map, which is another each time; here it is the order in which they are given.
package kubeproxy

import (
	"net/netip"

	"labnet/lab/nft"
)

// Port is one port of a service.
type Port struct {
	Service       string // default/web
	Name          string // http
	Protocol      string // tcp, udp
	Address       netip.Addr
	Port          uint16
	NodePort      uint16     // 0: it has none
	Balancer      netip.Addr // of its load balancer; zero: it has none
	Endpoints     []netip.AddrPort
	Affinity      uint32 // for how many seconds a client keeps its endpoint; 0: for one connection
	InternalLocal bool   // what is sent to its address goes to endpoints of the same node only,
	ExternalLocal bool   // and so does what is sent to its node port or load balancer
}

func (p Port) String() string { return p.Service + ":" + p.Name }

// Node is what a proxy knows of the node that it runs on, in one family.
type Node struct {
	Family        nft.Family            // nft.IPv4 or nft.IPv6
	Pods          netip.Prefix          // the pods' addresses; connections from elsewhere are masqueraded. Zero: it knows none
	Services      netip.Prefix          // the services' addresses; zero likewise
	Address       netip.Addr            // where nftables' proxy accepts node ports; zero: at every local address
	MasqueradeAll bool                  // also connections of pods are masqueraded
	Local         func(netip.Addr) bool // whether an endpoint is on this node
	Addresses     []netip.Addr          // all that the node has: ipvs accepts node ports at each
	Scheduler     string                // how ipvs chooses an endpoint
}

// OwnEndpoints are those of a port that are on the node.
func (n Node) OwnEndpoints(p Port) (own []netip.AddrPort) {
	for _, e := range p.Endpoints {
		if n.Local(e.Addr()) {
			own = append(own, e)
		}
	}
	return own
}

const masqueradeMark = 0x4000

// reach is which endpoints of a port a node uses.
type reach struct {
	cluster, local     []netip.AddrPort // where any endpoint will do, and where it must be one of the node
	all                []netip.AddrPort // both
	internal, external bool             // whether there is one for the service's address, and one for what comes from outside
	outside            bool             // it can be reached from outside
}

func (n Node) reach(p Port) reach {
	r := reach{outside: p.NodePort != 0 || p.Balancer.IsValid()}
	if p.InternalLocal || p.ExternalLocal && r.outside {
		r.local = n.OwnEndpoints(p)
	}
	r.all = r.local
	if !p.InternalLocal || r.outside { // what the node and its pods send to outside addresses goes to any endpoint
		r.cluster, r.all = p.Endpoints, p.Endpoints
	}
	some := len(p.Endpoints) > 0
	r.internal = some && (!p.InternalLocal || len(r.local) > 0)
	r.external = some && (!p.ExternalLocal || len(r.local) > 0)
	return r
}
