package suite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
)

// pluginOfDocs is the plugin of docs/cni.md, which works.
func pluginOfDocs(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cni.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```bash\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/cni.md has no plugin")
	}
	return string(m[1])
}

// hostileLab is two nodes whose plugin does something else when it is called with a command, before it does what is right.
func hostileLab(t *testing.T, timeout, command, instead string) (settings string) {
	t.Helper()
	folder := t.TempDir()
	script := strings.Replace(pluginOfDocs(t), "set -eu\n", fmt.Sprintf("set -eu\nif [ $CNI_COMMAND = %s ]; then\n%s\nfi\n", command, instead), 1)
	if err := os.WriteFile(filepath.Join(folder, "hostile"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
  path    = [%q]
  timeout = %q
  conflist = {
    name       = "pods"
    cniVersion = "1.0.0"
    plugins    = [{ type = "hostile", subnet = node.pod_cidr }]
  }`, folder, timeout)
}

func bring(t *testing.T, p *plan.Plan) error {
	t.Helper()
	_, err := testbed.Up(t.Context(), p, testbed.Record{Instance: p.Cluster.Name}, testbed.Watch{})
	return err
}

// nothingIsLeft looks for namespaces and files of a lab.
func nothingIsLeft(t *testing.T, p *plan.Plan) {
	t.Helper()
	names, err := testbed.Named(p.Cluster.Name + ".")
	if err != nil || len(names) > 0 {
		t.Errorf("namespaces are left: %v %v", names, err)
	}
	if _, err := os.Stat("/run/lab/" + p.Cluster.Name); err == nil {
		t.Error("its folder is left")
	}
}

// TestHostileADD: whatever a plugin does when it is to attach a pod, up says what, and leaves nothing.
func TestHostileADD(t *testing.T) {
	needRoot(t)
	const who = "plugin hostile, ADD for node1/p"
	for _, tt := range []struct {
		name, instead string
		want          []string
	}{
		{"hangs", "echo waiting >&2; sleep 1000", []string{who + "1: it did not end within 2s", "its standard error: waiting"}},
		{"hangs with its output in other hands", "sleep 1000 & exit 0", []string{who + "1"}},
		{"garbage", "echo hello; exit 0", []string{who + `1: it printed "hello`, "not JSON"}},
		{"nothing", "exit 0", []string{who + "1: "}},
		{"refuses", `echo '{"cniVersion": "1.0.0", "code": 7, "msg": "no more", "details": "of anything"}'; exit 1`, []string{who + "1: no more; of anything (code 7)"}},
		{"ends badly", "echo why >&2; exit 3", []string{who + "1: it ended with exit status 3", "its standard error: why"}},
		{"crashes half-way", `ip link add half type veth peer name eth0 netns $(basename $CNI_NETNS); echo half >&2; kill -9 $$`, []string{who + "1: ", "its standard error: half"}},
		{"outside the block", `echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.99.0.9/24"}]}'; exit 0`, []string{who + "1: it returned the address 10.99.0.9, which is not one of the node's block 10.42.0.0/24"}},
		{"twice", "echo 4 >/var/lib/cni/last; ip link del veth5 2>/dev/null || true", []string{who + "2: it returned the address 10.42.0.5, which node1/p1 has"}},
		{"no address", `echo '{"cniVersion": "1.0.0"}'; exit 0`, []string{who + "1: it returned no address of 10.42.0.0/24"}},
		{"no interface", `echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.42.0.9/24"}]}'; exit 0`, []string{who + "1: it reported success, and the pod has no interface eth0"}},
		{"endless", "exec yes", []string{who + "1: it "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timeout := "1m"
			if strings.Contains(tt.instead, "sleep") || strings.Contains(tt.instead, "yes") {
				timeout = "2s"
			}
			p := planned(t, parse(t, "hostile.hcl", cniLab(hostileLab(t, timeout, "ADD", tt.instead))), "hostile", "")
			err := bring(t, p)
			if err == nil {
				t.Fatal("up succeeds")
			}
			for _, want := range append(tt.want, "what was built has been removed") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("up does not say %q: %v", want, err)
				}
			}
			nothingIsLeft(t, p)
		})
	}
	t.Run("missing", func(t *testing.T) {
		p := planned(t, parse(t, "hostile.hcl", cniLab(strings.Replace(bridgeConflist, `"bridge"`, `"brigde"`, 1))), "hostile", "")
		if err := bring(t, p); err == nil || !strings.Contains(err.Error(), "CNI plugin brigde: there is no such executable in ") || !strings.Contains(err.Error(), "make cni") {
			t.Errorf("up says %v", err)
		}
		nothingIsLeft(t, p)
	})
}

// TestHostileDEL: whatever a plugin does when it is to detach a pod, down ends, and leaves nothing.
func TestHostileDEL(t *testing.T) {
	needRoot(t)
	for _, tt := range []struct{ name, instead, want string }{
		{"fails", "echo no >&2; exit 1", "it ended with exit status 1\nits standard error: no"},
		{"hangs", "sleep 1000", "it did not end within 5s"},
		{"does nothing", "exit 0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := parse(t, "hostile.hcl", cniLab(hostileLab(t, "5s", "DEL", tt.instead)))
			p := planned(t, l, "hostile", "")
			if err := bring(t, p); err != nil {
				t.Fatal(err)
			}
			other := built(t, l, "hostile", "host-gw")
			switch err := bring(t, other); {
			case tt.want == "": // what is left of the plugin's is drift for another mode
				if err != nil {
					t.Fatal(err)
				}
				settled(t, other)
				healthy(t, other)
			case err == nil || !strings.Contains(err.Error(), "plugin hostile, DEL for node3/p2: "+tt.want):
				t.Errorf("a change of the mode says %v", err)
			}
			err := testbed.Down(context.Background(), p.Cluster.Name, func(string) {})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "plugin hostile, DEL for node1/p1: "+tt.want)) {
				t.Errorf("down says %v", err)
			}
			nothingIsLeft(t, p)
		})
	}
}

// TestPluginLeavesNoProcess: what a plugin starts ends with it.
func TestPluginLeavesNoProcess(t *testing.T) {
	needRoot(t)
	p := planned(t, parse(t, "hostile.hcl", cniLab(hostileLab(t, "1m", "ADD", "setsid sleep 98765 </dev/null >/dev/null 2>&1 &"))), "hostile", "")
	if err := bring(t, p); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("pgrep", "-x", "-f", "sleep 98765").Output(); err == nil {
		t.Errorf("it runs still: %s", out)
	}
}

// TestKilledDuringADD: an up that is killed while a plugin works leaves what the next one mends, and down removes.
func TestKilledDuringADD(t *testing.T) {
	needRoot(t)
	flag := filepath.Join(t.TempDir(), "waits")
	l := parse(t, "hostile.hcl", cniLab(hostileLab(t, "1m", "ADD", fmt.Sprintf("if mkdir %s 2>/dev/null; then ip link add half type veth peer name eth0 netns $(basename $CNI_NETNS); touch %[1]s/now; sleep 1000; fi", flag))))
	for _, then := range []string{"up", "down"} {
		t.Run(then, func(t *testing.T) {
			p := planned(t, l, "hostile", "")
			none := built(t, l, "hostile", "host-gw")
			if err := bring(t, none); err != nil { // namespaces, so that only the pod is to be attached
				t.Fatal(err)
			}
			changes := pending(t, p)
			var add []string
			for _, c := range changes {
				if a, ok := c.Object.(plan.Attachment); !ok || a.Namespace+a.Pod != p.Cluster.Name+".node1p1" {
					continue
				}
				add = c.Lines()
			}
			if err := os.RemoveAll(flag); err != nil {
				t.Fatal(err)
			}
			sh(t, none, "ip -n %s.node1.p1 link del eth0")
			cmd := exec.Command("sh", "-euc", "lab() { exec "+os.Args[0]+" "+byHand+" \"$@\"; }\n"+strings.Join(add, "\n"))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for _, err := os.Stat(flag + "/now"); err != nil; _, err = os.Stat(flag + "/now") {
				time.Sleep(5 * time.Millisecond)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if then == "up" {
				if err := bring(t, p); err != nil {
					t.Fatal(err)
				}
				settled(t, p)
				healthy(t, p)
			}
			removed(t, p)
			nothingIsLeft(t, p)
		})
	}
}
