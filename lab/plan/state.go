package plan

import (
	"fmt"
	"iter"
	"maps"
	"slices"
)

// State is what a lab's namespaces hold. In a large lab these are millions of objects, and what is kept of each counts: the
// namespace once for all of its objects.
type State struct {
	spaces  map[string]objects
	len     int
	clashes map[Key]bool // while a mode plans: the machines' interfaces, and whether it wanted one of their names
	most    int          // that it may have; 0: any number
	text    int          // of configurations, as so many objects
	others  map[Key]bool // objects that another program was let make, of which only it knows how they are to be
	leads   map[string]leads
	said    said // while nodes are planned that have much in common
}

// tooLarge is what Add panics with when a state has more objects than it may: whoever plans need not look after every one.
type tooLarge struct{}

// objects is what one namespace holds.
type objects map[local]Object

// local is a key within a namespace.
type local struct {
	kind Kind
	name string
}

func (k Key) local() local { return local{k.Kind, k.Name} }

// Add puts an object into the state. Two different objects of one key are a mistake in the program, but for devices whose
// names the definition chose.
func (s *State) Add(objects ...Object) {
	for _, o := range objects {
		k := o.Key()
		if was, ok := s.spaces[k.Namespace][k.local()]; ok && !same(was, o) {
			if _, named := s.clashes[k]; named {
				s.clashes[k] = true
				continue
			}
			panic(fmt.Sprintf("plan: two objects for %s: %v and %v", k, was, o))
		}
		s.put(k, o)
		if a, ok := o.(Agent); ok {
			s.text += len(a.Config) / 64
		}
		if s.most > 0 && s.len+s.text > s.most {
			panic(tooLarge{})
		}
	}
}

func (s *State) put(k Key, o Object) {
	in := s.spaces[k.Namespace]
	if in == nil {
		if in = (objects{}); s.spaces == nil {
			s.spaces = map[string]objects{}
		}
		s.spaces[k.Namespace] = in
	}
	before := len(in)
	in[k.local()] = o
	s.len += len(in) - before
}

// Adopt adds what a namespace was found to hold. What is as it is wanted is kept once, for both states.
func (s *State) Adopt(namespace string, found []Object, want *State) {
	rest := make(objects, len(found))
	for _, o := range found {
		k := o.Key()
		if was, ok := rest[k.local()]; ok && !same(was, o) {
			panic(fmt.Sprintf("plan: two objects for %s: %v and %v", k, was, o))
		}
		rest[k.local()] = o
	}
	in := make(objects, len(rest))
	for k, wanted := range want.spaces[namespace] {
		if o, ok := rest[k]; ok && o == unresolved(wanted) {
			in[k] = wanted
			delete(rest, k)
		}
	}
	maps.Copy(in, rest)
	if s.spaces == nil {
		s.spaces = map[string]objects{}
	}
	s.len += len(in) - len(s.spaces[namespace])
	s.spaces[namespace] = in
}

// unresolved is an object as it can be found: the kernel does not say what a route's next hop is reached by.
func unresolved(o Object) Object {
	if r, ok := o.(Route); ok && r.On != (Key{}) {
		r.On = Key{}
		return r
	}
	return o
}

// Replace puts an object in the place of the one of its key.
func (s *State) Replace(o Object) { s.put(o.Key(), o) }

// Remove takes an object out of the state.
func (s *State) Remove(k Key) {
	if s.has(k) {
		delete(s.spaces[k.Namespace], k.local())
		s.len--
	}
}

// Get returns the object of that key, or nil.
func (s *State) Get(k Key) Object { return s.spaces[k.Namespace][k.local()] }

func (s *State) has(k Key) bool {
	_, ok := s.spaces[k.Namespace][k.local()]
	return ok
}

// Of returns what some namespaces hold; the two states share it.
func (s *State) Of(namespaces ...string) *State {
	of := &State{spaces: map[string]objects{}, others: s.others, leads: s.leads}
	for _, ns := range namespaces {
		if in := s.spaces[ns]; in != nil && of.spaces[ns] == nil {
			of.spaces[ns] = in
			of.len += len(in)
		}
	}
	return of
}

// Len returns the number of objects.
func (s *State) Len() int { return s.len }

// Entrust says which objects another program was let make: they are not drift, whatever they are.
func (s *State) Entrust(to map[Key]bool) { s.others = to }

// Entrusted reports whether an object is one of them.
func (s *State) Entrusted(k Key) bool { return s.others[k] }

// Each calls f for every object, in no particular order.
func (s *State) Each(f func(Object)) {
	for _, o := range s.all() {
		f(o)
	}
}

// In calls f for the objects of one namespace.
func (s *State) In(namespace string, f func(Object)) {
	for _, o := range s.spaces[namespace] {
		f(o)
	}
}

// all is every object with its key, in no particular order.
func (s *State) all() iter.Seq2[Key, Object] {
	return func(yield func(Key, Object) bool) {
		for ns, in := range s.spaces {
			for k, o := range in {
				if !yield(Key{ns, k.kind, k.name}, o) {
					return
				}
			}
		}
	}
}

// entries are the objects of a namespace that are kept, in no particular order.
func (s *State) entries(namespace string, keep func(Key, Object) bool) []entry {
	in := s.spaces[namespace]
	list := make([]entry, 0, len(in))
	for k, o := range in {
		if keep(Key{namespace, k.kind, k.name}, o) {
			list = append(list, entry{k, o})
		}
	}
	return list
}

// Objects returns all objects, parents before children, and by namespace, kind and name where that leaves a choice.
func (s *State) Objects() []Object {
	list := make([]Object, 0, s.len)
	of := func(ns string) []entry { return s.entries(ns, func(Key, Object) bool { return true }) }
	inOrder(slices.Collect(maps.Keys(s.spaces)), of, s.has, func(_ Key, o Object) { list = append(list, o) })
	return list
}

// Namespaces returns the names of the state's namespaces, in order.
func (s *State) Namespaces() []string {
	var names []string
	for ns := range s.spaces {
		if s.has(Key{ns, KindNamespace, ""}) {
			names = append(names, ns)
		}
	}
	slices.SortFunc(names, Natural)
	return names
}
