package plan

import (
	"cmp"
	"slices"
)

// Op is what a change does.
type Op int

const (
	Create Op = iota
	Update
	Delete
)

func (o Op) String() string { return [...]string{"create", "update", "delete"}[o] }

// Change is one step from one state to another.
type Change struct {
	Op     Op
	Object Object   // what is to be; for Delete what was
	Before Object   // for Update, what was
	Parts  []Object // of a table that is made: all that is in it, parents first
}

// Lines returns the change as commands.
func (c Change) Lines() []string {
	switch c.Op {
	case Create:
		if t, ok := c.Object.(Table); ok {
			return t.add(c.Parts)
		}
		return c.Object.Add()
	case Delete:
		return c.Object.Del()
	}
	lines, _ := c.Object.Set(c.Before)
	return lines
}

// Diff returns the changes that turn actual into desired, in the order in which they have to be made: what has to go,
// children first; then what is new or different, parents first. An object that must be made anew takes all that stands
// on it along, and that is made again.
func Diff(actual, desired *State) []Change {
	gone := map[Key]bool{}   // will not exist once the deletions are done
	silent := map[Key]bool{} // … because the kernel removes it together with a parent
	var doomed []entry
	for k, o := range actual.objects {
		want, ok := desired.objects[k]
		if ok && same(want, o) {
			continue
		}
		if ok {
			if _, inPlace := want.Set(o); inPlace {
				continue
			}
		}
		gone[k] = true
		doomed = append(doomed, entry{k, o})
	}
	outlived := func() {
		for _, e := range actual.outliving(desired, gone) {
			if !gone[e.key] {
				gone[e.key] = true
				doomed = append(doomed, e)
			}
		}
	}
	outlived()
	if len(doomed) > 0 {
		children := map[Key][]entry{}
		for k, o := range actual.objects {
			for _, p := range o.Parents() {
				children[p] = append(children[p], entry{k, o})
			}
		}
		for i := 0; ; i++ {
			if i == len(doomed) {
				for _, e := range actual.stranded(gone) {
					gone[e.key], silent[e.key] = true, true
					doomed = append(doomed, e)
				}
				outlived()
				if i == len(doomed) {
					break
				}
			}
			parent := doomed[i].key
			// Of a veth pair neither end outlives the other, whichever of them has to go.
			if l, ok := doomed[i].object.(Link); ok && l.Peer != (End{}) {
				peer := Key{l.Peer.Namespace, KindLink, l.Peer.Name}
				if other, ok := actual.objects[peer]; ok && !gone[peer] {
					gone[peer] = true
					doomed = append(doomed, entry{peer, other})
				}
			}
			for _, c := range children[parent] {
				if diesWith(c.object, parent) {
					silent[c.key] = true
				}
				if !gone[c.key] {
					gone[c.key] = true
					doomed = append(doomed, c)
				}
			}
		}
	}
	order(doomed)
	changes := make([]Change, 0, len(doomed)+max(0, len(desired.objects)-len(actual.objects)))
	for _, e := range slices.Backward(doomed) {
		if e.key.Kind != KindSysctl && !silent[e.key] {
			changes = append(changes, Change{Op: Delete, Object: e.object})
		}
	}
	wanted := make([]entry, 0, max(0, len(desired.objects)-len(actual.objects)))
	for k, o := range desired.objects {
		if was, ok := actual.objects[k]; !ok || gone[k] || !same(was, o) {
			wanted = append(wanted, entry{k, o})
		}
	}
	order(wanted)
	for _, e := range wanted {
		if was, ok := actual.objects[e.key]; ok && !gone[e.key] {
			changes = append(changes, Change{Op: Update, Object: e.object, Before: was})
		} else {
			changes = append(changes, Change{Op: Create, Object: e.object})
		}
	}
	return fold(changes)
}

// fold makes a new table and what is in it one change, as nft(8) lists it.
func fold(changes []Change) []Change {
	tables := map[Key]int{} // those that are made: their place
	last := map[Key]int{}   // … and the last of what they stand on
	places := map[Key]int{} // of what is made
	for i, c := range changes {
		if c.Op != Create {
			continue
		}
		k := c.Object.Key()
		places[k] = i
		if k.Kind == KindTable {
			tables[k], last[k] = i, i
		}
	}
	if len(tables) == 0 {
		return changes
	}
	parts := map[Key][]Object{}
	folded := make([]bool, len(changes))
	for i, c := range changes {
		table, ok := tableOf(c.Object)
		if _, made := tables[table]; !ok || !made || c.Op != Create {
			continue
		}
		parts[table], folded[i] = append(parts[table], c.Object), true
		for _, p := range c.Object.Parents() {
			if p.Kind == KindLink {
				last[table] = max(last[table], places[p])
			}
		}
	}
	at := map[int][]Key{}
	for _, c := range changes {
		if k := c.Object.Key(); k.Kind == KindTable && c.Op == Create {
			at[last[k]] = append(at[last[k]], k)
		}
	}
	out := make([]Change, 0, len(changes))
	for i, c := range changes {
		if _, made := tables[c.Object.Key()]; !folded[i] && (!made || c.Op != Create) {
			out = append(out, c)
		}
		for _, k := range at[i] {
			t := changes[tables[k]]
			t.Parts = parts[k]
			out = append(out, t)
		}
	}
	return out
}

// outliving returns the devices made of programs that are there before the device which feeds them: that is still to be
// made. Like the kernel's own, which go with the device they stand on, they have to be younger than it: where nothing else
// decides, the kernel takes its addresses in the order in which devices came to be.
func (s *State) outliving(desired *State, gone map[Key]bool) []entry {
	var found []entry
	for _, o := range desired.objects {
		p, ok := o.(Program)
		if !ok || p.Egress || p.To == "" {
			continue
		}
		below, fed := Key{p.Namespace, KindLink, p.Link}, Key{p.Namespace, KindLink, p.To}
		_, stays := s.objects[below]
		if device, there := s.objects[fed]; there && !gone[fed] && (!stays || gone[below]) {
			found = append(found, entry{fed, device})
		}
	}
	return found
}

// stranded returns the IPv4 routes and neighbours of links that lose their last IPv4 address: the kernel takes that for the
// end of IPv4 on the link.
func (s *State) stranded(gone map[Key]bool) []entry {
	type link struct{ namespace, name string }
	left := map[link]int{} // how many addresses, of links that have had some
	for k, o := range s.objects {
		if a, ok := o.(Address); ok && a.Prefix.Addr().Is4() {
			l := link{a.Namespace, a.Link}
			left[l] += 0
			if !gone[k] {
				left[l]++
			}
		}
	}
	var lost []entry
	for k, o := range s.objects {
		var on link
		switch o := o.(type) {
		case Route:
			if o.Dst.Addr().Is4() {
				on = link{o.Namespace, o.Dev}
			}
		case Neighbour:
			if o.Addr.Is4() {
				on = link{o.Namespace, o.Link}
			}
		}
		if n, had := left[on]; had && n == 0 && !gone[k] {
			lost = append(lost, entry{k, o})
		}
	}
	return lost
}

// diesWith reports whether the kernel removes the object by itself when the parent goes.
func diesWith(o Object, parent Key) bool {
	switch parent.Kind {
	case KindNamespace:
		// The far end of a veth would go as well, but later: namespaces are cleaned up in the background.
		return o.Key().Namespace == parent.Namespace
	case KindLink:
		switch o := o.(type) {
		case Link:
			return o.Peer == End{parent.Namespace, parent.Name} || o.Lower == parent.Name && cmp.Or(o.LowerNamespace, o.Namespace) == parent.Namespace
		case Agent:
			return false
		case Program:
			return o.Link == parent.Name
		}
		return true
	case KindTable:
		return true
	case KindSet:
		e, ok := o.(Element)
		return ok && within(e.Namespace, KindSet, e.Family, e.Table, e.Element.Set) == parent
	case KindChain:
		r, ok := o.(ChainRule)
		return ok && within(r.Namespace, KindChain, r.Family, r.Table, r.Chain) == parent
	case KindQdisc:
		return o.Key().Kind == KindProgram
	case KindAgent:
		return true
	}
	return false
}
