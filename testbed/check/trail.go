package check

import (
	"errors"
	"fmt"
	"syscall"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/testbed/wire"
)

// trail says how far a packet was seen that did not arrive. Why, the tables of the kernel say, see culprit.go; where they say that
// all is well, this is all that is known.
func (p *probe) trail(f *flow, from, to *endpoint, kind byte) string {
	want := p.plan.Expect(plan.Flow{From: from.Endpoint, To: to.Endpoint})
	if from.Node.Kind != lab.Node || to.Node.Kind != lab.Node || !want.Wire {
		return "it got lost between " + from.Title + " and " + to.Title
	}
	out := from.Node.Name + " " + from.Node.Uplink().Name
	in := to.Node.Name + " " + to.Node.Uplink().Name
	left := f.seen(from.Node, true, kind)
	if len(left) == 0 {
		return p.blind(from.Node) + "no " + frameOf(want) + " of it left " + out
	}
	// Only between pods an answer is promised to look as a request the other way round would.
	if ok, why := wire.Matches(left[0], want); !ok && (kind != answer || from.Pod != nil && to.Pod != nil) {
		return fmt.Sprintf("the frame that left %s %s", out, why)
	}
	if len(f.seen(to.Node, false, kind)) == 0 {
		return fmt.Sprintf("it left %s and did not come to %s", out, in)
	}
	return "it came to " + in + " and no further"
}

func frameOf(e plan.Expectation) string {
	if e.Encap.Type == "" {
		return "frame"
	}
	return e.Encap.Type + " frame"
}

// blind says why a frame may have been there that was not seen.
func (p *probe) blind(n *plan.Node) string {
	u := p.uplinks[n]
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil:
		return fmt.Sprintf("nothing could be seen (%v); ", u.err)
	case u.lost > 0:
		return fmt.Sprintf("the capture lost %d frames because of other traffic, check again without it; ", u.lost)
	}
	return ""
}

// reason is an error without the addresses, which the report has anyway.
func reason(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}
