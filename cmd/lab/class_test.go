package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkClass has thirty users who are not root, each with a world of their own, bring up three-node at the same moment, and
// end it again. The memory is what the machine has less while all thirty are up.
func BenchmarkClass(b *testing.B) {
	const users = 30
	class := make([]*somebody, users)
	for i := range class {
		class[i] = asUser(b, somebodysID+i)
	}
	all := func(args ...string) {
		var wg sync.WaitGroup
		for _, s := range class {
			wg.Go(func() {
				if code, out, stderr := s.run(args...); code != 0 {
					b.Errorf("lab %s: exit status %d\n%s%s", strings.Join(args, " "), code, out, stderr)
				}
			})
		}
		wg.Wait()
	}
	var up, down time.Duration
	var memory int
	for b.Loop() {
		before, start := available(b), time.Now()
		all("up", "three-node")
		up += time.Since(start)
		memory = max(memory, before-available(b))
		start = time.Now()
		all("down", "--all")
		down += time.Since(start)
		for _, s := range class {
			s.awaitNobody()
		}
	}
	b.ReportMetric(up.Seconds()/float64(b.N), "up-s")
	b.ReportMetric(down.Seconds()/float64(b.N), "down-s")
	b.ReportMetric(float64(memory)/(1<<10), "MiB")
	b.ReportMetric(0, "ns/op")
}

// available is the memory that the machine can still give, in KiB.
func available(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return kib
}
