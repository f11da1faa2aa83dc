package testbed

import (
	"net/netip"
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

// Copies of a lab fit as often as there is memory for, and those whose agents talk all the time as often as there is room for
// their neighbours.
func TestTogether(t *testing.T) {
	quiet, talking := &plan.State{}, &plan.State{}
	quiet.Add(plan.Namespace{Name: "quiet.n"})
	talking.Add(plan.Namespace{Name: "talks.n"}, plan.Agent{Namespace: "talks.n", Name: "bgp"})
	for i := range byte(40) {
		via := netip.AddrFrom4([4]byte{10, 0, 0, i})
		for _, s := range []*plan.State{quiet, talking} {
			s.Add(plan.Route{Namespace: s.Namespaces()[0], Dst: netip.PrefixFrom(netip.AddrFrom4([4]byte{11, 0, 0, i}), 32), Via: via, Dev: "eth0"})
		}
	}
	const much = 1 << 40
	for _, tt := range []struct {
		states []*plan.State
		free   uint64
		limits map[string]int
		copies int
		short  string
	}{
		{[]*plan.State{quiet, quiet}, 10 * 2 * sizeOf(quiet).memory(), nil, 10, "memory"},
		{[]*plan.State{quiet, talking}, much, map[string]int{"user/max_net_namespaces": 30}, 15, "max_net_namespaces"},
		{[]*plan.State{quiet, talking}, much, map[string]int{"user/max_net_namespaces": 3000, "net/ipv4/neigh/default/gc_thresh3": 410}, 10, "net.ipv4.neigh.default.gc_thresh3"},
	} {
		copies, short := copiesOf(tt.states, tt.free, func(file string) (int, bool) {
			n, ok := tt.limits[strings.TrimPrefix(file, "/proc/sys/")]
			return n, ok
		})
		if copies != tt.copies || !strings.Contains(short, tt.short) {
			t.Errorf("%d copies, for want of %s; want %d, %s", copies, short, tt.copies, tt.short)
		}
	}
	if copies, short, err := Together([]*plan.State{quiet}); err != nil || copies < 1 || short == "" {
		t.Errorf("here %d fit: %s, %v", copies, short, err)
	}
}
