package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"labnet/modes"
	"labnet/testbed"
)

// TestDamagedRecords: status shows a lab whatever its record is, says what is wrong with it, and calls none lost that is
// there. Every other lab is shown too; up mends it.
func TestDamagedRecords(t *testing.T) {
	needRoot(t)
	file := tinyFile(t)
	const name, other = "faults-record", "faults-sound"
	for _, n := range []string{name, other} {
		must(t, "up", file, "--name", n)
		t.Cleanup(func() { must(t, "down", n) })
	}
	path := "/run/lab/" + name + "/definition.json"
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string]string{
		"empty": "", "a word": "rubbish", "null": "null", "an array": "[]", "an object": "{}", "zeros": string(make([]byte, 100)),
		"other types":     `{"schema":"x","source":7,"names":"y"}`,
		"no HCL":          `{"schema":1,"instance":"faults-record","file":"a.hcl","source":"lab: {"}`,
		"an unknown mode": strings.Replace(string(sound), `"mode": "host-gw"`, `"mode": "nonsense"`, 1),
		"another's name":  strings.Replace(string(sound), `"instance": "faults-record"`, `"instance": "else"`, 1),
		"not UTF-8":       "{\"source\":\"\xff\xfe\"}",
	}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 20 {
		damaged[fmt.Sprint("cut ", i)] = string(sound[:random.IntN(len(sound)-2)])
		flipped := []byte(string(sound))
		flipped[random.IntN(len(flipped))] ^= byte(1 << random.IntN(8))
		damaged[fmt.Sprint("flipped ", i)] = string(flipped)
	}
	see := func(what string) (doc labDocument) {
		t.Helper()
		code, out, stderr := labRun(t, "status", "-o", "json")
		var all struct{ Labs []labDocument }
		if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all.Labs) != 2 {
			t.Fatalf("%s: exit status %d, %v\n%s%s", what, code, err, out, stderr)
		}
		for _, l := range all.Labs {
			if len(l.Machines) != 5 || l.Name == other && (l.Note != "" || len(l.Drift) > 0) {
				t.Errorf("%s: lab %s has %d machines, note %q, drift %v", what, l.Name, len(l.Machines), l.Note, l.Drift)
			}
			if l.Name == name {
				doc = l
			}
		}
		return doc
	}
	for what, text := range damaged {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		doc := see(what)
		if strings.Contains(doc.Note, "missing") {
			t.Errorf("%s: %s", what, doc.Note)
		}
		if !strings.HasPrefix(what, "flipped") && what != "another's name" && (doc.Note == "" || !strings.Contains(doc.Note, writesAgain)) {
			t.Errorf("%s: nothing is said of it, or not what to do: %q", what, doc.Note)
		}
		if what == "another's name" && len(doc.Drift) > 0 {
			t.Errorf("%s: drift %v", what, doc.Drift)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if doc := see("removed"); !strings.Contains(doc.Note, "missing") {
		t.Errorf("removed: %q", doc.Note)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if doc := see("a folder"); !strings.Contains(doc.Note, "is a directory") {
		t.Errorf("a folder: %q", doc.Note)
	}
	_ = os.Remove(path)
	must(t, "up", file, "--name", name)
	if doc := see("up again"); doc.Note != "" {
		t.Errorf("up does not write it again: %q", doc.Note)
	}
}

// TestPeers: the far ends that status names are those that the kernel has, both ways.
func TestPeers(t *testing.T) {
	needRoot(t)
	const name = "faults-peers"
	t.Cleanup(func() { must(t, "down", name) })
	for _, mode := range []string{"vxlan", "bgp", "macvlan"} {
		must(t, "up", tinyFile(t), "--name", name, "--mode", mode)
		var all struct{ Labs []labDocument }
		if err := json.Unmarshal([]byte(must(t, "status", name, "-o", "json")), &all); err != nil {
			t.Fatal(err)
		}
		namespace := map[string]string{}
		pods, podsAtNodes := 0, 0
		for _, m := range all.Labs[0].Machines {
			namespace[m.Name] = m.Namespace
		}
		for _, m := range all.Labs[0].Machines {
			for _, nic := range m.Interfaces {
				if nic.Kind != "veth" {
					if nic.Peer != "" {
						t.Errorf("%s: a %s has no peer, and not %s", mode, nic.Kind, nic.Peer)
					}
					continue
				}
				if got, want := index(t, namespace[nic.Peer], nic.PeerInterface).Index, index(t, m.Namespace, nic.Name).Link; got != want {
					t.Errorf("%s: the peer of %s %s is number %d, and not %s %s, which is %d", mode, m.Name, nic.Name, want, nic.Peer, nic.PeerInterface, got)
				}
				if m.Kind == "node" && strings.Contains(nic.Peer, "/") {
					podsAtNodes++
				}
				if m.Kind == "pod" {
					pods++
					if text := must(t, "status", name); !strings.Contains(text, nic.Name+"@"+nic.PeerInterface+" ") {
						t.Errorf("%s: the text does not map %s:\n%s", mode, nic.PeerInterface, text)
					}
				}
			}
		}
		if pods != podsAtNodes || pods != map[string]int{"vxlan": 2, "bgp": 2}[mode] {
			t.Errorf("%s: %d veths of pods, %d at nodes", mode, pods, podsAtNodes)
		}
	}
}

type device struct {
	Index int `json:"ifindex"`
	Link  int `json:"link_index"`
}

func index(t *testing.T, namespace, name string) device {
	t.Helper()
	out, err := exec.Command("ip", "-n", namespace, "-j", "link", "show", "dev", name).Output()
	var list []device
	if err != nil || json.Unmarshal(out, &list) != nil || len(list) != 1 {
		t.Fatalf("%s in %s: %v %s", name, namespace, err, out)
	}
	return list[0]
}

// TestNoDatapathOfNothing: where no node is, or none is left, no datapath is spoken of.
func TestNoDatapathOfNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none.hcl")
	text := strings.Replace(tiny, "count = 2", "count = 0", 1) + "host \"h\" {\n  on \"lan\" {}\n}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	blank := regexp.MustCompile(`\( *datapath|\( *\)`)
	check := func(args ...string) {
		t.Helper()
		if code, out, stderr := labRun(t, args...); code != 0 || blank.MatchString(out+stderr) {
			t.Errorf("%s: exit status %d\n%s%s", args, code, out, stderr)
		}
	}
	for _, mode := range modes.All.Names() {
		if mode == "vlan" || mode == "cni" { // which need more of a definition
			continue
		}
		check("validate", file, "--mode", mode)
	}
	check("plan", file, "--mode", "udp", "--shell")
	needRoot(t)
	const name = "faults-none"
	t.Cleanup(func() { must(t, "down", name) })
	for _, mode := range []string{"udp", "vxlan"} {
		check("up", file, "--name", name, "--mode", mode)
		check("up", file, "--name", name, "--mode", mode)
		check("status", name)
		check("status")
		must(t, "up", tinyFile(t), "--name", name, "--mode", mode)
		all, _ := filepath.Glob(testbed.NetnsDir + "/" + name + ".*")
		for _, path := range all {
			if out, err := exec.Command("ip", "netns", "del", filepath.Base(path)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		check("status", name)
		must(t, "down", name)
	}
}
