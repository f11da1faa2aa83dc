package report

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// bench writes the Go benchmark format, for benchstat: a line for every round of everything that was measured, with the
// metrics as units. The wire model is part of the configuration, so that benchstat keeps its tables apart; compare modes
// with "benchstat -col /mode". It tests without the pairing of rounds, and so sees less.
func (r *Results) bench(w io.Writer) error {
	out := benchfmt.NewWriter(w)
	told := map[string]bool{}
	for _, s := range r.Samples {
		if _, unit := benchUnit(s); !told[unit] {
			told[unit] = true
			better := "lower"
			if MoreIsBetter(s.Metric) {
				better = "higher"
			}
			meta := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: better}
			if err := out.Write(meta); err != nil {
				return err
			}
		}
	}
	type run struct {
		kind
		mode  string
		round int
	}
	var order []run
	lines := map[run]*benchfmt.Result{}
	for _, s := range r.Samples {
		at := run{s.kind(), s.Mode, s.Round}
		at.metric = ""
		line := lines[at]
		if line == nil {
			line = &benchfmt.Result{Name: benchfmt.Name(benchName(s)), Iters: 1, Config: []benchfmt.Config{
				{Key: "lab", Value: []byte(r.Lab), File: true},
				{Key: "cpu", Value: []byte(r.Machine.CPU), File: true},
				{Key: "kernel", Value: []byte(r.Machine.Kernel), File: true},
				{Key: "wire", Value: []byte(s.Wire), File: true},
			}}
			lines[at] = line
			order = append(order, at)
		}
		value, unit := benchUnit(s)
		line.Values = append(line.Values, benchfmt.Value{Value: value, Unit: unit})
	}
	for _, at := range order {
		if err := out.Write(lines[at]); err != nil {
			return err
		}
	}
	return nil
}

// benchName is as Go writes names of benchmarks: words without blanks, then keys and values.
func benchName(s Sample) string {
	var words []string
	for word := range strings.SplitSeq(s.Measure, "-") {
		if word != "" {
			words = append(words, strings.ToUpper(word[:1])+word[1:])
		}
	}
	keys := []string{"path=" + s.Path, "mode=" + s.Mode}
	for _, p := range strings.Fields(s.Params) {
		if !strings.Contains(p, "=") {
			p += "=yes"
		}
		keys = append(keys, p)
	}
	blank := strings.NewReplacer(" ", "_", "/", "|")
	for i := range keys {
		keys[i] = blank.Replace(keys[i])
	}
	return strings.Join(words, "") + "/" + strings.Join(keys, "/")
}

// benchUnit gives a value in what benchstat scales by itself: nanoseconds and bits.
func benchUnit(s Sample) (float64, string) {
	scale := map[string]struct {
		by float64
		to string
	}{"µs": {1e3, "ns"}, "ms": {1e6, "ns"}, "s": {1e9, "ns"}, "Gbit/s": {1e9, "bit/s"}, "Mbit/s": {1e6, "bit/s"}}
	value, unit := s.Value, s.Unit
	if to, ok := scale[unit]; ok {
		value, unit = value*to.by, to.to
	}
	return value, strings.TrimSuffix(fmt.Sprintf("%s-%s", s.Metric, strings.ReplaceAll(unit, " ", "_")), "-")
}
