package plan

import (
	"fmt"
	"net/netip"
	"strings"

	"labnet/lab/kubeproxy"
)

// VirtualServer is an address and a port whose connections IPVS gives to real servers.
type VirtualServer struct {
	Namespace  string
	Protocol   string // tcp, udp
	Address    netip.AddrPort
	Mark       uint32 // found of one that is known by a mark of the firewall, and not by its address
	Scheduler  string
	Persistent uint32 // for how many seconds a client keeps its real server; 0: for one connection
	SourcePort bool   // the scheduler looks at the client's port too
	Odd        string // what was found of one that no lab has
}

// RealServer is one of those that answer for a virtual server.
type RealServer struct {
	Namespace string
	Protocol  string
	Virtual   netip.AddrPort
	Mark      uint32
	Address   netip.AddrPort
	Weight    int
	Odd       string
}

// virtual is how ipvsadm(8) names a virtual server.
func virtual(protocol string, address netip.AddrPort, mark uint32) string {
	switch {
	case mark != 0:
		return fmt.Sprintf("-f %d", mark)
	case protocol == "udp":
		return "-u " + address.String()
	case protocol == "tcp":
		return "-t " + address.String()
	}
	return "--" + protocol + "-service " + address.String()
}

func (s VirtualServer) name() string { return virtual(s.Protocol, s.Address, s.Mark) }
func (s VirtualServer) Key() Key     { return Key{s.Namespace, KindVirtualServer, s.name()} }
func (s VirtualServer) Parents() []Key {
	parents := []Key{{s.Namespace, KindNamespace, ""}}
	for _, path := range ipvsSysctls {
		parents = append(parents, Key{s.Namespace, KindSysctl, path})
	}
	return parents
}
func (s VirtualServer) line(verb string, more ...string) string {
	return strings.Join(append([]string{"ip netns exec", s.Namespace, "ipvsadm", verb, s.name()}, more...), " ")
}
func (s VirtualServer) options() []string {
	options := []string{"-s " + s.Scheduler}
	if s.Persistent != 0 {
		options = append(options, fmt.Sprintf("-p %d", s.Persistent))
	}
	if s.SourcePort {
		options = append(options, "-b mh-port")
	}
	return options
}
func (s VirtualServer) Add() []string { return []string{s.line("-A", s.options()...)} }
func (s VirtualServer) Set(Object) ([]string, bool) {
	return []string{s.line("-E", s.options()...)}, s.Odd == ""
}
func (s VirtualServer) Del() []string { return []string{s.line("-D")} }

func (r RealServer) of() string { return virtual(r.Protocol, r.Virtual, r.Mark) }
func (r RealServer) Key() Key {
	return Key{r.Namespace, KindRealServer, r.of() + " -r " + r.Address.String()}
}
func (r RealServer) Parents() []Key {
	return []Key{{r.Namespace, KindNamespace, ""}, {r.Namespace, KindVirtualServer, r.of()}}
}
func (r RealServer) line(verb, more string) []string {
	return []string{fmt.Sprintf("ip netns exec %s ipvsadm %s %s -r %s%s", r.Namespace, verb, r.of(), r.Address, more)}
}
func (r RealServer) how() string                 { return fmt.Sprintf(" -m -w %d", r.Weight) }
func (r RealServer) Add() []string               { return r.line("-a", r.how()) }
func (r RealServer) Set(Object) ([]string, bool) { return r.line("-e", r.how()), true }
func (r RealServer) Del() []string               { return r.line("-d", "") }

// ipvsSysctls are what kube-proxy sets for IPVS. Connections are tracked, so that they can be masqueraded, and do not outlive
// the real server that they go to.
var ipvsSysctls = []string{"net/ipv4/vs/conntrack", "net/ipv4/vs/expire_nodest_conn", "net/ipv4/vs/expire_quiescent_template"}

// addIPVS adds what kube-proxy's ipvs proxy makes of a node: the device is made once, for both families.
func (s *State) addIPVS(namespace string, made kubeproxy.IPVS) {
	s.Add(Link{Namespace: namespace, Name: kubeproxy.IPVSDevice, Device: Dummy{}, MTU: 1500, TxQueueLen: 1000, Down: true})
	for _, a := range made.Addresses {
		s.Add(NewAddress(namespace, kubeproxy.IPVSDevice, Single(a)))
	}
	for _, path := range ipvsSysctls {
		s.Add(Sysctl{Namespace: namespace, Path: path, Value: "1"})
	}
	for _, set := range made.Sets {
		s.Add(IPSet{Namespace: namespace, Name: set.Name, Type: set.Type, V6: set.V6 && set.Type != "bitmap:port"})
		for _, e := range set.Entries {
			s.Add(IPSetEntry{Namespace: namespace, Of: set.Name, IPSetEntry: e})
		}
	}
	s.AddRuleset(namespace, made.Tables)
	for _, v := range made.Servers {
		s.Add(VirtualServer{Namespace: namespace, Protocol: v.Protocol, Address: v.Address, Scheduler: v.Scheduler, Persistent: v.Persistent, SourcePort: v.SourcePort})
		for _, real := range v.Real {
			s.Add(RealServer{Namespace: namespace, Protocol: v.Protocol, Virtual: v.Address, Address: real, Weight: 1})
		}
	}
}
