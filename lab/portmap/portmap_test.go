package portmap

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDump: what is computed is what portmap made on a node, rule by rule in the order of their chains.
func TestDump(t *testing.T) {
	text, err := os.ReadFile("testdata/portmap.iptables")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, ":CNI") {
			want = append(want, line)
		}
	}
	r := Rules([]Container{{Network: "cbr0", ID: "ctr-rf-pod1", Address: netip.MustParsePrefix("10.42.0.2/24"), Ports: []Port{{"tcp", 8080, 80}}}})
	for _, c := range r.Chains {
		if c.Type == "" {
			got = append(got, fmt.Sprintf(":%s - [0:0]", c.Name))
		}
	}
	for _, l := range r.Rules {
		words, ok := l.IPTables()
		if !ok {
			t.Errorf("iptables has no words for a rule of %s", l.Chain)
		}
		got = append(got, fmt.Sprintf("-A %s %s", l.Chain, words))
	}
	byChain := func(a, b string) int { // rules of one chain keep their order
		return strings.Compare(strings.Fields(a)[min(1, strings.Count(a, "-A "))], strings.Fields(b)[min(1, strings.Count(b, "-A "))])
	}
	slices.SortStableFunc(want, byChain)
	slices.SortStableFunc(got, byChain)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not what portmap made (-portmap +here):\n%s", diff)
	}
}

// TestManyPorts: a match has fifteen ports, and those of UDP have matches of their own.
func TestManyPorts(t *testing.T) {
	c := Container{Network: "n", ID: "i", Address: netip.MustParsePrefix("10.42.0.2/24"), Ports: []Port{{"udp", 53, 53}}}
	for i := range 16 {
		c.Ports = append(c.Ports, Port{"tcp", uint16(8000 + i), 80})
	}
	var matches []string
	for _, l := range Rules([]Container{c}).Rules {
		if words, _ := l.IPTables(); strings.Contains(words, "multiport") {
			_, ports, _ := strings.Cut(words, "--dports ")
			ports, _, _ = strings.Cut(ports, " ")
			matches = append(matches, ports)
		}
	}
	if want := []string{"8000,8001,8002,8003,8004,8005,8006,8007,8008,8009,8010,8011,8012,8013,8014", "8015", "53"}; !slices.Equal(matches, want) {
		t.Errorf("%q", matches)
	}
}
