package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// Layer is a part of a plan that concerns the whole cluster: the underlay, a pod network, what lies over both. Layers are
// planned one after the other, each on what those before it have made.
type Layer interface {
	// Needs lists what the kernel must have, or what can stand in for it.
	Needs(*Cluster) []Need
	// Plan adds the layer's objects to the state.
	Plan(*Cluster, *State) hcl.Diagnostics
	// Expect says what becomes of a flow, given what the layers below make of it.
	Expect(Flow, Expectation) Expectation
}

// Options says how a lab is planned.
type Options struct {
	Instance string // name of the instance; empty: the lab's own
	Mode     string // overrides the network's mode
	Proxy    string // overrides the services' proxy
	Wire     string // overrides the switches' wire model
	Rate     uint64 // bit/s; overrides the switches' rate
	Impair   Impairments
	Modes    Modes
	Features Features
	Idle     bool // nothing runs in machines and pods: neither programs nor responders
}

// Plan is a lab in one mode: what it wants the kernel to be, and what is then to be expected.
type Plan struct {
	Cluster  *Cluster
	ModeName string // as asked for: the variant's name
	Mode     Mode   // nil where the lab has no pod network
	Proxy    string // what translates services; empty where the lab has none
	State    *State

	layers []Layer
	walk   *walker // over the machines
}

// maxObjects is how many objects a lab may have in the kernel: with as many, planning takes ten seconds and a gigabyte.
var maxObjects = 1 << 22

// Build plans a lab. It reports what is wrong, and then returns no plan.
func Build(l *lab.Lab, opt Options) (p *Plan, diags hcl.Diagnostics) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tooLarge:
			p, diags = nil, append(diags, oversized(l, opt))
		default:
			panic(r)
		}
		diags = lab.Limit(diags)
	}()
	return build(l, opt)
}

func oversized(l *lab.Lab, opt Options) *hcl.Diagnostic {
	d := &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Lab too large", Subject: l.Range.Ptr(),
		Detail: fmt.Sprintf("Lab %q has more than %d links, addresses, routes and other objects. Use fewer machines.", l.Name, maxObjects),
	}
	if n := l.Network; n != nil {
		d.Subject = n.At.Of("mode", n.Range).Ptr()
		d.Detail = fmt.Sprintf("In mode %s the lab has more than %d links, addresses, routes and the like; with %d nodes that each know every other one they are many. Use fewer nodes.",
			cmp.Or(opt.Mode, n.Mode), maxObjects, len(l.Of(lab.Node)))
	}
	return d
}

func build(l *lab.Lab, opt Options) (*Plan, hcl.Diagnostics) {
	p := &Plan{}
	decoded, diags := opt.Modes.decode(l)
	if l.Compare != nil {
		for i, name := range l.Compare.Modes {
			if _, known := decoded[name]; !known {
				diags = append(diags, unknownMode(l, opt, name, l.Compare.ModesAt[i].Ptr()))
			}
		}
	}
	switch {
	case l.Network != nil:
		p.ModeName = cmp.Or(opt.Mode, l.Network.Mode)
		var known bool
		if p.Mode, known = decoded[p.ModeName]; !known {
			var at *hcl.Range // none where the command line names it
			if opt.Mode == "" {
				at = l.Network.At.Of("mode", l.Network.Range).Ptr()
			}
			diags = append(diags, unknownMode(l, opt, p.ModeName, at))
		}
	case opt.Mode != "":
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  "No pod network",
			Detail:   fmt.Sprintf("A mode was asked for, but lab %q has no network block. Add one: network \"pods\" { cidr = \"10.42.0.0/16\" }.", l.Name),
			Subject:  l.Range.Ptr(),
		})
	}
	var more hcl.Diagnostics
	p.Proxy, more = chosenProxy(l, opt)
	if diags = append(diags, more...); diags.HasErrors() {
		return nil, diags
	}
	p.Cluster = newCluster(l.In(p.ModeName), cmp.Or(opt.Instance, l.Name))
	p.Cluster.wireModel, p.Cluster.rateLimit = opt.Wire, opt.Rate
	p.Cluster.impair = opt.Impair
	p.Cluster.Features = opt.Features
	p.layers = []Layer{underlay{p}}
	if diags = append(diags, bridges{p}.allocate()...); diags.HasErrors() {
		return nil, diags
	}
	if p.Mode != nil {
		pods := podNetwork{p, p.Cluster.Networks[0]}
		if diags = append(diags, pods.allocate()...); diags.HasErrors() {
			return nil, diags
		}
		p.layers = append(p.layers, pods)
	}
	p.layers = append(p.layers, bridges{p})
	if p.Mode != nil && l.Services != nil {
		p.layers = append(p.layers, services{p, p.Cluster.Networks[0]})
	}
	p.layers = append(p.layers, isolation{}, publishing{p})
	p.layers = append(p.layers, wires{})
	if !opt.Idle {
		p.layers = append(p.layers, serving{}, running{})
	}
	if diags = append(diags, p.needs()...); diags.HasErrors() {
		return nil, diags
	}
	if diags = append(diags, p.layOut()...); diags.HasErrors() {
		return nil, diags
	}
	return p, append(diags, p.narrows()...)
}

// layOut computes the state, one layer on the other.
func (p *Plan) layOut() hcl.Diagnostics {
	var diags hcl.Diagnostics
	p.State = &State{most: maxObjects}
	for _, layer := range p.layers {
		if diags = append(diags, layer.Plan(p.Cluster, p.State)...); diags.HasErrors() {
			return diags
		}
	}
	p.State.Resolve()
	return diags
}

// needs reports what the kernel lacks.
func (p *Plan) needs() hcl.Diagnostics {
	var diags hcl.Diagnostics
	features := p.Cluster.Features
	for _, layer := range p.layers {
		for _, n := range layer.Needs(p.Cluster) {
			if !features.Meets(n) {
				diags = append(diags, &hcl.Diagnostic{
					Severity: hcl.DiagError,
					Summary:  n.Feature.lacking(),
					Detail:   fmt.Sprintf("It is needed for %s. %s", n.By, features.Remedy(n)),
					Subject:  n.At.Ptr(),
				})
			}
		}
	}
	return diags
}

// decode reads every mode block of the lab, also those that are not used now, and the modes that have none. One that is
// wrong is nil.
func (m Modes) decode(l *lab.Lab) (map[string]Mode, hcl.Diagnostics) {
	var diags hcl.Diagnostics
	decoded := map[string]Mode{}
	for _, e := range m {
		mode, more := e.Mode.Decode(hcl.EmptyBody(), nil)
		diags = append(diags, more...)
		decoded[e.Name] = mode
	}
	for _, b := range l.Modes {
		mode := m.Get(b.Use)
		decoded[b.Name] = nil
		if mode == nil {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError,
				Summary:  "Unknown mode",
				Detail:   fmt.Sprintf("There is no mode %q.%s A variant says which mode it is with use = \"…\".", b.Use, lab.Suggest(b.Use, m.Names(), "The modes are")),
				Subject:  b.At.Of("use", b.Range).Ptr(),
			})
			continue
		}
		set, more := mode.Decode(b.Body, b.Eval)
		if diags = append(diags, more...); !more.HasErrors() {
			decoded[b.Name] = set
		}
	}
	return decoded, diags
}

func unknownMode(l *lab.Lab, opt Options, name string, at *hcl.Range) *hcl.Diagnostic {
	names := opt.Modes.Names()
	for _, b := range l.Modes {
		if !slices.Contains(names, b.Name) {
			names = append(names, b.Name)
		}
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  "Unknown mode",
		Detail:   fmt.Sprintf("There is no mode %q.%s", name, lab.Suggest(name, names, "This lab knows")),
		Subject:  at,
	}
}

// Resolve finds, for every route with a next hop, what makes the next hop reachable: an address of the device, or a
// route to it. The route is made after that and goes with it.
func (s *State) Resolve() {
	type device struct{ namespace, name string }
	type reach struct {
		prefix netip.Prefix
		by     Key
		table  int // that the route which reaches it is in; 0: an address reaches it, for all tables
	}
	reaches := map[device][]reach{}
	for k, o := range s.all() {
		switch o := o.(type) {
		case Address:
			if !o.NoPrefixRoute {
				d := device{o.Namespace, o.Link}
				reaches[d] = append(reaches[d], reach{o.Prefix.Masked(), k, 0})
			}
		case Route:
			direct := o.Scope == "link" || o.Dst.Addr().Is6() && o.Type == "" // routes of IPv6 have no scope
			if !o.Via.IsValid() && o.Hops == "" && direct {
				d := device{o.Namespace, o.Dev}
				reaches[d] = append(reaches[d], reach{o.Dst, k, o.Table})
			}
		}
	}
	for k, o := range s.all() {
		r, ok := o.(Route)
		if !ok || !r.Via.IsValid() && r.Hops == "" {
			continue
		}
		via, dev := r.Via, r.Dev
		if hops := r.Hops.All(); len(hops) > 0 { // addresses come before routes, so that one stands for all
			via, dev = hops[0].Via, hops[0].Dev
		}
		var on Key
		if !r.Onlink {
			best := -1
			for _, to := range reaches[device{r.Namespace, dev}] {
				if !to.prefix.Contains(via) || to.table != 0 && to.table != r.Table && to.table != TableMain {
					continue
				}
				// Of two that reach as narrowly an address is taken, and then the first by name.
				if cmp.Or(cmp.Compare(to.prefix.Bits(), best), cmp.Compare(on.Kind, to.by.Kind), strings.Compare(on.Name, to.by.Name)) > 0 {
					best, on = to.prefix.Bits(), to.by
				}
			}
		}
		if r.On != on {
			r.On = on
			s.put(k, r)
		}
	}
}
