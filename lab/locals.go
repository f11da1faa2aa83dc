package lab

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// locals returns the object "local". Locals refer to one another in any order, so each is evaluated after those it needs.
func (l *loader) locals(attrs map[string]*hclsyntax.Attribute) cty.Value {
	values := map[string]cty.Value{}
	f := l.fields(file.blocks["locals"], nil, l.eval.NewChild())
	f.ctx.Variables = map[string]cty.Value{}
	needs := map[string][]string{}
	for name, a := range attrs {
		for _, t := range a.Expr.Variables() {
			if t.RootName() == "local" && !l.broken[a] {
				needs[name] = append(needs[name], second(t))
			}
		}
	}
	for _, name := range l.order(attrs, needs) {
		values[name] = cty.DynamicVal
		a := attrs[name]
		// Only what it needs goes into its scope: building the whole object for each local would cost their square.
		scope := map[string]cty.Value{}
		for _, n := range needs[name] {
			scope[n] = values[n]
		}
		f.ctx.Variables["local"] = cty.ObjectVal(scope)
		if v, ok := f.value(a); ok {
			values[name] = v
		}
	}
	for name := range attrs {
		if _, ok := values[name]; !ok {
			values[name] = cty.DynamicVal
		}
	}
	return cty.ObjectVal(values)
}

// order sorts locals so that each comes after those it needs, and reports those that need themselves.
func (l *loader) order(attrs map[string]*hclsyntax.Attribute, needs map[string][]string) []string {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	var order, path []string
	var visit func(name string)
	visit = func(name string) {
		switch state[name] {
		case done:
			return
		case open:
			loop := append(slices.Clone(path[slices.Index(path, name):]), name)
			for i := range loop {
				l.broken[attrs[loop[i]]] = true
				loop[i] = "local." + loop[i]
			}
			if len(loop) > 10 {
				loop = append(loop[:9:9], "…", loop[len(loop)-1])
			}
			l.errorf(attrs[name].Expr.Range(), "Circular locals", "%s: the value of each depends on the next. Define one of them without the others.", strings.Join(loop, " → "))
			return
		}
		state[name] = open
		path = append(path, name)
		for _, n := range needs[name] {
			visit(n)
		}
		path = path[:len(path)-1]
		state[name] = done
		order = append(order, name)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		visit(name)
	}
	return order
}
