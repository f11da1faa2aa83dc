package check

import (
	"net/netip"
	"testing"

	"labnet/lab/kubeproxy"
	"labnet/lab/plan"
)

// TestTurns: of clients whose connections go to endpoints in turn one asks at a time, and nobody else waits.
func TestTurns(t *testing.T) {
	row := func(at *plan.Node, to, protocol string, spread plan.Spread) *serviceRow {
		flow := plan.ServiceFlow{To: netip.MustParseAddrPort(to), Port: kubeproxy.Port{Protocol: protocol}}
		return &serviceRow{ServiceFlow: flow, want: plan.ServiceExpectation{At: at, Spread: spread}}
	}
	node, other := &plan.Node{}, &plan.Node{}
	first := row(node, "10.96.0.1:80", "tcp", plan.InTurn)
	same := row(node, "10.96.0.1:80", "tcp", plan.InTurn)
	apart := []*serviceRow{
		row(other, "10.96.0.1:80", "tcp", plan.InTurn),
		row(node, "10.96.0.2:80", "tcp", plan.InTurn),
		row(node, "10.96.0.1:80", "udp", plan.InTurn),
		row(node, "10.96.0.3:80", "tcp", plan.ByLot),
	}
	turns := newTurns(append([]*serviceRow{first, same}, apart...))
	done := turns.take(first)
	if turns[same.turn()].TryLock() {
		t.Error("two ask at the same time")
	}
	for _, row := range apart {
		turns.take(row)()
	}
	done()
	turns.take(same)()
}
