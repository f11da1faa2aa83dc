package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDaemonConnectsNodes follows what docs/cni.md says of routing daemons: real plugins connect the pods of a node, BIRD the nodes.
func TestDaemonConnectsNodes(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("bird"); err != nil {
		t.Skip("bird is not installed")
	}
	page, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(page), "## A daemon for the routes")
	block := func(kind string) string {
		t.Helper()
		m := regexp.MustCompile("(?s)```" + kind + "\n(.*?)```").FindStringSubmatch(part)
		if m == nil {
			t.Fatalf("there is no block of %s", kind)
		}
		return m[1]
	}
	dir, err := os.MkdirTemp("/var/tmp", "lab-daemon-") // a program sees that, and not /tmp
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "bird.conf"), []byte(block("")), 0o644); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(block("hcl"), "/home/you/lab", dir)
	p := planned(t, parse(t, "routed.hcl", text), "routed", "")
	up(t, p)
	for _, far := range []string{"10.42.1.0/24", "10.42.2.0/24"} {
		eventually(t, "BIRD writes no route to "+far, func() bool {
			return strings.Contains(sh(t, p, "ip -n %s.node1 route show proto bird"), fmt.Sprintf("%s via 192.168.205.", far))
		})
	}
	for _, node := range []string{"node2", "node3"} {
		eventually(t, "BIRD writes no routes in "+node, func() bool {
			return strings.Count(sh(t, p, "ip -n %s."+node+" route show proto bird"), " via ") == 2
		})
	}
	settled(t, p)
	healthy(t, p)
}
