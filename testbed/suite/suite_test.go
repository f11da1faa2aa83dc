package suite

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/check"
)

func TestMain(m *testing.M) { os.Exit(Main(m, "suite-")) }

func needRoot(t testing.TB) plan.Features {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	f, err := testbed.Probe(false)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// variant is a mode of a lab.
type variant struct {
	lab, mode string
	own       bool // the lab is made for it
}

// general are the labs that are made for every mode.
var general = []string{"three-node", "dual-stack"}

// variants are all modes of the general labs, and of the others those that they are made for. What a lab cannot be planned in
// is left out: the golden files say what that is, and why.
func variants(t *testing.T) []variant {
	t.Helper()
	var all []variant
	for _, name := range labs.Names() {
		if name == "scale" || name == "office" || name == "sweep" || name == "services-scale" {
			continue // they show nothing of a mode that the others do not
		}
		if name == "cni-flannel" {
			continue // its plugin is not built here: see TestFlannelsPlugin
		}
		if os.Getenv("LAB_VM") != "" && (name == "docker-networks" || name == "guestbook") {
			continue // nor of a kernel
		}
		for _, v := range modesOf(t, name) {
			if v.own {
				all = append(all, v)
			}
		}
	}
	return all
}

// modesOf lists the modes that a lab can be planned in.
func modesOf(t *testing.T, name string) []variant {
	t.Helper()
	l := load(t, name)
	own := []string{l.Network.Mode}
	for _, b := range l.Modes {
		own = append(own, b.Name)
	}
	names := slices.Concat(modes.All.Names(), own)
	slices.Sort(names)
	var all []variant
	for _, mode := range slices.Compact(names) {
		if p, _ := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: plan.AllFeatures()}); p != nil {
			all = append(all, variant{name, mode, slices.Contains(general, name) || slices.Contains(own, mode)})
		}
	}
	return all
}

func load(t testing.TB, name string) *lab.Lab {
	t.Helper()
	return parse(t, name+".hcl", source(t, name))
}

// source is the text of a shipped lab.
func source(t testing.TB, name string) string {
	t.Helper()
	text, ok := labs.Read(name)
	if !ok {
		t.Fatalf("no lab %s", name)
	}
	return string(text)
}

func parse(t testing.TB, name, text string) *lab.Lab {
	t.Helper()
	l, _, diags := lab.Load(name, []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return l
}

// planned plans an instance of a lab, and removes the instance when the test ends.
func planned(t testing.TB, l *lab.Lab, instance, mode string) *plan.Plan {
	t.Helper()
	p := built(t, l, instance, mode)
	t.Cleanup(func() { removed(t, p) })
	return p
}

func removed(t testing.TB, p *plan.Plan) {
	t.Helper()
	if err := testbed.Down(context.Background(), p.Cluster.Name, func(string) {}); err != nil {
		t.Error(err)
	}
}

// buildable says whether this kernel has what a mode needs.
func buildable(t testing.TB, l *lab.Lab, mode string) bool {
	p, _ := plan.Build(l, plan.Options{Mode: mode, Modes: modes.All, Features: needRoot(t)})
	return p != nil
}

// built plans an instance of a lab, where the kernel has what the mode needs.
func built(t testing.TB, l *lab.Lab, instance, mode string) *plan.Plan {
	t.Helper()
	f := needRoot(t)
	p, diags := plan.Build(l, plan.Options{Instance: "suite-" + instance, Mode: mode, Modes: modes.All, Features: f})
	for _, d := range diags {
		if strings.HasPrefix(d.Summary, "The kernel has no ") {
			t.Skip(d.Summary + ": " + d.Detail)
		}
	}
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

// pending returns what up would change.
func pending(t testing.TB, p *plan.Plan) []plan.Change {
	t.Helper()
	actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Diff(actual, p.State)
}

// up makes the kernel be the plan, and makes sure that a second up finds nothing to do.
func up(t testing.TB, p *plan.Plan) {
	t.Helper()
	if err := testbed.Recall(p); err != nil {
		t.Fatal(err)
	}
	changes := pending(t, p)
	if err := testbed.Apply(t.Context(), changes, func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
	if err := testbed.Learn(t.Context(), p, changes); err != nil {
		t.Fatal(err)
	}
	if err := testbed.Forget(t.Context(), p.State, changes); err != nil {
		t.Fatal(err)
	}
	if err := testbed.Settle(t.Context(), p.State, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	settled(t, p)
}

// byScript makes the kernel be the plan by what plan --shell prints. "ip netns add" takes settings from the machine; that is
// all that up may then have to change.
func byScript(t testing.TB, p *plan.Plan) {
	t.Helper()
	var script strings.Builder
	for _, c := range plan.Diff(&plan.State{}, p.State) {
		for _, line := range c.Lines() {
			script.WriteString(line + "\n")
		}
	}
	sh(t, p, strings.ReplaceAll(script.String(), "%s", "%%s"))
	if err := testbed.Settle(t.Context(), p.State, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if _, odd := inheritable(t); odd > 0 {
		changes := pending(t, p)
		for _, c := range changes {
			if c.Object.Key().Kind != plan.KindSysctl {
				t.Errorf("up would %s %s", c.Op, c.Object.Key())
			}
		}
		if err := testbed.Apply(t.Context(), changes, func(plan.Change) {}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, p)
}

func settled(t testing.TB, p *plan.Plan) {
	t.Helper()
	for _, c := range pending(t, p) {
		t.Errorf("a second up would %s %s: %s", c.Op, c.Object.Key(), strings.Join(c.Lines(), "; "))
	}
	if t.Failed() {
		t.FailNow()
	}
}

func checked(t testing.TB, p *plan.Plan) *check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), p, check.Options{}, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func healthy(t testing.TB, p *plan.Plan) {
	t.Helper()
	if r := checked(t, p); !r.OK {
		var b strings.Builder
		r.Text(&b, 100, false)
		t.Fatalf("%s in mode %s does not do what it promises:\n%s", p.Cluster.Name, p.ModeName, b.String())
	}
}

// sh runs a command that works on the lab from outside, as a user would; %s stands for the instance's name.
func sh(t testing.TB, p *plan.Plan, format string) string {
	t.Helper()
	line := strings.ReplaceAll(format, "%s", p.Cluster.Name)
	cmd := exec.Command("sh", "-eux")
	cmd.Stdin = strings.NewReader("lab() { " + os.Args[0] + " " + byHand + " \"$@\"; }\n" + line)
	out, err := cmd.CombinedOutput()
	if err != nil {
		if lines := strings.Split(string(out), "\n"); len(lines) > 10 {
			out = []byte(strings.Join(lines[len(lines)-10:], "\n"))
		}
		t.Fatalf("%v:\n%s", err, out)
	}
	return string(out)
}
