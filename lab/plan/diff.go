package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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
	d := doom{actual: actual, desired: desired, gone: map[Key]bool{}, silent: map[Key]bool{}}
	var unplanned []Sysctl
	for k, o := range actual.all() {
		want := desired.Get(k)
		if want == nil && actual.Entrusted(k) || want != nil && same(want, o) {
			continue
		}
		if s, ok := o.(Sysctl); ok && want == nil {
			unplanned = append(unplanned, s)
			continue
		}
		if want != nil {
			if _, inPlace := want.Set(o); inPlace {
				continue
			}
		}
		d.gone[k] = true
	}
	d.spread()
	changes := d.deletions(make([]Change, 0, len(d.gone)+max(0, desired.len-actual.len)))
	changes = append(changes, d.rests(unplanned)...)
	differs := func(k Key, o Object) bool { was := actual.Get(k); return was == nil || d.gone[k] || !same(was, o) }
	wanted := func(ns string) []entry { return desired.entries(ns, differs) }
	among := func(k Key) bool { o := desired.Get(k); return o != nil && differs(k, o) }
	inOrder(slices.Collect(maps.Keys(desired.spaces)), wanted, among, func(k Key, o Object) {
		if was := actual.Get(k); was != nil && !d.gone[k] {
			changes = append(changes, Change{Op: Update, Object: o, Before: was})
		} else {
			changes = append(changes, Change{Op: Create, Object: o})
		}
	})
	return connectionsLast(programsLast(attachedLast(fold(changes))))
}

// attachedLast puts attachments off until the network of their node is there, and ends them while it still is.
func attachedLast(changes []Change) []Change {
	var ended, rest, made []Change
	for _, c := range changes {
		switch _, ok := c.Object.(Attachment); {
		case !ok:
			rest = append(rest, c)
		case c.Op == Delete:
			ended = append(ended, c)
		default:
			made = append(made, c)
		}
	}
	if len(ended)+len(made) == 0 {
		return changes
	}
	return slices.Concat(ended, rest, made)
}

// connectionsLast forgets connections when whatever has sent them somewhere does so no more.
func connectionsLast(changes []Change) []Change {
	of := func(c Change) bool { _, ok := c.Object.(Connection); return ok }
	if !slices.ContainsFunc(changes, of) {
		return changes
	}
	var last []Change
	for _, c := range changes {
		if of(c) {
			last = append(last, c)
		}
	}
	return append(slices.DeleteFunc(changes, of), last...)
}

// programsLast puts off the start of programs until their network is there.
func programsLast(changes []Change) []Change {
	starts := func(c Change) bool {
		a, ok := c.Object.(Agent)
		return ok && c.Op != Delete && strings.HasPrefix(a.Name, SupervisorAgent+":")
	}
	var last []Change
	for _, c := range changes {
		if starts(c) {
			last = append(last, c)
		}
	}
	if len(last) == 0 {
		return changes
	}
	return append(slices.DeleteFunc(changes, starts), last...)
}

// fold makes a new table and what is in it one change, as nft(8) lists it.
func fold(changes []Change) []Change {
	var tables []Key         // those that are made
	made := map[Key]Change{} // … and how
	last := map[Key]int{}    // … and the place of the last of what they stand on
	others := map[Key]int{}  // the places of links and ipsets that are made
	for i, c := range changes {
		if c.Op != Create {
			continue
		}
		switch o := c.Object.(type) {
		case Link, IPSet:
			others[o.Key()] = i
		case Table:
			k := o.Key()
			tables = append(tables, k)
			made[k], last[k] = c, i
		}
	}
	folded := make([]bool, len(changes))
	for i, c := range changes {
		in, ok := tableOf(c.Object)
		table, isMade := made[in]
		if !ok || !isMade || c.Op != Create {
			continue
		}
		table.Parts = append(table.Parts, c.Object)
		made[in], folded[i] = table, true
		for _, p := range c.Object.Parents() {
			if p.Kind == KindLink || p.Kind == KindIPSet {
				last[in] = max(last[in], others[p])
			}
		}
	}
	at := map[int][]Key{}
	for _, k := range tables {
		at[last[k]] = append(at[last[k]], k)
	}
	out := changes[:0] // a table comes no earlier than it did, so that nothing is overwritten that is still to be read
	for i, c := range changes {
		if _, table := c.Object.(Table); !folded[i] && (!table || c.Op != Create) {
			out = append(out, c)
		}
		for _, k := range at[i] {
			out = append(out, made[k])
		}
	}
	return out
}

// doom is what will not exist once the deletions are done.
type doom struct {
	actual, desired *State

	gone   map[Key]bool
	silent map[Key]bool // … because the kernel removes it together with a parent
}

// spread finds what goes along with what has to go. It looks at everything as often as something is found.
func (d *doom) spread() {
	d.outliving()
	for before := 0; len(d.gone) > before; {
		before = len(d.gone)
		for k, o := range d.actual.all() {
			for _, p := range o.Parents() {
				if d.gone[p] {
					d.gone[k] = true
					if diesWith(o, p) {
						d.silent[k] = true
					}
				}
			}
			// Of a veth pair neither end outlives the other, whichever of them has to go.
			if l, ok := o.(Link); ok && l.Peer() != (End{}) {
				if peer := (Key{l.Peer().Namespace, KindLink, l.Peer().Name}); d.gone[peer] && d.actual.has(peer) {
					d.gone[k] = true
				}
			}
		}
		if len(d.gone) > before {
			continue
		}
		for _, k := range d.actual.stranded(d.gone) {
			d.gone[k], d.silent[k] = true, true
		}
		d.outliving()
	}
}

// deletions adds what has to be done so that everything goes, children first.
func (d *doom) deletions(changes []Change) []Change {
	of := func(ns string) []entry { return d.actual.entries(ns, func(k Key, _ Object) bool { return d.gone[k] }) }
	if len(d.gone) > 0 {
		inOrder(slices.Collect(maps.Keys(d.actual.spaces)), of, func(k Key) bool { return d.gone[k] }, func(k Key, o Object) {
			if k.Kind != KindSysctl && (!d.silent[k] || d.holds(o)) {
				changes = append(changes, Change{Op: Delete, Object: o})
			}
		})
	}
	slices.Reverse(changes)
	return changes
}

// rests puts settings that no plan speaks of back to what they are at rest. What goes takes its own along.
func (d *doom) rests(settings []Sysctl) (changes []Change) {
	slices.SortFunc(settings, func(a, b Sysctl) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Path, b.Path))
	})
	for _, was := range settings {
		rest := was
		rest.Value = d.desired.AtRest(was.Namespace, was.Path)
		if rest.Value != "" && rest != was && !d.gone[was.Key()] {
			changes = append(changes, Change{Op: Update, Object: rest, Before: was})
		}
	}
	return changes
}

// holds reports whether something that goes with its chain or set has to go before, since it names another that is to go and
// would not while it is named.
func (d *doom) holds(o Object) bool {
	in, ok := tableOf(o)
	if !ok || d.gone[in] {
		return false
	}
	return slices.ContainsFunc(o.Parents(), func(p Key) bool { return d.gone[p] && !diesWith(o, p) })
}

// outliving finds devices made of programs that are there before the device which feeds them: that is still to be made.
// Like the kernel's own, which go with the device they stand on, they have to be younger than it: where nothing else decides,
// the kernel takes its addresses in the order in which devices came to be.
func (d *doom) outliving() {
	for _, o := range d.desired.all() {
		p, ok := o.(Program)
		if !ok || p.Egress || p.To == "" {
			continue
		}
		below, fed := Key{p.Namespace, KindLink, p.Link}, Key{p.Namespace, KindLink, p.To}
		if d.actual.has(fed) && (!d.actual.has(below) || d.gone[below]) {
			d.gone[fed] = true
		}
	}
}

// stranded returns the IPv4 routes and neighbours of links that lose their last IPv4 address: the kernel takes that for the
// end of IPv4 on the link.
func (s *State) stranded(gone map[Key]bool) []Key {
	type link struct{ namespace, name string }
	left := map[link]int{} // how many addresses, of links that have had some
	for k, o := range s.all() {
		if a, ok := o.(Address); ok && a.Prefix.Addr().Is4() {
			l := link{a.Namespace, a.Link}
			left[l] += 0
			if !gone[k] {
				left[l]++
			}
		}
	}
	var lost []Key
	for k, o := range s.all() {
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
			lost = append(lost, k)
		}
	}
	return lost
}

// diesWith reports whether the kernel removes the object by itself when the parent goes.
func diesWith(o Object, parent Key) bool {
	if _, ok := o.(Attachment); ok {
		return false // its plugins have more to take back than what the kernel has
	}
	switch parent.Kind {
	case KindNamespace:
		// The far end of a veth would go as well, but later: namespaces are cleaned up in the background.
		return o.Key().Namespace == parent.Namespace
	case KindLink:
		switch o := o.(type) {
		case Link:
			return slices.Contains(o.roots(), parent)
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
	case KindIPSet:
		return o.Key().Kind == KindIPSetEntry
	case KindVirtualServer:
		return true
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
