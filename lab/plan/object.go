// Package plan computes what a lab wants the kernel to be. It is pure: it touches no kernel and needs no root.
//
// The desired [State] is a graph of small comparable values, each keyed by (namespace, kind, name), each naming the
// objects it stands on. It prints as the ip, bridge, tc, nft and sysctl lines that would make it, ordered by dependency
// and then by name; that text is the plan, the golden file, the verbose log and the handout. [Diff] compares two states
// and yields the changes that lead from one to the other: building, repairing, changing the mode and doing nothing are
// the same operation.
package plan

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Key identifies an object in a lab.
type Key struct {
	Namespace string // full name: three-node.node1
	Kind      Kind
	Name      string
}

func (k Key) String() string {
	if k.Kind == KindNamespace {
		return "namespace " + k.Namespace
	}
	return fmt.Sprintf("%s: %s %s", k.Namespace, k.Kind, k.Name)
}

// Kind orders objects that do not depend on one another, and names them in messages.
type Kind int

const (
	KindNamespace Kind = iota
	KindSysctl
	KindLink
	KindQdisc
	KindAddress
	KindNeighbour
	KindFDB
	KindRoute
	KindRule
	KindTable
	KindStateful
	KindSet
	KindChain
	KindElement
	KindChainRule
	KindProgram
	KindAgent
)

func (k Kind) String() string {
	return [...]string{"namespace", "sysctl", "link", "qdisc", "address", "neighbour", "FDB entry", "route", "rule", "nft table", "nft object", "nft set", "nft chain", "nft element", "nft rule", "eBPF program", "agent"}[k]
}

// Object is one thing in the kernel. The values are comparable: two objects of one key are the same when a == b, but for
// what the kernel calls a rule.
type Object interface {
	Key() Key
	// Parents are the objects this one stands on: they are made before it, and when one of them goes, so does this one.
	Parents() []Key
	// Add returns the commands that make the object on a machine where only its parents exist.
	Add() []string
	// Set returns the commands that turn before into this object in place; ok is false when it has to be made anew.
	Set(before Object) (lines []string, ok bool)
	// Del returns the commands that remove it.
	Del() []string
}

// State is what a lab's namespaces hold.
type State struct {
	objects map[Key]Object
	clashes map[Key]bool // while a mode plans: the machines' interfaces, and whether it wanted one of their names
	most    int          // that it may have; 0: any number
	text    int          // of configurations, as so many objects
}

// tooLarge is what Add panics with when a state has more objects than it may: whoever plans need not look after every one.
type tooLarge struct{}

// Add puts an object into the state. Two different objects of one key are a mistake in the program, but for devices whose
// names the definition chose.
func (s *State) Add(objects ...Object) {
	if s.objects == nil {
		s.objects = make(map[Key]Object, len(objects))
	}
	for _, o := range objects {
		k := o.Key()
		if was, ok := s.objects[k]; ok && !same(was, o) {
			if _, named := s.clashes[k]; named {
				s.clashes[k] = true
				continue
			}
			panic(fmt.Sprintf("plan: two objects for %s: %v and %v", k, was, o))
		}
		s.objects[k] = o
		if a, ok := o.(Agent); ok {
			s.text += len(a.Config) / 64
		}
		if s.most > 0 && len(s.objects)+s.text > s.most {
			panic(tooLarge{})
		}
	}
}

// Replace puts an object in the place of the one of its key.
func (s *State) Replace(o Object) { s.objects[o.Key()] = o }

// Remove takes an object out of the state.
func (s *State) Remove(k Key) { delete(s.objects, k) }

// Get returns the object of that key, or nil.
func (s *State) Get(k Key) Object { return s.objects[k] }

// Len returns the number of objects.
func (s *State) Len() int { return len(s.objects) }

// Each calls f for every object, in no particular order.
func (s *State) Each(f func(Object)) {
	for _, o := range s.objects {
		f(o)
	}
}

// Objects returns all objects, parents before children, and by namespace, kind and name where that leaves a choice.
func (s *State) Objects() []Object {
	all := make([]entry, 0, len(s.objects))
	for k, o := range s.objects {
		all = append(all, entry{k, o})
	}
	order(all)
	objects := make([]Object, len(all))
	for i, e := range all {
		objects[i] = e.object
	}
	return objects
}

// Namespaces returns the names of the state's namespaces, in order.
func (s *State) Namespaces() []string {
	var names []string
	for k := range s.objects {
		if k.Kind == KindNamespace {
			names = append(names, k.Namespace)
		}
	}
	slices.SortFunc(names, natural)
	return names
}

// entry is an object with its key, which is costly to put together.
type entry struct {
	key    Key
	object Object
}

// order sorts topologically: a namespace is finished before the next begins unless one of its objects has to wait.
func order(entries []entry) {
	type node struct {
		waits    int
		children []int
	}
	names := map[string]int{}
	for _, e := range entries {
		names[e.key.Namespace] = 0
	}
	for i, n := range slices.SortedFunc(maps.Keys(names), natural) {
		names[n] = i
	}
	slices.SortFunc(entries, func(a, b entry) int {
		// All namespaces come first, so that a link can be made with both its ends in place.
		if c := cmp.Compare(min(a.key.Kind, 1), min(b.key.Kind, 1)); c != 0 {
			return c
		}
		if a.key.Namespace != b.key.Namespace {
			return cmp.Compare(names[a.key.Namespace], names[b.key.Namespace])
		}
		return cmp.Or(cmp.Compare(a.key.Kind, b.key.Kind), natural(a.key.Name, b.key.Name))
	})
	ranks := make(map[Key]int, len(entries))
	for i, e := range entries {
		ranks[e.key] = i
	}
	nodes := make([]node, len(entries))
	for i, e := range entries {
		for _, p := range e.object.Parents() {
			if j, ok := ranks[p]; ok && j != i {
				nodes[j].children = append(nodes[j].children, i)
				nodes[i].waits++
			}
		}
	}
	ready := &ranked{}
	for i := range nodes {
		if nodes[i].waits == 0 {
			*ready = append(*ready, i)
		}
	}
	heap.Init(ready)
	out := make([]entry, 0, len(entries))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		out = append(out, entries[i])
		for _, c := range nodes[i].children {
			if nodes[c].waits--; nodes[c].waits == 0 {
				heap.Push(ready, c)
			}
		}
	}
	if len(out) != len(entries) {
		panic("plan: objects depend on one another in a circle")
	}
	copy(entries, out)
}

// ranked is a heap of places in an order.
type ranked []int

func (r ranked) Len() int           { return len(r) }
func (r ranked) Less(i, j int) bool { return r[i] < r[j] }
func (r ranked) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranked) Push(x any)        { *r = append(*r, x.(int)) }
func (r *ranked) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = (*r)[:last]
	return x
}

// natural compares names so that worker2 comes before worker10.
func natural(a, b string) int {
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
