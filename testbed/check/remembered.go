package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/lab/trace"
	"labnet/testbed"
)

// rememberedRow is a client whose datagrams a node goes on sending where the service that it asks does not lead any more. Whoever
// begins to ask is led right, so that no other question finds it: the client's own socket is asked from.
type rememberedRow struct {
	plan.Connection
	machine string
}

// mostRemembered is how many of them are asked.
const mostRemembered = 50

func (r *run) remembered(ctx context.Context) ([]Check, error) {
	stale, err := testbed.Stale(ctx, r.plan.State)
	if err != nil {
		return nil, err
	}
	stale = stale[:min(len(stale), mostRemembered)]
	return r.each(ctx, len(stale), servicesAtOnce, func(int) {}, func(i int) []Check { return []Check{r.remember(ctx, stale[i])} })
}

func (r *run) remember(ctx context.Context, entry plan.Connection) Check {
	row := &rememberedRow{Connection: entry, machine: strings.TrimPrefix(entry.Namespace, r.plan.Cluster.Name+".")}
	c := Check{Name: Service, From: entry.From.String(), Family: familyOf(entry.To.Addr()), remembered: row}
	c.To, c.Expected = r.asked(entry)
	c.Seen = fmt.Sprintf("%s is to answer, as at first", entry.By)
	everyone := r.plan.Cluster.Everyone()
	at := slices.IndexFunc(everyone, func(e plan.Endpoint) bool { return e.Address == entry.From.Addr() })
	if at < 0 {
		return c
	}
	c.From = fmt.Sprintf("%s port %d", everyone[at].Title, entry.From.Port())
	place, err := testbed.Open(everyone[at].Namespace)
	if err != nil {
		return c
	}
	defer place.Close()
	q := &questions{protocol: "udp", from: net.UDPAddrFromAddrPort(entry.From), to: entry.To, patience: r.silence(), again: r.again}
	err = place.Do(func() error {
		q.ask(ctx, func() bool { return true })
		return nil
	})
	if err == nil && !errors.Is(q.failed, unix.EADDRINUSE) { // which the client itself has, and is not to be disturbed
		c.Seen = q.failure()
	}
	return c
}

// explain names the entry, and what to do.
func (row *rememberedRow) explain() *finding {
	return &finding{disposition: trace.Lost, Drop: trace.Drop{
		Machine: row.machine,
		Sentence: fmt.Sprintf("an entry of %s's connection tracking is older than its rules, and goes on sending what %s sends %s to %s, which is no endpoint of it: `lab up` would run %s",
			row.machine, row.From, row.To, row.By, row.Del()[0]),
		Command: fmt.Sprintf("ip netns exec %s conntrack -L -p udp -d %s", row.Namespace, row.To.Addr()),
	}}
}

// asked names what a client asks, and who is to answer.
func (r *run) asked(entry plan.Connection) (name, expected string) {
	for _, p := range r.plan.ServiceFlows().Ports {
		socket := entry.To == netip.AddrPortFrom(p.Address, p.Port) || entry.To == netip.AddrPortFrom(p.Balancer, p.Port)
		nodePort := entry.To.Port() == p.NodePort && entry.To.Addr().Is6() == p.Address.Is6()
		if p.Protocol != "udp" || !socket && !nodePort {
			continue
		}
		var endpoints []string
		for _, e := range p.Endpoints {
			endpoints = append(endpoints, e.String())
		}
		return plan.ServiceFlow{Port: p}.Name() + " " + entry.To.String(), either(endpoints, "or") + " answers"
	}
	return entry.To.String(), "the pod that publishes it answers"
}
