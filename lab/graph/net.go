package graph

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"labnet/lab"
	"labnet/lab/plan"
)

// nets are what connects the machines over the underlay.
func (r *reader) nets() (overlays, sessions []Net) {
	wanted, seen := r.want.nets(r), r.seen.nets(r)
	for _, name := range slices.SortedFunc(maps.Keys(union(wanted, seen)), plan.Natural) {
		w, s := wanted[name], seen[name]
		net := Net{Kind: cmp.Or(s.kind, w.kind), Name: name}
		members := map[string]bool{}
		for pair := range union(w.pairs, s.pairs) {
			mark := Fine
			switch {
			case !s.pairs[pair]:
				mark = Missing
			case !w.pairs[pair]:
				mark = Foreign
			}
			net.Pairs = append(net.Pairs, Pair{pair[0], pair[1], mark})
			members[pair[0]], members[pair[1]] = true, true
		}
		net.Members = slices.SortedFunc(maps.Keys(members), plan.Natural)
		slices.SortFunc(net.Pairs, func(a, b Pair) int { return cmp.Or(plan.Natural(a.A, b.A), plan.Natural(a.B, b.B)) })
		if net.Kind == "bgp" {
			sessions = append(sessions, net)
		} else {
			overlays = append(overlays, net)
		}
	}
	return overlays, sessions
}

func union[K comparable, V any](a, b map[K]V) map[K]V {
	all := maps.Clone(a)
	if all == nil {
		all = map[K]V{}
	}
	maps.Copy(all, b)
	return all
}

// mesh is a net while it is found: pairs of machines, the first by name first. Of a pair each end has to know the other.
type mesh struct {
	kind  string
	knows map[[2]string]bool
	pairs map[[2]string]bool
}

// nets finds the tunnels and sessions of a state, by what people call them.
func (v *view) nets(r *reader) map[string]mesh {
	all := map[string]mesh{}
	join := func(kind, name, from string, ends []netip.Addr) {
		m, ok := all[name]
		if !ok {
			m = mesh{kind, map[[2]string]bool{}, map[[2]string]bool{}}
			all[name] = m
		}
		for _, end := range ends {
			holder := cmp.Or(v.holders[end], r.want.holders[end])
			if owner := r.owner(holder); holder != "" && holder != from && owner.Role != "pod" {
				m.knows[[2]string{r.owner(from).Machine, owner.Machine}] = true
			}
		}
	}
	for at, l := range v.links {
		switch kind := r.encap(l); {
		case l.Down:
		case kind == "vxlan":
			d, _ := l.Device.(plan.VXLAN)
			join(kind, fmt.Sprintf("VXLAN, VNI %d, UDP port %d", d.VNI, d.Port), at.Namespace, v.fdb[at])
		case kind == "ipip":
			join(kind, "IP in IP", at.Namespace, v.via[at])
		}
	}
	for ns, agents := range v.agents {
		for _, a := range agents {
			switch a.Name {
			case "udp":
				var c struct {
					Port   int
					Routes []struct{ Via netip.Addr }
				}
				if json.Unmarshal([]byte(a.Config), &c) == nil {
					for _, route := range c.Routes {
						join("udp", fmt.Sprintf("IP in UDP, port %d, by a process", c.Port), ns, []netip.Addr{route.Via})
					}
				}
			case "bgp":
				var c struct {
					Peers []struct{ Address netip.Addr }
				}
				if json.Unmarshal([]byte(a.Config), &c) == nil {
					for _, peer := range c.Peers {
						join("bgp", "BGP", ns, []netip.Addr{peer.Address})
					}
				}
			}
		}
	}
	for _, m := range all {
		for k := range m.knows {
			if back := [2]string{k[1], k[0]}; m.knows[back] && plan.Natural(k[0], k[1]) < 0 {
				m.pairs[k] = true
			}
		}
	}
	return all
}

// Shape says who is connected with whom, as a person would.
func (n Net) Shape() string {
	near := map[string]map[string]bool{}
	for _, m := range n.Members {
		near[m] = map[string]bool{}
	}
	for _, p := range n.Pairs {
		near[p.A][p.B], near[p.B][p.A] = true, true
	}
	if len(n.Pairs) == len(n.Members)*(len(n.Members)-1)/2 {
		return "each with each"
	}
	groups := n.groups(near)
	var said []string
	for i, g := range groups {
		if len(g) > 1 && near[g[0]][g[1]] {
			said = append(said, names(g)+" with each other")
		}
		for _, other := range groups[i+1:] {
			if near[g[0]][other[0]] {
				said = append(said, names(g)+" with "+names(other))
			}
		}
	}
	if len(said) > 4 {
		return "not each with each"
	}
	return strings.Join(said, "; ")
}

// groups puts those together that are connected with the same others.
func (n Net) groups(near map[string]map[string]bool) [][]string {
	key := func(m string, self bool) string {
		of := slices.Collect(maps.Keys(near[m]))
		if self {
			of = append(of, m)
		}
		slices.Sort(of)
		return strings.Join(of, " ")
	}
	closed := map[string]int{}
	for _, m := range n.Members {
		closed[key(m, true)]++
	}
	at := map[string]int{}
	var groups [][]string
	for _, m := range n.Members {
		k := "open " + key(m, false)
		if closed[key(m, true)] > 1 {
			k = "closed " + key(m, true)
		}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], m)
	}
	return groups
}

// names lists a few names, or says how many.
func names(all []string) string {
	if len(all) > 4 {
		return fmt.Sprintf("%s … %s", all[0], all[len(all)-1])
	}
	return lab.Enumerate(all, "and")
}

// summary says how many there are and, where all are there, between whom.
func (n Net) summary() string {
	text, shape := n.counted(), n.Shape()
	if shape == "" || slices.ContainsFunc(n.Pairs, func(p Pair) bool { return p.Mark == Missing }) {
		return text
	}
	return text + ": " + shape
}

// counted says how many tunnels or sessions there are.
func (n Net) counted() string {
	what, left := "tunnel", 0
	if n.Kind == "bgp" {
		what = "session"
	}
	for _, p := range n.Pairs {
		if p.Mark != Missing {
			left++
		}
	}
	if left < len(n.Pairs) {
		return fmt.Sprintf("%d of %s", left, count(len(n.Pairs), what))
	}
	return count(left, what)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
