//go:build man

package main

import (
	"io"
	"os"

	"github.com/spf13/cobra/doc"
)

// A program built with the tag man writes the manual pages instead: what writes them stays out of the one that people run.
func init() {
	root := (&command{out: &output{Writer: io.Discard}, err: &output{Writer: os.Stderr}, format: "text"}).root()
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "LAB", Section: "8", Source: "lab " + release, Manual: "lab"}
	if err := doc.GenManTree(root, header, os.Args[1]); err != nil {
		os.Stderr.WriteString("lab: " + err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}
