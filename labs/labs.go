// Package labs holds the definitions that come with the program.
package labs

import (
	"embed"
	"strings"
)

//go:embed *.hcl
var files embed.FS

// Names returns the names of the labs, sorted.
func Names() []string {
	entries, _ := files.ReadDir(".") // an embedded directory can be read
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".hcl"))
	}
	return names
}

// Read returns the text of a lab; ok is false when there is none of that name.
func Read(name string) (src []byte, ok bool) {
	src, err := files.ReadFile(name + ".hcl")
	return src, err == nil
}
