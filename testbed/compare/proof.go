package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed/traffic"
	"labnet/testbed/wire"
)

// Ports that tunnels are found on in the wild, so that they are also recognised where nobody promised them: IANA's and
// Linux's of VXLAN, and flannel's of its udp backend.
var tunnelPorts = []int{4789, 8472, 8285}

// witness captures on the sending node's uplink while two pods of different nodes talk, and holds every frame of theirs
// against what the mode promises, in both directions.
func (r *run) witness(ctx context.Context, s *subject) (report.Proof, error) {
	way := *s.across
	out, back := s.Plan.Expect(way.from, way.to), s.Plan.Expect(way.to, way.from)
	proof := report.Proof{Mode: s.Mode, Wire: wireModel, Encapsulation: out.Encap.String()}
	device := way.from.Node.Uplink().Name
	capture, err := wire.Listen(s.places[way.from.Node.Namespace], device)
	if err != nil {
		return proof, err
	}
	defer capture.Close()
	if err := traffic.Exchange(ctx, r.traffic(s, way), 10); err != nil {
		return proof, err
	}
	ports := append([]int{out.Encap.Port, back.Encap.Port}, tunnelPorts...)
	sent, received := 0, 0
	for {
		// What the pods have exchanged has passed the uplink by now, and waits.
		raw, err := capture.Receive(time.Unix(0, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return proof, err
		}
		f, err := raw.Decode(ports...)
		if err != nil {
			continue // not IP, so nothing of the pods'
		}
		var want plan.Expectation
		switch {
		case f.Inner.Src == way.from.Address && f.Inner.Dst == way.to.Address:
			want = out
			sent++
		case f.Inner.Src == way.to.Address && f.Inner.Dst == way.from.Address:
			want = back
			received++
		default:
			continue
		}
		proof.Frames++
		if ok, why := wire.Matches(f, want); !ok && proof.Detail == "" {
			proof.Detail = fmt.Sprintf("frame %d of %s > %s %s", proof.Frames, f.Inner.Src, f.Inner.Dst, why)
		}
	}
	if proof.Detail == "" && (sent == 0 || received == 0) {
		proof.Detail = fmt.Sprintf("of what %s and %s exchanged, %d frames left %s of %s and %d came in",
			way.from.Title, way.to.Title, sent, device, way.from.Node.Name, received)
	}
	proof.OK = proof.Detail == ""
	return proof, nil
}
