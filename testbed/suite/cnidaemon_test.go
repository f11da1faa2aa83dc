package suite

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed"
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

// TestDaemonMakesDevices follows what docs/cni.md says of daemons that connect the nodes by devices of their own: the network is
// theirs as long as the plan delegates it, but for what is the plan's, or has been another's.
func TestDaemonMakesDevices(t *testing.T) {
	needRoot(t)
	page, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(page), "## A daemon that makes devices")
	m := regexp.MustCompile("(?s)```sh\n(.*?)```.*?```hcl\n(.*?)```").FindStringSubmatch(part)
	if m == nil {
		t.Fatal("the page has no daemon")
	}
	dir, err := os.MkdirTemp("/var/tmp", "lab-daemon-") // a program sees that, and not /tmp
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay"), []byte(m[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(m[2], "/home/you/lab", dir)
	p := planned(t, parse(t, "tunnelled.hcl", text), "tunnelled", "")
	build := func(p *plan.Plan) {
		t.Helper()
		if err := bring(t, p); err != nil {
			t.Fatal(err)
		}
	}
	build(p)
	for _, node := range []string{"node1", "node2", "node3"} {
		eventually(t, "no tunnel in "+node, func() bool {
			return strings.Count(sh(t, p, "ip -n %s."+node+" route"), " dev flannel.1 onlink") == 2
		})
	}
	settled(t, p)
	healthy(t, p)
	tunnel := plan.Key{Namespace: p.Cluster.Name + ".node1", Kind: plan.KindLink, Name: "flannel.1"}
	theirs := func(kind plan.Kind) (names []string) {
		t.Helper()
		s, err := testbed.Read(t.Context(), p.Cluster.Name, p.State)
		if err != nil {
			t.Fatal(err)
		}
		s.In(tunnel.Namespace, func(o plan.Object) {
			if k := o.Key(); k.Kind == kind && s.Entrusted(k) && !strings.HasPrefix(k.Name, "veth") {
				names = append(names, k.Name)
			}
		})
		slices.Sort(names)
		return names
	}
	if links := theirs(plan.KindLink); !slices.Equal(links, []string{"cni0", "flannel.1"}) {
		t.Errorf("of the links of node1 the daemon's and the plugins' are %v", links)
	}

	t.Run("the plan's own objects are mended", func(t *testing.T) {
		sh(t, p, "ip -n %s.node1 link set eth0 mtu 1400")
		if changes := pending(t, p); len(changes) != 1 {
			t.Errorf("drift is %v", changes)
		}
		build(p)
		healthy(t, p)
	})
	t.Run("what another mode has left is not theirs", func(t *testing.T) {
		build(built(t, parse(t, "tunnelled.hcl", text), "tunnelled", "host-gw"))
		if out := sh(t, p, "ip netns exec %s.node1 nft list tables"); out == "" {
			t.Fatal("mode host-gw has no tables")
		}
		build(p)
		if tables := theirs(plan.KindTable); len(tables) > 0 {
			t.Errorf("tables of host-gw are the daemon's: %v", tables)
		}
		settled(t, p)
	})
	t.Run("without delegation they are drift", func(t *testing.T) {
		without := built(t, parse(t, "tunnelled.hcl", strings.ReplaceAll(text, "delegate     = true", "")), "tunnelled", "")
		if changes := pending(t, without); !slices.ContainsFunc(changes, func(c plan.Change) bool { return c.Op == plan.Delete && c.Object.Key() == tunnel }) {
			t.Errorf("drift is %v", changes)
		}
	})
}
