package logfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestBegunAnew: a log never has more than its bound, the one before is kept, and together they end with all that was
// written last.
func TestBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	f := New(path)
	defer f.Close()
	line := append(bytes.Repeat([]byte("x"), 999), '\n')
	var all []byte
	for i := range 3000 {
		copy(line, []byte{'0' + byte(i%10)})
		if n, err := f.Write(line); err != nil || n != len(line) {
			t.Fatal(n, err)
		}
		all = append(all, line...)
		if i == 1500 {
			f.Close() // the next write opens it again, at its end
		}
	}
	before, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) > most || len(now) > most || !bytes.HasSuffix(all, append(before, now...)) {
		t.Errorf("%d and %d bytes are kept, and are not the last", len(before), len(now))
	}
}

// TestFolderGone: what is logged after a lab is gone brings nothing of it back.
func TestFolderGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	f := New(filepath.Join(dir, "x.log"))
	if _, err := f.Write([]byte("late\n")); err == nil {
		t.Error("it was written")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is back")
	}
}
