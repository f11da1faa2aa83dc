package check

import (
	"errors"
	"fmt"
	"syscall"

	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// trail says how far a packet came that did not arrive, and where to look.
func (p *probe) trail(f *flow, from, to *endpoint, kind byte) string {
	want := p.plan.Expect(from.Endpoint, to.Endpoint)
	there := fmt.Sprintf("look at `ip netns exec %[1]s sysctl net.%[2]s`, `ip netns exec %[1]s nft list ruleset` and %[3]s",
		to.Node.Namespace, forwarding(to), p.routes(to, from))
	if !want.Wire {
		return "it got lost on " + from.Node.Name + "; " + there
	}
	out := from.Node.Name + " " + from.Node.Uplink().Name
	in := to.Node.Name + " " + to.Node.Uplink().Name
	left := f.seen(from.Node, true, kind)
	if len(left) == 0 {
		text := fmt.Sprintf("%sno frame of it left %s; look at `ip netns exec %s sysctl net.%s` and %s",
			p.blind(from.Node), out, from.Node.Namespace, forwarding(from), p.routes(from, to))
		if want.Encap.Type == "vxlan" {
			text += fmt.Sprintf(", then for the tunnel at `bridge -n %[1]s fdb show` and `ip -n %[1]s neigh`", from.Node.Namespace)
		}
		return text
	}
	if ok, why := wire.Matches(left[0], want); !ok && kind != answer {
		return fmt.Sprintf("the frame that left %s %s; look at %s", out, why, p.routes(from, to))
	}
	if len(f.seen(to.Node, false, kind)) == 0 {
		sw := p.plan.Cluster.NamespaceOf(from.Node.Uplink().Switch.Name)
		return fmt.Sprintf("it left %s and did not come to %s; look at the switch: `ip -n %[3]s -s link` and `bridge -n %[3]s link`", out, in, sw)
	}
	return fmt.Sprintf("it came to %s and no further; %s", in, there)
}

func forwarding(e *endpoint) string {
	if e.Address.Is6() {
		return "ipv6.conf.all.forwarding"
	}
	return "ipv4.ip_forward"
}

// routes names the commands that show which way packets go.
func (p *probe) routes(from, to *endpoint) string {
	commands := fmt.Sprintf("`ip -n %s route get %s`", from.Namespace, to.Address)
	if from.Pod != nil {
		commands += fmt.Sprintf(" and `ip -n %s route get %s`", from.Node.Namespace, to.Address)
	}
	return commands
}

// limits names the commands that show the MTUs on the way.
func (p *probe) limits() string {
	var spaces []string
	add := func(ns string) {
		for _, s := range spaces {
			if s == ns {
				return
			}
		}
		spaces = append(spaces, ns)
	}
	add(p.from.Namespace)
	add(p.from.Node.Namespace)
	if p.want.Wire {
		add(p.plan.Cluster.NamespaceOf(p.from.Node.Uplink().Switch.Name))
		add(p.plan.Cluster.NamespaceOf(p.to.Node.Uplink().Switch.Name))
	}
	add(p.to.Node.Namespace)
	add(p.to.Namespace)
	text := "look at the MTUs along the way:"
	for i, ns := range spaces {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" `ip -n %s link`", ns)
	}
	return text
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
