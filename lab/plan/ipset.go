package plan

import (
	"fmt"

	"labnet/lab/kubeproxy"
)

// IPSet is an ipset: addresses and ports that rules of iptables ask for by its name.
type IPSet struct {
	Namespace string
	Name      string
	Type      string // hash:ip,port
	V6        bool
	Odd       string // what was found of one that no lab has: counters, another size
}

// IPSetEntry is a member of an ipset.
type IPSetEntry struct {
	Namespace, Of string
	kubeproxy.IPSetEntry
	Odd string // what was found of one that no lab has
}

func inIPSet(namespace, name string) Key { return Key{namespace, KindIPSet, name} }

func (s IPSet) Key() Key       { return inIPSet(s.Namespace, s.Name) }
func (s IPSet) Parents() []Key { return []Key{{s.Namespace, KindNamespace, ""}} }
func (s IPSet) Add() []string {
	options := "range 0-65535"
	if s.Type != "bitmap:port" {
		options = fmt.Sprintf("family %s hashsize 1024 maxelem 65536", map[bool]string{false: "inet", true: "inet6"}[s.V6])
	}
	return []string{fmt.Sprintf("ip netns exec %s ipset create %s %s %s", s.Namespace, s.Name, s.Type, options)}
}
func (s IPSet) Set(Object) ([]string, bool) { return nil, false }
func (s IPSet) Del() []string {
	return []string{fmt.Sprintf("ip netns exec %s ipset destroy %s", s.Namespace, s.Name)}
}

func (e IPSetEntry) Key() Key {
	return Key{e.Namespace, KindIPSetEntry, e.Of + " " + e.String()}
}
func (e IPSetEntry) Parents() []Key {
	return []Key{{e.Namespace, KindNamespace, ""}, inIPSet(e.Namespace, e.Of)}
}
func (e IPSetEntry) Add() []string { return []string{e.line("add")} }
func (e IPSetEntry) Set(Object) ([]string, bool) {
	return []string{e.line("del"), e.line("add")}, true
}
func (e IPSetEntry) Del() []string { return []string{e.line("del")} }
func (e IPSetEntry) line(verb string) string {
	return fmt.Sprintf("ip netns exec %s ipset %s %s %s", e.Namespace, verb, e.Of, e.IPSetEntry)
}
