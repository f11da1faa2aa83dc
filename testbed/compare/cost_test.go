package compare

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"labnet/lab"
	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/traffic"
)

// costly makes a variant of the two-node lab for path cost alone.
func costly(t testing.TB, mode string) Variant {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: namespaces cannot be made")
	}
	return Variant{
		Mode: mode, Datapath: "kernel", Plans: []*plan.Plan{planned(t, mode, 2, Wires[0])},
		Copy: func() (*plan.Plan, error) { return planned(t, mode, 2, Bare), nil },
	}
}

// priced compares the path cost of variants, of the cell that ranks.
func priced(generations int, variants ...Variant) Config {
	cfg := tiny(variants...)
	cfg.Paths, cfg.Measures, cfg.Generations = nil, []string{pathCost}, generations
	return cfg
}

// costs are the values of a metric, by mode and generation; those of the nodes are named by their path.
func costs(r *report.Results, metric string) map[string]map[int]float64 {
	all := map[string]map[int]float64{}
	for _, s := range r.Samples {
		name := s.Mode
		if s.Path == hostHost {
			name = hostHost
		}
		if s.Measure != pathCost || s.Metric != metric || s.Params != ranking[0].params() {
			continue
		}
		if all[name] == nil {
			all[name] = map[int]float64{}
		}
		all[name][s.Round] = s.Value
	}
	return all
}

// ratio is the median of one's values to another's in the same generation.
func ratio(of map[string]map[int]float64, one, another string) float64 {
	var all []float64
	for g, v := range of[one] {
		all = append(all, v/of[another][g])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// TestPathCost: the modes are ordered by what a packet has to pass, whatever else the machine does. Modes that do not differ
// in what they do are not told apart here; that they are not is for the long form.
func TestPathCost(t *testing.T) {
	again := costly(t, "host-gw")
	again.Mode = "host-gw again"
	cfg := priced(3, costly(t, "host-gw"), costly(t, "vxlan"), costly(t, "macvlan"), costly(t, "udp"), again)
	cfg.Twin = again.Mode
	var spread []string // threads of agents that are measured, and may run elsewhere
	agents := 0
	stands := map[string]bool{}
	var mu sync.Mutex
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		if p.ModeName == "udp" {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range p.Cluster.Nodes {
				stands[n.Namespace] = true
			}
		}
		return buildUp(ctx, p)
	}
	look := func(step string, _, _ int, _ time.Duration) {
		if !strings.HasPrefix(step, "path cost, generation ") {
			return
		}
		confined := 0
		for name := range stands {
			place, err := testbed.Open(name)
			if err != nil {
				continue // of an attempt before
			}
			found, err := testbed.Agents(place)
			place.Close()
			for _, a := range found {
				var may unix.CPUSet
				if err := unix.SchedGetaffinity(a.PID, &may); err == nil && may.Count() == 1 && may.IsSet(traffic.First()) {
					confined++
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
		agents++
		if confined != 2 && traffic.First() != traffic.Unpinned && cpus() > 1 {
			spread = append(spread, fmt.Sprintf("%s: %d agents are confined, not the 2 that are measured", step, confined))
		}
	}
	wrong := ""
	for range 4 { // until noise lets the order be seen, which a fault never does
		r, err := Run(t.Context(), cfg, look)
		if err != nil {
			t.Fatal(err)
		}
		if r.RuleFree == nil || r.RuleFree.Of != "host-gw" || r.PathCost == nil || len(r.PathCost.Passes) != 3 || r.Rounds != 3 || len(r.Proof) != 6 || len(r.Checks) != 1 || !r.Checks[0].OK {
			t.Fatalf("%+v", r)
		}
		of := costs(r, "round trip")
		if len(of) != 7 {
			t.Fatalf("%v", of)
		}
		for name, values := range of {
			if len(values) != 3 {
				t.Errorf("%s: %v, not one value of each generation", name, values)
			}
		}
		if r.PathCost.MSS["host-gw"]-r.PathCost.MSS["vxlan"] != 50 {
			t.Errorf("the MSS is %v", r.PathCost.MSS)
		}
		mac, vx, udp := ratio(of, "macvlan", "host-gw"), ratio(of, "vxlan", "host-gw"), ratio(of, "udp", "host-gw")
		free := ratio(of, r.RuleFree.Mode, "host-gw")
		wrong = ""
		if mac >= 0.97 || vx <= 1.02 || udp < 2 || udp < 1.5*vx || free >= 1 {
			wrong = fmt.Sprintf("to host-gw: macvlan %.3f, vxlan %.3f, udp %.3f, host-gw without rules %.3f", mac, vx, udp, free)
		}
		if len(r.PathCost.Left) > 0 {
			wrong += fmt.Sprintf("; work has left the CPU: %v", r.PathCost.Left)
		}
		if wrong == "" {
			break
		}
		t.Log(wrong)
	}
	if wrong != "" {
		t.Error(wrong)
	}
	if len(spread) > 0 || agents == 0 {
		t.Errorf("%d times looked: %v", agents, spread)
	}
}

func cpus() int {
	var may unix.CPUSet
	_ = unix.SchedGetaffinity(0, &may)
	return may.Count()
}

// TestWorkLeavesTheCPU: where packets are steered to another CPU, the numbers are no cost, and that is said of the mode alone.
func TestWorkLeavesTheCPU(t *testing.T) {
	if cpus() < 2 {
		t.Skip("there is no other CPU")
	}
	cfg := priced(1, costly(t, "host-gw"), costly(t, "vxlan"))
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		if err := buildUp(ctx, p); err != nil || p.ModeName != "vxlan" {
			return err
		}
		for _, n := range p.Cluster.Nodes {
			sh(t, fmt.Sprintf("ip netns exec %s sh -c 'for f in /sys/class/net/*/queues/rx-*/rps_cpus; do echo 2 >$f; done'", n.Namespace))
		}
		return nil
	}
	var r *report.Results
	for range 4 { // others may have work on packets to do meanwhile
		var err error
		if r, err = Run(t.Context(), cfg, silent); err != nil {
			t.Fatal(err)
		}
		if len(r.PathCost.Left) == 1 {
			break
		}
	}
	if left := r.PathCost.Left; len(left) != 1 || left[0].Mode != "vxlan" || left[0].Elsewhere < 0.5 {
		t.Errorf("%+v, elsewhere %v", left, costs(r, "elsewhere"))
	}
}

// TestTracedGenerationIsVoid: what is measured while somebody traces packets does not count, is said, and measured again.
func TestTracedGenerationIsVoid(t *testing.T) {
	cfg := priced(2, costly(t, "host-gw"))
	var end func() error
	r, err := Run(t.Context(), cfg, func(step string, _, _ int, _ time.Duration) {
		var err error
		switch {
		case strings.HasPrefix(step, "path cost, generation 2") && end == nil:
			end, err = testbed.BeginTracing()
		case strings.HasPrefix(step, "waiting until nobody"):
			err = end()
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.PathCost.Passes {
		got = append(got, fmt.Sprint(p.Number, p.Void == ""))
	}
	if !slices.Equal(got, []string{"1 true", "2 false", "2 true"}) || !slices.ContainsFunc(r.Warnings, func(w string) bool {
		return strings.Contains(w, "generation 2 was measured again: packets were traced")
	}) {
		t.Errorf("%v, %v", got, r.Warnings)
	}
	if n := len(costs(r, "round trip")["host-gw"]); n != 2 {
		t.Errorf("%d values of 2 generations", n)
	}
}

// TestPathCostGoesOn: an interrupted comparison keeps the generations that are finished, and measures only the others when it
// goes on, unless these were measured in another way. Nothing stays behind.
func TestPathCostGoesOn(t *testing.T) {
	cfg := priced(3, costly(t, "host-gw"))
	built := map[string]bool{}
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		built[p.Cluster.Name] = true
		return buildUp(ctx, p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Keep = func(r *report.Results) error { cancel(); return nil }
	part, err := Run(ctx, cfg, silent)
	if err != nil || len(part.PathCost.Passes) != 1 {
		t.Fatalf("%v, %+v", err, part)
	}
	if len(built) != 6 { // the control without rules among them
		t.Errorf("%d instances of 3 generations were built", len(built))
	}
	clear(built)
	other, way := *part, *part.PathCost
	other.PathCost, way.Slices = &way, 0
	cfg.Prior, cfg.Keep = &other, nil
	if _, err := Run(t.Context(), cfg, silent); err == nil || !strings.Contains(err.Error(), "begun by another version") || len(built) > 0 {
		t.Errorf("values that were made in another way: %v, %d instances built", err, len(built))
	}
	cfg.Prior = part
	whole, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	if got := costs(whole, "round trip")["host-gw"]; len(got) != 3 || len(whole.PathCost.Passes) != 3 || len(built) != 4 {
		t.Errorf("%v, %+v, %d instances built", got, whole.PathCost.Passes, len(built))
	}
	if left, _ := testbed.Instances(t.Context()); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestInterruptedBuilding: what was built of the generations is removed, what was not is no error, and it is said to be an
// interruption.
func TestInterruptedBuilding(t *testing.T) {
	cfg := priced(3, costly(t, "host-gw"), costly(t, "udp"))
	ctx, cancel := context.WithCancel(t.Context())
	var built atomic.Int32
	cfg.Bring = func(ctx context.Context, p *plan.Plan) error {
		if built.Add(1) > 3 {
			cancel()
			return context.Canceled
		}
		return buildUp(ctx, p)
	}
	r, err := Run(ctx, cfg, silent)
	if r != nil || err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v, %v", r, err)
	}
	if left, _ := testbed.Instances(t.Context()); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestTooManyGenerations: what does not fit is refused before anything is built, with what does.
func TestTooManyGenerations(t *testing.T) {
	cfg := priced(20_000, costly(t, "host-gw"))
	small := planned(t, "host-gw", 2, Bare)
	cfg.Variants[0].Copy = func() (*plan.Plan, error) { return small, nil }
	cfg.Bring = func(context.Context, *plan.Plan) error { t.Error("something is built"); return nil }
	if _, err := Run(t.Context(), cfg, silent); err == nil || !strings.Contains(err.Error(), "--rounds") || strings.Contains(err.Error(), " 0 would") {
		t.Errorf("error %v", err)
	}
}

func TestGrid(t *testing.T) {
	text := func(points []point) string {
		var all []string
		for _, p := range points {
			all = append(all, p.params())
		}
		return strings.Join(all, "; ")
	}
	if got := text(grid(Quick, []int{1448})); got != "protocol=tcp request=512" {
		t.Error(got)
	}
	got := text(grid(Default, []int{1448, 1398, 1448}))
	if want := "protocol=tcp request=512; protocol=tcp request=1400; protocol=udp request=64; protocol=tcp request=1 connect; " +
		"protocol=tcp request=1 curve; protocol=tcp request=64 curve; protocol=tcp request=1398 curve; protocol=tcp request=1399 curve; " +
		"protocol=tcp request=1448 curve; protocol=tcp request=1449 curve; protocol=tcp request=16384 curve; protocol=tcp request=65536 curve; " +
		"protocol=udp request=8 curve; protocol=udp request=512 curve; protocol=udp request=1400 curve; protocol=udp request=16384 curve"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := text(grid(Thorough, []int{1448})); !strings.Contains(got, "protocol=udp request=1472 curve; protocol=udp request=1473 curve") {
		t.Errorf("a datagram that fills a packet of 1500 bytes is not among %s", got)
	}
}

// TestValue: whatever makes up to five of eight slices slower, and one faster, a cell's value stays within the others.
func TestValue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		p := pool{}
		for range ranked {
			p.round = append(p.round, 20_000*(1+0.002*rng.Float64()))
		}
		at := rng.Perm(ranked)
		for _, i := range at[:rng.IntN(6)] {
			p.round[i] *= 1.02 + 0.5*rng.Float64()
		}
		p.round[at[7]] *= 1 - 0.1*float64(rng.IntN(2))
		if v := p.value(); v < 20_000 || v > 20_040 {
			t.Fatalf("%.0f, of %.0f", v, p.round)
		}
	}
	for _, few := range [][]float64{{5}, {5, 9}, {5, 7, 9}} {
		if v, want := (pool{round: few}).value(), []float64{5, 6, 6}[len(few)-1]; v != want {
			t.Errorf("of %v: %v, want %v", few, v, want)
		}
	}
}

// TestDue: a cell has its slices in turns that lie apart.
func TestDue(t *testing.T) {
	for slices := 1; slices <= ranked; slices++ {
		var turns []int
		for turn := range ranked {
			if (point{slices: slices}).due(turn) {
				turns = append(turns, turn)
			}
		}
		if len(turns) != slices {
			t.Fatalf("%d slices in turns %v", slices, turns)
		}
		for i := 1; i < len(turns); i++ {
			if apart := turns[i] - turns[i-1]; apart < ranked/slices || apart > (ranked+slices-1)/slices {
				t.Errorf("%d slices in turns %v", slices, turns)
			}
		}
	}
}

// TestPooled: slices make one measurement, whose percentiles are those of all that was seen.
func TestPooled(t *testing.T) {
	slow, fast := taken{readings: []measured{{"goodput", 1, "Gbit/s"}, {"cpu", 4, "s/Gbit"}, {"drops", 3, "packets"}}}, taken{readings: []measured{{"goodput", 3, "Gbit/s"}, {"cpu", 2, "s/Gbit"}, {"drops", 1, "packets"}}}
	all := pooled([]taken{slow, fast})
	for _, want := range []measured{{"goodput", 2, "Gbit/s"}, {"cpu", 2.5, "s/Gbit"}, {"drops", 2, "packets"}} {
		if !slices.Contains(all.readings, want) {
			t.Errorf("%+v is not among %+v", want, all.readings)
		}
	}
	cfg := traffic.Config{Client: traffic.Side{Open: func(f func() error) error { return f() }, CPU: traffic.Unpinned}, Warmup: time.Millisecond, Window: 50 * time.Millisecond, Congestion: congestion}
	cfg = cfg.Loopback(cfg.Client.Open)
	cfg.Server.CPU = traffic.Unpinned
	var parts []taken
	n := int64(0)
	for range 3 {
		p, err := requests("tcp-rr", "", traffic.Requests{}).run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		parts, n = append(parts, p), n+p.latency.Count()
	}
	if all := pooled(parts); all.latency.Count() != n || len(all.series.Counts) != 3 || all.readings[0].metric != "p50" {
		t.Errorf("%d of %d, %+v", all.latency.Count(), n, all)
	}
}

// TestImpaired: every switch that impairs packets is named once, in whichever variant it does.
func TestImpaired(t *testing.T) {
	lan, wan := &lab.Switch{Name: "lan"}, &lab.Switch{Name: "wan"}
	slow := func(s lab.Switch) *lab.Switch { s.Impair.Rate = 1e6; return &s }
	variant := func(switches ...*lab.Switch) Variant {
		return Variant{Plans: []*plan.Plan{{Cluster: &plan.Cluster{Lab: &lab.Lab{Switches: switches}}}}}
	}
	for _, tt := range []struct {
		variants []Variant
		want     string
	}{
		{[]Variant{variant(lan, wan), variant(lan, wan)}, ""},
		{[]Variant{variant(lan, wan), variant(lan, slow(*wan))}, "wan"},
		{[]Variant{variant(slow(*lan), wan), variant(slow(*lan), slow(*wan))}, "lan, wan"},
	} {
		if got := (&Config{Variants: tt.variants}).impaired(); got != tt.want {
			t.Errorf("%q, not %q", got, tt.want)
		}
	}
}
