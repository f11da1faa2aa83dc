package plan

import "strings"

const (
	inet4 = "net/ipv4/conf/"
	inet6 = "net/ipv6/conf/"

	echoIgnored = "net/ipv4/icmp_echo_ignore_all"
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

// AtRest is what a setting has to be in a namespace whose plan does not speak of it; empty where that does not
// matter.
func (s *State) AtRest(namespace, path string) string {
	planned := func(path string) string {
		o, _ := s.Get(Key{namespace, KindSysctl, path}).(Sysctl)
		return o.Value
	}
	switch family, _, setting := Setting(path); {
	case path == echoIgnored:
		return "0"
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
func Common() []string {
	paths := []string{echoIgnored}
	for _, setting := range []string{"accept_local", "arp_announce", "arp_filter", "arp_ignore", "proxy_arp", "route_localnet"} {
		paths = append(paths, inet4+"all/"+setting)
	}
	return paths
}
