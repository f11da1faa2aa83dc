package check

import (
	"net/netip"
	"sync"

	"labnet/lab/plan"
)

// turn is what gives connections to endpoints one after the other, whoever opens them: a virtual server of a node. Two clients
// that ask it at the same time may each meet every second endpoint only, for ever.
type turn struct {
	at       *plan.Node
	to       netip.AddrPort
	protocol string
}

// turns lets one client at a time ask each.
type turns map[turn]*sync.Mutex

func newTurns(rows []*serviceRow) turns {
	all := turns{}
	for _, row := range rows {
		if row.want.Spread == plan.InTurn {
			all[row.turn()] = &sync.Mutex{}
		}
	}
	return all
}

func (row *serviceRow) turn() turn { return turn{row.want.At, row.To, row.Port.Protocol} }

// take waits until nobody else asks what the row asks, where that matters.
func (t turns) take(row *serviceRow) (done func()) {
	own := t[row.turn()]
	if own == nil {
		return func() {}
	}
	own.Lock()
	return own.Unlock
}
