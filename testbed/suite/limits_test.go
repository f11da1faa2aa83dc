package suite

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/modes"
	"labnet/testbed"
	"labnet/testbed/agent/supervise"
	"labnet/testbed/cgroup"
)

// TestLimits: a program that wants more memory than it may is killed, and status says so; one that wants more processes or CPU gets
// no more; what is run beside it takes of the same. Nothing is left of the cgroups, whoever was killed. Where the machine has no
// such cgroups nothing is built.
func TestLimits(t *testing.T) {
	text := fmt.Sprintf(contained, container("hog", `memory = "16MB"`, `echo begins; perl -e '$x = "a" x (64 << 20); sleep 98765'`)+
		container("writes", `memory = "16MB"`, `head -c 40000000 /dev/zero > /tmp/much; sleep 98765`)+
		container("parent", `memory = "16MB"`, `perl -e '$x = "a" x (64 << 20)'; echo "it ended with $?"; sleep 98765`)+
		container("forks", `pids = 5`, `for i in 1 2 3 4 5 6 7 8; do sleep 98765 & done; echo all`)+
		container("spins", `cpus = 0.2`, `while :; do :; done`))
	l := parse(t, "contained.hcl", text)
	f, err := testbed.Probe(false)
	if err != nil {
		t.Fatal(err)
	}
	lacks := 0
	for _, feature := range []plan.Feature{plan.FeatureMemory, plan.FeatureCPU, plan.FeaturePIDs} {
		if !f[feature] {
			lacks++
		}
	}
	if lacks > 0 {
		p, diags := plan.Build(l, plan.Options{Modes: modes.All, Features: f})
		if p != nil || len(diags) < lacks || !strings.Contains(diags[0].Summary, "controller of cgroup v2") || diags[0].Subject == nil {
			t.Errorf("without controllers: %v", diags)
		}
		return
	}
	p := planned(t, l, "limited", "host-gw")
	raise := func(p *plan.Plan) {
		t.Helper()
		if _, err := testbed.Up(t.Context(), p, testbed.Record{Instance: p.Cluster.Name, Names: p.Cluster.Names()}, testbed.Watch{}); err != nil {
			t.Fatal(err)
		}
	}
	raise(p)
	tree := filepath.Join(cgroup.Mount(), "lab-"+p.Cluster.Name)
	read := func(name, file string) string {
		text, _ := os.ReadFile(filepath.Join(tree, "n.a:"+name, file))
		return strings.TrimSpace(string(text))
	}
	eventually(t, "the hog lives", func() bool { return strings.Contains(summary(t, p, "hog"), "killed out of memory: it may have 16MB") })
	eventually(t, "what is written to files in memory does not count", func() bool { return strings.Contains(summary(t, p, "writes"), "killed out of memory") })
	eventually(t, "the hog's parent does not live on", func() bool {
		return strings.Contains(prints(p, "parent"), "it ended with 137") && strings.Contains(summary(t, p, "parent"), "1 of its processes killed out of memory")
	})
	eventually(t, "forks are not refused: "+prints(p, "forks"), func() bool { return strings.Contains(strings.ToLower(prints(p, "forks")), "fork") })
	if strings.Contains(prints(p, "forks"), "all") {
		t.Error("all forks went well")
	}
	eventually(t, "nobody slows what spins: "+read("spins", "cpu.stat"), func() bool {
		_, n, _ := strings.Cut(read("spins", "cpu.stat"), "nr_throttled ")
		throttled, _ := strconv.Atoi(strings.Fields(n + " 0")[0])
		return throttled > 2
	})
	if got := read("spins", "cpu.max"); got != "20000 100000" {
		t.Errorf("cpu.max is %q", got)
	}
	agent, said := supervisor(t, p, "spins")
	out, err := exec.Command("/proc/self/exe", supervise.JoinArg, strconv.Itoa(said.Process), "cat", "/proc/self/cgroup").CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "/lab-"+p.Cluster.Name+"/n.a:spins") {
		t.Errorf("what is run beside it is in %s: %v", out, err)
	}
	if err := unix.Kill(agent.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	other := built(t, parse(t, "contained.hcl", strings.Replace(text, "cpus = 0.2", "cpus = 0.5", 1)), "limited", "host-gw")
	raise(other)
	eventually(t, "the limit is the old one", func() bool { return read("spins", "cpu.max") == "50000 100000" })
	less := built(t, parse(t, "contained.hcl", strings.Replace(text, "cpus = 0.2", "", 1)), "limited", "host-gw")
	raise(less)
	eventually(t, "the cgroup of what is limited no more is left", func() bool { _, err := os.Stat(filepath.Join(tree, "n.a:spins")); return os.IsNotExist(err) })
	agent, _ = supervisor(t, less, "writes")
	if err := unix.Kill(agent.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	removed(t, less)
	if _, err := os.Stat(tree); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", tree, err)
	}
}

// summary is what the supervisor of a container of pod a says of it.
func summary(t *testing.T, p *plan.Plan, name string) string {
	t.Helper()
	machine := place(t, p.Cluster.NamespaceOf("n"))
	found, err := testbed.Agents(machine)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range found {
		if a.Name == "run:a:"+name {
			report, _ := a.Ask(machine)
			return string(report)
		}
	}
	return ""
}
