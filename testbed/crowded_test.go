package testbed

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// A warning says of each family what is needed, what there is, and how to change that; with that there must be no warning.
func TestCrowded(t *testing.T) {
	for _, tt := range []struct {
		v4, v6, limit4, limit6 int
		want                   []string
	}{
		{1024, 1024, 1024, 1024, nil},
		{100, 1025, 1024, 1024, []string{"1025 of IPv6", "keeps 1024", `"sysctl -w net.ipv6.neigh.default.gc_thresh3=2048"`}},
		{11900, 16680, 1024, 8192, []string{"11900 of IPv4", "16680 of IPv6", `"sysctl -w net.ipv4.neigh.default.gc_thresh3=16384 net.ipv6.neigh.default.gc_thresh3=32768"`}},
		{math.MaxInt32, 0, math.MaxInt, math.MaxInt, nil}, // the limits are not there to be read
	} {
		limits := map[string]int{"net.ipv4.neigh.default.gc_thresh3": tt.limit4, "net.ipv6.neigh.default.gc_thresh3": tt.limit6}
		tables := []table{{"IPv4", "net.ipv4", tt.v4}, {"IPv6", "net.ipv6", tt.v6}}
		got := crowded(tables, func(sysctl string) int { return limits[sysctl] })
		if len(tt.want) == 0 && got != "" {
			t.Errorf("%v: %s", tt, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%v: no %s in %q", tt, want, got)
			}
		}
		_, remedy, _ := strings.Cut(got, `sysctl -w `)
		for word := range strings.FieldsSeq(strings.TrimSuffix(remedy, `".`)) {
			sysctl, value, _ := strings.Cut(word, "=")
			var limit int
			if _, err := fmt.Sscan(value, &limit); err != nil {
				t.Fatal(err)
			}
			limits[sysctl] = limit
		}
		if again := crowded(tables, func(sysctl string) int { return limits[sysctl] }); again != "" {
			t.Errorf("the remedy does not help: %s", again)
		}
	}
}
