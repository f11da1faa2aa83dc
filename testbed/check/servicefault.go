package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"labnet/lab/nft"
	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// explainService finds what makes a service fail: what is otherwise than planned where its packets are translated, whoever does not
// listen there where they go, and then what else is otherwise than planned. It returns nil where all is as planned.
func (in *inquiry) explainService(c Check) (*finding, error) {
	row := c.service
	if row.want.At == nil {
		return nil, nil
	}
	places := []string{row.want.At.Namespace}
	for _, b := range row.want.Backends {
		if n := b.Node.Namespace; !slices.Contains(places, n) {
			places = append(places, n)
		}
	}
	for _, n := range row.want.Via {
		places = append(places, n.Namespace)
	}
	places = append(places, row.From.Namespace)
	for _, b := range row.want.Backends {
		places = append(places, b.Namespace)
	}
	v6 := row.To.Addr().Is6()
	var first, aside *finding
	for _, namespace := range places {
		changes, err := in.changes(namespace)
		if err != nil {
			return nil, err
		}
		for _, change := range changes {
			if _, other := change.Object.(plan.Connection); other { // of somebody who began to ask before, and has a check of its own
				continue
			}
			f, service := in.otherwiseThanPlanned(change)
			if service && !ofOther(change.Object, v6) && namespace == row.want.At.Namespace {
				return f, nil
			}
			if in.plan.State.Get(change.Object.Key()) == nil && change.Op == plan.Update { // somebody's setting, that may well do no harm
				aside = cmp.Or(aside, f)
			} else {
				first = cmp.Or(first, f)
			}
		}
	}
	for _, b := range row.want.Backends { // those of a large lab are not all asked before
		d := in.due[portOf(b, row.Port.Protocol)]
		if d == nil {
			continue
		}
		if f, err := in.unheard(&promiseRow{Promise: d.Promise, whom: b.Endpoint, to: b.Address}, c); f != nil || err != nil {
			return f, err
		}
	}
	return cmp.Or(first, aside), nil
}

// changes is what "lab up" would change in a namespace.
func (in *inquiry) changes(namespace string) ([]plan.Change, error) {
	if all, ok := in.drift[namespace]; ok {
		return all, nil
	}
	actual, err := testbed.ReadSome(in.ctx, in.plan.Cluster.Name, []string{namespace}, in.plan.State)
	if err != nil {
		return nil, err
	}
	all := plan.Diff(actual, in.plan.State.Of(namespace))
	in.drift[namespace] = all
	return all, nil
}

// ofOther reports whether an object is for packets of the other family.
func ofOther(o plan.Object, v6 bool) bool {
	family := nft.INet
	switch o := o.(type) {
	case plan.Sysctl:
		return o.Path == bridgedPath[!v6]
	case plan.Table:
		family = o.Family
	case plan.Set:
		family = o.Def.Family
	case plan.Element:
		family = o.Family
	case plan.Chain:
		family = o.Family
	case plan.ChainRule:
		family = o.Family
	}
	return v6 && family == nft.IPv4 || !v6 && family == nft.IPv6
}

// bridgedPath are the settings with which packets between pods of one bridge pass the firewall, of IPv6 or not.
var bridgedPath = map[bool]string{false: "net/bridge/bridge-nf-call-iptables", true: "net/bridge/bridge-nf-call-ip6tables"}

// otherwiseThanPlanned says what is not as planned, and whether services need it.
func (in *inquiry) otherwiseThanPlanned(c plan.Change) (f *finding, service bool) {
	object := c.Object
	key := object.Key()
	name := strings.Replace(strings.TrimPrefix(key.Namespace, in.plan.Cluster.Name+"."), ".", "/", 1)
	d := trace.Drop{Machine: name}
	switch o := object.(type) {
	case plan.Sysctl:
		dotted := plan.Dotted(o.Path)
		d.Command = fmt.Sprintf("ip netns exec %s sysctl %s", o.Namespace, dotted)
		d.Sentence = fmt.Sprintf("%s of %s is not %s", dotted, name, o.Value)
		if service = o.Path == bridgedPath[false] || o.Path == bridgedPath[true]; service {
			d.Sentence += ": pods of one bridge answer each other past the connection tracking of their node, with an address that nobody asked"
		}
	case plan.Link:
		d.Device = o.Name
		d.Command = fmt.Sprintf("ip -n %s -d link show dev %s", o.Namespace, o.Name)
		d.Sentence = fmt.Sprintf("%s of %s is not as planned", o.Name, name)
		if was, ok := c.Before.(plan.Link); ok && o.Port.Hairpin && !was.Port.Hairpin {
			service = true
			d.Command = fmt.Sprintf("bridge -n %s -d link show dev %s", o.Namespace, o.Name)
			d.Sentence = fmt.Sprintf("%s of %s has hairpin off: what comes from its pod does not go back to it, also when a service leads there", o.Name, name)
		}
	case plan.Table, plan.Set, plan.Element, plan.Chain, plan.ChainRule:
		service = true
		d.Command = fmt.Sprintf("ip netns exec %s nft list ruleset", key.Namespace)
		d.Sentence = fmt.Sprintf("the firewall of %s is not as planned: `lab up` would %s", name, doing(c))
	case plan.VirtualServer, plan.RealServer:
		service = true
		d.Command = fmt.Sprintf("ip netns exec %s cat /proc/net/ip_vs", key.Namespace)
		d.Sentence = fmt.Sprintf("IPVS of %s is not as planned: `lab up` would %s", name, doing(c))
	case plan.IPSet, plan.IPSetEntry:
		service = true
		d.Command = fmt.Sprintf("ip netns exec %s ipset list", key.Namespace)
		d.Sentence = fmt.Sprintf("the ipsets of %s are not as planned: `lab up` would %s", name, doing(c))
	default:
		d.Command = fmt.Sprintf("lab status %s", in.plan.Cluster.Name)
		d.Sentence = fmt.Sprintf("%s is not as planned: `lab up` would %s", name, doing(c))
	}
	return &finding{Drop: d, disposition: trace.Lost}, service
}

// doing is what a change does, in a line.
func doing(c plan.Change) string {
	lines := c.Lines()
	if len(lines) == 0 {
		return c.Op.String() + " " + c.Object.Key().Name
	}
	line, more, _ := strings.Cut(lines[0], "\n")
	if more != "" || len(lines) > 1 {
		line += " …"
	}
	return "run " + line
}
