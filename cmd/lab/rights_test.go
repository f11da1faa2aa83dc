package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"labnet/lab/plan"
)

// as runs lab as somebody who may do less than root.
func as(t *testing.T, who []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	needRoot(t)
	cmd := exec.Command(who[0], append(append(who[1:len(who):len(who)], os.Args[0]), args...)...)
	cmd.Env = append(os.Environ(), asLab+"=1")
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Skip(e)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

var (
	noSysAdmin    = []string{"setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"}
	noNetAdmin    = []string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"}
	userNamespace = []string{"unshare", "-r"}
)

type doctorSays struct {
	Root          bool           `json:"root"`
	UserNamespace bool           `json:"user_namespace"`
	Modes         []modeDocument `json:"modes"`
	Features      plan.Features  `json:"features"`
}

// TestDoctorWithoutRights: what cannot be asked is unknown, and the right that is missing is named.
func TestDoctorWithoutRights(t *testing.T) {
	for _, tt := range []struct{ who, hint string }{{"sys", "CAP_SYS_ADMIN?"}, {"net", "CAP_NET_ADMIN?"}} {
		who := map[string][]string{"sys": noSysAdmin, "net": noNetAdmin}[tt.who]
		code, out, stderr := as(t, who, "doctor")
		if words := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(words, tt.hint) || strings.ContainsAny(out, "✗✓") || strings.Contains(out, "modprobe") || strings.Count(out, " ? ") < 8 {
			t.Errorf("%s: exit status %d\n%s%s", tt.who, code, out, stderr)
		}
		for _, verb := range [][]string{{"status"}, {"up", "three-node", "--name", "faults-rights"}, {"check", "three-node"}} {
			if code, _, stderr := as(t, who, verb...); code != failed && code != refused || code == failed && !strings.Contains(stderr, tt.hint) {
				t.Errorf("%s, %s: exit status %d\n%s", tt.who, verb, code, stderr)
			}
		}
		code, out, _ = as(t, who, "doctor", "-o", "json")
		var doc doctorSays
		if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || len(doc.Modes) == 0 {
			t.Fatal(err, out)
		}
		for _, m := range doc.Modes {
			if m.OK || m.State != unknown || !strings.Contains(m.Remedy, tt.hint) || m.Datapath != "" {
				t.Errorf("%s: %+v", tt.who, m)
			}
		}
	}
}

// TestDoctorInUserNamespace: its root is not the machine's, and where bpf() is refused no module is to blame.
func TestDoctorInUserNamespace(t *testing.T) {
	code, out, stderr := as(t, userNamespace, "doctor", "-o", "json")
	if strings.Contains(stderr, "unshare") {
		t.Skip(stderr)
	}
	var doc doctorSays
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	if doc.Root || !doc.UserNamespace {
		t.Errorf("root %t, in a user namespace %t", doc.Root, doc.UserNamespace)
	}
	if !doc.Features[plan.BPFRefused] || doc.Features[plan.FeatureEBPF] {
		t.Skipf("bpf() is not refused here, or the kernel has no ifb: %v", doc.Features)
	}
	for _, m := range doc.Modes {
		if (m.Mode == "ipip" || m.Mode == "vlan") && !m.OK && (strings.Contains(m.Remedy, "modprobe") || !strings.Contains(m.Remedy, "bpf() is refused (EPERM)")) {
			t.Errorf("%+v", m)
		}
	}
	if _, out, _ := as(t, userNamespace, "doctor"); !strings.Contains(out, "root of a user namespace, not of the machine") {
		t.Error(out)
	}
	if !doc.Features[plan.FeatureIPIP] {
		if code, _, stderr := as(t, userNamespace, "plan", "flannel-ipip"); code != refused || !strings.Contains(stderr, "bpf() is refused (EPERM)") || strings.Contains(stderr, "modprobe") {
			t.Errorf("plan: exit status %d\n%s", code, stderr)
		}
	}
}

// TestPlanWithoutRights: it is what anybody is shown.
func TestPlanWithoutRights(t *testing.T) {
	file := tinyFile(t)
	_, want, _ := labRun(t, "plan", file, "--shell")
	for name, who := range map[string][]string{"CAP_SYS_ADMIN": noSysAdmin, "CAP_NET_ADMIN": noNetAdmin} {
		code, out, stderr := as(t, who, "plan", file)
		if code != 0 || !strings.HasSuffix(want, out) || out == "" || !strings.Contains(stderr, name) || !strings.Contains(stderr, "from scratch") {
			t.Errorf("without %s: exit status %d\n%s", name, code, stderr)
		}
	}
	// Where namespaces of the lab are there that cannot be entered, it is the same.
	must(t, "up", file, "--name", "faults-rights")
	t.Cleanup(func() { must(t, "down", "faults-rights") })
	code, out, stderr := as(t, userNamespace, "plan", file, "--name", "faults-rights")
	if strings.Contains(stderr, "unshare") {
		t.Skip(stderr)
	}
	if code != 0 || !strings.Contains(out, "ip netns add faults-rights.n1\n") || !strings.Contains(stderr, "from scratch") {
		t.Errorf("in a user namespace: exit status %d\n%s", code, stderr)
	}
}
