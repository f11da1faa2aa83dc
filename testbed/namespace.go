package testbed

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
)

type namespaceKind struct{}

// errForeign says that a namespace of a lab's name is not the lab's.
var errForeign = errors.New("exists already and is no part of the lab")

// read does nothing: whose a namespace is comes with its links.
func (namespaceKind) read(*reader, *visit, *found) error { return nil }

// owner reads whose the namespace is from its loopback device. One that is down is drift, and shows as an alias that is not
// wanted.
func (f *found) owner(r *reader, name string, lo *netlink.LinkAttrs) error {
	owner, _ := plan.ParseOwner(lo.Alias)
	if owner.Lab != r.lab {
		return errForeign
	}
	f.routes = owner.Role == string(lab.Node) || owner.Role == string(lab.Router)
	f.machine = hasAgents(owner.Role)
	f.bridges = owner.Role == "switch"
	alias := lo.Alias
	if lo.RawFlags&unix.IFF_UP == 0 {
		alias += " down"
	}
	f.add(plan.Namespace{Name: name, Alias: alias})
	return nil
}

// hasAgents reports whether agents may work in a namespace of that role.
func hasAgents(role string) bool {
	return slices.Contains([]lab.Kind{lab.Node, lab.Router, lab.Host}, lab.Kind(role))
}

func (namespaceKind) set(a *applier, c plan.Change) error {
	n := c.Object.(plan.Namespace)
	if c.Op == plan.Update {
		v, err := a.visits.to(n.Name)
		if err != nil {
			return err
		}
		return mark(v.Handle, n)
	}
	if len(a.fresh) == 0 {
		if err := mountPoint(); err != nil {
			return err
		}
	}
	var h *netlink.Handle
	err := a.create(n.Name, func() (err error) {
		if h, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		if err = a.disinherit(h); err == nil {
			err = mark(h, n)
		}
		if err != nil {
			h.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	a.fresh[n.Name] = true
	place, err := Open(n.Name)
	if err != nil {
		h.Close()
		return err
	}
	a.visits.keep(&visit{Handle: h, place: place, by: a.thread, index: map[string]int{}})
	return nil
}

// mark writes into a namespace which lab it belongs to, and sets its loopback device up.
func mark(h *netlink.Handle, n plan.Namespace) error {
	lo := device(loopback)
	if err := h.LinkSetAlias(lo, n.Alias); err != nil {
		return fmt.Errorf("alias of lo: %w", err)
	}
	if err := h.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

func (namespaceKind) remove(a *applier, o plan.Object) error {
	name := o.Key().Namespace
	a.visits.end(name)
	return remove(name)
}
