package plan

import (
	"slices"

	"labnet/lab"
)

// Knowing is what a node's proxy would make other than it is to be, if it knew other services: objects that would be in the place of
// others or beside them, and those that would not be there.
func (p *Plan) Knowing(n *Node, services ...*lab.Service) (put []Object, remove []Key) {
	is, would := p.proxied(n, p.Cluster.Lab.Services.All), p.proxied(n, services)
	is.Each(func(o Object) {
		if would.Get(o.Key()) == nil {
			remove = append(remove, o.Key())
		}
	})
	would.Each(func(o Object) {
		was := is.Get(o.Key())
		switch w := was.(type) { // where they are listed is no difference
		case Chain:
			made := o.(Chain)
			made.Place = w.Place
			o = made
		case Set:
			made := o.(Set)
			made.Place = w.Place
			o = made
		}
		if was == nil || !same(was, o) {
			put = append(put, o)
		}
	})
	return put, remove
}

// proxied is what proxies make of services on a node.
func (p *Plan) proxied(n *Node, all []*lab.Service) *State {
	s := &State{}
	at := slices.IndexFunc(p.layers, func(l Layer) bool { _, ok := l.(services); return ok })
	if at < 0 {
		return s
	}
	c := *p.Cluster
	c.Lab = c.Lab.WithServices(all...)
	_ = p.layers[at].Plan(&c, s) // what it has to say it said of the lab as it is
	return s.Of(n.Namespace)
}
