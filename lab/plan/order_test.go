package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// TestOrder: looking at one namespace at a time gives the order that there is when of all objects the first one that waits for
// nothing is taken, again and again.
func TestOrder(t *testing.T) {
	for seed := range uint64(60) {
		s := scattered(rand.New(rand.NewPCG(seed, 0)))
		got, want := s.Objects(), oneByOne(s)
		for i := range want {
			if len(got) != len(want) || got[i] != want[i] {
				t.Fatalf("seed %d, place %d of %d: %v instead of %v", seed, i, len(want), got[i].Key(), want[i].Key())
			}
		}
	}
}

// scattered is a state whose namespaces depend on one another in all ways in which they can.
func scattered(r *rand.Rand) *State {
	s := &State{}
	spaces := 2 + r.IntN(12)
	ns := func(i int) string { return fmt.Sprintf("l.n%d", i) }
	for i := range spaces {
		if r.IntN(10) > 0 {
			s.Add(Namespace{ns(i), "x"})
		}
		for _, k := range defaultSysctls(ns(i)) {
			if r.IntN(3) > 0 {
				s.Add(Sysctl{Namespace: ns(i), Path: k.Name, Value: "0"})
			}
		}
		s.Add(Link{Namespace: ns(i), Name: "br0", Device: Bridge{}})
	}
	for i := range spaces * 4 {
		a, b := End{ns(r.IntN(spaces)), fmt.Sprint("a", i)}, End{ns(r.IntN(spaces)), fmt.Sprint("b", i)}
		bridge := Port{Bridge: []string{"", "br0"}[r.IntN(2)]}
		s.Add(Link{Namespace: a.Namespace, Name: a.Name, Device: Veth{Peer: b}, Port: bridge}, Link{Namespace: b.Namespace, Name: b.Name, Device: Veth{Peer: a}})
		above := Link{Namespace: ns(r.IntN(spaces)), Name: fmt.Sprint("m", i), Device: MACVLAN{Lower: b}}
		s.Add(above, NewAddress(above.Namespace, above.Name, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), 24)))
		s.Add(Route{Namespace: above.Namespace, Table: TableMain, Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i), 0, 0}), 24), Via: netip.AddrFrom4([4]byte{10, byte(i), 0, 2}), Dev: above.Name})
		s.Add(Qdisc{Namespace: a.Namespace, Link: a.Name, Type: "clsact"}, Program{Namespace: a.Namespace, Link: a.Name, Priority: 1, To: "br0"})
	}
	s.Resolve()
	return s
}

// oneByOne orders a state as simply as can be.
func oneByOne(s *State) []Object {
	rest := slices.SortedFunc(func(yield func(Object) bool) {
		for _, o := range s.all() {
			if !yield(o) {
				return
			}
		}
	}, func(a, b Object) int {
		x, y := a.Key(), b.Key()
		return cmp.Or(cmp.Compare(min(x.Kind, 1), min(y.Kind, 1)), Natural(x.Namespace, y.Namespace), cmp.Compare(x.Kind, y.Kind), Natural(x.Name, y.Name))
	})
	made := map[Key]bool{}
	var ordered []Object
	for len(rest) > 0 {
		i := slices.IndexFunc(rest, func(o Object) bool {
			return !slices.ContainsFunc(o.Parents(), func(p Key) bool { return s.has(p) && !made[p] && p != o.Key() })
		})
		made[rest[i].Key()] = true
		ordered = append(ordered, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return ordered
}
