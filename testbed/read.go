package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// Read returns what the namespaces of a lab hold, also those that are no longer wanted. Left out is what the kernel makes
// by itself: lo's addresses, link-local addresses, connected routes, the local table, default rules, learnt neighbours.
// Of sysctls only the wanted ones are read; of what the plan leaves to the kernel, such as a device's MAC address, the
// wanted value is returned.
func Read(ctx context.Context, lab string, want *plan.State) (*plan.State, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	names, err := named(lab + ".")
	if err != nil {
		return nil, err
	}
	sysctls := map[string][]plan.Sysctl{}
	firewalls := map[string][]plan.Object{}
	lowers, delegated := map[plan.End]bool{}, map[string]int{}
	want.Each(func(o plan.Object) {
		switch o := o.(type) {
		case plan.Sysctl:
			sysctls[o.Namespace] = append(sysctls[o.Namespace], o)
		case plan.Table, plan.Stateful, plan.Set, plan.Chain, plan.Element, plan.ChainRule:
			ns := o.Key().Namespace
			firewalls[ns] = append(firewalls[ns], o)
		case plan.Agent:
			if o.Protocol != 0 {
				delegated[o.Namespace] = o.Protocol
			}
		case plan.Link:
			if o.LowerNamespace != "" {
				lowers[plan.End{Namespace: o.LowerNamespace, Name: o.Lower}] = true
			}
		}
	})
	r := &reader{lab: lab, want: want, sysctls: sysctls, firewalls: firewalls, lowers: lowers, delegated: delegated, indices: map[plan.End]int{}}
	if err := inEach(ctx, names, r.namespace); err != nil {
		return nil, err
	}
	r.pair()
	r.stack()
	s := &plan.State{}
	s.Add(r.objects...)
	s.Resolve()
	return s, nil
}

// inEach calls f for each namespace, on two threads: reading is system calls most of the time, and the kernel does not
// serialise it.
func inEach(ctx context.Context, names []string, f func(t *traveller, name string) error) error {
	work := make(chan string)
	var threads sync.WaitGroup
	var errs [2]error
	for i := range errs {
		threads.Go(func() {
			errs[i] = travel(func(t *traveller) error {
				var failed []error
				for name := range work {
					if len(failed) == 0 {
						if err := f(t, name); err != nil {
							failed = append(failed, fmt.Errorf("namespace %s: %w", name, err))
						}
					}
				}
				return errors.Join(failed...)
			})
		})
	}
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		work <- name
	}
	close(work)
	threads.Wait()
	return errors.Join(append(errs[:], ctx.Err())...)
}

type reader struct {
	lab     string
	want    *plan.State
	sysctls map[string][]plan.Sysctl

	firewalls map[string][]plan.Object // by namespace: what is wanted

	mu      sync.Mutex
	objects []plan.Object
	veths   []veth

	stacked []stacked
	lowers  map[plan.End]bool // links that others stand on
	indices map[plan.End]int  // of those

	delegated map[string]int // by namespace: the protocol of the routes that are an agent's
}

// errForeign says that a namespace of a lab's name is not the lab's.
var errForeign = errors.New("exists already and is no part of the lab")

// found is what one namespace holds.
type found struct {
	objects []plan.Object
	veths   []veth
	stacked []stacked
	names   map[int]string // of its links, by index
	routes  bool           // it is a node or a router

	settings devconf
}

func (f *found) add(o plan.Object) { f.objects = append(f.objects, o) }

func (r *reader) namespace(t *traveller, name string) error {
	place, err := Open(name)
	if err != nil {
		return nil // no namespace: a leftover, or gone since
	}
	v, err := t.call(place)
	if err != nil {
		place.Close()
		return err
	}
	defer v.close()
	f := &found{names: map[int]string{}, settings: devconf{}}
	for _, step := range []struct {
		what string
		read func(*visit, *found) error
	}{
		{"links", r.links}, {"addresses", r.addresses}, {"routes", r.routes}, {"rules", r.rules},
		{"neighbours", r.neighbours}, {"qdiscs", r.qdiscs}, {"programs", r.programs}, {"nft tables", r.firewall}, {"sysctls", r.wantedSysctls},
		{"agents", r.agents},
	} {
		err := step.read(v, f)
		if errors.Is(err, errForeign) && r.want.Get(plan.Key{Namespace: name, Kind: plan.KindNamespace}) == nil {
			return nil
		}
		if errors.Is(err, errForeign) {
			return fmt.Errorf("it %w; remove it with \"ip netns del %s\", or choose another name for the lab with --name", err, name)
		}
		if err != nil {
			return fmt.Errorf("reading its %s: %w", step.what, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects = append(r.objects, f.objects...)
	r.veths = append(r.veths, f.veths...)
	r.stacked = append(r.stacked, f.stacked...)
	for index, link := range f.names {
		if end := (plan.End{Namespace: name, Name: link}); r.lowers[end] {
			r.indices[end] = index
		}
	}
	return nil
}

func address(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// specified is an address where 0.0.0.0 stands for none.
func specified(ip net.IP) netip.Addr {
	if a := address(ip); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func scopeName(scope int) string {
	switch scope {
	case unix.RT_SCOPE_UNIVERSE:
		return ""
	case unix.RT_SCOPE_LINK:
		return "link"
	case unix.RT_SCOPE_HOST:
		return "host"
	}
	return fmt.Sprint(scope)
}

func (r *reader) neighbours(v *visit, f *found) error {
	list, err := again(func() ([]netlink.Neigh, error) { return v.NeighList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, n := range list {
		if n.State&netlink.NUD_PERMANENT == 0 || n.IP == nil || n.Family == unix.AF_BRIDGE || n.IP.IsMulticast() || n.LinkIndex == loopback {
			continue
		}
		f.add(plan.Neighbour{Namespace: v.place.Name, Link: f.link(n.LinkIndex), Addr: address(n.IP), MAC: n.HardwareAddr.String()})
	}
	proxies, err := again(func() ([]netlink.Neigh, error) { return v.NeighProxyList(0, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, n := range proxies {
		f.add(plan.Neighbour{Namespace: v.place.Name, Link: f.link(n.LinkIndex), Addr: address(n.IP), Proxy: true})
	}
	for _, o := range f.objects {
		l, ok := o.(plan.Link)
		if !ok || l.Type != "vxlan" {
			continue
		}
		entries, err := again(func() ([]netlink.Neigh, error) { return v.NeighList(v.index[l.Name], unix.AF_BRIDGE) })
		if err != nil {
			return err
		}
		for _, n := range entries {
			if n.IP != nil && n.State&netlink.NUD_PERMANENT != 0 && n.Flags&netlink.NTF_SELF != 0 {
				f.add(plan.FDB{Namespace: v.place.Name, Link: l.Name, MAC: n.HardwareAddr.String(), Dst: address(n.IP)})
			}
		}
	}
	return nil
}

// wantedSysctls reads the wanted sysctls of links that exist; the thread is in the namespace, so /proc/sys/net is too.
func (r *reader) wantedSysctls(v *visit, f *found) error {
	if len(r.sysctls[v.place.Name]) == 0 {
		return nil
	}
	if err := v.common(f.settings); err != nil {
		return err
	}
	for _, s := range r.sysctls[v.place.Name] {
		// What the links say of a default counts only where it is as it should be.
		if value, ok := f.settings.get(s.Path); ok && (s.Path != "net/ipv6/conf/default/disable_ipv6" || value == s.Value) {
			s.Value = value
			f.add(s)
			continue
		}
		if s.Link != "" && s.Link != "lo" && v.index[s.Link] == 0 {
			continue
		}
		value, err := v.by.sysctls.read(s.Path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.Value = value
		f.add(s)
	}
	return nil
}
