package report

import (
	"io"
	"os"
	"strings"
	"testing"
)

// TestOlderRecordings: what an older program recorded is rendered in every format, and says what it does not have.
func TestOlderRecordings(t *testing.T) {
	r, err := Read("testdata/before-path-cost")
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(r.Verdict.Sentences, " "); len(r.Verdict.Ranks) > 0 || !strings.Contains(said, "this recording has no path cost") {
		t.Errorf("%d modes are ranked; %s", len(r.Verdict.Ranks), said)
	}
	for _, format := range Formats {
		if err := r.Write(io.Discard, format, 80, false); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

// TestReadmeShowsTheRecordedVerdict: so that the first screen promises what the recorded comparison holds, and no check of that
// has failed.
func TestReadmeShowsTheRecordedVerdict(t *testing.T) {
	r, err := Read("../../docs/recorded")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, s := range r.Verdict.Sentences {
		if !strings.Contains(words, s) {
			t.Errorf("the README does not say: %s", s)
		}
	}
	for _, c := range r.Validity {
		if c.State == failed {
			t.Errorf("%s %s: %s", c.Name, c.Mode, c.Detail)
		}
	}
}

// TestThoroughRecording: the docs speak of a run all of whose checks passed.
func TestThoroughRecording(t *testing.T) {
	r, err := Read("../../docs/recorded/thorough")
	if err != nil {
		t.Fatal(err)
	}
	r.Derive()
	for _, c := range r.Validity {
		if c.State != passed {
			t.Errorf("%s: %s, %s", c.title(), c.State, c.Detail)
		}
	}
}
