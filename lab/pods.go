package lab

import (
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// pods decodes what only nodes have. Numbered pods come first, then those that only a block of their own names.
func (l *loader) pods(m *Machine, b *hclsyntax.Block, f *fields) {
	m.PodCIDRs, _, _ = f.prefixes("pod_cidr")
	n, at, _ := f.integer("pods", 0, maxPods, "")
	numbered := map[string]*Pod{}
	for i := range n {
		p := &Pod{Name: "p" + strconv.Itoa(i+1), Range: at, At: Ranges{}}
		numbered[p.Name] = p
		if !l.space(at) {
			return
		}
		m.Pods = append(m.Pods, p)
	}
	taken := map[string]hcl.Range{}
	for _, inner := range b.Body.Blocks {
		if l.exhausted() {
			return
		}
		if inner.Type != "pod" || len(inner.Labels) == 0 {
			continue
		}
		pf := l.fields(pod, inner.Body, f.ctx)
		p := &Pod{Name: inner.Labels[0], Range: inner.DefRange(), At: pf.at}
		p.Addresses, _, _ = pf.addresses("address")
		at := inner.LabelRanges[0]
		if !l.checkName("pod", p.Name, at) {
			continue
		}
		if first, ok := taken[p.Name]; ok {
			l.clash(at, first, "Duplicate pod", "The node already has a block for its pod %q, at %s. Rename this pod, or merge the two.", p.Name)
			continue
		}
		taken[p.Name] = at
		if one := numbered[p.Name]; one != nil {
			*one = *p
			continue
		}
		if len(m.Pods) == maxPods {
			l.errorf(at, "Too many pods", "A node has at most %d pods.", maxPods)
			return
		}
		if !l.space(at) {
			return
		}
		m.Pods = append(m.Pods, p)
	}
}
