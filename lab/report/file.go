package report

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
)

// The files in the folder of a comparison.
const (
	fileName = "results.json"
	PageName = "report.html"
)

// Save writes results.json into the folder, which it makes where it is missing. Whoever reads it sees all of it or nothing.
// Numbers that mean nothing are refused.
func (r *Results) Save(dir string) error {
	if err := r.check(); err != nil {
		return err
	}
	return r.save(dir, fileName, "json")
}

// SavePage writes report.html into the folder, which is for a person what Save is for programs.
func (r *Results) SavePage(dir string) error { return r.save(dir, PageName, "html") }

func (r *Results) save(dir, name, format string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = errors.Join(r.Write(f, format, 0, false), f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, name))
}

// Read reads what Save wrote, also where somebody has compressed it since (gzip). What follows from the samples is computed
// anew.
func Read(dir string) (*Results, error) {
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if text, err = unpacked(path + ".gz"); err == nil {
			path += ".gz"
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no results: there is no %s: %w", dir, fileName, os.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the results in %s: %w", dir, err)
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("%s has schema %d; this program reads schema %d", path, r.Schema, Schema)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Derive()
	return &r, nil
}

func unpacked(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}

// check refuses samples of which nothing can be said: a value that is no number, a round that is none, and two values of
// one thing.
func (r *Results) check() error {
	type one struct {
		kind
		mode  string
		round int
	}
	seen := map[one]bool{}
	for _, s := range r.Samples {
		at := one{s.kind(), s.Mode, s.Round}
		switch {
		case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
			return fmt.Errorf("%s of %s in round %d, wire %s, is %v, which is no number", s.kind(), s.Mode, s.Round, s.Wire, s.Value)
		case s.Round < 1:
			return fmt.Errorf("%s of %s, wire %s, has round %d; the first is 1", s.kind(), s.Mode, s.Wire, s.Round)
		case seen[at]:
			return fmt.Errorf("%s of %s in round %d, wire %s, is there twice", s.kind(), s.Mode, s.Round, s.Wire)
		}
		seen[at] = true
	}
	for _, e := range r.Expected {
		if !(e.Ratio > 0) || math.IsInf(e.Ratio, 0) {
			return fmt.Errorf("the ratio expected of %s in %s %s, wire %s, is %v; it is above 0", e.Mode, e.Path, e.Measure, e.Wire, e.Ratio)
		}
	}
	for _, h := range r.Histograms {
		for _, c := range h.Counts {
			if !(c[0] >= 0) || !(c[1] >= 0) || math.IsInf(c[0]+c[1], 0) {
				return fmt.Errorf("the histogram of %s %s of %s in round %d, wire %s, has %v times %v", h.Path, h.Measure, h.Mode, h.Round, h.Wire, c[1], c[0])
			}
		}
	}
	for _, s := range r.Series {
		for _, v := range s.Values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("the series of %s %s of %s in round %d, wire %s, has a value of %v, which is no number", s.Path, s.Measure, s.Mode, s.Round, s.Wire, v)
			}
		}
	}
	return nil
}
