package compare

import (
	"bytes"
	"context"
	"fmt"
	"io"
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
	"labnet/testbed"
	"labnet/testbed/suite"
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

func TestMain(m *testing.M) { os.Exit(suite.Main(m, "ms-")) }

// planned plans an instance of the lab; the instances of one test have names of their own.
func planned(t testing.TB, mode string, pods int, w Wire) *plan.Plan {
	t.Helper()
	l, _, diags := lab.Load("two.hcl", fmt.Appendf(nil, twoNodes, pods), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return build(t, l, mode, w)
}

func build(t testing.TB, l *lab.Lab, mode string, w Wire) *plan.Plan {
	t.Helper()
	instances++
	p, diags := plan.Build(l, plan.Options{
		Instance: fmt.Sprintf("ms-%d-%d", os.Getpid(), instances), Mode: mode, Modes: modes.All, Features: plan.AllFeatures(), Wire: w.Model, Rate: w.Rate,
	})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

var instances int

// up builds an instance, as nic unless another wire model is given.
func up(t testing.TB, mode string, wires ...Wire) Variant {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	if len(wires) == 0 {
		wires = Wires[:1]
	}
	v := Variant{Mode: mode, Datapath: "kernel"}
	for i, w := range wires {
		if i > 0 {
			instances-- // the same one, otherwise
		}
		v.Plans = append(v.Plans, planned(t, mode, 2, w))
	}
	t.Cleanup(func() {
		if err := down(context.WithoutCancel(t.Context()), v.Plans[0].Cluster.Name); err != nil {
			t.Error(err)
		}
	})
	if err := buildUp(t.Context(), v.Plans[0]); err != nil {
		t.Fatal(err)
	}
	return v
}

func buildUp(ctx context.Context, p *plan.Plan) error {
	found, err := testbed.Read(ctx, p.Cluster.Name, p.State)
	if err != nil {
		return err
	}
	if err := testbed.Apply(ctx, plan.Diff(found, p.State), func(plan.Change) {}); err != nil {
		return err
	}
	return testbed.Settle(ctx, p.State, func(int, int) {})
}

func down(ctx context.Context, name string) error { return testbed.Down(ctx, name, func(string) {}) }

func sh(t testing.TB, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-eu", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func tiny(variants ...Variant) Config {
	return Config{
		Lab: "two", Variants: variants, Set: Quick, Wires: Wires[:1], Paths: []string{hostHost, sameNode, crossNode}, Measures: []string{"tcp-stream", "tcp-rr"},
		Engine: ours, Rounds: 2, Seed: 7, Warmup: 10 * time.Millisecond, Window: 40 * time.Millisecond, Argv: []string{"lab", "compare"}, Bring: buildUp, Down: down,
	}
}

func silent(string, int, int, time.Duration) {}

func TestRun(t *testing.T) {
	cfg := tiny(up(t, "host-gw"), up(t, "vxlan"), up(t, "host-gw"))
	cfg.Variants[2].Mode = "host-gw again"
	cfg.Twin = "host-gw again"
	var steps []string
	kept := 0
	cfg.Keep = func(r *report.Results) error { kept++; return nil }
	r, err := Run(t.Context(), cfg, func(step string, number, of int, _ time.Duration) {
		steps = append(steps, fmt.Sprintf("%s: %d of %d", step, number, of))
	})
	if err != nil {
		t.Fatal(err)
	}
	warnings := slices.DeleteFunc(slices.Clone(r.Warnings), func(w string) bool { return r.Machine.CPUs == 1 && strings.Contains(w, "share one CPU") })
	if len(warnings) > 0 || r.Rounds != 2 || r.Asked != 2 || r.Baseline != "host-gw" || r.Machine.Kernel == "" || r.Machine.CPUs == 0 || kept != 2 ||
		!slices.Equal(r.Modes, []string{"host-gw", "vxlan"}) || r.Twin == nil || r.Twin.Of != "host-gw" || len(r.Retries) > 0 {
		t.Errorf("%+v", r)
	}
	numbers := map[string]int{}
	mss := map[string]int{}
	for _, s := range r.Samples {
		numbers[s.Measure+" "+s.Metric]++
		if s.Congestion != "cubic" || s.Wire != "nic" || s.Unit == "" || s.Params == "" || s.Datapath != "kernel" {
			t.Errorf("%+v", s)
		}
		if s.Path == "cross-node" {
			mss[s.Mode] = s.MSS
		}
	}
	for _, name := range []string{"tcp-stream goodput", "tcp-stream cpu", "tcp-stream retransmits", "tcp-stream drops", "tcp-rr p50", "tcp-rr rate", "tcp-rr cpu", "tcp-rr drops"} {
		always := !strings.HasSuffix(name, "p50") && !strings.HasSuffix(name, "cpu") && !strings.HasSuffix(name, "retransmits") // these need traffic
		if n := numbers[name]; n == 0 || n > 2*3*3 || always && n != 2*3*3 {
			t.Errorf("%d of %s, not one for each round, mode and path", n, name)
		}
	}
	if mss["host-gw"]-mss["vxlan"] != 50 {
		t.Errorf("the MSS of the modes, which is the MTU less the same headers, is %v", mss)
	}
	for i, want := range []report.Proof{
		{Mode: "host-gw", Wire: "nic", OK: true, Encapsulation: "none"},
		{Mode: "vxlan", Wire: "nic", OK: true, Encapsulation: "vxlan vni 1, udp port 8472, 192.168.77.2 > 192.168.77.3"},
	} {
		got := r.Proof[i]
		if got.Frames < 20 {
			t.Errorf("%s: %d frames of ten transactions", got.Mode, got.Frames)
		}
		if longest := got.Sizes[len(got.Sizes)-1]; longest[0] != 1514 || longest[1] < 10 {
			t.Errorf("%s: the longest frames of a stream: %v", got.Mode, longest)
		}
		if got.Mode != want.Mode || got.Wire != want.Wire || got.OK != want.OK || got.Encapsulation != want.Encapsulation {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if steps[0] != "proving on the underlay, wire model nic: 1 of 3" || steps[len(steps)-1] != "round 2 of 2, wire model nic: 36 of 36" {
		t.Errorf("steps %q", steps)
	}
	if want := (report.Endpoints{Mode: "host-gw", Path: "cross-node", From: "node1/p1", To: "node2/p1", FromAddress: "10.42.0.2", ToAddress: "10.42.1.2"}); !slices.Contains(r.Endpoints, want) {
		t.Errorf("endpoints %+v", r.Endpoints)
	}
	seen := map[string]bool{}
	for _, d := range r.Devices {
		seen[d.Mode+" "+d.Machine+" "+d.Device+" "+d.Qdisc] = true
		if d.Device == "eth0" && d.Machine == "node1" && (d.Offloads["tx-tcp-segmentation"] || !d.Offloads["rx-gro"]) {
			t.Errorf("an uplink as of the wire model nic: %+v", d)
		}
	}
	for _, want := range []string{"host-gw node1 eth0 pfifo", "vxlan node2 flannel.1 noqueue", "host-gw node1/p1 eth0 noqueue"} {
		if !seen[want] {
			t.Errorf("no device %s in %v", want, seen)
		}
	}
	if len(r.Passes) != 2 || len(r.Histograms) != numbers["tcp-rr p50"] || len(r.Series) != 2*3*3*2 || len(r.Ceiling) == 0 {
		t.Errorf("%d passes, %d histograms, %d series, %d numbers of the ceiling", len(r.Passes), len(r.Histograms), len(r.Series), len(r.Ceiling))
	}
	for _, c := range r.Checks {
		if !c.OK {
			t.Errorf("%+v", c)
		}
	}
	var out bytes.Buffer
	if err := r.Write(&out, "text", 100, false); err != nil {
		t.Error(err)
	}
}

// TestTwins compares a mode with itself again and again, for real. A difference is found in five of a hundred at most; that
// there are more than six in forty by chance is one case in three hundred.
func TestTwins(t *testing.T) {
	if !suite.Soaked {
		t.Skip("takes minutes: make soak runs this")
	}
	const comparisons = 40
	cfg := tiny(up(t, "vxlan"), up(t, "vxlan"))
	cfg.Variants[1].Mode = "vxlan again"
	cfg.Twin, cfg.Rounds = "vxlan again", 10
	alarms := 0
	for seed := range comparisons {
		cfg.Seed = uint64(seed + 1)
		r, err := Run(t.Context(), cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		judged := slices.DeleteFunc(r.Control, func(c report.Control) bool { return c.Adjusted == nil })
		if len(judged) == 0 {
			t.Fatalf("nothing is said of the twins: %+v", r.Control)
		}
		if slices.ContainsFunc(judged, func(c report.Control) bool { return *c.Adjusted < 0.05 }) {
			alarms++
		}
	}
	if t.Logf("%d of %d comparisons find a difference between twins", alarms, comparisons); alarms > 6 {
		t.Error("that is too often")
	}
}

// TestWires takes a comparison through all wire models. Where the rate is the limit, the ratio is that of the headers.
func TestWires(t *testing.T) {
	wires := []Wire{Wires[2], Wires[3]} // super, shaped
	cfg := tiny(up(t, "host-gw", wires...), up(t, "vxlan", wires...), up(t, "udp", wires...))
	cfg.Wires, cfg.Paths, cfg.Measures, cfg.Rounds = wires, nil, nil, 3
	cfg.Set = Quick
	var wrong []string
	for range 4 { // a machine that is busy elsewhere may not fill the wire, nor a packet
		r, err := Run(t.Context(), cfg, silent)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Expected) != 2 || len(r.Wires) != 2 || !slices.Contains(r.Wires[1].Settings, "qdisc tbf") {
			t.Fatalf("expected %+v, wires %+v", r.Expected, r.Wires)
		}
		wrong = nil
		for _, e := range r.Expected {
			if !e.OK && e.Mode == "vxlan" { // a process may be kept from the CPU
				wrong = append(wrong, fmt.Sprintf("%s: %g, and it should be %g: %s", e.Mode, *e.Measured, e.Ratio, e.Source))
			}
		}
		for _, p := range r.Proof {
			if longest := p.Sizes[len(p.Sizes)-1][0]; p.Mode != "udp" && longest > 1514 != (p.Wire == "super") {
				wrong = append(wrong, fmt.Sprintf("%s, wire model %s: frames of up to %d bytes", p.Mode, p.Wire, longest))
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	t.Error(wrong)
}

// TestPodsOfASmallMTU: what is proved of a mode are frames as full as the pods' MTU lets them be, by an uplink of any name.
func TestPodsOfASmallMTU(t *testing.T) {
	const small = 1300
	text := fmt.Sprintf(twoNodes, 2)
	text = strings.Replace(text, "mode = ", fmt.Sprintf("mtu = %d\n  mode = ", small), 1)
	text = strings.Replace(text, "on \"lan\" {}", "on \"lan\" { name = \"ens192\" }", 1)
	l, _, diags := lab.Load("small.hcl", []byte(text), lab.Inputs{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if l.Network.MTU != small || l.Of(lab.Node)[0].Interfaces[0].Name != "ens192" {
		t.Fatal(text)
	}
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	var variants []Variant
	for _, mode := range []string{"host-gw", "vxlan", "macvlan"} {
		v := Variant{Mode: mode, Datapath: "kernel", Plans: []*plan.Plan{build(t, l, mode, Wires[0])}}
		t.Cleanup(func() {
			if err := down(context.WithoutCancel(t.Context()), v.Plans[0].Cluster.Name); err != nil {
				t.Error(err)
			}
		})
		if err := buildUp(t.Context(), v.Plans[0]); err != nil {
			t.Fatal(err)
		}
		variants = append(variants, v)
	}
	cfg := tiny(variants...)
	cfg.Rounds, cfg.Paths, cfg.Measures = 1, []string{crossNode}, []string{"tcp-stream"}
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	for i, overhead := range []int{0, 50, 0} {
		if p := r.Proof[i]; !p.OK || p.Sizes[len(p.Sizes)-1][0] != small+overhead+14 {
			t.Errorf("%+v", p)
		}
	}
}

// TestEveryMeasure takes each measure once along one path.
func TestEveryMeasure(t *testing.T) {
	cfg := tiny(up(t, "host-gw"))
	cfg.Set, cfg.Rounds, cfg.Window = Full, 1, 100*time.Millisecond
	cfg.Paths, cfg.Measures = []string{crossNode}, nil
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range report.Formats {
		if err := r.Write(io.Discard, format, 100, false); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
	seen := map[string]bool{}
	for _, s := range r.Samples {
		seen[s.Measure+" "+s.Params] = true
		if s.Metric == "goodput" && s.Value <= 0 || s.Metric == "p50" && s.Value <= 0 {
			t.Errorf("%+v", s)
		}
	}
	for _, c := range choices {
		if !seen[c.name+" "+c.params] && !OfServices(c.name) { // there are none here
			t.Errorf("%s %s gave nothing", c.name, c.params)
		}
	}
}

// TestLife builds, cuts and removes instances for what is no traffic.
func TestLife(t *testing.T) {
	cfg := tiny(up(t, "host-gw"), up(t, "vxlan"), up(t, "bgp"))
	cfg.Measures = []string{lifecycle, "tcp-rr"}
	l, _, _ := lab.Load("two.hcl", fmt.Appendf(nil, twoNodes, 2), lab.Inputs{})
	for i := range cfg.Variants {
		v := &cfg.Variants[i]
		v.Life, v.Smaller = build(t, l, v.Mode, Wires[0]), build(t, l.WithoutLastNode(), v.Mode, Wires[0])
	}
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, s := range r.Samples {
		got[strings.TrimSpace(s.Mode+" "+s.Measure+" "+s.Metric+" "+s.Params)] = s.Value
	}
	for what, want := range map[string]float64{
		"host-gw objects routes per=node-added": 1, "host-gw objects FDB entries per=node-added": 0,
		"vxlan objects routes per=node-added": 1, "vxlan objects neighbours per=node-added": 1, "vxlan objects FDB entries per=node-added": 1,
		"bgp objects routes per=node-added": 1, "bgp objects neighbours per=node-added": 0,
		"host-gw memory processes per=node": 0,
	} {
		if v, ok := got[what]; !ok || v != want {
			t.Errorf("%s: %g, %v; want %g", what, v, ok, want)
		}
	}
	for _, what := range []string{
		"vxlan build up nodes=2 pods=4", "vxlan build down nodes=2 pods=4", "bgp memory processes per=node", "vxlan first-packet time", "host-gw convergence time cable-out=500ms",
	} {
		if v := got[what]; v <= 0 {
			t.Errorf("%s: %g", what, v)
		}
	}
	if a, b := got["host-gw build up nodes=2 pods=4"], got["bgp build up nodes=2 pods=4"]; a >= b {
		t.Errorf("host-gw is up after %g s, and bgp, which has to learn its routes, after %g", a, b)
	}
	for _, v := range cfg.Variants {
		for _, p := range []*plan.Plan{v.Life, v.Smaller} {
			if _, err := os.Stat("/run/netns/" + p.Cluster.Nodes[0].Namespace); err == nil {
				t.Errorf("%s is still there", p.Cluster.Nodes[0].Namespace)
			}
		}
	}
}

// TestResume goes on where a comparison was interrupted: the order of its rounds is that of one that was not.
func TestResume(t *testing.T) {
	v := up(t, "host-gw")
	w := v
	w.Mode = "the same"
	cfg := tiny(v, w)
	cfg.Rounds, cfg.Measures, cfg.Paths = 5, []string{"tcp-rr"}, []string{hostHost}
	whole, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Keep = func(r *report.Results) error {
		if r.Rounds == 2 {
			cancel()
		}
		return nil
	}
	part, err := Run(ctx, cfg, silent)
	if err != nil || part.Rounds != 2 {
		t.Fatalf("%v, %+v", err, part)
	}
	cfg.Prior, cfg.Keep = part, nil
	rest, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	if rest.Rounds != 5 || len(rest.Resumed) != 1 || measuredIn(rest) != 5*2 || measuredIn(whole) != 5*2 || fmt.Sprint(rest.Order) != fmt.Sprint(whole.Order) {
		t.Errorf("%d rounds, resumed %v, %d measurements instead of %d, order %v instead of %v", rest.Rounds, rest.Resumed, measuredIn(rest), measuredIn(whole), rest.Order, whole.Order)
	}
}

// measured counts what was measured, by the one number that every measurement of round trips gives.
func measuredIn(r *report.Results) (n int) {
	for _, s := range r.Samples {
		if s.Metric == "rate" {
			n++
		}
	}
	return n
}

// TestWitness holds the engine against iperf3 where that is installed.
func TestWitness(t *testing.T) {
	cfg := Config{Engine: iperf3}
	if err := cfg.Complete(nil); err != nil {
		t.Skip(err)
	}
	theirs := tiny(up(t, "host-gw"))
	theirs.Engine, theirs.Measures, theirs.Paths, theirs.Rounds, theirs.Window = iperf3, cfg.Measures, []string{crossNode}, 1, time.Second
	r, err := Run(t.Context(), theirs, silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Samples {
		if s.Metric == "goodput" && (s.Value <= 0 || s.Congestion != "cubic") {
			t.Errorf("%+v", s)
		}
	}
	if r.Engine != iperf3 || len(r.Ceiling) > 0 {
		t.Errorf("engine %s, ceiling %v", r.Engine, r.Ceiling)
	}
}

// A mode that is not on the wire what it promises makes the comparison fail before anything is measured.
func TestSabotage(t *testing.T) {
	nodes := func(v Variant) [2]*plan.Node { return [2]*plan.Node(v.Plans[0].Cluster.Nodes) }
	for _, tt := range []struct {
		name, mode, want string
		sabotage         func(a, b *plan.Node) string
	}{
		{"a host-gw route under vxlan", "vxlan", "not encapsulated (10.42.", func(a, b *plan.Node) string {
			return fmt.Sprintf("ip -n %s route replace %s via %s dev eth0", a.Namespace, b.PodCIDRs()[0], b.Uplink().Addresses[0].Addr())
		}},
		{"a wrong VNI", "vxlan", "has VNI 99 instead of 1", func(a, b *plan.Node) string {
			return fmt.Sprintf(`mac=$(ip -n %[1]s -o link show flannel.1 | grep -o 'ether [0-9a-f:]*' | cut -d' ' -f2)
			far=$(ip -n %[2]s -o link show flannel.1 | grep -o 'ether [0-9a-f:]*' | cut -d' ' -f2)
			[ -e /tmp/ms-far ] && far=$(cat /tmp/ms-far) && rm /tmp/ms-far || echo $mac >/tmp/ms-far
			ip -n %[1]s link del flannel.1
			ip -n %[1]s link add flannel.1 address $mac mtu 1450 type vxlan id 99 local %[3]s dev eth0 dstport 8472 nolearning
			ip -n %[1]s address add %[4]s/32 dev flannel.1
			ip -n %[1]s link set flannel.1 up
			ip -n %[1]s route add %[5]s via %[6]s dev flannel.1 onlink
			ip -n %[1]s neigh add %[6]s lladdr $far dev flannel.1
			bridge -n %[1]s fdb add $far dst %[7]s dev flannel.1`, a.Namespace, b.Namespace,
				a.Uplink().Addresses[0].Addr(), a.PodCIDRs()[0].Addr(), b.PodCIDRs()[0], b.PodCIDRs()[0].Addr(), b.Uplink().Addresses[0].Addr())
		}},
		{"an offload left on", "host-gw", "the wire model nic allows 1514", func(a, _ *plan.Node) string {
			return fmt.Sprintf("ip netns exec %s ethtool -K eth0 tso on", a.Namespace)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			honest, bad := up(t, "host-gw"), up(t, tt.mode)
			bad.Mode = "sabotaged"
			n := nodes(bad)
			sh(t, tt.sabotage(n[0], n[1]))
			sh(t, tt.sabotage(n[1], n[0]))
			r, err := Run(t.Context(), tiny(honest, bad), silent)
			if err == nil || !strings.Contains(err.Error(), "mode sabotaged") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
			if r == nil || len(r.Samples) > 0 || len(r.Proof) != 2 || !r.Proof[0].OK || r.Proof[1].OK || r.Proof[1].Frames == 0 {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// TestChangedMeanwhile: a lab that is not what it was when the measuring ends is told.
func TestChangedMeanwhile(t *testing.T) {
	v := up(t, "host-gw")
	cfg := tiny(v)
	cfg.Keep = func(*report.Results) error {
		sh(t, fmt.Sprintf("ip -n %s link set eth0 mtu 1400", v.Plans[0].Cluster.Nodes[0].Pods[1].Namespace))
		return nil
	}
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Checks) != 1 || r.Checks[0].OK || !strings.Contains(r.Checks[0].Detail, "mtu 1500") {
		t.Errorf("%+v", r.Checks)
	}
}

// A way that is broken altogether is said to be, with its ends.
func TestBrokenPath(t *testing.T) {
	v := up(t, "host-gw")
	sh(t, fmt.Sprintf("ip -n %s route replace prohibit %s", v.Plans[0].Cluster.Nodes[0].Namespace, v.Plans[0].Cluster.Nodes[1].PodCIDRs()[0]))
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
	r, err := Run(ctx, cfg, func(step string, number, _ int, _ time.Duration) {
		if strings.HasPrefix(step, "round 3") && number == 3*2+2 {
			cancelled = time.Now()
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(cancelled); took > 20*time.Second { // of a thousand rounds
		t.Errorf("it ended %s after it was cancelled", took)
	}
	if r.Rounds != 2 || len(r.Order) != 2 || len(r.Passes) != 2 || len(r.Summary) == 0 {
		t.Errorf("%d rounds, %d orders, %d passes", r.Rounds, len(r.Order), len(r.Passes))
	}
	for _, s := range r.Samples {
		if s.Round > 2 {
			t.Errorf("%+v", s)
		}
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
	if err := c.Complete(nil); err != nil {
		t.Fatal(err)
	}
	if c.Rounds != 8 || c.Generations != Generations || c.Seed == 0 || c.Set != Default || c.Wires[0].Name != "nic" || !c.lives() {
		t.Errorf("%+v", c)
	}
	c = Config{Set: Thorough, Rounds: 20}
	if err := c.Complete(nil); err != nil {
		t.Fatal(err)
	}
	if c.Rounds != 20 || c.Generations != 20 || c.Window != time.Second || c.slices(c.cells()[0]) != 10 {
		t.Errorf("%+v", c)
	}
	c = Config{Set: Quick, Paths: []string{"cross-node"}}
	if err := c.Complete([]string{"bare", "nic"}); err != nil {
		t.Fatal(err)
	}
	if c.Rounds != 3 || c.Wires[0].Name != "bare" || c.lives() {
		t.Errorf("%+v", c)
	}
	for _, c := range []Config{{Paths: []string{"cross-nod"}}, {Measures: []string{"udp"}}, {Rounds: -1}, {Engine: "netperf"}, {Engine: iperf3, Measures: []string{"tcp-rr"}}} {
		if err := c.Complete(nil); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if err := new(Config).Complete([]string{"fibre"}); err == nil || !strings.Contains(err.Error(), "nic, bare, super, shaped") {
		t.Errorf("a wire model that there is not: %v", err)
	}
	if _, err := Run(t.Context(), Config{}, silent); err == nil {
		t.Error("nothing is compared")
	}
}

// TestCells: what was asked for is measured, and the control always is.
func TestCells(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{Set: Quick}, "cross-node tcp-stream streams=1, host-host tcp-rr request=1 response=1, same-node tcp-rr request=1 response=1, cross-node tcp-rr request=1 response=1, cross-node latency-under-load streams=1"},
		{Config{Set: Quick, Measures: []string{"tcp-stream"}}, "host-host tcp-stream streams=1, cross-node tcp-stream streams=1"},
		{Config{Set: Quick, Measures: []string{"udp-rr"}, Paths: []string{"node-pod"}}, "host-host udp-rr request=64 response=64, node-pod udp-rr request=64 response=64"},
		{Config{Set: Quick, Measures: []string{pathCost}}, ""},
		{Config{Set: Default}, "cross-node tcp-stream streams=1, cross-node tcp-stream streams=4, host-host tcp-rr request=1 response=1, cross-node tcp-rr request=1 response=1"},
		{Config{Set: Quick, Measures: []string{"one-way"}}, "host-host one-way size=64 rate=1000, cross-node one-way size=64 rate=1000"},
		{Config{Set: Quick, Paths: []string{"same-node"}}, "host-host tcp-rr request=1 response=1, same-node tcp-rr request=1 response=1"},
		{Config{Set: Quick, Wires: []Wire{Wires[0], Wires[3]}, Measures: []string{"tcp-rr"}, Paths: []string{"host-host"}}, "host-host tcp-rr request=1 response=1"},
	} {
		if tt.c.Wires == nil {
			tt.c.Wires = Wires[:1]
		}
		var got []string
		for _, x := range tt.c.cells() {
			got = append(got, x.path+" "+x.name+" "+x.params)
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%v:\n%s\n%s", tt.c.Measures, s, tt.want)
		}
	}
}

// Seven modes and a twin take as long as people are told.
func TestEstimate(t *testing.T) {
	var all []Variant
	for _, mode := range []string{"host-gw", "bgp", "vxlan", "vxlan", "ipip", "macvlan", "udp", "host-gw"} {
		all = append(all, Variant{Plans: []*plan.Plan{planned(t, mode, 2, Wires[0])}, Copy: func() (*plan.Plan, error) { return nil, nil }})
	}
	for set, most := range map[string]time.Duration{Quick: 2 * time.Minute, Default: 7 * time.Minute, Thorough: time.Hour} {
		c := Config{Set: set, Variants: all}
		if err := c.Complete(nil); err != nil {
			t.Fatal(err)
		}
		took := Estimate(c)
		t.Logf("%s takes %s", set, took)
		if took > most {
			t.Errorf("%s takes %s", set, took)
		}
	}
}

func TestRoutes(t *testing.T) {
	one := planned(t, "host-gw", 1, Wires[0])
	all := routes(one.Cluster)
	if why := all.missing(sameNode, one); why != "no node has two pods" {
		t.Errorf("nodes of one pod: %q", why)
	}
	if why := all.missing(crossNode, one); why != "" {
		t.Errorf("across: %s", why)
	}
	two := planned(t, "host-gw", 2, Wires[0])
	all = routes(two.Cluster)
	got := ""
	for _, path := range Paths {
		got += fmt.Sprintf("%s %s > %s; ", path, all[path].from.Title, all[path].to.Title)
	}
	if want := "host-host node1 > node2; same-node node1/p1 > node1/p2; cross-node node1/p1 > node2/p1; node-pod node1 > node2/p1; pod-node node1/p1 > node2; "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
