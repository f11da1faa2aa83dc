package lab

import (
	"net/netip"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// resources are the kinds of blocks that outputs can refer to, as node.NAME.
var resources = []string{"switch", "node", "router", "host"}

var (
	interfaceType = cty.Object(map[string]cty.Type{"name": cty.String, "switch": cty.String, "vlan": cty.Number, "addresses": cty.List(cty.String)})
	machineType   = cty.Object(map[string]cty.Type{"name": cty.String, "addresses": cty.List(cty.String), "interfaces": cty.List(interfaceType), "pods": cty.List(cty.String)})
	switchType    = cty.Object(map[string]cty.Type{"name": cty.String, "subnets": cty.List(cty.String), "mtu": cty.Number})
)

// repetition is what a block was expanded to.
type repetition struct {
	block     *hclsyntax.Block
	instances []instance
}

func (l *loader) expanded(b *hclsyntax.Block, instances []instance) {
	if len(b.Labels) > 0 {
		l.repetitions = append(l.repetitions, repetition{b, instances})
	}
}

// resources are the values that outputs refer to: an object for a block, a list of them where it has a count, and a map where
// it has a for_each.
func (l *loader) resources(lab *Lab) map[string]cty.Value {
	values := map[string]cty.Value{}
	for _, s := range lab.Switches {
		values[s.Name] = cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(s.Name), "subnets": stringList(s.Subnets, netip.Prefix.String), "mtu": cty.NumberIntVal(int64(s.MTU))})
	}
	for _, m := range lab.Machines {
		values[m.Name] = m.value()
	}
	kinds := map[string]map[string]cty.Value{}
	for _, kind := range resources {
		kinds[kind] = map[string]cty.Value{}
	}
	for _, r := range l.repetitions {
		ty := machineType
		if r.block.Type == "switch" {
			ty = switchType
		}
		kinds[r.block.Type][r.block.Labels[0]] = r.value(ty, values)
	}
	roots := map[string]cty.Value{}
	for kind, blocks := range kinds {
		roots[kind] = cty.ObjectVal(blocks)
	}
	return roots
}

func (r repetition) value(ty cty.Type, values map[string]cty.Value) cty.Value {
	list, byKey := []cty.Value{}, map[string]cty.Value{}
	for _, in := range r.instances {
		v, ok := values[in.name]
		if in.dry || !ok { // a mistake in it was reported
			return cty.DynamicVal
		}
		list = append(list, v)
		if in.key != "" {
			byKey[in.key] = v
		}
	}
	switch {
	case !isRepeated(r):
		return list[0]
	case r.block.Body.Attributes["count"] != nil && len(list) == 0:
		return cty.ListValEmpty(ty)
	case r.block.Body.Attributes["count"] != nil:
		return cty.ListVal(list)
	case len(byKey) == 0:
		return cty.MapValEmpty(ty)
	}
	return cty.MapVal(byKey)
}

// isRepeated: with a count or for_each that is null a block is one thing, under its own name.
func isRepeated(r repetition) bool {
	return len(r.instances) != 1 || r.instances[0].name != r.block.Labels[0]
}

func (m *Machine) value() cty.Value {
	var addresses []netip.Addr
	interfaces := cty.ListValEmpty(interfaceType)
	var all []cty.Value
	for _, i := range m.Interfaces {
		var own []netip.Addr
		for _, a := range i.Addresses {
			own = append(own, a.Addr())
		}
		addresses = append(addresses, own...)
		all = append(all, cty.ObjectVal(map[string]cty.Value{
			"name": cty.StringVal(i.Name), "switch": cty.StringVal(i.Switch.Name), "vlan": cty.NumberIntVal(int64(i.VLAN)), "addresses": stringList(own, netip.Addr.String),
		}))
	}
	if len(all) > 0 {
		interfaces = cty.ListVal(all)
	}
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(m.Name), "addresses": stringList(addresses, netip.Addr.String), "interfaces": interfaces,
		"pods": stringList(m.Pods, func(p *Pod) string { return p.Name }),
	})
}

func stringList[T any](list []T, text func(T) string) cty.Value {
	if len(list) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	values := make([]cty.Value, len(list))
	for i, e := range list {
		values[i] = cty.StringVal(text(e))
	}
	return cty.ListVal(values)
}
