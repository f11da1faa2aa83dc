package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labnet/lab/report"
)

// A default run may tell a mode from its twin in at most so many of so many runs.
const equalRuns, equalAlarms = 20, 3

// soaked is what one default run found between equals. It is a line of the file that LAB_SOAK_FILE names.
type soaked struct {
	Seed  uint64    `json:"seed"`
	Start time.Time `json:"start"`
	Told  []string  `json:"told"` // what tells the twin from its original; empty is as it should be
}

// betweenTwins is what a run found between its twins; an error where it did not look.
func betweenTwins(r *report.Results) (told []string, err error) {
	looked := map[string]bool{}
	for _, c := range r.Validity {
		name, _, _ := strings.Cut(c.Name, " (")
		if name != "twins cost the same" && name != "A/A pair agrees" {
			continue
		}
		switch c.State {
		case "passed", "failed":
			looked[name] = true
		}
		if c.State == "failed" {
			told = append(told, c.Name+": "+c.Detail)
		}
	}
	if len(looked) != 2 {
		return nil, fmt.Errorf("of path cost and capacity the run compared twins in %v", looked)
	}
	return told, nil
}

// readSoaked reads the lines that are whole.
func readSoaked(file string) (all []soaked, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for line := range bytes.Lines(text) {
		var s soaked
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &s) == nil {
			all = append(all, s)
		}
	}
	return all, err
}

// appendSoaked adds a line; one that an interrupted run left unfinished ends before it.
func appendSoaked(file string, s soaked) error {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	_, err = w.Write(append(line, '\n'))
	return errors.Join(err, w.Flush(), f.Sync(), f.Close())
}

// soak makes runs until there are as many as there must be, or as there may be this time, and returns all.
func soak(file string, most int, run func(seed uint64) (soaked, error)) (all []soaked, err error) {
	if all, err = readSoaked(file); err != nil {
		return nil, err
	}
	for range most {
		if len(all) >= equalRuns {
			break
		}
		seed := uint64(1)
		for slices.ContainsFunc(all, func(s soaked) bool { return s.Seed == seed }) {
			seed++
		}
		s, err := run(seed)
		if err != nil {
			return all, err
		}
		s.Seed = seed
		if err := appendSoaked(file, s); err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// alarms counts the runs that told equals apart.
func alarms(all []soaked) (n int) {
	for _, s := range all {
		if len(s.Told) > 0 {
			n++
		}
	}
	return n
}

// TestDefaultRunsTellNoEqualsApart makes twenty default runs, each with a twin. One takes seven minutes: LAB_SOAK_FILE names a
// file that keeps what was found, so that the runs can be made on several days, LAB_SOAK_RUNS of them at a time.
func TestDefaultRunsTellNoEqualsApart(t *testing.T) {
	if os.Getenv("LAB_SOAK") == "" {
		t.Skip("takes two hours and a half: make soak runs this, in parts with soak_file and soak_runs")
	}
	needRoot(t)
	file, runs := os.Getenv("LAB_SOAK_FILE"), equalRuns
	if file == "" {
		file = filepath.Join(t.TempDir(), "runs")
	}
	if text := os.Getenv("LAB_SOAK_RUNS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("LAB_SOAK_RUNS is %q, and must be a number of runs", text)
		}
		runs = n
	}
	all, err := soak(file, runs, func(seed uint64) (s soaked, err error) {
		out := filepath.Join(t.TempDir(), strconv.FormatUint(seed, 10))
		s.Start = time.Now().UTC().Round(time.Second)
		must(t, "compare", "three-node", "--seed", strconv.FormatUint(seed, 10), "--out", out)
		r, err := report.Read(out)
		if err != nil {
			return s, err
		}
		s.Told, err = betweenTwins(r)
		return s, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if len(s.Told) > 0 {
			t.Logf("seed %d, %s: %s", s.Seed, s.Start.Format(time.DateTime), strings.Join(s.Told, "; "))
		}
	}
	t.Logf("%d of %d default runs tell equals apart; %d are to be made", alarms(all), len(all), equalRuns)
	if alarms(all) > equalAlarms {
		t.Errorf("that is more than %d of %d", equalAlarms, equalRuns)
	}
}

// TestSoakGoesOn: runs are made in parts; what an interruption left unfinished is made again, and nothing twice.
func TestSoakGoesOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs")
	var made []uint64
	run := func(seed uint64) (soaked, error) {
		if len(made) == 5 {
			made = append(made, 0)
			return soaked{}, errors.New("interrupted")
		}
		made = append(made, seed)
		s := soaked{Told: []string{}}
		if seed%10 == 0 {
			s.Told = []string{"twins cost the same: no"}
		}
		return s, nil
	}
	if all, err := soak(file, 3, run); err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	if all, err := soak(file, equalRuns, run); err == nil || len(all) != 5 {
		t.Fatalf("%v, %v", all, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, `{"seed":6,"sta`...), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		all, err := soak(file, equalRuns, run)
		if err != nil || len(all) != equalRuns || alarms(all) != 2 {
			t.Fatalf("%d runs, %d alarms, %v", len(all), alarms(all), err)
		}
	}
	made = slices.DeleteFunc(made, func(seed uint64) bool { return seed == 0 })
	if slices.Sort(made); len(made) != equalRuns || len(slices.Compact(made)) != equalRuns {
		t.Errorf("made are %v", made)
	}
}

// TestBetweenTwins: the recorded comparison looked at its twins, and what failed is found.
func TestBetweenTwins(t *testing.T) {
	r, err := report.Read(filepath.Join("..", "..", "docs", "recorded"))
	if err != nil {
		t.Fatal(err)
	}
	if told, err := betweenTwins(r); err != nil || len(told) > 0 {
		t.Errorf("%q, %v", told, err)
	}
	for i := range r.Validity {
		if strings.HasPrefix(r.Validity[i].Name, "twins cost") {
			r.Validity[i].State = "failed"
		}
	}
	if told, err := betweenTwins(r); err != nil || len(told) != 1 {
		t.Errorf("%q, %v", told, err)
	}
	r.Validity = nil
	if _, err := betweenTwins(r); err == nil {
		t.Error("a run that did not look found nothing")
	}
}
