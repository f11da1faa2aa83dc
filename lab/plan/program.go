package plan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Program is an eBPF program of ours at a device's tc hook; the device has a clsact qdisc for it. All that it works with
// is constant, so that a program in the kernel can be told from another by its instructions.
type Program struct {
	Namespace, Link string
	Egress          bool
	Priority        int    // among the programs of one hook
	Chain           int    // of a program that was found elsewhere than where a hook begins
	Does            string // ipip-encap, ipip-decap, vlan-push, …: package datapath has them
	To              string // the device it hands packets to, in the same namespace
	Local           netip.Addr
	VLAN            int
	Trunk           string // the VLANs whose tagged frames pass: "10,20"
}

func (p Program) hook() string {
	if p.Egress {
		return "egress"
	}
	return "ingress"
}

func (p Program) chain() string {
	if p.Chain == 0 {
		return ""
	}
	return fmt.Sprintf(" chain %d", p.Chain)
}

func (p Program) Key() Key {
	return Key{p.Namespace, KindProgram, fmt.Sprintf("%s %s %d%s", p.Link, p.hook(), p.Priority, p.chain())}
}

func (p Program) Parents() []Key {
	parents := []Key{{p.Namespace, KindLink, p.Link}, {p.Namespace, KindQdisc, p.Link + " clsact"}}
	if p.To != "" {
		parents = append(parents, Key{p.Namespace, KindLink, p.To})
	}
	return parents
}

func (p Program) Add() []string {
	s := fmt.Sprintf("lab program add --namespace %s dev %s %s pref %d %s", p.Namespace, p.Link, p.hook(), p.Priority, p.Does)
	if p.To != "" {
		s += " to " + p.To
	}
	if p.Local.IsValid() {
		s += " local " + p.Local.String()
	}
	if p.VLAN != 0 {
		s += fmt.Sprintf(" vlan %d", p.VLAN)
	}
	if p.Trunk != "" {
		s += " trunk " + p.Trunk
	}
	return []string{s}
}

// ParseProgram reads what follows "lab program add" in Add's line.
func ParseProgram(words []string) (Program, error) {
	line := strings.Join(words, " ")
	words = strings.Fields(line)
	var p Program
	var hook string
	_, err := fmt.Sscanf(line, "--namespace %s dev %s %s pref %d %s", &p.Namespace, &p.Link, &hook, &p.Priority, &p.Does)
	if err != nil || hook != "ingress" && hook != "egress" || len(words)%2 != 0 {
		return Program{}, fmt.Errorf("%q does not say where which program is to be", line)
	}
	p.Egress = hook == "egress"
	for rest := words[8:]; len(rest) > 0 && err == nil; rest = rest[2:] {
		switch value := rest[1]; rest[0] {
		case "to":
			p.To = value
		case "local":
			p.Local, err = netip.ParseAddr(value)
		case "vlan":
			p.VLAN, err = strconv.Atoi(value)
		case "trunk":
			p.Trunk = value
		default:
			err = fmt.Errorf("a program has no %q", rest[0])
		}
	}
	return p, err
}

func (p Program) Set(Object) ([]string, bool) { return nil, false }

func (p Program) Del() []string {
	return []string{fmt.Sprintf("tc -n %s filter del dev %s %s pref %d%s", p.Namespace, p.Link, p.hook(), p.Priority, p.chain())}
}
