package testbed

import (
	"context"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

// kind is how the objects of one kind are read, made, changed and removed.
type kind interface {
	// read adds what the namespace has of them to what is found there.
	read(*reader, *visit, *found) error
	// set makes an object, or changes what was before.
	set(*applier, plan.Change) error
	remove(*applier, plan.Object) error
}

// inside is a kind of objects that are inside a namespace.
type inside[T plan.Object] struct {
	reads   func(*reader, *visit, *found) error
	sets    func(a *applier, v *visit, o, before T) error // before is the zero value where nothing is there
	removes func(*applier, *visit, T) error
}

func (k inside[T]) read(r *reader, v *visit, f *found) error { return k.reads(r, v, f) }

func (k inside[T]) set(a *applier, c plan.Change) error {
	v, err := a.visits.to(c.Object.Key().Namespace)
	if err != nil {
		return err
	}
	before, _ := c.Before.(T)
	return k.sets(a, v, c.Object.(T), before)
}

func (k inside[T]) remove(a *applier, o plan.Object) error {
	v, err := a.visits.to(o.Key().Namespace)
	if err != nil {
		return err
	}
	return k.removes(a, v, o.(T))
}

// probe is how the kernel is asked for a feature, in a namespace that is thrown away. The modules are those that have it.
type probe struct {
	feature plan.Feature
	modules []string
	try     func(*netlink.Handle) error
}

// applier makes changes, on one thread.
type applier struct {
	*thread
	ctx    context.Context
	visits visits
	links  map[plan.Key]plan.Link // that are to be, of those that are made or changed

	sent int  // bytes, to the firewall
	news news // what may not be ready for use

	fresh     map[string]bool   // namespaces made by this run
	inherited map[string]string // sysctls as every fresh namespace has them
	odd       []plan.Sysctl     // what it has from the machine; nil: not known yet
}

// failed says which change failed.
func failed(c plan.Change, err error) error {
	return fmt.Errorf("%s %s: %w", map[plan.Op]string{plan.Create: "making", plan.Update: "changing", plan.Delete: "removing"}[c.Op], c.Object.Key(), err)
}

// news is what a run has set up, and what may therefore not be ready for use.
type news struct {
	links []newLink
	inet6 map[string]bool // namespaces with new IPv6 addresses
}

type newLink struct{ end, peer plan.End }

func (n *news) add(o plan.Object) {
	switch o := o.(type) {
	case plan.Link:
		n.links = append(n.links, newLink{plan.End{Namespace: o.Namespace, Name: o.Name}, o.Peer()})
	case plan.Address:
		if o.Prefix.Addr().Is6() {
			n.inet6[o.Namespace] = true
		}
	}
}

// reader reads the namespaces of a lab.
type reader struct {
	lab  string
	want *plan.State

	sysctls   map[string][]plan.Sysctl // that are wanted, by namespace
	firewalls map[string][]plan.Object // likewise
	delegated map[string][]int         // by namespace: the protocols of the routes that are agents'
	agents    map[string]bool          // namespaces whose settings are agents'
	lowers    map[plan.End]bool        // links that links of other namespaces are to stand on

	mu      sync.Mutex
	state   *plan.State
	open    []open
	indices map[plan.End]int // of the lowers
}

// found is what one namespace holds.
type found struct {
	objects []plan.Object
	open    []open
	names   map[int]string // of its links, by index
	routes  bool           // it is a node or a router
	machine bool           // … or a host
	bridges bool           // it is a switch

	settings devconf
}

func (f *found) add(o plan.Object) { f.objects = append(f.objects, o) }

// link is a device's name, or its number where it went while the namespace was read.
func (f *found) link(index int) string {
	if name, ok := f.names[index]; ok {
		return name
	}
	return fmt.Sprintf("if%d", index)
}

// names finds the names of the namespace's links.
func (v *visit) names(f *found) error {
	list, err := again(v.LinkList)
	for _, l := range list {
		f.names[l.Attrs().Index] = l.Attrs().Name
	}
	return err
}

// linkType is how links of one type are read and made, beyond what is the same for all links.
type linkType struct {
	read func(netlink.Link, sight) plan.Device
	// stand says of a device that was read which one it stands on, or which is the other end of its pair.
	stand func(d plan.Device, on plan.End) plan.Device
	// create completes what netlink is asked to make. base is of the device below, where there is one.
	create func(a *applier, l plan.Link, base netlink.LinkAttrs) (netlink.Link, error)
	down   bool        // it is not up when it has just been made
	bare   plan.Device // what it is like then, where not yet as it is wanted
	// change turns another device of the type into the wanted one.
	change func(v *visit, index int, l, before plan.Link) error
	probes []probe
}

// sight is what there is to see of a link besides itself.
type sight struct {
	names  map[int]string // of the namespace's links, by index
	wanted plan.Link      // the link of that name in the plan
	retags bool           // a bridge that tags frames otherwise than 802.1Q does
}

// older reports whether the link of a name was there before the one of an index.
func (s sight) older(name string, index int) bool {
	for i, other := range s.names {
		if other == name {
			return i < index
		}
	}
	return false
}

// open is a link that stands on one of another namespace, or is one end of a pair, while only the other's number is known.
type open struct {
	link         plan.Link
	index, other int
	to           plan.End // what it is to be
	confirmed    bool     // that namespace is the other's
	near         string   // of a pair that is not wanted: the namespace of its other end, which is of the pod's node
}
