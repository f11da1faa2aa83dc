package predict

import (
	"fmt"
	"net/netip"
	"strings"

	"labnet/lab/nft"
	"labnet/lab/trace"
	"labnet/testbed"
)

// balance is what IPVS does with a packet for one of its virtual servers, which the machine has taken for its own: it sends it on
// to a real one. in is the device that it came by, none for one of the machine's own, which has its route for local then. Which
// real server it is cannot be told where there are several.
func (w *walker) balance(v *testbed.View, d *datagram, in string, local testbed.RouteAnswer) (bool, error) {
	if d.inner != nil || w.reply {
		return false, nil
	}
	server, real, err := v.Real(d.protocol, netip.AddrPortFrom(d.destination, d.dport))
	if server == nil || err != nil {
		return false, err
	}
	command := fmt.Sprintf("ip netns exec %s cat /proc/net/ip_vs", v.Namespace)
	name := strings.ToUpper(server.Protocol) + " " + server.Address.String()
	if len(real) == 0 {
		return true, w.end(v, in, trace.CauseFirewall, "what", "IPVS has no real server for "+name)
	}
	was := d.flow()
	d.destination, d.dport = real[0].Address.Addr(), real[0].Address.Port()
	what := fmt.Sprintf("destination %s becomes %s", server.Address, real[0].Address)
	text := what + " by IPVS"
	if len(real) > 1 {
		w.open = true
		text = fmt.Sprintf("%s, or another of %d real servers, as the scheduler %s chooses", text, len(real), server.Scheduler)
	}
	var own *trace.Decision
	if in == "" {
		decision := routed(local)
		own = &decision
	}
	r, err := v.Route(ask(d, 0))
	if err != nil {
		return true, w.noRoute(v, d, nil, err)
	}
	w.links[v.Namespace] = append(w.links[v.Namespace], link{was, d.flow()})
	says := trace.Decision{Text: text, NAT: what, Firewall: text}
	if len(real) > 1 {
		says.Firewall = trace.May + text
	}
	if own != nil {
		own.Text, own.NAT, own.Firewall = own.Text+"; "+says.Text, says.NAT, says.Firewall
	} else {
		w.decide(says, command)
	}
	if err := w.hooks(v, nft.Output, d, "", nameOf(r.Out)); err != nil {
		return true, err
	}
	w.decide(routed(r), routeCommand(v, d, nil))
	w.routes = append(w.routes, taken{v, r.Match, r.Entry, d.destination})
	if r.Type == "local" { // it is the machine itself that answers
		return false, nil
	}
	d.ttl--
	return true, w.send(v, r, d, own, command)
}
