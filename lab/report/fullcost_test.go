package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// withCost adds path cost to an imagined comparison: each mode takes so much for a message, a packet and a KB, and no two of
// its instances are quite alike.
func withCost(r *Results, generations int) *Results {
	rng := rand.New(rand.NewPCG(31, 32))
	free := "host-gw without rules"
	r.RuleFree = &Twin{Mode: free, Of: "host-gw"}
	r.PathCost = &PathCost{Asked: generations, Slice: 0.2, Slices: 8, MSS: map[string]int{}, Left: []Left{}}
	r.Wires[1].Name = costWire
	terms := map[string][3]float64{ // ns a message, a packet, a KB
		"host-host": {12500, 3000, 1500}, "macvlan": {12500, 3050, 1520}, "bgp": {14200, 5000, 1600}, free: {14250, 5010, 1600}, "host-gw": {14600, 6900, 1640},
		"host-gw again": {14620, 6900, 1640}, "ipip": {14700, 9500, 1700}, "vxlan": {14800, 10900, 1720}, "udp": {30000, 45000, 3000},
	}
	for _, mode := range append(slices.Clone(r.Modes), r.Twin.Mode, free) {
		r.PathCost.MSS[mode] = 1448 - map[string]int{"ipip": 20, "vxlan": 50, "udp": 28}[mode]
	}
	points := map[string][]int{"tcp": {1, 64, 1398, 1399, 1420, 1421, 1428, 1429, 1448, 1449, 16384, 65536}, "udp": {8, 512, 1400, 1473, 4096, 16384}}
	for g := 1; g <= generations; g++ {
		r.PathCost.Passes = append(r.PathCost.Passes, Generation{Number: g, Start: r.Start.Add(time.Duration(g) * 20 * time.Second), Seconds: 18, Steal: 0.3, Load: 1.1})
		pace := 0.02 * rng.NormFloat64()
		for _, variant := range append([]string{"host-host", r.Twin.Mode, free}, r.Modes...) {
			instance := 0.008 * rng.NormFloat64()
			sample := func(q request, words string) {
				mode, path := variant, "cross-node"
				if variant == "host-host" {
					mode, path = free, "host-host"
				}
				t, packets := terms[variant], 0.0
				for left := q.size; left > 0; left -= r.PathCost.MSS[mode] {
					packets++
				}
				if q.protocol == "udp" {
					t[0] -= 2500
					packets = r.perPacket(mode, "udp")(q.size)
				}
				v := t[0] + t[1]*packets + t[2]*float64(q.size)/1024
				if q.connect {
					v *= 3.4
				}
				v *= math.Exp(pace + instance + 0.004*rng.NormFloat64())
				s := Sample{Mode: mode, Datapath: "kernel", Wire: costWire, Path: path, Measure: costMeasure, Metric: costMetric, Params: words, Round: g, Value: math.Round(v), Unit: "ns"}
				if mode == "ipip" {
					s.Datapath = "ebpf"
				}
				r.Samples = append(r.Samples, s)
				s.Metric, s.Value, s.Unit = "elsewhere", 0, ""
				r.Samples = append(r.Samples, s)
			}
			for _, words := range append([]string{ranking, "protocol=tcp request=1 connect"}, besideRanking...) {
				sample(requested(words), words)
			}
			if variant == r.Twin.Mode || variant == free {
				continue
			}
			for _, protocol := range []string{"tcp", "udp"} {
				for _, size := range points[protocol] {
					words := fmt.Sprintf("protocol=%s request=%d curve", protocol, size)
					sample(requested(words), words)
				}
			}
		}
	}
	r.Traits = []Trait{
		{Mode: "host-gw", MTU: 1500, IPv6: true, OwnPods: true, Needs: []string{"nodes on one segment"}},
		{Mode: "bgp", MTU: 1500, IPv6: true, OwnPods: true, BGP: true, Needs: []string{"nodes on one segment"}},
		{Mode: "macvlan", MTU: 1500, IPv6: true, LAN: true, Needs: []string{"nodes on one segment", "many MAC addresses on a port"}, Cannot: []string{"node to its own pods"}},
		{Mode: "ipip", MTU: 1480, Bytes: 20, Routed: true, OwnPods: true, Needs: []string{"IP protocol 4"}, Cannot: []string{"IPv6"}},
		{Mode: "vxlan", MTU: 1450, Bytes: 50, Routed: true, IPv6: true, OwnPods: true, Needs: []string{"UDP"}},
		{Mode: "udp", MTU: 1472, Bytes: 28, Routed: true, OwnPods: true, Needs: []string{"UDP"}, Cannot: []string{"IPv6"}},
	}
	r.Derive()
	return r
}

// TestUnfilledRate: on a limited wire that a mode does not fill, the arithmetic of headers is not what is measured. A mode that
// fills it and is off has failed.
func TestUnfilledRate(t *testing.T) {
	for _, tt := range []struct {
		nic, shaped float64
		want        string
	}{{0.01, 0.9, notTested}, {1, 0.9, "failed"}, {0.01, 1, "passed"}, {0.01, 1.1, "failed"}} {
		r := full()
		for i, s := range r.Samples {
			if s.Mode != "udp" || s.Metric != "goodput" {
				continue
			}
			switch s.Wire {
			case "shaped":
				r.Samples[i].Value *= tt.shaped
			default:
				r.Samples[i].Value *= tt.nic
			}
		}
		r.Derive()
		for _, c := range r.Validity {
			if c.Name == "equals the arithmetic" && c.Mode == "udp" && c.State != tt.want {
				t.Errorf("%v: %s, not %s: %s", tt, c.State, tt.want, c.Detail)
			}
		}
	}
}
