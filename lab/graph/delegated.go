package graph

import "labnet/lab/plan"

// together is what is wanted, and what others see to.
func together(want *plan.State, others []plan.Object) *plan.State {
	if len(others) == 0 {
		return want
	}
	all := &plan.State{}
	want.Each(func(o plan.Object) { all.Add(o) })
	all.Add(others...)
	return all
}

// theirs is what CNI plugins and daemons have made.
func theirs(actual *plan.State) (objects []plan.Object) {
	actual.Each(func(o plan.Object) {
		if actual.Entrusted(o.Key()) {
			objects = append(objects, o)
		}
	})
	return objects
}

// attached is what can be said beforehand of what plugins will make: that pods hang on their nodes, and with which addresses.
func attached(p *plan.Plan) (objects []plan.Object) {
	for _, n := range p.Cluster.Nodes {
		for _, pod := range n.Pods {
			for _, nic := range pod.NICs {
				if p.State.Get(plan.Key{Namespace: n.Namespace, Kind: plan.KindAttachment, Name: pod.Pod.Name}) == nil {
					continue
				}
				objects = append(objects, plan.Link{Namespace: pod.Namespace, Name: nic.Device, Device: plan.Veth{Peer: plan.End{Namespace: n.Namespace, Name: "CNI"}}, MTU: nic.MTU})
				for _, a := range nic.Addresses {
					objects = append(objects, plan.NewAddress(pod.Namespace, nic.Device, a))
				}
			}
		}
	}
	return objects
}
