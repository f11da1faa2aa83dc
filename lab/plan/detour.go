package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
)

// detours reports whether pods are on a segment of the underlay, and what they send to services goes to their node all the same.
func (p *Plan) detours() bool {
	d, ok := p.Mode.(Detour)
	return ok && d.ServiceVeth()
}

// masqueradesAll reports whether also pods' connections to services are masqueraded: where they make a detour an endpoint would
// else answer them directly, from an address that they never asked.
func (p *Plan) masqueradesAll() bool { return p.Cluster.Lab.Services.MasqueradeAll || p.detours() }

// astray are the endpoints whose answers do not come by the node that translated: pods with a detour to services, which answer
// all but their own node by the segment that they are on.
func (p *Plan) astray(f ServiceFlow, e ServiceExpectation) (all []ServiceBackend) {
	if !p.detours() || f.From.Namespace == e.At.Namespace {
		return nil
	}
	for _, b := range e.Backends {
		if !b.Masqueraded && b.Namespace != e.At.Namespace {
			all = append(all, b)
		}
	}
	return all
}

// passed says why what pods send does not come to their node, where it would be translated.
func (l services) passed(c *Cluster) *hcl.Diagnostic {
	if _, joins := l.plan.Mode.(Joiner); !joins || l.plan.detours() {
		return nil
	}
	remedy := ""
	if _, may := l.plan.Mode.(Detour); may {
		remedy = fmt.Sprintf("Give each pod a second device that leads to its node, for services alone: mode %q { service_veth = true }. Or use", l.plan.ModeName)
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Services in mode " + l.plan.ModeName, Subject: c.Lab.Services.Range.Ptr(),
		Detail: fmt.Sprintf("In mode %s pods are on a segment of the underlay, so that what they send passes no firewall of their node, where services are translated. %s a mode whose pods are behind their node, like host-gw or vxlan, or remove the services.", l.plan.ModeName, cmp.Or(remedy, "Use")),
	}
}

// apart says which node has no way to pods of another on their segment. Connections that it translates would be lost there.
func (l services) apart(c *Cluster) *hcl.Diagnostic {
	if !l.plan.detours() {
		return nil
	}
	for _, cidr := range c.Lab.Services.CIDRs() {
		v6 := cidr.Addr().Is6()
		for _, n := range c.Nodes {
			other := slices.IndexFunc(c.Nodes, func(o *Node) bool { return o != n && len(o.Pods) > 0 && o.Pods[0].Address(v6).IsValid() })
			if other < 0 {
				continue
			}
			pod := c.Nodes[other].Pods[0]
			to := Endpoint{Title: pod.Title(), Namespace: pod.Namespace, Address: pod.Address(v6), Node: pod.Node, Pod: pod}
			if e := l.plan.Expect(Flow{From: endpointOf(n, v6), To: to}); !e.Reachable {
				return &hcl.Diagnostic{
					Severity: hcl.DiagError, Summary: "Nodes do not reach the pods of other nodes", Subject: n.Range.Ptr(),
					Detail: fmt.Sprintf("In mode %s node %q sends what it translates for a service to pods of other nodes as any machine of the underlay does, and it does not reach %s: %s. Give the pods' segment a router with an address in their subnet, and let the nodes have it as their gateway; or let the pods have addresses of the nodes' own subnet.", l.plan.ModeName, n.Name, to.Title, e.Lost),
				}
			}
		}
	}
	return nil
}

// unanswered warns of services that keep the client's address where the endpoint then does not answer by the node.
func (l services) unanswered(c *Cluster) (diags hcl.Diagnostics) {
	for _, svc := range c.Lab.Services.All {
		outside := svc.External.IsValid() || slices.ContainsFunc(svc.Ports, func(p *lab.ServicePort) bool { return p.NodePort != 0 })
		if l.plan.detours() && svc.Traffic.ExternalLocal && outside {
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagWarning, Summary: "Service " + svc.Name + " does not answer those outside", Subject: svc.At.Of("external_traffic", svc.Range).Ptr(),
				Detail: fmt.Sprintf("With external_traffic = \"Local\" an endpoint sees the own address of who asks at a node port or load balancer. In mode %s it answers there by its segment, and not by the node, which alone could translate the answer back. Leave the attribute out, and endpoints see the node.", l.plan.ModeName),
			})
		}
	}
	return diags
}
