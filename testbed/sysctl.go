package testbed

import (
	"errors"
	"os"

	"github.com/vishvananda/netlink"

	"labnet/lab/plan"
)

var sysctlKind = inside[plan.Sysctl]{
	reads: readSysctls, sets: setSysctl,
	removes: func(*applier, *visit, plan.Sysctl) error { return nil }, // one that is not at rest is changed, others stay as they are
}

// readSysctls reads the wanted sysctls of links that exist, and those that nobody wants and that are not at rest.
func readSysctls(r *reader, v *visit, f *found) error {
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
		if err := v.step(); err != nil {
			return err
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
	if f.bridges || r.agents[v.place.Name] {
		return nil // a switch has no addresses, nor asks for any; or they are a program's
	}
	r.restless(v.place.Name, f)
	if !f.machine {
		return nil
	}
	for _, path := range plan.Common() {
		if r.want.Get(plan.Key{Namespace: v.place.Name, Kind: plan.KindSysctl, Name: path}) != nil {
			continue
		}
		if err := v.step(); err != nil {
			return err
		}
		value, err := v.by.sysctls.read(path)
		if err != nil {
			return err
		}
		if value != r.want.AtRest(v.place.Name, path) {
			f.add(plan.Sysctl{Namespace: v.place.Name, Path: path, Value: value})
		}
	}
	return nil
}

// restless adds the settings of planned links that no plan speaks of and that are not at rest. Forwarding that is the
// namespace's, which is wrong itself, is mended with it.
func (r *reader) restless(namespace string, f *found) {
	key := func(kind plan.Kind, name string) plan.Key {
		return plan.Key{Namespace: namespace, Kind: kind, Name: name}
	}
	for path, value := range f.settings {
		family, link, setting := plan.Setting(path)
		if setting == "" || r.want.Get(key(plan.KindLink, link)) == nil || r.want.Get(key(plan.KindSysctl, path)) != nil {
			continue
		}
		rest := r.want.AtRest(namespace, path)
		if rest == "" || value == rest || setting == "forwarding" && value == f.settings[family+"all/forwarding"] {
			continue
		}
		f.add(plan.Sysctl{Namespace: namespace, Path: path, Value: value, Link: link})
	}
}

// setSysctl writes only what is different: some writes lock the whole network stack, and even finding the file is slow. What
// one fresh namespace has by itself, all have.
func setSysctl(a *applier, v *visit, s, _ plan.Sysctl) error {
	inherits := a.fresh[s.Namespace] && s.Link == ""
	value, known := a.inherited[s.Path]
	if !inherits || !known {
		if err := v.step(); err != nil {
			return err
		}
		var err error
		if value, err = a.sysctls.read(s.Path); err != nil {
			return err
		}
		if inherits {
			a.inherited[s.Path] = value
		}
	}
	if value == s.Value {
		return nil
	}
	if err := v.step(); err != nil {
		return err
	}
	return a.sysctls.write(s.Path, s.Value)
}

var sysctlProbes = []probe{
	{plan.FeatureBridgeNetfilter, nil, func(*netlink.Handle) error {
		_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
		return err
	}},
}
