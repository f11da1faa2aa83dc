package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// full imagines a comparison with everything in it that a recording can have. The numbers are made up, but look like those
// of two noisy CPUs.
func full() *Results {
	rng := rand.New(rand.NewPCG(11, 12))
	begin := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	r := &Results{
		Tool: "lab 1.0", Argv: []string{"lab", "compare", "three-node", "--modes", "host-gw,bgp,macvlan,ipip,vxlan,udp", "--out", "my results"},
		Start: begin, Finish: begin.Add(31 * time.Minute), Lab: "three-node", Definition: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
		Machine: Machine{
			Kernel: "6.18.44", CPU: "Example CPU @ 2.50GHz", CPUs: 2, Virtual: true, Hypervisor: "KVM", Mitigations: []string{"spectre_v2: Mitigation: Enhanced IBRS", "meltdown: Not affected"},
			Memory: 8 << 30, Clock: "kvm-clock", Qdisc: "pfifo_fast", Congestion: "bbr", Steal: 4.2, Load: 0.31, Pinned: []int{0, 1},
		},
		Topology: Topology{
			Switches: []TopologySwitch{{Name: "lan", Subnets: []string{"192.168.205.0/24"}}},
		},
		Modes: []string{"host-gw", "bgp", "macvlan", "ipip", "vxlan", "udp"}, Baseline: "host-gw", Twin: &Twin{Mode: "host-gw again", Of: "host-gw"},
		Wires: []Wire{
			{Name: "nic", About: "packets are cut to the MTU on the uplink, and put together again where they arrive", Settings: []string{"gso_max_segs 1", "qdisc pfifo limit 1000", "gro on"}},
			{Name: "bare", About: "packets are cut to the MTU on the uplink, and stay so", Settings: []string{"gso_max_segs 1", "qdisc pfifo limit 1000", "gro off"}},
			{Name: "shaped", About: "a slow wire, where only headers count", Settings: []string{"qdisc tbf rate 200mbit burst 15000"}, Rate: 0.2},
		},
		Set: "default", Rounds: 10, Asked: 10, Warmup: 0.5, Window: 2, Tail: 0.1, Engine: "lab", Seed: 42,
		Warnings: []string{"udp: node-pod is not measured: the mode has no route from a node to another node's pods"},
	}
	for i, name := range []string{"master", "worker1", "worker2"} {
		m := TopologyMachine{Name: name, Kind: "node", Switches: []string{"lan"}, Address: fmt.Sprintf("192.168.205.%d", []int{4, 2, 3}[i])}
		for p := range 2 {
			m.Pods = append(m.Pods, TopologyPod{Name: fmt.Sprintf("p%d", p+1), Address: fmt.Sprintf("10.42.%d.%d", i, p+2)})
		}
		r.Topology.Machines = append(r.Topology.Machines, m)
	}
	all := append(slices.Clone(r.Modes), r.Twin.Mode)
	// What each mode does to each path's throughput; latency goes the other way, less so.
	speed := map[string]float64{"host-gw": 1, "bgp": 1, "macvlan": 1.6, "ipip": 0.9, "vxlan": 0.82, "udp": 0.2, "host-gw again": 1}
	header := map[string]float64{"ipip": 20, "vxlan": 50, "udp": 28}
	for round := 1; round <= r.Rounds; round++ {
		for _, w := range r.Wires {
			order := slices.Clone(all)
			rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			at := begin.Add(time.Duration(round)*3*time.Minute + time.Duration(len(r.Passes)%3)*time.Minute)
			r.Passes = append(r.Passes, Pass{Round: round, Wire: w.Name, Order: order, Start: at, Seconds: 60, Steal: 0.8 * rng.Float64(), Load: 1.5 + rng.Float64()})
			pace := 0.1 * rng.NormFloat64()
			for _, path := range []string{"host-host", "same-node", "cross-node"} {
				if w.Name == "shaped" && path != "cross-node" {
					continue
				}
				for _, mode := range all {
					f := 1.0
					if path == "cross-node" {
						f = speed[mode]
					}
					noise := func(of float64) float64 { return math.Exp(pace + of*rng.NormFloat64()) }
					sample := func(measure, metric, params string, v float64, unit string) {
						r.Samples = append(r.Samples, Sample{
							Mode: mode, Datapath: "kernel", Wire: w.Name, Path: path, Measure: measure, Metric: metric, Params: params, Round: round,
							Value: math.Round(v*1e4) / 1e4, Unit: unit, MSS: 1448 - int(header[mode]), Congestion: "cubic",
						})
					}
					if w.Name == "shaped" {
						sample("tcp-stream", "goodput", "streams=1", 0.2*(1448-header[mode])/1514*(1+0.0004*rng.NormFloat64()), "Gbit/s")
						continue
					}
					goodput := 5 * f * noise(0.03)
					sample("tcp-stream", "goodput", "streams=1", goodput, "Gbit/s")
					sample("tcp-stream", "cpu", "streams=1", 0.36/f*noise(0.03), "s/Gbit")
					sample("tcp-stream", "retransmits", "streams=1", float64(rng.IntN(4)), "1/GB")
					series := Series{Mode: mode, Wire: w.Name, Path: path, Measure: "tcp-stream", Metric: "goodput", Params: "streams=1", Round: round, Unit: "Gbit/s", Step: 0.1}
					for range 20 {
						series.Values = append(series.Values, math.Round(1e3*goodput*(1+0.05*rng.NormFloat64()))/1e3)
					}
					if path == "cross-node" {
						r.Series = append(r.Series, series)
					}
					p50 := 30 / math.Sqrt(f) * noise(0.02)
					sample("tcp-rr", "rate", "request=1 response=1", 1e6/p50, "1/s")
					sample("tcp-rr", "p50", "request=1 response=1", p50, "µs")
					sample("tcp-rr", "p99", "request=1 response=1", p50*2*noise(0.05), "µs")
					sample("latency-under-load", "p50", "streams=4", 6*p50*noise(0.05), "µs")
					sample("latency-under-load", "p99", "streams=4", 15*p50*noise(0.1), "µs")
					sample("latency-under-load", "goodput", "streams=4", goodput*1.2, "Gbit/s")
					sample("udp-rate", "loss", "size=64 rate=100000", math.Max(0, 0.01*rng.NormFloat64()), "%")
					sample("udp-rate", "delivered", "size=64 rate=100000", 99000*f*noise(0.02), "1/s")
					h := Histogram{Mode: mode, Wire: w.Name, Path: path, Measure: "tcp-rr", Params: "request=1 response=1", Round: round, Unit: "µs"}
					for step := -6; step <= 40; step++ {
						n := 20000 * math.Exp(-float64(step*step)/18)
						if step > 6 {
							n = 3000 * math.Pow(0.75, float64(step))
						}
						if n >= 1 {
							h.Counts = append(h.Counts, [2]float64{math.Round(p50*100*math.Pow(1.08, float64(step))) / 100, math.Round(n)})
						}
					}
					if path == "cross-node" {
						r.Histograms = append(r.Histograms, h)
					}
				}
			}
			if w.Name == "nic" {
				for _, mode := range all {
					for _, s := range []Sample{
						{Measure: "build", Metric: "time", Value: 50 * math.Exp(pace+0.05*rng.NormFloat64()) / math.Sqrt(speed[mode]), Unit: "ms"},
						{Measure: "objects", Metric: "routes", Params: "nodes=3", Value: map[bool]float64{true: 1, false: 3}[mode == "macvlan"]},
					} {
						s.Mode, s.Datapath, s.Wire, s.Path, s.Round = mode, "kernel", w.Name, "-", round
						r.Samples = append(r.Samples, s)
					}
				}
			}
		}
	}
	for round := 1; round <= 3; round++ {
		for _, s := range []Sample{{Measure: "tcp-stream", Metric: "goodput", Params: "streams=1", Value: 31, Unit: "Gbit/s"}, {Measure: "tcp-rr", Metric: "rate", Params: "request=1 response=1", Value: 48000, Unit: "1/s"}} {
			s.Path, s.Round = "loopback", round
			r.Ceiling = append(r.Ceiling, s)
		}
	}
	for _, mode := range r.Modes {
		encapsulation, size := "none", 1514
		if header[mode] > 0 {
			encapsulation = map[string]string{"ipip": "ipip, 192.168.205.4 > 192.168.205.2", "vxlan": "vxlan vni 1, udp port 8472, 192.168.205.4 > 192.168.205.2", "udp": "udp port 8285, 192.168.205.4 > 192.168.205.2"}[mode]
			r.Expected = append(r.Expected, Expected{
				Mode: mode, Wire: "shaped", Path: "cross-node", Measure: "tcp-stream", Metric: "goodput", Params: "streams=1",
				Ratio: math.Round((1448-header[mode])/1448*1e4) / 1e4, Tolerance: 0.01, Source: fmt.Sprintf("MSS %g of 1514 bytes, against 1448", 1448-header[mode]),
			})
		}
		for _, w := range r.Wires {
			r.Proof = append(r.Proof, Proof{Mode: mode, Wire: w.Name, OK: true, Encapsulation: encapsulation, Frames: 48, Sizes: [][2]int{{66, 120}, {size, 6912}}})
		}
	}
	for _, mode := range all {
		for _, w := range r.Wires[:2] {
			for _, machine := range []string{"master", "worker1"} {
				r.Devices = append(r.Devices,
					Device{Mode: mode, Wire: w.Name, Machine: machine, Namespace: "three-node." + machine, Device: "eth0", Kind: "veth", MTU: 1500, Qdisc: "pfifo", GSOMaxSegs: 1, GSOMaxSize: 65536, GROMaxSize: 65536,
						Offloads: map[string]bool{"tx-checksum-ip-generic": true, "rx-gro": w.Name == "nic", "tx-tcp-segmentation": true}},
					Device{Mode: mode, Wire: w.Name, Machine: machine + "/p1", Namespace: "three-node." + machine + ".p1", Device: "eth0", Kind: "veth", MTU: 1500 - int(header[mode]), Qdisc: "noqueue", GSOMaxSegs: 65535, GSOMaxSize: 65536, GROMaxSize: 65536,
						Offloads: map[string]bool{"tx-checksum-ip-generic": true, "rx-gro": false, "tx-tcp-segmentation": true}},
				)
			}
		}
		r.Endpoints = append(r.Endpoints, Endpoints{Mode: mode, Path: "cross-node", From: "master/p1", To: "worker1/p1", FromAddress: "10.42.0.2", ToAddress: "10.42.1.2"})
	}
	r.Checks = []Check{
		{Name: "frames keep to the MTU", Wire: "nic", OK: true, Detail: "no frame of 41,472 is larger than 1514 bytes"},
		{Name: "nothing is dropped off the bottleneck", Mode: "udp", Wire: "bare", Detail: "3 packets at master/flannel0"},
	}
	r.Derive()
	return r
}
