package suite

import (
	"os"
	"strings"
	"testing"

	"labnet/testbed/check"
)

// TestPluginsAreAsked: a check asks plugins about their pods and nodes, and they are told which pods there are.
func TestPluginsAreAsked(t *testing.T) {
	needRoot(t)
	failed := func(t *testing.T, r *check.Report) (all []check.Check) {
		t.Helper()
		for _, c := range r.Checks {
			if !c.OK {
				all = append(all, c)
			}
		}
		return all
	}
	t.Run("CHECK", func(t *testing.T) {
		p := planned(t, parse(t, "hostile.hcl", cniLab(hostileLab(t, "1m", "CHECK", "[ ! -e /var/lib/cni/ill ] || { [ $CNI_ARGS != ${CNI_ARGS/=p2/} ] && { echo ill >&2; exit 1; } || true; }"))), "asked", "")
		up(t, p)
		healthy(t, p)
		sh(t, p, "touch /run/lab/%s/cni/node2/lib/ill")
		all := failed(t, checked(t, p))
		if len(all) != 1 || all[0].Name != check.Plugin || all[0].To != "node2/p2" || !strings.Contains(all[0].Seen, "plugin hostile, CHECK for node2/p2: it ended with exit status 1 its standard error: ill") {
			t.Errorf("%+v", all)
		}
	})
	t.Run("STATUS", func(t *testing.T) {
		settings := hostileLab(t, "1m", "STATUS", `[ ! -e /var/lib/cni/full ] || { echo '{"cniVersion": "1.1.0", "code": 50, "msg": "no addresses"}'; exit 1; }; exit 0`)
		p := planned(t, parse(t, "hostile.hcl", cniLab(strings.Replace(settings, `"1.0.0"`, `"1.1.0"`, 1))), "asked", "")
		up(t, p)
		healthy(t, p)
		sh(t, p, "touch /run/lab/%s/cni/node3/lib/full")
		all := failed(t, checked(t, p))
		if len(all) != 1 || all[0].Name != check.Plugin || all[0].To != "node3" || !strings.Contains(all[0].Seen, "plugin hostile, STATUS for node3: no addresses (code 50)") {
			t.Errorf("%+v", all)
		}
	})
	t.Run("GC", func(t *testing.T) {
		settings := hostileLab(t, "1m", "GC", `cat >>/var/lib/cni/told; exit 0`)
		p := planned(t, parse(t, "hostile.hcl", cniLab(strings.Replace(settings, `"1.0.0"`, `"1.1.0"`, 1))), "asked", "")
		up(t, p)
		told, err := os.ReadFile("/run/lab/" + p.Cluster.Name + "/cni/node1/lib/told")
		for _, pod := range []string{"p1", "p2"} {
			if !strings.Contains(string(told), `{"containerID":"`+p.Cluster.Name+`.node1.`+pod+`","ifname":"eth0"}`) {
				t.Errorf("of %s it was told: %v\n%s", pod, err, told)
			}
		}
		up(t, p)
		if again, _ := os.ReadFile("/run/lab/" + p.Cluster.Name + "/cni/node1/lib/told"); string(again) != string(told) {
			t.Error("it is told though nothing changed")
		}
	})
	t.Run("GC fails", func(t *testing.T) {
		settings := hostileLab(t, "1m", "GC", `echo why >&2; exit 1`)
		p := planned(t, parse(t, "hostile.hcl", cniLab(strings.Replace(settings, `"1.0.0"`, `"1.1.0"`, 1))), "asked", "")
		if err := bring(t, p); err == nil || !strings.Contains(err.Error(), "plugin hostile, GC for node1: it ended with exit status 1\nits standard error: why") {
			t.Errorf("up says %v", err)
		}
		nothingIsLeft(t, p)
	})
}
