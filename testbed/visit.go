package testbed

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// visit is a thread in one namespace, with netlink connections into it.
type visit struct {
	*netlink.Handle
	place *Place
	by    *thread
	raw   map[int]*nl.SocketHandle // for what the library has no call
	index map[string]int           // of links that are known so far
	last  int                      // when it was wanted last, see [visits]

	buffer []byte // room for what is sent
	answer []byte // and for the kernel's answer
}

// call opens a netlink connection into a namespace and enters it.
func (t *thread) call(p *Place) (*visit, error) {
	if err := t.enter(p); err != nil {
		return nil, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: netlink: %w", p.Name, err)
	}
	return &visit{Handle: h, by: t, place: p, index: map[string]int{}}, nil
}

// step into the namespace, for what is done by the thread itself and not over an open connection. A probe is in its own.
func (v *visit) step() error {
	if v.place == nil {
		return nil
	}
	return v.by.enter(v.place)
}

// room is for an answer of the kernel's: it is for one message.
func (v *visit) room() []byte {
	if v.answer == nil {
		v.answer = make([]byte, 16<<10)
	}
	return v.answer
}

func (v *visit) close() {
	for _, s := range v.raw {
		s.Close()
	}
	v.Handle.Close()
	v.place.Close()
}

// visits are the connections of one thread into the namespaces where it was last. There are few of them, however many
// namespaces the thread goes to: an object is made among others of its namespace, and of those that are next to it.
type visits struct {
	by    *thread
	open  map[string]*visit
	clock int
}

const (
	maxVisits = 19
	// descriptors is how many files are open at once while a lab is built, at most: five a visit, and what the program has open
	// besides.
	descriptors = 5*maxVisits + 32
)

// to visits a namespace. The two visits before this one stay open.
func (s *visits) to(namespace string) (*visit, error) {
	s.clock++
	if v := s.open[namespace]; v != nil {
		v.last = s.clock
		return v, nil
	}
	place, err := Open(namespace)
	if err != nil {
		return nil, err
	}
	v, err := s.by.call(place)
	if err != nil {
		place.Close()
		return nil, err
	}
	s.keep(v)
	return v, nil
}

func (s *visits) keep(v *visit) {
	if len(s.open) >= maxVisits {
		oldest := v
		for _, o := range s.open {
			if o.last < oldest.last || oldest == v {
				oldest = o
			}
		}
		s.end(oldest.place.Name)
	}
	v.last = s.clock
	s.open[v.place.Name] = v
}

// end ends the visit to a namespace, where there is one.
func (s *visits) end(namespace string) {
	if v := s.open[namespace]; v != nil {
		v.close()
		delete(s.open, namespace)
	}
}

func (s *visits) close() {
	for name := range s.open {
		s.end(name)
	}
}

// link returns the index of a device.
func (v *visit) link(name string) (int, error) {
	if i, ok := v.index[name]; ok {
		return i, nil
	}
	l, err := v.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("link %s: %w", name, err)
	}
	v.index[name] = l.Attrs().Index
	return l.Attrs().Index, nil
}

// device is a link for calls that need no more of it than its index.
func device(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

const loopback = 1 // the index of lo, in every namespace

// on tries to make a device that stands on a veth.
func on(name string, device func(netlink.LinkAttrs) netlink.Link) func(*netlink.Handle) error {
	return func(h *netlink.Handle) error {
		if err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs(name + "-below"), PeerName: name + "-peer"}); err != nil {
			return err
		}
		lower, err := h.LinkByName(name + "-below")
		if err != nil {
			return err
		}
		a := attrs("probe-" + name)
		a.ParentIndex = lower.Attrs().Index
		return h.LinkAdd(device(a))
	}
}
