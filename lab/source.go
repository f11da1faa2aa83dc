package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Source is a file of a definition.
type Source struct {
	Name string // as diagnostics show it
	Text []byte
}

// ReadFolder reads the *.hcl files of a folder, in the order of their names: together they are one definition. It returns none
// where there are none.
func ReadFolder(dir string) ([]Source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var sources []Source
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() || strings.HasPrefix(e.Name(), "."):
		case strings.HasSuffix(e.Name(), ".hcl.json"):
			return nil, fmt.Errorf("%s: HCL's JSON syntax is not read; write the file in HCL's own, as %s", name, strings.TrimSuffix(e.Name(), ".json"))
		case filepath.Ext(name) == ".hcl":
			text, err := ReadFile(name)
			if err != nil {
				return nil, err
			}
			sources = append(sources, Source{name, text})
		}
	}
	return sources, nil
}

// Join makes one text of the files of a definition, each under its name.
func Join(sources []Source) []byte {
	if len(sources) == 1 {
		return sources[0].Text
	}
	var whole bytes.Buffer
	for _, s := range sources {
		fmt.Fprintf(&whole, "# %s\n\n%s\n", s.Name, bytes.TrimPrefix(s.Text, []byte("\ufeff")))
	}
	return whole.Bytes()
}

// Read reads a definition, and stops where it is too large to be one: Load says so then.
func Read(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxSource+1)) }

// ReadFile is Read for a path.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// mapping is a line of YAML that HCL has nothing like.
var mapping = regexp.MustCompile(`^(- +)?["']?[\w.-]+["']?:( |$)`)

// foreign reports a text in another language that people write such things in; nil where it may be HCL.
func foreign(filename string, src []byte) *hcl.Diagnostic {
	language := ""
	line, rest, at := firstLine(src)
	extension := strings.ToLower(filepath.Ext(filename))
	switch {
	case strings.HasPrefix(line, "{"), strings.HasPrefix(line, "["), extension == ".json":
		language = "JSON"
	case line == "---", strings.HasPrefix(line, "%YAML"), mapping.MatchString(line), strings.HasPrefix(line, "- ") && mapping.Match(rest),
		extension == ".yaml", extension == ".yml":
		language = "YAML"
	default:
		return nil
	}
	detail := "This is " + language + ", and a definition is written in HCL: lab \"NAME\" { … }, and blocks such as switch \"lan\" { subnet = \"192.168.205.0/24\" } " +
		"below it. \"lab plan three-node\" shows what one of the shipped labs builds; docs/language.md has the whole language."
	if language == "JSON" {
		detail = strings.Replace(detail, "written in HCL:", "written in HCL, not in its JSON syntax:", 1)
	}
	return &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: "Not HCL", Detail: detail,
		Subject: &hcl.Range{Filename: filename, Start: at, End: hcl.Pos{Line: at.Line, Column: at.Column + len(line), Byte: at.Byte + len(line)}},
	}
}

// firstLine returns the first line of a text that is neither empty nor a comment, what follows it, and where it is.
func firstLine(src []byte) (line string, rest []byte, at hcl.Pos) {
	at = hcl.InitialPos
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	for len(src) > 0 {
		text, after, _ := bytes.Cut(src, []byte("\n"))
		trimmed := bytes.TrimSpace(text)
		if len(trimmed) > 0 && trimmed[0] != '#' {
			return string(trimmed), after, at
		}
		at.Line++
		at.Byte += len(src) - len(after)
		src = after
	}
	return "", nil, at
}
