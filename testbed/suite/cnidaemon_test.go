package suite

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDaemonConnectsNodes follows what docs/cni.md says of routing daemons: real plugins connect the pods of a node, and BIRD or FRR
// the nodes.
func TestDaemonConnectsNodes(t *testing.T) {
	needRoot(t)
	page, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(page), "## A daemon for the routes")
	blocks := func(kind string, count int) []string {
		t.Helper()
		var all []string
		for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```").FindAllStringSubmatch(part, -1) {
			if m[1] == kind && len(all) < count {
				all = append(all, m[2])
			}
		}
		if len(all) < count {
			t.Fatalf("there are %d blocks of %q", len(all), kind)
		}
		return all
	}
	hcl, confs := blocks("hcl", 2), blocks("", 2)
	start, end := strings.Index(hcl[0], "  process \"bird\""), strings.Index(hcl[0], "\n}\n\nnetwork")
	if start < 0 || end < start {
		t.Fatal("the lab has no process bird")
	}
	for _, tt := range []struct {
		daemon, installed, protocol, lab string
		files                            map[string]string
	}{
		{"BIRD", "/usr/sbin/bird", "bird", hcl[0], map[string]string{"bird.conf": confs[0]}},
		{"FRR", "/usr/lib/frr/ospfd", "ospf", hcl[0][:start] + hcl[1] + hcl[0][end+1:], map[string]string{"frr": blocks("sh", 1)[0], "ospfd.conf": confs[1]}},
	} {
		t.Run(tt.daemon, func(t *testing.T) {
			if _, err := os.Stat(tt.installed); err != nil {
				t.Skipf("%s is not installed", tt.daemon)
			}
			dir, err := os.MkdirTemp("/var/tmp", "lab-daemon-") // a program sees that, and not /tmp
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil { // the daemon is another user
				t.Fatal(err)
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := planned(t, parse(t, "routed.hcl", strings.ReplaceAll(tt.lab, "/home/you/lab", dir)), "routed", "")
			up(t, p)
			for _, node := range []string{"node1", "node2", "node3"} {
				eventually(t, tt.daemon+" does not write two routes in "+node, func() bool {
					return strings.Count(sh(t, p, "ip -n %s."+node+" route show proto "+tt.protocol), " via 192.168.205.") == 2
				})
			}
			settled(t, p)
			healthy(t, p)
		})
	}
}
