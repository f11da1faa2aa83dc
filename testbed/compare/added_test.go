package compare

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/testbed"
	"labnet/testbed/suite"
	"labnet/testbed/traffic"
)

// What is added by hand to one of several equals, in every instance of it: for each, the cell in which it has to be found.
var added = []struct{ name, params, script string }{
	{"a hundred rules", ranking[0].params(), `nft -f - <<EOF
table inet added {
  chain forward {
    type filter hook forward priority 10
$(for i in $(seq 100); do echo "    ip saddr 203.0.113.$i counter drop"; done)
  }
}
EOF`},
	{"a veth more", ranking[0].params(), `
ip link add more type bridge
ip link set more up
ip link add more0 type veth peer name more1
ip link set more0 up master more
ip link set more1 up master cni0
port=$(ip -o link show master cni0 | grep -o 'veth[0-9a-f]*' | head -n 1)
ip link set $port master more`},
	{"an MTU lower by 50", ranking[1].params(), ``},
}

// adds returns a variant with one of these added to each of its nodes.
func adds(t testing.TB, i int) Variant {
	v := costly(t, "host-gw")
	v.Mode = added[i].name
	return v
}

// byHand brings instances as they are planned, and then adds to them what the name of their variant says.
func byHand(t testing.TB, variants []Variant) func(context.Context, *plan.Plan) error {
	whose := map[string]int{}
	for n := range variants {
		v := &variants[n]
		i := slices.IndexFunc(added, func(a struct{ name, params, script string }) bool { return a.name == v.Mode })
		if i < 0 {
			continue
		}
		was := v.Copy
		v.Copy = func() (*plan.Plan, error) {
			p, err := was()
			whose[p.Cluster.Name] = i
			return p, err
		}
	}
	return func(ctx context.Context, p *plan.Plan) error {
		if err := buildUp(ctx, p); err != nil {
			return err
		}
		i, ok := whose[p.Cluster.Name]
		if !ok {
			return nil
		}
		for _, n := range p.Cluster.Nodes {
			if added[i].script == "" {
				for _, pod := range n.Pods {
					sh(t, "ip -n "+pod.Namespace+" link set eth0 mtu 1450")
				}
				continue
			}
			cmd := exec.CommandContext(ctx, "ip", "netns", "exec", n.Namespace, "sh", "-euc", added[i].script)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w\n%s", added[i].name, err, out)
			}
		}
		return nil
	}
}

// TestAddedCostIsFound: what makes a path dearer is found in a run as long as a default one, and with the right sign; a twin to
// which nothing was added is not.
func TestAddedCostIsFound(t *testing.T) {
	if !suite.Soaked {
		t.Skip("takes minutes: make soak runs this")
	}
	again := costly(t, "host-gw")
	again.Mode = "host-gw again"
	variants := []Variant{costly(t, "host-gw"), adds(t, 0), adds(t, 1), adds(t, 2), again}
	buildUp := byHand(t, variants)
	cfg := priced(Generations, variants...)
	cfg.Set, cfg.Twin, cfg.Bring = Default, again.Mode, buildUp
	r, err := Run(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	dearer := func(mode, params string) (in, of int) {
		values := map[string]map[int]float64{}
		for _, s := range r.Samples {
			if s.Path == crossNode && s.Metric == "round trip" && s.Params == params {
				if values[s.Mode] == nil {
					values[s.Mode] = map[int]float64{}
				}
				values[s.Mode][s.Round] = s.Value
			}
		}
		t.Logf("%s, %s: %.3f", mode, params, ratio(values, mode, "host-gw"))
		for g, v := range values[mode] {
			if of++; v > values["host-gw"][g] {
				in++
			}
		}
		return in, of
	}
	for _, a := range added {
		// Of equals, 13 of 14 are that in one case of a thousand.
		if in, of := dearer(a.name, a.params); of != Generations || in < of-1 {
			t.Errorf("%s makes messages dearer in %d of %d generations", a.name, in, of)
		}
	}
	if in, of := dearer(again.Mode, ranking[0].params()); in == of || in == 0 {
		t.Errorf("nothing was added to the twin, and it is dearer in %d of %d generations", in, of)
	}
}

// TestSockperfAgrees holds the ratios of path cost against those of another program with the same pinning: intervals that hold
// the median with 99 % have to overlap.
func TestSockperfAgrees(t *testing.T) {
	if !suite.Soaked {
		t.Skip("takes minutes: make soak runs this")
	}
	if _, err := exec.LookPath("sockperf"); err != nil {
		t.Skip("sockperf is not installed")
	}
	const rounds, size = 8, 512
	cpu := traffic.First()
	ends := map[string]route{}
	modes := []string{"host-gw", "vxlan", "macvlan", "udp"}
	for _, mode := range modes {
		p := planned(t, mode, 2, Bare)
		t.Cleanup(func() {
			if err := down(context.WithoutCancel(t.Context()), p.Cluster.Name); err != nil {
				t.Error(err)
			}
		})
		if err := buildUp(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		way := routes(p.Cluster)[crossNode]
		ends[mode] = way
		for _, n := range p.Cluster.Nodes {
			place, err := testbed.Open(n.Namespace)
			if err != nil {
				t.Fatal(err)
			}
			agents, err := testbed.Agents(place)
			place.Close()
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range agents {
				if _, err := a.Pin(cpu); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	ours := func(e route) float64 {
		from, err := testbed.Open(e.from.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		to, err := testbed.Open(e.to.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		cfg := traffic.Config{Warmup: 100 * time.Millisecond, Window: 800 * time.Millisecond, Congestion: congestion, Before: true}
		cfg.Client = traffic.Side{Open: from.Do, Addr: e.from.Address, CPU: cpu}
		cfg.Server = traffic.Side{Open: to.Do, Addr: e.to.Address, CPU: cpu}
		r, err := traffic.RunTransactions(t.Context(), cfg, traffic.Requests{Size: size, Reply: size})
		if err != nil {
			t.Fatal(err)
		}
		return r.Latency.Middle().Seconds() * 1e6
	}
	theirs := func(e route) float64 {
		on := func(namespace string, words ...string) *exec.Cmd {
			args := append([]string{"netns", "exec", namespace, "chrt", "-f", "1", "taskset", "-c", strconv.Itoa(cpu), "sockperf"}, words...)
			return exec.CommandContext(t.Context(), "ip", args...)
		}
		server := on(e.to.Namespace, "server", "--tcp", "-i", e.to.Address.String(), "-p", "15202")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
		var out []byte
		for range 50 { // until the server listens
			out, _ = on(e.from.Namespace, "ping-pong", "--tcp", "--full-rtt", "-i", e.to.Address.String(), "-p", "15202", "-t", "1", "-m", strconv.Itoa(size)).CombinedOutput()
			for line := range strings.Lines(string(out)) {
				var median float64
				_, after, _ := strings.Cut(line, "percentile 50.000 = ")
				if _, err := fmt.Sscan(after, &median); err == nil && median > 0 {
					return median
				}
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("sockperf: %s", out)
		return 0
	}
	type interval struct{ low, median, high float64 }
	ratios := map[string][2][]float64{}
	for range rounds {
		var base [2]float64
		for _, mode := range modes {
			e := ends[mode]
			got := [2]float64{ours(e), theirs(e)}
			if mode == modes[0] {
				base = got
			}
			all := ratios[mode]
			for i := range all {
				all[i] = append(all[i], got[i]/base[i])
			}
			ratios[mode] = all
		}
	}
	of := func(values []float64) interval {
		slices.Sort(values)
		return interval{values[0], values[len(values)/2], values[len(values)-1]}
	}
	for _, mode := range modes[1:] {
		a, b := of(ratios[mode][0]), of(ratios[mode][1])
		t.Logf("%s to host-gw: %.3f (%.3f – %.3f), by sockperf %.3f (%.3f – %.3f)", mode, a.median, a.low, a.high, b.median, b.low, b.high)
		if a.high < b.low || b.high < a.low {
			t.Errorf("%s: lab and sockperf do not agree", mode)
		}
	}
}
