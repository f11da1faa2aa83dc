package suite

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/plan"
)

// cniLab is three nodes whose pods are connected by plugins.
func cniLab(settings string) string {
	return `
lab "plugged" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "node" {
  count = 3
  on "lan" {}
  pods = 2
}
network "pods" {
  cidr = "10.42.0.0/16"
  mode = "cni"
}
mode "cni" {
` + settings + "\n}\n"
}

const bridgeConflist = `
  conflist = {
    name       = "pods"
    cniVersion = "1.0.0"
    plugins = [{
      type      = "bridge"
      bridge    = "cni0"
      isGateway = true
      ipam      = { type = "host-local", ranges = [[{ subnet = node.pod_cidr }]], routes = [{ dst = "0.0.0.0/0" }] }
    }]
  }`

// TestCNI: a lab whose pods hang on the real bridge plugin is like any other: built, checked, changed in place and mended.
func TestCNI(t *testing.T) {
	needRoot(t)
	l := parse(t, "plugged.hcl", cniLab(bridgeConflist))
	_, err := os.Stat("/var/lib/cni")
	machine := err == nil
	p := planned(t, l, "plugged", "")
	up(t, p)
	healthy(t, p)

	inside := func(pod string, args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", append([]string{"-n", p.Cluster.Name + "." + pod}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := inside("node2.p1", "-br", "address", "show", "eth0"); !strings.Contains(out, "10.42.1.2/24") {
		t.Errorf("node2/p1 has %s", out)
	}

	t.Run("drift of a pod is seen and mended", func(t *testing.T) {
		inside("node1.p1", "link", "del", "eth0")
		changes := pending(t, p)
		if len(changes) != 2 || !strings.Contains(strings.Join(changes[0].Lines(), ""), "# plugin bridge, CHECK for node1/p1: ") {
			t.Errorf("drift is %v", changes)
		}
		up(t, p)
		pod := p.Cluster.Nodes[0].Pods[0]
		if a := pod.Addresses()[0].String(); !strings.Contains(inside("node1.p1", "address"), "inet "+a) || a == "10.42.0.2/24" {
			t.Errorf("the plan has %s, and node1/p1 %s", a, inside("node1.p1", "address")) // host-local goes round
		}
		healthy(t, p)
	})
	t.Run("drift beside what plugins made is removed", func(t *testing.T) {
		inside("node1", "link", "add", "mine", "type", "bridge")
		if changes := pending(t, p); len(changes) != 1 || changes[0].Op != plan.Delete {
			t.Errorf("drift is %v", changes)
		}
		up(t, p)
	})
	t.Run("the mode changes in place", func(t *testing.T) {
		flannel := built(t, l, "plugged", "host-gw")
		up(t, flannel)
		healthy(t, flannel)
		if all, _ := filepath.Glob("/run/lab/" + p.Cluster.Name + "/cni/*/lib/networks/pods/10.*"); len(all) > 0 {
			t.Errorf("DEL left addresses: %v", all)
		}
		again := built(t, l, "plugged", "")
		up(t, again)
		healthy(t, again)
	})
	if _, err := os.Stat("/var/lib/cni"); err == nil && !machine {
		t.Error("the machine's own /var/lib/cni was written to")
	}
}
