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
	KindProgram
	KindAgent
)

func (k Kind) String() string {
	return [...]string{"namespace", "sysctl", "link", "qdisc", "address", "neighbour", "FDB entry", "route", "rule", "nft table", "eBPF program", "agent"}[k]
}

// Object is one thing in the kernel. The values are comparable: two objects of one key are the same when a == b.
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
}

// Add puts an object into the state. Two different objects of one key are a mistake in the program.
func (s *State) Add(objects ...Object) {
	if s.objects == nil {
		s.objects = map[Key]Object{}
	}
	for _, o := range objects {
		k := o.Key()
		if was, ok := s.objects[k]; ok && was != o {
			panic(fmt.Sprintf("plan: two objects for %s: %v and %v", k, was, o))
		}
		s.objects[k] = o
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
	all := make([]Object, 0, len(s.objects))
	for _, o := range s.objects {
		all = append(all, o)
	}
	return order(all)
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

// order sorts topologically: a namespace is finished before the next begins unless one of its objects has to wait.
func order(objects []Object) []Object {
	type node struct {
		o        Object
		rank     int
		waits    int
		children []int
	}
	keys := make([]Key, len(objects))
	byKey := make(map[Key]int, len(objects))
	names := map[string]int{}
	for i, o := range objects {
		keys[i] = o.Key()
		byKey[keys[i]] = i
		names[keys[i].Namespace] = 0
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.SortFunc(sorted, natural)
	for i, n := range sorted {
		names[n] = i
	}
	nodes := make([]node, len(objects))
	byName := make([]int, len(objects))
	for i, o := range objects {
		nodes[i].o = o
		byName[i] = i
		for _, p := range o.Parents() {
			if j, ok := byKey[p]; ok && j != i {
				nodes[j].children = append(nodes[j].children, i)
				nodes[i].waits++
			}
		}
	}
	slices.SortFunc(byName, func(a, b int) int {
		x, y := keys[a], keys[b]
		// All namespaces come first, so that a link can be made with both its ends in place.
		return cmp.Or(
			cmp.Compare(min(int(x.Kind), 1), min(int(y.Kind), 1)),
			cmp.Compare(names[x.Namespace], names[y.Namespace]),
			cmp.Compare(x.Kind, y.Kind),
			natural(x.Name, y.Name),
		)
	})
	for rank, i := range byName {
		nodes[i].rank = rank
	}
	ready := &ranks{}
	for i := range nodes {
		if nodes[i].waits == 0 {
			*ready = append(*ready, nodes[i].rank)
		}
	}
	heap.Init(ready)
	out := make([]Object, 0, len(objects))
	for ready.Len() > 0 {
		n := &nodes[byName[heap.Pop(ready).(int)]]
		out = append(out, n.o)
		for _, c := range n.children {
			if nodes[c].waits--; nodes[c].waits == 0 {
				heap.Push(ready, nodes[c].rank)
			}
		}
	}
	if len(out) != len(objects) {
		panic("plan: objects depend on one another in a circle")
	}
	return out
}

type ranks []int

func (r ranks) Len() int           { return len(r) }
func (r ranks) Less(i, j int) bool { return r[i] < r[j] }
func (r ranks) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranks) Push(x any)        { *r = append(*r, x.(int)) }
func (r *ranks) Pop() any {
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
