package lab

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// maxEndpoints is how many endpoints all services of a lab may have together.
const maxEndpoints = 1 << 18

// podIndex is the pods of a lab as services look for them: by name, and by label.
type podIndex struct {
	titles []string // node1/p1
	known  map[string]selectable
	having map[label][]selectable // in the order of the file
}

type label struct{ name, value string }

type selectable struct {
	Backend
	*Pod
	bridge string // the network that it is in, where that is its node's own
}

// reached reports a pod that clients of services do not reach.
func (l *loader) reached(p selectable, at hcl.Range) bool {
	if p.bridge != "" {
		l.errorf(at, "An endpoint on a bridge", "%s/%s is in network %q, a bridge of its node, which lets nobody in but by published ports: no service leads there. Put the pod into the pod network, or leave it out and publish a port of it.", p.Node, p.Backend.Pod, p.bridge)
		return false
	}
	return true
}

// podsOf makes the index when the first service asks for it: there are no more pods then.
func (l *loader) podsOf(lab *Lab) *podIndex {
	if l.indexed != nil {
		return l.indexed
	}
	x := &podIndex{known: map[string]selectable{}, having: map[label][]selectable{}}
	for _, m := range lab.Machines {
		for _, p := range m.Pods {
			one := selectable{Backend{Node: m.Name, Pod: p.Name}, p, m.bridge(p)}
			title := m.Name + "/" + p.Name
			x.titles, x.known[title] = append(x.titles, title), one
			for name, value := range p.Labels {
				at := label{name, value}
				x.having[at] = append(x.having[at], one)
			}
		}
	}
	l.indexed = x
	return x
}

// with are the pods that have the label of a selector which the fewest have.
func (x *podIndex) with(selector map[string]string) (fewest []selectable) {
	first := true
	for name, value := range selector {
		if these := x.having[label{name, value}]; first || len(these) < len(fewest) {
			fewest, first = these, false
		}
	}
	return fewest
}

// backends reads the endpoints: node1/p1, or an address.
func (l *loader) backends(lab *Lab, s *Service, f *fields) {
	pods := l.podsOf(lab)
	items, _ := f.list("endpoints")
	first := map[string]hcl.Range{}
	for _, it := range items {
		if at, ok := first[it.text]; ok {
			l.clash(it.at, at, "Duplicate endpoint", "%q is already in the list, at %s. Remove one of the two.", shorten(it.text))
			continue
		}
		first[it.text] = it.at
		pod, ok := pods.known[it.text]
		b := pod.Backend
		switch {
		case ok && !l.reached(pod, it.at):
			continue
		case ok:
		case strings.Contains(it.text, "/") || !strings.ContainsAny(it.text, ".:"):
			l.errorf(it.at, "Unknown pod", "There is no pod %q.%s An endpoint is a pod, as node1/p1, or an address.", shorten(it.text), Suggest(it.text, pods.titles, "The pods are"))
			continue
		default:
			a, valid := l.address(it)
			if valid && a.Is6() && lab.Services.CIDR.IsValid() && !lab.Services.CIDR6.IsValid() {
				l.errorf(it.at, "Services have IPv4 addresses", "%s is an address of IPv6, and the services have a range of IPv4 only. Use an address of IPv4, or give them a range of IPv6 too.", a)
				valid = false
			}
			if !valid {
				continue
			}
			b = Backend{Address: a}
		}
		if !l.endpoint(s, b, it.at) {
			return
		}
	}
}

// endpoint adds an endpoint; false when a lab can have no more.
func (l *loader) endpoint(s *Service, b Backend, at hcl.Range) bool {
	if l.ends++; l.ends > maxEndpoints {
		l.errorf(at, "Lab too large", "From here on, the services have more than %d endpoints. Use fewer services, or select fewer pods.", maxEndpoints)
		return false
	}
	s.Endpoints = append(s.Endpoints, b)
	return true
}

// selected adds the pods that the service's selector selects.
func (l *loader) selected(lab *Lab, s *Service, f *fields) {
	s.Selector = f.labelled("selector")
	at, given := f.at["selector"]
	switch other, both := f.at["endpoints"]; {
	case !given:
		return
	case both:
		l.clash(at, other, "Both selector and endpoints", "A service has the pods that its selector selects, or the endpoints of a list. Remove one of the two; the other is at %s.")
		return
	case s.Selector == nil: // it is wrong
		return
	case len(s.Selector) == 0:
		l.errorf(at, "Empty selector", "It would select every pod. Name at least one label: selector = { app = \"web\" }.")
		return
	}
	for _, p := range l.podsOf(lab).with(s.Selector) {
		if p.Matches(s.Selector) && (!l.reached(p, at) || !l.endpoint(s, p.Backend, at)) {
			return
		}
	}
	if len(s.Endpoints) == 0 {
		l.report(&hcl.Diagnostic{
			Severity: hcl.DiagWarning, Summary: "No pod selected", Subject: at.Ptr(),
			Detail: "No pod has all of these labels, so that the service has no endpoints and connections to it are refused. Pods get labels with labels = { … }, numbered ones with pod_labels of their node.",
		})
	}
}
