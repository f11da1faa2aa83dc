package bgp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/testbed/agent/bgp"
)

// speakerEnv makes the test program a speaker: it is the file of its configuration. It says "ready" on its standard output, and
// answers each line of its standard input with its status.
const speakerEnv = "LAB_TEST_BGP_SPEAKER"

func TestMain(m *testing.M) {
	if file := os.Getenv(speakerEnv); file != "" {
		if err := speak(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func speak(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var cfg bgp.Config
	if err := json.Unmarshal(text, &cfg); err != nil {
		return err
	}
	level := slog.LevelInfo
	if os.Getenv("LAB_TEST_BGP_DEBUG") != "" {
		level = slog.LevelDebug - 4
	}
	s, err := bgp.New(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			json.NewEncoder(os.Stdout).Encode(s.Status())
		}
	}()
	return s.Run(ctx, func() { fmt.Println("ready") })
}

// fabric is a bridge with nodes on it:
//
//	bg-sw  br0 192.168.205.1/24 ── eth0 192.168.205.3 bg-n1, .4 bg-n2, …
type fabric struct {
	testing.TB
	dir    string
	remove func() // its namespaces; at the end of the test at the latest
}

const fabricSwitch = "bg-sw"

func node(i int) string     { return fmt.Sprintf("bg-n%d", i) }
func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 205, byte(2 + i)}) }
func block(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i - 1), 0}), 24)
}

var (
	pods = netip.MustParsePrefix("10.42.0.0/16")
	lan  = netip.MustParseAddr("192.168.205.1")
)

// newFabric builds the namespaces of n nodes, with a default route each, and removes them when the test is over.
func newFabric(t testing.TB, n int) *fabric {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	f := &fabric{TB: t, dir: t.TempDir()}
	names := []string{fabricSwitch}
	for i := 1; i <= n; i++ {
		names = append(names, node(i))
	}
	for _, ns := range names {
		exec.Command("ip", "netns", "del", ns).Run() // of a run that was killed
	}
	var all strings.Builder
	for _, ns := range names {
		fmt.Fprintln(&all, "netns add", ns)
	}
	f.batch("", all.String())
	f.remove = sync.OnceFunc(func() {
		var all strings.Builder
		for _, ns := range names {
			fmt.Fprintln(&all, "netns del", ns)
		}
		f.batch("", all.String())
	})
	t.Cleanup(f.remove)
	f.batch(fabricSwitch, "link set lo up\nlink add br0 type bridge\nlink set br0 up\naddr add 192.168.205.1/24 dev br0\n")
	for i := 1; i <= n; i++ {
		f.batch(fabricSwitch, fmt.Sprintf("link add p%d type veth peer name eth0 netns %s\nlink set p%d master br0 up\n", i, node(i), i))
		f.batch(node(i), fmt.Sprintf("link set lo up\nlink set eth0 up\naddr add %s/24 dev eth0\nroute add default via %s\n", addr(i), lan))
	}
	return f
}

// batch runs ip commands in a namespace.
func (f *fabric) batch(ns, commands string) {
	f.Helper()
	args := []string{"-batch", "-"}
	if ns != "" {
		args = append([]string{"-n", ns}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("in %q:\n%s%v\n%s", ns, commands, err, out)
	}
}

// routes gives the routes to pods of a namespace, as "ip route" says them.
func (f *fabric) routes(ns string) []string {
	f.Helper()
	out, err := exec.Command("ip", "-n", ns, "route", "show", "root", pods.String()).Output()
	if err != nil {
		f.Fatalf("routes of %s: %v", ns, err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "nexthop") {
			lines[len(lines)-1] += " " + strings.Join(strings.Fields(line), " ")
		} else {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	slices.Sort(lines)
	return lines
}

// learns waits for just these routes to pods.
func (f *fabric) learns(ns string, within time.Duration, want ...string) {
	f.Helper()
	slices.Sort(want)
	var got []string
	if !eventually(within, func() bool { got = f.routes(ns); return slices.Equal(got, want) }) {
		f.Fatalf("%s after %v:\n%s\nwant\n%s", ns, within, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func eventually(within time.Duration, done func() bool) bool {
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// via is how a plain route to the block of a node looks.
func via(i int) string { return fmt.Sprintf("%s via %s dev eth0 proto bgp", block(i), addr(i)) }

// viaAll is what node self of a full mesh of n learns.
func viaAll(n, self int) []string {
	var want []string
	for i := 1; i <= n; i++ {
		if i != self {
			want = append(want, via(i))
		}
	}
	return want
}

// plain is the configuration of node i that announces its block and installs all others.
func plain(i int, peers ...bgp.Peer) bgp.Config {
	return bgp.Config{
		AS: 64512, RouterID: addr(i), Listen: []netip.Addr{addr(i)},
		Announce: []bgp.Announcement{{Prefix: block(i), NextHop: addr(i)}},
		Peers:    peers,
		Install:  &bgp.Install{Within: []netip.Prefix{pods}, Protocol: unix.RTPROT_BGP},
		Restart:  60,
	}
}

// mesh is the configuration of node i among n that are each other's peers.
func mesh(i, n int) bgp.Config {
	var peers []bgp.Peer
	for j := 1; j <= n; j++ {
		if j != i {
			peers = append(peers, bgp.Peer{Address: addr(j), AS: 64512, Passive: i < j})
		}
	}
	return plain(i, peers...)
}

// reflected are the configurations of n nodes of which the first reflects.
func reflected(i, n int) bgp.Config {
	if i > 1 {
		return plain(i, bgp.Peer{Address: addr(1), AS: 64512})
	}
	var peers []bgp.Peer
	for j := 2; j <= n; j++ {
		peers = append(peers, bgp.Peer{Address: addr(j), AS: 64512, Passive: true, Client: true, ClusterID: netip.MustParseAddr("224.0.0.1")})
	}
	return plain(1, peers...)
}

// process is a speaker at work.
type process struct {
	f    *fabric
	ns   string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	gone sync.Once
}

// launch starts a speaker in a namespace and does not wait for it.
func (f *fabric) launch(ns string, cfg bgp.Config) *process {
	f.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.dir, ns+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		f.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(f.dir, ns+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	p := &process{f: f, ns: ns, cmd: exec.Command("ip", "netns", "exec", ns, self)} // ip becomes the speaker
	p.cmd.Env = append(os.Environ(), speakerEnv+"="+file)
	p.cmd.Stderr = log
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		f.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		p.kill()
		if f.Failed() {
			text, _ := os.ReadFile(log.Name())
			f.Logf("log of %s:\n%s", ns, text)
		}
	})
	return p
}

// ready waits until the speaker listens.
func (p *process) ready() *process {
	p.f.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		text, _ := os.ReadFile(filepath.Join(p.f.dir, p.ns+".log"))
		p.f.Fatalf("%s is not ready: %q %v\n%s", p.ns, line, err, text)
	}
	return p
}

// start starts a speaker and waits until it listens.
func (f *fabric) start(ns string, cfg bgp.Config) *process {
	f.Helper()
	return f.launch(ns, cfg).ready()
}

// kill ends a speaker as "kill -9" does.
func (p *process) kill() {
	p.gone.Do(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
}

func (p *process) status() bgp.Status {
	p.f.Helper()
	fmt.Fprintln(p.in)
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.f.Fatalf("status of %s: %v", p.ns, err)
	}
	var s bgp.Status
	if err := json.Unmarshal(line, &s); err != nil {
		p.f.Fatalf("status of %s: %v", p.ns, err)
	}
	return s
}

// rss is the memory of a speaker in MB: all of it, and what it does not share with the others.
func (p *process) rss() (all, own float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		p.f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var kb float64
		fmt.Sscan(line, &name, &kb)
		switch name {
		case "Rss:":
			all = kb / 1024
		case "Private_Clean:", "Private_Dirty:":
			own += kb / 1024
		}
	}
	return all, own
}

// monitor records what happens to the routes of a namespace. The function that it gives ends it, and tells which routes to pods
// were removed meanwhile.
func (f *fabric) monitor(ns string) (removed func() []string) {
	f.Helper()
	cmd := exec.Command("ip", "-n", ns, "monitor", "route")
	var out record
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	f.Cleanup(end)
	hears := func(probe string) { // all that came before
		f.Helper()
		if !eventually(soon, func() bool {
			f.batch(ns, fmt.Sprintf("route add %s dev lo\nroute del %s dev lo\n", probe, probe))
			return strings.Contains(out.String(), "Deleted "+probe)
		}) {
			f.Fatalf("the monitor of %s does not hear of %s:\n%s", ns, probe, out.String())
		}
	}
	hears("198.51.100.1")
	return func() []string {
		f.Helper()
		hears("198.51.100.2")
		end()
		var lost []string
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "Deleted 10.42.") {
				lost = append(lost, strings.TrimSpace(line))
			}
		}
		return lost
	}
}

// record is what a program has said so far.
type record struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (r *record) Write(text []byte) (int, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.Write(text)
}

func (r *record) String() string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.text.String()
}
