package testbed_test

import (
	"strings"
	"testing"
)

// Where nobody speaks IPv6 no device has an address of it, be it made in its namespace or from a peer's.
func TestQuiet(t *testing.T) {
	s := scale(t, prefix+"quiet", "", 2, 2)
	up(t, prefix+"quiet", s)
	for _, ns := range s.Namespaces() {
		for line := range strings.Lines(run(t, "", "ip", "-n", ns, "-6", "-oneline", "address", "show")) {
			if words := strings.Fields(line); words[1] != "lo" {
				t.Errorf("namespace %s: %s", ns, line)
			}
		}
	}
}
