package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"labnet/testbed"
)

// exercise adds a tunnel that lab does not have: GENEVE. Its own files are in testdata; these are the lines that it takes in
// files which are there.
const exercise = "testdata/geneve"

var exerciseLines = map[string][2]string{
	"modes/modes.go":       {"\t{Name: \"vxlan\"", "\t{Name: \"geneve\", Mode: geneve.Mode{}},\n"},
	"testbed/linktypes.go": {"\t\"ipip\":", "\t\"geneve\": geneveLink,\n"},
	"lab/packet/decode.go": {"\tvar tunnel layers.VXLAN\n", genevePacket},
}

// genevePacket takes the header of RFC 8926 off, where an Ethernet frame follows.
const genevePacket = `	if h := l.Payload; len(h) > 3 && binary.BigEndian.Uint16(h[2:]) == uint16(layers.EthernetTypeTransparentEthernetBridging) {
		var geneve layers.Geneve
		if d.take(&geneve, h) {
			d.carried("geneve", int(geneve.VNI), geneve.Payload, d.ethernet)
		}
		return
	}
`

const exerciseLab = `
lab "faults-geneve" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "node" {
  count = 3
  on "lan" {}
  pods = 2
}
network "pods" { cidr = "10.42.0.0/16" }
`

// TestTunnelTakesFourFiles counts what a new tunnel costs besides the folder of its mode and the line in the list of modes,
// and looks at what becomes of it: the plan, what is said of a kernel without it and, on one that has it, a lab.
func TestTunnelTakesFourFiles(t *testing.T) {
	files := map[string]string{}
	var touched []string
	for path, line := range exerciseLines {
		text, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			t.Fatal(err)
		}
		files[path] = strings.Replace(string(text), line[0], line[1]+line[0], 1)
		if files[path] == string(text) {
			t.Fatalf("%s has no %q", path, line[0])
		}
		touched = append(touched, path)
	}
	files["modes/modes.go"] = strings.Replace(files["modes/modes.go"], "\t\"labnet/modes/hostgw\"\n", "\t\"labnet/modes/geneve\"\n\t\"labnet/modes/hostgw\"\n", 1)
	err := filepath.WalkDir(exercise, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name := strings.TrimPrefix(path, exercise+"/")
		files[name] = string(text)
		touched = append(touched, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	touched = slices.DeleteFunc(touched, func(p string) bool { return p == "modes/modes.go" || strings.HasPrefix(p, "modes/geneve/") })
	if len(touched) > 4 {
		t.Errorf("a tunnel takes %d files besides its mode: %v", len(touched), touched)
	}
	dir := t.TempDir()
	program := buildWith(t, dir, files)
	run := func(args ...string) (string, error) {
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if err := os.WriteFile(filepath.Join(dir, "geneve.hcl"), []byte(exerciseLab), 0o644); err != nil {
		t.Fatal(err)
	}
	// A user who cannot ask the kernel is shown the plan for one that has everything.
	plan := exec.Command(program, "plan", filepath.Join(dir, "geneve.hcl"), "--mode", "geneve", "--shell")
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		plan.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	text, err := plan.CombinedOutput()
	script := string(text)
	device := "ip -n faults-geneve.node1 link add name geneve1 mtu 1450 txqueuelen 1000 address "
	if err != nil || !strings.Contains(script, device) || !strings.Contains(script, " type geneve id 7 remote ") {
		t.Fatalf("the plan has no %q: %v\n%s", device, err, script)
	}
	needRoot(t)
	if has, err := testbed.Probe(false); err != nil || !has["ebpf"] {
		t.Fatalf("the kernel cannot be asked: %v, %v", has, err)
	}
	if out, err := run("doctor"); !strings.Contains(out, "✓ geneve") {
		if err != nil || !strings.Contains(out, `modprobe geneve`) {
			t.Errorf("of a kernel without GENEVE doctor says %v\n%s", err, out)
		}
		if out, err := run("up", "geneve.hcl", "--mode", "geneve"); err == nil || !strings.Contains(out, "The kernel has no geneve") {
			t.Errorf("up says %v\n%s", err, out)
		}
		return
	}
	t.Cleanup(func() { run("down", "faults-geneve") })
	for _, step := range []struct{ args, says string }{
		{"up geneve.hcl --mode vxlan", "is up in mode vxlan"},
		{"up geneve.hcl --mode geneve", "is up in mode geneve"},
		{"up geneve.hcl --mode geneve", "nothing to change"},
		{"check faults-geneve", "does what it promises"},
	} {
		if out, err := run(strings.Fields(step.args)...); err != nil || !strings.Contains(out, step.says) {
			t.Fatalf("%s: %v\n%s", step.args, err, out)
		}
	}
	for _, damage := range []string{"link del geneve1", "link add geneve9 type geneve id 9 remote 192.0.2.1"} {
		if out, err := exec.Command("ip", strings.Fields("-n faults-geneve.node1 "+damage)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", damage, err, out)
		}
		if out, err := run("up", "geneve.hcl", "--mode", "geneve"); err != nil || strings.Contains(out, "nothing to change") {
			t.Errorf("%s is not seen: %v\n%s", damage, err, out)
		}
	}
	if out, err := run("check", "faults-geneve"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
