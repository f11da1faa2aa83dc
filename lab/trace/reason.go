package trace

import (
	"slices"
	"strings"

	"labnet/lab/packet"
)

// reason is why a kernel throws a packet away, for somebody who learns. In the texts {machine}, {ns} and {device} are where
// that was, {source} and {destination} are the packet's addresses there, and {mac} the MAC
// address that it was sent to; {sender} is who sent it there.
type reason struct {
	name     string // the kernel's word, or that of a system call
	where    string // only in functions of the kernel whose names begin so
	sentence string
	command  string
	ends     Disposition
}

const (
	routeGet     = "{ip} -n {ns} route get {destination} from {source} iif {device}"
	routeGetHere = "{ip} -n {ns} route get {destination}"
	neighbours   = "{ip} -n {ns} neigh show dev {device}"
	ruleset      = "ip netns exec {ns} nft list ruleset"
	statistics   = "ip -n {ns} -s link show dev {device}"
	fdb          = "bridge -n {ns} fdb show dev {device}"
)

// reasons are asked in their order.
var reasons = []reason{
	{"IP_INADDRERRORS", "", "{machine} does not forward: {destination} is none of its own addresses, and forwarding is off", "ip netns exec {ns} sysctl {forwarding}", Lost},
	{"IP_INNOROUTES", "", "{machine} has no route to {destination}", routeGet, NoRoute},
	{"IP_OUTNOROUTES", "", "{machine} has no route to {destination}", routeGetHere, NoRoute},
	{"IP_RPFILTER", "", "{machine} has no route back to {source} by {device}, where the packet arrived, and rp_filter drops it", "{ip} -n {ns} route get {source}", Lost},
	{"IP_LOCAL_SOURCE", "", "{machine} has the address {source} itself, and takes no packet with it from outside: two have one address", "ip -n {ns} address show to {source}", Lost},
	{"IP_INVALID_SOURCE", "", "{machine} takes no packet from {source}: no machine may have such an address", routeGet, Lost},
	{"NETFILTER_DROP", "", "a rule of the firewall of {machine} drops it", ruleset, Refused},
	{"PKT_TOO_BIG", "", "it is larger than the MTU of the device by which {machine} has to send it on, and may not be cut", "ip -n {ns} link", TooBig},
	{"OTHERHOST", "", "it came to {machine}, but the frame is for the MAC address {mac}, which {device} does not have: {sender} has a wrong neighbour entry, or what lies between does not know where that address is", "{ip} -n {sender-ns} neigh show dev {sender-device}", Lost},
	{"NEIGH_FAILED", "", "{machine} asked on {device} for the MAC address of the next hop, and nobody answered", neighbours, NeighbourUnknown},
	{"NEIGH_QUEUEFULL", "", "{machine} still asks on {device} for the MAC address of the next hop, and more packets wait for it than may", neighbours, NeighbourUnknown},
	{"NEIGH_CREATEFAIL", "", "{machine} cannot note one more neighbour: the table, which all namespaces of this computer share, is full", "sysctl net.ipv4.neigh.default.gc_thresh3 net.ipv6.neigh.default.gc_thresh3", NeighbourUnknown},
	{"NEIGH_DEAD", "", "the neighbour entry of the next hop was removed while the packet waited for it", neighbours, NeighbourUnknown},
	{"NEIGH_HH_FILLFAIL", "", "the neighbour entry of the next hop gives no MAC address", neighbours, NeighbourUnknown},
	{"NO_TX_TARGET", "", "the tunnel {device} of {machine} does not know which machine has {mac}: its FDB has no entry for it", fdb, Lost},
	{"VXLAN_VNI_NOT_FOUND", "", "{machine} has no VXLAN device with the VNI of this packet", "ip -n {ns} -d link show type vxlan", Lost},
	{"VXLAN_INVALID_HDR", "", "{machine} takes it for VXLAN, but it has no header of that", "ip -n {ns} -d link show type vxlan", Lost},
	{"VXLAN_ENTRY_EXISTS", "", "{device} of {machine} learned that the sender's MAC address is elsewhere, by an entry that may not be changed", fdb, Lost},
	{"LOCAL_MAC", "", "{device} of {machine} got a frame from its own MAC address: two devices have the same", "ip -n {ns} link show dev {device}", Lost},
	{"MAC_INVALID_SOURCE", "", "{device} of {machine} got a frame whose sender's MAC address cannot be one", "ip -n {ns} link show dev {device}", Lost},
	{"NO_SOCKET", "", "nobody on {machine} listens on {transport}, which it was sent to", "ip netns exec {ns} ss -lntu", Lost},
	{"IP_NOPROTO", "", "{machine} has nothing that takes this protocol: for IP in IP that is a tunnel device", "ip -n {ns} -d link show type ipip", Lost},
	{"QDISC_DROP", "", "the queue of {device} is full, or its qdisc drops on purpose", "tc -n {ns} -s qdisc show dev {device}", Lost},
	{"QDISC_OVERLIMIT", "", "the queue of {device} is full", "tc -n {ns} -s qdisc show dev {device}", Lost},
	{"FULL_RING", "", "the far end of {device} takes packets more slowly than they come", statistics, Lost},
	{"CPU_BACKLOG", "", "packets come faster than a CPU of this computer takes them", "cat /proc/net/softnet_stat", Lost},
	{"DEV_READY", "", "{device} of {machine} is not up", "ip -n {ns} link show dev {device}", Lost},
	{"TC_INGRESS", "", "a program or filter at {device} drops what comes in", "tc -n {ns} filter show dev {device} ingress", Refused},
	{"TC_EGRESS", "", "a program or filter at {device} drops what goes out", "tc -n {ns} filter show dev {device} egress", Refused},
	{"XDP", "", "an XDP program at {device} drops it", "ip -n {ns} link show dev {device}", Refused},
	{"BRIDGE_INGRESS_STP_STATE", "", "the port {device} of the bridge does not forward: spanning tree, or its state, forbids it", "bridge -n {ns} -d link show dev {device}", Lost},
	{"IPV6DISABLED", "", "IPv6 is off on {device} of {machine}", "ip netns exec {ns} sysctl net.ipv6.conf.all.disable_ipv6", Lost},
	{"UNICAST_IN_L2_MULTICAST", "", "the frame went to a group of machines, though the packet is for one", neighbours, Lost},
	{"IP_INHDR", "ip_forward", "its TTL is used up: it has been through too many routers, or in a circle", routeGet, Loop},
	{"IP_INHDR", "ip6_forward", "its hop limit is used up: it has been through too many routers, or in a circle", routeGet, Loop},
	{"IP_INHDR", "", "{machine} finds its IP header wrong", statistics, Lost},
	{"IP_CSUM", "", "the checksum of its IP header is wrong", statistics, Lost},
	{"UDP_CSUM", "", "its UDP checksum is wrong", statistics, Lost},
	{"TCP_CSUM", "", "its TCP checksum is wrong", statistics, Lost},
	{"ICMP_CSUM", "", "its ICMP checksum is wrong", statistics, Lost},
	{"SOCKET_RCVBUFF", "", "the program that listens there does not take what has come, and its buffer is full", "ip netns exec {ns} ss -lnum", Lost},
	{"SOCKET_FILTER", "", "a filter of the program that listens there drops it", "ip netns exec {ns} ss -lnup", Refused},
	{"FRAG_REASM_TIMEOUT", "", "not all of its fragments came", "ip netns exec {ns} nstat -az IpReasmFails", Lost},
	{"NOT_SPECIFIED", "ip_error", "a route of {machine} forbids it: it is a blackhole, unreachable or prohibit, or forwarding is off", routeGet, Refused},
	{"NOT_SPECIFIED", "ip6_pkt", "a route of {machine} forbids it: it is a blackhole, unreachable or prohibit", routeGet, Refused},
	{"NOT_SPECIFIED", "br_", "the bridge that {device} is a port of has no port to send it to", "bridge -n {ns} link", Lost},
	{"NOT_SPECIFIED", "__dev_forward_skb", "it is larger than the MTU of what {device} is plugged into", "ip -n {ns} link show dev {device}", TooBig},
	{"NOT_SPECIFIED", "veth_xmit", "the far end of {device} is down", "ip -n {ns} link show dev {device}", Lost},

	// Where no event tells the reason.
	{"NO_PORT", "", "{machine} did not send it out by its port {device}, where the MAC address {mac} is: that is down, blocked, or in another VLAN", "bridge -n {ns} -d link show dev {device}", Lost},
	{"NOBODY", "", "{machine} sent it out by all its ports, and no machine has the MAC address {mac}: {sender} has a wrong neighbour entry", "{ip} -n {sender-ns} neigh show dev {sender-device}", NeighbourUnknown},
	{"NOT_TAKEN", "", "it left {machine} by {device}, and nothing at the other end has seen it", statistics, Lost},
	{"NOT_SENT_ON", "", "it came to {machine} by {device}, and was not sent on as long as it was waited for", routeGet, Lost},
	{"TAKEN", "", "{machine} took it for itself: it has the address {destination} too, or a program there did not pass it on", "{ip} -n {ns} address show to {destination}", Lost},
	{"ELSEWHERE", "", "{machine} took it and answered: it has the address {destination} too", "{ip} -n {ns} address show to {destination}", Lost},
	{"UNSEEN", "", "{machine} did not send it as long as it was waited for", routeGetHere, Lost},

	// What a system call says to a sender.
	{"network is unreachable", "", "{machine} has no route to {destination}", routeGetHere, NoRoute},
	{"no route to host", "", "{machine} cannot send to {destination}: its route says unreachable", routeGetHere, NoRoute},
	{"invalid argument", "", "{machine} cannot send to {destination}: its route is a blackhole", routeGetHere, Refused},
	{"permission denied", "", "{machine} must not send to {destination}: its route, or a rule of routing, prohibits it", "{ip} -n {ns} rule", Refused},
	{"operation not permitted", "", "a rule of the firewall of {machine} drops it before it leaves", ruleset, Refused},
	{"message too long", "", "it is larger than the MTU of the device by which {machine} has to send it, and may not be cut", "ip -n {ns} link", TooBig},
	{"cannot assign requested address", "", "{machine} has no address from which it could send to {destination}", "ip -n {ns} address", Lost},
	{"network is down", "", "the device by which {machine} has to send it is down", "ip -n {ns} link", Lost},
}

// explain says in words why a packet was lost in a namespace, and where to look. The last of the hops is what it was there.
func (d *Drop) explain(ns string, hops []Hop) Disposition {
	fill := d.words(ns, hops)
	for _, r := range reasons {
		if r.name == d.Reason && strings.HasPrefix(d.Location, r.where) {
			command := r.command
			if d.Device == "" { // it was the machine's own packet
				command = strings.ReplaceAll(command, " iif {device}", "")
			}
			d.Sentence, d.Command = fill(r.sentence), fill(command)
			return r.ends
		}
	}
	d.Sentence = "the kernel gives the reason " + d.Reason
	if d.Location != "" {
		d.Sentence += ", in its function " + d.Location
	}
	d.Command = fill(statistics)
	return Lost
}

// words puts what is known of a packet into a text.
func (d *Drop) words(ns string, hops []Hop) func(string) string {
	known := map[string]string{
		"machine": d.Machine, "device": d.Device, "ns": ns, "source": "its sender", "destination": "its destination", "transport": "its port",
		"mac": "unknown", "ip": "ip", "forwarding": "net.ipv4.ip_forward", "sender": "the sender", "sender-ns": ns, "sender-device": d.Device,
	}
	var headers []packet.Header
	if len(hops) > 0 {
		headers = hops[len(hops)-1].Headers
	}
	first := func(of ...string) (packet.Header, bool) {
		i := slices.IndexFunc(headers, func(h packet.Header) bool { return slices.Contains(of, h.Protocol) })
		if i < 0 {
			return packet.Header{}, false
		}
		return headers[i], true
	}
	if h, ok := first("ipv4", "ipv6"); ok {
		known["source"], known["destination"] = h.Source, h.Destination
		if h.Protocol == "ipv6" {
			known["ip"], known["forwarding"] = "ip -6", "net.ipv6.conf.all.forwarding"
		}
	}
	if h, ok := first("udp", "tcp"); ok {
		known["transport"] = h.Protocol + " " + h.Destination
	}
	if h, ok := first("ethernet"); ok {
		known["mac"] = h.Destination
		for _, hop := range hops { // who was the first to send it there
			if e := ethernet(hop.Headers); len(e) > 0 && e[0].Destination == h.Destination && hop.Direction == Out {
				known["sender"], known["sender-ns"], known["sender-device"] = hop.Machine, hop.Namespace, hop.Device
				break
			}
		}
	}
	var pairs []string
	for name, value := range known {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace
}
