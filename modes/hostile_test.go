package modes

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"

	"labnet/lab"
	"labnet/lab/hostile"
	"labnet/lab/plan"
	"labnet/labs"
)

// TestHostileLabs puts wrong values into every expression of every shipped lab, and plans what is still a lab in every mode.
// LAB_SOAK=1 tries all of them, which takes minutes.
func TestHostileLabs(t *testing.T) {
	tried, right := 0, 0
	for _, name := range labs.Names() {
		src, _ := labs.Read(name)
		for m := range hostile.Mutants(name, src) {
			if !m.Sampled(29) {
				continue
			}
			tried++
			right += bear(t, m.Name, m.Text, small[name])
		}
	}
	t.Logf("%d definitions, %d plans", tried, right)
	if tried < 500 || right < 500 {
		t.Error("too few to mean anything")
	}
}

// bear loads a text, and plans it in every mode; it returns the number of plans that there are.
func bear(t *testing.T, name string, text []byte, vars map[string]string) (plans int) {
	t.Helper()
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v\n%s\n%s", name, r, debug.Stack(), text)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: took %s\n%s", name, d, text)
		}
	}()
	l, files, diags := lab.Load("hostile.hcl", text, lab.Inputs{Vars: vars})
	if (l == nil) != diags.HasErrors() {
		t.Errorf("%s: a lab and errors, or neither\n%s", name, text)
	}
	sensible(t, name, files, diags)
	if l == nil || len(l.Machines) > 50 {
		return 0 // plans grow with the square of the nodes
	}
	names := append([]string{""}, All.Names()...)
	for _, b := range l.Modes {
		names = append(names, b.Name)
	}
	for i, mode := range names {
		if l.Network == nil && mode != "" {
			continue
		}
		features := plan.AllFeatures()
		if i%2 == 1 {
			features = bare()
		}
		p, diags := plan.Build(l, plan.Options{Mode: mode, Modes: All, Features: features})
		if (p == nil) != diags.HasErrors() {
			t.Errorf("%s in mode %s: a plan and errors, or neither\n%s", name, mode, text)
		}
		sensible(t, name+" in mode "+mode, files, diags)
		if p == nil {
			continue
		}
		plans++
		consistent(t, fmt.Sprintf("%s in mode %s", name, mode), p)
		ends := p.Cluster.Endpoints()
		for _, from := range ends[:min(len(ends), 10)] {
			for _, to := range ends[:min(len(ends), 10)] {
				if from.Namespace != to.Namespace && from.Address.Is6() == to.Address.Is6() {
					p.Expect(from, to)
				}
			}
		}
	}
	return plans
}

// sensible: every mistake has a place and says what it is, and there are not more than anybody reads.
func sensible(t *testing.T, name string, files lab.Files, diags hcl.Diagnostics) {
	t.Helper()
	if len(diags) > 100 {
		t.Errorf("%s: %d diagnostics", name, len(diags))
	}
	for _, d := range diags {
		if d.Summary == "" || d.Detail == "" || d.Subject == nil && !strings.HasPrefix(d.Summary, "Too many") || d.Subject != nil && d.Subject.Filename == "" {
			t.Errorf("%s: no place, or it says nothing: %v", name, d)
		}
	}
	var b strings.Builder
	if err := files.Print(&b, diags, 100, false); err != nil || b.Len() > 300_000 {
		t.Errorf("%s: %v, or too much: %d bytes", name, err, b.Len())
	}
}

// consistent: a plan can be ordered and printed, its objects stand on objects of it, and IPv6 is on where it is spoken.
func consistent(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	off := map[string]bool{}
	p.State.Each(func(o plan.Object) {
		if s, ok := o.(plan.Sysctl); ok && s.Path == "net/ipv6/conf/default/disable_ipv6" {
			off[s.Namespace] = s.Value == "1"
		}
	})
	for _, o := range p.State.Objects() {
		if len(o.Add()) == 0 {
			t.Errorf("%s: no command makes %s", name, o.Key())
		}
		for _, parent := range o.Parents() {
			if p.State.Get(parent) == nil && parent.Name != "lo" {
				t.Errorf("%s: %s stands on %s, which is not there", name, o.Key(), parent)
			}
		}
		switch o := o.(type) {
		case plan.Address:
			if !o.Prefix.IsValid() || o.Prefix.Addr().Is6() && off[o.Namespace] {
				t.Errorf("%s: %s has the address %s, and IPv6 is off: %v", name, o.Namespace, o.Prefix, off[o.Namespace])
			}
		case plan.Route:
			if !o.Dst.IsValid() || o.Dst.Addr().Is6() && off[o.Namespace] {
				t.Errorf("%s: %s has the route %s, and IPv6 is off: %v", name, o.Namespace, o.Dst, off[o.Namespace])
			}
		}
	}
	if changes := plan.Diff(p.State, p.State); len(changes) > 0 {
		t.Errorf("%s: a plan differs from itself: %v", name, changes[0])
	}
}
