package lab

import (
	"maps"
	"regexp"
	"strings"
)

// Labels that every pod has; none can be given another value.
const (
	LabelNode = "node"
	LabelPod  = "pod"
)

// A label is what Kubernetes takes for one: app, app.kubernetes.io/name.
var (
	labelName  = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`)
)

const (
	maxLabel       = 63 // of a name without its prefix, and of a value
	maxLabelPrefix = 253
	maxLabels      = 100 // of a pod
)

// labels reads what pods are told apart by.
func (f *fields) labels(name string) map[string]string {
	labels := f.labelled(name)
	for _, given := range []string{LabelNode, LabelPod} {
		if _, ok := labels[given]; ok {
			f.l.errorf(f.at[name], "Reserved label", "Every pod has the labels node and pod, which say what it is called. Give %q another name.", given)
			delete(labels, given)
		}
	}
	return labels
}

// labelled reads labels with their values, also those of a selector.
func (f *fields) labelled(name string) map[string]string {
	v, at, ok := f.get(name)
	if !ok {
		return nil
	}
	if ty := v.Type(); !ty.IsObjectType() && !ty.IsMapType() {
		f.l.errorf(at, "Wrong type", "%q must be labels with their values, like { app = \"web\" }, not %s.", name, kindOf(v))
		return nil
	}
	if v.LengthInt() > maxLabels {
		f.l.errorf(at, "Too many labels", "%q has %d labels; there are at most %d.", name, v.LengthInt(), maxLabels)
		return nil
	}
	labels := map[string]string{}
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		label := key.AsString()
		if value.IsNull() {
			continue // left out
		}
		text, ok := f.asText(label, value, at)
		prefix, base, prefixed := strings.Cut(label, "/")
		if !prefixed {
			prefix, base = "", label
		}
		switch {
		case !ok:
		case !labelName.MatchString(label), len(base) > maxLabel, len(prefix) > maxLabelPrefix:
			f.l.errorf(at, "Invalid label", "%q cannot be the name of a label. It has up to %d letters, digits, \"-\", \"_\" and \".\", and begins and ends with a letter or a digit, as in Kubernetes.", shorten(label), maxLabel)
		case !labelValue.MatchString(text) || len(text) > maxLabel:
			f.l.errorf(at, "Invalid label", "%q cannot be the value of label %q. It has up to %d letters, digits, \"-\", \"_\" and \".\", and begins and ends with a letter or a digit, as in Kubernetes.", shorten(text), label, maxLabel)
		default:
			labels[label] = text
		}
	}
	return labels
}

// podLabels adds to a pod's labels those that every pod has.
func podLabels(m *Machine, pod string, given map[string]string) map[string]string {
	labels := map[string]string{LabelNode: m.Name, LabelPod: pod}
	maps.Copy(labels, given)
	return labels
}

// Matches reports whether a selector selects the pod: it has all of these labels.
func (p *Pod) Matches(selector map[string]string) bool {
	for label, value := range selector {
		if has, ok := p.Labels[label]; !ok || has != value {
			return false
		}
	}
	return true
}
