package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const (
	maxCount  = 4096
	maxPods   = 1024  // of a node
	maxLinks  = 50000 // interfaces of a lab
	maxSpaces = 20000 // namespaces of a lab: beyond this it is the machine it runs on that suffers
)

// datapaths are what a node can ask for.
var datapaths = []string{"kernel", "ebpf"}

// claim takes a name in the name space that switches, nodes, routers and hosts share.
func (l *loader) claim(what, name string, at hcl.Range) bool {
	if !l.space(at) || !l.checkName(what, name, at) {
		return false
	}
	if first, ok := l.names[name]; ok {
		l.clash(at, first, "Duplicate name", "There are two of the name %q; switches, nodes, routers and hosts share their names. Rename one of them; the other is at %s.", name)
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
		Detail:   fmt.Sprintf("From here on the lab has more than %d switches, machines and pods. Lower a count or the number of pods.", maxSpaces),
		Subject:  &at,
	})
	return false
}

// instance is one of the machines that a block stands for.
type instance struct {
	name string
	ctx  *hcl.EvalContext
	dry  bool // stands for none: only the mistakes in the block are wanted
}

// machines decodes a node, router or host block into as many machines as it stands for.
func (l *loader) machines(b *hclsyntax.Block) []*Machine {
	if l.exhausted() {
		return nil
	}
	instances, at := l.instances(b)
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

// instances expands count and for_each; at is the place that the names come from.
func (l *loader) instances(b *hclsyntax.Block) ([]instance, hcl.Range) {
	if len(b.Labels) == 0 {
		return nil, b.TypeRange
	}
	name, at := b.Labels[0], b.LabelRanges[0]
	alone := []instance{{name: name, ctx: l.eval}}
	f := l.fields(file.blocks[b.Type], b.Body, l.eval)
	count, each := b.Body.Attributes["count"], b.Body.Attributes["for_each"]
	switch {
	case count != nil && each != nil:
		l.clash(each.NameRange, count.NameRange, "Both count and for_each", "A block is repeated by one of them. Remove the other, at %s.")
		return nil, at
	case count != nil:
		n, numberAt, there, right := f.find("count")
		if !there && right {
			l.unrepeated(b.Body, "count", numberAt)
			return alone, at
		}
		instances, ok := f.counted(name, n, numberAt, right)
		if !ok {
			instances = []instance{{ctx: f.child("count", map[string]cty.Value{"index": cty.UnknownVal(cty.Number)}), dry: true}}
		}
		return instances, at
	case each != nil:
		v, valueAt, there, right := f.find("for_each")
		if !there && right {
			l.unrepeated(b.Body, "each", valueAt)
			return alone, at
		}
		instances, ok := f.forEach(name, v, valueAt, right)
		if !ok {
			instances = []instance{{ctx: f.child("each", map[string]cty.Value{"key": cty.DynamicVal, "value": cty.DynamicVal}), dry: true}}
		}
		return instances, each.Expr.Range()
	}
	return alone, at
}

// unrepeated reports what refers to count or each in a block whose count or for_each is null, and so left out.
func (l *loader) unrepeated(body *hclsyntax.Body, root string, null hcl.Range) {
	for _, a := range attributes(body) {
		for _, t := range a.Expr.Variables() {
			if t.RootName() == root && !l.broken[a] {
				l.broken[a] = true
				l.clash(t.SourceRange(), null, "Nothing to count", "%s exists only in a block that is repeated, and null counts as left out, at %s.", root)
			}
		}
	}
	for _, b := range body.Blocks {
		l.unrepeated(b.Body, root, null)
	}
}

func (f *fields) child(root string, v map[string]cty.Value) *hcl.EvalContext {
	ctx := f.ctx.NewChild()
	ctx.Variables = map[string]cty.Value{root: cty.ObjectVal(v)}
	return ctx
}

func (f *fields) counted(name string, v cty.Value, at hcl.Range, right bool) ([]instance, bool) {
	if !right {
		return nil, false
	}
	n, ok := f.asInteger("count", v, at, 0, maxCount, "")
	if !ok {
		return nil, false
	}
	instances := make([]instance, n)
	for i := range instances {
		instances[i] = instance{name: name + strconv.Itoa(i+1), ctx: f.child("count", map[string]cty.Value{"index": cty.NumberIntVal(int64(i))})}
	}
	return instances, true
}

func (f *fields) forEach(name string, v cty.Value, at hcl.Range, right bool) ([]instance, bool) {
	if !right {
		return nil, false
	}
	ty := v.Type()
	switch {
	case ty.IsMapType(), ty.IsObjectType():
	case ty.IsSetType() && (ty.ElementType() == cty.String || v.LengthInt() == 0):
	case ty.IsTupleType(), ty.IsListType():
		f.l.errorf(at, "Wrong type", "for_each takes a map, or a set of strings. Make a set of the list with toset( … ).")
		return nil, false
	default:
		f.l.errorf(at, "Wrong type", "for_each takes a map, or a set of strings, not %s.", kindOf(v))
		return nil, false
	}
	if v.LengthInt() > maxCount {
		f.l.errorf(at, "Too many machines", "One block stands for at most %d machines; this is %d.", maxCount, v.LengthInt())
		return nil, false
	}
	var instances []instance
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if ty.IsSetType() {
			key = value
		}
		if key.IsNull() {
			f.l.errorf(at, "Wrong type", "for_each has a key that is null.")
			return nil, false
		}
		instances = append(instances, instance{name: name + "-" + key.AsString(), ctx: f.child("each", map[string]cty.Value{"key": key, "value": value})})
	}
	return instances, true
}

func (l *loader) machine(b *hclsyntax.Block, in instance, at hcl.Range) *Machine {
	f := l.fields(file.blocks[b.Type], b.Body, in.ctx)
	m := &Machine{Kind: Kind(b.Type), Name: in.name, Range: b.DefRange(), At: f.at}
	named := !in.dry && l.claim(b.Type, in.name, at)
	for _, inner := range b.Body.Blocks {
		if l.exhausted() {
			break
		}
		switch inner.Type {
		case "on":
			l.on(m, inner, in.ctx)
		case "route":
			l.route(m, inner, in.ctx)
		}
	}
	if !slices.ContainsFunc(b.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "on" }) {
		l.errorf(missing(b.Body), "Not connected", "A %s is on at least one switch: add on \"…\" {}.%s", b.Type, Suggest("", slices.Sorted(maps.Keys(l.switches)), "Switches:"))
	}
	l.gateways(m, f)
	if m.Kind == Node {
		l.pods(m, b, f)
		m.Datapath = f.word("datapath", "datapath", datapaths)
	}
	if !named {
		return nil
	}
	return m
}

func (l *loader) on(m *Machine, b *hclsyntax.Block, ctx *hcl.EvalContext) {
	f := l.fields(on, b.Body, ctx)
	addrs, places, _ := f.addresses("address")
	if len(b.Labels) == 0 {
		return
	}
	s, ok := l.switches[b.Labels[0]]
	if !ok && l.heard("Unknown switch", b.LabelRanges[0]) {
		return
	}
	if !ok {
		l.errorf(b.LabelRanges[0], "Unknown switch", "There is no switch %q.%s", shorten(b.Labels[0]), Suggest(b.Labels[0], slices.Sorted(maps.Keys(l.switches)), "There are"))
		return
	}
	if l.links++; l.links > maxLinks {
		l.errorf(b.DefRange(), "Lab too large", "From here on the lab has more than %d interfaces. Lower a count, or put the machines on fewer switches.", maxLinks)
		l.spaces = maxSpaces + 1 // nothing more is made
		return
	}
	i := &Interface{Name: l.interfaceName(m, b, f), Switch: s, Range: b.DefRange(), At: f.at}
	if !l.port(f, i) {
		// Which subnets it would have is not known: what else is said about the machine is not held against them.
		i.Switch = &Switch{Name: s.Name}
		m.Interfaces = append(m.Interfaces, i)
		return
	}
	for _, other := range m.Interfaces {
		if other.Segment() != i.Segment() {
			continue
		}
		if i.VLAN == 0 {
			l.clash(b.LabelRanges[0], other.Range, "Twice on one switch", "%s is already on %q, at %s. A second address belongs into the list of the first block.", m.Name, s.Name)
		} else {
			l.clash(b.LabelRanges[0], other.Range, "Twice in one VLAN", "%s is already in %s, at %s. A second address belongs into the list of the first block.", m.Name, i.Segment())
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
			l.errorf(at, "Unknown VLAN", "Switch %q has no VLANs. Write vlan \"%d\" { … } into it.", i.Switch.Name, id)
			return false
		}
		var there []string
		for _, v := range i.Switch.VLANs {
			there = append(there, strconv.Itoa(v.ID))
		}
		l.errorf(at, "Unknown VLAN", "Switch %q has no VLAN %d.%s Write vlan \"%[2]d\" { … } into it, or take one that it has.", i.Switch.Name, id, Suggest("", there, "There are"))
		return false
	}
	id, at, right := f.optional("vlan", 1, maxVLAN)
	elements, trunk := f.elements("trunk")
	switch {
	case !right || !trunk:
		return false
	case id != 0 && len(elements) > 0:
		l.clash(f.at["trunk"], f.at["vlan"], "Both access and trunk", "A port is in one VLAN without a tag (vlan), or carries several with theirs (trunk). Remove one of the two; the other is at %s.")
		return false
	case id != 0 && !known(id, at):
		return false
	case id != 0 && len(i.Switch.VLAN(id).Subnets) == 0:
		l.errorf(at, "VLAN without a subnet", "An interface has addresses of its VLAN's subnet, and VLAN %d of switch %q has none. Add one: subnet = \"10.%d.0.0/24\".", id, i.Switch.Name, id%256)
		return false
	}
	i.VLAN = id
	first := map[int]hcl.Range{}
	for _, e := range elements {
		id, ok := f.asInteger("trunk", e.value, e.at, 1, maxVLAN, "")
		if !ok || !known(id, e.at) {
			right = false
			continue
		}
		if at, ok := first[id]; ok {
			l.clash(e.at, at, "Duplicate VLAN", "%d is already in the list, at %s. Remove one of the two.", id)
			right = false
			continue
		}
		first[id] = e.at
		i.Trunk = append(i.Trunk, id)
	}
	slices.Sort(i.Trunk)
	return right
}

func (l *loader) route(m *Machine, b *hclsyntax.Block, ctx *hcl.EvalContext) {
	f := l.fields(route, b.Body, ctx)
	r := &Route{Range: b.DefRange(), At: f.at}
	to, toAt, hasTo := f.text("to")
	via, viaAt, hasVia := f.text("via")
	var okTo, okVia bool
	if hasTo {
		r.To, okTo = l.cidr(item{to, toAt})
	}
	if hasVia {
		r.Via, okVia = l.address(item{via, viaAt})
	}
	if !okTo || !okVia {
		return
	}
	if r.To.Addr().Is6() != r.Via.Is6() {
		l.errorf(viaAt, "Mixed families", "A route to %s (%s) cannot go via %s (%s).", r.To, family(r.To.Addr()), r.Via, family(r.Via))
		return
	}
	for _, other := range m.Routes {
		if other.To == r.To {
			l.clash(toAt, other.At.Of("to", other.Range), "Duplicate route", "%s already has a route to %s, at %s. Remove one of the two.", m.Name, r.To)
			return
		}
	}
	if l.onLink(m, r.Via, viaAt, "via") {
		m.Routes = append(m.Routes, r)
	}
}

func (l *loader) gateways(m *Machine, f *fields) {
	addrs, places, _ := f.addresses("gateway")
	for i, a := range addrs {
		for _, r := range m.Routes {
			if r.To.Bits() == 0 && r.To.Addr().Is6() == a.Is6() {
				l.clash(places[i], r.Range, "Two default routes", "The gateway is the default route of %s, and there is another at %s. Remove one of the two.", m.Name)
			}
		}
		if l.onLink(m, a, places[i], "gateway") {
			m.Gateways = append(m.Gateways, a)
		}
	}
}

// onLink reports an address that the machine cannot send to directly.
func (l *loader) onLink(m *Machine, a netip.Addr, at hcl.Range, what string) bool {
	var subnets []netip.Prefix
	for _, i := range m.Interfaces {
		own := i.Segment().Subnets()
		if len(own) == 0 { // reported with the switch
			return true
		}
		if subnet, ok := containing(own, a); ok {
			return l.host(a, subnet, subnet.String(), at)
		}
		subnets = append(subnets, own...)
	}
	if len(subnets) == 0 {
		return true
	}
	l.errorf(at, "Not on a subnet of the machine", "%q is an address on one of %s's own switches, so that it can be sent to directly: %s is not in %s.", what, m.Name, a, join(subnets))
	return false
}
