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
	return p
}
func (s Sysctl) Add() []string {
	return []string{fmt.Sprintf("ip netns exec %s sysctl -qw %s=%s", s.Namespace, s.Path, s.Value)}
}
func (s Sysctl) Set(Object) ([]string, bool) { return s.Add(), true }
func (s Sysctl) Del() []string               { return nil }

// A device takes its settings from conf/default when it is made, so these are set before any link of the namespace.
const (
	ipForward       = "net/ipv4/ip_forward"
	defaultRPFilter = "net/ipv4/conf/default/rp_filter"
	defaultIPv6Off  = "net/ipv6/conf/default/disable_ipv6"
	ipv6Forwarding  = "net/ipv6/conf/all/forwarding"
)

func defaultSysctls(namespace string) []Key {
	return []Key{
		{namespace, KindSysctl, ipForward},
		{namespace, KindSysctl, defaultRPFilter},
		{namespace, KindSysctl, defaultIPv6Off},
		{namespace, KindSysctl, ipv6Forwarding},
	}
}

// Table is a whole nftables table: its chains and rules as nft(8) lists them, without comments.
type Table struct {
	Namespace string
	Family    string // ip, ip6, inet, arp, bridge, netdev
	Name      string
	Body      string // chains as nft prints them, each line ended by a newline and indented by one tab
}

func (t Table) Key() Key       { return Key{t.Namespace, KindTable, t.Family + " " + t.Name} }
func (t Table) Parents() []Key { return []Key{{t.Namespace, KindNamespace, ""}} }

// Text is the table as nft(8) prints it.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", t.Family, t.Name)
	b.WriteString(t.Body)
	b.WriteString("}\n")
	return b.String()
}

func (t Table) Add() []string {
	return []string{fmt.Sprintf("ip netns exec %s nft -f - <<'EOF'\n%sEOF", t.Namespace, t.Text())}
}
func (t Table) Set(Object) ([]string, bool) {
	return append(t.Del(), t.Add()...), true
}
func (t Table) Del() []string {
	return []string{fmt.Sprintf("ip netns exec %s nft delete table %s %s", t.Namespace, t.Family, t.Name)}
}
