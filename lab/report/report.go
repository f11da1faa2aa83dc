// Package report turns samples into what may be said about them, and renders that. It is pure: everything is computed from
// the recorded samples, so that an old recording can be rendered again, and otherwise.
//
// The unit of replication is a round: every mode measured once, over new connections. What is compared are ratios within
// a round, because neighbours in time share the machine's mood. See [Summarise] for the statistics.
package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Schema is the version of results.json.
const Schema = 1

// Results is all that is known of a comparison.
type Results struct {
	Schema    int         `json:"schema"`
	Tool      string      `json:"tool"`
	Argv      []string    `json:"argv"`
	Start     time.Time   `json:"start"`
	Finish    time.Time   `json:"finish"`
	Machine   Machine     `json:"machine"`
	Lab       string      `json:"lab"`
	Modes     []string    `json:"modes"` // in the order asked for
	Baseline  string      `json:"baseline"`
	Quick     bool        `json:"quick"`
	Rounds    int         `json:"rounds"`       // finished
	Asked     int         `json:"rounds_asked"` // more where the comparison was interrupted
	Warmup    float64     `json:"warmup_seconds"`
	Window    float64     `json:"window_seconds"`
	Seed      uint64      `json:"seed"`
	Order     [][]string  `json:"order"` // of the modes, a list for every round
	Endpoints []Endpoints `json:"endpoints"`
	Samples   []Sample    `json:"samples"`
	Summary   []Summary   `json:"summary"` // derived from the samples
	Proof     []Proof     `json:"proof"`
	Warnings  []string    `json:"warnings"` // what happened while measuring
	Notes     []string    `json:"notes"`    // derived: what the reader must know
}

// Machine is what was measured on.
type Machine struct {
	Kernel  string `json:"kernel"`
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Virtual bool   `json:"virtual"` // whether a hypervisor is below
	Pinned  []int  `json:"pinned"`  // the CPUs of client and server; empty where they ran anywhere
}

// Endpoints says between whom a path was measured.
type Endpoints struct {
	Mode        string `json:"mode"`
	Path        string `json:"path"`
	From        string `json:"from"`
	To          string `json:"to"`
	FromAddress string `json:"from_address"`
	ToAddress   string `json:"to_address"`
}

// Sample is one number of one measurement.
type Sample struct {
	Mode        string  `json:"mode"`
	Datapath    string  `json:"datapath"`
	Wire        string  `json:"wire"` // the wire model; numbers of different ones are never compared
	Path        string  `json:"path"`
	Measure     string  `json:"measure"`
	Metric      string  `json:"metric"`
	Params      string  `json:"params"`
	Round       int     `json:"round"` // from 1
	Value       float64 `json:"value"`
	Unit        string  `json:"unit"`
	MSS         int     `json:"mss"`         // of the client's socket
	Congestion  string  `json:"congestion"`  // as really used
	Retransmits int     `json:"retransmits"` // segments of the whole connection
}

// Proof says what was really on the underlay while a mode's pods talked.
type Proof struct {
	Mode          string `json:"mode"`
	Wire          string `json:"wire"`
	OK            bool   `json:"ok"`
	Encapsulation string `json:"encapsulation"` // as promised
	Frames        int    `json:"frames"`
	Detail        string `json:"detail"`
}

// Derive computes what follows from the samples.
func (r *Results) Derive() {
	r.Schema = Schema
	r.Summary = Summarise(r.Samples, r.Baseline)
	r.Notes = r.notes()
	// A list that is empty is still a list.
	r.Argv, r.Modes, r.Warnings, r.Notes = listed(r.Argv), listed(r.Modes), listed(r.Warnings), listed(r.Notes)
	r.Order, r.Endpoints, r.Machine.Pinned = listed(r.Order), listed(r.Endpoints), listed(r.Machine.Pinned)
	r.Samples, r.Summary, r.Proof = listed(r.Samples), listed(r.Summary), listed(r.Proof)
}

func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Write renders the results: text, md, csv, html or json.
func (r *Results) Write(w io.Writer, format string, color bool) error {
	switch format {
	case "text":
		return r.text(w, color)
	case "md":
		return r.markdown(w)
	case "csv":
		return r.csv(w)
	case "html":
		return r.html(w)
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	return fmt.Errorf("no format %q: it is one of text, md, csv, html, json", format)
}

// csv writes a row for every sample.
func (r *Results) csv(w io.Writer) error {
	c := csv.NewWriter(w)
	rows := [][]string{{"mode", "datapath", "wire", "path", "measure", "metric", "params", "round", "value", "unit", "mss", "congestion", "retransmits"}}
	for _, s := range r.Samples {
		rows = append(rows, []string{
			s.Mode, s.Datapath, s.Wire, s.Path, s.Measure, s.Metric, s.Params, strconv.Itoa(s.Round),
			strconv.FormatFloat(s.Value, 'g', -1, 64), s.Unit, strconv.Itoa(s.MSS), s.Congestion, strconv.Itoa(s.Retransmits),
		})
	}
	return c.WriteAll(rows)
}
