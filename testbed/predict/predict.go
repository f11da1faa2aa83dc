// Package predict says how a packet travels through a running lab, without sending one: it asks the kernel of each namespace in
// turn what it would do, and opens only the namespaces that are on the way.
//
// A walk has a hop for each time that a packet passes a device, as a capture on that device would show it. What brings the packet
// from one to the next has a file each: IP (ip.go), neighbours (neighbour.go), the firewall (firewall.go), bridges (bridge.go),
// devices that lead to others (device.go) and tunnels (tunnel.go).
package predict

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// Probe is the packet whose walk is predicted.
type Probe struct {
	From     string     // the namespace that sends it
	Source   netip.Addr // the zero Addr: what the kernel takes
	To       netip.Addr
	At       string // the namespace that is meant by it; empty: whichever has the address
	Protocol string // icmp, udp or tcp
	Sport    uint16 // 0: a high one
	Port     uint16 // to which it goes
	Size     int    // of the IP packet; 0: a small one
	DF       bool   // it may not be cut
	TTL      int    // 0: 64
}

// Walk predicts a packet's walk. The plan tells what machines are called, and which programs and agents are whose. It fails only
// where the kernel could not be asked.
func Walk(ctx context.Context, p *plan.Plan, probe Probe) (trace.Walk, error) {
	there, _, err := walks(ctx, p, probe, false)
	return there, err
}

// Exchange predicts the walk of a packet and that of a short answer to it, which undoes what was translated on the way. A packet
// that does not arrive has no answer.
func Exchange(ctx context.Context, p *plan.Plan, probe Probe) (there, back trace.Walk, err error) {
	return walks(ctx, p, probe, true)
}

func walks(ctx context.Context, p *plan.Plan, probe Probe, answered bool) (there, back trace.Walk, err error) {
	err = testbed.Look(ctx, p.Cluster.Name, func(views *testbed.Views) error {
		there, back, err = New(p, views).Exchange(ctx, probe, answered)
		return err
	})
	return there, back, err
}

// Predictor predicts walks through a lab that stands still: what it has read once it knows.
type Predictor struct {
	plan   *plan.Plan
	views  *testbed.Views
	owners map[netip.Addr]string // namespaces by the addresses that the plan gives them, to look there first
	stands map[plan.End][]string // namespaces by the device on which the plan has theirs stand
	met    map[question]answer
}

// New makes a predictor that looks at a lab with these views.
func New(p *plan.Plan, views *testbed.Views) *Predictor {
	return &Predictor{plan: p, views: views, met: map[question]answer{}}
}

// Exchange predicts a walk, and that of the answer where there is one to be.
func (p *Predictor) Exchange(ctx context.Context, probe Probe, answered bool) (there, back trace.Walk, err error) {
	w := &walker{Predictor: p, ctx: ctx, at: probe.At, links: map[string][]link{}}
	d := &datagram{source: probe.Source, destination: probe.To, protocol: numberOf(probe.Protocol, probe.To), sport: probe.Sport, dport: probe.Port, df: probe.DF}
	d.ttl, d.size = 64, smallest(d)+32
	if probe.TTL != 0 {
		d.ttl = probe.TTL
	}
	if probe.Size != 0 {
		d.size = probe.Size
	}
	if d.sport == 0 {
		d.sport = 40000
	}
	if d.dport == 0 {
		d.dport = 33434
	}
	if there, err = w.run(probe.From, d); err != nil || there.Disposition != trace.Arrived || !answered {
		return there, back, err
	}
	got := w.arrived
	reply := &datagram{
		source: got.destination, destination: got.source, protocol: got.protocol, sport: got.dport, dport: got.sport, ttl: 64, icmpEcho: true,
	}
	reply.size = smallest(reply) + 32
	w.reply, w.at = true, probe.From
	back, err = w.run(w.where, reply)
	return there, back, err
}

// walker follows one packet.
type walker struct {
	*Predictor
	ctx   context.Context
	at    string // the namespace that is meant
	reply bool
	open  bool // a rule that nobody foretells was met
	walk  trace.Walk
	links map[string][]link // translations, by namespace

	arrived *datagram // as the receiver sees it
	where   string    // the namespace in which it is
	turns   map[turn]int

	asked     []asked // neighbours, in their order
	sent      *sent   // the last far end of a tunnel
	ended     string  // the namespace in which the walk did
	tunnelled string  // the namespace with the tunnel's near end
	routes    []taken

	unanswered netip.Addr // for which nobody answers
	ears       []place    // that receive the request for a neighbour
}

// link is a connection whose packets are translated: what its first packet was, and became.
type link struct{ was, is flow }

type flow struct {
	source, destination netip.Addr
	protocol            uint8
	sport, dport        uint16
}

// turn is a device at which a packet for some destination may come by.
type turn struct {
	namespace, device string
	depth             int
	destination       netip.Addr
}

// errEnd is how a step says that the walk has ended.
var errEnd = errors.New("the walk has ended")

const mostHops = 400

func (w *walker) run(namespace string, d *datagram) (trace.Walk, error) {
	w.walk, w.turns, w.arrived = trace.Walk{}, map[turn]int{}, nil
	w.asked, w.sent, w.tunnelled, w.routes = nil, nil, "", nil
	w.unanswered, w.ears = netip.Addr{}, nil
	v, err := w.views.Of(namespace)
	if err == nil {
		err = w.output(v, d)
	}
	if errors.Is(err, errEnd) {
		err = w.blame()
	}
	return w.walk, err
}

// end ends the walk for a cause.
func (w *walker) end(v *testbed.View, device string, c trace.Cause, words ...string) error {
	drop := c.Drop(w.name(v), v.Namespace, device, words...)
	w.walk.Disposition, w.walk.Drop, w.ended = c.Disposition, &drop, v.Namespace
	return errEnd
}

func (p *Predictor) name(v *testbed.View) string {
	return strings.Replace(strings.TrimPrefix(v.Namespace, p.plan.Cluster.Name+"."), ".", "/", 1)
}

// hop writes down that a packet passes a device.
func (w *walker) hop(v *testbed.View, device string, way trace.Direction, f *frame) (*trace.Hop, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	if len(w.walk.Hops) >= mostHops {
		return nil, w.end(v, device, trace.CauseLoop, "to", f.destination.String(), "what", fmt.Sprintf("%d hops were enough", mostHops))
	}
	w.walk.Hops = append(w.walk.Hops, trace.Hop{Machine: w.name(v), Namespace: v.Namespace, Device: device, Direction: way, Headers: f.headers()})
	return &w.walk.Hops[len(w.walk.Hops)-1], nil
}

// decide writes what was decided beside the last hop, behind what stands there.
func (w *walker) decide(d trace.Decision, command string) {
	if len(w.walk.Hops) == 0 {
		return
	}
	h := &w.walk.Hops[len(w.walk.Hops)-1]
	if h.Decision == nil {
		h.Decision = &trace.Decision{}
	}
	join := func(to *string, s string) {
		if *to != "" && s != "" {
			*to += "; "
		}
		*to += s
	}
	join(&h.Decision.Text, d.Text)
	join(&h.Decision.Rule, d.Rule)
	join(&h.Decision.Route, d.Route)
	join(&h.Decision.Neighbour, d.Neighbour)
	join(&h.Decision.FDB, d.FDB)
	join(&h.Decision.Firewall, d.Firewall)
	join(&h.Decision.NAT, d.NAT)
	join(&h.Decision.Tunnel, d.Tunnel)
	if h.Command == "" {
		h.Command = command
	}
}

func numberOf(protocol string, to netip.Addr) uint8 {
	switch {
	case protocol == "tcp":
		return unix.IPPROTO_TCP
	case protocol == "udp":
		return unix.IPPROTO_UDP
	case to.Is6():
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

var protocolNames = map[uint8]string{unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmpv6", unix.IPPROTO_UDP: "udp", unix.IPPROTO_TCP: "tcp"}

// frame is a packet as it is at a device.
type frame struct {
	from, to string // MAC addresses; empty where the device has none
	vlan     int    // of its tag; 0: it has none
	*datagram
}

// datagram is an IP packet.
type datagram struct {
	source, destination netip.Addr
	protocol            uint8
	sport, dport        uint16
	icmpEcho            bool // it is an answer
	ttl, size           int
	df                  bool
	mark                uint32
	untracked           bool

	inner  *frame // what a tunnel put it around
	tunnel string // vxlan, ipip, flannel-udp
	vni    int
}

func (d *datagram) flow() flow { return flow{d.source, d.destination, d.protocol, d.sport, d.dport} }

// header is the length of the datagram's IP header.
func (d *datagram) header() int {
	if d.destination.Is6() {
		return 40
	}
	return 20
}

// smallest is the size of a datagram that carries nothing.
func smallest(d *datagram) int {
	if d.protocol == unix.IPPROTO_TCP {
		return d.header() + 20
	}
	return d.header() + 8
}

// depth is how many packets are around the innermost one.
func (d *datagram) depth() int {
	n := 0
	for inner := d.inner; inner != nil; inner = inner.inner {
		n++
	}
	return n
}

func (d *datagram) copy() *datagram {
	c := *d
	return &c
}

// headers are those of a frame, outermost first.
func (f *frame) headers() []packet.Header {
	var all []packet.Header
	field := func(name string, value any) packet.Field { return packet.Field{Name: name, Value: fmt.Sprint(value)} }
	if f.to != "" {
		all = append(all, packet.Header{Protocol: "ethernet", Source: f.from, Destination: f.to, Bytes: 14})
	}
	if f.vlan != 0 {
		all = append(all, packet.Header{Protocol: "vlan", Fields: []packet.Field{field("id", f.vlan)}, Bytes: 4})
	}
	ip := packet.Header{Protocol: "ipv4", Source: f.source.String(), Destination: f.destination.String(), Bytes: f.header()}
	ip.Fields = []packet.Field{field("ttl", f.ttl), field("length", f.size)}
	if f.destination.Is6() {
		ip.Protocol, ip.Fields[0].Name = "ipv6", "hop limit"
	} else if f.df {
		ip.Fields = append(ip.Fields, field("flags", "DF"))
	}
	all = append(all, ip)
	if f.inner != nil {
		if f.tunnel != "ipip" {
			all = append(all, packet.Header{Protocol: "udp", Source: fmt.Sprint(f.sport), Destination: fmt.Sprint(f.dport), Bytes: 8})
		}
		switch f.tunnel {
		case "vxlan":
			all = append(all, packet.Header{Protocol: "vxlan", Fields: []packet.Field{field("vni", f.vni)}, Bytes: 8})
		case "flannel-udp":
			all = append(all, packet.Header{Protocol: "flannel-udp"})
		}
		return append(all, f.inner.headers()...)
	}
	switch f.protocol {
	case unix.IPPROTO_UDP:
		return append(all, packet.Header{Protocol: "udp", Source: fmt.Sprint(f.sport), Destination: fmt.Sprint(f.dport), Bytes: 8})
	case unix.IPPROTO_TCP:
		return append(all, packet.Header{Protocol: "tcp", Source: fmt.Sprint(f.sport), Destination: fmt.Sprint(f.dport), Bytes: 20})
	}
	kind := "echo request"
	if f.icmpEcho {
		kind = "echo reply"
	}
	return append(all, packet.Header{Protocol: protocolNames[f.protocol], Fields: []packet.Field{field("type", kind)}, Bytes: 8})
}

// length is what the frame is long, with its Ethernet header.
func (f *frame) length() int {
	n := f.size
	if f.to != "" {
		n += 14
	}
	if f.vlan != 0 {
		n += 4
	}
	return n
}

// Holder is a device that has an address.
type Holder struct{ Machine, Namespace, Device string }

// Holders looks for an address in all namespaces of the lab.
func (p *Predictor) Holders(a netip.Addr) ([]Holder, error) {
	var all []Holder
	for _, name := range p.plan.State.Namespaces() {
		v, err := p.views.Of(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, d := range v.Devices {
			own, err := v.Addresses(d.Index)
			if err != nil {
				return nil, err
			}
			if hasAddress(own, a) {
				all = append(all, Holder{p.name(v), name, d.Name})
			}
		}
	}
	return all, nil
}

// MTU is what a device carries, or 0 where there is none.
func (p *Predictor) MTU(namespace, device string) (int, error) {
	v, err := p.views.Of(namespace)
	if err != nil {
		return 0, err
	}
	if d := v.Named(device); d != nil {
		return d.MTU, nil
	}
	return 0, nil
}
