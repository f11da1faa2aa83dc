package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// Attachment is a pod's interface that CNI plugins make. What they make besides is theirs: a lab knows it only by looking.
type Attachment struct {
	Namespace string // of the node, in which they run
	Pod       string // p1
	Into      string // the pod's namespace
	On        string // the node's uplink, which plugins may put devices on
	Config    string // a [CNI], as text
	Fault     string // of one that was found: what is wrong with it
}

// CNI is how plugins are called for a pod.
type CNI struct {
	Device       string            `json:"device"` // eth0
	Conflist     json.RawMessage   `json:"conflist"`
	Path         []string          `json:"path,omitempty"` // folders of executables
	Args         map[string]string `json:"args,omitempty"`
	Capabilities map[string]any    `json:"capabilities,omitempty"`
	Files        map[string]string `json:"files,omitempty"` // that they find in their node, by path
	Within       []netip.Prefix    `json:"within"`          // the node's blocks: the pod has one address of each
	Timeout      string            `json:"timeout"`         // of one plugin
}

// Wanted is the configuration.
func (a Attachment) Wanted() (c CNI, err error) {
	if err = json.Unmarshal([]byte(a.Config), &c); err != nil {
		err = fmt.Errorf("the configuration of attachment %s: %w", a.Pod, err)
	}
	return c, err
}

// Types are the plugins of a conflist, in the order in which they are called for ADD.
func (c CNI) Types() []string {
	var list struct{ Plugins []struct{ Type string } }
	_ = json.Unmarshal(c.Conflist, &list) // its mode has read it
	var types []string
	for _, p := range list.Plugins {
		types = append(types, p.Type)
	}
	return types
}

func (a Attachment) Key() Key { return Key{a.Namespace, KindAttachment, a.Pod} }

func (a Attachment) Parents() []Key {
	return []Key{{a.Namespace, KindNamespace, ""}, {a.Into, KindNamespace, ""}, {a.Namespace, KindLink, a.On}}
}

func (a Attachment) Add() []string {
	return []string{fmt.Sprintf("lab cni add %s %s %s %s <<'EOF'\n%s\nEOF", a.Namespace, a.Pod, a.Into, a.On, a.Config)}
}

func (a Attachment) Set(Object) ([]string, bool) { return nil, false }

func (a Attachment) Del() []string {
	line := fmt.Sprintf("lab cni del %s %s", a.Namespace, a.Pod)
	if a.Fault != "" {
		line += " # " + a.Fault
	}
	return []string{line}
}

// Attached is what plugins have answered for a pod, and what its interface is like.
type Attached struct {
	Addresses []netip.Prefix `json:"addresses"` // one for each of the node's blocks
	Gateways  []netip.Addr   `json:"gateways"`  // likewise; the zero Addr where the plugins name none
	MTU       int            `json:"mtu"`
}

// Learn takes what plugins have answered into the plan, in which the pods have had the addresses that were to be expected.
// It reports whether anything is another than before.
func (p *Plan) Learn(attached map[Key]Attached) (changed bool, diags hcl.Diagnostics) {
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			for _, nic := range pod.NICs {
				a, ok := attached[Key{n.Namespace, KindAttachment, pod.Pod.Name}]
				if !ok || nic.MTU == a.MTU && slices.Equal(nic.Addresses, a.Addresses) && slices.Equal(nic.Gateways, a.Gateways) || len(a.Addresses) != len(nic.Addresses) {
					continue
				}
				nic.Addresses, nic.Gateways, nic.MTU, changed = a.Addresses, a.Gateways, a.MTU, true
			}
		}
	}
	if changed {
		diags = p.layOut()
	}
	return changed, diags
}
