package report_test

import (
	"fmt"

	"labnet/lab/report"
)

// Rounds become medians, and ratios to the baseline that hold within a round.
func ExampleSummarise() {
	var samples []report.Sample
	for round := 1; round <= 10; round++ {
		goodput := 10 + float64(round%3) // the machine is faster in some rounds than in others
		for mode, ratio := range map[string]float64{"host-gw": 1, "vxlan": 0.8} {
			samples = append(samples, report.Sample{Mode: mode, Measure: "tcp-stream", Metric: "goodput", Unit: "Gbit/s", Round: round, Value: goodput * ratio})
		}
	}
	for _, s := range report.Summarise(samples, "host-gw", nil) {
		fmt.Printf("%-7s %5.2f %s", s.Mode, s.Median, s.Unit)
		if s.Differs() {
			fmt.Printf(", %.2f of %s", *s.Ratio, s.Baseline)
		}
		fmt.Println()
	}
	// Output:
	// host-gw 11.00 Gbit/s
	// vxlan    8.80 Gbit/s, 0.80 of host-gw
}
