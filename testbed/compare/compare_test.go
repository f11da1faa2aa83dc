package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/modes"
)

const twoNodes = `
lab "two" {}
switch "lan" { subnet = "192.168.77.0/24" }
node "node" {
  count = 2
  on "lan" {}
  pods = %d
}
network "pods" {
  cidr = "10.42.0.0/16"
  mode = "vxlan"
}
`

// planned plans an instance of the lab; the instances of one test have names of their own.
func planned(t *testing.T, mode string, pods int) *plan.Plan {
	t.Helper()
	l, _, diags := lab.Load("two.hcl", fmt.Appendf(nil, twoNodes, pods), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	instances++
	p, diags := plan.Build(l, plan.Options{Instance: fmt.Sprintf("ms-%d-%d", os.Getpid(), instances), Mode: mode, Modes: modes.All, Features: plan.AllFeatures()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

var instances int

// up builds what the plan prints, with the tools that it names: the comparison is given what others have built.
func up(t *testing.T, mode string) Variant {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	p := planned(t, mode, 2)
	t.Cleanup(func() {
		for _, name := range p.State.Namespaces() {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	})
	var lines []string
	for _, o := range p.State.Objects() {
		lines = append(lines, o.Add()...)
	}
	sh(t, strings.Join(lines, "\n"))
	return Variant{Mode: mode, Datapath: "kernel", Plan: p}
}

func sh(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-eu", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func tiny(variants ...Variant) Config {
	return Config{Lab: "two", Variants: variants, Rounds: 2, Seed: 7, Warmup: 10 * time.Millisecond, Window: 40 * time.Millisecond, Argv: []string{"lab", "compare"}}
}

func silent(string, int, int) {}

func TestRun(t *testing.T) {
	cfg := tiny(up(t, "host-gw"), up(t, "vxlan"))
	var steps []string
	r, err := Run(t.Context(), cfg, func(step string, number, of int) { steps = append(steps, fmt.Sprintf("%s %d of %d", step, number, of)) })
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Warnings) > 0 || r.Rounds != 2 || r.Asked != 2 || r.Baseline != "host-gw" || r.Machine.Kernel == "" || r.Machine.CPUs == 0 {
		t.Errorf("%+v", r)
	}
	// A stream gives one number, transactions give three.
	if want := 2 * 2 * 3 * 4; len(r.Samples) != want {
		t.Errorf("%d samples, not %d", len(r.Samples), want)
	}
	mss := map[string]int{}
	for _, s := range r.Samples {
		if s.Value <= 0 || s.Congestion != "cubic" || s.Wire != "super" || s.Unit == "" || s.Params == "" || s.Datapath != "kernel" {
			t.Errorf("%+v", s)
		}
		if s.Path == "cross-node" {
			mss[s.Mode] = s.MSS
		}
	}
	if mss["host-gw"]-mss["vxlan"] != 50 {
		t.Errorf("the MSS of the modes, which is the MTU less the same headers, is %v", mss)
	}
	for i, want := range []report.Proof{
		{Mode: "host-gw", Wire: "super", OK: true, Encapsulation: "none"},
		{Mode: "vxlan", Wire: "super", OK: true, Encapsulation: "vxlan vni 1, udp port 8472, 192.168.77.2 > 192.168.77.3"},
	} {
		got := r.Proof[i]
		if got.Frames < 20 {
			t.Errorf("%s: %d frames of ten transactions", got.Mode, got.Frames)
		}
		if got.Frames = 0; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if steps[0] != "proving on the underlay 1 of 2" || steps[2] != "measuring 1 of 24" || steps[len(steps)-1] != "measuring 24 of 24" {
		t.Errorf("steps %q", steps)
	}
	if want := (report.Endpoints{Mode: "host-gw", Path: "cross-node", From: "node1/p1", To: "node2/p1", FromAddress: "10.42.0.2", ToAddress: "10.42.1.2"}); !slices.Contains(r.Endpoints, want) {
		t.Errorf("endpoints %+v", r.Endpoints)
	}
}

// A mode that is not on the wire what it promises makes the comparison fail before anything is measured.
func TestSabotage(t *testing.T) {
	hostgw, vxlan := up(t, "host-gw"), up(t, "vxlan")
	a, b := vxlan.Plan.Cluster.Nodes[0], vxlan.Plan.Cluster.Nodes[1]
	for _, pair := range [][2]*plan.Node{{a, b}, {b, a}} {
		sh(t, fmt.Sprintf("ip -n %s route replace %s via %s dev eth0", pair[0].Namespace, pair[1].PodCIDRs[0], pair[1].Uplink().Addresses[0].Addr()))
	}
	r, err := Run(t.Context(), tiny(hostgw, vxlan), silent)
	if err == nil || !strings.Contains(err.Error(), "mode vxlan") || !strings.Contains(err.Error(), "not encapsulated (10.42.") {
		t.Errorf("error %v", err)
	}
	if r == nil || len(r.Samples) > 0 || len(r.Proof) != 2 || !r.Proof[0].OK || r.Proof[1].OK || r.Proof[1].Frames == 0 {
		t.Fatalf("%+v", r)
	}
}

// A way that is broken altogether is said to be, with its ends.
func TestBrokenPath(t *testing.T) {
	v := up(t, "host-gw")
	sh(t, fmt.Sprintf("ip -n %s route replace prohibit %s", v.Plan.Cluster.Nodes[0].Namespace, v.Plan.Cluster.Nodes[1].PodCIDRs[0]))
	if _, err := Run(t.Context(), tiny(v), silent); err == nil || !strings.Contains(err.Error(), "connect 10.42.0.2 to 10.42.1.2") {
		t.Errorf("error %v", err)
	}
}

func TestCancelKeepsFinishedRounds(t *testing.T) {
	v := up(t, "host-gw")
	cfg := tiny(v)
	cfg.Rounds, cfg.Measures = 1000, []string{"tcp-rr"}
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled time.Time
	r, err := Run(ctx, cfg, func(step string, number, _ int) {
		if step == "measuring" && number == 3*2+2 { // in the third round
			cancelled = time.Now()
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(cancelled); took > 200*time.Millisecond {
		t.Errorf("it ended %s after it was cancelled", took)
	}
	if r.Rounds != 2 || len(r.Order) != 2 || len(r.Samples) != 2*3*3 || len(r.Summary) == 0 {
		t.Errorf("%d rounds, %d orders, %d samples", r.Rounds, len(r.Order), len(r.Samples))
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ctx, cfg, silent); r != nil || err == nil || !strings.Contains(err.Error(), "before a round was finished") {
		t.Errorf("%v, %v", r, err)
	}
}

// The seed decides the order of the modes, and nothing else does.
func TestOrderIsTheSeeds(t *testing.T) {
	v := up(t, "host-gw")
	variants := []Variant{v, v, v, v}
	for i := range variants {
		variants[i].Mode = fmt.Sprintf("m%d", i)
	}
	orders := func(seed uint64) string {
		cfg := tiny(variants...)
		cfg.Seed, cfg.Rounds, cfg.Measures, cfg.Warmup, cfg.Window = seed, 3, []string{"tcp-rr"}, time.Microsecond, time.Microsecond
		r, err := Run(t.Context(), cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.Order)
	}
	if a, b, c := orders(1), orders(1), orders(2); a != b || a == c {
		t.Errorf("seed 1: %s, again: %s, seed 2: %s", a, b, c)
	}
}

func TestComplete(t *testing.T) {
	var c Config
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	if c.Rounds != 10 || c.Seed == 0 || !slices.Equal(c.Paths, Paths) || !slices.Equal(c.Measures, Measures) {
		t.Errorf("%+v", c)
	}
	c = Config{Quick: true, Paths: []string{"cross-node"}}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	if c.Rounds != 3 || !slices.Equal(c.Paths, []string{"host-host", "cross-node"}) {
		t.Errorf("%+v", c)
	}
	for _, c := range []Config{{Paths: []string{"cross-nod"}}, {Measures: []string{"udp"}}, {Rounds: -1}} {
		if err := c.Complete(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, err := Run(t.Context(), Config{}, silent); err == nil {
		t.Error("nothing is compared")
	}
}

// Three modes, three paths and two measures must be quick.
func TestQuickIsQuick(t *testing.T) {
	c := Config{Quick: true, Variants: make([]Variant, 3)}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	if took := Estimate(c); took > 35*time.Second {
		t.Errorf("--quick takes %s", took)
	}
}

func TestRoutes(t *testing.T) {
	one := planned(t, "host-gw", 1)
	all := routes(one.Cluster)
	if why := all.missing(sameNode, one); why != "no node has two pods" {
		t.Errorf("nodes of one pod: %q", why)
	}
	if why := all.missing(crossNode, one); why != "" {
		t.Errorf("across: %s", why)
	}
	two := planned(t, "host-gw", 2)
	all = routes(two.Cluster)
	got := ""
	for _, path := range Paths {
		got += fmt.Sprintf("%s %s > %s; ", path, all[path].from.Title, all[path].to.Title)
	}
	if want := "host-host node1 > node2; same-node node1/p1 > node1/p2; cross-node node1/p1 > node2/p1; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
