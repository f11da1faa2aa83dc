package testbed_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/labs"
	"labnet/modes"
	"labnet/testbed"
)

// scale plans a cluster of the shipped lab "scale" under a name of its own.
func scale(tb testing.TB, instance, mode string, nodes, pods int) *plan.State {
	tb.Helper()
	text, _ := labs.Read("scale")
	l, _, diags := lab.Load("scale.hcl", text, lab.Inputs{Vars: map[string]string{"nodes": strconv.Itoa(nodes), "pods": strconv.Itoa(pods)}})
	if diags.HasErrors() {
		tb.Fatal(diags)
	}
	p, diags := plan.Build(l, plan.Options{Instance: instance, Mode: mode, Modes: modes.All, Features: probe(tb)})
	if diags.HasErrors() {
		tb.Fatal(diags)
	}
	tb.Cleanup(func() { down(tb, instance) })
	return p.State
}

// BenchmarkScale builds a hundred nodes with ten pods each: by up, by an up that finds nothing to do, by down, and, in the
// same run, by ip(8) in batches, one a namespace, as the measure of what the kernel itself costs.
func BenchmarkScale(b *testing.B) {
	nodes, pods := 100, 10
	if text := os.Getenv("LAB_BENCH_NODES"); text != "" {
		nodes, _ = strconv.Atoi(text)
	}
	s := scale(b, prefix+"scale", os.Getenv("LAB_BENCH_MODE"), nodes, pods)
	var build, again, remove, batch time.Duration
	spent, made := map[plan.Kind]time.Duration{}, map[plan.Kind]int{}
	for b.Loop() {
		build += timed(func() {
			changes, last := pending(b, prefix+"scale", s), time.Now()
			err := testbed.Apply(b.Context(), changes, func(c plan.Change) {
				kind, now := c.Object.Key().Kind, time.Now()
				spent[kind] += now.Sub(last)
				made[kind]++
				last = now
			})
			if err != nil {
				b.Fatal(err)
			}
		})
		if nodes <= 300 { // beyond that the neighbours of the whole machine, looked through for each namespace, take too long
			again += timed(func() {
				if changes := pending(b, prefix+"scale", s); len(changes) > 0 {
					b.Fatalf("a second up would change %d objects, first %s", len(changes), changes[0].Object.Key())
				}
			})
		}
		remove += timed(func() { down(b, prefix+"scale") })
		settle(b)
		if nodes <= 100 { // beyond that ip(8) takes minutes
			batch += timed(func() { byBatch(b, s) })
			down(b, prefix+"scale")
			settle(b)
		}
	}
	for name, d := range map[string]time.Duration{"up": build, "up-again": again, "down": remove, "ip-batch": batch} {
		b.ReportMetric(d.Seconds()/float64(b.N), name+"-s")
	}
	for kind, name := range map[plan.Kind]string{plan.KindNamespace: "namespace", plan.KindLink: "link", plan.KindRoute: "route", plan.KindSysctl: "sysctl", plan.KindNeighbour: "neighbour", plan.KindFDB: "fdb"} {
		b.ReportMetric(float64(spent[kind].Microseconds())/float64(max(made[kind], 1)), "us/"+name)
	}
	b.ReportMetric(float64(peak(b))/(1<<20), "peak-MiB")
	b.ReportMetric(0, "ns/op")
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// settle waits until the kernel has cleaned up after the namespaces that were removed: that goes on in the background, and
// slows down whatever comes next.
func settle(tb testing.TB) {
	tb.Helper()
	for range 300 {
		text, err := os.ReadFile("/proc/slabinfo")
		if err != nil {
			time.Sleep(5 * time.Second)
			return
		}
		busy := false
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); words[0] == "net_namespace" {
				active, _ := strconv.Atoi(words[1])
				names, _ := os.ReadDir(testbed.NetnsDir)
				busy = active > len(names)+100
			}
		}
		if !busy {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// peak is the most memory that this process has had.
func peak(tb testing.TB) int64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}

// byBatch makes the same state with ip(8), as a good script would.
func byBatch(tb testing.TB, s *plan.State) {
	tb.Helper()
	batches := map[string]*strings.Builder{}
	for _, o := range s.Objects() {
		switch o.(type) {
		case plan.Namespace, plan.Link, plan.Address, plan.Route:
		default:
			continue
		}
		ns := o.Key().Namespace
		if batches[ns] == nil {
			batches[ns] = &strings.Builder{}
		}
		for _, line := range o.Add() {
			words := strings.Fields(line)
			if i := slices.Index(words, "-n"); i > 0 {
				words = words[i+2:]
			}
			for i, w := range words {
				if w == "hairpin" { // of bridge(8), which would take a batch of its own
					words = slices.Insert(words, i, "type", "bridge_slave")
					break
				}
			}
			if words[0] == "link" || words[0] == "address" || words[0] == "route" {
				fmt.Fprintln(batches[ns], strings.ReplaceAll(strings.Join(words, " "), "'", "\""))
			}
		}
	}
	for _, ns := range s.Namespaces() {
		run(tb, "", "ip", "netns", "add", ns)
		tb.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	for _, ns := range s.Namespaces() {
		run(tb, batches[ns].String(), "ip", "-n", ns, "-batch", "-")
	}
}

func run(tb testing.TB, stdin string, words ...string) string {
	tb.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}
