package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestWalls keeps the packages apart, each wall with its reason.
func TestWalls(t *testing.T) {
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
	list.Dir = "../.."
	var said strings.Builder
	list.Stderr = &said
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		imports[words[0]] = words[1:]
	}
	kernel := []string{"github.com/vishvananda/", "github.com/containernetworking/", "github.com/safchain/ethtool", "github.com/cilium/"}
	walls := []struct {
		from, except string
		to           []string
		why          string
	}{
		{"labnet/lab", "labnet/lab/", []string{"labnet/"}, "the language knows nothing of what is done with a lab"},
		{"labnet/lab/plan", "", []string{"labnet/modes", "labnet/testbed", "os", "os/exec", "net", "syscall"}, "planning is pure"},
		{"labnet/lab/nft", "", []string{"labnet/", "os", "os/exec", "net", "syscall"}, "a firewall is values"},
		{"labnet/lab/packet", "", []string{"labnet/", "os", "os/exec", "syscall"}, "a frame is bytes"},
		{"labnet/lab/trace", "", []string{"labnet/modes", "labnet/testbed", "os", "os/exec", "net", "syscall"}, "a walk is values"},
		{"labnet/lab/graph", "", []string{"labnet/modes", "labnet/testbed", "os", "os/exec", "net", "syscall"}, "a picture is made of states alone"},
		{"labnet/lab/report", "", []string{"labnet/modes", "labnet/testbed", "net", "syscall"}, "a report is made from recorded samples alone"},
		{"labnet/faults", "", []string{"labnet/testbed", "labnet/cmd", "os", "os/exec", "net", "syscall"}, "a fault is data"},
		{"labnet/modes", "", []string{"labnet/testbed", "os", "os/exec", "net", "syscall"}, "a mode computes and touches no kernel"},
		{"labnet/testbed/traffic", "", append([]string{"labnet/"}, kernel...), "the engine is handed its sockets"},
		{"labnet/testbed", "labnet/testbed/agent", []string{"labnet/modes"}, "the kernel side knows no mode; an agent reads what its mode writes"},
		{"labnet/testbed", "", []string{"labnet/cmd", "os/exec"}, "the kernel side starts no program but the user's"},
		{"labnet", "labnet/testbed/agent/bgp", []string{"github.com/osrg/gobgp"}, "only the speaker knows what BGP is spoken with"},
		{"labnet", "labnet/testbed/cni", []string{"github.com/containernetworking/"}, "only one package knows how plugins are called"},
		{"labnet/cmd", "", kernel, "the verbs only call packages in order"},
		{"labnet/lab", "", kernel, "only testbed touches the kernel"},
		{"labnet/modes", "", kernel, "only testbed touches the kernel"},
	}
	// The command of exec and shell; a user's CNI plugins; the user's holder, and nsenter, since no Go program can join a user namespace; iperf3, where
	// it is asked for as a witness; tests' witnesses; QEMU.
	starts := map[string]string{
		"labnet/testbed/holder":          "os/exec",
		"labnet/testbed/agent/supervise": "os/exec",
		"labnet/testbed/cni":             "os/exec",
		"labnet/testbed":                 "os/exec", "labnet/testbed/compare": "os/exec", "labnet/testbed/suite": "os/exec", "labnet/testbed/vm": "os/exec",
	}
	for pkg, list := range imports {
		for _, w := range walls {
			if pkg != w.from && !strings.HasPrefix(pkg, w.from+"/") || w.except != "" && strings.HasPrefix(pkg, w.except) {
				continue
			}
			for _, imp := range list {
				for _, to := range w.to {
					hit := imp == to || strings.HasSuffix(to, "/") && strings.HasPrefix(imp, to) || strings.HasPrefix(imp, to+"/")
					if to == "net" {
						hit = imp == "net" || strings.HasPrefix(imp, "net/") && imp != "net/netip"
					}
					if hit && starts[pkg] != imp && !strings.HasPrefix(imp, w.from+"/") {
						t.Errorf("%s imports %s: %s", pkg, imp, w.why)
					}
				}
			}
		}
	}
}
