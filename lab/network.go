package lab

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// DefaultMode is the mode of a network that names none: the one that adds nothing but routes.
const DefaultMode = "host-gw"

// Drivers are what a network can be that no mode connects, as Docker calls it.
var Drivers = []string{"bridge"}

// named notes what the networks are called: pods name theirs, and are decoded before them.
func (l *loader) named(networks []*hclsyntax.Block) {
	l.bridges = map[string]bool{}
	for _, b := range networks {
		switch {
		case len(b.Labels) == 0:
		case l.driven(b):
			l.bridges[b.Labels[0]] = true
		case l.podNet == "":
			l.podNet = b.Labels[0]
		}
	}
}

// driven reports whether a network has a driver, also a wrong one.
func (l *loader) driven(b *hclsyntax.Block) bool {
	a := b.Body.Attributes["driver"]
	if a == nil {
		return false
	}
	v, diags := a.Expr.Value(l.eval)
	return diags.HasErrors() || !v.IsNull()
}

// networks decodes the pod network, and the bridges of nodes.
func (l *loader) networks(lab *Lab, blocks []*hclsyntax.Block) {
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		n, driven := l.network(b), l.driven(b)
		if !driven && lab.Network != nil {
			l.clash(n.Range, lab.Network.Range, "Second pod network",
				"A lab has one pod network; it is at %s. Merge the two, or write driver = \"bridge\" into this one: then it is a bridge of its own on every node that has pods in it, as with \"docker network create\".")
			continue
		}
		if n.Name != "" {
			if at, taken := first[n.Name]; taken {
				l.clash(b.LabelRanges[0], at, "Duplicate network", "There is a network %q already, at %s. Give one of the two another name.", n.Name)
				continue
			}
			first[n.Name] = b.LabelRanges[0]
		}
		if driven {
			lab.Bridges = append(lab.Bridges, n)
		} else {
			lab.Network = n
		}
	}
}

func (l *loader) network(b *hclsyntax.Block) *Network {
	f := l.fields(file.blocks["network"], b.Body, l.eval)
	n := &Network{Mode: DefaultMode, Range: b.DefRange(), At: f.at}
	if len(b.Labels) > 0 {
		n.Name = b.Labels[0]
		if n.Name == NoNetwork || n.Name == HostNetwork {
			l.errorf(b.LabelRanges[0], "Reserved name", "networks = [%q] means something else: a pod without a network, or in its node's. Give this network another name.", n.Name)
		}
		l.checkName("network", n.Name, b.LabelRanges[0])
	}
	n.CIDRs, _, _ = f.prefixes("cidr")
	n.Driver = f.word("driver", "driver", Drivers)
	if mode, at, ok := f.text("mode"); ok {
		n.Mode = mode
		l.checkName("mode", mode, at)
		if other, both := f.at["driver"]; both {
			l.clash(at, other, "Both mode and driver", "A mode connects the pods of all nodes, and a network with a driver is each node's own. Remove one of the two; the driver is at %s.")
		}
	}
	if n.Driver != "" {
		l.bridge(n)
	}
	if mtu, at, ok := f.integer("mtu", minMTU, maxMTU, " bytes"); ok {
		n.MTU = mtu
		for _, cidr := range n.CIDRs {
			if cidr.Addr().Is6() && mtu < minMTU6 {
				l.errorf(at, "MTU too small for IPv6", "IPv6 needs an MTU of at least %d bytes, and the pods have addresses of %s.", minMTU6, cidr)
			}
		}
	}
	return n
}

func (l *loader) modes(blocks []*hclsyntax.Block) []*ModeBlock {
	var modes []*ModeBlock
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		f := l.fields(file.blocks["mode"], b.Body, l.eval)
		use, useAt, hasUse := f.text("use")
		if hasUse {
			l.checkName("mode", use, useAt)
		}
		l.evaluates(b.Body)
		if len(b.Labels) != 1 || !l.checkName("mode", b.Labels[0], b.LabelRanges[0]) || l.anyBroken(b.Body) {
			continue
		}
		name := b.Labels[0]
		if at, ok := first[name]; ok {
			l.clash(b.LabelRanges[0], at, "Duplicate mode block", "%q already has settings. Give this block a name of its own, and use = %q in it, or merge it with the one at %s.", name, name)
			continue
		}
		first[name] = b.LabelRanges[0]
		if !hasUse {
			use = name
		}
		cidrs, _, _ := f.prefixes("cidr")
		_, rest, diags := b.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "use"}, {Name: "cidr"}}})
		l.report(diags...)
		modes = append(modes, &ModeBlock{Name: name, Use: use, CIDRs: cidrs, Body: rest, Eval: l.eval, Range: b.DefRange(), Whole: b.Range(), At: f.at})
	}
	return modes
}

// Each are the settings of modes that are evaluated for each node, or each pod, and what their expressions have of those.
var Each = map[string]map[string][]string{
	"conflist":     {"node": nodeNames},
	"capabilities": {"node": nodeNames, "pod": {"index", "name"}},
	"files":        {"node": nodeNames},
}

var nodeNames = []string{"address", "index", "mtu", "name", "pod_cidr", "pod_cidrs"}

// evaluates reports the settings whose expressions are wrong, so that those of a mode that is not asked for are not found
// wrong only when it is.
func (l *loader) evaluates(body *hclsyntax.Body) {
	f := l.fields(file.blocks["mode"], body, l.eval)
	for _, a := range attributes(body) {
		if of := Each[a.Name]; of != nil {
			f.ctx = l.eval.NewChild()
			f.ctx.Variables = map[string]cty.Value{}
			for name := range of {
				f.ctx.Variables[name] = cty.DynamicVal
			}
		}
		f.value(a)
		f.ctx = l.eval
	}
	for _, b := range body.Blocks {
		l.evaluates(b.Body)
	}
}

// anyBroken reports whether a body has a reference that was reported.
func (l *loader) anyBroken(body *hclsyntax.Body) bool {
	for _, a := range body.Attributes {
		if l.broken[a] {
			return true
		}
	}
	return slices.ContainsFunc(body.Blocks, func(b *hclsyntax.Block) bool { return l.anyBroken(b.Body) })
}

const maxRounds = 1000

var (
	paths    = []string{"host-host", "same-node", "cross-node", "node-pod", "pod-node"}
	measures = []string{"tcp-stream", "tcp-rr", "udp-rr", "tcp-crr", "udp-rate", "latency-under-load", "latency-at-rate", "one-way", "service-setup", "service-rr", "service-programming", "path-cost", "lifecycle"}
)

func (l *loader) compare(blocks, variables []*hclsyntax.Block) *Compare {
	if len(blocks) == 0 {
		return nil
	}
	l.once(blocks)
	b := blocks[0]
	f := l.fields(file.blocks["compare"], b.Body, l.eval)
	c := &Compare{Range: b.DefRange(), At: f.at}
	c.Modes, c.ModesAt = f.words("modes", "mode", nil)
	c.Proxies, _ = f.words("proxies", "proxy", Proxies)
	c.Paths, _ = f.words("paths", "path", paths)
	c.Measures, _ = f.words("measures", "measure", measures)
	c.Rounds, _, _ = f.integer("rounds", 1, maxRounds, "")
	first := map[string]hcl.Range{}
	for _, sw := range l.blocks(file.blocks["compare"], "sweep", b.Body, l.eval) {
		if len(sw.Labels) != 1 {
			continue // which its shape says
		}
		name := sw.Labels[0]
		if at, ok := first[name]; ok {
			l.clash(sw.LabelRanges[0], at, "Duplicate sweep", "%q is already swept, at %s. Put all values into one block.", shorten(name))
			continue
		}
		first[name] = sw.LabelRanges[0]
		c.Sweeps = append(c.Sweeps, l.sweep(sw, name, variables))
	}
	return c
}

// What can be swept besides the variables: attributes of the switches, whether there are netfilter rules, and what translates
// services.
const (
	Firewall = "firewall"
	Proxy    = "proxy"
)

var swept = []string{"mtu", "rate", "delay", "jitter", "loss", Firewall, Proxy}

// sweep reads a block of compare.
func (l *loader) sweep(b inner, name string, variables []*hclsyntax.Block) Sweep {
	known := slices.Clone(swept)
	for _, v := range variables {
		known = append(known, v.Labels...)
	}
	if !slices.Contains(known, name) {
		l.errorf(b.LabelRanges[0], "Nothing to sweep", "There is neither a variable nor an attribute of switches %q.%s", shorten(name), Suggest(name, known, "There are"))
	}
	s := Sweep{Name: name}
	f := l.fields(file.blocks["compare"].blocks["sweep"], b.Body, b.ctx)
	elements, ok := f.elements("values")
	if at, given := f.at["values"]; ok && given && len(elements) < 2 {
		l.errorf(at, "Too few values", "One value is no sweep. Give two or more.")
	}
	for _, e := range elements {
		v, err := convert.Convert(e.value, cty.String)
		switch {
		case err != nil || !v.IsKnown() || v.IsNull():
			l.errorf(e.at, "Wrong type", "A value must be a string, a number or a boolean, not %s.", kindOf(e.value))
		case slices.Contains(s.Values, v.AsString()):
			l.errorf(e.at, "Duplicate value", "%q is already among the values.", shorten(v.AsString()))
		case name == Firewall && v.AsString() != "on" && v.AsString() != "off":
			l.errorf(e.at, "Wrong value", "The firewall is \"on\" or \"off\", not %q.", shorten(v.AsString()))
		default:
			s.Values = append(s.Values, v.AsString())
		}
	}
	return s
}

// words reads a list of different words out of those that are known.
func (f *fields) words(name, what string, known []string) (words []string, places []hcl.Range) {
	items, _ := f.list(name)
	first := map[string]hcl.Range{}
	for _, it := range items {
		if at, ok := first[it.text]; ok {
			f.l.clash(it.at, at, "Duplicate "+what, "%q is already in the list, at %s. Remove one of the two.", shorten(it.text))
			continue
		}
		first[it.text] = it.at
		switch {
		case known == nil:
			f.l.checkName(what, it.text, it.at)
		case !slices.Contains(known, it.text):
			f.l.errorf(it.at, "Unknown "+what, "There is no %s %q.%s", what, shorten(it.text), Suggest(it.text, known, "There are"))
		}
		words, places = append(words, it.text), append(places, it.at)
	}
	return words, places
}

// word reads one of the words that are known.
func (f *fields) word(name, what string, known []string) string {
	word, at, ok := f.text(name)
	if ok && !slices.Contains(known, word) {
		f.l.errorf(at, "Unknown "+what, "There is no %s %q.%s", what, shorten(word), Suggest(word, known, "There are"))
		return ""
	}
	return word
}
