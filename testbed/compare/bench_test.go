package compare

import (
	"testing"
	"time"
)

// BenchmarkFirewall measures what a node's masquerading costs every packet of the node: host-gw without any rule against
// host-gw as flannel has it. Reported are the medians of the rounds' ratios, and their intervals' ends.
func BenchmarkFirewall(b *testing.B) {
	with, without := up(b, "host-gw"), up(b, "host-gw")
	without.Mode = "without rules"
	for _, n := range without.Plans[0].Cluster.Nodes {
		sh(b, "ip netns exec "+n.Namespace+" nft flush ruleset")
	}
	cfg := tiny(with, without)
	cfg.Rounds, cfg.Warmup, cfg.Window = 12, 200*time.Millisecond, time.Second
	cfg.Measures, cfg.Paths = []string{"tcp-rr"}, []string{hostHost, crossNode}
	for b.Loop() {
		r, err := Run(b.Context(), cfg, silent)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range r.Summary {
			if s.Mode == without.Mode && s.Metric == "p50" && s.RatioLow != nil {
				b.ReportMetric(*s.Ratio, s.Path)
				b.ReportMetric(*s.RatioLow, s.Path+"-low")
				b.ReportMetric(*s.RatioHigh, s.Path+"-high")
			}
		}
	}
	b.ReportMetric(0, "ns/op")
}
