package testbed

import (
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
)

// What things take, measured on Linux 6.18, rounded up.
const (
	perNamespace = 300 << 10 // of the kernel's memory, with its links
	perObject    = 512       // of the kernel's: a route, a neighbour, an FDB entry
	perChange    = 300       // of this program's, while it makes one
	perAgent     = 10 << 20  // of a process
)

// Capacity refuses a plan that this machine cannot bear, before anything is built: limits of the kernel that all namespaces
// share, open files and memory.
func Capacity(s *plan.State) error {
	size := sizeOf(s)
	if most, ok := limitIn("/proc/sys/user/max_net_namespaces"); ok && size.namespaces > most {
		return fmt.Errorf("the lab needs %d network namespaces, and this machine allows %d; raise it with \"sysctl -w user.max_net_namespaces=%d\"", size.namespaces, most, size.namespaces+1000)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if files.Cur < descriptors {
		return fmt.Errorf("building a lab takes up to %d open files, and this process may have %d; raise it with \"ulimit -n %d\"", descriptors, files.Cur, 1024)
	}
	free, err := available()
	if err != nil {
		return err
	}
	if need := size.memory(); need > free {
		return fmt.Errorf("the lab needs about %d MiB of memory for its %d namespaces and the %d objects in them, and %d MiB are free, enough for about %d namespaces of that kind; make it smaller",
			need>>20, size.namespaces, size.objects, free>>20, size.fits(free))
	}
	return nil
}

// Together says how many copies of all these plans at once this machine bears, and what it has too little of for one more.
func Together(states []*plan.State) (copies int, short string, err error) {
	free, err := available()
	if err != nil {
		return 0, "", err
	}
	copies, short = copiesOf(states, free, limitIn)
	return copies, short, nil
}

func copiesOf(states []*plan.State, free uint64, limit func(file string) (int, bool)) (copies int, short string) {
	var all size
	v4, v6 := 0, 0
	for _, s := range states {
		z := sizeOf(s)
		all.namespaces, all.objects, all.agents = all.namespaces+z.namespaces, all.objects+z.objects, all.agents+z.agents
		if z.agents > 0 { // they talk all the time; others only while they are measured
			a, b := s.Neighbours()
			v4, v6 = v4+a, v6+b
		}
	}
	copies = math.MaxInt
	least := func(n int, what string) {
		if n < copies {
			copies, short = n, what
		}
	}
	least(int(free/max(1, all.memory())), fmt.Sprintf("memory: %d MiB each, of %d MiB", all.memory()>>20, free>>20))
	if most, ok := limit("/proc/sys/user/max_net_namespaces"); ok {
		least(most/max(1, all.namespaces), fmt.Sprintf("network namespaces: %d each, of %d (sysctl user.max_net_namespaces)", all.namespaces, most))
	}
	for _, t := range []table{{"IPv4", "net.ipv4", v4}, {"IPv6", "net.ipv6", v6}} {
		sysctl := t.sysctl + ".neigh.default.gc_thresh3"
		if most, ok := limit("/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/")); ok {
			least(most/max(1, t.needs), fmt.Sprintf("%s neighbours: %d each, of %d (sysctl %s)", t.family, t.needs, most, sysctl))
		}
	}
	return copies, short
}

// limitIn reads a number from a file of the kernel's; there may be none, or none for us to see.
func limitIn(path string) (n int, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscan(string(text), &n)
	return n, err == nil
}

// available is the memory that nobody uses, in bytes.
func available() (uint64, error) {
	var m unix.Sysinfo_t
	if err := unix.Sysinfo(&m); err != nil {
		return 0, err
	}
	return (uint64(m.Freeram)+uint64(m.Bufferram))*uint64(m.Unit) + cached(), nil
}

// size is what a lab's memory depends on.
type size struct{ namespaces, objects, agents int }

func sizeOf(s *plan.State) size {
	z := size{namespaces: len(s.Namespaces()), objects: s.Len()}
	s.Each(func(o plan.Object) {
		if _, ok := o.(plan.Agent); ok {
			z.agents++
		}
	})
	return z
}

func (z size) memory() uint64 {
	return uint64(z.namespaces)*perNamespace + uint64(z.agents)*perAgent + uint64(z.objects)*(perObject+perChange)
}

// fits is how many namespaces there could be with so much memory. Where there is more than a hundred objects in each, they are
// mostly of what every node has to know of every other, and grow with the square.
func (z size) fits(free uint64) int {
	linear := float64(z.memory()) - float64(z.objects)*(perObject+perChange)
	square := float64(z.objects) * (perObject + perChange)
	if z.objects < 100*z.namespaces {
		linear, square = linear+square, 0
	}
	share := float64(free) / linear
	if square > 0 {
		share = (math.Sqrt(linear*linear+4*square*float64(free)) - linear) / (2 * square)
	}
	return int(share * float64(z.namespaces))
}

// Crowded warns of a plan for which the neighbour tables of this machine are too small. All namespaces share them, and their
// limits are found in the first one only; what is no longer in a full table is not answered, and the kernel says nothing.
func Crowded(s *plan.State) string {
	v4, v6 := s.Neighbours()
	return crowded([]table{{"IPv4", "net.ipv4", v4}, {"IPv6", "net.ipv6", v6}}, func(sysctl string) int {
		limit, ok := limitIn("/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/"))
		if !ok {
			return math.MaxInt // not for us to see
		}
		return limit
	})
}

type table struct {
	family, sysctl string
	needs          int
}

func crowded(tables []table, limit func(sysctl string) int) string {
	var short, remedy []string
	for _, t := range tables {
		sysctl := t.sysctl + ".neigh.default.gc_thresh3"
		if most := limit(sysctl); t.needs > most {
			short = append(short, fmt.Sprintf("%d of %s, and this machine keeps %d", t.needs, t.family, most))
			// With room for what else is on the machine; a power of two, as people write them.
			remedy = append(remedy, fmt.Sprintf("%s=%d", sysctl, 1<<bits.Len(uint(t.needs+t.needs/4))))
		}
	}
	if len(short) == 0 {
		return ""
	}
	return fmt.Sprintf("Once all of this lab talks it has more neighbours than there is room for: %s, for all namespaces together. Packets will then get lost. Make room with \"sysctl -w %s\".",
		strings.Join(short, "; "), strings.Join(remedy, " "))
}

// cached is memory that the kernel gives back when asked.
func cached() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib uint64
		if _, err := fmt.Sscanf(line, "Cached: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
