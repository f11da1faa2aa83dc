package lab

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// What a pod can be in besides the pod network, as Docker has it.
const (
	NoNetwork   = "none" // a namespace of its own with nothing but lo
	HostNetwork = "host" // the namespace of its node
	PodNetwork  = "pod"  // that of another pod of its node, written pod:NAME
	// BridgeNetwork is a bridge of its node: a network with a driver, which a pod names.
	BridgeNetwork = "bridge"
)

// connects reads what network a pod is in.
func (l *loader) connects(p *Pod, f *fields) {
	items, ok := f.list("networks")
	if !ok {
		return
	}
	if len(items) > 1 {
		l.errorf(items[1].at, "Second network", "A pod is in one network. Remove one of the two.")
		return
	}
	text, at := items[0].text, items[0].at
	kind, of, shares := strings.Cut(text, ":")
	switch {
	case text == NoNetwork, text == HostNetwork:
		p.In = text
	case shares && kind == PodNetwork:
		p.In, p.Of = PodNetwork, of
	case l.bridges[text]:
		p.In, p.Of = BridgeNetwork, text
	case text == l.podNet:
	case l.podNet == "" && len(l.bridges) == 0 && ValidName(text):
		l.errorf(at, "Unknown network", "The file has no network block %q. Add network %[1]q { cidr = \"10.42.0.0/16\" }, or use \"none\", \"host\" or \"pod:NAME\".", text)
	default:
		known := append(slices.Sorted(maps.Keys(l.bridges)), NoNetwork, HostNetwork, PodNetwork+":NAME")
		if l.podNet != "" {
			known = append([]string{l.podNet}, known...)
		}
		l.errorf(at, "Unknown network", "There is no network %q.%s", shorten(text), Suggest(text, known, "A pod is in one of"))
	}
	if other, given := f.at["address"]; given && p.In != "" && p.In != BridgeNetwork {
		l.clash(f.at["networks"], other, "Address without a network", "A pod in no network of its own has no address of its own. Remove one of the two; the address is at %s.")
	}
}

// sharing checks the pods of a node that are in the network of another, and that no two in one network serve the same port.
func (l *loader) sharing(m *Machine) {
	if m.Name == "" {
		return
	}
	pods := map[string]*Pod{}
	for _, p := range m.Pods {
		pods[p.Name] = p
	}
	served := map[string]map[Socket]hcl.Range{}
	serves := func(in string, sockets []Socket, at hcl.Range) {
		if served[in] == nil {
			served[in] = map[Socket]hcl.Range{}
		}
		for _, s := range sockets {
			if other, taken := served[in][s]; taken {
				l.clash(at, other, "Port taken", "%s is served in this network already, at %s. Serve one of the two on another port, or give the pod a network of its own.", s)
				continue
			}
			served[in][s] = at
		}
	}
	serves("", m.Serves, m.At.Of("serve", m.Range))
	for _, p := range m.Pods {
		root, ok := l.shared(m, p, pods)
		if !ok {
			continue
		}
		in := root.Name
		if root.In == HostNetwork {
			in = ""
		}
		serves(in, p.Serves, p.At.Of("serve", p.Range))
	}
}

// shared follows a pod to the one whose network it is in.
func (l *loader) shared(m *Machine, p *Pod, pods map[string]*Pod) (root *Pod, ok bool) {
	at := p.At.Of("networks", p.Range)
	walked := []string{p.Name}
	for root = p; root.In == PodNetwork; {
		of := pods[root.Of]
		if of == nil {
			if root != p { // reported with that one
				return nil, false
			}
			hint := Suggest(p.Of, others(m, p), m.Name+" has")
			if strings.Contains(p.Of, "/") {
				hint = " A pod shares the network of a pod of its own node, which is named alone: \"pod:NAME\"." + hint
			}
			l.errorf(at, "Unknown pod", "%s has no other pod %q.%s", m.Name, shorten(p.Of), hint)
			return nil, false
		}
		walked = append(walked, of.Name)
		if slices.Contains(walked[:len(walked)-1], of.Name) {
			if of == p {
				l.errorf(at, "Networks in a circle", "The pods share each other's network, and none has one: %s. Leave networks out for one of them.", strings.Join(walked, " → "))
			}
			return nil, false
		}
		root = of
	}
	return root, true
}

// others are the names of a node's other pods.
func others(m *Machine, p *Pod) (names []string) {
	for _, other := range m.Pods {
		if other != p {
			names = append(names, other.Name)
		}
	}
	return names
}

// Apart reports whether the pod is not in the pod network.
func (p *Pod) Apart() bool { return p.In != "" }

// Connected reports whether the pod has an interface: in the pod network, or on a bridge of its node.
func (p *Pod) Connected() bool { return p.In == "" || p.In == BridgeNetwork }
