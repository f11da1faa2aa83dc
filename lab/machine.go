package lab

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	maxPods   = 1024  // of a node
	maxLinks  = 50000 // interfaces of a lab
	maxSpaces = 20000 // namespaces of a lab: more would harm the machine that it runs on
)

// datapaths are what a node can ask for.
var datapaths = []string{"kernel", "ebpf"}

// claim reserves a name among those of switches, nodes, routers and hosts.
func (l *loader) claim(what, name string, at hcl.Range) bool {
	if !l.space(at) || !l.checkName(what, name, at) {
		return false
	}
	if first, ok := l.names[name]; ok {
		l.clash(at, first, "Duplicate name", "The name %q is used twice; switches, nodes, routers, hosts and services share one set of names. Rename one of them; the other is at %s.", name)
		return false
	}
	l.names[name] = at
	return true
}

// space counts a namespace.
func (l *loader) space(at hcl.Range) bool {
	if l.spaces++; l.spaces <= maxSpaces {
		return true
	}
	l.report(&hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  "Lab too large",
		Detail:   fmt.Sprintf("From here on, the lab has more than %d switches, machines and pods. Lower a count or the number of pods.", maxSpaces),
		Subject:  &at,
	})
	return false
}

// machines decodes a node, router or host block into one machine per repetition.
func (l *loader) machines(b *hclsyntax.Block) []*Machine {
	if l.exhausted() {
		return nil
	}
	instances, at := l.instances(file.blocks[b.Type], b, l.eval)
	l.expanded(b, instances)
	var machines []*Machine
	for _, in := range instances {
		if l.exhausted() {
			break
		}
		spaces := l.spaces
		m := l.machine(b, in, at)
		if in.dry {
			l.spaces = spaces
		} else if m != nil {
			machines = append(machines, m)
		}
	}
	return machines
}

func (l *loader) machine(b *hclsyntax.Block, in instance, at hcl.Range) *Machine {
	f := l.fields(file.blocks[b.Type], b.Body, in.ctx)
	m := &Machine{Kind: Kind(b.Type), Name: in.name, Range: b.DefRange(), At: f.at}
	named := !in.dry && l.claim(b.Type, in.name, at)
	s := file.blocks[b.Type]
	for _, inner := range l.blocks(s, "on", b.Body, in.ctx) {
		if l.exhausted() {
			break
		}
		l.on(m, inner)
	}
	for _, inner := range l.blocks(s, "route", b.Body, in.ctx) {
		l.route(m, inner)
	}
	l.connected(m, b)
	l.gateways(m, f)
	m.Serves = f.sockets("serve")
	m.Processes = l.processes("process", s.blocks["process"], l.blocks(s, "process", b.Body, in.ctx))
	if m.Kind == Node {
		l.pods(m, b, f)
		m.Datapath = f.word("datapath", "datapath", datapaths)
	}
	if !named {
		return nil
	}
	return m
}

// connected reports a machine without an interface, also one whose dynamic blocks make none.
func (l *loader) connected(m *Machine, b *hclsyntax.Block) {
	const summary = "Not connected"
	at := missing(b.Body)
	switch {
	case len(m.Interfaces) > 0, has(b.Body, "on") && l.diags.HasErrors(), l.alreadyReported(summary, at):
	case has(b.Body, "on"):
		l.errorf(at, summary, "A %s must be on at least one switch, and the dynamic block generates no on block for %s.", b.Type, m.Name)
	default:
		l.errorf(at, summary, "A %s must be on at least one switch: add on \"…\" {}.%s", b.Type, Suggest("", slices.Sorted(maps.Keys(l.switches)), "Switches:"))
	}
}

func (l *loader) on(m *Machine, b inner) {
	f := l.fields(on, b.Body, b.ctx)
	addrs, places, _ := f.addresses("address")
	if len(b.Labels) == 0 {
		return
	}
	s, ok := l.switches[b.Labels[0]]
	if !ok && (l.mayBecomeSwitch(b.Labels[0]) || l.alreadyReported("Unknown switch", b.LabelRanges[0])) {
		return
	}
	if !ok {
		l.errorf(b.LabelRanges[0], "Unknown switch", "There is no switch %q.%s", shorten(b.Labels[0]), Suggest(b.Labels[0], slices.Sorted(maps.Keys(l.switches)), "There are"))
		return
	}
	if l.links++; l.links > maxLinks {
		l.errorf(b.DefRange(), "Lab too large", "From here on, the lab has more than %d interfaces. Lower a count, or put the machines on fewer switches.", maxLinks)
		l.spaces = maxSpaces + 1 // nothing more is made
		return
	}
	i := &Interface{Name: l.interfaceName(m, b.Block, f), Switch: s, Range: b.DefRange(), At: f.at}
	if !l.port(f, i) {
		// Its subnets are unknown, so the machine's other addresses are not checked against them.
		i.Switch = &Switch{Name: s.Name}
		m.Interfaces = append(m.Interfaces, i)
		return
	}
	for _, other := range m.Interfaces {
		if other.Segment() != i.Segment() {
			continue
		}
		if i.VLAN == 0 {
			l.clash(b.LabelRanges[0], other.Range, "Twice on one switch", "%s is already on %q, at %s. Add a second address to the list in the first block.", m.Name, s.Name)
		} else {
			l.clash(b.LabelRanges[0], other.Range, "Twice in one VLAN", "%s is already in %s, at %s. Add a second address to the list in the first block.", m.Name, i.Segment())
		}
		return
	}
	for j, a := range addrs {
		l.pinned[i] = append(l.pinned[i], pin{a, places[j]})
	}
	m.Interfaces = append(m.Interfaces, i)
}

// port reads which VLANs an interface's port is in. It returns false when that is wrong.
func (l *loader) port(f *fields, i *Interface) bool {
	known := func(id int, at hcl.Range) bool {
		if i.Switch.VLAN(id) != nil {
			return true
		}
		if len(i.Switch.VLANs) == 0 {
			l.errorf(at, "Unknown VLAN", "Switch %q has no VLANs. Add vlan \"%d\" { … } to it.", i.Switch.Name, id)
			return false
		}
		var present []string
		for _, v := range i.Switch.VLANs {
			present = append(present, strconv.Itoa(v.ID))
		}
		l.errorf(at, "Unknown VLAN", "Switch %q has no VLAN %d.%s Add vlan \"%[2]d\" { … } to it, or use one that it has.", i.Switch.Name, id, Suggest("", present, "There are"))
		return false
	}
	id, at, valid := f.optional("vlan", 1, maxVLAN)
	elements, trunk := f.elements("trunk")
	switch {
	case !valid || !trunk:
		return false
	case id != 0 && len(elements) > 0:
		l.clash(f.at["trunk"], f.at["vlan"], "Both access and trunk", "A port is in one VLAN without a tag (vlan), or carries several with theirs (trunk). Remove one of the two; the other is at %s.")
		return false
	case id != 0 && !known(id, at):
		return false
	case id != 0 && len(i.Switch.VLAN(id).Subnets) == 0:
		l.errorf(at, "VLAN without a subnet", "An interface gets its address from the subnet of its VLAN, and VLAN %d of switch %q has none. Add one: subnet = \"10.%d.0.0/24\".", id, i.Switch.Name, id%256)
		return false
	}
	i.VLAN = id
	first := map[int]hcl.Range{}
	for _, e := range elements {
		id, ok := f.asInteger("trunk", e.value, e.at, 1, maxVLAN, "")
		if !ok || !known(id, e.at) {
			valid = false
			continue
		}
		if at, ok := first[id]; ok {
			l.clash(e.at, at, "Duplicate VLAN", "%d is already in the list, at %s. Remove one of the two.", id)
			valid = false
			continue
		}
		first[id] = e.at
		i.Trunk = append(i.Trunk, id)
	}
	slices.Sort(i.Trunk)
	return valid
}
