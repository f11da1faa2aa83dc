package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

const (
	inet4 = "net/ipv4/conf/"
	inet6 = "net/ipv6/conf/"

	allRedirects = inet4 + "all/accept_redirects"
)

// atRest are settings of interfaces that decide where packets go and who answers, with what a new interface has of each:
// net/ipv4/devinet.c and net/ipv6/addrconf.c. What no plan sets has to be so. Besides them, forwarding is as the
// namespace's, and disable_ipv6 as its default.
var atRest = map[string]map[string]string{
	inet4: {
		"accept_local": "0", "accept_redirects": "1", "arp_accept": "0", "arp_announce": "0", "arp_filter": "0", "arp_ignore": "0", "arp_notify": "0",
		"drop_gratuitous_arp": "0", "drop_unicast_in_l2_multicast": "0", "ignore_routes_with_linkdown": "0", "proxy_arp": "0", "proxy_arp_pvlan": "0",
		"route_localnet": "0", "rp_filter": "0", "send_redirects": "1", "shared_media": "1",
	},
	inet6: {"accept_redirects": "1", "proxy_ndp": "0"},
}

// AtRest returns the settings of interfaces of a family, "net/ipv4/conf/" or "net/ipv6/conf/", as a new interface has them.
func AtRest(family string) map[string]string { return atRest[family] }

// AtRest is what an interface's setting has to be in a namespace whose plan does not speak of it; empty where that does not
// matter.
func (s *State) AtRest(namespace, path string) string {
	planned := func(path string) string {
		o, _ := s.Get(Key{namespace, KindSysctl, path}).(Sysctl)
		return o.Value
	}
	switch family, _, setting := Setting(path); {
	case family == inet4 && setting == "forwarding":
		return planned(ipForward)
	case family == inet6 && setting == "forwarding":
		return planned(ipv6Forwarding)
	case family == inet6 && setting == "disable_ipv6":
		return planned(defaultIPv6Off)
	default:
		return atRest[family][setting]
	}
}

// Setting splits the path of an interface's setting. Names of interfaces may hold dots, and no slashes.
func Setting(path string) (family, link, setting string) {
	for _, family := range []string{inet4, inet6} {
		if rest, ok := strings.CutPrefix(path, family); ok {
			link, setting, _ := strings.Cut(rest, "/")
			return family, link, setting
		}
	}
	return "", "", ""
}

// Common are the settings that a namespace has for all its interfaces together, and that work beside those of each.
func Common() (paths []string) {
	for _, setting := range []string{"accept_local", "arp_announce", "arp_filter", "arp_ignore", "proxy_arp", "route_localnet"} {
		paths = append(paths, inet4+"all/"+setting)
	}
	return paths
}

// Inheritable returns the paths below /proc/sys of what a new namespace takes from the machine, with the kernel's own values:
// in IPv4 always, in IPv6 where net.core.devconf_inherit_init_net is 1. What every plan sets is not among them.
func Inheritable() map[string]string {
	all := map[string]string{}
	for family, settings := range atRest {
		for setting, value := range settings {
			all[family+"all/"+setting], all[family+"default/"+setting] = value, value
		}
	}
	delete(all, allRPFilter)
	delete(all, defaultRPFilter)
	return all
}

// Inherited is that a new namespace takes a setting from the machine, and that it is not the kernel's own.
func Inherited(path string) Feature { return Feature("inherited " + path) }

// inheritance sets what namespaces have taken from the machine as the kernel has it, where no other layer sets it. A switch
// has no addresses and needs none of it.
type inheritance struct{}

func (inheritance) Needs(*Cluster) []Need                    { return nil }
func (inheritance) Expect(_ Flow, e Expectation) Expectation { return e }

func (inheritance) Plan(c *Cluster, s *State) hcl.Diagnostics {
	own := Inheritable()
	paths := slices.DeleteFunc(slices.Sorted(maps.Keys(own)), func(path string) bool { return !c.Features[Inherited(path)] })
	if len(paths) == 0 {
		return nil
	}
	for _, ns := range s.Namespaces() {
		if owner, _ := ParseOwner(s.Get(Key{ns, KindNamespace, ""}).(Namespace).Alias); owner.Role == "switch" {
			continue
		}
		filter := s.Get(Key{ns, KindSysctl, defaultRPFilter}).(Sysctl) // which is before any link
		for _, path := range paths {
			if path == allRedirects && s.AtRest(ns, inet4+"all/forwarding") == "1" {
				continue // the kernel turns it off where it turns forwarding on
			}
			if o := (Sysctl{Namespace: ns, Path: path, Value: own[path], After: filter.After}); !s.has(o.Key()) {
				s.Add(o)
				filter.After = path
			}
		}
		s.Replace(filter)
	}
	return nil
}
