package testbed_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/suite"
)

// prefix begins the names of all labs that these tests make.
const prefix = "tb-"

func TestMain(m *testing.M) {
	// The tests are also the programs that they start.
	if len(os.Args) > 1 && os.Args[1] == killArg {
		os.Exit(upAndDie(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == homeArg {
		os.Exit(stayHome(os.Args[2], os.Args[3]))
	}
	os.Exit(suite.Main(m, prefix))
}

func probe(tb testing.TB) plan.Features {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("not root: namespaces cannot be made")
	}
	f, err := testbed.Probe(false)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func down(tb testing.TB, lab string) {
	tb.Helper()
	if err := testbed.Down(context.Background(), lab, func(string) {}); err != nil {
		tb.Error(err)
	}
}

// pending returns what an up would change.
func pending(tb testing.TB, lab string, want *plan.State) []plan.Change {
	tb.Helper()
	actual, err := testbed.Read(context.Background(), lab, want)
	if err != nil {
		tb.Fatal(err)
	}
	return plan.Diff(actual, want)
}

func apply(tb testing.TB, lab string, want *plan.State) {
	tb.Helper()
	if err := testbed.Apply(context.Background(), pending(tb, lab, want), func(plan.Change) {}); err != nil {
		tb.Fatal(err)
	}
}

// up makes the kernel be the state, and makes sure that a second up finds nothing to do.
func up(tb testing.TB, lab string, want *plan.State) {
	tb.Helper()
	apply(tb, lab, want)
	if left := lines(pending(tb, lab, want)); left != "" {
		tb.Fatalf("a second up would do\n%s", left)
	}
}

func lines(changes []plan.Change) string {
	var b strings.Builder
	for _, c := range changes {
		for _, line := range c.Lines() {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
