// Package suite holds what every mode must pass on a real kernel: what it promises is met by real packets, a second up
// changes nothing, it changes from and to every other mode in place, drift is repaired, its state is the real program's,
// and nothing is left behind.
package suite

import (
	"context"
	"fmt"
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

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == testbed.EnterArg {
		os.Exit(testbed.Enter(os.Args[2:]))
	}
	before := census()
	code := m.Run()
	if after := census(); os.Geteuid() == 0 && before != after {
		fmt.Printf("the tests left something behind or touched the user's own network:\n--- before\n%s--- after\n%s", before, after)
		code = 1
	}
	os.Exit(code)
}

// census describes the user's own network, without counters and ages, and the suite's namespaces.
func census() string {
	var b strings.Builder
	for _, cmd := range []string{
		"ip -d -o link", "ip -o address", "ip route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule", "nft list ruleset",
		"sysctl -a --pattern ^net[.](ipv4|ipv6|core|bridge)[.] -e", "findmnt -rn -o TARGET,FSTYPE",
	} {
		words := strings.Fields(cmd)
		out, _ := exec.Command(words[0], words[1:]...).Output()
		for line := range strings.Lines(string(out)) {
			// Other tests may be at work on the same machine.
			if strings.HasPrefix(line, testbed.NetnsDir+"/") && !strings.HasPrefix(line, testbed.NetnsDir+"/suite-") || strings.Contains(line, "expires") {
				continue
			}
			b.WriteString(line)
		}
	}
	entries, _ := os.ReadDir(testbed.NetnsDir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "suite-") {
			b.WriteString(e.Name() + "\n")
		}
	}
	return b.String()
}

func needRoot(t *testing.T) plan.Features {
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
type variant struct{ lab, mode string }

// variants are all modes of the labs that the suite runs.
func variants(t *testing.T) []variant {
	t.Helper()
	var all []variant
	for _, name := range []string{"three-node", "dual-stack"} {
		names := modes.All.Names()
		for _, b := range load(t, name).Modes {
			if !slices.Contains(names, b.Name) {
				names = append(names, b.Name)
			}
		}
		for _, mode := range names {
			all = append(all, variant{name, mode})
		}
	}
	return all
}

func load(t *testing.T, name string) *lab.Lab {
	t.Helper()
	text, ok := labs.Read(name)
	if !ok {
		t.Fatalf("no lab %s", name)
	}
	return parse(t, name+".hcl", string(text))
}

func parse(t *testing.T, name, text string) *lab.Lab {
	t.Helper()
	l, _, diags := lab.Load(name, []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return l
}

// planned plans an instance of a lab, and removes the instance when the test ends.
func planned(t *testing.T, l *lab.Lab, instance, mode string) *plan.Plan {
	t.Helper()
	f := needRoot(t)
	p, diags := plan.Build(l, plan.Options{Instance: "suite-" + instance, Mode: mode, Modes: modes.All, Features: f})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	t.Cleanup(func() {
		if err := testbed.Down(context.Background(), p.Cluster.Name, func(string) {}); err != nil {
			t.Error(err)
		}
	})
	return p
}

// pending returns what up would change.
func pending(t *testing.T, p *plan.Plan) []plan.Change {
	t.Helper()
	actual, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Diff(actual, p.State)
}

// up makes the kernel be the plan, and makes sure that a second up finds nothing to do.
func up(t *testing.T, p *plan.Plan) {
	t.Helper()
	if err := testbed.Apply(t.Context(), pending(t, p), func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
	settled(t, p)
}

func settled(t *testing.T, p *plan.Plan) {
	t.Helper()
	for _, c := range pending(t, p) {
		t.Errorf("a second up would %s %s: %s", c.Op, c.Object.Key(), strings.Join(c.Lines(), "; "))
	}
	if t.Failed() {
		t.FailNow()
	}
}

func checked(t *testing.T, p *plan.Plan) *check.Report {
	t.Helper()
	r, err := check.Run(t.Context(), p, check.Options{}, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func healthy(t *testing.T, p *plan.Plan) {
	t.Helper()
	if r := checked(t, p); !r.OK {
		var b strings.Builder
		r.Text(&b, false)
		t.Fatalf("%s in mode %s does not do what it promises:\n%s", p.Cluster.Name, p.ModeName, b.String())
	}
}

// sh runs a command that works on the lab from outside, as a user would; %s stands for the instance's name.
func sh(t *testing.T, p *plan.Plan, format string) string {
	t.Helper()
	line := strings.ReplaceAll(format, "%s", p.Cluster.Name)
	out, err := exec.Command("sh", "-euc", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}
