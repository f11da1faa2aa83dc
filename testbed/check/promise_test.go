package check

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"labnet/lab/plan"
)

// liar is a mode that promises something else than it makes.
type liar struct {
	plan.Mode
	lie func(from, to plan.Endpoint, e *plan.Expectation)
}

func (l liar) Expect(c *plan.Net, f plan.Flow) plan.Expectation {
	e := l.Mode.Expect(c, f)
	l.lie(f.From, f.To, &e)
	return e
}

// TestBrokenPromise holds one healthy lab against promises that it does not keep.
func TestBrokenPromise(t *testing.T) {
	p := build(t, twoNodes, "promise", "vxlan")
	for _, tt := range []struct {
		name       string
		lie        func(e *plan.Expectation)
		want, seen string
	}{
		{"unreachable", func(e *plan.Expectation) { e.Reachable = false }, Reach, "a packet from 10.42.0.2 arrived"},
		{"only one way", func(e *plan.Expectation) { e.Reachable, e.OneWay = false, true }, Reach, "an answer after"},
		{"other sender", func(e *plan.Expectation) { e.Source = e.Encap.Src }, Source, "10.42.0.2"},
		{"larger MTU", func(e *plan.Expectation) { e.MTU++ }, MTU, "node1/p1 itself refuses 1451 bytes"},
		{"smaller MTU", func(e *plan.Expectation) { e.MTU-- }, MTU, "1450 bytes arrive whole"},
		{"other overhead", func(e *plan.Expectation) { e.Encap.Overhead = 20 }, MTU, "1450 bytes are 1500 on the underlay"},
		{"other VNI", func(e *plan.Expectation) { e.Encap.VNI = 2 }, Wire, "has VNI 1 instead of 2"},
		{"other port", func(e *plan.Expectation) { e.Encap.Port = 4789 }, Wire, "goes to UDP port 8472 instead of 4789"},
		{"no encapsulation", func(e *plan.Expectation) { e.Encap = plan.Encap{} }, Wire, "and must not be"},
		{"nothing on the wire", func(e *plan.Expectation) { e.Wire = false }, Wire, "is on the underlay"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			honest := p.Mode
			defer func() { p.Mode = honest }()
			p.Mode = liar{honest, func(from, to plan.Endpoint, e *plan.Expectation) {
				if from.Title == "node1/p1" && to.Title == "node2/p2" {
					tt.lie(e)
				}
			}}
			r := checked(t, p)
			found := false
			for _, c := range r.Checks {
				switch {
				case c.OK:
				case c.From == "node1/p1" && c.To == "node2/p2":
					found = found || c.Name == tt.want && strings.Contains(c.Seen, tt.seen)
				case c.From != "node2/p2" || c.To != "node1/p1" || c.Name != Wire: // whose answers are lied about as well
					t.Errorf("%s of %s → %s fails, of which nothing was said: %s", c.Name, c.From, c.To, c.Seen)
				}
			}
			if !found || r.OK {
				t.Errorf("no %s check saw %q:\n%s", tt.want, tt.seen, text(r))
			}
		})
	}
}

// TestKeptApart: what is promised not to be reachable is not.
func TestKeptApart(t *testing.T) {
	p := build(t, twoNodes, "apart", "host-gw")
	sh(t, strings.ReplaceAll("ip -n LAB.node1 route del 10.42.1.0/24; ip -n LAB.node2 route del 10.42.0.0/24", "LAB", p.Cluster.Name))
	p.Mode = liar{p.Mode, func(from, to plan.Endpoint, e *plan.Expectation) {
		e.Reachable = from.Node == to.Node || to.Pod == nil
	}}
	if r := checked(t, p); !r.OK {
		t.Error(text(r))
	}
}

// TestAnswersGetLost: what is promised to arrive without an answer does, and it is seen where it does not even arrive.
func TestAnswersGetLost(t *testing.T) {
	p := build(t, twoNodes, "oneway", "host-gw")
	sh(t, strings.ReplaceAll("ip -n LAB.node2 route del 10.42.0.0/24", "LAB", p.Cluster.Name))
	p.Mode = liar{p.Mode, func(from, to plan.Endpoint, e *plan.Expectation) {
		across := from.Node != to.Node && from.Pod != nil && to.Pod != nil
		e.OneWay = across && from.Node.Index == 0
		e.Reachable = !across && (to.Pod == nil || from.Node.Index == 0 || from.Node == to.Node)
	}}
	if r := checked(t, p); !r.OK {
		t.Error(text(r))
	}
	sh(t, strings.ReplaceAll("ip -n LAB.node1 route del 10.42.1.0/24", "LAB", p.Cluster.Name))
	r := checked(t, p)
	for _, c := range r.Checks {
		if !c.OK && c.Name == Reach && c.Seen == "nothing arrived" && strings.Contains(c.Expected, "its answer gets lost") {
			return
		}
	}
	t.Errorf("nobody saw that nothing arrives:\n%s", text(r))
}

// TestCancel: a check that waits for packets which do not come ends at once, and leaves no descriptor open.
func TestCancel(t *testing.T) {
	p := build(t, twoNodes, "cancel", "host-gw")
	sh(t, strings.ReplaceAll("ip -n LAB.lan link set br0 down; ip -n LAB.node1 link set cni0 down", "LAB", p.Cluster.Name))
	start := time.Now()
	if _, err := Run(t.Context(), p, Options{}, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(start)
	before := descriptors(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start = time.Now()
	r, err := Run(ctx, p, Options{}, func(int, int) {})
	if r != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", r, err)
	}
	if took := time.Since(start); took > whole/2 {
		t.Errorf("it ended %s after its start, and takes %s when it is not cancelled", took, whole)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
