package testbed

import (
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

// inheritable are the settings that a new namespace takes from the machine's own network (in IPv4 always, in IPv6 where
// net.core.devconf_inherit_init_net is 1), with the kernel's own values. The devices are those that came with the namespace, lo
// and tunl0 and the like. Forwarding is first, because the kernel sets all/accept_redirects with it.
func inheritable(devices []netlink.Link) []plan.Sysctl {
	of := []string{"all", "default"}
	for _, d := range devices {
		of = append(of, d.Attrs().Name)
	}
	all := []plan.Sysctl{{Path: "net/ipv4/ip_forward", Value: "0"}}
	for _, family := range []string{"net/ipv4/conf/", "net/ipv6/conf/"} {
		rest := plan.AtRest(family)
		for _, name := range slices.Sorted(maps.Keys(rest)) {
			for _, of := range of {
				all = append(all, plan.Sysctl{Path: family + of + "/" + name, Value: rest[name]})
			}
		}
	}
	return all
}

// disinherit makes a namespace that was just made be as it is where nobody has changed the machine's own network. What the first
// one takes from that, all do.
func (a *applier) disinherit(h *netlink.Handle) error {
	if a.odd == nil {
		a.odd = []plan.Sysctl{}
		devices, err := again(h.LinkList)
		if err != nil {
			return err
		}
		for _, s := range inheritable(devices) {
			value, err := a.sysctls.read(s.Path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if value != s.Value {
				a.odd = append(a.odd, s)
			}
		}
	}
	for _, s := range a.odd {
		if err := a.sysctls.write(s.Path, s.Value); err != nil {
			return err
		}
	}
	return nil
}
