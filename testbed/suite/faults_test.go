package suite

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/faults"
	"labnet/lab"
	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/check"
)

// TestFaults breaks a lab by every fault: it was green, then exactly the promised check is red, what the last hint says is seen,
// and the plan mends it. Each in one of its modes and with one proxy, others with another commit; when it is soaked, in all.
func TestFaults(t *testing.T) {
	needRoot(t)
	for i, f := range faults.All {
		t.Run(f.Name, func(t *testing.T) {
			l := load(t, cmp.Or(f.Lab, "three-node"))
			var able []*plan.Plan
			for _, mode := range modesOf(t, l.Name) {
				for _, l := range withProxies(l) {
					if buildable(t, l, mode.mode) {
						if p := built(t, l, "fault", mode.mode); len(f.In(p)) > 0 {
							able = append(able, p)
						}
					}
				}
			}
			if len(able) == 0 {
				elsewhere(t, f, l)
				return
			}
			if !Soaked {
				able = able[(i+turn())%len(able):][:1]
			}
			for _, p := range able {
				t.Run(p.ModeName+p.Proxy, func(t *testing.T) { broken(t, f, p) })
			}
		})
	}
}

// withProxies is a lab with each proxy that it can have.
func withProxies(l *lab.Lab) (all []*lab.Lab) {
	if l.Services == nil {
		return []*lab.Lab{l}
	}
	for _, proxy := range lab.Proxies {
		other, services := *l, *l.Services
		services.Proxy = proxy
		other.Services = &services
		all = append(all, &other)
	}
	return all
}

// elsewhere skips a fault that strikes only on a kernel with devices which this one lacks.
func elsewhere(t *testing.T, f *faults.Fault, l *lab.Lab) {
	for _, mode := range modesOf(t, l.Name) {
		p, _ := plan.Build(l, plan.Options{Mode: mode.mode, Modes: modes.All, Features: plan.AllFeatures()})
		if p != nil && len(f.In(p)) > 0 {
			t.Skipf("The kernel has no 8021q or no bridge that knows VLANs: there is no device for %s to strike", f.Name)
		}
	}
	t.Errorf("%s strikes nowhere in lab %s", f.Name, l.Name)
}

// turn changes with the commit.
func turn() int {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && s.Value != "" {
			return int(s.Value[0])
		}
	}
	return 0
}

func broken(t *testing.T, f *faults.Fault, p *plan.Plan) {
	t.Cleanup(func() { removed(t, p) })
	up(t, p)
	healthy(t, p)
	strike, _ := f.Pick(p, uint64(len(f.Name)))
	actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, plan.Diff(actual, faults.On(p.State, strike)))
	r := checked(t, p)
	right := func() bool {
		red := slices.DeleteFunc(red(r), func(name string) bool { return slices.Contains(f.Besides, name) })
		return slices.Equal(red, []string{f.Red})
	}
	for end := time.Now().Add(30 * time.Second); !right() && time.Now().Before(end); r = checked(t, p) {
		time.Sleep(200 * time.Millisecond) // BGP takes its time, and a check that it overtakes is red in part
	}
	if !right() {
		var text strings.Builder
		r.Text(&text, 120, false)
		t.Errorf("%s at %s %s: red are %q, not %s alone\n%s", f.Name, strike.Machine, strike.Other, red(r), f.Red, text.String())
	}
	if f.Red == check.Service && !slices.ContainsFunc(r.Culprits, func(c check.Culprit) bool { return c.Machine == strike.Machine }) {
		t.Errorf("%s at %s is put down to %+v", f.Name, strike.Machine, r.Culprits)
	}
	hint := strings.Fields(strike.Hints(p.Cluster.Name)[2])
	out, err := hinted(p, hint)
	if err != nil || strike.Shows != "" && !strings.Contains(string(out), strike.Shows) || strike.Lacks != "" && strings.Contains(string(out), strike.Lacks) {
		t.Errorf("%s: %v; it should show %q and lack %q:\n%s", hint, err, strike.Shows, strike.Lacks, out)
	}
	changes := pending(t, p)
	if len(changes) == 0 {
		t.Error("nothing has drifted")
	}
	apply(t, changes)
	if err := testbed.Settle(t.Context(), p.State, func(int, int) {}); err != nil {
		t.Error(err)
	}
	healthy(t, p)
}

// hinted is what a hint's command shows.
func hinted(p *plan.Plan, hint []string) ([]byte, error) {
	if hint[1] == "logs" {
		target, name, _ := strings.Cut(hint[4], ":")
		return os.ReadFile(testbed.AgentLog(p.Cluster.NamespaceOf(strings.ReplaceAll(target, "/", ".")), name))
	}
	at := slices.Index(hint, "--")
	return exec.Command("ip", append([]string{"netns", "exec", p.Cluster.NamespaceOf(strings.ReplaceAll(hint[at-1], "/", "."))}, hint[at+1:]...)...).CombinedOutput()
}

// red are the names of the checks that failed.
func red(r *check.Report) []string {
	var names []string
	for _, c := range r.Checks {
		if !c.OK && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

func apply(t *testing.T, changes []plan.Change) {
	t.Helper()
	if err := testbed.Apply(context.Background(), changes, func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
}
