package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labnet/lab/graph"
	"labnet/labs"
)

func drawnAs(t *testing.T, args ...string) (p graph.Picture) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(t, append(append([]string{"graph"}, args...), "-o", "json")...)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGraphOfDefinitions: of every shipped lab in every mode, or the mode says why not.
func TestGraphOfDefinitions(t *testing.T) {
	inFolder(t, nil)
	drawn := 0
	for _, name := range labs.Names() {
		for _, mode := range (&choice{}).variants([]string{name}) {
			args := []string{"graph", name, "--mode", mode}
			if name == "scale" {
				args = append(args, "--var", "nodes=12")
			}
			code, out, stderr := labRun(t, args...)
			valid, _, why := labRun(t, append([]string{"validate"}, args[1:]...)...)
			if code != valid {
				t.Errorf("%s: exit status %d, and of validate %d: %s%s", args, code, valid, stderr, why)
			}
			if code != 0 {
				continue
			}
			drawn++
			if !strings.HasPrefix(out, "<?xml") || !strings.HasSuffix(out, "</svg>\n") || !strings.Contains(out, "<title>"+name+", mode "+mode+"</title>") {
				t.Errorf("%s: %.200s", args, out)
			}
		}
	}
	if drawn < 60 {
		t.Errorf("%d pictures", drawn)
	}
}

func TestGraphRefuses(t *testing.T) {
	inFolder(t, map[string]string{"only.hcl": tiny})
	for line, says := range map[string]string{
		"only.hcl --format png":             "it is one of svg, mermaid, json",
		"only.hcl --show pod":               `Did you mean "pods"?`,
		"only.hcl --show pods,links":        "There are underlay, pods, overlay and bgp.",
		"nowhere":                           "no such file",
		"only.hcl --mode vxlam":             `Did you mean "vxlan"?`,
		"only.hcl --var x=1":                "x",
		"a b":                               "at most 1",
		"only.hcl --format mermaid -o yaml": "text or json",
	} {
		code, out, stderr := labRun(t, append([]string{"graph"}, strings.Fields(line)...)...)
		if code != refused || out != "" || !strings.Contains(stderr, says) {
			t.Errorf("graph %s: exit status %d: %s%s", line, code, out, stderr)
		}
	}
	if p := drawnAs(t); p.Lab != "faults-tiny" || p.Running || len(p.Machines) != 2 || len(p.Machines[0].Pods) != 1 {
		t.Errorf("the only definition of the folder: %+v", p)
	}
	if p := drawnAs(t, "--show", "pods"); len(p.Switches) != 0 || len(p.Machines[0].Pods) != 1 {
		t.Errorf("--show pods: %+v", p)
	}
	if p := drawnAs(t, "--show", "underlay"); len(p.Switches) != 1 || len(p.Machines[0].Pods) != 0 {
		t.Errorf("--show underlay: %+v", p)
	}
	for _, typed := range []string{"svg", "mermaid", "json"} {
		if got := complete(t, "graph", "--format", typed[:1]); len(got) != 1 || got[0] != typed {
			t.Errorf("--format %s: %q", typed[:1], got)
		}
	}
	if got := complete(t, "graph", "--show", "pods,b"); len(got) != 1 || got[0] != "pods,bgp" {
		t.Errorf("--show pods,b: %q", got)
	}
}

// TestGraphOfRunningLab: what is there is drawn, also what is down, has drifted or is missing; a file goes before a lab of its
// name; without its record a lab is drawn as well as can be.
func TestGraphOfRunningLab(t *testing.T) {
	needRoot(t)
	const name = "faults-graph"
	dir := t.TempDir()
	file := filepath.Join(dir, "tiny.hcl")
	if err := os.WriteFile(file, []byte(strings.Replace(tiny, "pods = 1", "pods = 2", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	must(t, "up", file, "--name", name, "--mode", "vxlan")
	t.Cleanup(func() { must(t, "down", name) })
	if p := drawnAs(t, name); !p.Running || p.Mode != "vxlan" || len(p.Drift) != 0 || len(p.Overlays) != 1 || len(p.Overlays[0].Pairs) != 1 {
		t.Errorf("as it was built: %+v", p)
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	ip("-n", name+".lan", "link", "set", "n1", "down")
	ip("-n", name+".n2", "link", "set", "eth0", "mtu", "1400")
	ip("-n", name+".n1", "address", "add", "10.99.0.1/24", "dev", "cni0")
	ip("-n", name+".n2.p1", "link", "set", "eth0", "down")
	ip("netns", "del", name+".n2.p2")
	p := drawnAs(t, name)
	device := func(m graph.Machine, name string) graph.Device {
		for _, d := range m.Devices {
			if d.Name == name {
				return d
			}
		}
		t.Fatalf("%s has no %s", m.Name, name)
		return graph.Device{}
	}
	n1, n2 := p.Machines[0], p.Machines[1]
	if d := device(n1, "eth0"); d.Link != graph.Down || d.Mark != graph.Fine {
		t.Errorf("its port is down: %+v", d)
	}
	if d := device(n2, "eth0"); d.MTU != 1400 || d.Mark != graph.Changed || d.Switch != "lan" {
		t.Errorf("its MTU has changed: %+v", d)
	}
	if d := device(n1, "cni0"); len(d.Addresses) != 2 || d.Addresses[1] != (graph.Address{Text: "10.99.0.1/24", Mark: graph.Foreign}) {
		t.Errorf("it has one address more: %+v", d)
	}
	if n2.Pods[0].Link != graph.Down || n2.Pods[1].Mark != graph.Missing {
		t.Errorf("of its pods one is down, and one is gone: %+v", n2.Pods)
	}
	if len(p.Drift) == 0 || p.Drift[0] == "" {
		t.Errorf("drift: %q", p.Drift)
	}
	svg := must(t, "graph", name)
	for _, said := range []string{"link down", "mtu 1400 ≠", "10.99.0.1/24 foreign", "missing", "not all is as it is defined", "g-x"} {
		if !strings.Contains(svg, said) {
			t.Errorf("the picture does not say %q", said)
		}
	}
	if text := must(t, "graph", name, "--format", "mermaid"); !strings.Contains(text, `-.-x|"eth0 down"| n_n1`) {
		t.Errorf("Mermaid:\n%s", text)
	}
	// A file of the lab's name.
	if err := os.WriteFile(name, []byte(tiny), 0o644); err != nil {
		t.Fatal(err)
	}
	if p := drawnAs(t, name); p.Running || p.Lab != "faults-tiny" {
		t.Errorf("a file goes before a lab: %+v", p)
	}
	os.Remove(name)
	t.Chdir(t.TempDir())
	if p := drawnAs(t); !p.Running || p.Lab != name {
		t.Errorf("the only lab that runs: %+v", p)
	}
	must(t, "up", file, "--name", name, "--mode", "vxlan")
	if p := drawnAs(t, name); len(p.Drift) != 0 {
		t.Errorf("repaired: %q", p.Drift)
	}
	must(t, "drill", "start", "pod-mtu-low", "-l", name)
	if p := drawnAs(t, name); !p.Running || len(p.Drift) != 0 || p.Note != "a drill is on" || strings.Contains(must(t, "graph", name), "≠") {
		t.Errorf("the answer of a drill is drawn: %q, %q", p.Note, p.Drift)
	}
	must(t, "up", file, "--name", name, "--mode", "vxlan")
	if err := os.Remove(filepath.Join("/run/lab", name, "definition.json")); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := labRun(t, "graph", name)
	if code != 0 || !strings.Contains(out, "drift is unknown") || !strings.Contains(out, "192.0.2.2/24") || !strings.Contains(stderr, "writes it again") {
		t.Errorf("without its record: exit status %d: %s\n%.300s", code, stderr, out)
	}
}
