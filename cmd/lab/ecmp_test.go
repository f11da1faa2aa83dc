package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ecmp is a host with two interfaces, two routers to a server, and two families; %hops are the host's next hops.
const ecmp = `
lab "faults-ecmp" {}
switch "left" { subnet = ["10.1.1.0/24", "fd00:1::/64"] }
switch "right" { subnet = ["10.1.2.0/24", "fd00:2::/64"] }
switch "far" { subnet = ["10.1.3.0/24", "fd00:3::/64"] }
router "r" {
  for_each = { left = 1, right = 2 }
  dynamic "on" {
    for_each = { (each.key) = 1, far = each.value }
    labels   = [on.key]
    content { address = ["10.1.${on.key == "far" ? 3 : each.value}.${on.value}", "fd00:${on.key == "far" ? 3 : each.value}::${on.value}"] }
  }
  dynamic "route" {
    for_each = ["10.1.${3 - each.value}.0/24", "fd00:${3 - each.value}::/64"]
    content {
      to  = route.value
      via = [route.key == 0 ? "10.1.3.${3 - each.value}" : "fd00:3::${3 - each.value}"]
    }
  }
}
host "client" {
  on "left" {}
  on "right" {}
  dynamic "route" {
    for_each = HOPS
    content {
      to      = "default"
      via     = route.value
      weights = length(route.value) > 1 ? [3, 1] : null
    }
  }
}
host "server" {
  on "far" {}
  gateway = ["10.1.3.1", "fd00:3::1"]
  dynamic "route" {
    for_each = ["10.1.2.0/24", "fd00:2::/64"]
    content {
      to  = route.value
      via = [route.key == 0 ? "10.1.3.2" : "fd00:3::2"]
    }
  }
}
output "where" {
  value = { far = "10.1.3.0/24", hosts = ["client", "server"] }
}
`

// TestECMP: flows are spread over next hops on several interfaces, by both routers; a hop that is lost is drift, and hops come
// and go with the definition.
func TestECMP(t *testing.T) {
	needRoot(t)
	file := filepath.Join(t.TempDir(), "ecmp.hcl")
	write := func(hops string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Replace(ecmp, "HOPS", hops, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const both = `[["10.1.1.1", "10.1.2.1"], ["fd00:1::1", "fd00:2::1"]]`
	write(both)
	t.Cleanup(func() { labRun(t, "down", "faults-ecmp") })
	up := func() {
		t.Helper()
		must(t, "up", file)
		if code, changes, stderr := labRun(t, "plan", file, "--exit-code"); code != 0 {
			t.Errorf("plan after up: exit status %d\n%s%s", code, changes, stderr)
		}
		if code, out, stderr := labRun(t, "check", "faults-ecmp"); code != 0 {
			t.Errorf("check: exit status %d\n%s%s", code, out, stderr)
		}
	}
	up()
	ip := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	const client = "faults-ecmp.client"
	for family, want := range map[string]string{
		"-4": "default nexthop via 10.1.1.1 dev eth0 weight 3 nexthop via 10.1.2.1 dev eth1 weight 1",
		"-6": "nexthop via fd00:1::1 dev eth0 weight 3 nexthop via fd00:2::1 dev eth1 weight 1",
	} {
		if got := ip(family, "-n", client, "route", "show", "default"); !strings.Contains(got, want) {
			t.Errorf("the kernel has %s, want %s", got, want)
		}
	}
	taken := map[string]bool{}
	for i := range 200 { // of 200 destinations the fourth part goes by the lighter hop: that it is none has a chance of 1e-25
		words := strings.Fields(ip("-n", client, "route", "get", fmt.Sprintf("10.200.0.%d", i+1)))
		taken[words[slices.Index(words, "via")+1]] = true
	}
	if !taken["10.1.1.1"] || !taken["10.1.2.1"] {
		t.Errorf("the kernel takes only %v", taken)
	}

	status := must(t, "status", "faults-ecmp")
	if want := "Outputs:\n  where = {\n    far   = \"10.1.3.0/24\"\n    hosts = [\"client\", \"server\"]\n  }\n"; !strings.Contains(status, want) {
		t.Errorf("status has no\n%sbut\n%s", want, status)
	}
	if doc := strings.Join(strings.Fields(must(t, "status", "-o", "json", "faults-ecmp")), ""); !strings.Contains(doc, `"outputs":{"where":{"far":"10.1.3.0/24","hosts":["client","server"]}}`) {
		t.Errorf("the document has no outputs:\n%s", doc)
	}

	for _, damage := range []string{
		"-4 -n %n route replace default via 10.1.1.1",
		"-6 -n %n route del default via fd00:2::1",
		"-4 -n %n route replace default nexthop via 10.1.1.1 weight 1 nexthop via 10.1.2.1 weight 1",
	} {
		ip(strings.Fields(strings.ReplaceAll(damage, "%n", client))...)
		if code, changes, _ := labRun(t, "plan", file, "--exit-code"); code != 3 || !strings.Contains(changes, "weight 3 nexthop") {
			t.Errorf("ip %s: plan has exit status %d and\n%s", damage, code, changes)
		}
		up()
	}
	write(`[["10.1.2.1"], ["fd00:1::1"]]`)
	up()
	write(both)
	up()
}
