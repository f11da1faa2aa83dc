package macvlan

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes/internal/attach"
)

// ServiceVeth reports whether pods have a second device, for services.
func (m Mode) ServiceVeth() bool { return m.veth }

// serviceVeth adds a pod's second device, veth0, with what leads through it: the services' addresses, and its own node.
func serviceVeth(c *plan.Net, s *plan.State, n *plan.Member, p *plan.NIC) {
	near, far := plan.End{Namespace: n.Namespace, Name: hostEnd(p.Name)}, plan.End{Namespace: p.Namespace, Name: "veth0"}
	link := func(end, peer plan.End) plan.Link {
		mac := plan.MAC("service veth", p.Title(), end.Namespace)
		return plan.Link{Namespace: end.Namespace, Name: end.Name, Device: plan.Veth{Peer: peer}, MTU: c.PodMTU(attach.OnSegment(n.Node)), MAC: mac}
	}
	ours, theirs := link(near, far), link(far, near)
	s.Add(ours, theirs)
	for _, end := range []plan.End{near, far} {
		attach.NoRouterAdvertisements(c, s, end.Namespace, end.Name)
	}
	for _, a := range p.Addresses {
		v6 := a.Addr().Is6()
		own := n.Uplink().Address(v6).Addr()
		if !own.IsValid() {
			continue
		}
		// The node's end has the node's address, so that it and no other is what masquerading gives, and neither end asks for the
		// other's MAC address: a pod that has its address on another device does not answer for it in IPv6.
		s.Add(
			plan.NewAddress(near.Namespace, near.Name, plan.Single(own)),
			onLink(near, a.Addr()), plan.Neighbour{Namespace: near.Namespace, Link: near.Name, Addr: a.Addr(), MAC: theirs.MAC},
			onLink(far, own), plan.Neighbour{Namespace: far.Namespace, Link: far.Name, Addr: own, MAC: ours.MAC},
		)
		for _, dst := range through(c, n, v6) {
			s.Add(plan.Route{Namespace: far.Namespace, Table: plan.TableMain, Dst: dst, Via: own, Dev: far.Name, Protocol: plan.ProtocolBoot})
		}
	}
}

// through is what a node's pods send by way of it: to services, and to its other addresses.
func through(c *plan.Net, n *plan.Member, v6 bool) []netip.Prefix {
	var all []netip.Prefix
	if c.Lab.Services != nil {
		all = append(all, c.Lab.Services.CIDRs()...)
		for _, svc := range c.Lab.Services.All {
			if svc.External.IsValid() {
				all = append(all, plan.Single(svc.External))
			}
		}
	}
	for _, nic := range n.Interfaces {
		for _, a := range nic.Addresses {
			if a.Addr() != n.Uplink().Address(a.Addr().Is6()).Addr() {
				all = append(all, plan.Single(a.Addr()))
			}
		}
	}
	return slices.DeleteFunc(all, func(dst netip.Prefix) bool { return dst.Addr().Is6() != v6 })
}

// onLink is the route to what is at the other end.
func onLink(from plan.End, to netip.Addr) plan.Route {
	r := plan.Route{Namespace: from.Namespace, Table: plan.TableMain, Dst: plan.Single(to), Dev: from.Name, Protocol: plan.ProtocolBoot}
	if !to.Is6() {
		r.Scope = "link" // IPv6 routes have no scope
	}
	return r
}

// hostEnd names the node's end of a pod's veth pair after the pod, as far as that fits.
func hostEnd(pod string) string {
	const prefix = "svc-"
	if len(prefix+pod) <= lab.MaxInterface {
		return prefix + pod
	}
	sum := sha1.Sum([]byte(pod))
	return (prefix + hex.EncodeToString(sum[:]))[:lab.MaxInterface]
}

// lacking reports nodes by which no pod can send to the services of a family.
func lacking(c *plan.Net) hcl.Diagnostics {
	var diags hcl.Diagnostics
	if c.Lab.Services == nil {
		return nil
	}
	for _, cidr := range c.Lab.Services.CIDRs() {
		for _, n := range c.Nodes {
			if n.Uplink().Address(cidr.Addr().Is6()).IsValid() {
				continue
			}
			diags = append(diags, &hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "The underlay lacks a family of the services", Subject: n.Uplink().Range.Ptr(),
				Detail: fmt.Sprintf("Pods send what is for %s to their node's address, and %s has no subnet of that family, so that node %q has none. Add such a subnet to it.", cidr, n.Uplink().Segment(), n.Name),
			})
		}
	}
	return diags
}
