package plan

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// order passes objects on topologically: a namespace is finished before the next begins unless one of its objects has to
// wait. There may be millions of objects, so that only one namespace is looked at at a time, and what waits.
type order struct {
	has  func(Key) bool // whether an object is among those being ordered
	emit func(Key, Object)

	seen     map[string]bool    // namespaces that have been looked at
	waiting  map[Key]*waiting   // objects of these that have not been passed on
	children map[Key][]*waiting // those that wait for an object
	ready    ranked
	rank     int
}

// waiting is an object that waits for so many others.
type waiting struct {
	key    Key
	object Object
	rank   int
	waits  int
}

// entry is an object with its key, which is costly to put together.
type entry struct {
	local
	object Object
}

// inOrder passes on the objects of namespaces; of gives those of one, in any order.
func inOrder(namespaces []string, of func(namespace string) []entry, has func(Key) bool, emit func(Key, Object)) {
	o := &order{has: has, emit: emit, seen: map[string]bool{}, waiting: map[Key]*waiting{}, children: map[Key][]*waiting{}}
	slices.SortFunc(namespaces, Natural)
	// All namespaces come first, so that a link can be made with both its ends in place.
	for _, ns := range namespaces {
		k := Key{ns, KindNamespace, ""}
		if !has(k) {
			continue
		}
		for _, e := range of(ns) {
			if e.kind == KindNamespace {
				emit(k, e.object)
			}
		}
	}
	for _, ns := range namespaces {
		o.namespace(ns, of(ns))
	}
	if len(o.waiting) > 0 {
		panic("plan: objects depend on one another in a circle")
	}
}

func (o *order) namespace(ns string, entries []entry) {
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.kind == KindNamespace })
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), Natural(a.name, b.name))
	})
	o.seen[ns] = true
	all := make([]waiting, len(entries))
	for i, e := range entries {
		all[i] = waiting{key: Key{ns, e.kind, e.name}, object: e.object, rank: o.rank}
		o.waiting[all[i].key] = &all[i]
		o.rank++
	}
	for i := range all {
		w := &all[i]
		for _, p := range w.object.Parents() {
			if p.Kind == KindNamespace || p == w.key || !o.has(p) || o.seen[p.Namespace] && o.waiting[p] == nil {
				continue
			}
			o.children[p] = append(o.children[p], w)
			w.waits++
		}
		if w.waits == 0 {
			o.ready = append(o.ready, w)
		}
	}
	heap.Init(&o.ready)
	for len(o.ready) > 0 {
		w := heap.Pop(&o.ready).(*waiting)
		delete(o.waiting, w.key)
		o.emit(w.key, w.object)
		for _, c := range o.children[w.key] {
			if c.waits--; c.waits == 0 {
				heap.Push(&o.ready, c)
			}
		}
		delete(o.children, w.key)
	}
}

// ranked is a heap of objects that wait for nothing more.
type ranked []*waiting

func (r ranked) Len() int           { return len(r) }
func (r ranked) Less(i, j int) bool { return r[i].rank < r[j].rank }
func (r ranked) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranked) Push(x any)        { *r = append(*r, x.(*waiting)) }
func (r *ranked) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}

// Natural compares names so that worker2 comes before worker10.
func Natural(a, b string) int {
	digits := func(s string) int {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		return n
	}
	x, y := a, b
	for x != "" && y != "" {
		if i, j := digits(x), digits(y); i > 0 && j > 0 {
			m, n := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}
