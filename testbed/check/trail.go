package check

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// trail says how far a packet came that did not arrive, and where to look.
func (p *probe) trail(f *flow, from, to *endpoint, kind byte) (where, look string) {
	want := p.plan.Expect(plan.Flow{From: from.Endpoint, To: to.Endpoint})
	sender, receiver := from.Address, to.Address
	switch got := f.arrived(); {
	case kind == answer && len(got) > 0:
		receiver = got[0].from // a node may have sent from another address than its endpoint's
	case p.want.Source.IsValid():
		sender = p.want.Source
	}
	there := fmt.Sprintf("look at `ip netns exec %[1]s sysctl net.%[2]s`, `ip netns exec %[1]s nft list ruleset` and %[3]s",
		to.Node.Namespace, forwarding(to.Address), routes(to, sender))
	if from.Node.Kind != lab.Node || to.Node.Kind != lab.Node || from.Pod == nil && to.Pod == nil && !want.Wire {
		return p.between(from, to)
	}
	if !want.Wire {
		return "it got lost on " + from.Node.Name, there
	}
	out := from.Node.Name + " " + from.Node.Uplink().Name
	in := to.Node.Name + " " + to.Node.Uplink().Name
	left := f.seen(from.Node, true, kind)
	if len(left) == 0 {
		look = fmt.Sprintf("look at `ip netns exec %s sysctl net.%s` and %s", from.Node.Namespace, forwarding(from.Address), routes(from, receiver))
		if want.Encap.VNI != 0 {
			look += fmt.Sprintf(", then for the tunnel at `bridge -n %[1]s fdb show` and `ip -n %[1]s neigh`", from.Node.Namespace)
		}
		return p.blind(from.Node) + "no " + frameOf(want) + " of it left " + out, look
	}
	// Only between pods an answer is promised to look as a request the other way round would.
	if ok, why := wire.Matches(left[0], want); !ok && (kind != answer || from.Pod != nil && to.Pod != nil) {
		return fmt.Sprintf("the frame that left %s %s", out, why), "look at " + routes(from, receiver)
	}
	if len(f.seen(to.Node, false, kind)) == 0 {
		sw := p.plan.Cluster.NamespaceOf(from.Node.Uplink().Switch.Name)
		return fmt.Sprintf("it left %s and did not come to %s", out, in),
			fmt.Sprintf("look at the switch: `ip -n %[1]s -s link` and `bridge -n %[1]s link`", sw)
	}
	return "it came to " + in + " and no further", there
}

// between names the machines on a packet's way, and what to look at on each.
func (p *probe) between(from, to *endpoint) (where, look string) {
	way := p.plan.Way(from.Endpoint, to.Endpoint)
	names := make([]string, len(way))
	commands := []string{}
	for i, space := range way {
		names[i] = strings.TrimPrefix(space, p.plan.Cluster.Name+".")
		commands = append(commands, fmt.Sprintf("`ip -n %s route get %s`", space, to.Address))
		if i > 0 && i < len(way)-1 {
			commands = append(commands, fmt.Sprintf("`ip netns exec %s sysctl net.%s`", space, forwarding(to.Address)))
		}
	}
	return "it got lost on the way " + strings.Join(names, " → "), "look at " + strings.Join(commands, ", ")
}

func frameOf(e plan.Expectation) string {
	if e.Encap.Type == "" {
		return "frame"
	}
	return e.Encap.Type + " frame"
}

func forwarding(a netip.Addr) string {
	if a.Is6() {
		return "ipv6.conf.all.forwarding"
	}
	return "ipv4.ip_forward"
}

// routes names the commands that show which way packets to an address go.
func routes(from *endpoint, to netip.Addr) string {
	commands := fmt.Sprintf("`ip -n %s route get %s`", from.Namespace, to)
	if from.Pod != nil {
		commands += fmt.Sprintf(" and `ip -n %s route get %s`", from.Node.Namespace, to)
	}
	return commands
}

// limits names the commands that show the MTUs on the way.
func (p *probe) limits() string {
	spaces := []string{p.from.Namespace, p.from.Node.Namespace}
	if p.want.Wire {
		for _, n := range []*plan.Node{p.from.Node, p.to.Node} {
			spaces = append(spaces, p.plan.Cluster.NamespaceOf(n.Uplink().Switch.Name))
		}
	}
	spaces = slices.Compact(append(spaces, p.to.Node.Namespace, p.to.Namespace))
	for i, ns := range spaces {
		spaces[i] = fmt.Sprintf("`ip -n %s link`", ns)
	}
	return "look at the MTUs on the way: " + strings.Join(spaces, ", ")
}

// blind says why a frame may have been there that was not seen.
func (p *probe) blind(n *plan.Node) string {
	u := p.uplinks[n]
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil:
		return fmt.Sprintf("nothing could be seen (%v); ", u.err)
	case u.lost > 0:
		return fmt.Sprintf("the capture lost %d frames because of other traffic, check again without it; ", u.lost)
	}
	return ""
}

// reason is an error without the addresses, which the report has anyway.
func reason(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}
