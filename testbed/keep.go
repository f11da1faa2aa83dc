package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// runDir is where labs keep what helps but is not needed: losing it costs "status by name", never "down".
const runDir = "/run/lab"

func folder(lab string) string { return filepath.Join(runDir, lab) }

func isFolderName(lab string) bool {
	return lab != "" && lab != "." && lab != ".." && !strings.ContainsRune(lab, filepath.Separator)
}

// Keep writes a file beside a lab's record. A reader sees the old one or the new one whole.
func Keep(lab, name string, text []byte) error {
	path := filepath.Join(folder(lab), name)
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		os.Remove(path + ".new")
		return fmt.Errorf("lab %s: %w", lab, err)
	}
	return os.Rename(path+".new", path)
}

// Kept reads it; the error wraps fs.ErrNotExist where there is none.
func Kept(lab, name string) ([]byte, error) { return os.ReadFile(filepath.Join(folder(lab), name)) }

// Drop removes it. One that is not there is no error.
func Drop(lab, name string) error {
	if err := os.Remove(filepath.Join(folder(lab), name)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
