package lab

import (
	"cmp"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// shape describes what a block may contain; the values below are the whole grammar of the language.
type shape struct {
	a        string // "a node", as in messages
	label    string // what its label is; empty: it has none
	attrs    []string
	required []string
	blocks   map[string]*shape
	open     bool // its contents are decoded elsewhere
	most     int  // how often it can be repeated, where that is not maxCount
}

var (
	file = &shape{
		a: "a definition",
		blocks: map[string]*shape{
			"lab": {a: "a lab", label: "name", attrs: []string{"about"}},
			"variable": {a: "a variable", label: "name", attrs: []string{"default", "type", "description"}, blocks: map[string]*shape{
				"validation": {a: "a validation", attrs: []string{"condition", "error_message"}, required: []string{"condition", "error_message"}},
			}},
			"output": {a: "an output", label: "name", attrs: []string{"value", "description"}, required: []string{"value"}},
			"locals": {a: "a locals block", open: true},
			"switch": {
				a: "a switch", label: "name",
				attrs: []string{"count", "for_each", "subnet", "mtu", "rate", "delay", "jitter", "loss", "wire"}, required: []string{"subnet"},
				blocks: map[string]*shape{"vlan": {a: "a VLAN", label: "number", attrs: []string{"subnet"}}},
			},
			"node": {
				a: "a node", label: "name",
				attrs:  []string{"count", "datapath", "for_each", "gateway", "pod_cidr", "pod_labels", "pods", "serve"},
				blocks: map[string]*shape{"on": on, "route": route, "pod": pod, "process": process},
			},
			"router":   {a: "a router", label: "name", attrs: []string{"count", "for_each", "gateway", "serve"}, blocks: map[string]*shape{"on": on, "route": route, "process": process}},
			"host":     {a: "a host", label: "name", attrs: []string{"count", "for_each", "gateway", "serve"}, blocks: map[string]*shape{"on": on, "route": route, "process": process}},
			"network":  {a: "a network", label: "name", attrs: []string{"cidr", "driver", "mode", "mtu"}, required: []string{"cidr"}},
			"mode":     {a: "a mode", label: "name", open: true},
			"services": {a: "a services block", attrs: []string{"cidr", "masquerade_all", "node_ports", "proxy", "scheduler"}},
			"service": {a: "a service", label: "name", most: maxServices, attrs: []string{"address", "affinity", "count", "endpoints", "external_address", "external_traffic", "for_each", "internal_traffic", "selector", "type"}, blocks: map[string]*shape{
				"port": {a: "a port", label: "name", attrs: []string{"node_port", "port", "protocol", "target"}, required: []string{"port"}},
			}},
			"compare": {a: "a compare block", attrs: []string{"modes", "proxies", "paths", "measures", "rounds"}, required: []string{"modes"}, blocks: map[string]*shape{"sweep": sweep}},
		},
	}
	sweep = &shape{a: "a sweep", label: "what is swept", attrs: []string{"values"}, required: []string{"values"}}
	on    = &shape{a: "an on block", label: "switch name", attrs: []string{"address", "name", "trunk", "vlan"}}
	route = &shape{a: "a route", attrs: []string{"to", "via", "weights"}, required: []string{"to", "via"}}
	pod   = &shape{a: "a pod", label: "name", attrs: []string{"address", "count", "for_each", "labels", "networks", "publish", "serve"}, blocks: map[string]*shape{"container": container}}

	container = &shape{a: "a container", label: "name", attrs: programAttributes, required: []string{"command"}}
	process   = &shape{a: "a process", label: "name", attrs: append([]string{"delegate"}, programAttributes...), required: []string{"command"}}

	programAttributes = []string{"capabilities", "command", "cpus", "env", "memory", "pids", "ready", "restart", "user"}
)

// terraform are blocks of Terraform that a lab has nothing like.
var terraform = []string{"resource", "data", "module", "provider", "terraform", "import", "moved", "check"}

// shape reports what does not belong in a body, and what is missing from it.
func (l *loader) shape(s *shape, typ string, body *hclsyntax.Body) {
	if s.open {
		if typ == "locals" {
			for _, b := range body.Blocks {
				l.errorf(b.DefRange(), "Unexpected block", "A locals block contains only lines of the form name = value.")
			}
		}
		return
	}
	blocks := slices.Sorted(maps.Keys(s.blocks))
	for _, a := range attributes(body) {
		switch {
		case slices.Contains(s.attrs, a.Name):
		case slices.Contains(blocks, a.Name):
			l.broken[a] = true
			l.errorf(a.NameRange, "Block expected", "%q is a block, not an attribute: write %s instead of %s = ….", a.Name, example(a.Name, s.blocks[a.Name]), a.Name)
		default:
			l.broken[a] = true
			l.errorf(a.NameRange, "Unknown attribute", "%s has no attribute %q.%s", upper(s.a), a.Name, Suggest(a.Name, s.attrs, upper(s.a)+" takes"))
		}
	}
	for _, b := range body.Blocks {
		inner, ok := s.blocks[b.Type]
		switch {
		case b.Type == "dynamic" && s == file:
			l.errorf(b.TypeRange, "Unknown block", "dynamic generates blocks inside another block. Repeat a block of the file with count or for_each.")
		case b.Type == "dynamic" && len(s.blocks) > 0 && typ != "variable":
			l.dynamic(s, b)
		case ok:
			l.labels(inner, b)
			l.shape(inner, b.Type, b.Body)
		case slices.Contains(s.attrs, b.Type):
			l.errorf(b.TypeRange, "Attribute expected", "%q is an attribute, not a block: write %s = ….", b.Type, b.Type)
		case slices.Contains(terraform, b.Type):
			l.errorf(b.TypeRange, "Unknown block", "%s has no block %q. A lab consists of switch, node, router, host and network blocks; docs/language.md lists all blocks.", upper(s.a), b.Type)
		default:
			l.errorf(b.TypeRange, "Unknown block", "%s has no block %q.%s", upper(s.a), b.Type, Suggest(b.Type, blocks, upper(s.a)+" takes"))
		}
	}
	for _, name := range s.required {
		if body.Attributes[name] == nil {
			l.errorf(missing(body), "Missing attribute", "%s needs the attribute %q.", upper(s.a), name)
		}
	}
}

func (l *loader) labels(s *shape, b *hclsyntax.Block) {
	switch {
	case s.label == "" && len(b.Labels) > 0:
		l.errorf(b.LabelRanges[0], "Unexpected label", "%s has no label: write %s {.", upper(s.a), b.Type)
	case s.label != "" && len(b.Labels) == 0:
		l.errorf(b.TypeRange, "Missing label", "%s needs its %s: write %s.", upper(s.a), s.label, example(b.Type, s))
	case len(b.Labels) > 1:
		l.errorf(b.LabelRanges[1], "Second label", "%s has one label, its %s. Remove this one.", upper(s.a), s.label)
	}
}

func example(typ string, s *shape) string {
	if s.label != "" {
		return typ + ` "…" { … }`
	}
	return typ + " { … }"
}

// missing is the place to report what a body lacks: its opening brace.
func missing(body *hclsyntax.Body) hcl.Range {
	at := body.SrcRange
	at.End = at.Start
	at.End.Column++
	at.End.Byte++
	return at
}

// attributes returns a body's attributes in the order of the file.
func attributes(body *hclsyntax.Body) []*hclsyntax.Attribute {
	return slices.SortedFunc(maps.Values(body.Attributes), func(a, b *hclsyntax.Attribute) int {
		return cmp.Compare(a.SrcRange.Start.Byte, b.SrcRange.Start.Byte)
	})
}
