package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"labnet/lab"
	"labnet/lab/report"
)

func TestSweepWords(t *testing.T) {
	for word, want := range map[string]string{
		"mtu": "name=value", "=1,2": "name=value", "mtu=": "name=value", "mtu=1,,2": "name=value", "mtu=1500": "no sweep", "mtu=1500,1500": "there twice",
		"firewall=on,of": "on or off",
	} {
		if _, err := parseSweeps([]string{word}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--sweep %s: %v", word, err)
		}
	}
	if _, err := parseSweeps([]string{"mtu=1500,9000", "mtu=1,2"}); err == nil || !strings.Contains(err.Error(), "swept twice") {
		t.Errorf("error %v", err)
	}
	all, err := parseSweeps([]string{"mtu=1500,9000", "firewall=on,off"})
	if err != nil || len(all) != 2 || !slices.Equal(all[0].Values, []string{"1500", "9000"}) {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestSettings: a variable takes what is swept, every switch what no variable does, and what was given besides stays given.
func TestSettings(t *testing.T) {
	text := `lab "swept" {}
variable "count" { default = 2 }
variable "pods" { default = 1 }
switch "lan" { subnet = "192.168.7.0/24" }
switch "other" {
  subnet = "192.168.8.0/24"
  mtu    = 1400
}
node "n" {
  count = var.count
  on "lan" {}
  pods = var.pods
}
network "pods" { cidr = "10.42.0.0/16" }
`
	var said bytes.Buffer
	c := &command{err: &output{Writer: &said}}
	s := &source{name: "swept.hcl", files: []lab.Source{{Name: "swept.hcl", Text: []byte(text)}}}
	s.inputs.Vars = map[string]string{"pods": "2"}
	all, err := c.settings(s, []sweep{{"count", []string{"2", "3"}}, {"mtu", []string{"1500", "9000"}}, {lab.Firewall, []string{"on", "off"}}})
	if err != nil || len(all) != 8 {
		t.Fatalf("%v, %d settings\n%s", err, len(all), said.String())
	}
	for i, at := range all {
		nodes, mtu, bare := 2+i/4, []int{1500, 9000}[i/2%2], i%2 == 1
		if len(at.lab.Machines) != nodes || len(at.lab.Machines[0].Pods) != 2 || at.lab.Switches[0].MTU != mtu || at.lab.Switches[1].MTU != mtu || at.bare != bare {
			t.Errorf("%s: %d nodes, %d pods, MTU %d, bare %v", at.values, len(at.lab.Machines), len(at.lab.Machines[0].Pods), at.lab.Switches[0].MTU, at.bare)
		}
	}
	if got := all[5].title("vxlan"); got != "vxlan count=3 mtu=1500 firewall=off" {
		t.Error(got)
	}
	for name, want := range map[string]string{"colour": `no attribute "colour"`, "mtu": "bytes", "wire": "--wire"} {
		said.Reset()
		_, err := c.settings(s, []sweep{{name, []string{"1", "2"}}})
		if err == nil || !strings.Contains(said.String()+fmt.Sprint(err), want) {
			t.Errorf("%s: %v\n%s", name, err, said.String())
		}
	}
}

// TestSweep compares a mode at two MTUs, with its rules and without.
func TestSweep(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "tiny.hcl")
	if err := os.WriteFile(file, []byte(tiny), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "compare", file, "--quick", "--rounds", "1", "--modes", "host-gw", "--measures", "path-cost",
		"--sweep", "mtu=1500,9000", "--sweep", "firewall=on,off", "-o", "json", "--out", filepath.Join(dir, "out"))
	cmd.Env = append(os.Environ(), asLab+"=1")
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	var r report.Results
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	want := []string{"host-gw mtu=1500 firewall=on", "host-gw mtu=1500 firewall=off", "host-gw mtu=9000 firewall=on", "host-gw mtu=9000 firewall=off"}
	if !slices.Equal(r.Modes, want) || len(r.Swept) != 4 || r.Swept[3] != (report.Swept{Mode: want[3], Of: "host-gw", Values: "mtu=9000 firewall=off"}) || r.Twin.Mode != want[0]+" again" {
		t.Errorf("modes %q, swept %+v, twin %+v", r.Modes, r.Swept, r.Twin)
	}
	for i, mode := range want {
		if mss := r.PathCost.MSS[mode]; mss != []int{1448, 8948}[i/2] {
			t.Errorf("%s has the MSS %d", mode, mss)
		}
	}
	for i, mode := range want {
		if len(r.Traits) != 4 || r.Traits[i].Mode != mode || r.Traits[i].MTU != []int{1500, 9000}[i/2] {
			t.Errorf("what is known of the modes is %+v", r.Traits)
		}
	}
	if r.RuleFree == nil || r.RuleFree.Of != want[0] {
		t.Errorf("the control without rules is %+v", r.RuleFree)
	}
}

// TestSweepOfDefinition: a comparison sweeps what its definition says, or what the command line does instead.
func TestSweepOfDefinition(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "swept.hcl")
	text := tiny + `
compare {
  modes = ["host-gw"]
  sweep "mtu" {
    values = [1500, 1400]
  }
}
`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"host-gw mtu=1500", "host-gw mtu=1400"}},
		{[]string{"--sweep", "none"}, []string{"host-gw"}},
		{[]string{"--sweep", "firewall=on,off"}, []string{"host-gw firewall=on", "host-gw firewall=off"}},
	} {
		out := filepath.Join(dir, fmt.Sprint(i))
		must(t, append([]string{"compare", file, "--measures", "tcp-rr", "--paths", "cross-node", "--wire", "bare", "--rounds", "1", "--window", "20ms", "--out", out}, tt.args...)...)
		r, err := report.Read(out)
		if err != nil || !slices.Equal(r.Modes, tt.want) {
			t.Errorf("%v: %v, %v", tt.args, r.Modes, err)
		}
	}
}

// TestShippedSweep: the lab of sweeps is compared as it stands, and has a curve for each of its modes.
func TestShippedSweep(t *testing.T) {
	needRoot(t)
	out := filepath.Join(t.TempDir(), "out")
	must(t, "compare", "sweep", "--quick", "--rounds", "1", "--out", out)
	r, err := report.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range r.Growth {
		var at []string
		for _, p := range g.Points {
			at = append(at, p.Value)
		}
		got = append(got, fmt.Sprintf("%s by %s: %s, %s", g.Mode, g.Sweep, strings.Join(at, " "), g.Shape))
	}
	if want := []string{"host-gw by nodes: 2 8 32, too few rounds", "vxlan by nodes: 2 8 32, too few rounds"}; !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

// TestServicesScale: the lab of many services is compared with each proxy, at each number of services.
func TestServicesScale(t *testing.T) {
	needRoot(t)
	out := filepath.Join(t.TempDir(), "out")
	must(t, "compare", "services-scale", "--wire", "nic", "--rounds", "1", "--sweep", "services=2,20", "--out", out)
	r, err := report.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, g := range r.Growth {
		if g.Sweep == "services" {
			if what := g.Measure + " " + g.Params; !slices.Contains(got[g.Mode], what) {
				got[g.Mode] = append(got[g.Mode], what)
			}
		}
	}
	want := []string{"service-setup to=pod", "service-setup to=node", "service-setup to=first", "service-setup to=middle", "service-setup to=last",
		"service-rr to=pod", "service-rr to=first", "service-rr to=last",
		"service-programming what=all", "service-programming what=one-more", "service-programming what=an-endpoint-less", "service-programming what=objects"}
	for _, mode := range []string{"host-gw proxy=nftables", "host-gw proxy=iptables"} {
		if !slices.Equal(got[mode], want) {
			t.Errorf("curves of %s: %q", mode, got[mode])
		}
	}
	for args, says := range map[string]string{
		"three-node --measures service-setup":     "measures of services need a service",
		"services-scale --proxies nftables,xdp":   "Unknown proxy",
		"three-node --proxies nftables,iptables":  "no services",
		"services-scale --proxies ipt --rounds 1": "Unknown proxy",
	} {
		cmd := exec.Command(os.Args[0], append(append([]string{"compare"}, strings.Fields(args)...), "--out", filepath.Join(t.TempDir(), "none"))...)
		cmd.Env = append(os.Environ(), asLab+"=1")
		if said, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(said), says) {
			t.Errorf("compare %s: %v\n%s", args, err, said)
		}
	}
}
