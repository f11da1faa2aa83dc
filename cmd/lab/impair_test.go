package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/plan"
	"labnet/testbed"
)

// links is what status says of a lab's links.
type links struct {
	Drift    []driftDocument
	Impaired []impairDocument
}

func impairedNow(t *testing.T, name string) (drift, impaired int, doc links) {
	t.Helper()
	var all struct{ Labs []links }
	if err := json.Unmarshal([]byte(must(t, "status", name, "-o", "json")), &all); err != nil || len(all.Labs) != 1 {
		t.Fatal(err)
	}
	return len(all.Labs[0].Drift), len(all.Labs[0].Impaired), all.Labs[0]
}

func qdisc(t *testing.T, namespace, link string) string {
	t.Helper()
	out, err := exec.Command("tc", "-n", namespace, "qdisc", "show", "dev", link).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestImpairRate: a link's rate changes while the lab runs. Nothing else does, not even what has drifted; up leaves it, up
// --reset undoes it, and without the record it is drift.
func TestImpairRate(t *testing.T) {
	needRoot(t)
	const name = "faults-impair"
	file := tinyFile(t)
	must(t, "up", file, "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	if out, err := exec.Command("ip", "-n", name+".n2", "link", "set", "eth0", "mtu", "1400").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out := must(t, "impair", "-l", name, "n1", "rate=10mbit"); !strings.Contains(out, "n1:eth0") || !strings.Contains(out, "rate=10mbit") {
		t.Errorf("it says %q", out)
	}
	for namespace, link := range map[string]string{name + ".n1": "eth0", name + ".lan": "n1"} {
		if out := qdisc(t, namespace, link); !strings.Contains(out, "tbf") || !strings.Contains(out, "rate 10Mbit") {
			t.Errorf("%s %s: %s", namespace, link, out)
		}
	}
	if out := qdisc(t, name+".n2", "eth0"); strings.Contains(out, "tbf") {
		t.Errorf("the other link has it too: %s", out)
	}
	if drift, impaired, doc := impairedNow(t, name); drift != 1 || impaired != 1 || doc.Impaired[0] != (impairDocument{"n1:eth0", "rate=10mbit"}) {
		t.Errorf("the MTU alone has drifted: %+v", doc)
	}
	if out := must(t, "status", name); !strings.Contains(out, "lab up --reset") || !strings.Contains(out, "rate=10mbit") {
		t.Errorf("status does not show it:\n%s", out)
	}
	must(t, "up", file, "--name", name)
	if code, out, _ := labRun(t, "plan", file, "--name", name, "--exit-code"); code != 0 || out != "" {
		t.Errorf("plan would change (%d): %s", code, out)
	}
	if drift, impaired, _ := impairedNow(t, name); drift != 0 || impaired != 1 || !strings.Contains(qdisc(t, name+".n1", "eth0"), "10Mbit") {
		t.Errorf("up undoes it: %d changes of drift, %d impaired", drift, impaired)
	}
	must(t, "check", name)
	// All links of the switch; another rate in place; and one that is turned off.
	must(t, "impair", "-l", name, "lan", "rate=20mbit")
	if _, impaired, _ := impairedNow(t, name); impaired != 2 || !strings.Contains(qdisc(t, name+".n2", "eth0"), "20Mbit") {
		t.Errorf("of the switch's links %d are impaired", impaired)
	}
	must(t, "impair", "-l", name, "n2:eth0", "none")
	if _, impaired, doc := impairedNow(t, name); impaired != 1 || doc.Impaired[0].Link != "n1:eth0" || strings.Contains(qdisc(t, name+".n2", "eth0"), "tbf") {
		t.Errorf("none: %+v", doc.Impaired)
	}
	// Its record lost, it is drift.
	record := filepath.Join("/run/lab", name, "definition.json")
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := labRun(t, "impair", "-l", name, "n1", "none"); code == 0 || !strings.Contains(stderr, "writes it again") {
		t.Errorf("without a record: exit status %d: %s", code, stderr)
	}
	if code, out, _ := labRun(t, "plan", file, "--name", name, "--exit-code"); code != answer || strings.Count(out, "qdisc del") != 2 {
		t.Errorf("without a record it is no drift (%d): %s", code, out)
	}
	must(t, "up", file, "--name", name)
	must(t, "impair", "-l", name, "n1", "rate=5mbit")
	must(t, "up", file, "--name", name, "--reset")
	if drift, impaired, _ := impairedNow(t, name); drift != 0 || impaired != 0 || strings.Contains(qdisc(t, name+".n1", "eth0"), "tbf") {
		t.Errorf("after --reset: %d changes of drift, %d impaired", drift, impaired)
	}
}

// TestImpairNetem: where the kernel has netem, delays and losses too; elsewhere they are refused, with the remedy, and nothing
// is touched.
func TestImpairNetem(t *testing.T) {
	needRoot(t)
	const name = "faults-netem"
	file := tinyFile(t)
	must(t, "up", file, "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	f, err := testbed.Probe(false)
	if err != nil {
		t.Fatal(err)
	}
	code, out, stderr := labRun(t, "impair", "-l", name, "n1", "delay=20ms", "loss=0.5%")
	if !f[plan.FeatureNetem] {
		if code != refused || out != "" || !strings.Contains(stderr, "modprobe sch_netem") || !strings.Contains(stderr, "n1:eth0") {
			t.Errorf("exit status %d: %s%s", code, out, stderr)
		}
		if drift, impaired, _ := impairedNow(t, name); drift != 0 || impaired != 0 {
			t.Errorf("%d changes of drift, %d impaired", drift, impaired)
		}
		return
	}
	if text := qdisc(t, name+".n1", "eth0"); code != 0 || !strings.Contains(text, "delay 20ms") || !strings.Contains(text, "loss 0.5%") {
		t.Errorf("exit status %d: %s%s", code, stderr, text)
	}
	must(t, "impair", "-l", name, "n1", "loss=0", "rate=50mbit")
	if text := qdisc(t, name+".n1", "eth0"); !strings.Contains(text, "delay 20ms") || strings.Contains(text, "loss") || !strings.Contains(text, "rate 50Mbit") {
		t.Errorf("the delay stays, and the loss goes: %s", text)
	}
	must(t, "up", file, "--name", name)
	if drift, impaired, _ := impairedNow(t, name); drift != 0 || impaired != 1 {
		t.Errorf("%d changes of drift, %d impaired", drift, impaired)
	}
	must(t, "check", name)
	must(t, "impair", "-l", name, "n1", "none")
	if text := qdisc(t, name+".n1", "eth0"); strings.Contains(text, "netem") {
		t.Errorf("none: %s", text)
	}
}

func TestImpairRefuses(t *testing.T) {
	for line, says := range map[string]string{
		"n1":                    "say which link",
		"n1 delay=10ms -o yaml": "text or json",
		"-l faults-no n1 none":  "faults-no",
	} {
		if code, _, stderr := labRun(t, append([]string{"impair"}, strings.Fields(line)...)...); code != refused && os.Geteuid() == 0 || !strings.Contains(stderr, says) && os.Geteuid() == 0 {
			t.Errorf("impair %s: exit status %d: %s", line, code, stderr)
		}
	}
	if got := complete(t, "impair", "n1", "de"); len(got) != 1 || got[0] != "delay=" {
		t.Errorf("completion: %q", got)
	}
	if got := complete(t, "impair", "n1", "delay=1ms", ""); len(got) != 3 {
		t.Errorf("completion offers what is there already: %q", got)
	}
	needRoot(t)
	const name = "faults-impair-refuses"
	must(t, "up", tinyFile(t), "--name", name)
	t.Cleanup(func() { must(t, "down", name) })
	for line, says := range map[string]string{
		"n3 none":            `Did you mean "n1"?`,
		"n1:eth7 none":       "n1 has no interface eth7",
		"n1/p1 none":         "is a pod",
		"lan:n1 none":        "is a switch",
		"n1 speed=1":         "no speed",
		"n1 rate=10":         "is not a rate",
		"n1 rate=1mbps":      "bytes",
		"n1 none rate=1mbit": "none alone",
	} {
		code, out, stderr := labRun(t, append([]string{"impair", "-l", name}, strings.Fields(line)...)...)
		if code != refused || out != "" || !strings.Contains(stderr, says) {
			t.Errorf("impair %s: exit status %d: %s%s", line, code, out, stderr)
		}
	}
	if drift, impaired, _ := impairedNow(t, name); drift+impaired != 0 {
		t.Errorf("refused, and yet %d changes of drift, %d impaired", drift, impaired)
	}
}
