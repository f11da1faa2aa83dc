package testbed

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// What fits needs as much as there is, and what is just larger more.
func TestWhatFits(t *testing.T) {
	for _, z := range []size{{namespaces: 1101, objects: 20_000}, {namespaces: 11_001, objects: 3_100_000}, {namespaces: 2001, objects: 1_000_000, agents: 1000}} {
		for _, part := range []float64{0.1, 0.5, 0.9} {
			free := uint64(part * float64(z.memory()))
			n := z.fits(free)
			scaled := func(n int) uint64 {
				share := float64(n) / float64(z.namespaces)
				objects := share * float64(z.objects)
				if z.objects > 100*z.namespaces {
					objects *= share
				}
				return size{n, int(objects), int(share * float64(z.agents))}.memory()
			}
			if least, most := scaled(n-2), scaled(n+2); n <= 0 || n >= z.namespaces || least > free || most < free {
				t.Errorf("of %+v, %d namespaces are said to fit into %d; %d take %d, and %d take %d", z, n, free, n-2, least, n+2, most)
			}
		}
	}
}

// A process that may open few files is told so before anything is built.
func TestTooFewFiles(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	s := &plan.State{}
	s.Add(plan.Namespace{Name: "few.n"})
	for limit, fits := range map[uint64]bool{descriptors - 1: false, descriptors: true} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
		if err := Capacity(s); (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("with %d files: %v", limit, err)
		}
	}
}
