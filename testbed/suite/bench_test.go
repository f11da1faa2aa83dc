package suite

import (
	"fmt"
	"testing"
	"time"

	"labnet/lab/plan"
	"labnet/lab/report"
	"labnet/testbed"
	"labnet/testbed/compare"
)

// BenchmarkEmulation measures pods across nodes in ipip made of eBPF against the kernel's vxlan, in interleaved rounds. What is
// reported are the medians of the rounds' ratios, and the lower and upper end of their intervals: throughput and
// transactions above 1 are better than vxlan's, a round trip (p50) below it.
func BenchmarkEmulation(b *testing.B) {
	for _, like := range []string{"flannel", "calico"} {
		b.Run(like, func(b *testing.B) {
			l := parse(b, "two.hcl", fmt.Sprintf(`
lab "two" {}
switch "lan" { subnet = "192.0.2.0/24" }
node "n" {
  count = 2
  on "lan" {}
  pods = 1
}
network "pods" { cidr = "10.9.0.0/16" }
mode "ipip" { like = %[1]q }
mode "vxlan" { like = %[1]q }
`, like))
			var variants []compare.Variant
			for _, mode := range []string{"vxlan", "ipip"} {
				p := emulated(b, l, "bench-"+like+"-"+mode, mode, plan.FeatureIPIP)
				up(b, p)
				healthy(b, p)
				variants = append(variants, compare.Variant{Mode: mode, Datapath: "kernel", Plans: []*plan.Plan{p}})
			}
			var summaries []report.Summary
			for b.Loop() {
				results, err := compare.Run(b.Context(), compare.Config{
					Lab: "two", Variants: variants, Baseline: "vxlan", Set: compare.Quick, Wires: compare.Wires[2:3], Paths: []string{"cross-node"}, Measures: []string{"tcp-stream", "tcp-rr"}, Engine: "lab",
					Rounds: 15, Warmup: 100 * time.Millisecond, Window: 500 * time.Millisecond,
				}, func(string, int, int, time.Duration) {})
				if err != nil {
					b.Fatal(err)
				}
				summaries = report.Summarise(results.Samples, "vxlan", nil)
			}
			for _, s := range summaries {
				if s.Mode == "ipip" && s.Path == "cross-node" && s.Metric != "p99" && s.RatioLow != nil {
					b.ReportMetric(*s.Ratio, s.Metric)
					b.ReportMetric(*s.RatioLow, s.Metric+"-low")
					b.ReportMetric(*s.RatioHigh, s.Metric+"-high")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkServe builds and removes a lab of 1,000 pods on ten nodes that all serve, and says what the responders hold in memory:
// one for each node, and not one for each pod.
func BenchmarkServe(b *testing.B) {
	p := built(b, parse(b, "serving.hcl", `
lab "serving" {}
switch "lan" { subnet = "192.168.0.0/16" }
node "n" {
  count = 10
  on "lan" {}
  pod "p" {
    count = 100
    serve = ["tcp/8080", "udp/5353"]
  }
}
network "pods" { cidr = "10.42.0.0/16" }
`), "bench-serving", "host-gw")
	b.Cleanup(func() { removed(b, p) })
	var held uint64
	for b.Loop() {
		if _, err := testbed.Up(b.Context(), p, testbed.Record{Instance: p.Cluster.Name}, testbed.Watch{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		held = 0
		for _, n := range p.Cluster.Nodes {
			place, err := testbed.Open(n.Namespace)
			if err != nil {
				b.Fatal(err)
			}
			found, err := testbed.Agents(place)
			place.Close()
			if err != nil || len(found) != 1 {
				b.Fatal(found, err)
			}
			memory, err := found[0].Memory()
			if err != nil {
				b.Fatal(err)
			}
			held += memory
		}
		removed(b, p)
		b.StartTimer()
	}
	b.ReportMetric(float64(held)/float64(len(p.Cluster.Nodes))/(1<<20), "MiB/responder")
}
