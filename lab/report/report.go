// Package report computes what the samples of a comparison show, and renders it as text, Markdown, CSV, JSON and HTML. It is
// pure: everything is computed from the recorded samples, so that an old recording can be rendered again in another way. It
// measures nothing itself: labnet/testbed/compare does. [Read] reads a recording, [Results.Write] renders it, and
// docs/measuring.md explains the method.
//
// The unit of replication is a round: every mode measured once, over new connections. Ratios are compared within a round,
// because measurements that are close in time see the machine in the same state. See [Summarise] for the statistics.
package report

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Derive computes what follows from the samples.
func (r *Results) Derive() {
	r.Schema = Schema
	r.Summary = append(r.costSummaries(), Summarise(r.measured(), r.Baseline, r.Twin)...)
	r.unrank()
	r.Control = r.controls()
	r.Growth = r.growths()
	r.Checks = settled(r.Checks)
	r.Validity = r.validity()
	r.Notes = r.notes()
	r.Verdict = r.verdict()
	// A list that is empty is still a list.
	r.Argv, r.Modes, r.Warnings, r.Notes = listed(r.Argv), listed(r.Modes), listed(r.Warnings), listed(r.Notes)
	r.Order, r.Passes, r.Resumed, r.Retries = listed(r.Order), listed(r.Passes), listed(r.Resumed), listed(r.Retries)
	r.Machine.Pinned, r.Machine.Mitigations = listed(r.Machine.Pinned), listed(r.Machine.Mitigations)
	r.Topology.Switches, r.Topology.Machines = listed(r.Topology.Switches), listed(r.Topology.Machines)
	r.Wires, r.Endpoints, r.Devices = listed(r.Wires), listed(r.Endpoints), listed(r.Devices)
	r.Ceiling, r.Samples, r.Histograms, r.Series = listed(r.Ceiling), listed(r.Samples), listed(r.Histograms), listed(r.Series)
	r.Summary, r.Proof, r.Expected = listed(r.Summary), listed(r.Proof), listed(r.Expected)
	r.Traits = listed(r.Traits)
	r.Checks, r.Control, r.Validity = listed(r.Checks), listed(r.Control), listed(r.Validity)
}

func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Formats are what Write can render.
var Formats = []string{"text", "md", "csv", "html", "json", "bench"}

// Write renders the results in one of the formats; columns and color are for text.
func (r *Results) Write(w io.Writer, format string, columns int, color bool) error {
	switch format {
	case "text":
		return r.text(w, columns, color)
	case "md":
		return r.markdown(w)
	case "csv":
		return r.csv(w)
	case "html":
		return r.html(w)
	case "json":
		return r.json(w)
	case "bench":
		return r.bench(w)
	}
	return fmt.Errorf("no format %q: it is one of %s", format, strings.Join(Formats, ", "))
}

// json writes results.json: indented, but lists of numbers in one line each, since there are many and they are long.
func (r *Results) json(w io.Writer) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return err
	}
	_, err := w.Write(joinNumbers(text.Bytes()))
	return err
}

// joinNumbers takes the white space out of arrays that hold numbers, or arrays of them.
func joinNumbers(text []byte) []byte {
	joined := text[:0] // which never overtakes what is read
	for i := 0; i < len(text); {
		end := i + 1
		switch text[i] {
		case '"':
			for ; text[end] != '"'; end++ {
				if text[end] == '\\' {
					end++
				}
			}
			end++
		case '[':
			if n := bytes.IndexFunc(text[i:], func(c rune) bool { return !strings.ContainsRune("[],.+-0123456789eE \n", c) }); n > 0 {
				end = i + 1 + bytes.LastIndexByte(text[i:i+n], ']')
				for _, c := range text[i:max(end, i+1)] {
					if c != ' ' && c != '\n' {
						joined = append(joined, c)
					}
				}
				i = max(end, i+1)
				continue
			}
		}
		joined = append(joined, text[i:end]...)
		i = end
	}
	return joined
}

// csv writes a row for every sample.
func (r *Results) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"mode", "datapath", "wire", "path", "measure", "metric", "params", "round", "value", "unit", "mss", "congestion", "retransmits", "of", "swept"}}
	swept := map[string]Swept{}
	for _, s := range r.Swept {
		swept[s.Mode] = s
	}
	for _, s := range r.Samples {
		rows = append(rows, []string{
			s.Mode, s.Datapath, s.Wire, s.Path, s.Measure, s.Metric, s.Params, strconv.Itoa(s.Round),
			strconv.FormatFloat(s.Value, 'g', -1, 64), s.Unit, strconv.Itoa(s.MSS), s.Congestion, strconv.Itoa(s.Retransmits),
			cmp.Or(swept[s.Mode].Of, s.Mode), swept[s.Mode].Values,
		})
	}
	return c.WriteAll(rows)
}
