// Package suite holds what every mode must pass on a real kernel: what it promises is met by real packets, a second up
// changes nothing, it changes from and to every other mode in place, drift is repaired, its state is the real program's,
// and nothing is left behind.
package suite

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"labnet/testbed"
	"labnet/testbed/agent"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/cgroup"
	"labnet/testbed/holder"
)

// Census describes what labs must leave as it was: the user's own links, addresses, routes, rules, firewall, sysctls and
// mounts; and what they must not leave behind: namespaces, folders and processes of labs whose names begin with the
// prefix, and files beside the tests.
func Census(prefix string) string {
	var b strings.Builder
	for _, cmd := range []string{
		"ip -d -o link", "ip -o address", "ip route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule", "nft list ruleset",
		"sysctl -a -e --pattern ^net[.](ipv4|ipv6|core|bridge)[.]", "findmnt -rn -o TARGET,FSTYPE",
	} {
		words := strings.Fields(cmd)
		out, _ := exec.Command(words[0], words[1:]...).Output()
		for line := range strings.Lines(string(out)) {
			// Named namespaces of others, and what changes by itself.
			if strings.HasPrefix(line, testbed.NetnsDir) || strings.Contains(line, "expires") || strings.Contains(line, "nf_conntrack_count") {
				continue
			}
			b.WriteString(line)
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), "\x00"+testbed.AgentArg+"\x00"+prefix) || strings.Contains(string(line), "\x00"+supervise.ContainArg+"\x00"+prefix) {
			fmt.Fprintln(&b, path, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	for _, dir := range []string{testbed.NetnsDir + "/", "/run/lab/", cgroup.Mount() + "/lab-"} {
		names, _ := filepath.Glob(dir + prefix + "*")
		for _, n := range names {
			fmt.Fprintln(&b, n)
		}
	}
	_ = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "testdata" { // golden files may be new
			return filepath.SkipDir
		}
		fmt.Fprintln(&b, path)
		return nil
	})
	return b.String()
}

// Soaked says that tests are to take their long forms, as make soak wants them.
var Soaked = os.Getenv("LAB_SOAK") != ""

// byHand is the argument with which a test stands in for the program in the scripts of plans.
const byHand = "__byhand"

// Main runs tests and fails when they leave something behind. The test is also the programs that the product starts.
func Main(m *testing.M, prefix string) int {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case testbed.EnterArg:
			return testbed.Enter(os.Args[2:])
		case testbed.PluginArg:
			return testbed.Plugin(os.Args[2:])
		case testbed.AgentArg:
			return agent.Main(os.Args[2:])
		case supervise.ContainArg:
			return supervise.Contain(os.Args[2:])
		case supervise.JoinArg:
			return supervise.Join(os.Args[2:])
		case holder.HoldArg:
			return holder.Hold()
		case holder.WithinArg:
			return holder.Within(os.Args[2:])
		case byHand:
			if err := testbed.ByHand(context.Background(), os.Args[2:], os.Stdin); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			return 0
		}
	}
	if os.Geteuid() != 0 {
		return m.Run()
	}
	if os.Getenv("CNI_PATH") == "" {
		os.Setenv("CNI_PATH", PluginFolder())
	}
	before := Census(prefix)
	code := m.Run()
	after := Census(prefix)
	for range 20 { // a killed process may still be on its way out
		if after == before {
			return code
		}
		time.Sleep(100 * time.Millisecond)
		after = Census(prefix)
	}
	fmt.Printf("The tests left something behind, or touched the user's own network:\n%s", difference(before, after))
	return 1
}

// PluginFolder is where make cni puts the real CNI plugins.
func PluginFolder() string {
	at, err := os.Getwd()
	for err == nil && at != "/" {
		if _, none := os.Stat(filepath.Join(at, "go.mod")); none == nil {
			break
		}
		at = filepath.Dir(at)
	}
	return filepath.Join(at, "bin", "cni")
}

func difference(before, after string) string {
	var b strings.Builder
	was := map[string]int{}
	for line := range strings.Lines(before) {
		was[line]++
	}
	for line := range strings.Lines(after) {
		if was[line]--; was[line] < 0 {
			b.WriteString("+ " + line)
		}
	}
	for line, n := range was {
		if n > 0 {
			b.WriteString("- " + line)
		}
	}
	return b.String()
}
