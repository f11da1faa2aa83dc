// Package plan computes the kernel state that a lab needs: [Build] plans a definition in a mode, [Diff] compares two states.
// It is pure: it touches no kernel and needs no root. labnet/testbed reads the kernel's state and applies changes, the modes
// are in labnet/modes, and docs/adding-a-mode.md shows how to write one.
//
// A [State] is a graph of small comparable values, each with a key (namespace, kind, name), each naming the objects that it
// depends on. It prints as the ip, bridge, tc, nft and sysctl commands that would create it, ordered by dependency and then by
// name; that text is the plan, the golden file, the verbose log and the handout. The changes that [Diff] returns lead from one
// state to the other: building, repairing, changing the mode and doing nothing are the same operation.
package plan

import "fmt"

// Key identifies an object in a lab.
type Key struct {
	Namespace string // full name: three-node.node1
	Kind      Kind
	Name      string
}

func (k Key) String() string {
	if k.Kind == KindNamespace {
		return "namespace " + k.Namespace
	}
	return fmt.Sprintf("%s: %s %s", k.Namespace, k.Kind, k.Name)
}

// Kind orders objects that do not depend on one another, and names them in messages.
type Kind uint8

const (
	KindNamespace Kind = iota
	KindSysctl
	KindLink
	KindQdisc
	KindAddress
	KindNeighbour
	KindFDB
	KindRoute
	KindRule
	KindIPSet
	KindIPSetEntry
	KindTable
	KindStateful
	KindSet
	KindChain
	KindElement
	KindChainRule
	KindVirtualServer
	KindRealServer
	KindProgram
	KindAttachment
	KindAgent
	KindConnection
)

func (k Kind) String() string {
	return [...]string{"namespace", "sysctl", "link", "qdisc", "address", "neighbour", "FDB entry", "route", "rule", "ipset", "ipset member", "nft table", "nft object", "nft set", "nft chain", "nft element", "nft rule", "virtual server", "real server", "eBPF program", "attachment", "agent", "connection"}[k]
}

// Object is one thing in the kernel. The values are comparable: two objects of one key are the same when a == b, but for
// what the kernel calls a rule.
type Object interface {
	Key() Key
	// Parents are the objects this one stands on: they are made before it, and when one of them goes, so does this one.
	Parents() []Key
	// Add returns the commands that make the object on a machine where only its parents exist.
	Add() []string
	// Set returns the commands that turn before into this object in place; ok is false when it has to be made anew.
	Set(before Object) (lines []string, ok bool)
	// Del returns the commands that remove it.
	Del() []string
}
