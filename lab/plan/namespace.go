package plan

import (
	"fmt"
	"strings"
)

// Namespace is a network namespace of the lab. Its owner is recorded in the alias of its loopback device, which is all that
// is needed to find and remove a lab.
type Namespace struct {
	Name  string
	Alias string // see [Owner]
}

// Owner is what a namespace says about itself in the alias of its loopback device.
type Owner struct {
	Lab     string
	Machine string // node1 or node1/p1
	Role    string // switch, node, router, host, pod
}

const aliasSchema = "schema=1"

func (o Owner) String() string {
	return fmt.Sprintf("lab=%s machine=%s role=%s %s", o.Lab, o.Machine, o.Role, aliasSchema)
}

// ParseOwner reads a loopback alias of this or any other version of lab; ok is false when it is not one of ours.
func ParseOwner(alias string) (o Owner, ok bool) {
	version := ""
	for _, field := range strings.Fields(alias) {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "lab":
			o.Lab = value
		case "machine":
			o.Machine = value
		case "role":
			o.Role = value
		case "schema":
			version = value
		}
	}
	if o.Lab == "" || o.Machine == "" || o.Role == "" || version == "" {
		return Owner{}, false
	}
	return o, true
}

func (n Namespace) Key() Key       { return Key{n.Name, KindNamespace, ""} }
func (n Namespace) Parents() []Key { return nil }
func (n Namespace) Add() []string {
	return []string{"ip netns add " + n.Name, fmt.Sprintf("ip -n %s link set lo alias '%s' up", n.Name, n.Alias)}
}
func (n Namespace) Set(Object) ([]string, bool) { return n.Add()[1:], true }
func (n Namespace) Del() []string               { return []string{"ip netns del " + n.Name} }
