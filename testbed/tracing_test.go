package testbed

import (
	"os"
	"testing"
	"time"
)

// TestTraced: whoever asks hears of traces that go on, and of those that were over before it asked.
func TestTraced(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: nothing can be kept below /run/lab")
	}
	start := time.Now()
	if Traced(start) {
		t.Error("nobody has traced anything")
	}
	end, err := BeginTracing()
	if err != nil {
		t.Fatal(err)
	}
	second, err := BeginTracing()
	if err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if !Traced(time.Now()) {
		t.Error("one of two still traces")
	}
	if err := second(); err != nil {
		t.Fatal(err)
	}
	if Traced(time.Now().Add(time.Second)) || !Traced(start) {
		t.Error("both have ended, after the start")
	}
}
