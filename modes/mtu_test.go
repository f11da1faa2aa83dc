package modes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
)

// TestPodsMTU: in every mode the pods have the MTU that the network asks for, and so has whatever of the node's carries it;
// nothing of the underlay has changed. The mode promises that size.
func TestPodsMTU(t *testing.T) {
	const mtu = 1300
	// What keeps its own: flanneld and Hybridnet make these from the uplink's.
	own := []string{"flannel.ipip", "flannel0", "eth0.vxlan20", "eth0.20"}
	everyMode(t, fmt.Sprintf("mtu = %d", mtu), "", func(t *testing.T, l *lab.Lab, _ lab.Files) {
		for _, f := range []plan.Features{plan.AllFeatures(), bare()} {
			p, diags := plan.Build(l, plan.Options{Modes: All, Features: f})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			pods := 0
			p.State.Each(func(o plan.Object) {
				switch o := o.(type) {
				case plan.Link:
					_, underlay := p.State.Get(plan.Key{Namespace: o.Peer().Namespace, Kind: plan.KindLink, Name: "br0"}).(plan.Link)
					switch {
					case strings.HasSuffix(o.Namespace, ".lan") || underlay:
						if o.MTU != 1600 {
							t.Errorf("%s %s of the underlay has an MTU of %d", o.Namespace, o.Name, o.MTU)
						}
					case slices.Contains(own, o.Name):
						if o.MTU < 1550 {
							t.Errorf("%s %s has an MTU of %d, which it has not from the uplink", o.Namespace, o.Name, o.MTU)
						}
					case o.MTU != mtu:
						t.Errorf("%s %s has an MTU of %d", o.Namespace, o.Name, o.MTU)
					default:
						pods++
					}
				case plan.Route:
					if o.MTU != 0 && o.MTU != mtu {
						t.Errorf("the route of %s to %s has an MTU of %d", o.Namespace, o.Dst, o.MTU)
					}
				}
			})
			if pods < 4 {
				t.Errorf("only %d devices have the pods' MTU", pods)
			}
			ends := p.Cluster.Endpoints()
			for _, from := range ends {
				for _, to := range ends {
					if from.Pod == nil || from.Namespace == to.Namespace {
						continue
					}
					if e := p.Expect(plan.Flow{From: from, To: to}); e.Reachable && e.MTU != mtu {
						t.Errorf("%s to %s: a packet of %d bytes is promised to pass", from.Title, to.Title, e.MTU)
					}
				}
			}
		}
	})
}

// TestPodsMTUIsRefused where the mode cannot carry it, with both numbers and both places; a byte less than that is right.
func TestPodsMTUIsRefused(t *testing.T) {
	everyMode(t, "", "", func(t *testing.T, l *lab.Lab, _ lab.Files) {
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		most := p.Expect(plan.Flow{From: endpoint(p, "node1/p1"), To: endpoint(p, "node2/p1")}).MTU
		if most < 1500 {
			t.Fatalf("the mode leaves %d bytes", most)
		}
		l.Network.MTU = most
		if _, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()}); diags.HasErrors() {
			t.Errorf("%d bytes are refused, and without mtu the pods have them: %v", most, diags)
		}
	})
	everyMode(t, "mtu = 1601", "", func(t *testing.T, l *lab.Lab, files lab.Files) {
		p, diags := plan.Build(l, plan.Options{Modes: All, Features: plan.AllFeatures()})
		if p != nil || len(diags) != 1 {
			t.Fatalf("%d diagnostics: %v", len(diags), diags)
		}
		text := told(t, files, diags)
		for _, want := range []string{"The pods' MTU is too large for " + l.Network.Mode, "mtu = 1601", "1601 bytes", "(MTU 1600)", "x.hcl:4"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	})
}
