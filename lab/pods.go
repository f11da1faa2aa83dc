package lab

import (
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// pods decodes what only nodes have. Numbered pods come first, then those that only a block of their own names.
func (l *loader) pods(m *Machine, b *hclsyntax.Block, f *fields) {
	m.PodCIDRs, _, _ = f.prefixes("pod_cidr")
	shared := f.labels("pod_labels")
	n, at, _ := f.integer("pods", 0, maxPods, "")
	numbered := map[string]*Pod{}
	for i := range n {
		name := "p" + strconv.Itoa(i+1)
		p := &Pod{Name: name, Labels: podLabels(m, name, shared), Range: at, At: Ranges{}}
		numbered[p.Name] = p
		if !l.space(at) {
			return
		}
		m.Pods = append(m.Pods, p)
	}
	taken := map[string]hcl.Range{}
	for _, inner := range l.blocks(file.blocks["node"], "pod", b.Body, f.ctx) {
		instances, at := l.instances(pod, inner.Block, inner.ctx)
		for _, in := range instances {
			if l.exhausted() || !l.pod(m, inner, in, at, numbered, taken) {
				return
			}
		}
	}
	l.sharing(m)
	l.publishing(m)
}

// pod decodes one of the pods that a block stands for; false when the node can have no more.
func (l *loader) pod(m *Machine, b inner, in instance, at hcl.Range, numbered map[string]*Pod, taken map[string]hcl.Range) bool {
	f := l.fields(pod, b.Body, in.ctx)
	p := &Pod{Name: in.name, Range: b.DefRange(), At: f.at}
	p.Addresses, _, _ = f.addresses("address")
	own := f.labels("labels")
	p.Serves = f.sockets("serve")
	p.Publishes = f.published("publish")
	l.connects(p, f)
	p.Processes = l.processes("container", container, l.blocks(pod, "container", b.Body, in.ctx))
	if in.dry || !l.checkName("pod", p.Name, at) {
		return true
	}
	if first, ok := taken[p.Name]; ok {
		l.clash(at, first, "Duplicate pod", "The node already has a block for its pod %q, at %s. Rename this pod, or merge the two.", p.Name)
		return true
	}
	taken[p.Name] = at
	one := numbered[p.Name]
	if one != nil {
		for name, value := range own {
			one.Labels[name] = value
		}
		p.Labels = one.Labels
		*one = *p
		return true
	}
	p.Labels = podLabels(m, p.Name, own)
	if len(m.Pods) == maxPods {
		l.errorf(at, "Too many pods", "A node has at most %d pods.", maxPods)
		return false
	}
	if !l.space(at) {
		return false
	}
	m.Pods = append(m.Pods, p)
	return true
}
