package plan

import (
	"fmt"
	"strings"
)

// Sysctl is a kernel parameter of a namespace; Path is as below /proc/sys, so that a device name may hold a dot.
type Sysctl struct {
	Namespace string
	Path      string // net/ipv4/conf/eth0/proxy_arp
	Value     string
	Link      string // the device it belongs to; empty for one of the whole namespace
}

func (s Sysctl) Key() Key { return Key{s.Namespace, KindSysctl, s.Path} }
func (s Sysctl) Parents() []Key {
	p := []Key{{s.Namespace, KindNamespace, ""}}
	if s.Link != "" {
		p = append(p, Key{s.Namespace, KindLink, s.Link})
	}
	if s.Path == defaultIPv6Off && s.Value == "0" {
		p = append(p, Key{s.Namespace, KindSysctl, defaultAcceptDAD}) // so that it is before any link, too
	}
	return p
}
func (s Sysctl) Add() []string {
	return []string{fmt.Sprintf("ip netns exec %s sysctl -qw %s=%s", s.Namespace, s.Path, s.Value)}
}
func (s Sysctl) Set(Object) ([]string, bool) { return s.Add(), true }
func (s Sysctl) Del() []string               { return nil }

// Dotted is the name of a sysctl as sysctl(8) takes and shows it: with dots and slashes in each other's place, since
// devices may have dots in their names.
func Dotted(path string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, path)
}

// A device takes its settings from conf/default when it is made, so these are set before any link of the namespace.
const (
	ipForward        = "net/ipv4/ip_forward"
	allRPFilter      = "net/ipv4/conf/all/rp_filter"
	defaultRPFilter  = "net/ipv4/conf/default/rp_filter"
	defaultIPv6Off   = "net/ipv6/conf/default/disable_ipv6"
	defaultAcceptDAD = "net/ipv6/conf/default/accept_dad"
	ipv6Forwarding   = "net/ipv6/conf/all/forwarding"
)

func defaultSysctls(namespace string) []Key {
	return []Key{
		{namespace, KindSysctl, ipForward},
		{namespace, KindSysctl, defaultRPFilter},
		{namespace, KindSysctl, defaultIPv6Off},
		{namespace, KindSysctl, ipv6Forwarding},
	}
}
