package trace

import "strings"

// More ways to end than those that [Walk] names first.
const (
	Elsewhere     Disposition = "arrived elsewhere"
	LinkDown      Disposition = "link down"
	NotForwarded  Disposition = "not forwarded"
	SourceRefused Disposition = "source refused"
	Expired       Disposition = "time to live exceeded"
	NotAddressed  Disposition = "not for this machine"
	NoTunnel      Disposition = "no tunnel there"
	NotSwitched   Disposition = "not switched"
	Unknown       Disposition = "cannot be told"
)

// Meaning says of each disposition what it is, for somebody who learns.
var Meaning = map[Disposition]string{
	Arrived:          "the machine that has the address took the packet in",
	NoRoute:          "a machine on the way knows no way on for the address",
	Refused:          "a rule of a firewall or of policy routing refused the packet",
	TooBig:           "the packet is larger than a link on the way carries, and may not be cut",
	NeighbourUnknown: "nobody on the segment says that it has the address",
	Loop:             "the packet comes by the same machine again and again",
	Lost:             "the packet got lost for a reason that has no word of its own",
	Elsewhere:        "another machine than the one that was meant has the address",
	LinkDown:         "a link on the way is down",
	NotForwarded:     "a machine on the way takes the packet in and does not pass it on",
	SourceRefused:    "a machine on the way does not believe the sender's address",
	Expired:          "the packet passed more machines than its TTL allows",
	NotAddressed:     "the frame reached a machine and is for another MAC address",
	NoTunnel:         "what was put around the packet is not taken off where it was sent",
	NotSwitched:      "a bridge does not pass the frame on",
	Unknown:          "what becomes of the packet here cannot be read from the kernel's tables",
}

// Cause is why a packet ends, as the kernel's tables tell it: what a capture would call it, and what to say about it. In its
// texts {machine}, {ns} and {dev} are where the packet ends, {to} and {from} its addresses, and {via}, {mac} and {what} are
// told when it happens.
type Cause struct {
	Disposition Disposition
	Reason      string // the kernel's word for it, where it has one
	Sentence    string
	Command     string
}

// The causes that a prediction knows.
var (
	CauseNoRoute     = Cause{NoRoute, "IP_INNOROUTES", "{machine} has no route to {to}", "ip -n {ns} route get {to}"}
	CauseUnreachable = Cause{NoRoute, "IP_INNOROUTES", "a route of {machine} says that {to} is unreachable", "ip -n {ns} route get {to}"}
	CauseBlackhole   = Cause{NoRoute, "NOT_SPECIFIED", "a route of {machine} drops packets to {to}: {what}", "ip -n {ns} route get fibmatch {to}"}
	CauseProhibited  = Cause{Refused, "IP_INNOROUTES", "a rule or a route of {machine} prohibits packets to {to}", "ip -n {ns} rule"}
	CauseNoForward   = Cause{NotForwarded, "IP_INADDRERRORS", "{machine} does not forward packets: {what} is 0", "ip netns exec {ns} sysctl {what}"}
	CauseRPFilter    = Cause{SourceRefused, "IP_RPFILTER", "{machine} drops the packet: it has no route back to {from} by {dev}, where the packet arrived (rp_filter)", "ip -n {ns} route get {from}"}
	CauseMartian     = Cause{SourceRefused, "IP_RPFILTER", "{from} is an address of {machine} itself, which takes no such packet from outside", "ip -n {ns} route get {from}"}
	CauseInvalid     = Cause{Lost, "NOT_SPECIFIED", "{machine} drops packets from {from} to {to} on {dev}: the source or the destination is not valid", "ip -n {ns} route get {to} from {from} iif {dev}"}
	CauseFirewall    = Cause{Refused, "NETFILTER_DROP", "a rule of the firewall of {machine} drops it: {what}", "ip netns exec {ns} nft list ruleset"}
	CauseTooBig      = Cause{TooBig, "PKT_TOO_BIG", "{machine} cannot send {what} in one piece, and the packet may not be cut", "ip -n {ns} link show dev {dev}"}
	CauseCut         = Cause{Arrived, "", "{machine} cuts {what}", "ip -n {ns} link show dev {dev}"}
	CauseBridgeBig   = Cause{TooBig, "NOT_SPECIFIED", "{machine} drops it: {what}", "ip -n {ns} link show dev {dev}"}
	CauseNoNeighbour = Cause{NeighbourUnknown, "NEIGH_FAILED", "nobody at {dev} of {machine} answers for {via}{what}", "ip -n {ns} neighbour show dev {dev}"}
	CauseNoAnswer    = Cause{NeighbourUnknown, "NEIGH_FAILED", "{dev} of {machine} receives the request and does not answer for {via}: {what}", "ip netns exec {ns} sysctl net/ipv4/conf/{dev}/proxy_arp"}
	CauseTableFull   = Cause{NeighbourUnknown, "NEIGH_CREATEFAIL", "the neighbour table of the whole machine is full: {what}", "sysctl net.ipv4.neigh.default.gc_thresh3"}
	CauseDown        = Cause{LinkDown, "DEV_READY", "{dev} of {machine} is down", "ip -n {ns} link show dev {dev}"}
	CauseNoDevice    = Cause{LinkDown, "", "{machine} has no device {dev}", "ip -n {ns} link"}
	CauseNoCarrier   = Cause{LinkDown, "DEV_READY", "{dev} of {machine} has no carrier", "ip -n {ns} link show dev {dev}"}
	CausePort        = Cause{NotSwitched, "NOT_SPECIFIED", "port {dev} of {machine} does not forward", "bridge -n {ns} link show dev {dev}"}
	CauseVLAN        = Cause{NotSwitched, "NOT_SPECIFIED", "port {dev} of {machine} does not let {what} pass", "bridge -n {ns} vlan show dev {dev}"}
	CauseProgram     = Cause{NotSwitched, "TC_EGRESS", "the program at {dev} of {machine} does not let {what} pass", "tc -n {ns} filter show dev {dev} egress"}
	CauseHairpin     = Cause{NotSwitched, "NOT_SPECIFIED", "the frame would leave {machine} by {dev}, by which it came, and hairpin is off", "bridge -n {ns} -d link show dev {dev}"}
	CauseNobody      = Cause{NotSwitched, "NOT_SPECIFIED", "nobody behind {machine} has the MAC address {mac}", "bridge -n {ns} fdb show"}
	CauseOtherHost   = Cause{NotAddressed, "OTHERHOST", "the frame is for {mac}, and {dev} of {machine} is {what}", "ip -n {ns} link show dev {dev}"}
	CauseNoFDB       = Cause{Lost, "NO_TX_TARGET", "{dev} of {machine} has no forwarding entry for {mac}", "bridge -n {ns} fdb show dev {dev}"}
	CauseNoSocket    = Cause{NoTunnel, "NO_SOCKET", "no tunnel of {machine} takes what comes for {what}", "ip -n {ns} -d link show type vxlan"}
	CauseVNI         = Cause{NoTunnel, "VXLAN_VNI_NOT_FOUND", "no tunnel of {machine} has {what}", "ip -n {ns} -d link show type vxlan"}
	CauseNoIPIP      = Cause{NoTunnel, "IP_NOPROTO", "no tunnel of {machine} takes IP in IP from {from}", "ip -n {ns} -d link show type ipip"}
	CauseNoAgent     = Cause{NoTunnel, "NO_SOCKET", "the agent {what} of {machine} does not run", "lab status"}
	CauseAgentRoute  = Cause{NoRoute, "", "the agent of {machine} knows no node for {to}", "lab status"}
	CauseExpired     = Cause{Expired, "IP_INHDR", "the TTL is used up at {machine}", "ip -n {ns} route get {to}"}
	CauseLoop        = Cause{Loop, "", "the packet passes {machine} again and again: {what}", "ip -n {ns} route get {to}"}
	CauseElsewhere   = Cause{Elsewhere, "", "{machine} has {to} as well, and takes the packet in", "ip -n {ns} address show to {to}"}
	CauseNoIPv6      = Cause{Lost, "IPV6DISABLED", "IPv6 is disabled on {dev} of {machine}", "ip netns exec {ns} sysctl net/ipv6/conf/{dev}/disable_ipv6"}
	CauseGone        = Cause{Lost, "DEV_READY", "the other end of {dev} of {machine} is not in the lab", "ip -n {ns} -d link show dev {dev}"}
	// These are to blame for what happens elsewhere.
	CauseWrongNeighbour = Cause{NotAddressed, "", "{machine} takes {mac} for {via}, and {what}", "ip -n {ns} neighbour show dev {dev}"}
	CauseWrongFDB       = Cause{NotAddressed, "", "{machine} sends frames for {mac}, which is {what}, to {via}, which is not", "bridge -n {ns} fdb show dev {dev}"}
	CauseNoProxy        = Cause{NeighbourUnknown, "", "{machine} must answer for {via} on {dev}, and does not", "ip -n {ns} neighbour show proxy"}
	CauseNoAddress      = Cause{NeighbourUnknown, "", "{dev} of {machine} does not have its address {via}", "ip -n {ns} address show dev {dev}"}
	CauseNoBridge       = Cause{NotSwitched, "", "{dev} of {machine} is in no bridge, and must be a port of {what}", "ip -n {ns} link show dev {dev}"}
	CauseNoNamespace    = Cause{NeighbourUnknown, "", "{machine} is not there", "ip netns list"}
	CauseOtherTunnel    = Cause{NoTunnel, "", "{dev} of {machine} has {what}", "ip -n {ns} -d link show dev {dev}"}
	CauseStrayRoute     = Cause{Loop, "", "a route of {machine} that lab did not make causes a loop: {what}", "ip -n {ns} route get {to}"}

	CauseForeign = Cause{Unknown, "", "what happens to a packet at {dev} of {machine} depends on {what}", "tc -n {ns} filter show dev {dev} egress"}
	CauseDevice  = Cause{Unknown, "", "what {dev} of {machine}, a {what}, does cannot be predicted", "ip -n {ns} -d link show dev {dev}"}
)

// Drop says of a cause where it struck. words are pairs: what stands in braces, and what it is here.
func (c Cause) Drop(machine, namespace, device string, words ...string) Drop {
	pairs := []string{"{machine}", machine, "{ns}", namespace, "{dev}", device}
	for i := 0; i+1 < len(words); i += 2 {
		pairs = append(pairs, "{"+words[i]+"}", words[i+1])
	}
	fill := strings.NewReplacer(pairs...)
	return Drop{Machine: machine, Device: device, Reason: c.Reason, Sentence: fill.Replace(c.Sentence), Command: fill.Replace(c.Command)}
}
