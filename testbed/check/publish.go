package check

import (
	"context"
	"net/netip"

	"labnet/lab"
	"labnet/lab/plan"
)

// publishRow is a port of a node that is to lead to one of its pods, where something listens.
type publishRow struct {
	promiseRow // of the pod, asked at its node
	node       *plan.Node
	published  lab.Published
}

// published chooses who asks for published ports: somebody elsewhere, the node itself, and the pod itself, whose question has to
// come back by the device by which it went. What does not answer at its own port, or is cut off, is left out.
func (r *run) published(limit int, cut map[way]bool) (rows []*publishRow) {
	all := r.clients()
	for _, n := range r.plan.Cluster.Nodes {
		to := n.Uplink().Address(false).Addr()
		for _, p := range n.AllPods() {
			for i, one := range p.Publishes {
				d := r.due[port{p.Namespace, one.Protocol, one.To}]
				if d == nil || d.broken || d.Program != "" && one.Protocol == "udp" {
					continue
				}
				at := plan.Endpoint{Title: n.Name, Namespace: n.Namespace, Address: to, Node: n, Machine: n.Machine}
				row := publishRow{node: n, published: one, promiseRow: promiseRow{Promise: d.Promise, whom: at, to: netip.AddrPortFrom(to, uint16(one.Port))}}
				outside := row
				outside.Namespace = n.Namespace // not from there
				outside.admits = func(source netip.Addr) bool { return r.plan.Admits(p, source) }
				if all.choose(r.plan, &outside.promiseRow, i, cut) && outside.from.Node != n {
					outside.Namespace = p.Namespace
					rows = append(rows, &outside)
				}
				for _, from := range []plan.Endpoint{at, {Title: p.Title(), Namespace: p.Namespace, Node: n, Pod: p}} {
					own := row
					own.from = from
					rows = append(rows, &own)
				}
			}
		}
	}
	return rows[:min(limit, len(rows))]
}

// publishes asks at every published port.
func (r *run) publishes(ctx context.Context, rows []*publishRow, progress func(done int)) ([]Check, error) {
	var found machines
	return r.each(ctx, len(rows), servicesAtOnce, progress, func(i int) []Check {
		row := rows[i]
		c := r.promise(ctx, &row.promiseRow, &found)
		c.Name, c.To, c.publish, c.promise = Publish, row.Target+" "+row.published.String(), row, nil
		return []Check{c}
	})
}

// explainPublished finds what is otherwise than planned where a published port is translated, and then in its pod.
func (in *inquiry) explainPublished(row *publishRow) (*finding, error) {
	var first *finding
	for _, namespace := range []string{row.node.Namespace, row.Namespace, row.from.Namespace} {
		changes, err := in.changes(namespace)
		if err != nil {
			return nil, err
		}
		for _, change := range changes {
			f, translates := in.otherwiseThanPlanned(change)
			if translates && namespace == row.node.Namespace {
				return f, nil
			}
			if first == nil {
				first = f
			}
		}
	}
	return first, nil
}
