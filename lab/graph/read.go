package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"labnet/lab/plan"
)

// Planned pictures a lab as its plan wants it.
func Planned(p *plan.Plan) *Picture {
	r := reader{plan: p, want: look(together(p.State, attached(p))), drift: map[plan.End][]string{}}
	r.seen = r.want
	return r.picture(p.Cluster.Name, p.ModeName)
}

// Seen pictures a lab as its namespaces hold it, and does not say what is wanted.
func Seen(name, mode string, p *plan.Plan, actual *plan.State) *Picture {
	r := reader{plan: p, seen: look(actual), drift: map[plan.End][]string{}, running: true}
	r.want = r.seen
	return r.picture(name, mode)
}

// Found pictures a lab as its namespaces hold it. The plan is nil where nobody knows what is wanted.
func Found(name, mode string, p *plan.Plan, actual *plan.State) *Picture {
	if p == nil {
		return Seen(name, mode, p, actual)
	}
	r := reader{plan: p, seen: look(actual), want: look(together(p.State, theirs(actual))), drift: map[plan.End][]string{}, running: true}
	for _, c := range plan.Diff(actual, p.State) {
		at := place(c.Object)
		r.drift[at] = append(r.drift[at], c.Lines()...)
		r.lines = append(r.lines, c.Lines()...)
	}
	return r.picture(name, mode)
}

// place is the device that an object belongs to; of what belongs to none the name is empty.
func place(o plan.Object) plan.End {
	at := plan.End{Namespace: o.Key().Namespace}
	switch o := o.(type) {
	case plan.Link:
		at.Name = o.Name
	case plan.Address:
		at.Name = o.Link
	case plan.Neighbour:
		at.Name = o.Link
	case plan.FDB:
		at.Name = o.Link
	case plan.Route:
		at.Name = o.Dev
	case plan.Qdisc:
		at.Name = o.Link
	case plan.Program:
		at.Name = o.Link
	}
	return at
}

// reader makes a picture of what is seen and what is wanted. Of a plan both are the same.
type reader struct {
	plan       *plan.Plan
	seen, want *view
	drift      map[plan.End][]string
	lines      []string
	running    bool
}

func (r *reader) picture(name, mode string) *Picture {
	p := &Picture{Lab: name, Mode: mode, Running: r.running, Switches: []Switch{}, Machines: []Machine{}, Drift: append([]string{}, r.lines...)}
	of := map[string][]string{} // namespaces, by role
	for _, ns := range r.spaces() {
		owner := r.owner(ns)
		of[owner.Role] = append(of[owner.Role], ns)
		switch owner.Role {
		case "switch":
			p.Switches = append(p.Switches, r.aSwitch(ns))
		case "pod":
		default:
			p.Machines = append(p.Machines, r.machine(ns))
		}
	}
	at := map[string]int{}
	for i, m := range p.Machines {
		at[m.Name] = i
	}
	for _, ns := range of["pod"] {
		node, _, _ := strings.Cut(r.owner(ns).Machine, "/")
		if i, ok := at[node]; ok {
			p.Machines[i].Pods = append(p.Machines[i].Pods, r.pod(ns))
		}
	}
	p.settle()
	p.Overlays, p.Sessions = r.nets()
	return p
}

// spaces are all namespaces, seen or wanted: in the order of the definition, and then by name.
func (r *reader) spaces() []string {
	place := map[string]int{}
	if r.plan != nil {
		c := r.plan.Cluster
		for _, s := range c.Lab.Switches {
			place[c.NamespaceOf(s.Name)] = len(place) + 1
		}
		for _, m := range c.Lab.Machines {
			place[c.NamespaceOf(m.Name)] = len(place) + 1
			for _, pod := range m.Pods {
				place[c.NamespaceOf(m.Name)+"."+pod.Name] = len(place) + 1
			}
		}
	}
	var all []string
	for ns := range r.seen.spaces {
		all = append(all, ns)
	}
	for ns := range r.want.spaces {
		if _, seen := r.seen.spaces[ns]; !seen {
			all = append(all, ns)
		}
	}
	later := len(place) + 1
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(cmp.Compare(cmp.Or(place[a], later), cmp.Or(place[b], later)), plan.Natural(a, b))
	})
	return all
}

func (r *reader) owner(ns string) plan.Owner {
	if o, ok := r.seen.spaces[ns]; ok {
		return o
	}
	return r.want.spaces[ns]
}

// mark says what is wrong with a namespace.
func (r *reader) mark(ns string) Mark {
	_, seen := r.seen.spaces[ns]
	_, wanted := r.want.spaces[ns]
	switch {
	case !seen:
		return Missing
	case !wanted:
		return Foreign
	case len(r.drift[plan.End{Namespace: ns}]) > 0:
		return Changed
	}
	return Fine
}

// linkMark says what is wrong with a link.
func (r *reader) linkMark(at plan.End) Mark {
	l, seen := r.seen.links[at]
	_, wanted := r.want.links[at]
	switch {
	case !seen && !wanted:
		return Fine
	case !seen:
		return Missing
	case !wanted:
		return Foreign
	case l.Down:
		return Down
	case len(r.drift[at]) > 0:
		return Changed
	}
	return Fine
}

func (r *reader) link(at plan.End) (plan.Link, bool) {
	if l, ok := r.seen.links[at]; ok {
		return l, true
	}
	l, ok := r.want.links[at]
	return l, ok
}

// devices are the links of a namespace, seen or wanted, by name.
func (r *reader) devices(ns string) []plan.Link {
	names := slices.Concat(r.seen.names[ns], r.want.names[ns])
	slices.SortFunc(names, plan.Natural)
	var all []plan.Link
	for _, name := range slices.Compact(names) {
		l, _ := r.link(plan.End{Namespace: ns, Name: name})
		all = append(all, l)
	}
	return all
}

func (r *reader) device(l plan.Link) Device {
	at := plan.End{Namespace: l.Namespace, Name: l.Name}
	d := Device{Name: l.Name, Kind: l.Type(), MTU: l.MTU, Addresses: []Address{}, Mark: r.linkMark(at), Drift: r.drift[at], Impair: r.seen.impair[at], Encap: r.encap(l)}
	for _, a := range r.seen.addresses[at] {
		mark := Fine
		if !slices.Contains(r.want.addresses[at], a) {
			mark = Foreign
		}
		d.Addresses = append(d.Addresses, Address{a.String(), mark})
	}
	for _, a := range r.want.addresses[at] {
		if !slices.Contains(r.seen.addresses[at], a) {
			d.Addresses = append(d.Addresses, Address{a.String(), Missing})
		}
	}
	peer := l.Peer()
	unplugged := Fine
	if wanted := r.want.links[at].Peer(); peer == (plan.End{}) && wanted != peer {
		peer, unplugged = wanted, Missing // it leads elsewhere
	}
	if owner := r.owner(peer.Namespace); owner.Role == "switch" {
		d.Switch, d.Port = owner.Machine, peer.Name
		d.Link = worst(d.Mark, r.linkMark(peer), unplugged)
		d.Drift = append(slices.Clone(d.Drift), r.drift[peer]...)
	}
	return d
}

// encap is what a device makes of packets: its own kind, or what programs do in its place.
func (r *reader) encap(l plan.Link) string {
	at := plan.End{Namespace: l.Namespace, Name: l.Name}
	for _, v := range []*view{r.seen, r.want} {
		for _, does := range v.programs[at] {
			if kind, ok := strings.CutSuffix(does, "-encap"); ok {
				return kind
			}
		}
	}
	return plan.Encapsulates(l.Device)
}

func (r *reader) aSwitch(ns string) Switch {
	s := Switch{Name: r.owner(ns).Machine, Subnets: []string{}, Mark: r.mark(ns), Drift: r.drift[plan.End{Namespace: ns}]}
	for _, l := range r.devices(ns) {
		if l.Type() == "bridge" {
			at := plan.End{Namespace: ns, Name: l.Name}
			s.MTU = l.MTU
			s.Mark = worst(s.Mark, r.linkMark(at))
			s.Drift = append(slices.Clone(s.Drift), r.drift[at]...)
		}
	}
	if r.plan != nil {
		for _, segment := range r.plan.Cluster.Lab.Segments() {
			for _, subnet := range segment.Subnets() {
				switch {
				case segment.Switch.Name != s.Name:
				case segment.VLAN != 0:
					s.Subnets = append(s.Subnets, fmt.Sprintf("VLAN %d: %s", segment.VLAN, subnet))
				default:
					s.Subnets = append(s.Subnets, subnet.String())
				}
			}
			if segment.Switch.Name == s.Name && segment.VLAN != 0 && len(segment.Subnets()) == 0 {
				s.Subnets = append(s.Subnets, fmt.Sprintf("VLAN %d", segment.VLAN))
			}
		}
		return s
	}
	for _, port := range r.devices(ns) { // nobody says what its subnets are, but those on it have addresses
		for _, a := range r.seen.addresses[port.Peer()] {
			if text := a.Masked().String(); !slices.Contains(s.Subnets, text) {
				s.Subnets = append(s.Subnets, text)
			}
		}
	}
	slices.SortFunc(s.Subnets, plan.Natural)
	return s
}

func (r *reader) machine(ns string) Machine {
	owner := r.owner(ns)
	m := Machine{Name: owner.Machine, Kind: owner.Role, Devices: []Device{}, Pods: []Pod{}, Mark: r.mark(ns), Drift: r.drift[plan.End{Namespace: ns}]}
	if path := cmp.Or(r.seen.datapaths[ns], r.want.datapaths[ns]); path != plan.Kernel && owner.Role == "node" {
		m.Datapath = string(path)
	}
	for _, l := range r.devices(ns) {
		peer := cmp.Or(l.Peer(), r.want.links[plan.End{Namespace: ns, Name: l.Name}].Peer())
		if r.owner(peer.Namespace).Role == "pod" { // drawn with the pod
			continue
		}
		d := r.device(l)
		if l.Type() == "ifb" && l.Port.Bridge != "" && d.Mark == Fine { // a way into the bridge, not a device of a machine
			continue
		}
		if d.Switch != "" {
			d.VLAN = r.vlans(m.Name, l.Name)
		}
		m.Devices = append(m.Devices, d)
	}
	slices.SortStableFunc(m.Devices, func(a, b Device) int { return leads(a) - leads(b) })
	return m
}

// leads orders what is plugged in before the rest.
func leads(d Device) int {
	if d.Switch != "" {
		return 0
	}
	return 1
}

// vlans says which VLANs of its switch an interface is in.
func (r *reader) vlans(machine, name string) string {
	if r.plan == nil {
		return ""
	}
	for _, m := range r.plan.Cluster.Lab.Machines {
		for _, nic := range m.Interfaces {
			switch {
			case m.Name != machine || nic.Name != name:
			case nic.VLAN != 0:
				return fmt.Sprintf("VLAN %d", nic.VLAN)
			case len(nic.Trunk) > 0:
				return "trunk VLAN " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(nic.Trunk)), ","), "[]")
			}
		}
	}
	return ""
}

func (r *reader) pod(ns string) Pod {
	owner := r.owner(ns)
	_, name, _ := strings.Cut(owner.Machine, "/")
	p := Pod{Name: name, Devices: []Device{}, Mark: r.mark(ns), Drift: r.drift[plan.End{Namespace: ns}]}
	for _, l := range r.devices(ns) {
		d := r.device(l)
		p.Devices = append(p.Devices, d)
		p.Link = worst(p.Link, d.Mark)
		peer, below := l.Peer(), l.Below()
		if wanted := r.want.links[plan.End{Namespace: ns, Name: l.Name}].Peer(); peer == (plan.End{}) && wanted != peer {
			peer, p.Link = wanted, Missing
		}
		switch {
		case peer.Name != "" && r.owner(peer.Namespace).Role != "pod":
			p.Link = worst(p.Link, r.linkMark(peer))
			p.Drift = append(slices.Clone(p.Drift), r.drift[peer]...)
			if far, ok := r.link(peer); ok && len(p.Devices) == 1 {
				p.Veth, p.Via = peer.Name, far.Port.Bridge
			}
		case len(p.Devices) == 1 && below.Name != "" && below.Namespace != ns:
			p.Via = below.Name
		}
	}
	return p
}

// settle says of a switch what is said of all of its links, and no longer of each.
func (p *Picture) settle() {
	for i, s := range p.Switches {
		var on []*Device
		for j := range p.Machines {
			for k := range p.Machines[j].Devices {
				if d := &p.Machines[j].Devices[k]; d.Switch == s.Name {
					on = append(on, d)
				}
			}
		}
		if len(on) == 0 || slices.ContainsFunc(on, func(d *Device) bool { return d.Impair != on[0].Impair || d.Mark != Fine }) {
			continue
		}
		p.Switches[i].Impair = on[0].Impair
		for _, d := range on {
			d.Impair = ""
		}
	}
}
