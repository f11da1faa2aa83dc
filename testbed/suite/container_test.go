package suite

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab/plan"
	"labnet/testbed"
)

// contained is a lab with one pod beside another; %s is what runs in them.
const contained = `
lab "contained" {}
switch "lan" { subnet = "192.168.205.0/24" }
node "n" {
  on "lan" {}
  pod "a" {
    serve = ["tcp/8080"]
%s
  }
  pod "b" {
  }
}
network "pods" { cidr = "10.42.0.0/16" }
`

// container writes a block of a shell script.
func container(name, more, script string) string {
	words, _ := json.Marshal([]string{"sh", "-c", script})
	return fmt.Sprintf("container %q {\n command = %s\n%s\n}\n", name, strings.ReplaceAll(string(words), "${", "$${"), more)
}

func containing(t *testing.T, instance string, containers ...string) *plan.Plan {
	t.Helper()
	return planned(t, parse(t, "contained.hcl", fmt.Sprintf(contained, strings.Join(containers, ""))), instance, "host-gw")
}

// eventually waits for what takes a moment.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(what)
		}
	}
}

// prints is what a container of pod a has printed.
func prints(p *plan.Plan, name string) string {
	text, _ := os.ReadFile(testbed.AgentLog(p.Cluster.NamespaceOf("n")+".a", name))
	return string(text)
}

// supervisor returns the agent of a container of pod a, and what it says.
func supervisor(t *testing.T, p *plan.Plan, name string) (a testbed.RunningAgent, said struct {
	State             string
	Process, Restarts int
	Settled           bool
}) {
	t.Helper()
	machine := place(t, p.Cluster.NamespaceOf("n"))
	found, err := testbed.Agents(machine)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range found {
		if a.Name == "run:a:"+name {
			if report, err := a.Ask(machine); err == nil {
				_ = json.Unmarshal(report, &said)
			}
			return a, said
		}
	}
	return testbed.RunningAgent{}, said
}

// running counts the processes whose command has a word that nothing else has.
func runningWith(word string) (n int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if text, _ := os.ReadFile(path); slices.Contains(strings.Split(string(text), "\x00"), word) {
			n++
		}
	}
	return n
}

// TestContainers: containers of a pod have one lo and nobody else's, see the machine's files without its /run and /tmp, no
// processes but their own, have few capabilities, and nothing that they write is found outside.
func TestContainers(t *testing.T) {
	const mark = "/etc/lab-test-of-containers"
	p := containing(t, "contained",
		container("server", "ready = \"tcp/9000\"\n", `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 9000, Listen => 5, ReuseAddr => 1) or die; while ($c = $s->accept) { print $c "own lo\n"; close $c }'`),
		container("client", "", `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 9000) or die $!; print <$s>' || exit 1; sleep 98765`),
		container("looks", "env = { COLOUR = \"blue ${1 + 1}\" }\n", `echo mine > `+mark+` && cat `+mark+`; ls -A /run /tmp /var/log | tr '\n' ' '; echo; ls -d /proc/[0-9]* | wc -l
			grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo "$COLOUR $LAB_TARGET"; hostname
			echo 1 > /proc/sys/kernel/domainname; find /proc/acpi /proc/bus /proc/fs /proc/irq /proc/scsi /proc/sys /proc/sysrq-trigger -maxdepth 2 -writable 2>/dev/null | sed "s/^/writes /"; ip link set eth0 down; mknod /tmp/null c 1 3; mount -t tmpfs x /mnt
			cat /etc/hosts; echo done; sleep 98765`),
		container("nobody", "user = \"nobody\"\ncapabilities = [\"NET_ADMIN\"]\n", `id -u; grep CapEff /proc/self/status; ip link set eth0 mtu 1400 && echo changed; ip link set eth0 mtu 1500; echo done; sleep 98765`),
	)
	if _, err := testbed.Up(t.Context(), p, testbed.Record{Instance: p.Cluster.Name, Names: p.Cluster.Names()}, testbed.Watch{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client gets nothing: "+prints(p, "client"), func() bool { return strings.Contains(prints(p, "client"), "own lo") })
	if _, err := dial(t, place(t, p.Cluster.NamespaceOf("n")+".b"), "tcp4", "127.0.0.1:9000", patience); err == nil {
		t.Error("another pod has the same lo")
	}
	eventually(t, "looks does not end: "+prints(p, "looks"), func() bool { return strings.Contains(prints(p, "looks"), "done") })
	text := prints(p, "looks")
	for _, want := range []string{"mine\n", "/run:  /tmp:  /var/log:", "CapEff:\t00000000000024fb\n", "NoNewPrivs:\t1\n", "blue 2 n/a\n", "n-a\n", "10.42.0.2\ta.n\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not see %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "denied") + strings.Count(text, "permitted") + strings.Count(text, "Read-only"); n < 4 {
		t.Errorf("only %d of 4 were forbidden:\n%s", n, text)
	}
	if strings.Contains(text, "writes /proc") {
		t.Errorf("it may write what is the whole machine's:\n%s", text)
	}
	var processes int
	if _, err := fmt.Sscan(text[strings.Index(text, "/var/log:")+len("/var/log:"):], &processes); err != nil || processes > 6 {
		t.Errorf("it sees %d processes, %v", processes, err)
	}
	if _, err := os.Stat(mark); err == nil {
		os.Remove(mark)
		t.Error("what it writes is on the machine")
	}
	eventually(t, "nobody does not end", func() bool { return strings.Contains(prints(p, "nobody"), "done") })
	if text := prints(p, "nobody"); !strings.HasPrefix(text, "65534\n") || !strings.Contains(text, "CapEff:\t0000000000001000\n") || !strings.Contains(text, "changed") {
		t.Errorf("nobody with NET_ADMIN says %q", text)
	}
	settled(t, p)
}

// TestContainersMisbehave: whatever a program does, its supervisor holds, its log and its files are bounded, and down ends all.
func TestContainersMisbehave(t *testing.T) {
	p := containing(t, "misbehaves",
		container("exits", "", "exit 3"),
		container("job", "restart = \"never\"\n", "exit 0"),
		container("fails", "restart = \"never\"\n", "sleep 0.3; exit 1"),
		container("hangs", "ready = \"tcp/9999\"\n", "exec sleep 98764"),
		container("deaf", "", "trap '' TERM INT HUP; while :; do sleep 98763; done"),
		container("forks", "", "for i in 1 2 3 4 5; do (setsid sleep 98762 &) ; done; exec sleep 98762"),
		container("fills", "", "dd if=/dev/zero of=/tmp/lab-fills bs=1M count=100 2>&1; dd if=/dev/zero of=/lab-fills bs=1M count=200 2>&1; echo done; exec sleep 98761"),
		container("clutters", "", "for d in /run /dev /dev/shm /root; do i=0; while [ $i -lt 100000 ] && true > $d/f$i; do i=$((i+1)); done; done 2>&1; echo done; exec sleep 98758"),
		container("prints", "", "head -c 100000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo done; exec sleep 98760"),
	)
	if err := testbed.Apply(t.Context(), pending(t, p), func(plan.Change) {}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a program that exits is not started again", func() bool { _, said := supervisor(t, p, "exits"); return said.Restarts > 1 })
	eventually(t, "a job does not end", func() bool { _, said := supervisor(t, p, "job"); return said.State == "ended" })
	eventually(t, "one that fails for good is still supervised", func() bool { a, _ := supervisor(t, p, "fails"); return a.PID == 0 })
	if changes := pending(t, p); len(changes) != 1 || changes[0].Object.Key().Name != "run:a:fails" {
		t.Errorf("one program has failed for good, and up would make %v", changes)
	}
	if _, said := supervisor(t, p, "hangs"); said.Settled || said.State != "starting" {
		t.Errorf("one that does not listen is %+v", said)
	}
	for _, name := range []string{"fills", "clutters", "prints"} {
		eventually(t, name+" does not end", func() bool { return strings.HasSuffix(prints(p, name), "done\n") })
	}
	if text := prints(p, "fills"); strings.Count(text, "No space left on device") != 2 {
		t.Errorf("it wrote as much as it liked: %s", text)
	}
	if text := prints(p, "clutters"); strings.Count(text, "No space left on device") != 4 {
		t.Errorf("it made as many files as it liked: %s", text)
	}
	for _, path := range []string{"/tmp/lab-fills", "/lab-fills"} {
		if _, err := os.Stat(path); err == nil {
			os.Remove(path)
			t.Errorf("%s is on the machine", path)
		}
	}
	logs, _ := filepath.Glob("/run/lab/" + p.Cluster.Name + "/n.a.prints.log*")
	for _, path := range logs {
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s has %d bytes", path, info.Size())
		}
	}
	if len(logs) != 2 {
		t.Errorf("its logs are %v", logs)
	}
	if n := runningWith("98762"); n != 6 {
		t.Errorf("%d processes of six run", n)
	}
	start := time.Now()
	removed(t, p)
	t.Logf("down took %v", time.Since(start))
	eventually(t, "something outlives its lab", func() bool {
		return runningWith("98758")+runningWith("98760")+runningWith("98761")+runningWith("98762")+runningWith("98763")+runningWith("98764") == 0
	})
}

// TestContainersAreKilled: whoever is killed, nothing is left running that nobody supervises, and up completes what is missing.
func TestContainersAreKilled(t *testing.T) {
	p := containing(t, "killed", container("app", "", "sleep 98759 & sleep 98759"))
	up(t, p)
	eventually(t, "it does not run", func() bool { return runningWith("98759") == 2 })
	a, said := supervisor(t, p, "app")
	if err := unix.Kill(a.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a program outlives its supervisor", func() bool { return runningWith("98759") == 0 })
	if changes := pending(t, p); len(changes) != 1 {
		t.Fatalf("up would make %v", changes)
	}
	up(t, p)
	eventually(t, "up does not start it again", func() bool { return runningWith("98759") == 2 })

	_, said = supervisor(t, p, "app")
	if err := unix.Kill(said.Process, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its supervisor does not start it again", func() bool {
		_, now := supervisor(t, p, "app")
		return now.Restarts == 1 && now.State == "running" && runningWith("98759") == 2
	})
	sh(t, p, "ip netns del %s.n.a")
	up(t, p)
	eventually(t, "it does not run in the pod's new namespace", func() bool { _, now := supervisor(t, p, "app"); return now.State == "running" && now.Restarts == 2 })
	removed(t, p)
	eventually(t, "it outlives its lab", func() bool { return runningWith("98759") == 0 })
}

// TestDaemonOfOnesOwn: the routes of a daemon that a definition runs are its own, and no drift; those of nobody are.
func TestDaemonOfOnesOwn(t *testing.T) {
	bird, err := exec.LookPath("bird")
	if err != nil {
		t.Skip("bird is not installed")
	}
	text, err := os.ReadFile("testdata/bird.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "lab-daemon-") // a program sees that, and not /tmp
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	conf := filepath.Join(dir, "bird.conf")
	if err := os.WriteFile(conf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	p := planned(t, parse(t, "daemon.hcl", fmt.Sprintf(`
lab "daemon" {}
switch "lan" { subnet = "192.168.205.0/24" }
router "tor" {
  on "lan" { address = "192.168.205.1" }
  process "bird" {
    command      = [%q, "-f", "-c", %q, "-s", "/run/bird.ctl", "-P", "/run/bird.pid"]
    capabilities = ["NET_ADMIN", "NET_RAW"]
  }
}
host "h" {
  on "lan" { address = "192.168.205.3" }
}
`, bird, conf)), "daemon", "")
	up(t, p)
	routes := func() string { return sh(t, p, "ip -n %s.tor route") }
	eventually(t, "bird writes no routes", func() bool {
		text := routes()
		return strings.Contains(text, "198.51.100.0/24 via 192.168.205.3") && strings.Contains(text, "blackhole 203.0.113.0/24")
	})
	settled(t, p)
	sh(t, p, "ip -n %s.tor route add 198.18.0.0/24 via 192.168.205.3")
	if changes := pending(t, p); len(changes) != 1 {
		t.Errorf("up would make %v", changes)
	}
	up(t, p)
	if text := routes(); strings.Contains(text, "198.18.0.0/24") || !strings.Contains(text, "198.51.100.0/24") {
		t.Errorf("after up the routes are\n%s", text)
	}
}
