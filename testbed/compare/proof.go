package compare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"labnet/lab"
	"labnet/lab/packet"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/traffic"
	"labnet/testbed/wire"
)

// witness captures on the sending node's uplink while two pods of different nodes talk, and holds every frame of theirs
// against what the mode promises, in both directions.
func (r *run) witness(ctx context.Context, s *subject) (report.Proof, error) {
	way := *s.across
	out, back := s.Plan.Expect(plan.Flow{From: way.from, To: way.to}), s.Plan.Expect(plan.Flow{From: way.to, To: way.from})
	proof := report.Proof{Mode: s.Mode, Wire: r.wire.Name, Encapsulation: out.Encap.String()}
	device := way.from.Node.Uplink().Name
	capture, err := wire.Listen(s.places[way.from.Node.Namespace], device)
	if err != nil {
		return proof, err
	}
	defer capture.Close()
	if err := traffic.Exchange(ctx, r.traffic(s, way, r.cfg.whole(r.wire.Name)), 10); err != nil {
		return proof, err
	}
	ports := append([]int{out.Encap.Port, back.Encap.Port}, packet.Ports...)
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
	if proof.Detail == "" {
		if err := r.sizes(ctx, s, &proof, out); err != nil {
			return proof, err
		}
	}
	proof.OK = proof.Detail == ""
	return proof, nil
}

// sizes streams for a moment, and looks at how long the frames are that leave the sending node, and which devices carried
// them: no frame is longer than the wire model allows, and a tunnel's device is at work where there is a tunnel, and only there.
func (r *run) sizes(ctx context.Context, s *subject, proof *report.Proof, want plan.Expectation) error {
	const long = 50 * time.Millisecond
	way := *s.across
	uplink := way.from.Node.Uplink()
	node := s.places[way.from.Node.Namespace]
	before, err := testbed.Devices(node, false)
	if err != nil {
		return err
	}
	capture, err := wire.Listen(node, uplink.Name)
	if err != nil {
		return err
	}
	defer capture.Close()
	cfg := r.traffic(s, way, r.cfg.whole(r.wire.Name))
	cfg.Warmup, cfg.Window = 0, long
	allowed := uplink.Switch.MTU + ethernet
	full := min(want.MTU, podMTU(s.Plan, way.from)) + want.Encap.Overhead + ethernet
	if want.Encap.Type == "vlan" {
		allowed += tag
		full += tag
	}
	sizes, longest := map[int]int{}, 0
	// A busy machine may come to no full frame within the window. Then it gets a longer one.
	for ; longest < full-rest && cfg.Window <= 16*long; cfg.Window *= 4 {
		if err := streamed(ctx, cfg, capture, sizes); err != nil {
			return err
		}
		for size := range sizes {
			longest = max(longest, size)
		}
	}
	for _, size := range slices.Sorted(maps.Keys(sizes)) {
		proof.Sizes = append(proof.Sizes, [2]int{size, sizes[size]})
	}
	switch {
	case r.wire.Model != lab.WireSuper && longest > allowed:
		proof.Detail = fmt.Sprintf("frames of up to %d bytes leave %s of %s, and the wire model %s allows %d: something is not cut where it should be",
			longest, uplink.Name, way.from.Node.Name, r.wire.Name, allowed)
	case longest < full-rest:
		proof.Detail = fmt.Sprintf("of a stream, no frame that leaves %s of %s is longer than %d bytes", uplink.Name, way.from.Node.Name, longest)
	}
	after, err := testbed.Devices(node, false)
	if err != nil || proof.Detail != "" {
		return err
	}
	var busy []string
	for _, d := range after {
		for _, b := range before {
			if b.Name == d.Name && d.Sent+d.Received-b.Sent-b.Received > 0 {
				busy = append(busy, d.Name)
			}
		}
	}
	proof.Detail = misplaced(s.Plan.State, way.from.Node.Namespace, want, busy)
	return nil
}

// streamed counts the frames of a stream that leave, by their size.
func streamed(ctx context.Context, cfg traffic.Config, capture *wire.Capture, sizes map[int]int) error {
	const most = 5000 // frames are enough
	done := make(chan error, 1)
	go func() {
		_, err := traffic.RunStream(ctx, cfg, traffic.Streams{})
		done <- err
	}()
	for frames, ended := 0, false; frames < most; {
		raw, err := capture.Receive(time.Now().Add(cfg.Window))
		switch {
		case err == nil && raw.Out:
			sizes[raw.Length]++
			frames++
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return errors.Join(err, <-done)
		case ended:
			return <-done
		default: // quiet; when the stream is over, what is left is taken before the next quiet ends this
			ended = len(done) > 0
		}
	}
	return <-done
}

const (
	ethernet = 14
	tag      = 4  // of 802.1Q
	rest     = 64 // of a packet that is full but for what does not divide
)

// misplaced says which device was at work that has no part in what the mode promises, or was not and has one. A device made of
// eBPF programs counts nothing: what it does is seen on the frames alone.
func misplaced(s *plan.State, namespace string, want plan.Expectation, busy []string) string {
	worked := want.Encap.Type == "" || s.Datapaths()[namespace] == plan.EBPF
	for _, name := range busy {
		l, _ := s.Get(plan.Key{Namespace: namespace, Kind: plan.KindLink, Name: name}).(plan.Link)
		switch makes := plan.Encapsulates(l.Device); {
		case makes == "":
		case makes != want.Encap.Type:
			return fmt.Sprintf("packets pass %s, which has no part in it", name)
		default:
			worked = true
		}
	}
	if !worked {
		return "no device that encapsulates has sent or received anything"
	}
	return ""
}
