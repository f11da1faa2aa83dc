// Package testbed is the real thing: it reads what a lab's namespaces hold, applies changes to them, and removes them.
// It is the only importer of netlink.
package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/plugins/pkg/ns"
)

// NetnsDir is where named namespaces live, so that "ip netns" sees them too.
const NetnsDir = "/run/netns"

// Place is a network namespace, and the only way into one.
type Place struct {
	Name string
	ns   ns.NetNS
}

// Open opens a named namespace.
func Open(name string) (*Place, error) {
	path := filepath.Join(NetnsDir, name)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("namespace %s: %w", name, os.ErrNotExist)
	}
	n, err := ns.GetNS(path)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return &Place{Name: name, ns: n}, nil
}

// Do calls f on a thread of its own inside the place. Sockets that f opens stay in the place; goroutines that f starts
// do not run there.
func (p *Place) Do(f func() error) error {
	return p.ns.Do(func(ns.NetNS) (err error) {
		defer catch(&err)
		return f()
	})
}

// Fd returns the namespace's file descriptor, for netlink attributes.
func (p *Place) Fd() int { return int(p.ns.Fd()) }

// Close releases the handle; the namespace stays.
func (p *Place) Close() error { return p.ns.Close() }
